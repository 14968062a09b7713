//! The year of docs/evolving-a-session.md: each version of its struct, and what it says of old and new programs, tried.

use crate::visitor::{Visitor, in_memory};
use cloakroom::store::MemoryStore;

/// A handler of the version it is in; outside of that, the struct is nobody's business.
macro_rules! handlers {
    ($($name:ident($($argument:ident: $type:ty)?) $(-> $answer:ty)? { $session:ident => $what:expr })*) => {$(
        pub(super) async fn $name(it: &super::Visitor<super::MemoryStore> $(, $argument: $type)?) $(-> $answer)? {
            it.meets(move |$session: &mut cloakroom::TypedSession<Shop>| $what).await
        }
    )*};
}

mod v1 {
    use cloakroom::{SessionData, SessionValue};
    use serde::{Deserialize, Serialize};

    #[derive(SessionData)]
    struct Shop {
        user: Option<String>,
        full_name: String,
        cart: Vec<Item>,
        coupon: Option<String>,
        total: u32,   // cents
        discount: u8, // percent
    }

    #[derive(Serialize, Deserialize, SessionValue)]
    struct Item {
        article: u32,
        count: u32,
    }

    handlers! {
        sign_in() { s => *s.user = Some("ada".to_owned()) }
        user() -> Option<String> { s => s.user.clone() }
        put(article: u32) { s => s.cart.push(Item { article, count: 1 }) }
        set_total(cents: u32) { s => *s.total = cents }
        others() -> String { s => format!("{} {:?} {}", s.full_name.len(), s.coupon.as_deref(), *s.discount) }
    }
}

mod v2 {
    use super::v3::Item;
    use cloakroom::{SessionData, SessionValue};
    use serde::{Deserialize, Serialize};

    #[derive(SessionData)]
    #[session(version = 2)]
    struct Shop {
        user: Option<String>,
        full_name: String,
        #[session(key = "cart")]
        basket: Vec<Item>,
        coupon: Option<String>,
        total: u32,   // cents
        discount: u8, // percent
        #[session(default = Theme::Light)]
        theme: Theme,
    }

    #[derive(PartialEq, Serialize, Deserialize, SessionValue)]
    pub(super) enum Theme {
        Light,
        Dark,
    }

    handlers! {
        is_dark() -> bool { s => *s.theme == Theme::Dark }
        go_dark() { s => *s.theme = Theme::Dark }
        articles() -> Vec<u32> { s => s.basket.iter().map(|item| item.article * item.count).collect() }
        total() -> u32 { s => *s.total }
        set_total(cents: u32) { s => *s.total = cents }
        others() -> String { s => format!(
            "{:?} {} {:?} {}",
            s.user.as_deref(), s.full_name.len(), s.coupon.as_deref(), *s.discount
        ) }
    }
}

mod v3 {
    pub(super) use super::v2::Theme;
    use cloakroom::{SessionData, SessionValue};
    use serde::{Deserialize, Serialize};

    #[derive(SessionData)]
    #[session(version = 3)]
    struct Shop {
        user: Option<String>,
        full_name: String,
        #[session(key = "cart")]
        basket: Vec<Item>,
        coupon: Option<String>,
        #[session(changed(in = 3, from = u32, up = Money::from_cents, down = Money::cents))]
        total: Money,
        discount: u8, // percent
        #[session(default = Theme::Light)]
        theme: Theme,
    }

    #[derive(Default, Serialize, Deserialize, SessionValue)]
    pub(super) struct Money {
        pub(super) cents: i64,
        pub(super) is_estimate: bool,
    }

    impl Money {
        pub(super) fn from_cents(cents: u32) -> Self {
            Self { cents: cents.into(), is_estimate: false }
        }

        pub(super) fn cents(&self) -> u32 {
            self.cents.try_into().unwrap_or(0)
        }
    }

