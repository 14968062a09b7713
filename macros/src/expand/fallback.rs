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
        let (vis, ident, ty) = (quiet(&field.vis), quiet(&field.ident), owned(&field.ty));
        quote!(#vis #ident: #root::Field<#ty>)
    });
    let (impl_generics, type_generics, user_where) = generics.split_for_impl();
    let bounds = user_where.map(|clause| clause.predicates.iter().map(|bound| quote!(#bound,)).collect::<TokenStream>());
    // Only a generic type, which is refused anyway, must be told that it is what a session holds.
    let own = (!generics.params.is_empty()).then(|| quote!(Self: 'static));
    let lints = lints();
    quote! {
        #lints
        #vis struct #accessors { #(#fields,)* }
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
    }
}

/// A type with what each `Rc` holds in its place: of the fields with one nothing could be sent, and handlers would be told so.
fn owned(ty: &syn::Type) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut rest = ty.to_token_stream().into_iter().peekable();
    while let Some(token) = rest.next() {
        let is_shared = matches!(&token, TokenTree::Ident(ident) if ident == "Rc");
        if is_shared && rest.next_if(|next| is(next, '<')).is_some() {
            // The path before it goes, too.
            while kept.last().is_some_and(|last| is(last, ':')) {
                kept.truncate(kept.len().saturating_sub(2));
                kept.pop_if(|last| matches!(last, TokenTree::Ident(_)));
            }
            let mut depth = 1_usize;
            let inside = std::iter::from_fn(|| {
                let token = rest.next()?;
                depth = if is(&token, '<') {
                    depth + 1
                } else if is(&token, '>') {
                    depth - 1
                } else {
                    depth
                };
                (depth > 0).then_some(token)
            });
            let inside: TokenStream = inside.collect();
            kept.extend(syn::parse2::<syn::Type>(inside.clone()).map_or(inside, |ty| owned(&ty)));
        } else if let TokenTree::Group(group) = &token {
            let stream = syn::parse2::<syn::Type>(group.stream()).map_or_else(|_| group.stream(), |ty| owned(&ty));
            kept.push(TokenTree::Group(proc_macro2::Group::new(group.delimiter(), stream)));
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

fn is(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
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
