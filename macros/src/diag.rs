//! Errors as values: collected, deduplicated, bounded, and handed to rustc in one go.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use std::{collections::HashSet, fmt::Display};

/// More than this many errors of one struct help nobody.
const MOST: usize = 16;

/// One mistake: where it is, what is wrong, and what to type instead.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    first: Span,
    last: Span,
    text: String,
}

impl Report {
    /// A mistake at these tokens.
    pub(crate) fn new(at: impl ToTokens, text: impl Display) -> Self {
        let mut spans = at.into_token_stream().into_iter().map(|token| token.span());
        let first = spans.next().unwrap_or_else(Span::call_site);
        Self { first, last: spans.last().unwrap_or(first), text: text.to_string() }
    }

    /// A mistake at one place.
    pub(crate) fn at(span: Span, text: impl Display) -> Self {
        Self { first: span, last: span, text: text.to_string() }
    }

    /// What to type. The first help follows a blank line, so that it stands apart as rustc's own do.
    pub(crate) fn help(self, help: impl Display) -> Self {
        self.line("help", help)
    }

    /// Where a fact comes from.
    pub(crate) fn note(self, note: impl Display) -> Self {
        self.line("note", note)
    }

    fn line(mut self, kind: &str, text: impl Display) -> Self {
        self.text.push_str(if self.text.contains('\n') { "\n" } else { "\n\n" });
        self.text.push_str(&format!("  = {kind}: {text}"));
        self
    }

    /// Whether it says where a fact comes from.
    pub(crate) fn has_note(&self) -> bool {
        self.text.contains("\n  = note: ")
    }

    /// The call of this function, which takes the mistake's words, at its place.
    pub(crate) fn call(&self, function: &TokenStream) -> TokenStream {
        // Begin and end separately, as in `finish`.
        let head = crate::expand::at(self.first, function);
        let text = proc_macro2::Literal::string(&self.text);
        let mut body = proc_macro2::Group::new(proc_macro2::Delimiter::Parenthesis, text.into_token_stream());
        body.set_span(Span::call_site().located_at(self.last));
        quote::quote!(#head #body)
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    #[cfg(test)]
    pub(crate) fn spot(&self) -> (usize, usize) {
        (self.first.start().column, self.last.end().column)
    }
}

impl From<syn::Error> for Report {
    fn from(error: syn::Error) -> Self {
        Self::at(error.span(), error)
    }
}

/// What was found so far. Checks go on after an error, so that one run shows all of them.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    reports: Vec<Report>,
}

impl Errors {
    pub(crate) fn push(&mut self, report: impl Into<Report>) {
        self.reports.push(report.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// Each distinct error once, as many as anybody reads.
    pub(crate) fn reports(&self) -> impl Iterator<Item = &Report> {
        let mut seen = HashSet::new();
        self.reports.iter().filter(move |report| seen.insert((format!("{:?}", report.first), report.text.clone()))).take(MOST)
    }

    /// The errors as code that rustc reports them for.
    pub(crate) fn finish(self) -> TokenStream {
        self.reports()
            .map(|report| {
                // Begin and end separately: stable compilers cannot join spans, but underline from one token to another.
                let head = quote::quote_spanned!(report.first=> ::core::compile_error!);
                let text = proc_macro2::Literal::string(&report.text);
                let mut body = proc_macro2::Group::new(proc_macro2::Delimiter::Brace, text.into_token_stream());
                body.set_span(report.last);
                quote::quote!(#head #body)
            })
            .collect()
    }
}

/// The known word that was probably meant.
pub(crate) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = word.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of edits between two words; exchanging two neighbours counts as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = rows[i][j] + usize::from(a[i] != b[j]);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_error_at_the_same_place_is_said_once() {
        let mut errors = Errors::default();
        let place = Span::call_site();
        for text in ["a", "b", "a"] {
            errors.push(Report::at(place, text));
        }
        assert_eq!(errors.reports().map(Report::text).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn no_more_errors_than_anybody_reads() {
        let mut errors = Errors::default();
        (0..99).for_each(|n| errors.push(Report::at(Span::call_site(), n)));
        assert_eq!(errors.reports().count(), MOST);
        assert_eq!(errors.finish().to_string().matches("compile_error").count(), MOST);
    }

    #[test]
    fn helps_and_notes_stand_apart_from_the_message_in_lines_of_their_own() {
        let report = Report::at(Span::call_site(), "wrong").help("write this").note("because");
        assert_eq!(report.text(), "wrong\n\n  = help: write this\n  = note: because");
    }

    #[test]
    fn a_slip_of_the_fingers_is_recognised_and_another_word_is_not() {
        let known = ["merge", "key", "ttl", "default", "since"];
        for (typed, meant) in
            [("mrege", "merge"), ("merg", "merge"), ("defualt", "default"), ("sinc", "since"), ("keys", "key"), ("tll", "ttl")]
        {
            assert_eq!(suggest(typed, known), Some(meant), "{typed}");
        }
        for typed in ["colour", "x", "rename_all", ""] {
            assert_eq!(suggest(typed, known), None, "{typed}");
        }
    }
}
