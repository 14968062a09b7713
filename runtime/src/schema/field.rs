//! The smart pointer around one field of a session.

use super::{def::FieldDef, untyped::AnyField};
use crate::record::Payload;
use serde::{Serialize, Serializer};
use std::{
    cmp::Ordering,
    fmt,
    ops::{Deref, DerefMut},
};

/// One field of a session: a smart pointer to its value, and nothing else.
///
/// `&mut` access marks the field touched, and nothing else does. When the handle is dropped (or saved) a touched field is
/// compared with what was loaded, and written only if it changed.
///
/// **What counts as a change:** other bytes in the encoding of the field's type, whatever its `PartialEq` says. The order of a hash map or
/// a hash set is no change, wherever in the type it is; the order of everything else is. Of an `opaque` field nothing is known but its JSON:
/// a hash map in it that is built anew has another order, and is written. Where nothing is stored, the default is what a value is compared with.
///
/// There are no methods, so `session.cart.push(item)` and
/// `session.map.get("key")` mean what they mean on the value; the two extra verbs are associated functions.
///
/// ```
/// use cloakroom::{Field, SessionData};
///
/// #[derive(SessionData)]
/// struct Shop { cart: Vec<String>, notice: Option<String> }
///
/// let mut session = ShopFields::from(Shop { cart: vec![], notice: Some("hello".into()) });
/// session.cart.push("tea".into());
/// assert_eq!(session.cart.len(), 1);
/// assert_eq!(session.notice.take().as_deref(), Some("hello"));
/// ```
pub struct Field<V: 'static> {
    value: Held<V>,
    // Knowing its definition, a field notices at check-in that it was swapped into another's place.
    def: &'static FieldDef<V>,
    // Behind a box, since most fields of most requests are only read.
    change: Option<Box<FieldChange>>,
    #[cfg(debug_assertions)]
    seen: Option<Payload>,
}

/// A value in a field. Were it the field's own, rustc would propose the private `session.role.value` where `*session.role` is meant.
struct Held<V>(V);

/// What happened to a field since its handle was made.
#[derive(Clone, Debug)]
pub struct FieldChange {
    pub(crate) kind: Kind,
    pub(crate) base: Base,
    /// A save failed to store it, and the handler knows: only another save stores it.
    pub(crate) failed: bool,
}

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None yet: only what the field was loaded from is kept.
    Untouched,
    /// Somebody had `&mut` to the value.
    Touched,
    /// Written even if equal.
    Forced,
    /// Set to its default by `clear()`, so that a tombstone is written.
    Cleared,
}

/// What a field held before the change: the other side of every comparison.
#[derive(Clone, Debug)]
pub enum Base {
    /// This, in the encoding of today.
    Value(Payload),
    /// Nothing of a session: the field was made from a plain struct, so the session it is put into decides.
    Unbound,
}

impl<V> Field<V> {
    pub(super) fn loaded(def: &'static FieldDef<V>, value: V) -> Self {
        Self {
            #[cfg(debug_assertions)]
            seen: def.encode(&value).ok(),
            value: Held(value),
            def,
            change: None,
        }
    }

    /// As [`loaded`](Field::loaded), keeping what the value was read from. Of some types a value has other bytes each time it is
    /// encoded, which would look like a change of another request.
    pub(super) fn loaded_from(def: &'static FieldDef<V>, value: V, payload: Payload) -> Self {
        let change = FieldChange { kind: Kind::Untouched, base: Base::Value(payload), failed: false };
        Self { change: Some(Box::new(change)), ..Self::loaded(def, value) }
    }

    pub(super) fn unbound(def: &'static FieldDef<V>, value: V) -> Self {
        let change = FieldChange { kind: Kind::Touched, base: Base::Unbound, failed: false };
        Self { change: Some(Box::new(change)), ..Self::loaded(def, value) }
    }

    /// The one transition that makes a field dirty. The value is still the old one then, so its encoding is the base.
    fn change(&mut self) -> &mut FieldChange {
        let change = self.change.get_or_insert_with(|| {
            // A value that cannot be encoded was never loaded, so it is nobody's base.
            let base = self.def.encode(&self.value.0).map_or(Base::Unbound, Base::Value);
            Box::new(FieldChange { kind: Kind::Touched, base, failed: false })
        });
        if change.kind == Kind::Untouched {
            change.kind = Kind::Touched;
        }
        change.failed = false;
        change
    }

    /// Takes every change back: the value is again what it was when the handle was made, or was last saved or refreshed. What a
    /// `save()` has taken over, it cannot take back, even if that failed.
    ///
    /// A field made from a plain struct falls back to its default.
    ///
    /// ```
    /// use cloakroom::{Field, SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<String> }
    /// async fn handler(mut session: TypedSession<Shop>) {
    ///     session.cart.clear();
    ///     Field::revert(&mut session.cart); // nothing will be written
    /// }
    /// ```
    pub fn revert(field: &mut Self) {
        if let Some(change) = field.change.take() {
            let def = field.def;
            *field = match change.base {
                // It was encoded from a value, so it decodes; if not, the default is the honest answer.
                Base::Value(payload) => match def.decode(&payload) {
                    Ok(value) => Self::loaded_from(def, value, payload),
                    Err(_) => Self::loaded(def, def.default()),
                },
                Base::Unbound => Self::loaded(def, def.default()),
            };
        }
    }

