//! The numbered parts of a header that came later: kept by every store, understood by the builds that know their numbers.

use super::wire::{Input, WireError, put_number};
use std::sync::Arc;

/// Further parts of a [`Header`](super::Header), each under a number.
///
/// A store keeps them as one opaque value ([`encode`](Extensions::encode)). A build that does not know a number carries its part
/// along unchanged, so that an older program can serve a session that a newer one has extended.
///
/// ```
/// use cloakroom::record::Extensions;
/// let mut parts = Extensions::default();
/// parts.set(200, Some(b"of a newer build"));
/// assert_eq!(Extensions::decode(&parts.encode())?.get(200), Some(&b"of a newer build"[..]));
/// # Ok::<(), cloakroom::record::WireError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<(u8, Arc<[u8]>)>);

impl Extensions {
    /// Whether there are none. A store may then keep nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The part under a number.
    pub fn get(&self, number: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == number).map(|(_, part)| &**part)
    }

    /// Replaces the part under a number, or removes it.
    pub fn set(&mut self, number: u8, part: Option<&[u8]>) {
        match (self.0.binary_search_by_key(&number, |(known, _)| *known), part) {
            (Ok(at), Some(part)) => self.0[at].1 = part.into(),
            (Err(at), Some(part)) => self.0.insert(at, (number, part.into())),
            (Ok(at), None) => drop(self.0.remove(at)),
            (Err(_), None) => {}
        }
    }

    /// The bytes to store: nothing where there are no parts.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, part) in &self.0 {
            out.push(*number);
            put_number(part.len() as u64, &mut out);
            out.extend_from_slice(part);
        }
        out
    }

    /// The parts in stored bytes.
    ///
    /// # Errors
    /// [`WireError`], whatever the bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut input = Input::new(bytes);
        let mut parts: Vec<(u8, Arc<[u8]>)> = Vec::new();
        while !input.is_empty() {
            let number = input.byte()?;
            if parts.last().is_some_and(|(last, _)| *last >= number) {
                return Err(WireError::Unsorted);
            }
            let length = usize::try_from(input.number()?).map_err(|_| WireError::Overlong)?;
            parts.push((number, input.take(length)?.into()));
        }
        Ok(Self(parts))
    }
}
