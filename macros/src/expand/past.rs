//! A field's earlier generations, and the removed fields it is computed from.

use super::{at, place};
use crate::model::{Computed, Down, Field, Generation, Source, Step, Storage};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

/// The part of a field's definition that reads what earlier versions wrote, and writes what they read.
pub(super) fn expand(private: &TokenStream, field: &Field) -> TokenStream {
    let past = past(private, field.in_use());
    let from = field.from.as_ref().map(|from| computed(private, &field.ty, from));
    quote!(#past #from)
}

/// How values of this type become bytes, looked up at the type's place.
pub(super) fn coding(private: &TokenStream, ty: &TokenStream, storage: Storage) -> TokenStream {
    let coding = match storage {
        Storage::Shaped => quote!(#private::Stored),
        Storage::Opaque(_) => quote!(#private::StoredOpaque),
    };
    let coding = at(place(ty), &coding);
    quote!(<#ty as #coding>::CODING)
}

fn past(private: &TokenStream, generations: &[Generation]) -> Option<TokenStream> {
    let [older @ .., today] = generations else { return None };
    if older.is_empty() {
        return None;
    }
    // Newest first, as they are looked for.
    let keys = generations.iter().rev().map(|generation| &generation.key);
    let tables = (0..older.len()).rev().map(|index| {
        let (table, of) = (format_ident!("__PAST_{index}"), &generations[index]);
        let (was, is) = (&of.ty, &today.ty);
        let coding = coding(private, was, of.storage);
        let (up, down) = (up(private, &generations[index..]), down(private, &generations[index..]));
        (
            table.clone(),
            quote!(static #table: #private::Past<#was, #is> = #private::Past::<#was, #is>::new(#coding, #up, #down);),
        )
    });
    let (tables, statics): (Vec<Ident>, Vec<TokenStream>) = tables.unzip();
    Some(quote! {
        .past(&[#(#keys),*], {
            #(#statics)*
            &[#(&#tables),*]
        })
    })
}

/// From the first of these generations to the last, one `up` after the other.
fn up(private: &TokenStream, generations: &[Generation]) -> TokenStream {
    let value = value();
    let steps = generations.windows(2).filter_map(|pair| {
        let [from, Generation { ty: to, step: Some(Step { up, .. }), .. }] = pair else { return None };
        let upgraded = Call { path: up, check: quote!(Upgrade), method: quote!(upgrade), types: &[&from.ty, to] };
        let upgraded = upgraded.with(private, 1, &quote!(#value));
        Some(quote!(let #value = #upgraded?;))
    });
    quote!(|#value| { #(#steps)* #private::core::result::Result::Ok(#value) })
}

/// From the last of these generations to the first, if nothing is forgotten on the way.
fn down(private: &TokenStream, generations: &[Generation]) -> TokenStream {
    let value = value();
    let mut downgraded = None;
    for pair in generations.windows(2).rev() {
        let [to, Generation { ty: from, step: Some(Step { down: Down::Path(path), .. }), .. }] = pair else {
            return quote!(#private::core::option::Option::None);
        };
        let call = Call { path, check: quote!(Downgrade), method: quote!(downgrade), types: &[from, &to.ty] };
        let newer = downgraded.map_or_else(|| quote!(#value), |newer| quote!(&#newer));
        downgraded = Some(call.with(private, 1, &newer));
    }
    quote!(#private::core::option::Option::Some(|#value| #downgraded))
}

/// The same name wherever the functions' paths come from, which may be different macros.
fn value() -> Ident {
    Ident::new("__value", Span::mixed_site())
}

/// A call of a user's function. Everything about it stands where its path does, since that is what rustc shall point at.
struct Call<'a> {
    path: &'a TokenStream,
    /// The trait of functions with the right signature: it tells one of another signature so in words.
    check: TokenStream,
    method: TokenStream,
    types: &'a [&'a TokenStream],
}

impl Call<'_> {
    fn with(&self, private: &TokenStream, count: usize, arguments: &TokenStream) -> TokenStream {
        let (path, types) = (self.path, self.types);
        let here = place(path);
        let step = Ident::new("__step", here);
        let parameters = vec![quote!(_); count];
        let signature = at(here, &quote!(fn(#(#parameters),*) -> _));
        let (check, method) = (&self.check, at(here, &self.method));
        let check = at(here, &quote!(#private::#check));
        quote!({
            let #step: #signature = #path;
            #check::<#(#types),*>::#method(#step, #arguments)
        })
    }
}

fn computed(private: &TokenStream, ty: &TokenStream, from: &Computed) -> TokenStream {
    let keys = from.sources.iter().map(|source| &source.key);
    let sources = Ident::new("__sources", Span::mixed_site());
    let coding = |source: &Source| coding(private, &source.ty, source.storage);
    let (check, method, was, values) = match &from.sources[..] {
        [only] => {
            let coding = coding(only);
            (quote!(Upgrade), quote!(upgrade), only.ty.clone(), quote!(#sources.only(&#coding)?))
        }
        several => {
            let types = several.iter().map(|source| &source.ty);
            let values = several.iter().enumerate().map(|(index, source)| {
                let (coding, ty) = (coding(source), &source.ty);
                let default = at(place(ty), &quote!(#private::SourceDefault));
                quote!(#sources.value(#index, &#coding, <#ty as #default>::source_default)?)
            });
            (quote!(Compute), quote!(compute), quote!((#(#types),*)), quote!((#(#values),*)))
        }
    };
    let call = Call { path: &from.with, check, method, types: &[&was, ty] };
    let call = call.with(private, from.sources.len(), &values);
    quote!(.from(&[#(#keys),*], |#sources| #call))
}