    #[derive(Serialize, Deserialize, SessionValue)]
    pub(super) struct Item {
        pub(super) article: u32,
        pub(super) count: u32,
    }

    handlers! {
        total() -> (i64, bool) { s => (s.total.cents, s.total.is_estimate) }
        estimate(cents: i64) { s => *s.total = Money { cents, is_estimate: true } }
        discount() -> u8 { s => *s.discount }
        set_discount(percent: u8) { s => *s.discount = percent }
        others() -> String { s => format!(
            "{:?} {} {:?} {} {}",
            s.user.as_deref(), s.full_name.len(), s.coupon.as_deref(), s.basket.len(), *s.theme == Theme::Dark
        ) }
    }
}

mod v4 {
    use super::v3::{Item, Money, Theme};
    use cloakroom::{SessionData, SessionValue};
    use serde::{Deserialize, Serialize};

    #[derive(SessionData)]
    #[session(version = 4)]
    struct Shop {
        user: Option<String>,
        full_name: String,
        #[session(key = "cart")]
        basket: Vec<Item>,
        coupon: Option<String>,
        #[session(changed(in = 3, from = u32, up = Money::from_cents, down = Money::cents))]
        total: Money,
        #[session(changed(in = 4, from = u8, up = Discount::from_percent, forget))]
        discount: Discount,
        #[session(default = Theme::Light)]
        theme: Theme,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
    pub(super) enum Discount {
        #[default]
        None,
        Percent(u8),
        Cents(u32),
    }

    impl Discount {
        pub(super) fn from_percent(percent: u8) -> Result<Self, String> {
            match percent {
                0 => Ok(Self::None),
                1..=100 => Ok(Self::Percent(percent)),
                _ => Err(format!("a discount of {percent} percent")),
            }
        }
    }

    handlers! {
        discount() -> String { s => format!("{:?}", *s.discount) }
        take_off(cents: u32) { s => *s.discount = Discount::Cents(cents) }
        put(article: u32) { s => s.basket.push(Item { article, count: 1 }) }
        counts() -> Vec<u32> { s => s.basket.iter().map(|item| item.count).collect() }
        others() -> String { s => format!(
            "{:?} {} {:?} {} {}",
            s.user.as_deref(), s.full_name.len(), s.coupon.as_deref(), s.total.cents, *s.theme == Theme::Dark
        ) }
    }
}

mod v5 {
    use super::{
        v3::{Money, Theme},
        v4::Discount,
    };
    use cloakroom::{SessionData, SessionValue};
    use serde::{Deserialize, Serialize};

    #[derive(SessionData)]
    #[session(version = 5)]
    struct Shop {
        user: Option<String>,
        full_name: String,
        #[session(key = "cart", changed(in = 5, from = Vec<OldItem>, up = with_notes, down = without_notes))]
        basket: Vec<Item>,
        coupon: Option<String>,
        #[session(changed(in = 3, from = u32, up = Money::from_cents, down = Money::cents))]
        total: Money,
        #[session(changed(in = 4, from = u8, up = Discount::from_percent, forget))]
        discount: Discount,
        #[session(default = Theme::Light)]
        theme: Theme,
    }

    #[derive(Serialize, Deserialize, SessionValue)]
    pub(super) struct Item {
        article: u32,
        count: u32,
        note: Option<String>,
    }

    /// An item until version 4.
    #[derive(Serialize, Deserialize, SessionValue)]
    pub(super) struct OldItem {
        article: u32,
        count: u32,
    }

    pub(super) fn with_notes(items: Vec<OldItem>) -> Vec<Item> {
        items.into_iter().map(|OldItem { article, count }| Item { article, count, note: None }).collect()
    }

    pub(super) fn without_notes(items: &[Item]) -> Vec<OldItem> {
        items.iter().map(|item| OldItem { article: item.article, count: item.count }).collect()
    }

