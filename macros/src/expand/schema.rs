//! One static per field, the schema that lists them, and the impls that lead there.

use super::{at, past, place};
use crate::model::{Field, Merge, Role, Rule, Schema, Secrecy, Stay, Storage, Unreadable};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

pub(super) fn expand(schema: &Schema) -> TokenStream {
    let Schema { root, ident, accessors, name, version, secret, fields, .. } = schema;
    let private = quote!(#root::__private);
    let core = quote!(#private::core);
    let definitions = fields.iter().enumerate().map(|(index, field)| definition(schema, index, field));
    let cfg = fields.iter().map(|field| field.copied.cfg.iter().cloned().collect::<TokenStream>()).collect::<Vec<_>>();
    let def = (0..fields.len()).map(static_name).collect::<Vec<_>>();
    let field = fields.iter().map(|field| &field.ident).collect::<Vec<_>>();
    let type_name = format!("::{ident}");
    let from = Ident::new("__from", Span::mixed_site());
    let all = Ident::new("__fields", Span::mixed_site());
    let visit = Ident::new("__visit", Span::mixed_site());
    let lints = super::accessors::lints();
    let secret_check = secret.map(|span| secret_check(root, span));
    let owner = owner(schema);
    let owner_field = match owner_index(schema) {
        Some(index) => {
            let def = static_name(index);
            quote!(#core::option::Option::Some(&#def))
        }
        None => quote!(#core::option::Option::None),
    };
    quote! {
        #lints
        const _: () = {
            #secret_check
            #(#definitions)*

            static __CLOAKROOM_SCHEMA: #private::Schema = #private::Schema {
                name: #name,
                version: #version,
                type_name: #core::concat!(#core::module_path!(), #type_name),
                fields: &[#(#cfg &#def),*],
                owner: #owner_field,
            };

            #[automatically_derived]
            impl #root::SessionData for #ident {
                type Fields = #accessors;

                fn initial() -> Self {
                    #ident { #(#cfg #field: #def.default(),)* }
                }

                fn __schema() -> &'static #private::Schema {
                    &__CLOAKROOM_SCHEMA
                }

                fn __open(#from: &#private::Opener<'_>) -> #core::result::Result<#accessors, #private::Undecodable> {
                    #core::result::Result::Ok(#accessors { #(#cfg #field: #from.field(&#def)?,)* })
                }

                fn __visit(#all: &mut #accessors, #visit: &mut dyn #core::ops::FnMut(&mut dyn #private::PlacedField)) {
                    #(#cfg #visit(&mut #private::Placed { def: &#def, field: &mut #all.#field });)*
                }
            }

            #owner

            #[automatically_derived]
            impl #core::convert::From<#ident> for #accessors {
                fn from(#from: #ident) -> Self {
                    #accessors { #(#cfg #field: #def.unbound(#from.#field),)* }
                }
            }
        };
    }
}

fn owner_index(schema: &Schema) -> Option<usize> {
    schema.fields.iter().position(|field| field.role == Role::Owner)
}

/// Who a session of this struct belongs to, and whether they count as signed in.
fn owner(schema: &Schema) -> Option<TokenStream> {
    let Schema { root, ident, accessors, fields, authenticated, .. } = schema;
    let Field { ident: field, ty, .. } = fields.get(owner_index(schema)?)?;
    let private = quote!(#root::__private);
    let core = quote!(#private::core);
    let all = Ident::new("__fields", Span::mixed_site());
    // Where the type is no owner's, or seen by fewer than the struct is, rustc shall point at it.
    let named = at(
        place(ty),
        &quote! {
            type Owner = <#ty as #private::OwnerField>::Id;

            fn __owner(#all: &#accessors) -> #core::option::Option<&Self::Owner> {
                #private::OwnerField::id(&*#all.#field)
            }
        },
    );
    let complete = match authenticated {
        Some(path) => {
            let here = place(path);
            let check = Ident::new("__check", here);
            let signature = at(here, &quote!(fn(&#accessors) -> #core::primitive::bool));
            quote!({ let #check: #signature = #path; #check(#all) })
        }
        None => quote!(true),
    };
    Some(quote! {
        #[automatically_derived]
        impl #root::HasOwner for #ident {
            #named

            fn __is_complete(#all: &#accessors) -> #core::primitive::bool {
                #complete
            }
        }
    })
}

fn static_name(index: usize) -> Ident {
    format_ident!("__CLOAKROOM_FIELD_{index}")
}

/// The static that knows everything about one field, with each part at the place rustc shall point to if it is wrong.
fn definition(schema: &Schema, index: usize, field: &Field) -> TokenStream {
    let Field { name, ty, copied, .. } = field;
    let key = field.key();
    let root = &schema.root;
    let private = quote!(#root::__private);
    let (schema, cfg, def) = (&schema.name, &copied.cfg, static_name(index));
    let type_place = place(ty);

    let coding = past::coding(&private, ty, field.storage);
    let past = past::expand(&private, field);
    let default = match &field.default {
        Some(default) => quote!(|| -> #ty { #default }),
        None => {
            let helper = at(type_place, &quote!(#private::FieldDefault));
            quote!(<#ty as #helper>::field_default)
        }
    };
    let merge = match &field.merge {
        Merge::Last => None,
        Merge::Strict => Some(quote!(#private::Merge::Strict)),
        Merge::Rule(rule, span) => {
            let constructor = match (rule, field.storage) {
                (Rule::Add, _) => quote!(add),
                (Rule::Max, _) => quote!(max),
                (Rule::Min, _) => quote!(min),
                (Rule::Union, Storage::Shaped) => quote!(union),
                (Rule::Union, Storage::Opaque(_)) => quote!(opaque_union),
            };
            Some(at(*span, &quote!(#private::Merge::#constructor())))
        }
        Merge::Function(path) => Some(quote!(#private::Merge::Of(#path))),
    };
    let merge = merge.map(|merge| quote!(.merge(#merge)));
    let ttl = field.ttl.map(|ttl| {
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        quote!(.ttl(#private::core::time::Duration::from_millis(#millis)))
    });
    let validate = field.validate.as_ref().map(|path| {
        let value = Ident::new("__value", place(path));
        let arguments = quote_spanned!(place(path)=> (&#path, #value));
        let check = at(place(path), &quote!(#private::Validator::<#ty, _>::check));
        quote!(.validate(|#value| #check #arguments))
    });
    let lossy = match field.unreadable {
        Unreadable::ResetsSchema => None,
        Unreadable::ResetsField => Some(quote!(.lossy())),
    };
    let (secret, secret_check) = match field.secrecy {
        Secrecy::Plain => (None, None),
        Secrecy::OfStruct => (Some(quote!(.secret())), None),
        Secrecy::OfField(span) => {
            let check = secret_check(root, span);
            (Some(quote!(.secret())), Some(quote!(#(#cfg)* #check)))
        }
    };
    let role = match field.role {
        Role::Data => None,
        Role::Owner => {
            let helper = at(type_place, &quote!(#private::owner_hash::<#ty>));
            Some(quote!(.owner(#helper)))
        }
        Role::Privilege => Some(quote!(.privilege())),
    };
    let stay = match field.stay {
        Stay::WithItsOwner => None,
        Stay::Kept => Some(quote!(.keep())),
    };
    let json = match field.storage {
        Storage::Shaped => None,
        Storage::Opaque(span) => {
            let check = at(span, &quote!(#root::__opaque_needs_json!{}));
            Some(quote!(#(#cfg)* #check))
        }
    };
    quote! {
        #json
        #secret_check
        #(#cfg)*
        static #def: #private::FieldDef<#ty> =
            #private::FieldDef::<#ty>::new(#schema, #name, #key, #coding, #default)
            #past #role #stay #merge #ttl #validate #lossy #secret;
    }
}

/// Says at the attribute that a feature is missing, if it is.
fn secret_check(root: &TokenStream, span: Span) -> TokenStream {
    at(span, &quote!(#root::__secret_needs_its_feature!{}))
}
