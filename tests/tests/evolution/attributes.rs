//! Fields with a past and with every other attribute, and upgrades that fail.

use crate::visitor::{Visitor, in_memory, on_backends};
use cloakroom::{
    Field, SessionData, TypedSession,
    record::{CellBody, CellKey, CodecId, Content, Patch, Payload, Put, Shape},
    store::{IntoBackend, MemoryStore, SessionStore},
};
use cloakroom_tests::{events::Events, site::selector};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, num::ParseIntError, time::Duration};

/// No shape: for `opaque` fields only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Address {
    lines: Vec<String>,
}

impl Address {
    fn of(text: String) -> Self {
        Self { lines: vec![text] }
    }

    fn first(&self) -> String {
        self.lines.first().cloned().unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Street(String);

impl From<Street> for Address {
    fn from(street: Street) -> Self {
        Self::of(street.0)
    }
}

fn street(address: &Address) -> Street {
    Street(address.first())
}

fn parse(text: String) -> Result<u32, ParseIntError> {
    text.parse()
}

fn small(pin: &u32) -> Result<(), String> {
    if *pin < 10_000 { Ok(()) } else { Err(format!("{pin} is too large")) }
}

fn long(count: &u32) -> String {
    "x".repeat(*count as usize)
}

fn length(text: String) -> u32 {
    text.len() as u32
}

mod old {
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 1)]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        #[session(validate = super::short)]
        pub(crate) pin: String,
        #[session(secret)]
        pub(crate) token: String,
        #[session(ttl = "10m")]
        pub(crate) code: u16,
        pub(crate) age: String,
        #[session(opaque)]
        pub(crate) street: super::Street,
        pub(crate) city: String,
        pub(crate) first: String,
        pub(crate) last: u8,
        pub(crate) size: String,
        #[session(validate = super::low)]
        pub(crate) height: u16,
    }
}

fn low(height: &u16) -> bool {
    *height < 100
}

fn short(pin: &str) -> bool {
    pin.len() < 9
}

mod new {
    use super::{Address, Street, length, long, parse, small, street};
    #[derive(cloakroom::SessionData)]
    #[session(
        name = "shop",
        version = 2,
        removed(first: String, in = 2),
        removed(last: u8, in = 2),
        removed(size: String, in = 2, key = "size")
    )]
    pub(crate) struct Shop {
        pub(crate) user: Option<String>,
        #[session(changed(in = 2, from = String, up = parse, down = u32::to_string), validate = small)]
        pub(crate) pin: u32,
        #[session(secret, changed(in = 2, from = String, up = parse, down = u32::to_string))]
        pub(crate) token: u32,
        #[session(ttl = "10m", changed(in = 2, from = u16, up = u32::from, down = super::to_u16), default = 7)]
        pub(crate) code: u32,
        #[session(lossy, changed(in = 2, from = String, up = parse, down = u32::to_string), default = 1)]
        pub(crate) age: u32,
        #[session(opaque, changed(in = 2, from = Street, up = Address::from, down = street))]
        pub(crate) street: Address,
        #[session(changed(in = 2, from = String, up = length, down = long))]
        pub(crate) city: u32,
        #[session(from(first: String, last: u8, with = super::whole))]
        pub(crate) whole: String,
        #[session(lossy, from(size: String, with = parse), default = 38)]
        pub(crate) size_2: u32,
        #[session(changed(in = 2, from = u16, up = u32::from, down = super::to_u16))]
        pub(crate) height: u32,
    }
}

fn to_u16(code: &u32) -> u16 {
    u16::try_from(*code).unwrap_or(u16::MAX)
}

fn whole(first: String, last: u8) -> String {
    format!("{first} {last}")
}

/// A field that was `opaque`, and got a shape.
mod shaped {
    use super::Address;
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 3)]
    pub(crate) struct Shop {
        #[session(changed(in = 3, from = Address, opaque, up = super::line, down = super::address), key = "address")]
        pub(crate) line: String,
    }
}

mod unshaped {
    #[derive(cloakroom::SessionData)]
    #[session(name = "shop", version = 2)]
    pub(crate) struct Shop {
        #[session(opaque)]
        pub(crate) address: super::Address,
    }
}

