/// The fields of [`Shop`] in a session.
#[allow(deprecated)]
pub struct ShopFields {
    /// How often.
    ///
    /// Stored as `shop/views`; concurrent changes add up.
    pub views: ::cloakroom::Field<u64>,
    /// Stored as `shop/locale`; of two concurrent changes the later wins.
    pub(crate) language: ::cloakroom::Field<Lang>,
    #[cfg(all())]
    /// Stored as `shop/address`, in JSON, sealed; `my::merge` merges concurrent changes.
    #[deprecated(note = "gone soon")]
    address: ::cloakroom::Field<Address>,
    /// Stored as `shop/type`; of two concurrent changes the later is refused.
    r#type: ::cloakroom::Field<Option<String>>,
}
#[allow(deprecated)]
const _: () = {
    static __CLOAKROOM_FIELD_0: ::cloakroom::__private::FieldDef<u64> = ::cloakroom::__private::FieldDef::<
        u64,
    >::new(
            "shop",
            "views",
            "shop/views",
            <u64 as ::cloakroom::__private::Stored>::CODING,
            <u64 as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .merge(::cloakroom::__private::Merge::add());
    static __CLOAKROOM_FIELD_1: ::cloakroom::__private::FieldDef<Lang> = ::cloakroom::__private::FieldDef::<
        Lang,
    >::new(
            "shop",
            "language",
            "shop/locale",
            <Lang as ::cloakroom::__private::Stored>::CODING,
            || -> Lang { Lang::En },
        )
        .ttl(::cloakroom::__private::core::time::Duration::from_millis(600000u64))
        .validate(|__value| ::cloakroom::__private::Validator::<
            Lang,
            _,
        >::check(&sane, __value))
        .lossy();
    #[cfg(all())]
    ::cloakroom::__opaque_needs_json! {}
    #[cfg(all())]
    ::cloakroom::__secret_needs_its_feature! {}
    #[cfg(all())]
    static __CLOAKROOM_FIELD_2: ::cloakroom::__private::FieldDef<Address> = ::cloakroom::__private::FieldDef::<
        Address,
    >::new(
            "shop",
            "address",
            "shop/address",
            <Address as ::cloakroom::__private::StoredOpaque>::CODING,
            <Address as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .merge(::cloakroom::__private::Merge::Of(my::merge))
        .secret();
    static __CLOAKROOM_FIELD_3: ::cloakroom::__private::FieldDef<Option<String>> = ::cloakroom::__private::FieldDef::<
        Option<String>,
    >::new(
            "shop",
            "type",
            "shop/type",
            <Option<String> as ::cloakroom::__private::Stored>::CODING,
            <Option<String> as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .merge(::cloakroom::__private::Merge::Strict);
    static __CLOAKROOM_SCHEMA: ::cloakroom::__private::Schema = ::cloakroom::__private::Schema {
        name: "shop",
        version: 4u32,
        type_name: ::cloakroom::__private::core::concat!(
            ::cloakroom::__private::core::module_path!(), "::Shop"
        ),
        fields: &[
            &__CLOAKROOM_FIELD_0,
            &__CLOAKROOM_FIELD_1,
            #[cfg(all())]
            &__CLOAKROOM_FIELD_2,
            &__CLOAKROOM_FIELD_3,
        ],
        owner: ::cloakroom::__private::core::option::Option::None,
    };
    #[automatically_derived]
    impl ::cloakroom::SessionData for Shop {
        type Fields = ShopFields;
        fn initial() -> Self {
            Shop {
                views: __CLOAKROOM_FIELD_0.default(),
                language: __CLOAKROOM_FIELD_1.default(),
                #[cfg(all())]
                address: __CLOAKROOM_FIELD_2.default(),
                r#type: __CLOAKROOM_FIELD_3.default(),
            }
        }
        fn __schema() -> &'static ::cloakroom::__private::Schema {
            &__CLOAKROOM_SCHEMA
        }
        fn __open(
            __from: &::cloakroom::__private::Opener<'_>,
        ) -> ::cloakroom::__private::core::result::Result<
            ShopFields,
            ::cloakroom::__private::Undecodable,
        > {
            ::cloakroom::__private::core::result::Result::Ok(ShopFields {
                views: __from.field(&__CLOAKROOM_FIELD_0)?,
                language: __from.field(&__CLOAKROOM_FIELD_1)?,
                #[cfg(all())]
                address: __from.field(&__CLOAKROOM_FIELD_2)?,
                r#type: __from.field(&__CLOAKROOM_FIELD_3)?,
            })
        }
        fn __visit(
            __fields: &mut ShopFields,
            __visit: &mut dyn ::cloakroom::__private::core::ops::FnMut(
                &mut dyn ::cloakroom::__private::PlacedField,
            ),
        ) {
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_0,
                    field: &mut __fields.views,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_1,
                    field: &mut __fields.language,
                },
            );
            #[cfg(all())]
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_2,
                    field: &mut __fields.address,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_3,
                    field: &mut __fields.r#type,
                },
            );
        }
    }
    #[automatically_derived]
    impl ::cloakroom::__private::core::convert::From<Shop> for ShopFields {
        fn from(__from: Shop) -> Self {
            ShopFields {
                views: __CLOAKROOM_FIELD_0.unbound(__from.views),
                language: __CLOAKROOM_FIELD_1.unbound(__from.language),
                #[cfg(all())]
                address: __CLOAKROOM_FIELD_2.unbound(__from.address),
                r#type: __CLOAKROOM_FIELD_3.unbound(__from.r#type),
            }
        }
    }
};
