::core::compile_error! {
    "unknown attribute `mrege`\n\n  = help: did you mean `merge`?"
}
#[allow(
    dead_code,
    deprecated,
    missing_debug_implementations,
    non_camel_case_types,
    non_snake_case,
    private_interfaces,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic
)]
pub struct ShopFields {
    pub views: ::cloakroom::Field<u64>,
    name: ::cloakroom::Field<String>,
}
#[allow(
    dead_code,
    deprecated,
    missing_debug_implementations,
    non_camel_case_types,
    non_snake_case,
    private_interfaces,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic
)]
const _: () = {
    impl ::cloakroom::SessionData for Shop {
        type Fields = ShopFields;
        fn initial() -> Self {
            ::cloakroom::__private::core::unreachable!()
        }
        fn __schema() -> &'static ::cloakroom::__private::Schema {
            ::cloakroom::__private::core::unreachable!()
        }
        fn __open(
            _: &::cloakroom::__private::Opener<'_>,
        ) -> ::cloakroom::__private::core::result::Result<
            ShopFields,
            ::cloakroom::__private::Undecodable,
        > {
            ::cloakroom::__private::core::unreachable!()
        }
        fn __visit(
            _: &mut ShopFields,
            _: &mut dyn ::cloakroom::__private::core::ops::FnMut(
                &mut dyn ::cloakroom::__private::PlacedField,
            ),
        ) {
            ::cloakroom::__private::core::unreachable!()
        }
    }
    impl ::cloakroom::__private::core::convert::From<Shop> for ShopFields {
        fn from(_: Shop) -> Self {
            ::cloakroom::__private::core::unreachable!()
        }
    }
};
