//! The entries that have entries of their own: `removed(..)`, `changed(..)` and `from(..)`.

use super::{Angles, Entry, RawChanged, RawFrom, RawRemoved, Written, entry, split};
use crate::diag::{Errors, Report, suggest};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::Type;

/// Which entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Removed,
    Changed,
    From,
}

impl List {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Removed => &["in", "key", "since", "opaque"],
            Self::Changed => &["in", "from", "up", "down", "forget", "opaque"],
            Self::From => &["with"],
        }
    }

    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Removed => "removed(coupon: String, in = 2)",
            Self::Changed => "changed(in = 2, from = u32, up = Money::from_cents, down = Money::cents)",
            Self::From => "from(full_name: String, with = first_name)",
        }
    }

    /// Whether it names fields with their types.
    fn names_fields(self) -> bool {
        self != Self::Changed
    }
}

/// The parts of one entry, as far as they can be read.
pub(super) struct Parts {
    /// The entry itself, for what is missing.
    at: TokenStream,
    key: Ident,
    fields: Vec<(Ident, Type)>,
    entries: Vec<Entry>,
    readable: Readable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Readable {
    Whole,
    /// The rest has been reported, and is not missing.
    InPart,
}

pub(super) fn parts(entry: &Entry, list: List, errors: &mut Errors) -> Result<Parts, Report> {
    let Written::List(group) = &entry.value else { return Err(entry.misshapen(format!("`{}`", list.example()))) };
    let key = &entry.key;
    let mut parts =
        Parts { at: quote!(#key #group), key: key.clone(), fields: Vec::new(), entries: Vec::new(), readable: Readable::Whole };
    for tokens in split(group.stream(), Angles::Always) {
        if let Err(report) = part(tokens, list, &mut parts) {
            errors.push(report);
            parts.readable = Readable::InPart;
        }
    }
    Ok(parts)
}

fn part(tokens: Vec<TokenTree>, list: List, parts: &mut Parts) -> Result<(), Report> {
    if let [TokenTree::Ident(name), TokenTree::Punct(colon), rest @ ..] = &tokens[..]
        && list.names_fields()
        && colon.as_char() == ':'
    {
        let rest: TokenStream = rest.iter().cloned().collect();
        let ty = syn::parse2::<Type>(rest.clone()).map_err(|_| {
            let found = if rest.is_empty() { "nothing".to_owned() } else { format!("`{rest}`") };
            Report::new(
                if rest.is_empty() { colon.to_token_stream() } else { rest },
                format!("`{name}` needs the type it was stored as, found {found}"),
            )
            .help(format!("write e.g. `{}`", list.example()))
        })?;
        if parts.fields.iter().any(|(other, _)| other == name) {
            return Err(Report::new(name, format!("`{name}` is given twice")).help("keep one of the two"));
        }
        parts.fields.push((name.clone(), ty));
        return Ok(());
    }
    let first = tokens.first().map_or_else(Span::call_site, TokenTree::span);
    if let Some(first) = tokens.first().filter(|first| !matches!(first, TokenTree::Ident(_))) {
        return Err(Report::new(first, format!("expected a name in `{}(..)`, found `{first}`", parts.key))
            .help(format!("write e.g. `{}`", list.example())));
    }
    if tokens.is_empty() {
        return Err(Report::at(parts.key.span(), format!("a comma too many in `{}(..)`", parts.key)).help("remove it"));
    }
    let entry = entry(tokens, super::Place::SchemaField)?;
    let word = entry.key.to_string();
    if !list.keys().contains(&word.as_str()) {
        if list.names_fields() && matches!(entry.value, Written::Flag) {
            return Err(Report::at(first, format!("`{word}` needs the type it was stored as")).help(format!(
                "write e.g. `{}`",
                list.example().replace(["coupon", "full_name"][usize::from(list == List::From)], &word)
            )));
        }
        let report = Report::new(&entry.key, format!("unknown entry `{word}` in `{}(..)`", parts.key));
        return Err(match suggest(&word, list.keys().iter().copied()) {
            Some(near) => report.help(format!("did you mean `{near}`?")),
            None => report.help(format!("write e.g. `{}`", list.example())),
        });
    }
    if parts.entries.iter().any(|other| other.key == entry.key) {
        return Err(Report::new(&entry.key, format!("`{word}` is given twice")).help("keep one of the two"));
    }
    parts.entries.push(entry);
    Ok(())
}

impl Parts {
    /// One entry in the form that `read` makes of it.
    fn read<T>(&self, key: &str, read: impl Fn(&Entry) -> Result<T, Report>, errors: &mut Errors) -> Read<T> {
        match self.entries.iter().find(|entry| entry.key == key).map(read) {
            Some(Ok(value)) => Read::Found(value),
            Some(Err(report)) => {
                errors.push(report);
                Read::Reported
            }
            None if self.readable == Readable::InPart => Read::Reported,
            None => Read::Missing,
        }
    }
}

enum Read<T> {
    Found(T),
    Missing,
    Reported,
}

impl<T> Read<T> {
    /// What is needed; that it is missing is reported by `otherwise`.
    fn needed(self, errors: &mut Errors, otherwise: impl FnOnce() -> Report) -> Option<T> {
        match self {
            Self::Found(value) => Some(value),
            Self::Missing => {
                errors.push(otherwise());
                None
            }
            Self::Reported => None,
        }
    }
}

/// An optional value; `Err` if there is one that cannot be read.
macro_rules! optional {
    ($read:expr) => {
        match $read {
            Read::Found(value) => Some(value),
            Read::Missing => None,
            Read::Reported => return None,
        }
    };
}

pub(super) fn removed(parts: &Parts, errors: &mut Errors) -> Option<RawRemoved> {
    let version = parts.read("in", |entry| entry.number(2), errors);
    let key = parts.read("key", |entry| entry.string("old_name"), errors);
    let since = parts.read("since", |entry| entry.number(2), errors);
    let opaque = parts.read("opaque", Entry::flag, errors);
    let ((ident, ty), more) = match &parts.fields[..] {
        [field, more @ ..] => (field.clone(), more),
        [] if parts.readable == Readable::InPart => return None,
        [] => {
            errors.push(
                Report::new(&parts.at, "`removed` needs the name of the field and the type it was stored as")
                    .help(format!("write e.g. `{}`", List::Removed.example())),
            );
            return None;
        }
    };
    if let [(second, _), ..] = more {
        errors.push(
            Report::new(second, "`removed(..)` names one field")
                .help(format!("give `{second}` a `removed(..)` of its own: each field has its own `in`")),
        );
    }
    let version = version.needed(errors, || {
        let ty = crate::check::text(&ty);
        Report::new(&parts.at, format!("`removed` does not say in which version `{ident}` was removed"))
            .help(format!("write `removed({ident}: {ty}, in = 2)`, with the version that is the first without it"))
    })?;
    Some(RawRemoved { ident, ty, version, key: optional!(key), since: optional!(since), opaque: optional!(opaque) })
}

pub(super) fn changed(parts: &Parts, errors: &mut Errors) -> Option<RawChanged> {
    let version = parts.read("in", |entry| entry.number(2), errors);
    let from = parts.read("from", |entry| entry.ty("u32"), errors);
    let up = parts.read("up", |entry| entry.path("Money::from_cents"), errors);
    let down = parts.read("down", |entry| entry.path("Money::cents"), errors);
    let forget = parts.read("forget", Entry::flag, errors);
    let opaque = parts.read("opaque", Entry::flag, errors);
    Some(RawChanged {
        at: parts.at.clone(),
        version: optional!(version),
        from: optional!(from),
        up: optional!(up),
        down: optional!(down),
        forget: optional!(forget),
        opaque: optional!(opaque),
    })
}

pub(super) fn from(parts: &Parts, errors: &mut Errors) -> Option<RawFrom> {
    let with = parts.read("with", |entry| entry.path("first_name"), errors);
    if parts.fields.is_empty() && parts.readable == Readable::Whole {
        errors.push(
            Report::new(&parts.at, "`from` needs the removed field that the value is computed from, and its type")
                .help(format!("write e.g. `{}`", List::From.example())),
        );
        return None;
    }
    let with = with.needed(errors, || {
        Report::new(&parts.at, "`from` does not say how the value is computed")
            .help(format!("name the function with `with`, e.g. `{}`", List::From.example()))
    })?;
    Some(RawFrom { sources: parts.fields.clone(), with })
}