fn address(line: &str) -> Address {
    Address::of(line.to_owned())
}

fn line(address: Address) -> String {
    address.first()
}

type Old = TypedSession<old::Shop>;
type New = TypedSession<new::Shop>;

async fn secrets_are_sealed_in_every_generation_and_read_from_each<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut Old| *s.token = "4711".into()).await;
    assert_eq!(it.meets(|s: &mut New| *s.token).await, 4711);
    it.meets(|s: &mut New| *s.token = 815).await;
    assert_eq!(it.meets(|s: &mut Old| (*s.token).clone()).await, "815");
    assert_eq!(it.meets(|s: &mut New| *s.token).await, 815);
}

async fn every_generation_of_a_field_lives_equally_long<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut New| (*s.code, *s.user) = (9, Some("ada".into()))).await;
    it.clock.advance(Duration::from_secs(599));
    assert_eq!((it.meets(|s: &mut New| *s.code).await, it.meets(|s: &mut Old| *s.code).await), (9, 9));
    it.clock.advance(Duration::from_secs(1));
    assert_eq!((it.meets(|s: &mut New| *s.code).await, it.meets(|s: &mut Old| *s.code).await), (7, 0));
    it.meets(|s: &mut Old| *s.code = 3).await;
    it.clock.advance(Duration::from_secs(300));
    // Reading an upgraded value prolongs nothing, a touch does.
    assert_eq!(it.meets(|s: &mut New| *s.code).await, 3);
    it.meets(|s: &mut New| *s.code += 0).await;
    it.clock.advance(Duration::from_secs(301));
    assert_eq!((it.meets(|s: &mut New| *s.code).await, it.meets(|s: &mut Old| *s.code).await), (3, 3));
}

async fn opaque_fields_have_a_past_too<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut Old| s.street.0 = "Main".into()).await;
    assert_eq!(it.meets(|s: &mut New| (*s.street).clone()).await, Address::of("Main".into()));
    it.meets(|s: &mut New| s.street.lines = vec!["Broadway".into(), "2nd floor".into()]).await;
    assert_eq!(it.meets(|s: &mut Old| s.street.0.clone()).await, "Broadway");
    it.meets(|s: &mut TypedSession<unshaped::Shop>| *s.address = Address::of("Ring".into())).await;
    assert_eq!(it.meets(|s: &mut TypedSession<shaped::Shop>| (*s.line).clone()).await, "Ring");
    it.meets(|s: &mut TypedSession<shaped::Shop>| s.line.push('!')).await;
    assert_eq!(it.meets(|s: &mut TypedSession<unshaped::Shop>| s.address.first()).await, "Ring!");
}

async fn an_upgrade_that_fails_resets_its_schema_until_something_is_written<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut Old| (*s.user, *s.pin, *s.first) = (Some("ada".into()), "abc".into(), "Ada".into())).await;
    let events = Events::capture();
    let seen = it.meets(|s: &mut New| ((*s.user).clone(), *s.pin)).await;
    assert_eq!(seen, (None, 0), "nobody is signed in on half a record");
    let said: Vec<String> = events.take().into_iter().filter(|line| line.contains("session.undecodable")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("field=\"pin\"") || said[0].contains("field=pin"), "{said:?}");
    assert!(said[0].contains("it could not be upgraded from an older version's: invalid digit"), "{said:?}");
    let left = it.meets(|s: &mut Old| ((*s.user).clone(), (*s.pin).clone())).await;
    assert_eq!(left, (Some("ada".into()), "abc".into()), "a rollback before a write finds everything");
    it.meets(|s: &mut New| *s.city = 3).await;
    let healed = it.meets(|s: &mut New| ((*s.user).clone(), *s.pin, *s.city, (*s.whole).clone())).await;
    assert_eq!(healed, (None, 0, 3, String::new()), "the first write settles it");
    assert_eq!(
        it.meets(|s: &mut Old| ((*s.user).clone(), (*s.pin).clone(), (*s.city).clone())).await,
        (None, String::new(), "xxx".into())
    );
    assert_eq!(it.meets(|s: &mut Old| (*s.first).clone()).await, "Ada", "what is removed stays untouched");
}

