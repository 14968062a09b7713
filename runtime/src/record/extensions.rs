//! The numbered parts of a header that came later: kept by every store, understood by the builds that know their numbers.

use super::wire::{Input, WireError, put_number};
use crate::clock::Timestamp;
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

/// The place of the last sign-in among those of its owner.
const SIGN_IN: u8 = 1;
/// When the session began, where its lifetime counts from later.
const CREATED: u8 = 2;

impl Extensions {
    /// The place of the last sign-in among those of its owner; 0 where it has none.
    pub(crate) fn sign_in(&self) -> u64 {
        let number = |part: &[u8]| Some(u64::from_le_bytes(part.try_into().ok()?));
        self.get(SIGN_IN).and_then(number).unwrap_or(0)
    }

    /// ... which is none from 0.
    pub(crate) fn set_sign_in(&mut self, place: u64) {
        self.set(SIGN_IN, (place > 0).then(|| place.to_le_bytes()).as_ref().map(|part| &part[..]));
    }

    /// When the session began, where [`Header::created`](super::Header::created) is later than that.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        let instant = |part: &[u8]| Some(Timestamp::from_millis(i64::from_le_bytes(part.try_into().ok()?)));
        self.get(CREATED).and_then(instant)
    }

    pub(crate) fn set_created(&mut self, created: Option<Timestamp>) {
        self.set(CREATED, created.map(|at| at.as_millis().to_le_bytes()).as_ref().map(|part| &part[..]));
    }

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_this_build_have_their_bytes() {
        let mut parts = Extensions::default();
        assert_eq!((parts.sign_in(), parts.created()), (0, None));
        parts.set_created(Some(Timestamp::from_millis(-2)));
        parts.set_sign_in(0x0102);
        let bytes = [1, 8, 2, 1, 0, 0, 0, 0, 0, 0, 2, 8, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(parts.encode(), bytes);
        let read = Extensions::decode(&bytes).unwrap();
        assert_eq!((read.sign_in(), read.created()), (0x0102, Some(Timestamp::from_millis(-2))));
        parts.set_sign_in(0);
        parts.set_created(None);
        assert!(parts.is_empty());
    }

    #[test]
    fn a_part_of_another_length_is_none() {
        let mut parts = Extensions::default();
        parts.set(SIGN_IN, Some(b"7"));
        parts.set(CREATED, Some(b"nine bytes"));
        assert_eq!((parts.sign_in(), parts.created()), (0, None));
    }
}
