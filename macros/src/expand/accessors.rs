//! The struct that a handler sees: the same fields, each behind a `Field`.

use super::{docs, quiet};
use crate::model::{Field, Schema};
use proc_macro2::TokenStream;
use quote::quote;

pub(super) fn expand(schema: &Schema) -> TokenStream {
    let Schema { root, accessors, .. } = schema;
    let (vis, accessors) = (quiet(&schema.vis), quiet(accessors));
    let doc = docs::accessors(schema);
    let fields = schema.fields.iter().map(|field| {
        let Field { ty, copied, .. } = field;
        let (vis, ident) = (quiet(&field.vis), quiet(&field.ident));
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

/// A use of what the user marks as deprecated is no news. All else that lints could say about the user's names and types they say
/// at the user's own struct: names here are [`quiet`], and an `allow` of ours would break a crate that forbids the lint.
pub(super) fn lints() -> TokenStream {
    quote!(#[allow(deprecated)])
}