async fn a_value_is_validated_after_its_upgrade<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut Old| (*s.user, *s.pin) = (Some("ada".into()), "10000".into())).await;
    assert_eq!(it.meets(|s: &mut New| (*s.user).clone()).await, None);
    it.meets(|s: &mut Old| *s.pin = "9999".into()).await;
    assert_eq!(it.meets(|s: &mut New| ((*s.user).clone(), *s.pin)).await, (Some("ada".into()), 9999));
}

async fn what_a_way_down_gives_is_validated_by_older_versions<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut New| *s.user = Some("ada".into())).await;
    assert_eq!(it.meets(|s: &mut Old| (*s.user).clone()).await.as_deref(), Some("ada"));
    it.meets(|s: &mut New| *s.height = 1_000).await;
    assert_eq!(it.meets(|s: &mut Old| (*s.user).clone()).await, None, "its whole struct starts from the defaults");
    assert_eq!(it.meets(|s: &mut New| (*s.user).clone()).await.as_deref(), Some("ada"));
    it.meets(|s: &mut New| *s.height = 99).await;
    assert_eq!(it.meets(|s: &mut Old| ((*s.user).clone(), *s.height)).await, (Some("ada".into()), 99));
}

async fn a_lossy_field_whose_upgrade_fails_is_lost_alone<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut Old| (*s.user, *s.age, *s.size) = (Some("ada".into()), "old".into(), "M".into())).await;
    assert_eq!(it.meets(|s: &mut New| ((*s.user).clone(), *s.age, *s.size_2)).await, (Some("ada".into()), 1, 38));
    it.meets(|s: &mut Old| (*s.age, *s.size) = ("36".into(), "40".into())).await;
    assert_eq!(it.meets(|s: &mut New| (*s.age, *s.size_2)).await, (36, 40));
}

async fn what_is_computed_from_several_fields_takes_the_default_of_those_that_are_missing<B: IntoBackend + Clone>(
    it: Visitor<B>,
) {
    it.meets(|s: &mut Old| *s.user = Some("ada".into())).await;
    assert_eq!(it.meets(|s: &mut New| (*s.whole).clone()).await, "", "none of them is there");
    it.meets(|s: &mut Old| *s.first = "Ada".into()).await;
    assert_eq!(it.meets(|s: &mut New| (*s.whole).clone()).await, "Ada 0");
    it.meets(|s: &mut New| *s.whole = "A.".into()).await;
    it.meets(|s: &mut Old| *s.last = 2).await;
    assert_eq!(it.meets(|s: &mut New| (*s.whole).clone()).await, "Ada 2", "one that is newer is enough");
}

async fn a_second_handle_of_a_request_sees_what_the_first_has_written<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut Old| (*s.city, *s.first) = ("xx".into(), "Ada".into())).await;
    let seen = it.meets(|s: &mut New| {
        (*s.city, *s.whole) = (5, "me".into());
        s.refresh().unwrap();
        let first = (*s.city, (*s.whole).clone());
        s.clear();
        s.refresh().unwrap();
        (first, (*s.city, (*s.whole).clone()))
    });
    assert_eq!(seen.await, ((5, "me".into()), (0, String::new())));
    let seen = it.meets(|s: &mut New| {
        *s.city = 4;
        Field::revert(&mut s.city);
        *s.city
    });
    assert_eq!(seen.await, 0);
}

async fn what_older_versions_could_not_hold_is_an_error_and_nothing_is_stored<B: IntoBackend + Clone>(it: Visitor<B>) {
    it.meets(|s: &mut New| *s.user = Some("ada".into())).await;
    let (status, ()) = it.tries(|s: &mut New| (*s.user, *s.city) = (None, 300_000)).await;
    assert_eq!(status, 500);
    assert_eq!(it.meets(|s: &mut New| ((*s.user).clone(), *s.city)).await, (Some("ada".into()), 0));
}

