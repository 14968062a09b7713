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
    const ROUND_TRIPS: ::cloakroom::__private::core::primitive::bool = false;
    const RECURSIVE: ::cloakroom::__private::core::primitive::bool = true;
    const LAYOUT: ::cloakroom::__private::Layout = ::cloakroom::__private::Layout::Parts(
        &[
            <u32 as ::cloakroom::SessionValue>::LAYOUT,
            <[T; N] as ::cloakroom::SessionValue>::LAYOUT,
            ::cloakroom::__private::Layout::Recursive(|| {
                <Vec<Item<T, N>> as ::cloakroom::SessionValue>::LAYOUT
            }),
            ::cloakroom::__private::Layout::Ordered,
        ],
    );
}
