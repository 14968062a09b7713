/// The fields of [`Cart`] in a session.
#[allow(deprecated)]
struct CartFields {
    /// Stored as `cart/items`; of two concurrent changes the later wins.
    items: ::cloakroom::Field<Vec<Item>>,
}
#[allow(deprecated)]
const _: () = {
    static __CLOAKROOM_FIELD_0: ::cloakroom::__private::FieldDef<Vec<Item>> = ::cloakroom::__private::FieldDef::<
        Vec<Item>,
    >::new(
        "cart",
        "items",
        "cart/items",
        <Vec<Item> as ::cloakroom::__private::Stored>::CODING,
        <Vec<Item> as ::cloakroom::__private::FieldDefault>::field_default,
    );
    static __CLOAKROOM_SCHEMA: ::cloakroom::__private::Schema = ::cloakroom::__private::Schema {
        name: "cart",
        version: 1u32,
        type_name: ::cloakroom::__private::core::concat!(
            ::cloakroom::__private::core::module_path!(), "::Cart"
        ),
        fields: &[&__CLOAKROOM_FIELD_0],
        owner: ::cloakroom::__private::core::option::Option::None,
    };
    #[automatically_derived]
    impl ::cloakroom::SessionData for Cart {
        type Fields = CartFields;
        fn initial() -> Self {
            Cart {
                items: __CLOAKROOM_FIELD_0.default(),
            }
        }
        fn __schema() -> &'static ::cloakroom::__private::Schema {
            &__CLOAKROOM_SCHEMA
        }
        fn __open(
            __from: &::cloakroom::__private::Opener<'_>,
        ) -> ::cloakroom::__private::core::result::Result<
            CartFields,
            ::cloakroom::__private::Undecodable,
        > {
            ::cloakroom::__private::core::result::Result::Ok(CartFields {
                items: __from.field(&__CLOAKROOM_FIELD_0)?,
            })
        }
        fn __visit(
            __fields: &mut CartFields,
            __visit: &mut dyn ::cloakroom::__private::core::ops::FnMut(
                &mut dyn ::cloakroom::__private::PlacedField,
            ),
        ) {
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_0,
                    field: &mut __fields.items,
                },
            );
        }
    }
    #[automatically_derived]
    impl ::cloakroom::__private::core::convert::From<Cart> for CartFields {
        fn from(__from: Cart) -> Self {
            CartFields {
                items: __CLOAKROOM_FIELD_0.unbound(__from.items),
            }
        }
    }
};
const _: fn() -> ::cloakroom::__private::std::vec::Vec<Vec<Item>> = || ::cloakroom::__private::lock::values::<
    Vec<Item>,
    _,
>(my::items);
#[cfg(test)]
const _: ::cloakroom::__private::core::option::Option<
    &::cloakroom::__private::core::primitive::str,
> = ::cloakroom::__private::core::option_env!("SESSION_SCHEMA");
#[cfg(test)]
#[::cloakroom::__private::core::prelude::v1::test]
#[allow(deprecated)]
fn session_schema_of_cart() -> ::cloakroom::__private::core::result::Result<
    (),
    ::cloakroom::__private::lock::Failed,
> {
    let __initial = <Cart as ::cloakroom::SessionData>::initial();
    ::cloakroom::__private::lock::accept(
        ::cloakroom::__private::core::concat!(
            ::cloakroom::__private::core::env!("CARGO_MANIFEST_DIR"),
            "/session-schema/cart.lock"
        ),
        "session-schema/cart.lock",
        ::cloakroom::__private::core::option::Option::None,
        "name = \"cart\"\nversion = 1\n",
        &[
            ::cloakroom::__private::lock::Part::Text(
                "[field.items]\nin = 1\nmerge = \"last\"\nsamples = [",
            ),
            ::cloakroom::__private::lock::Part::Samples(
                ::cloakroom::__private::lock::samples(
                    <Vec<Item> as ::cloakroom::__private::Stored>::CODING,
                    &[],
                    __initial.items,
                    ::cloakroom::__private::lock::values::<Vec<Item>, _>(my::items),
                )?,
            ),
            ::cloakroom::__private::lock::Part::Text("]\nshape = "),
            ::cloakroom::__private::lock::Part::Shape(
                <Vec<Item> as ::cloakroom::__private::Stored>::CODING.shape(),
            ),
            ::cloakroom::__private::lock::Part::Text("\ntype = \"Vec<Item>\"\n"),
        ],
    )
}
