/// The fields of [`Vault`] in a session.
#[allow(deprecated)]
struct VaultFields {
    /// Stored as `vault/token`, sealed; of two concurrent changes the later wins.
    token: ::cloakroom::Field<Option<String>>,
    /// Stored as `vault/pin`, sealed; of two concurrent changes the later wins.
    pin: ::cloakroom::Field<u16>,
}
#[allow(deprecated)]
const _: () = {
    ::cloakroom::__secret_needs_its_feature! {}
    static __CLOAKROOM_FIELD_0: ::cloakroom::__private::FieldDef<Option<String>> = ::cloakroom::__private::FieldDef::<
        Option<String>,
    >::new(
            "vault",
            "token",
            "vault/token",
            <Option<String> as ::cloakroom::__private::Stored>::CODING,
            <Option<String> as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .secret();
    static __CLOAKROOM_FIELD_1: ::cloakroom::__private::FieldDef<u16> = ::cloakroom::__private::FieldDef::<
        u16,
    >::new(
            "vault",
            "pin",
            "vault/pin",
            <u16 as ::cloakroom::__private::Stored>::CODING,
            <u16 as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .secret();
    static __CLOAKROOM_SCHEMA: ::cloakroom::__private::Schema = ::cloakroom::__private::Schema {
        name: "vault",
        version: 1u32,
        type_name: ::cloakroom::__private::core::concat!(
            ::cloakroom::__private::core::module_path!(), "::Vault"
        ),
        fields: &[&__CLOAKROOM_FIELD_0, &__CLOAKROOM_FIELD_1],
        owner: ::cloakroom::__private::core::option::Option::None,
    };
    #[automatically_derived]
    impl ::cloakroom::SessionData for Vault {
        type Fields = VaultFields;
        fn initial() -> Self {
            Vault {
                token: __CLOAKROOM_FIELD_0.default(),
                pin: __CLOAKROOM_FIELD_1.default(),
            }
        }
        fn __schema() -> &'static ::cloakroom::__private::Schema {
            &__CLOAKROOM_SCHEMA
        }
        fn __open(
            __from: &::cloakroom::__private::Opener<'_>,
        ) -> ::cloakroom::__private::core::result::Result<
            VaultFields,
            ::cloakroom::__private::Undecodable,
        > {
            ::cloakroom::__private::core::result::Result::Ok(VaultFields {
                token: __from.field(&__CLOAKROOM_FIELD_0)?,
                pin: __from.field(&__CLOAKROOM_FIELD_1)?,
            })
        }
        fn __visit(
            __fields: &mut VaultFields,
            __visit: &mut dyn ::cloakroom::__private::core::ops::FnMut(
                &mut dyn ::cloakroom::__private::PlacedField,
            ),
        ) {
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_0,
                    field: &mut __fields.token,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_1,
                    field: &mut __fields.pin,
                },
            );
        }
    }
    #[automatically_derived]
    impl ::cloakroom::__private::core::convert::From<Vault> for VaultFields {
        fn from(__from: Vault) -> Self {
            VaultFields {
                token: __CLOAKROOM_FIELD_0.unbound(__from.token),
                pin: __CLOAKROOM_FIELD_1.unbound(__from.pin),
            }
        }
    }
};
