//! A session with a field of every kind that is read in a way of its own, and an application that reads, touches and writes it.

use axum::{
    Router,
    routing::{get, post},
};
use cloakroom::{SessionData, SessionValue, TypedSession};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    hint::black_box,
};

#[derive(SessionData)]
#[session(name = "all", version = 3)]
pub struct All {
    number: u64,
    text: String,
    numbers: Vec<u64>,
    texts: Vec<String>,
    map: HashMap<String, Vec<u32>>,
    option: Option<Box<Item>>,
    array: [u16; 7],
    tuple: (char, bool, i128),
    #[session(opaque)]
    foreign: BTreeMap<String, serde_json::Value>,
    #[session(
        changed(in = 2, from = Vec<String>, up = parsed, down = shown),
        changed(in = 3, from = Vec<u32>, up = first, down = several)
    )]
    changed: u32,
}

fn parsed(texts: Vec<String>) -> Result<Vec<u32>, std::num::ParseIntError> {
    texts.iter().map(|text| text.parse()).collect()
}

fn shown(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(u32::to_string).collect()
}

fn first(numbers: Vec<u32>) -> Result<u32, &'static str> {
    numbers.first().copied().ok_or("there is none")
}

fn several(number: &u32) -> Vec<u32> {
    vec![*number; 3]
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
pub enum Item {
    #[default]
    Nothing,
    Some {
        name: String,
        amount: Option<u32>,
    },
    Pair(u8, f64),
}

/// Nested as deeply as its bytes say.
#[derive(Default, Serialize, Deserialize, SessionValue)]
pub struct Chain {
    #[session(recursive)]
    next: Option<Box<Chain>>,
}

/// As many at each level as its bytes say.
#[derive(Default, Serialize, Deserialize, SessionValue)]
pub struct Tree {
    #[session(recursive)]
    branches: Vec<Tree>,
}

#[derive(SessionData)]
pub struct Deep {
    chain: Chain,
    tree: Tree,
}

/// Every physical key of [`All`].
pub const FIELDS: [&str; 12] = [
    "all/number",
    "all/text",
    "all/numbers",
    "all/texts",
    "all/map",
    "all/option",
    "all/array",
    "all/tuple",
    "all/foreign",
    "all/changed",
    "all/changed@2",
    "all/changed@3",
];

/// `/` reads, `/begin` fills, `/count` writes one field, `/touch` all of them without a change, `/leave` signs out.
pub fn routes() -> Router {
    let begin = |mut s: TypedSession<All>| async move {
        *s.number = 1;
        *s.text = "text".into();
        *s.numbers = vec![1, 300, 70_000];
        *s.texts = vec!["a".into(), "b".into()];
        s.map.insert("key".into(), vec![1]);
        *s.option = Some(Box::new(Item::Some { name: "x".into(), amount: Some(1) }));
        *s.array = [1; 7];
        *s.tuple = ('x', true, -1);
        s.foreign.insert("a".into(), serde_json::json!([1, {"b": null}]));
        *s.changed = 1;
    };
    let read = |s: TypedSession<All>| async move { s.number.to_string() };
    let count = |mut s: TypedSession<All>| async move {
        *s.number = s.number.wrapping_add(1);
        s.number.to_string()
    };
    let touch = |mut s: TypedSession<All>| async move {
        let s = &mut *s;
        black_box((&mut *s.number, &mut *s.text, &mut *s.numbers, &mut *s.texts, &mut *s.map));
        black_box((&mut *s.option, &mut *s.array, &mut *s.tuple, &mut *s.foreign, &mut *s.changed));
    };
    Router::new()
        .route("/begin", post(begin))
        .route("/", get(read).post(read))
        .route("/count", post(count))
        .route("/touch", post(touch))
        .route("/leave", post(|mut s: TypedSession<All>| async move { s.destroy() }))
        .route(
            "/deep",
            post(|mut s: TypedSession<Deep>| async move {
                s.chain.next = Some(Box::default());
                s.tree.branches.push(Tree::default());
            })
            .get(|s: TypedSession<Deep>| async move { format!("{} {}", s.chain.next.is_some(), s.tree.branches.len()) }),
        )
}
