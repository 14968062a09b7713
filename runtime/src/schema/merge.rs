//! What happens when two requests changed the same field: three-way merges of base, mine and theirs.

use super::{
    canonical::{self, For},
    layout::Layout,
    value::SessionValue,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, Hash},
};

/// A field's rule for concurrent changes, as `#[session(merge = ..)]` declares it.
#[derive(Debug)]
pub enum Merge<V> {
    /// The later write wins.
    Last,
    /// A concurrent change is an error, and nothing of the request is stored.
    Strict,
    /// The function decides from base, mine and theirs.
    Of(fn(V, V, V) -> V),
}

impl<V> Clone for Merge<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Merge<V> {}

// As with the constructors of a definition, the bounds are where rustc shows their own words.
impl<V> Merge<V> {
    /// `merge = "add"`.
    pub const fn add() -> Self
    where
        V: Counter,
    {
        Self::Of(V::merge_add)
    }

    /// `merge = "max"`.
    pub const fn max() -> Self
    where
        V: Ranked,
    {
        Self::Of(|_, mine, theirs| mine.max(theirs))
    }

    /// `merge = "min"`.
    pub const fn min() -> Self
    where
        V: Ranked,
    {
        Self::Of(|_, mine, theirs| mine.min(theirs))
    }

    /// `merge = "union"`.
    pub const fn union() -> Self
    where
        V: Union,
        V: SessionValue,
    {
        Self::Of(|base, mine, theirs| V::merge_union(base, mine, theirs, V::LAYOUT))
    }

    /// `merge = "union"` of an `opaque` field, of which nothing says what has no order inside of it.
    pub const fn opaque_union() -> Self
    where
        V: Union,
    {
        Self::Of(|base, mine, theirs| V::merge_union(base, mine, theirs, Layout::Ordered))
    }
}

/// Numbers whose concurrent changes add up.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot merge by \"add\"",
    label = "\"add\" is for integers up to 64 bits",
    note = "use `merge = my_merge` with `fn my_merge(base: {Self}, mine: {Self}, theirs: {Self}) -> {Self}`, or leave `merge` out: the later write wins"
)]
pub trait Counter: Sized {
    /// `theirs + (mine - base)`, exact, held at the type's bounds.
    fn merge_add(base: Self, mine: Self, theirs: Self) -> Self;
}

macro_rules! counters {
    ($($int:ty)*) => {$(
        impl Counter for $int {
            fn merge_add(base: Self, mine: Self, theirs: Self) -> Self {
                // Three 64-bit numbers cannot leave an i128.
                let sum = theirs as i128 + (mine as i128 - base as i128);
                sum.clamp(Self::MIN as i128, Self::MAX as i128) as Self
            }
        }
    )*};
}
counters!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

/// Values with an order, of which the larger or smaller survives.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot merge by \"max\" or \"min\"",
    label = "this type has no total order (`Ord`)",
    note = "use `merge = my_merge` with `fn my_merge(base: {Self}, mine: {Self}, theirs: {Self}) -> {Self}`, or leave `merge` out: the later write wins"
)]
pub trait Ranked: Ord {}

#[diagnostic::do_not_recommend]
impl<V: Ord> Ranked for V {}

/// Collections whose concurrent additions and removals both count.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot merge by \"union\"",
    label = "\"union\" is for HashSet, BTreeSet, HashMap and BTreeMap",
    note = "use `merge = my_merge` with `fn my_merge(base: {Self}, mine: {Self}, theirs: {Self}) -> {Self}`, or leave `merge` out: the later write wins"
)]
pub trait Union: Sized {
    /// `theirs`, plus what `mine` added, minus what `mine` removed. A changed element or entry counts as added.
    #[doc(hidden)]
    fn merge_union(base: Self, mine: Self, theirs: Self, layout: Layout) -> Self;
}

/// Whether an element is in a base as it is: what makes a set take two elements for one may be less than what is stored of them.
fn is_in<T: Serialize>(base: Option<&T>, mine: &T, layout: Layout) -> bool {
    base.is_some_and(|base| canonical::same(base, mine, layout, For::Programs))
}

impl<T: Eq + Hash + Serialize, S: BuildHasher> Union for HashSet<T, S> {
    fn merge_union(base: Self, mine: Self, mut theirs: Self, layout: Layout) -> Self {
        theirs.retain(|item| mine.contains(item) || !base.contains(item));
        for item in mine.into_iter().filter(|item| !is_in(base.get(item), item, layout.part(0))) {
            theirs.replace(item);
        }
        theirs
    }
}

impl<T: Ord + Serialize> Union for BTreeSet<T> {
    fn merge_union(base: Self, mine: Self, mut theirs: Self, layout: Layout) -> Self {
        theirs.retain(|item| mine.contains(item) || !base.contains(item));
        for item in mine.into_iter().filter(|item| !is_in(base.get(item), item, layout.part(0))) {
            theirs.replace(item);
        }
        theirs
    }
}

// Of two changed values of one key, mine wins.
impl<K: Eq + Hash, V: Serialize, S: BuildHasher> Union for HashMap<K, V, S> {
    fn merge_union(base: Self, mine: Self, mut theirs: Self, layout: Layout) -> Self {
        let value = layout.part(0).part(1);
        theirs.retain(|key, _| mine.contains_key(key) || !base.contains_key(key));
        theirs.extend(mine.into_iter().filter(|(key, mine)| !is_in(base.get(key), mine, value)));
        theirs
    }
}

impl<K: Ord, V: Serialize> Union for BTreeMap<K, V> {
    fn merge_union(base: Self, mine: Self, mut theirs: Self, layout: Layout) -> Self {
        let value = layout.part(0).part(1);
        theirs.retain(|key, _| mine.contains_key(key) || !base.contains_key(key));
        theirs.extend(mine.into_iter().filter(|(key, mine)| !is_in(base.get(key), mine, value)));
        theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_is_exact_and_stops_at_the_bounds() {
        assert_eq!(u64::merge_add(10, 11, 15), 16);
        assert_eq!(u8::merge_add(0, 200, 100), u8::MAX);
        assert_eq!(u8::merge_add(9, 0, 3), 0);
        assert_eq!(i64::merge_add(i64::MIN, i64::MAX, i64::MIN), i64::MAX);
        assert_eq!(u64::merge_add(u64::MAX, 0, u64::MAX), 0);
    }

    #[test]
    fn union_keeps_additions_and_removals_of_both() {
        let set = |items: &str| items.chars().collect::<BTreeSet<char>>();
        let merge = |base, mine, theirs| BTreeSet::merge_union(set(base), set(mine), set(theirs), Layout::Ordered);
        assert_eq!(merge("x", "", "xy"), set("y"));
        assert_eq!(merge("x", "xy", ""), set("y"));
        assert_eq!(merge("", "a", "b"), set("ab"));
    }

    #[test]
    fn a_map_entry_i_changed_wins_and_one_they_removed_stays_removed() {
        let map = |entries: &[(&'static str, u8)]| entries.iter().copied().collect::<BTreeMap<_, _>>();
        let base = map(&[("tea", 1), ("cup", 1)]);
        let merged =
            BTreeMap::merge_union(base, map(&[("tea", 3), ("cup", 1)]), map(&[("tea", 2), ("pot", 1)]), Layout::Ordered);
        assert_eq!(merged, map(&[("tea", 3), ("pot", 1)]));
    }
}