on_backends! {
    secrets_are_sealed_in_every_generation_and_read_from_each
    every_generation_of_a_field_lives_equally_long
    opaque_fields_have_a_past_too
    an_upgrade_that_fails_resets_its_schema_until_something_is_written
    a_value_is_validated_after_its_upgrade
    what_a_way_down_gives_is_validated_by_older_versions
    a_lossy_field_whose_upgrade_fails_is_lost_alone
    what_is_computed_from_several_fields_takes_the_default_of_those_that_are_missing
    a_second_handle_of_a_request_sees_what_the_first_has_written
    what_older_versions_could_not_hold_is_an_error_and_nothing_is_stored
}

fn is_sealed(body: &CellBody) -> bool {
    matches!(body.content, Content::Value { sealed: true, .. })
}

#[tokio::test]
async fn no_generation_of_a_secret_lies_open_in_the_store() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut New| *s.token = 4711).await;
    let cells = it.record().await.cells;
    let sealed: BTreeMap<&str, bool> = cells.iter().map(|cell| (cell.key.as_str(), is_sealed(&cell.body))).collect();
    assert_eq!(sealed, BTreeMap::from([("shop/token", true), ("shop/token@2", true)]));
}

#[tokio::test]
async fn why_a_secret_could_not_be_upgraded_is_not_said() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Old| *s.token = "not a number".into()).await;
    let events = Events::capture();
    it.meets(|_: &mut New| ()).await;
    let said = events.take().join("\n");
    assert!(said.contains("session.undecodable") && said.contains("the reason is left out"), "{said}");
    assert!(!said.contains("invalid digit"), "{said}");
}

async fn plant(it: &Visitor<MemoryStore>, key: &'static str, body: CellBody) {
    let record = it.record().await;
    let mut patch = Patch::new(record.header.epoch, record.header.last_seen);
    patch.puts = vec![Put::new(CellKey::from_static(key), body)];
    it.backend.commit(&selector(&it.token()), &patch).await.unwrap();
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_hidden_by_the_first_write() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Old| (*s.user, *s.first) = (Some("ada".into()), "Ada".into())).await;
    let content =
        Content::Value { codec: CodecId::BINCODE, shape: Shape::from_u64(1), sealed: false, payload: Payload::from(&b"x"[..]) };
    plant(&it, "shop/first", CellBody::new(content)).await;
    assert_eq!(it.meets(|s: &mut New| (*s.user).clone()).await, None);
    it.meets(|s: &mut New| *s.user = Some("grace".into())).await;
    assert_eq!(it.meets(|s: &mut New| ((*s.user).clone(), (*s.whole).clone())).await, (Some("grace".into()), String::new()));
    assert_eq!(it.cells().await, "shop/first 2, shop/user 3, shop/whole- 3");
}

#[tokio::test]
async fn a_nested_type_that_changed_without_a_word_resets_its_schema_and_is_never_misread() {
    mod before {
        #[derive(Default, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
        pub(crate) struct Item {
            pub(crate) article: u32,
        }
        #[derive(cloakroom::SessionData)]
        pub(crate) struct Shop {
            pub(crate) user: Option<String>,
            pub(crate) item: Item,
        }
    }
    mod after {
        #[derive(Default, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
        pub(crate) struct Item {
            pub(crate) article: u16,
            pub(crate) amount: u8,
        }
        #[derive(cloakroom::SessionData)]
        pub(crate) struct Shop {
            pub(crate) user: Option<String>,
            pub(crate) item: Item,
        }
    }
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut TypedSession<before::Shop>| (*s.user, s.item.article) = (Some("ada".into()), 7)).await;
    let seen = it.meets(|s: &mut TypedSession<after::Shop>| ((*s.user).clone(), s.item.article, s.item.amount)).await;
    assert_eq!(seen, (None, 0, 0));
    assert_eq!(it.meets(|s: &mut TypedSession<before::Shop>| (*s.user).clone()).await.as_deref(), Some("ada"));
}

#[test]
fn a_computed_field_begins_at_its_default() {
    assert_eq!((new::Shop::initial().whole, new::Shop::initial().size_2), (String::new(), 38));
}
