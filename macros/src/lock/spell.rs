//! Types as people write them, however they are laid out in the source.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A type on one line, spaced as rustfmt does, so that formatting the source changes nothing in a lock.
pub(crate) fn spell(tokens: &TokenStream) -> String {
    let mut text = String::new();
    append(tokens, &mut text);
    text
}

fn append(tokens: &TokenStream, text: &mut String) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (i, token) in tokens.iter().enumerate() {
        let next = tokens.get(i + 1);
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{ ", " }"),
                    // What `macro_rules!` leaves around a type; nobody wrote it.
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                append(&group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                if text.ends_with(|last: char| last.is_alphanumeric() || matches!(last, '_' | ']' | ')' | '\'' | '"'))
                    && !text.ends_with('\'')
                {
                    text.push(' ');
                }
                text.push_str(&token.to_string());
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' if is_trailing(&tokens, i) => {}
                ',' if next.is_none() => text.push(','),
                separator @ (',' | ';') => text.extend([separator, ' ']),
                '-' if is(next, '>') => text.push_str(" -"),
                '>' if text.ends_with('-') => text.push_str("> "),
                sign @ ('+' | '=') => text.extend([' ', sign, ' ']),
                '\'' if text.ends_with(char::is_alphanumeric) => text.push_str(" '"),
                other => text.push(other),
            },
        }
    }
}

/// A comma that only the layout asks for: before a closing `>`, or the last of several in parentheses.
fn is_trailing(tokens: &[TokenTree], at: usize) -> bool {
    match tokens.get(at + 1) {
        Some(next) => is(Some(next), '>'),
        None => tokens[..at].iter().any(|token| is(Some(token), ',')),
    }
}

fn is(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}
