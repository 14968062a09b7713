//! What a store keeps of a token's secret.

use crate::{
    record::{Header, OwnerHash},
    token::{SecretHash, Token},
};

/// How the secret of a token becomes the hash in a record: the one place that computes it.
#[derive(Clone, Debug, Default)]
pub(crate) enum SecretHasher {
    /// The hash of the secret alone.
    #[default]
    Plain,
}

impl SecretHasher {
    /// The hash to store for a token of a session with that owner.
    pub(crate) fn hash(&self, token: &Token, _owner: Option<&OwnerHash>) -> SecretHash {
        match self {
            Self::Plain => token.secret.hash(),
        }
    }

    /// The hash under which a record knows the token. Where it does not know it, the hash to store for it.
    pub(crate) fn recognise(&self, token: &Token, header: &Header) -> SecretHash {
        self.hash(token, header.owner.as_ref().map(|owner| &owner.hash))
    }
}
