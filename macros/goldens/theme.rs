#[automatically_derived]
#[allow(deprecated)]
impl ::cloakroom::SessionValue for Theme {
    const SHAPE: ::cloakroom::__private::Shape = ::cloakroom::__private::ShapeBuilder::new(
            "enum",
        )
        .number(4u64)
        .text("Light")
        .text("unit")
        .text("Dark")
        .text("struct")
        .number(1u64)
        .text("since")
        .child(<u8 as ::cloakroom::SessionValue>::SHAPE)
        .text("Custom")
        .text("newtype")
        .child(<String as ::cloakroom::SessionValue>::SHAPE)
        .text("Mixed")
        .text("tuple")
        .number(2u64)
        .child(<u8 as ::cloakroom::SessionValue>::SHAPE)
        .child(<Box<u16> as ::cloakroom::SessionValue>::SHAPE)
        .finish();
    const ROUND_TRIPS: ::cloakroom::__private::core::primitive::bool = ::cloakroom::__private::TRUSTS_DERIVES
        && <u8 as ::cloakroom::SessionValue>::ROUND_TRIPS
        && <String as ::cloakroom::SessionValue>::ROUND_TRIPS
        && <u8 as ::cloakroom::SessionValue>::ROUND_TRIPS
        && <Box<u16> as ::cloakroom::SessionValue>::ROUND_TRIPS
        && <u8 as ::cloakroom::SessionValue>::ROUND_TRIPS
        && <Vec<u8> as ::cloakroom::SessionValue>::ROUND_TRIPS;
    const RECURSIVE: ::cloakroom::__private::core::primitive::bool = false
        || <u8 as ::cloakroom::SessionValue>::RECURSIVE
        || <String as ::cloakroom::SessionValue>::RECURSIVE
        || <u8 as ::cloakroom::SessionValue>::RECURSIVE
        || <Box<u16> as ::cloakroom::SessionValue>::RECURSIVE
        || <u8 as ::cloakroom::SessionValue>::RECURSIVE
        || <Vec<u8> as ::cloakroom::SessionValue>::RECURSIVE;
    const LAYOUT: ::cloakroom::__private::Layout = ::cloakroom::__private::Layout::Variants(
        &[
            ::cloakroom::__private::VariantLayout {
                inside: ::cloakroom::__private::Layout::Ordered,
                appended: ::cloakroom::__private::core::option::Option::None,
            },
            ::cloakroom::__private::VariantLayout {
                inside: <u8 as ::cloakroom::SessionValue>::LAYOUT,
                appended: ::cloakroom::__private::core::option::Option::None,
            },
            ::cloakroom::__private::VariantLayout {
                inside: <String as ::cloakroom::SessionValue>::LAYOUT,
                appended: ::cloakroom::__private::core::option::Option::None,
            },
            ::cloakroom::__private::VariantLayout {
                inside: ::cloakroom::__private::Layout::Parts(
                    &[
                        <u8 as ::cloakroom::SessionValue>::LAYOUT,
                        <Box<u16> as ::cloakroom::SessionValue>::LAYOUT,
                    ],
                ),
                appended: ::cloakroom::__private::core::option::Option::None,
            },
            ::cloakroom::__private::VariantLayout {
                inside: ::cloakroom::__private::Layout::Parts(
                    &[
                        <u8 as ::cloakroom::SessionValue>::LAYOUT,
                        <Vec<u8> as ::cloakroom::SessionValue>::LAYOUT,
                    ],
                ),
                appended: ::cloakroom::__private::core::option::Option::Some(
                    ::cloakroom::__private::ShapeBuilder::new("appended")
                        .child(<Self as ::cloakroom::SessionValue>::SHAPE)
                        .number(4u64)
                        .text("Sepia")
                        .text("struct")
                        .number(2u64)
                        .text("warmth")
                        .child(<u8 as ::cloakroom::SessionValue>::SHAPE)
                        .text("tints")
                        .child(<Vec<u8> as ::cloakroom::SessionValue>::SHAPE)
                        .finish(),
                ),
            },
        ],
    );
}
