//! The names of what a store can be asked to do.

use std::fmt;

/// One of the operations of [`SessionStore`](crate::store::SessionStore), without its arguments.
///
/// [`FaultStore`](super::FaultStore) is scripted by it, [`SpyStore`](super::SpyStore) counts by it.
///
/// ```
/// use cloakroom::testing::Operation;
/// assert_eq!(Operation::DeleteByOwner.to_string(), "delete_by_owner");
/// assert_eq!(Operation::ALL.len(), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `load`
    Load,
    /// `create`
    Create,
    /// `commit`
    Commit,
    /// `delete`
    Delete,
    /// `by_owner`
    ByOwner,
    /// `delete_by_owner`
    DeleteByOwner,
    /// `sweep`
    Sweep,
}

impl Operation {
    /// Every operation.
    pub const ALL: &'static [Self] =
        &[Self::Load, Self::Create, Self::Commit, Self::Delete, Self::ByOwner, Self::DeleteByOwner, Self::Sweep];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Create => "create",
            Self::Commit => "commit",
            Self::Delete => "delete",
            Self::ByOwner => "by_owner",
            Self::DeleteByOwner => "delete_by_owner",
            Self::Sweep => "sweep",
        })
    }
}
