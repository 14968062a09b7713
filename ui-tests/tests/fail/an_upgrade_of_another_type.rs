use cloakroom::{SessionData, SessionValue};

#[derive(Default, serde::Serialize, serde::Deserialize, SessionValue)]
struct Money(i64);

struct NoWords;

impl Money {
    fn from_euros(euros: u64) -> Self {
        Self(euros as i64 * 100)
    }

    fn of_text(text: &u32) -> Self {
        Self((*text).into())
    }

    fn rounded(cents: u32) -> i64 {
        cents.into()
    }

    fn checked(cents: u32) -> Result<i64, String> {
        Ok(cents.into())
    }

    fn speechless(_: u32) -> Result<Money, NoWords> {
        Err(NoWords)
    }

    fn both(euros: u32, cents: u32) -> Self {
        Self((euros * 100 + cents).into())
    }
}

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    #[session(changed(in = 2, from = u32, up = Money::from_euros, forget))]
    other_argument: Money,
    #[session(changed(in = 2, from = u32, up = Money::of_text, forget))]
    borrowed_argument: Money,
    #[session(changed(in = 2, from = u32, up = Money::rounded, forget))]
    other_value: Money,
    #[session(changed(in = 2, from = u32, up = Money::checked, forget))]
    other_value_in_a_result: Money,
    #[session(changed(in = 2, from = u32, up = Money::speechless, forget))]
    error_without_words: Money,
    #[session(changed(in = 2, from = u32, up = Money::both, forget))]
    two_arguments: Money,
}

fn main() {}