    /// Has the field written even if its value did not change.
    ///
    /// Useful to store a default that was chosen on purpose, and after a schema change, to store an upgraded value at once. Under a merge rule it counts as a write of the value held.
    ///
    /// ```
    /// use cloakroom::{Field, SessionData, TypedSession};
    /// # #[derive(SessionData)] struct Shop { cart: Vec<String> }
    /// async fn handler(mut session: TypedSession<Shop>) {
    ///     Field::force(&mut session.cart);
    /// }
    /// ```
    pub fn force(field: &mut Self) {
        field.change().kind = Kind::Forced;
    }

    pub(super) fn def(&self) -> &'static FieldDef<V> {
        self.def
    }

    pub(super) fn pending(&self) -> Option<&FieldChange> {
        self.change.as_deref().filter(|change| change.kind != Kind::Untouched)
    }

    /// Whether these are the bytes of the value that the handle began with, and nothing but a change would have them written.
    pub(super) fn began_with(&self, bytes: &Payload) -> bool {
        self.change
            .as_deref()
            .is_some_and(|change| change.kind == Kind::Touched && matches!(&change.base, Base::Value(base) if base == bytes))
    }

    /// The value, without touching the field.
    pub(super) fn value(&self) -> &V {
        &self.value.0
    }

    pub(super) fn clear(&mut self) {
        self.change().kind = Kind::Cleared;
        self.value = Held(self.def.default());
    }

    /// A save failed to store the change: it stays, and the next `&mut` access makes it one like any other.
    pub(super) fn fail(&mut self) {
        if let Some(change) = self.change.as_deref_mut().filter(|change| change.kind != Kind::Untouched) {
            change.failed = true;
        }
    }

    /// From here on the value held is the base.
    pub(super) fn settle(&mut self) {
        self.change.take_if(|change| change.kind != Kind::Untouched);
        #[cfg(debug_assertions)]
        {
            self.seen = self.def.encode(&self.value.0).ok();
        }
    }

    /// Whether the value differs from the one last seen, though nobody had `&mut` to it.
    #[cfg(debug_assertions)]
    pub(super) fn changed_unseen(&self) -> bool {
        match (&self.seen, self.def.encode(&self.value.0)) {
            (Some(seen), Ok(bytes)) => !self.def.is_same(Some(&bytes), Some(seen)),
            _ => false,
        }
    }
}

impl<V> Deref for Field<V> {
    type Target = V;
    fn deref(&self) -> &V {
        &self.value.0
    }
}

impl<V> DerefMut for Field<V> {
    fn deref_mut(&mut self) -> &mut V {
        let change = self.change();
        if change.kind == Kind::Cleared {
            change.kind = Kind::Touched;
        }
        &mut self.value.0
    }
}

impl<V: fmt::Display> fmt::Display for Field<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.0.fmt(f)
    }
}

/// As the value's own; of a `secret` field it says no more than that.
impl<V: fmt::Debug> fmt::Debug for Field<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.def.secret {
            return f.write_str("<secret>");
        }
        self.value.0.fmt(f)
    }
}

impl<V: PartialEq<U>, U: ?Sized> PartialEq<U> for Field<V> {
    fn eq(&self, other: &U) -> bool {
        self.value.0 == *other
    }
}

impl<V: PartialOrd<U>, U: ?Sized> PartialOrd<U> for Field<V> {
    fn partial_cmp(&self, other: &U) -> Option<Ordering> {
        self.value.0.partial_cmp(other)
    }
}

impl<V: Serialize> Serialize for Field<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.0.serialize(serializer)
    }
}

impl<'a, V> IntoIterator for &'a Field<V>
where
    &'a V: IntoIterator,
{
    type Item = <&'a V as IntoIterator>::Item;
    type IntoIter = <&'a V as IntoIterator>::IntoIter;
    fn into_iter(self) -> Self::IntoIter {
        self.value.0.into_iter()
    }
}

impl<'a, V> IntoIterator for &'a mut Field<V>
where
    &'a mut V: IntoIterator,
{
    type Item = <&'a mut V as IntoIterator>::Item;
    type IntoIter = <&'a mut V as IntoIterator>::IntoIter;
    fn into_iter(self) -> Self::IntoIter {
        (**self).into_iter()
    }
}

/// Where a field came from, for the error that names a swap.
pub(super) fn place<V>(field: &Field<V>) -> &'static dyn AnyField {
    field.def
}
