//! Fields computed from removed ones, while older programs still write those.

use crate::visitor::{Visitor, in_memory};
use cloakroom::{
    TypedSession,
    testing::{Op, SpyStore},
};
use std::num::ParseIntError;

mod old {
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 1)]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        pub(crate) age: String,
        #[session(merge = "add")]
        pub(crate) visits: u64,
        pub(crate) pin: u64,
        pub(crate) total: u32,
    }
}

mod new {
    #[derive(cloakroom::SessionData)]
    #[session(
        name = "shop",
        version = 2,
        removed(age: String, in = 2),
        removed(visits: u64, in = 2),
        removed(pin: u64, in = 2)
    )]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        #[session(from(age: String, with = super::parse))]
        pub(crate) years: u32,
        #[session(merge = "add", from(visits: u64, with = u64::from))]
        pub(crate) views: u64,
        #[session(merge = "max", from(visits: u64, with = u64::from))]
        pub(crate) most: u64,
        #[session(merge = "strict", from(pin: u64, with = u64::from))]
        pub(crate) code: u64,
        #[session(changed(in = 2, from = u32, up = u64::from, down = super::to_u32))]
        pub(crate) total: u64,
    }
}

/// When no version 1 has run for longer than any session lives.
mod contracted {
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 2)]
    pub(crate) struct Shop {
        #[session(forget_before = 2)]
        pub(crate) total: u64,
    }
}

fn parse(age: String) -> Result<u32, ParseIntError> {
    age.parse()
}

fn to_u32(total: &u64) -> u32 {
    u32::try_from(*total).unwrap_or(u32::MAX)
}

type Old = TypedSession<old::Shop>;
type New = TypedSession<new::Shop>;

#[tokio::test]
async fn what_an_older_program_adds_meanwhile_is_added() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Old| *s.visits = 10).await;
    let other = it.tab();
    it.meets(move |s: &mut New| {
        assert_eq!(*s.views, 10);
        other.meanwhile(|s: &mut Old| *s.visits += 90);
        *s.views += 1;
    })
    .await;
    assert_eq!(it.meets(|s: &mut New| *s.views).await, 101);
}

#[tokio::test]
async fn what_an_older_program_writes_meanwhile_is_a_conflict_where_the_rule_is_strict() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Old| *s.pin = 10).await;
    let other = it.tab();
    let (status, ()) = it
        .tries(move |s: &mut New| {
            other.meanwhile(|s: &mut Old| *s.pin = 20);
            *s.code += 1;
        })
        .await;
    assert_eq!((status, it.meets(|s: &mut New| *s.code).await), (409, 20));
}

#[tokio::test]
async fn a_source_that_an_older_program_mends_meanwhile_is_not_hidden_and_nobody_is_signed_out() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Old| (*s.user, *s.age) = (Some("ada".into()), "old".into())).await;
    let other = it.tab();
    it.meets(move |s: &mut New| {
        assert_eq!(*s.user, None, "the age cannot be read");
        other.meanwhile(|s: &mut Old| *s.age = "36".into());
        *s.total = 5;
    })
    .await;
    let seen = it.meets(|s: &mut New| ((*s.user).clone(), *s.years, *s.total)).await;
    assert_eq!(seen, (Some("ada".into()), 36, 5));
}

#[tokio::test]
async fn a_source_of_two_fields_is_guarded_once() {
    let it = Visitor::new(SpyStore::new(in_memory()));
    it.meets(|s: &mut Old| *s.visits = 10).await;
    it.backend.take();
    it.meets(|s: &mut New| (*s.views, *s.most) = (11, 12)).await;
    let log = it.backend.take();
    let guards = log.iter().find_map(|op| if let Op::Commit { guards, .. } = op { Some(guards) } else { None }).unwrap();
    let keys: Vec<&str> = guards.iter().map(|guard| &*guard.key).collect();
    assert_eq!(keys, ["shop/most", "shop/views", "shop/visits"]);
}

