//! Whom a session belongs to: what a struct says of it, and what the type of its owner field must be.

use super::{
    SessionData,
    owner_hash::{Unhashable, hash},
};
use crate::record::OwnerHash;
use serde::Serialize;

/// Session data with a field that says who is signed in: `#[session(owner)]`. The derive implements it.
///
/// ```
/// use cloakroom::{HasOwner, SessionData, Sessions};
///
/// #[derive(SessionData)]
/// struct Shop {
///     #[session(owner)]
///     user: Option<u64>,
/// }
///
/// /// Ends every session of somebody, whatever the struct.
/// async fn disable<T: HasOwner>(sessions: &Sessions, owner: &T::Owner) -> Result<u64, cloakroom::SessionError> {
///     sessions.revoke_all::<T>(owner).await
/// }
/// # let _ = disable::<Shop>;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say who a session belongs to",
    label = "no field of this struct is the owner",
    note = "mark the field that says who is signed in: `#[session(owner)] user: Option<UserId>`"
)]
pub trait HasOwner: SessionData {
    /// What names an owner: the `UserId` of `user: Option<UserId>`.
    type Owner: Serialize;

    #[doc(hidden)]
    fn __owner(fields: &Self::Fields) -> Option<&Self::Owner>;

    #[doc(hidden)]
    fn __is_complete(fields: &Self::Fields) -> bool;
}

/// What the type of an owner field must be.
#[diagnostic::on_unimplemented(
    message = "an owner is an `Option`, and `{Self}` is none",
    label = "who is it while nobody is signed in?",
    note = "write `Option<{Self}>`: `None` while nobody is signed in"
)]
pub trait OwnerField {
    /// What names an owner.
    type Id: Serialize;

    /// The owner, if somebody is signed in.
    fn id(&self) -> Option<&Self::Id>;
}

impl<I: Serialize> OwnerField for Option<I> {
    type Id = I;

    fn id(&self) -> Option<&I> {
        self.as_ref()
    }
}

/// The hash of the owner that a field holds, if it holds one.
pub fn owner_hash<V: OwnerField>(schema: &str, value: &V) -> Result<Option<OwnerHash>, Unhashable> {
    value.id().map(|id| hash(schema, id)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_no_hash() {
        assert_eq!(owner_hash("shop", &None::<u32>), Ok(None));
        assert_eq!(owner_hash("shop", &Some(42_u32)), hash("shop", &42_u32).map(Some));
    }
}
