//! What counts as a change of a field: its bytes, and of what has no order whatever its order is.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{SessionData, SessionValue, TypedSession, store::MemoryStore};
use cloakroom_tests::{
    shop::{Browser, House},
    site::COOKIE,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{Hash, Hasher},
};

/// Two of one id are equal, as many types of applications have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
struct Item {
    id: u32,
    quantity: u32,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for Item {}
impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}
impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Item {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.id.cmp(&other.id)
    }
}

/// A map that keeps its order, which its equality does not see.
#[derive(Clone, Debug, Default)]
struct Ordered(Vec<(String, u32)>);

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().collect::<BTreeSet<_>>() == other.0.iter().collect::<BTreeSet<_>>()
    }
}
impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = Ordered;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// What has no order beside what has one, in every kind of container.
#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
struct Mixed {
    list: Vec<u32>,
    groups: BTreeMap<u32, HashSet<u32>>,
    choice: Choice,
    #[session(recursive)]
    inside: Option<Box<Mixed>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
enum Choice {
    #[default]
    None,
    Pair(u8, HashMap<String, Vec<u32>>),
    Named {
        tags: (HashSet<String>,),
    },
}

/// Newtypes, which serde shows in several ways.
#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
struct Newtype(HashSet<u32>);
#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
#[serde(transparent)]
struct Transparent {
    tags: HashSet<u32>,
}
#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
struct OfOne {
    tags: HashSet<u32>,
}
#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
struct Generic<T> {
    inside: T,
    twice: [T; 2],
}

#[derive(SessionData)]
struct Basket {
    item: Item,
    #[session(opaque)]
    ordered: Ordered,
    mixed: Mixed,
    newtype: Newtype,
    transparent: Transparent,
    of_one: OfOne,
    generic: Generic<HashSet<u32>>,
    #[session(privilege, default = Item { id: 0, quantity: 1 })]
    role: Item,
    #[session(merge = "union")]
    by_name: HashMap<String, Item>,
    #[session(merge = "union")]
    set: BTreeSet<Item>,
    #[session(merge = "strict")]
    strict: Item,
    #[session(merge = "strict", opaque)]
    strict_map: HashMap<String, u32>,
    other: u32,
}

fn mixed(reordered: bool) -> Mixed {
    let many = || (0..50).collect::<HashSet<u32>>();
    let named = |at: u32| format!("tag {at}");
    let inside = Mixed {
        choice: Choice::Named { tags: ((0..50).map(named).collect(),) },
        groups: [(7, many())].into(),
        ..Mixed::default()
    };
    Mixed {
        list: if reordered { vec![2, 1] } else { vec![1, 2] },
        groups: [(1, many()), (2, many())].into(),
        choice: Choice::Pair(1, (0..50).map(|at| (named(at), vec![at, 1])).collect()),
        inside: Some(Box::new(inside)),
    }
}

fn change(s: &mut TypedSession<Basket>, what: &str) {
    let many = || (0..50).collect::<HashSet<u32>>();
    match what {
        "item" => s.item.quantity += 1,
        "reorder" => s.ordered.0.reverse(),
        "mixed" => *s.mixed = mixed(false),
        "list" => *s.mixed = mixed(true),
        "sets" => {
            *s.newtype = Newtype(many());
            *s.transparent = Transparent { tags: many() };
            *s.of_one = OfOne { tags: many() };
            *s.generic = Generic { inside: many(), twice: [many(), many()] };
        }
        "ordered" => s.ordered.0 = vec![("a".into(), 1), ("b".into(), 2)],
        "role" => s.role.quantity += 1,
        "role-back" => s.role.quantity = 1,
        "by-name" => s.by_name.entry("tea".into()).or_default().quantity += 1,
        "pot" => _ = s.by_name.insert("pot".into(), Item::default()),
        "two" => _ = s.set.insert(Item { id: 2, quantity: 2 }),
        "one" => _ = s.set.insert(Item { id: 1, quantity: 1 }),
        "set" => {
            s.set.replace(Item { id: 1, quantity: 5 });
        }
        "strict" => s.strict.quantity += 1,
        "strict-map" => s.strict_map.extend((0..50).map(|at| (format!("key {at}"), at))),
        "other" => *s.other += 1,
        _ => panic!("{what}"),
    }
}

fn basket() -> Router {
    let set = async |Path(what): Path<String>, mut s: TypedSession<Basket>| {
        for what in what.split(',') {
            change(&mut s, what);
        }
    };
    let show = async |s: TypedSession<Basket>| {
        let ordered: Vec<&str> = s.ordered.0.iter().map(|(key, _)| &**key).collect();
        let by_name = s.by_name.get("tea").map_or(0, |item| item.quantity);
        let set: Vec<u32> = s.set.iter().map(|item| item.quantity).collect();
        format!("{} {ordered:?} {:?} {} {by_name} {set:?}", s.item.quantity, s.mixed.list, s.role.quantity)
    };
    Router::new().route("/{what}", post(set)).route("/", get(show))
}

fn begun() -> (House, Browser) {
    let house = House::new();
    let browser = house.browser(basket());
    (house, browser)
}

async fn writes(house: &House<MemoryStore>, browser: &Browser, what: &str) -> usize {
    house.log();
    assert_eq!(browser.post(&format!("/{what}")).await.status(), 200, "{what}");
    house.log().iter().filter(|line| line.contains("puts [")).count()
}

#[tokio::test]
async fn a_change_that_equality_does_not_see_is_stored() {
    let (house, browser) = begun();
    browser.post("/item,ordered").await;
    for (what, shown) in [("item", r#"2 ["a", "b"]"#), ("reorder", r#"2 ["b", "a"]"#)] {
        assert_eq!(writes(&house, &browser, what).await, 1, "{what}");
        assert!(browser.get("/").await.text().starts_with(shown), "{what}");
    }
}

#[tokio::test]
async fn a_default_is_compared_by_its_bytes() {
    let (house, browser) = begun();
    browser.post("/item").await;
    assert!(browser.get("/").await.text().starts_with("1 "), "equal to the default but for its bytes");
    browser.post("/other").await;
    assert_eq!(writes(&house, &browser, "role-back").await, 0, "it is the default");
}

#[tokio::test]
async fn a_privilege_that_changes_unseen_by_equality_rotates() {
    let (_, browser) = begun();
    browser.post("/other").await;
    let before = browser.cookie(COOKIE);
    browser.post("/role").await;
    assert_ne!(browser.cookie(COOKIE), before);
}

#[tokio::test]
async fn what_has_no_order_is_no_change_in_another_order() {
    let (house, browser) = begun();
    browser.post("/mixed,sets").await;
    for _ in 0..5 {
        assert_eq!(writes(&house, &browser, "mixed,sets").await, 0);
    }
    assert_eq!(writes(&house, &browser, "list").await, 1, "the order of a list beside it counts");
    assert!(browser.get("/").await.text().contains("[2, 1]"));
}

/// Meanwhile another request of the session does that.
async fn meanwhile(house: &House, browser: &Browser, theirs: &'static str, mine: &'static str) -> u16 {
    let other = browser.fork();
    let slow = async move |mut s: TypedSession<Basket>| {
        assert_eq!(other.post(&format!("/{theirs}")).await.status(), 200);
        change(&mut s, mine);
    };
    let slow = house.browser(basket().route("/slow/now", post(slow)));
    slow.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
    slow.post("/slow/now").await.status().as_u16()
}

#[tokio::test]
async fn a_union_keeps_a_changed_entry_that_equality_takes_for_the_old_one() {
    let (house, browser) = begun();
    browser.post("/by-name,one").await;
    assert_eq!(meanwhile(&house, &browser, "pot", "by-name").await, 200);
    assert!(browser.get("/").await.text().ends_with(" 2 [1]"), "of a map");
    assert_eq!(meanwhile(&house, &browser, "two", "set").await, 200);
    assert!(browser.get("/").await.text().ends_with(" 2 [5, 2]"), "of a set");
}

#[tokio::test]
async fn a_strict_conflict_is_one_though_equality_does_not_see_it() {
    let (house, browser) = begun();
    browser.post("/strict").await;
    assert_eq!(meanwhile(&house, &browser, "strict", "strict").await, 409);
}

#[tokio::test]
async fn an_opaque_hash_map_that_nobody_else_changed_is_no_conflict() {
    let (house, browser) = begun();
    browser.post("/strict-map").await;
    for _ in 0..5 {
        assert_eq!(meanwhile(&house, &browser, "other", "strict-map").await, 200);
    }
    let twice = async |mut one: TypedSession<Basket>, mut two: TypedSession<Basket>| {
        *one.other += 1;
        one.save().await.unwrap();
        two.strict_map.insert("new".into(), 1);
    };
    let app = house.browser(Router::new().route("/twice", post(twice)));
    app.set_cookie(COOKIE, browser.cookie(COOKIE).unwrap());
    assert_eq!(app.post("/twice").await.status(), 200);
}
