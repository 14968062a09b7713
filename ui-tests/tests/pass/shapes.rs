//! What a shape depends on, and what not.
#![deny(warnings)]
#![allow(dead_code)]

use cloakroom::SessionValue;
use std::collections::{BTreeMap, HashMap};

macro_rules! value {
    ($(#[$meta:meta])* $module:ident { $($item:tt)* }) => {
        mod $module {
            #[allow(unused_imports)]
            use cloakroom::SessionValue;
            $(#[$meta])*
            #[derive(SessionValue)]
            $($item)*
        }
    };
}

value!(base { pub struct Item { a: u32, b: String } });
value!(other_type_name { pub struct Thing { a: u32, b: String } });
value!(renamed_with_key { pub struct Item { #[session(key = "a")] x: u32, b: String } });
value!(boxed { pub struct Item { a: Box<u32>, b: String } });
value!(renamed { pub struct Item { x: u32, b: String } });
value!(reordered { pub struct Item { b: String, a: u32 } });
value!(retyped { pub struct Item { a: u64, b: String } });
value!(longer { pub struct Item { a: u32, b: String, c: u8 } });
value!(tuple { pub struct Item(u32, String); });
value!(newtype { pub struct Item(u32); });
value!(unit { pub struct Item; });
value!(named { #[session(shape = "item-1")] pub struct Item { a: std::fs::File } });
value!(two { pub enum E { A, B } });
value!(two_with_key { pub enum E { A, #[session(key = "B")] C } });
value!(three { pub enum E { A, B, C } });
value!(swapped { pub enum E { B, A } });
value!(filled { pub enum E { A(u8), B } });
value!(structured { pub enum E { A { a: u8 }, B } });
value!(empty { pub enum E {} });

#[derive(SessionValue)]
struct Node {
    n: u8,
    #[session(recursive)]
    children: Vec<Node>,
}

#[derive(SessionValue)]
struct Generic<T, U: Clone, const N: usize>
where
    U: Default,
{
    t: T,
    u: [U; N],
}

/// No derive at all, so the shape is named by hand.
struct Foreign;

#[derive(SessionValue)]
struct Holder {
    #[session(shape = "foreign-1")]
    foreign: Foreign,
    tree: Node,
}

fn main() {
    let base = base::Item::SHAPE;
    assert_eq!(base, other_type_name::Thing::SHAPE);
    assert_eq!(base, renamed_with_key::Item::SHAPE);
    assert_eq!(base, boxed::Item::SHAPE);
    let all = [
        base,
        renamed::Item::SHAPE,
        reordered::Item::SHAPE,
        retyped::Item::SHAPE,
        longer::Item::SHAPE,
        tuple::Item::SHAPE,
        newtype::Item::SHAPE,
        unit::Item::SHAPE,
        two::E::SHAPE,
        three::E::SHAPE,
        swapped::E::SHAPE,
        filled::E::SHAPE,
        structured::E::SHAPE,
        empty::E::SHAPE,
        named::Item::SHAPE,
        Holder::SHAPE,
        Node::SHAPE,
        Generic::<u8, u8, 2>::SHAPE,
        Generic::<u8, u8, 3>::SHAPE,
        Generic::<u8, u16, 3>::SHAPE,
    ];
    for (i, a) in all.iter().enumerate() {
        for b in &all[i + 1..] {
            assert_ne!(a, b);
        }
    }
    assert_eq!(two::E::SHAPE, two_with_key::E::SHAPE);
    assert_eq!(<HashMap<String, base::Item>>::SHAPE, <BTreeMap<String, base::Item>>::SHAPE);
    assert!(Holder::RECURSIVE && !base::Item::RECURSIVE);
}