#[tokio::test]
async fn a_clear_hides_a_source_once() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Old| *s.visits = 10).await;
    it.meets(|s: &mut New| s.clear()).await;
    let cleared = it.cells().await;
    assert_eq!(cleared, "shop/most- 2, shop/views- 2, shop/visits 1");
    it.meets(|s: &mut New| s.clear()).await;
    assert_eq!(it.cells().await, cleared, "nothing is left to clear");
    it.meets(|s: &mut Old| *s.visits = 20).await;
    it.meets(|s: &mut New| s.clear()).await;
    assert_eq!(it.cells().await, "shop/most- 4, shop/views- 4, shop/visits 3");
}

#[tokio::test]
async fn a_clear_hides_a_forgotten_generation_once() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut New| *s.total = 5).await;
    it.meets(|s: &mut TypedSession<contracted::Shop>| s.clear()).await;
    let cleared = it.cells().await;
    assert_eq!(cleared, "shop/total 1, shop/total@2- 2");
    it.meets(|s: &mut TypedSession<contracted::Shop>| s.clear()).await;
    assert_eq!(it.cells().await, cleared);
}

/// The documented way to split a field: the new ones beside it first, kept up to date, and a version later they take its place.
mod beside {
    #[derive(cloakroom::SessionData)]
    #[session(name = "person", version = 2)]
    pub(crate) struct Person {
        pub(crate) full_name: String,
        pub(crate) first_name: String,
    }
}

mod after {
    #[derive(cloakroom::SessionData)]
    #[session(name = "person", version = 3, removed(full_name: String, in = 3))]
    pub(crate) struct Person {
        #[session(from(full_name: String, with = super::first_word), validate = super::is_short)]
        pub(crate) first_name: String,
        pub(crate) note: String,
    }
}

fn first_word(full: String) -> String {
    full.split(' ').next().unwrap_or_default().to_owned()
}

fn is_short(name: &str) -> bool {
    name.len() < 12
}

#[tokio::test]
async fn a_field_written_beside_its_source_keeps_its_own_value() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut TypedSession<beside::Person>| {
        *s.full_name = "Ada Augusta King".into();
        *s.first_name = "Ada Augusta".into();
    })
    .await;
    assert_eq!(it.meets(|s: &mut TypedSession<after::Person>| s.first_name.clone()).await, "Ada Augusta");
    it.meets(|s: &mut TypedSession<beside::Person>| *s.full_name = "Byron King".into()).await;
    assert_eq!(it.meets(|s: &mut TypedSession<after::Person>| s.first_name.clone()).await, "Byron", "its source is newer");
}

#[tokio::test]
async fn a_value_computed_from_a_source_is_validated() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut TypedSession<beside::Person>| *s.full_name = "Wolfeschlegelstein".into()).await;
    let seen = it.meets(|s: &mut TypedSession<after::Person>| s.first_name.clone()).await;
    assert_eq!(seen, "", "it is refused, and the struct is at its defaults");
}

mod kept {
    #[derive(cloakroom::SessionData)]
    #[session(name = "look")]
    pub(crate) struct Old {
        #[session(keep)]
        pub(crate) theme: String,
    }
    #[derive(cloakroom::SessionData)]
    #[session(name = "look", version = 2, removed(theme: String, in = 2))]
    pub(crate) struct New {
        #[session(keep, from(theme: String, with = String::from))]
        pub(crate) colours: String,
    }
    /// Another program of the same sessions.
    #[derive(cloakroom::SessionData)]
    #[session(name = "auth")]
    pub(crate) struct Auth {
        #[session(owner)]
        pub(crate) user: Option<u64>,
    }
}

#[tokio::test]
async fn a_cleared_kept_field_stays_cleared_when_another_program_signs_out() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut TypedSession<kept::Old>| *s.theme = "dark".into()).await;
    it.meets(|s: &mut TypedSession<kept::Auth>| *s.user = Some(7)).await;
    it.meets(|s: &mut TypedSession<kept::New>| s.clear()).await;
    it.meets(|s: &mut TypedSession<kept::Auth>| *s.user = None).await;
    assert_eq!(it.meets(|s: &mut TypedSession<kept::Old>| s.theme.clone()).await, "dark", "kept for its own program");
    assert_eq!(it.meets(|s: &mut TypedSession<kept::New>| s.colours.clone()).await, "", "the clear is kept, too");
}
