//! The shape of a value type: a chain of calls that the compiler evaluates.

use super::{at, place};
use crate::model::{Members, Part, Shape, Value, Variant, VariantPlace};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};

pub(super) fn expand(value: &Value) -> TokenStream {
    let Value { root, ident, generics, shape } = value;
    let private = quote!(#root::__private);
    let Consts { shape, round_trips, recursive, layout } = match shape {
        Shape::Named(name) => Consts {
            shape: new(root, "named", quote!(.text(#name))),
            round_trips: quote!(false),
            recursive: quote!(false),
            layout: quote!(#private::Layout::Ordered),
        },
        Shape::Struct(members) => {
            let kind = match members {
                Members::Unit => "unit-struct",
                Members::Unnamed(parts) if parts.len() == 1 => "newtype",
                Members::Unnamed(_) => "tuple-struct",
                Members::Named(_) => "struct",
            };
            Consts {
                shape: new(root, kind, inside(root, members)),
                round_trips: round_trips(root, parts(members)),
                recursive: recursive(root, parts(members)),
                layout: layout(root, members),
            }
        }
        Shape::Enum(variants) => {
            let in_shape = || variants.iter().filter(|variant| variant.place == VariantPlace::InTheShape);
            let count = in_shape().count() as u64;
            let each = in_shape().map(|variant| variant_shape(root, variant));
            let all = || variants.iter().flat_map(|variant| parts(&variant.members));
            let layouts = variants.iter().enumerate().map(|(at, variant)| variant_layout(root, at, variant));
            Consts {
                shape: new(root, "enum", quote!(.number(#count)#(#each)*)),
                round_trips: round_trips(root, all()),
                recursive: recursive(root, all()),
                layout: quote!(#private::Layout::Variants(&[#(#layouts),*])),
            }
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
            const SHAPE: #private::Shape = #shape;
            const ROUND_TRIPS: #private::core::primitive::bool = #round_trips;
            const RECURSIVE: #private::core::primitive::bool = #recursive;
            const LAYOUT: #private::Layout = #layout;
        }
    }
}

/// The constants of the trait.
struct Consts {
    shape: TokenStream,
    round_trips: TokenStream,
    recursive: TokenStream,
    layout: TokenStream,
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
        Part::Recursive(_) => quote!(.text("recursive")),
        Part::Named(name) => quote!(.text("named").text(#name)),
    }
}

fn parts(members: &Members) -> Vec<&Part> {
    match members {
        Members::Unit => Vec::new(),
        Members::Unnamed(parts) => parts.iter().collect(),
        Members::Named(parts) => parts.iter().map(|(_, part)| part).collect(),
    }
}

fn recursive<'a>(root: &TokenStream, parts: impl IntoIterator<Item = &'a Part>) -> TokenStream {
    let mut terms = Vec::new();
    for part in parts {
        match part {
            Part::Child(ty) => terms.push(quote!(<#ty as #root::SessionValue>::RECURSIVE)),
            Part::Recursive(_) => return quote!(true),
            Part::Named(_) => {}
        }
    }
    quote!(false #(|| #terms)*)
}

/// What contains itself can be nested deeper than it can be read back, and of a shape by hand nothing is known.
fn round_trips<'a>(root: &TokenStream, parts: impl IntoIterator<Item = &'a Part>) -> TokenStream {
    let mut terms = Vec::new();
    for part in parts {
        match part {
            Part::Child(ty) => terms.push(quote!(<#ty as #root::SessionValue>::ROUND_TRIPS)),
            Part::Recursive(_) | Part::Named(_) => return quote!(false),
        }
    }
    quote!(#root::__private::TRUSTS_DERIVES #(&& #terms)*)
}

fn layout(root: &TokenStream, members: &Members) -> TokenStream {
    let private = quote!(#root::__private);
    let layouts = parts(members).into_iter().map(|part| match part {
        Part::Child(ty) => quote!(<#ty as #root::SessionValue>::LAYOUT),
        Part::Recursive(ty) => quote!(#private::Layout::Recursive(|| <#ty as #root::SessionValue>::LAYOUT)),
        Part::Named(_) => quote!(#private::Layout::Ordered),
    });
    let layouts = layouts.collect::<Vec<_>>();
    match &layouts[..] {
        [] => quote!(#private::Layout::Ordered),
        [only] => only.clone(),
        several => quote!(#private::Layout::Parts(&[#(#several),*])),
    }
}

fn variant_layout(root: &TokenStream, at: usize, variant: &Variant) -> TokenStream {
    let private = quote!(#root::__private);
    let core = quote!(#private::core);
    let inside = layout(root, &variant.members);
    let appended = match variant.place {
        VariantPlace::InTheShape => quote!(#core::option::Option::None),
        VariantPlace::Appended => {
            let (at, own) = (at as u64, variant_shape(root, variant));
            let enum_shape = quote!(.child(<Self as #root::SessionValue>::SHAPE));
            let shape = new(root, "appended", quote!(#enum_shape.number(#at)#own));
            quote!(#core::option::Option::Some(#shape))
        }
    };
    quote!(#private::VariantLayout { inside: #inside, appended: #appended })
}

fn ends_with_comma(tokens: &TokenStream) -> bool {
    matches!(tokens.clone().into_iter().last(), Some(proc_macro2::TokenTree::Punct(punct)) if punct.as_char() == ',')
}
