::core::compile_error! {
    "unknown attribute `mrege`\n\n  = help: did you mean `merge`?"
}
#[allow(deprecated)]
pub struct ShopFields {
    pub views: ::cloakroom::Field<u64>,
    name: ::cloakroom::Field<String>,
}
#[allow(deprecated)]
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
