//! Old and new programs in alternation, cell by cell of the table in the specification.

use crate::visitor::{Visitor, on_backends};
use cloakroom::{Field, SessionData, SessionValue, store::IntoBackend};
use serde::{Deserialize, Serialize};

/// What a total is since version 4: cents, and something that version 3 knows nothing of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
pub(crate) struct Money {
    pub(crate) cents: i64,
    pub(crate) rounded: bool,
}

impl Money {
    fn from_cents(cents: u32) -> Self {
        Self { cents: cents.into(), rounded: false }
    }

    fn cents(&self) -> u32 {
        self.cents.try_into().unwrap_or(0)
    }
}

pub(crate) fn money(cents: i64) -> Money {
    Money { cents, rounded: true }
}

fn first_name(full: String) -> String {
    full.split(' ').next().unwrap_or_default().to_owned()
}

mod v3 {
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 3)]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        pub(crate) total: u32,
        pub(crate) coupon: String,
        pub(crate) full_name: String,
    }
}

mod v4 {
    use super::{Money, first_name};
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 4, removed(coupon: String, in = 4), removed(full_name: String, in = 4))]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        #[session(changed(in = 4, from = u32, up = Money::from_cents, down = Money::cents))]
        pub(crate) total: Money,
        #[session(since = 4, default = "light".to_owned())]
        pub(crate) theme: String,
        #[session(since = 4, from(full_name: String, with = first_name), default = "nobody".to_owned())]
        pub(crate) first: String,
    }
}

/// Version 4, had it declared that older versions may see the default.
mod forgetful {
    use super::Money;
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 4)]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        #[session(changed(in = 4, from = u32, up = Money::from_cents, forget))]
        pub(crate) total: Money,
    }
}

/// Version 5, when no version 3 has run for longer than any session lives.
mod contracted {
    use super::Money;
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 5)]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        #[session(forget_before = 4)]
        pub(crate) total: Money,
    }
}

/// The same, before the change itself is deleted.
mod contracting {
    use super::Money;
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 5)]
    pub(crate) struct Shop {
        #[session(changed(in = 4, from = u32, up = Money::from_cents, down = Money::cents), forget_before = 4)]
        pub(crate) total: Money,
    }
}

/// Since the accessors of all versions have the same names, a line of a test says which it means.
macro_rules! total {
    ($visitor:ident, $version:ident) => {
        $visitor.meets(|s: &mut cloakroom::TypedSession<$version::Shop>| (*s.total).clone()).await
    };
    ($visitor:ident, $version:ident = $to:expr) => {
        $visitor.meets(|s: &mut cloakroom::TypedSession<$version::Shop>| *s.total = $to).await
    };
}

pub(crate) async fn with_up_and_down_each_sees_what_the_other_wrote<B: IntoBackend + Clone>(it: Visitor<B>) {
    total!(it, v3 = 5);
    assert_eq!(total!(it, v4), Money::from_cents(5));
    total!(it, v4 = money(700));
    assert_eq!(total!(it, v4), money(700), "what only version 4 knows is kept");
    assert_eq!(total!(it, v3), 700, "the value, through `down`");
    total!(it, v3 = 3);
    assert_eq!(total!(it, v4), Money::from_cents(3), "the value, through `up`: nothing but the detail is lost");
    total!(it, v4 = money(4));
    assert_eq!((total!(it, v3), total!(it, v4)), (4, money(4)));
}

pub(crate) async fn with_forget_older_versions_see_the_default_and_what_they_write_is_seen<B: IntoBackend + Clone>(
    it: Visitor<B>,
) {
    total!(it, v3 = 5);
    assert_eq!(total!(it, forgetful), Money::from_cents(5));
    total!(it, forgetful = money(700));
    assert_eq!(total!(it, v3), 0, "the default, through a tombstone");
    assert_eq!(total!(it, forgetful), money(700));
    total!(it, v3 = 3);
    assert_eq!(total!(it, forgetful), Money::from_cents(3), "the loss was declared");
}

