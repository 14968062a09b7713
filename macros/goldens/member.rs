/// The fields of [`Member`] in a session.
#[allow(deprecated)]
struct MemberFields {
    /// Stored as `member/user`; of two concurrent changes the later wins. The owner of the session: a change rotates the token, and takes the other fields with it.
    user: ::cloakroom::Field<Option<UserId>>,
    /// Stored as `member/admin`; of two concurrent changes the later wins. A change rotates the token.
    admin: ::cloakroom::Field<bool>,
    /// Stored as `member/theme`; of two concurrent changes the later wins. It stays when the owner changes.
    theme: ::cloakroom::Field<String>,
}
#[allow(deprecated)]
const _: () = {
    static __CLOAKROOM_FIELD_0: ::cloakroom::__private::FieldDef<Option<UserId>> = ::cloakroom::__private::FieldDef::<
        Option<UserId>,
    >::new(
            "member",
            "user",
            "member/user",
            <Option<UserId> as ::cloakroom::__private::Stored>::CODING,
            <Option<UserId> as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .owner(::cloakroom::__private::owner_hash::<Option<UserId>>);
    static __CLOAKROOM_FIELD_1: ::cloakroom::__private::FieldDef<bool> = ::cloakroom::__private::FieldDef::<
        bool,
    >::new(
            "member",
            "admin",
            "member/admin",
            <bool as ::cloakroom::__private::Stored>::CODING,
            <bool as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .privilege()
        .ttl(::cloakroom::__private::core::time::Duration::from_millis(600000u64));
    static __CLOAKROOM_FIELD_2: ::cloakroom::__private::FieldDef<String> = ::cloakroom::__private::FieldDef::<
        String,
    >::new(
            "member",
            "theme",
            "member/theme",
            <String as ::cloakroom::__private::Stored>::CODING,
            <String as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .keep();
    static __CLOAKROOM_SCHEMA: ::cloakroom::__private::Schema = ::cloakroom::__private::Schema {
        name: "member",
        version: 1u32,
        type_name: ::cloakroom::__private::core::concat!(
            ::cloakroom::__private::core::module_path!(), "::Member"
        ),
        fields: &[&__CLOAKROOM_FIELD_0, &__CLOAKROOM_FIELD_1, &__CLOAKROOM_FIELD_2],
        owner: ::cloakroom::__private::core::option::Option::Some(&__CLOAKROOM_FIELD_0),
    };
    #[automatically_derived]
    impl ::cloakroom::SessionData for Member {
        type Fields = MemberFields;
        fn initial() -> Self {
            Member {
                user: __CLOAKROOM_FIELD_0.default(),
                admin: __CLOAKROOM_FIELD_1.default(),
                theme: __CLOAKROOM_FIELD_2.default(),
            }
        }
        fn __schema() -> &'static ::cloakroom::__private::Schema {
            &__CLOAKROOM_SCHEMA
        }
        fn __open(
            __from: &::cloakroom::__private::Opener<'_>,
        ) -> ::cloakroom::__private::core::result::Result<
            MemberFields,
            ::cloakroom::__private::Undecodable,
        > {
            ::cloakroom::__private::core::result::Result::Ok(MemberFields {
                user: __from.field(&__CLOAKROOM_FIELD_0)?,
                admin: __from.field(&__CLOAKROOM_FIELD_1)?,
                theme: __from.field(&__CLOAKROOM_FIELD_2)?,
            })
        }
        fn __visit(
            __fields: &mut MemberFields,
            __visit: &mut dyn ::cloakroom::__private::core::ops::FnMut(
                &mut dyn ::cloakroom::__private::PlacedField,
            ),
        ) {
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_0,
                    field: &mut __fields.user,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_1,
                    field: &mut __fields.admin,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_2,
                    field: &mut __fields.theme,
                },
            );
        }
    }
    #[automatically_derived]
    impl ::cloakroom::HasOwner for Member {
        type Owner = <Option<UserId> as ::cloakroom::__private::OwnerField>::Id;
        fn __owner(
            __fields: &MemberFields,
        ) -> ::cloakroom::__private::core::option::Option<&Self::Owner> {
            ::cloakroom::__private::OwnerField::id(&*__fields.user)
        }
        fn __is_complete(
            __fields: &MemberFields,
        ) -> ::cloakroom::__private::core::primitive::bool {
            {
                let __check: fn(
                    &MemberFields,
                ) -> ::cloakroom::__private::core::primitive::bool = is_through;
                __check(__fields)
            }
        }
    }
    #[automatically_derived]
    impl ::cloakroom::__private::core::convert::From<Member> for MemberFields {
        fn from(__from: Member) -> Self {
            MemberFields {
                user: __CLOAKROOM_FIELD_0.unbound(__from.user),
                admin: __CLOAKROOM_FIELD_1.unbound(__from.admin),
                theme: __CLOAKROOM_FIELD_2.unbound(__from.theme),
            }
        }
    }
};
