#[automatically_derived]
#[allow(deprecated)]
impl<T: Clone, const N: usize> ::cloakroom::SessionValue for Item<T, N>
where
    T: Default,
    T: ::cloakroom::SessionValue,
{
    const SHAPE: ::cloakroom::__private::Shape = ::cloakroom::__private::ShapeBuilder::new(
            "struct",
        )
        .number(4u64)
        .text("article")
        .child(<u32 as ::cloakroom::SessionValue>::SHAPE)
        .text("qty")
        .child(<[T; N] as ::cloakroom::SessionValue>::SHAPE)
        .text("parts")
        .text("recursive")
        .text("price")
        .text("named")
        .text("money-1")
        .finish();
    const RECURSIVE: ::cloakroom::__private::core::primitive::bool = true;
}