    handlers! {
        put(article: u32) { s => s.basket.push(Item { article, count: 2, note: Some("a gift".to_owned()) }) }
        notes() -> Vec<bool> { s => s.basket.iter().map(|item| item.note.is_some()).collect() }
        full_name() -> String { s => s.full_name.clone() }
        set_full_name(name: &'static str) { s => *s.full_name = name.to_owned() }
        coupon() -> Option<String> { s => s.coupon.clone() }
        set_coupon(code: &'static str) { s => *s.coupon = Some(code.to_owned()) }
        others() -> String { s => format!(
            "{:?} {} {:?} {}",
            s.user.as_deref(), s.total.cents, *s.discount, *s.theme == Theme::Dark
        ) }
    }
}

mod v6 {
    use super::{
        v3::{Money, Theme},
        v4::Discount,
        v5::{Item, OldItem, with_notes, without_notes},
    };
    use cloakroom::SessionData;

    #[derive(SessionData)]
    #[session(version = 6, removed(full_name: String, in = 6))]
    struct Shop {
        user: Option<String>,
        #[session(from(full_name: String, with = first_name))]
        first_name: String,
        #[session(from(full_name: String, with = last_name))]
        last_name: String,
        #[session(key = "cart", changed(in = 5, from = Vec<OldItem>, up = with_notes, down = without_notes))]
        basket: Vec<Item>,
        coupon: Option<String>,
        #[session(changed(in = 3, from = u32, up = Money::from_cents, down = Money::cents))]
        total: Money,
        #[session(changed(in = 4, from = u8, up = Discount::from_percent, forget))]
        discount: Discount,
        #[session(default = Theme::Light)]
        theme: Theme,
    }

    pub(super) fn first_name(full: String) -> String {
        full.split(' ').next().unwrap_or_default().to_owned()
    }

    pub(super) fn last_name(full: String) -> String {
        full.rsplit_once(' ').map_or_else(String::new, |(_, last)| last.to_owned())
    }

    handlers! {
        name() -> String { s => format!("{}, {}", s.last_name, s.first_name) }
        set_first_name(name: &'static str) { s => *s.first_name = name.to_owned() }
        others() -> String { s => format!(
            "{:?} {:?} {} {} {:?} {}",
            s.user.as_deref(), s.coupon.as_deref(), s.basket.len(), s.total.cents, *s.discount, *s.theme == Theme::Dark
        ) }
    }
}

mod v7 {
    use super::{
        v3::{Money, Theme},
        v4::Discount,
        v5::{Item, OldItem, with_notes, without_notes},
        v6::{first_name, last_name},
    };
    use cloakroom::SessionData;

    #[derive(SessionData)]
    #[session(version = 7, removed(full_name: String, in = 6), removed(coupon: Option<String>, in = 7))]
    struct Shop {
        user: Option<String>,
        #[session(from(full_name: String, with = first_name))]
        first_name: String,
        #[session(from(full_name: String, with = last_name))]
        last_name: String,
        #[session(key = "cart", changed(in = 5, from = Vec<OldItem>, up = with_notes, down = without_notes))]
        basket: Vec<Item>,
        #[session(changed(in = 3, from = u32, up = Money::from_cents, down = Money::cents))]
        total: Money,
        #[session(changed(in = 4, from = u8, up = Discount::from_percent, forget))]
        discount: Discount,
        #[session(default = Theme::Light)]
        theme: Theme,
    }

    handlers! {
        clear() { s => s.clear() }
        set_total(cents: u32) { s => *s.total = Money::from_cents(cents) }
        others() -> String { s => format!(
            "{:?} {}, {} {} {} {:?} {}",
            s.user.as_deref(), s.last_name, s.first_name, s.basket.len(), s.total.cents, *s.discount, *s.theme == Theme::Dark
        ) }
    }
}

/// Version 7 still, with the end of a history.
mod december {
    use super::{
        v3::{Money, Theme},
        v4::Discount,
        v5::{Item, OldItem, with_notes, without_notes},
        v6::{first_name, last_name},
    };
    use cloakroom::SessionData;

    #[derive(SessionData)]
    #[session(version = 7, removed(full_name: String, in = 6), removed(coupon: Option<String>, in = 7))]
    struct Shop {
        user: Option<String>,
        #[session(from(full_name: String, with = first_name))]
        first_name: String,
        #[session(from(full_name: String, with = last_name))]
        last_name: String,
        #[session(key = "cart", changed(in = 5, from = Vec<OldItem>, up = with_notes, down = without_notes))]
        basket: Vec<Item>,
        #[session(forget_before = 3)]
        total: Money,
        #[session(changed(in = 4, from = u8, up = Discount::from_percent, forget))]
        discount: Discount,
        #[session(default = Theme::Light)]
        theme: Theme,
    }

    handlers! {
        user() -> Option<String> { s => s.user.clone() }
        total() -> i64 { s => s.total.cents }
        others() -> String { s => format!(
            "{}, {} {} {:?} {}",
            s.last_name, s.first_name, s.basket.len(), *s.discount, *s.theme == Theme::Dark
        ) }
    }
}

async fn signed_in() -> Visitor<MemoryStore> {
    let it = Visitor::new(in_memory());
    v1::sign_in(&it).await;
    it
}

#[tokio::test]
async fn a_field_that_was_added_survives_programs_that_lack_it() {
    let it = signed_in().await;
    assert!(!v2::is_dark(&it).await);
    v2::go_dark(&it).await;
    v1::set_total(&it, 5).await;
    assert!(v2::is_dark(&it).await);
}

#[tokio::test]
async fn a_field_that_was_renamed_in_rust_is_the_same_field() {
    let it = signed_in().await;
    v1::put(&it, 7).await;
    assert_eq!(v2::articles(&it).await, [7]);
}

#[tokio::test]
async fn with_a_way_up_and_down_only_the_new_detail_is_lost() {
    let it = signed_in().await;
    v2::set_total(&it, 500).await;
    assert_eq!(v3::total(&it).await, (500, false));
    v3::estimate(&it, 700).await;
    assert_eq!(v2::total(&it).await, 700);
    assert_eq!(v3::total(&it).await, (700, true), "reading is not writing");
    v2::set_total(&it, 800).await;
    assert_eq!(v3::total(&it).await, (800, false));
}

#[tokio::test]
async fn with_forget_older_programs_see_the_default_and_replace_the_new_value_if_they_write() {
    let it = signed_in().await;
    v3::set_discount(&it, 10).await;
    assert_eq!(v4::discount(&it).await, "Percent(10)");
    v4::take_off(&it, 250).await;
    assert_eq!(v3::discount(&it).await, 0);
    assert_eq!(v4::discount(&it).await, "Cents(250)");
    v3::set_discount(&it, 20).await;
    assert_eq!(v4::discount(&it).await, "Percent(20)");
}

#[tokio::test]
async fn a_type_that_changed_inside_goes_up_and_down_with_the_one_it_was() {
    let it = signed_in().await;
    v4::put(&it, 1).await;
    v5::put(&it, 2).await;
    assert_eq!(v4::counts(&it).await, [1, 2]);
    assert_eq!(v5::notes(&it).await, [false, true]);
    v4::put(&it, 3).await;
    assert_eq!(v5::notes(&it).await, [false, false, false], "what version 4 wrote has no notes");
}

#[tokio::test]
async fn a_field_that_was_split_is_computed_again_when_an_older_program_writes_and_never_given_back() {
    let it = signed_in().await;
    v5::set_full_name(&it, "Ada Lovelace").await;
    assert_eq!(v6::name(&it).await, "Lovelace, Ada");
    v6::set_first_name(&it, "Augusta").await;
    assert_eq!(v6::name(&it).await, "Lovelace, Augusta");
    assert_eq!(v5::full_name(&it).await, "Ada Lovelace");
    v5::set_full_name(&it, "Grace Hopper").await;
    assert_eq!(v6::name(&it).await, "Hopper, Grace");
}

#[tokio::test]
async fn a_field_that_was_removed_stays_what_it_was_for_older_programs() {
    let it = signed_in().await;
    v5::set_coupon(&it, "TEN").await;
    v7::clear(&it).await;
    assert_eq!(v5::coupon(&it).await.as_deref(), Some("TEN"));
}

#[tokio::test]
async fn what_was_forgotten_is_not_read_and_the_rest_is() {
    let it = signed_in().await;
    v7::set_total(&it, 900).await;
    assert_eq!(december::total(&it).await, 900);
    v2::set_total(&it, 1).await;
    assert_eq!(december::total(&it).await, 900, "version 2 should not be running any more");
}

#[tokio::test]
async fn the_programs_of_a_whole_year_serve_one_session_forward_and_back() {
    let it = signed_in().await;
    v1::put(&it, 7).await;
    v2::go_dark(&it).await;
    v3::estimate(&it, 700).await;
    v4::take_off(&it, 250).await;
    v5::set_full_name(&it, "Ada Lovelace").await;
    v5::set_coupon(&it, "TEN").await;
    for _ in 0..2 {
        assert_eq!(december::others(&it).await, "Lovelace, Ada 1 Cents(250) true");
        assert_eq!(v7::others(&it).await, "Some(\"ada\") Lovelace, Ada 1 700 Cents(250) true");
        assert_eq!(v6::others(&it).await, "Some(\"ada\") Some(\"TEN\") 1 700 Cents(250) true");
        assert_eq!(v5::others(&it).await, "Some(\"ada\") 700 Cents(250) true");
        assert_eq!(v4::others(&it).await, "Some(\"ada\") 12 Some(\"TEN\") 700 true");
        assert_eq!(v3::others(&it).await, "Some(\"ada\") 12 Some(\"TEN\") 1 true");
        assert_eq!(v2::others(&it).await, "Some(\"ada\") 12 Some(\"TEN\") 0");
        assert_eq!(v1::others(&it).await, "12 Some(\"TEN\") 0");
        assert_eq!(v1::user(&it).await.as_deref(), Some("ada"));
    }
    assert_eq!(december::user(&it).await.as_deref(), Some("ada"));
}

/// Text of a file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_lock_in_the_guide_has_the_shapes_of_these_types() {
    use cloakroom::SessionValue;
    let guide = read("docs/evolving-a-session.md");
    for (name, shape) in [("Theme", v2::Theme::SHAPE), ("Money", v3::Money::SHAPE), ("u32", u32::SHAPE)] {
        let entry = format!("shape = \"{:016x}\"\ntype = \"{name}\"\n", shape.as_u64());
        assert!(guide.contains(&entry), "{entry}");
    }
}

/// Rust in the guide is Rust of one of these modules: whole, or in pieces with `// ...` between them.
#[test]
fn the_rust_code_of_the_guide_is_code_of_this_file() {
    let tidy = |text: &str| {
        let lines = text.lines().map(|line| line.trim().replace("pub(super) ", "")).filter(|line| !line.is_empty());
        lines.map(|line| line + "\n").collect::<String>()
    };
    let walk = tidy(&read("tests/tests/evolution/walk.rs"));
    let versions: Vec<&str> = walk.split("\nmod ").collect();
    let guide = read("docs/evolving-a-session.md");
    let blocks: Vec<&str> = guide.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 8, "only {} blocks were found", blocks.len());
    for block in blocks {
        let tidied = tidy(block);
        let pieces: Vec<&str> = tidied.split("// ...\n").collect();
        assert!(versions.iter().any(|version| pieces.iter().all(|piece| version.contains(piece))), "in no version:\n{block}");
    }
}