pub(crate) async fn a_clear_reaches_older_versions<B: IntoBackend + Clone>(it: Visitor<B>) {
    total!(it, v3 = 5);
    total!(it, v4 = money(700));
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| s.clear()).await;
    assert_eq!((total!(it, v3), total!(it, v4)), (0, Money::default()));
    total!(it, v3 = 9);
    assert_eq!(total!(it, v4), Money::from_cents(9));
}

pub(crate) async fn a_clear_by_an_older_version_beats_what_a_newer_one_wrote<B: IntoBackend + Clone>(it: Visitor<B>) {
    total!(it, v4 = money(700));
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| s.clear()).await;
    assert_eq!(total!(it, v4), Money::default(), "though its own older cell is there");
    assert_eq!(total!(it, v3), 0);
    // Also where the older version itself sees the default already.
    total!(it, forgetful = money(700));
    assert_eq!(total!(it, v3), 0);
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| s.clear()).await;
    assert_eq!(total!(it, forgetful), Money::default());
}

pub(crate) async fn a_field_that_older_versions_lack_survives_them<B: IntoBackend + Clone>(it: Visitor<B>) {
    total!(it, v3 = 5);
    let theme = |s: &mut cloakroom::TypedSession<v4::Shop>| (*s.theme).clone();
    assert_eq!(it.meets(theme).await, "light");
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| *s.theme = "dark".into()).await;
    total!(it, v3 = 6);
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| s.clear()).await;
    assert_eq!(it.meets(theme).await, "dark");
}

pub(crate) async fn a_removed_field_stays_what_it_was_for_older_versions<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| *s.coupon = "TEN".into()).await;
    total!(it, v4 = money(1));
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| s.clear()).await;
    assert_eq!(it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| (*s.coupon).clone()).await, "TEN");
}

pub(crate) async fn a_computed_field_follows_its_source_until_it_is_written_itself<B: IntoBackend + Clone>(it: Visitor<B>) {
    let first = |s: &mut cloakroom::TypedSession<v4::Shop>| (*s.first).clone();
    let full = |s: &mut cloakroom::TypedSession<v3::Shop>| (*s.full_name).clone();
    assert_eq!(it.meets(first).await, "nobody");
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| *s.full_name = "Ada Lovelace".into()).await;
    assert_eq!(it.meets(first).await, "Ada");
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| *s.first = "Augusta".into()).await;
    assert_eq!(it.meets(first).await, "Augusta");
    assert_eq!(it.meets(full).await, "Ada Lovelace", "its own last value");
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| *s.full_name = "Grace Hopper".into()).await;
    assert_eq!(it.meets(first).await, "Grace", "recomputed: the source is newer");
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| s.clear()).await;
    assert_eq!(it.meets(first).await, "nobody", "and cleared like any other field");
    assert_eq!(it.meets(full).await, "Grace Hopper");
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| *s.full_name = "Mary Shelley".into()).await;
    assert_eq!(it.meets(first).await, "Mary");
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| s.clear()).await;
    assert_eq!(it.meets(first).await, "nobody", "a source that was cleared is newer, too");
}

pub(crate) async fn a_forgotten_generation_is_neither_read_nor_written<B: IntoBackend + Clone>(it: Visitor<B>) {
    total!(it, v3 = 5);
    assert_eq!(total!(it, contracted), Money::default(), "not read");
    total!(it, contracted = money(700));
    assert_eq!(total!(it, v3), 5, "its own last value");
    assert_eq!(total!(it, contracting), money(700), "the key stays when the change is deleted");
    total!(it, v3 = 6);
    assert_eq!((total!(it, contracted), total!(it, contracting)), (money(700), money(700)), "not read");
    // A version between, that still writes both, is read by both.
    total!(it, v4 = money(8));
    assert_eq!((total!(it, contracted), total!(it, v3)), (money(8), 8));
}

