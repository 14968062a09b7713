//! The shape of a value type: a chain of calls that the compiler evaluates.

use super::{at, place};
use crate::model::{Members, Part, Shape, Value, Variant};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

pub(super) fn expand(value: &Value) -> TokenStream {
    let Value { root, ident, generics, shape } = value;
    let (shape, recursive) = match shape {
        Shape::Named(name) => (new(root, "named", quote!(.text(#name))), quote!(false)),
        Shape::Struct(members) => {
            let kind = match members {
                Members::Unit => "unit-struct",
                Members::Unnamed(parts) if parts.len() == 1 => "newtype",
                Members::Unnamed(_) => "tuple-struct",
                Members::Named(_) => "struct",
            };
            (new(root, kind, inside(root, members)), recursive(root, [members]))
        }
        Shape::Enum(variants) => {
            let count = variants.len() as u64;
            let each = variants.iter().map(|variant| variant_shape(root, variant));
            (
                new(root, "enum", quote!(.number(#count)#(#each)*)),
                recursive(root, variants.iter().map(|variant| &variant.members)),
            )
        }
    };
    let (impl_generics, type_generics, user_where) = generics.split_for_impl();
    let user_bounds = user_where.map(|clause| clause.predicates.to_token_stream()).filter(|bounds| !bounds.is_empty());
    let separator = user_bounds.as_ref().filter(|bounds| !ends_with_comma(bounds)).map(|_| quote!(,));
    let params = generics.type_params().map(|param| &param.ident);
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #root::SessionValue for #ident #type_generics
        where
            #user_bounds #separator
            #(#params: #root::SessionValue,)*
        {
            const SHAPE: #root::__private::Shape = #shape;
            const RECURSIVE: #root::__private::core::primitive::bool = #recursive;
        }
    }
}

fn new(root: &TokenStream, kind: &str, rest: TokenStream) -> TokenStream {
    quote!(#root::__private::ShapeBuilder::new(#kind)#rest.finish())
}

fn variant_shape(root: &TokenStream, variant: &Variant) -> TokenStream {
    let name = &variant.name;
    let kind = match &variant.members {
        Members::Unit => "unit",
        Members::Unnamed(parts) if parts.len() == 1 => "newtype",
        Members::Unnamed(_) => "tuple",
        Members::Named(_) => "struct",
    };
    let inside = inside(root, &variant.members);
    quote!(.text(#name).text(#kind)#inside)
}

fn inside(root: &TokenStream, members: &Members) -> TokenStream {
    match members {
        Members::Unit => TokenStream::new(),
        // One unnamed field is known by its kind; more of them are counted.
        Members::Unnamed(parts) => {
            let count = (parts.len() != 1).then_some(parts.len() as u64).into_iter();
            let each = parts.iter().map(|part| part_shape(root, part));
            quote!(#(.number(#count))*#(#each)*)
        }
        Members::Named(parts) => {
            let count = parts.len() as u64;
            let each = parts.iter().map(|(name, part)| {
                let part = part_shape(root, part);
                quote!(.text(#name)#part)
            });
            quote!(.number(#count)#(#each)*)
        }
    }
}

fn part_shape(root: &TokenStream, part: &Part) -> TokenStream {
    match part {
        Part::Child(ty) => {
            let bound = at(place(ty), &quote!(#root::SessionValue));
            quote!(.child(<#ty as #bound>::SHAPE))
        }
        Part::Recursive => quote!(.text("recursive")),
        Part::Named(name) => quote!(.text("named").text(#name)),
    }
}

fn recursive<'a>(root: &TokenStream, members: impl IntoIterator<Item = &'a Members>) -> TokenStream {
    let mut terms = Vec::new();
    for members in members {
        let parts: Vec<&Part> = match members {
            Members::Unit => Vec::new(),
            Members::Unnamed(parts) => parts.iter().collect(),
            Members::Named(parts) => parts.iter().map(|(_, part)| part).collect(),
        };
        for part in parts {
            match part {
                Part::Child(ty) => terms.push(quote!(<#ty as #root::SessionValue>::RECURSIVE)),
                Part::Recursive => return quote!(true),
                Part::Named(_) => {}
            }
        }
    }
    quote!(false #(|| #terms)*)
}

fn ends_with_comma(tokens: &TokenStream) -> bool {
    matches!(tokens.clone().into_iter().last(), Some(proc_macro2::TokenTree::Punct(punct)) if punct.as_char() == ',')
}
