//! Earlier generations of a field, and removed fields: how what they stored becomes a value of today, and what older versions of
//! the program are given to read.

use super::{
    codec::Residue,
    coding::Coding,
    def::{Cause, Stay},
    untyped::Opener,
};
use crate::record::Content;
use std::{borrow::Borrow, fmt};

/// One earlier generation of a field, whatever its type was.
pub trait Older<V>: Sync {
    /// A value of today, from what is under that key.
    #[doc(hidden)]
    fn upgraded(&self, key: &str, content: &Content, from: &Opener<'_>) -> Result<V, Cause>;
    /// What a program that knows no later generation shall see.
    #[doc(hidden)]
    fn downgraded(&self, value: &V, residue: Residue) -> Result<Content, Cause>;
}

/// An [`Older`] generation whose type was `A`.
pub struct Past<A: 'static, V: 'static> {
    coding: Coding<A>,
    up: fn(A) -> Result<V, Cause>,
    down: Option<fn(&V) -> A>,
}

impl<A, V> Past<A, V> {
    /// With the whole way up, and the whole way down if no `forget` is on it.
    pub const fn new(coding: Coding<A>, up: fn(A) -> Result<V, Cause>, down: Option<fn(&V) -> A>) -> Self {
        Self { coding, up, down }
    }
}

impl<A, V> Older<V> for Past<A, V> {
    fn upgraded(&self, key: &str, content: &Content, from: &Opener<'_>) -> Result<V, Cause> {
        (self.up)(self.coding.read(key, content, from.vault())?.0)
    }

    fn downgraded(&self, value: &V, residue: Residue) -> Result<Content, Cause> {
        let (Some(down), Some(codec)) = (self.down, self.coding.codec) else { return Ok(Content::Tombstone) };
        let value = down(value);
        let payload = self.coding.encoded(&value, residue)?;
        self.coding.prove(&value, &payload, |_| Ok(()))?;
        Ok(Content::Value { codec, shape: self.coding.shape_of(&value)?, sealed: false, payload })
    }
}

/// A function that makes a value of the next generation of an older one: `up`, and the `with` of one removed field.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot upgrade `{A}` to `{B}`",
    label = "expected `fn({A}) -> {B}` or `fn({A}) -> Result<{B}, E>`",
    note = "`E` may be any type that implements `Display`"
)]
pub trait Upgrade<A, B> {
    /// Calls it.
    #[doc(hidden)]
    fn upgrade(self, old: A) -> Result<B, Cause>;
}

#[diagnostic::do_not_recommend]
impl<A, B, R: Upgraded<B>> Upgrade<A, B> for fn(A) -> R {
    fn upgrade(self, old: A) -> Result<B, Cause> {
        self(old).upgraded()
    }
}

/// What `up` and `with` may return.
pub trait Upgraded<B> {
    /// The value, or why there is none.
    #[doc(hidden)]
    fn upgraded(self) -> Result<B, Cause>;
}

impl<B> Upgraded<B> for B {
    fn upgraded(self) -> Result<B, Cause> {
        Ok(self)
    }
}

impl<B, E: fmt::Display> Upgraded<B> for Result<B, E> {
    fn upgraded(self) -> Result<B, Cause> {
        self.map_err(|error| Cause::Upgrade(error.to_string()))
    }
}

/// A function that makes a value for older versions of the program: `down`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot downgrade `{B}` to `{A}`",
    label = "expected `fn(&{B}) -> {A}`",
    note = "it must not fail: older versions need a value; where there is none, write `forget` in place of `down = ..`",
    note = "what `{B}` borrows as will do in its place: `&str` for a `String`, `&[T]` for a `Vec<T>`"
)]
pub trait Downgrade<'a, B, A> {
    /// Calls it.
    #[doc(hidden)]
    fn downgrade(self, new: &'a B) -> A;
}

#[diagnostic::do_not_recommend]
impl<'a, B: Borrow<X>, A, X: ?Sized> Downgrade<'a, B, A> for fn(&'a X) -> A {
    fn downgrade(self, new: &'a B) -> A {
        self(new.borrow())
    }
}

/// A function that makes a value of several removed fields: their `with`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot compute `{V}` from `{Sources}`",
    label = "expected a `fn` with one argument for each of `{Sources}`, in this order, that returns `{V}` or `Result<{V}, E>`",
    note = "`E` may be any type that implements `Display`"
)]
pub trait Compute<Sources, V> {
    /// Calls it.
    #[doc(hidden)]
    fn compute(self, sources: Sources) -> Result<V, Cause>;
}

macro_rules! computes {
    ($(($($source:ident)+))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($source,)+ V, R: Upgraded<V>> Compute<($($source,)+), V> for fn($($source),+) -> R {
            #[allow(non_snake_case)]
            fn compute(self, ($($source,)+): ($($source,)+)) -> Result<V, Cause> {
                self($($source),+).upgraded()
            }
        }
    )*};
}
computes! { (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }

/// What one of several removed fields was where only others of them are stored.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no default value, which one of several removed fields needs",
    label = "what was this field where only the others are stored?",
    note = "implement `Default` for `{Self}`"
)]
pub trait SourceDefault: Sized {
    /// The value.
    fn source_default() -> Self;
}

#[diagnostic::do_not_recommend]
impl<A: Default> SourceDefault for A {
    fn source_default() -> Self {
        Self::default()
    }
}

/// What removed fields have left.
#[derive(Debug)]
pub struct Sources<'a> {
    from: &'a Opener<'a>,
    keys: &'static [&'static str],
    /// Of the field that is computed from them.
    stay: Stay,
}

impl<'a> Sources<'a> {
    pub(super) fn new(from: &'a Opener<'a>, keys: &'static [&'static str], stay: Stay) -> Self {
        Self { from, keys, stay }
    }

    /// The value of the only one.
    ///
    /// # Errors
    /// If its cell cannot be read.
    pub fn only<A>(&self, coding: &Coding<A>) -> Result<A, Cause> {
        self.stored(0, coding)?.ok_or_else(|| Cause::Upgrade("there is nothing to compute it from".to_owned()))
    }

    /// The value of one of several, of which some may have none.
    ///
    /// # Errors
    /// If its cell cannot be read.
    pub fn value<A>(&self, at: usize, coding: &Coding<A>, default: fn() -> A) -> Result<A, Cause> {
        self.stored(at, coding).map(|value| value.unwrap_or_else(default))
    }

    fn stored<A>(&self, at: usize, coding: &Coding<A>) -> Result<Option<A>, Cause> {
        let Some(key) = self.keys.get(at) else { return Ok(None) };
        let Some(content) = self.from.content(key, self.stay) else { return Ok(None) };
        Ok(Some(coding.read(key, content, self.from.vault())?.0))
    }
}

/// How a field is computed from removed ones.
pub(super) struct Computed<V> {
    pub(super) sources: &'static [&'static str],
    pub(super) compute: fn(&Sources<'_>) -> Result<V, Cause>,
}
