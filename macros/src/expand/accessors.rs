//! The struct that a handler sees: the same fields, each behind a `Field`.

use super::docs;
use crate::model::{Field, Schema};
use proc_macro2::TokenStream;
use quote::quote;

pub(super) fn expand(schema: &Schema) -> TokenStream {
    let Schema { root, vis, accessors, .. } = schema;
    let doc = docs::accessors(schema);
    let fields = schema.fields.iter().map(|field| {
        let Field { ident, vis, ty, copied, .. } = field;
        let (docs, cfg, deprecated) = (&copied.docs, &copied.cfg, &copied.deprecated);
        // A blank line first: the user's own words are a paragraph of their own.
        let own = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
        let doc = docs::field(field);
        quote! {
            #(#cfg)*
            #(#docs)*
            #own
            #[doc = #doc]
            #(#deprecated)*
            #vis #ident: #root::Field<#ty>
        }
    });
    let lints = lints();
    quote! {
        #[doc = #doc]
        #lints
        #vis struct #accessors {
            #(#fields,)*
        }
    }
}

/// What rustc and clippy would say about the user's names and types, they have said at the user's own struct already.
pub(super) fn lints() -> TokenStream {
    quote! {
        #[allow(
            dead_code, deprecated, missing_debug_implementations, non_camel_case_types, non_snake_case, private_interfaces,
            unnameable_types, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic
        )]
    }
}
