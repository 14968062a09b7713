//! What a store keeps of a token's secret.

use crate::{
    keyring::KeyRing,
    record::{Header, OwnerHash},
    token::{SecretHash, Token},
};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// How the secret of a token becomes the hash in a record: the one place that computes it.
#[derive(Clone, Default)]
pub(crate) enum SecretHasher {
    /// The hash of the secret alone.
    #[default]
    Plain,
    /// A hash of the selector, the secret and the owner, under a key that the store does not have.
    Keyed(Arc<Keys>),
}

/// The sub-keys of a ring for this purpose.
pub(crate) struct Keys {
    active: Key,
    others: Vec<Key>,
}

type Key = Zeroizing<[u8; blake3::KEY_LEN]>;

impl SecretHasher {
    pub(crate) fn keyed(ring: &KeyRing) -> Self {
        let active = ring.active().for_secrets();
        Self::Keyed(Arc::new(Keys { active, others: ring.others().map(|key| key.for_secrets()).collect() }))
    }

    pub(crate) fn is_keyed(&self) -> bool {
        matches!(self, Self::Keyed(_))
    }

    /// The hash to store for a token of a session with that owner.
    pub(crate) fn hash(&self, token: &Token, owner: Option<&OwnerHash>) -> SecretHash {
        match self {
            Self::Plain => token.secret.hash(),
            Self::Keyed(keys) => keyed(&keys.active, token, owner),
        }
    }

    /// The hash under which a record knows the token. Where it does not know it, the hash to store for it.
    pub(crate) fn recognise(&self, token: &Token, header: &Header) -> SecretHash {
        let owner = header.owner.as_ref().map(|owner| &owner.hash);
        let newest = self.hash(token, owner);
        let Self::Keyed(keys) = self else { return newest };
        if keys.others.is_empty() || header.knows(&newest) {
            return newest;
        }
        let older = keys.others.iter().map(|key| keyed(key, token, owner));
        older.into_iter().find(|hash| header.knows(hash)).unwrap_or(newest)
    }
}

/// Of a fixed length with an owner and of another without, so that no two inputs read alike. It is one block of blake3 in either case. The
/// name of the owner's schema is part of the owner's hash.
fn keyed(key: &Key, token: &Token, owner: Option<&OwnerHash>) -> SecretHash {
    let mut input = Zeroizing::new([0; 64]);
    input[..16].copy_from_slice(token.selector.as_bytes());
    input[16..32].copy_from_slice(token.secret.as_bytes());
    let length = match owner {
        Some(owner) => {
            input[32..].copy_from_slice(owner.as_bytes());
            64
        }
        None => 32,
    };
    SecretHash::from_bytes(*blake3::keyed_hash(key, &input[..length]).as_bytes())
}

impl fmt::Debug for SecretHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_keyed() { "keyed" } else { "plain" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The golden token and ring of `docs/wire-format.md`.
    fn golden() -> (Token, SecretHasher) {
        let ring: KeyRing = "CzBVep_E6Q4zWH2ix-wRNluApcrvFDleg6jN8hc8YYY".parse().unwrap();
        (Token::of(&std::array::from_fn(|at| at as u8)), SecretHasher::keyed(&ring))
    }

    fn hex(hash: &SecretHash) -> String {
        hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_keyed_hash_has_its_golden_bytes() {
        let (token, hasher) = golden();
        let owner = OwnerHash::from_bytes(std::array::from_fn(|at| 0x80 + at as u8));
        assert_eq!(hex(&hasher.hash(&token, None)), "ac753b5799642ff1c082ea3422331f6b2c2deafe901f8accc5147422aa850e3f");
        assert_eq!(hex(&hasher.hash(&token, Some(&owner))), "41b2ba09cfe4c624f931083ddf3fe068e77429b1a078c1e26ae99b0556278acf");
    }
}
