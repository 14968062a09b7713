/// The fields of [`Past`] in a session.
#[allow(deprecated)]
struct PastFields {
    /// Stored as `past/level@3`; of two concurrent changes the later wins.
    level: ::cloakroom::Field<Level>,
    /// Stored as `past/top@4`; of two concurrent changes the larger value wins.
    top: ::cloakroom::Field<u64>,
    #[cfg(all())]
    /// Stored as `past/text@6`, in JSON, sealed; of two concurrent changes the later wins.
    text: ::cloakroom::Field<Text>,
    /// Stored as `past/sum@5`; of two concurrent changes the later wins.
    total: ::cloakroom::Field<Level>,
    /// Stored as `past/first`; of two concurrent changes the later wins.
    first: ::cloakroom::Field<String>,
    /// Stored as `past/both`; of two concurrent changes the later wins.
    both: ::cloakroom::Field<Option<String>>,
}
#[allow(deprecated)]
const _: () = {
    static __CLOAKROOM_FIELD_0: ::cloakroom::__private::FieldDef<Level> = ::cloakroom::__private::FieldDef::<
        Level,
    >::new(
            "past",
            "level",
            "past/level@3",
            <Level as ::cloakroom::__private::Stored>::CODING,
            <Level as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .past(
            &["past/level@3", "past/level"],
            {
                static __PAST_0: ::cloakroom::__private::Past<u8, Level> = ::cloakroom::__private::Past::<
                    u8,
                    Level,
                >::new(
                    <u8 as ::cloakroom::__private::Stored>::CODING,
                    |__value| {
                        let __value = {
                            let __step: fn(_) -> _ = level;
                            ::cloakroom::__private::Upgrade::<
                                u8,
                                Level,
                            >::upgrade(__step, __value)
                        }?;
                        ::cloakroom::__private::core::result::Result::Ok(__value)
                    },
                    ::cloakroom::__private::core::option::Option::None,
                );
                &[&__PAST_0]
            },
        );
    static __CLOAKROOM_FIELD_1: ::cloakroom::__private::FieldDef<u64> = ::cloakroom::__private::FieldDef::<
        u64,
    >::new(
            "past",
            "top",
            "past/top@4",
            <u64 as ::cloakroom::__private::Stored>::CODING,
            <u64 as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .past(
            &["past/top@4", "past/top@2", "past/top"],
            {
                static __PAST_1: ::cloakroom::__private::Past<u32, u64> = ::cloakroom::__private::Past::<
                    u32,
                    u64,
                >::new(
                    <u32 as ::cloakroom::__private::Stored>::CODING,
                    |__value| {
                        let __value = {
                            let __step: fn(_) -> _ = u64::from;
                            ::cloakroom::__private::Upgrade::<
                                u32,
                                u64,
                            >::upgrade(__step, __value)
                        }?;
                        ::cloakroom::__private::core::result::Result::Ok(__value)
                    },
                    ::cloakroom::__private::core::option::Option::Some(|__value| {
                        let __step: fn(_) -> _ = <Half as Narrow<u64>>::narrow;
                        ::cloakroom::__private::Downgrade::<
                            u64,
                            u32,
                        >::downgrade(__step, __value)
                    }),
                );
                static __PAST_0: ::cloakroom::__private::Past<u16, u64> = ::cloakroom::__private::Past::<
                    u16,
                    u64,
                >::new(
                    <u16 as ::cloakroom::__private::Stored>::CODING,
                    |__value| {
                        let __value = {
                            let __step: fn(_) -> _ = u32::from;
                            ::cloakroom::__private::Upgrade::<
                                u16,
                                u32,
                            >::upgrade(__step, __value)
                        }?;
                        let __value = {
                            let __step: fn(_) -> _ = u64::from;
                            ::cloakroom::__private::Upgrade::<
                                u32,
                                u64,
                            >::upgrade(__step, __value)
                        }?;
                        ::cloakroom::__private::core::result::Result::Ok(__value)
                    },
                    ::cloakroom::__private::core::option::Option::Some(|__value| {
                        let __step: fn(_) -> _ = narrow;
                        ::cloakroom::__private::Downgrade::<
                            u32,
                            u16,
                        >::downgrade(
                            __step,
                            &{
                                let __step: fn(_) -> _ = <Half as Narrow<u64>>::narrow;
                                ::cloakroom::__private::Downgrade::<
                                    u64,
                                    u32,
                                >::downgrade(__step, __value)
                            },
                        )
                    }),
                );
                &[&__PAST_1, &__PAST_0]
            },
        )
        .merge(::cloakroom::__private::Merge::max());
    #[cfg(all())]
    ::cloakroom::__opaque_needs_json! {}
    #[cfg(all())]
    ::cloakroom::__secret_needs_its_feature! {}
    #[cfg(all())]
    static __CLOAKROOM_FIELD_2: ::cloakroom::__private::FieldDef<Text> = ::cloakroom::__private::FieldDef::<
        Text,
    >::new(
            "past",
            "text",
            "past/text@6",
            <Text as ::cloakroom::__private::StoredOpaque>::CODING,
            <Text as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .past(
            &["past/text@6", "past/text@4"],
            {
                static __PAST_0: ::cloakroom::__private::Past<Notes, Text> = ::cloakroom::__private::Past::<
                    Notes,
                    Text,
                >::new(
                    <Notes as ::cloakroom::__private::StoredOpaque>::CODING,
                    |__value| {
                        let __value = {
                            let __step: fn(_) -> _ = Text::try_from;
                            ::cloakroom::__private::Upgrade::<
                                Notes,
                                Text,
                            >::upgrade(__step, __value)
                        }?;
                        ::cloakroom::__private::core::result::Result::Ok(__value)
                    },
                    ::cloakroom::__private::core::option::Option::Some(|__value| {
                        let __step: fn(_) -> _ = Text::notes;
                        ::cloakroom::__private::Downgrade::<
                            Text,
                            Notes,
                        >::downgrade(__step, __value)
                    }),
                );
                &[&__PAST_0]
            },
        )
        .secret();
    static __CLOAKROOM_FIELD_3: ::cloakroom::__private::FieldDef<Level> = ::cloakroom::__private::FieldDef::<
        Level,
    >::new(
        "past",
        "total",
        "past/sum@5",
        <Level as ::cloakroom::__private::Stored>::CODING,
        <Level as ::cloakroom::__private::FieldDefault>::field_default,
    );
    static __CLOAKROOM_FIELD_4: ::cloakroom::__private::FieldDef<String> = ::cloakroom::__private::FieldDef::<
        String,
    >::new(
            "past",
            "first",
            "past/first",
            <String as ::cloakroom::__private::Stored>::CODING,
            <String as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .from(
            &["past/name"],
            |__sources| {
                let __step: fn(_) -> _ = first;
                ::cloakroom::__private::Upgrade::<
                    String,
                    String,
                >::upgrade(
                    __step,
                    __sources.only(&<String as ::cloakroom::__private::Stored>::CODING)?,
                )
            },
        );
    static __CLOAKROOM_FIELD_5: ::cloakroom::__private::FieldDef<Option<String>> = ::cloakroom::__private::FieldDef::<
        Option<String>,
    >::new(
            "past",
            "both",
            "past/both",
            <Option<String> as ::cloakroom::__private::Stored>::CODING,
            <Option<String> as ::cloakroom::__private::FieldDefault>::field_default,
        )
        .from(
            &["past/name", "past/notes@4"],
            |__sources| {
                let __step: fn(_, _) -> _ = both;
                ::cloakroom::__private::Compute::<
                    (String, Notes),
                    Option<String>,
                >::compute(
                    __step,
                    (
                        __sources
                            .value(
                                0usize,
                                &<String as ::cloakroom::__private::Stored>::CODING,
                                <String as ::cloakroom::__private::SourceDefault>::source_default,
                            )?,
                        __sources
                            .value(
                                1usize,
                                &<Notes as ::cloakroom::__private::StoredOpaque>::CODING,
                                <Notes as ::cloakroom::__private::SourceDefault>::source_default,
                            )?,
                    ),
                )
            },
        )
        .lossy();
    static __CLOAKROOM_SCHEMA: ::cloakroom::__private::Schema = ::cloakroom::__private::Schema {
        name: "past",
        version: 6u32,
        type_name: ::cloakroom::__private::core::concat!(
            ::cloakroom::__private::core::module_path!(), "::Past"
        ),
        fields: &[
            &__CLOAKROOM_FIELD_0,
            &__CLOAKROOM_FIELD_1,
            #[cfg(all())]
            &__CLOAKROOM_FIELD_2,
            &__CLOAKROOM_FIELD_3,
            &__CLOAKROOM_FIELD_4,
            &__CLOAKROOM_FIELD_5,
        ],
        owner: ::cloakroom::__private::core::option::Option::None,
    };
    #[automatically_derived]
    impl ::cloakroom::SessionData for Past {
        type Fields = PastFields;
        fn initial() -> Self {
            Past {
                level: __CLOAKROOM_FIELD_0.default(),
                top: __CLOAKROOM_FIELD_1.default(),
                #[cfg(all())]
                text: __CLOAKROOM_FIELD_2.default(),
                total: __CLOAKROOM_FIELD_3.default(),
                first: __CLOAKROOM_FIELD_4.default(),
                both: __CLOAKROOM_FIELD_5.default(),
            }
        }
        fn __schema() -> &'static ::cloakroom::__private::Schema {
            &__CLOAKROOM_SCHEMA
        }
        fn __open(
            __from: &::cloakroom::__private::Opener<'_>,
        ) -> ::cloakroom::__private::core::result::Result<
            PastFields,
            ::cloakroom::__private::Undecodable,
        > {
            ::cloakroom::__private::core::result::Result::Ok(PastFields {
                level: __from.field(&__CLOAKROOM_FIELD_0)?,
                top: __from.field(&__CLOAKROOM_FIELD_1)?,
                #[cfg(all())]
                text: __from.field(&__CLOAKROOM_FIELD_2)?,
                total: __from.field(&__CLOAKROOM_FIELD_3)?,
                first: __from.field(&__CLOAKROOM_FIELD_4)?,
                both: __from.field(&__CLOAKROOM_FIELD_5)?,
            })
        }
        fn __visit(
            __fields: &mut PastFields,
            __visit: &mut dyn ::cloakroom::__private::core::ops::FnMut(
                &mut dyn ::cloakroom::__private::PlacedField,
            ),
        ) {
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_0,
                    field: &mut __fields.level,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_1,
                    field: &mut __fields.top,
                },
            );
            #[cfg(all())]
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_2,
                    field: &mut __fields.text,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_3,
                    field: &mut __fields.total,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_4,
                    field: &mut __fields.first,
                },
            );
            __visit(
                &mut ::cloakroom::__private::Placed {
                    def: &__CLOAKROOM_FIELD_5,
                    field: &mut __fields.both,
                },
            );
        }
    }
    #[automatically_derived]
    impl ::cloakroom::__private::core::convert::From<Past> for PastFields {
        fn from(__from: Past) -> Self {
            PastFields {
                level: __CLOAKROOM_FIELD_0.unbound(__from.level),
                top: __CLOAKROOM_FIELD_1.unbound(__from.top),
                #[cfg(all())]
                text: __CLOAKROOM_FIELD_2.unbound(__from.text),
                total: __CLOAKROOM_FIELD_3.unbound(__from.total),
                first: __CLOAKROOM_FIELD_4.unbound(__from.first),
                both: __CLOAKROOM_FIELD_5.unbound(__from.both),
            }
        }
    }
};
