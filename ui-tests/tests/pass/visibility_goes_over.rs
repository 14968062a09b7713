//! The generated struct is as visible as the user's, field by field, private types included.
#![deny(warnings, unreachable_pub)]

mod shop {
    use cloakroom::SessionData;

    #[derive(Default, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
    struct Hidden {
        n: u8,
    }

    #[derive(SessionData)]
    pub(crate) struct Shop {
        pub(crate) open: u8,
        pub(super) half: u8,
        closed: u8,
        hidden: Hidden,
    }

    pub(crate) fn secret(fields: &mut ShopFields) -> u8 {
        *fields.closed += 1;
        fields.hidden.n += 1;
        *fields.closed + fields.hidden.n
    }
}

fn main() {
    use cloakroom::SessionData as _;
    let mut fields = shop::ShopFields::from(shop::Shop::initial());
    *fields.open += 1;
    *fields.half += 1;
    assert_eq!(shop::secret(&mut fields), 2);
}
