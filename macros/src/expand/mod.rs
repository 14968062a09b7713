//! The model to code. Every path in it is absolute, so that no name around the user's type can change what it means.

mod accessors;
mod docs;
mod fallback;
mod lock;
mod past;
mod schema;
mod shape;

use crate::{check, diag::Errors, surroundings::Surroundings, syntax::quiet};
use proc_macro2::{Group, Span, TokenStream, TokenTree};
use syn::DeriveInput;

/// The type a derive stands on, or the error that says it is none.
fn parse(input: TokenStream) -> Result<DeriveInput, TokenStream> {
    syn::parse2(input).map_err(|error| {
        let mut errors = Errors::default();
        errors.push(error);
        errors.finish()
    })
}

/// Everything `#[derive(SessionData)]` adds, or the errors and what stands in for it.
pub(crate) fn session_data(input: TokenStream, surroundings: &Surroundings) -> TokenStream {
    let input = match parse(input) {
        Ok(input) => input,
        Err(said) => return said,
    };
    let mut errors = Errors::default();
    let model = check::schema(&input, &mut errors);
    if errors.is_empty() {
        let accessors = accessors::expand(&model);
        let schema = schema::expand(&model);
        // The struct is whole, whatever its lock says: nothing stands in for it.
        let lock = lock::expand(&model, surroundings, &mut errors);
        let errors = errors.finish();
        return quote::quote!(#errors #accessors #schema #lock);
    }
    let fallback = fallback::session_data(&input, &model.root);
    let errors = errors.finish();
    quote::quote!(#errors #fallback)
}

/// Everything `#[derive(SessionValue)]` adds, or the errors and what stands in for it.
pub(crate) fn session_value(input: TokenStream) -> TokenStream {
    let input = match parse(input) {
        Ok(input) => input,
        Err(said) => return said,
    };
    let mut errors = Errors::default();
    let model = check::value(&input, &mut errors);
    if errors.is_empty() {
        return shape::expand(&model);
    }
    let fallback = fallback::session_value(&input, &model.root);
    let errors = errors.finish();
    quote::quote!(#errors #fallback)
}

/// The same tokens at another place, where rustc shall point if they are wrong. What they mean stays.
pub(crate) fn at(span: Span, tokens: &TokenStream) -> TokenStream {
    tokens
        .clone()
        .into_iter()
        .map(|token| match token {
            TokenTree::Group(group) => {
                let mut moved = Group::new(group.delimiter(), at(span, &group.stream()));
                moved.set_span(group.span().located_at(span));
                TokenTree::Group(moved)
            }
            mut other => {
                other.set_span(other.span().located_at(span));
                other
            }
        })
        .collect()
}

/// The first token's place.
fn place(tokens: &TokenStream) -> Span {
    tokens.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span())
}

#[cfg(test)]
mod tests;
