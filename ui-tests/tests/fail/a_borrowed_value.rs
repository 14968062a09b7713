#[derive(cloakroom::SessionValue)]
struct Item<'a> {
    name: &'a str,
    other: std::borrow::Cow<'a, str>,
}

#[derive(cloakroom::SessionValue)]
union Bits {
    a: u32,
    b: f32,
}

fn main() {}
