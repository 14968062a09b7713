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
    const RECURSIVE: ::cloakroom::__private::core::primitive::bool = false
        || <u8 as ::cloakroom::SessionValue>::RECURSIVE
        || <String as ::cloakroom::SessionValue>::RECURSIVE
        || <u8 as ::cloakroom::SessionValue>::RECURSIVE
        || <Box<u16> as ::cloakroom::SessionValue>::RECURSIVE;
}
