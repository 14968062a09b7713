use cloakroom::{SessionData, SessionValue};

#[derive(Default, serde::Serialize, serde::Deserialize, SessionValue)]
struct Money(i64);

impl Money {
    fn from_cents(cents: u32) -> Self {
        Self(cents.into())
    }

    fn cents(&self) -> i64 {
        self.0
    }

    fn into_cents(self) -> u32 {
        self.0 as u32
    }

    fn try_cents(&self) -> Result<u32, std::num::TryFromIntError> {
        self.0.try_into()
    }
}

#[derive(SessionData)]
#[session(version = 2)]
struct Shop {
    #[session(changed(in = 2, from = u32, up = Money::from_cents, down = Money::cents))]
    other_value: Money,
    #[session(changed(in = 2, from = u32, up = Money::from_cents, down = Money::into_cents))]
    by_value: Money,
    #[session(changed(in = 2, from = u32, up = Money::from_cents, down = Money::try_cents))]
    may_fail: Money,
}

fn main() {}