pub(crate) async fn a_rollback_and_a_second_deploy_keep_the_user_signed_in<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| *s.user = Some("ada".into())).await;
    total!(it, v4 = money(700));
    total!(it, v3 = 7);
    total!(it, v4 = money(800));
    let of_old = it.meets(|s: &mut cloakroom::TypedSession<v3::Shop>| (*s.user).clone()).await;
    let of_new = it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| (*s.user).clone()).await;
    assert_eq!((of_old.as_deref(), of_new.as_deref()), (Some("ada"), Some("ada")));
    assert_eq!(total!(it, v3), 800);
}

pub(crate) async fn a_value_that_was_forced_is_what_an_upgrade_on_each_read_was<B: IntoBackend + Clone>(it: Visitor<B>) {
    total!(it, v3 = 5);
    let before = total!(it, v4);
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| Field::force(&mut s.total)).await;
    assert_eq!((total!(it, v4), total!(it, v3)), (before, 5));
}

on_backends! {
    with_up_and_down_each_sees_what_the_other_wrote
    with_forget_older_versions_see_the_default_and_what_they_write_is_seen
    a_clear_reaches_older_versions
    a_clear_by_an_older_version_beats_what_a_newer_one_wrote
    a_field_that_older_versions_lack_survives_them
    a_removed_field_stays_what_it_was_for_older_versions
    a_computed_field_follows_its_source_until_it_is_written_itself
    a_forgotten_generation_is_neither_read_nor_written
    a_rollback_and_a_second_deploy_keep_the_user_signed_in
    a_value_that_was_forced_is_what_an_upgrade_on_each_read_was
}

/// What is written, to the cell: each row of the table in its second column.
#[tokio::test]
async fn a_write_puts_each_generation_in_use_under_one_stamp() {
    let it = Visitor::new(crate::visitor::in_memory());
    total!(it, v3 = 5);
    assert_eq!(it.cells().await, "shop/total 1");
    total!(it, v4);
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| s.total.cents += 0).await;
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| *s.total = Money::from_cents(5)).await;
    assert_eq!(it.cells().await, "shop/total 1", "an upgraded value is stored only when it changes");
    total!(it, v4 = money(700));
    assert_eq!(it.cells().await, "shop/total 2, shop/total@4 2");
    total!(it, v3 = 6);
    assert_eq!(it.cells().await, "shop/total 3, shop/total@4 2", "an older version leaves alone what it does not know");
    total!(it, forgetful = money(1));
    assert_eq!(it.cells().await, "shop/total- 4, shop/total@4 4");
    total!(it, contracted = money(2));
    assert_eq!(it.cells().await, "shop/total- 4, shop/total@4 5");
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| s.clear()).await;
    assert_eq!(it.cells().await, "shop/total- 6, shop/total@4- 6");
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| s.clear()).await;
    assert_eq!(it.cells().await, "shop/total- 6, shop/total@4- 6", "nothing is left to clear");
    it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| Field::force(&mut s.total)).await;
    assert_eq!(it.cells().await, "shop/total 7, shop/total@4 7");
}

#[tokio::test]
async fn the_changes_of_a_handle_are_those_of_every_generation() {
    let it = Visitor::new(crate::visitor::in_memory());
    total!(it, v3 = 5);
    let changes = it.meets(|s: &mut cloakroom::TypedSession<forgetful::Shop>| {
        *s.total = money(1);
        s.changes().into_iter().map(|change| (change.key, change.size)).collect::<Vec<_>>()
    });
    assert_eq!(changes.await, [("shop/total@4", Some(2)), ("shop/total", None)]);
    let changes = it.meets(|s: &mut cloakroom::TypedSession<v4::Shop>| {
        let untouched = s.changes().len();
        *s.total = money(300);
        (untouched, s.changes().into_iter().map(|change| (change.key, change.size)).collect::<Vec<_>>())
    });
    assert_eq!(changes.await, (0, vec![("shop/total@4", Some(4)), ("shop/total", Some(3))]));
}

#[test]
fn the_schema_of_each_version_is_a_struct_like_any_other() {
    assert_eq!(v4::Shop::initial().theme, "light");
    assert_eq!(*v4::ShopFields::from(v4::Shop::initial()).total, Money::default());
}
