//! What an operation leaves behind whose answer is lost.

use crate::store::StoreError;
use std::error::Error;

/// What is left of an operation whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Effect {
    /// Nothing: it may be made again.
    Read,
    /// Nobody knows.
    Write,
}

impl Effect {
    pub(in crate::store) fn lost(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        match self {
            Self::Read => StoreError::unavailable(cause),
            Self::Write => StoreError::outcome_unknown(cause),
        }
    }
}
