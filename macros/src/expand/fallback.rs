//! What stands in for the real code after an error, so that the handlers below do not fill the screen with errors of their own.

use super::{accessors::lints, quiet};
use crate::check;
use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Data, DeriveInput, Fields};

/// The struct a handler sees, and impls that are never called: nothing that needs them gets through the compiler.
pub(super) fn session_data(input: &DeriveInput, root: &TokenStream) -> TokenStream {
    let DeriveInput { ident, generics, .. } = input;
    let (vis, accessors) = (quiet(&input.vis), quiet(check::accessors(ident)));
    let private = quote!(#root::__private);
    let core = quote!(#private::core);
    let fields = named(input).filter(|field| stands_alone(&field.ty, input)).map(|field| {
        let (vis, ident, ty) = (quiet(&field.vis), quiet(&field.ident), &field.ty);
        quote!(#vis #ident: #root::Field<#ty>)
    });
    let (impl_generics, type_generics, user_where) = generics.split_for_impl();
    let bounds = user_where.map(|clause| clause.predicates.iter().map(|bound| quote!(#bound,)).collect::<TokenStream>());
    // Only a generic type, which is refused anyway, must be told that it is what a session holds.
    let own = (!generics.params.is_empty()).then(|| quote!(Self: #core::marker::Send + 'static));
    let lints = lints();
    // An impl for a type that cannot be sent would be an error of its own.
    let sendable = named(input).all(|field| !mentions(field.ty.to_token_stream(), "Rc"));
    let impls = sendable.then(|| quote! {
        #lints
        const _: () = {
            impl #impl_generics #root::SessionData for #ident #type_generics where #bounds #own {
                type Fields = #accessors;
                fn initial() -> Self { #core::unreachable!() }
                fn __schema() -> &'static #private::Schema { #core::unreachable!() }
                fn __open(_: &#private::Opener<'_>) -> #core::result::Result<#accessors, #private::Undecodable> { #core::unreachable!() }
                fn __visit(_: &mut #accessors, _: &mut dyn #core::ops::FnMut(&mut dyn #private::PlacedField)) { #core::unreachable!() }
            }
            impl #impl_generics #core::convert::From<#ident #type_generics> for #accessors where #bounds {
                fn from(_: #ident #type_generics) -> Self { #core::unreachable!() }
            }
        };
    });
    quote! {
        #lints
        #vis struct #accessors { #(#fields,)* }
        #impls
    }
}

fn mentions(tokens: TokenStream, word: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions(group.stream(), word),
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

/// A shape that is never compared.
pub(super) fn session_value(input: &DeriveInput, root: &TokenStream) -> TokenStream {
    let DeriveInput { ident, generics, .. } = input;
    let (impl_generics, type_generics, user_where) = generics.split_for_impl();
    quote! {
        #[allow(deprecated)]
        impl #impl_generics #root::SessionValue for #ident #type_generics #user_where {
            const SHAPE: #root::__private::Shape = #root::__private::ShapeBuilder::new("unknown").finish();
        }
    }
}

fn named(input: &DeriveInput) -> impl Iterator<Item = &syn::Field> {
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Some(fields.named.iter()),
            Fields::Unnamed(_) | Fields::Unit => None,
        },
        Data::Enum(_) | Data::Union(_) => None,
    }
    .into_iter()
    .flatten()
}

/// Whether a type means something outside of the struct: no lifetime, no parameter, no `Self`.
fn stands_alone(ty: &syn::Type, input: &DeriveInput) -> bool {
    let params: Vec<String> = input
        .generics
        .params
        .iter()
        .filter_map(|param| match param {
            syn::GenericParam::Type(param) => Some(param.ident.to_string()),
            syn::GenericParam::Const(param) => Some(param.ident.to_string()),
            syn::GenericParam::Lifetime(_) => None,
        })
        .chain(["Self".to_owned()])
        .collect();
    tokens_stand_alone(ty.to_token_stream(), &params)
}

fn tokens_stand_alone(tokens: TokenStream, params: &[String]) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.iter().enumerate().all(|(i, token)| {
        let is = |i: usize, text: &str| tokens.get(i).is_some_and(|token| token.to_string() == text);
        match token {
            TokenTree::Group(group) => tokens_stand_alone(group.stream(), params),
            TokenTree::Ident(ident) => !params.contains(&ident.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == '\'' => is(i + 1, "static"),
            TokenTree::Punct(punct) if punct.as_char() == '&' => is(i + 1, "'") && is(i + 2, "static"),
            TokenTree::Punct(_) | TokenTree::Literal(_) => true,
        }
    })
}
