//! The CSRF token: a tag of the session under its own key, masked anew each time it is handed out.

use crate::{
    key::SessionKey,
    random::{self, RandomError},
    record::Selector,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use std::fmt;
use zeroize::Zeroizing;

const HALF: usize = 16;
/// Mask and masked tag in base64url.
const LENGTH: usize = 43;

/// Proof that a form or a script was given out by this application to this very session, for the synchroniser pattern of the OWASP
/// CSRF Prevention Cheat Sheet.
///
/// Put it into a hidden field of every form that changes something, or into a `<meta>` tag from which a script copies it into a header.
/// Its 43 characters are letters, digits, `-` and `_`, which need no escaping in HTML. It belongs into no URL, no cookie and no
/// log: hence no `Display`, no `Serialize` and a redacted `Debug`; no `PartialEq` either, since comparing is the library's job, in constant time.
///
/// It is derived from the session's key and the number of its sign-ins, so nothing is stored for it, it survives a renewal of the
/// cookie, and it is refused after a sign-in or sign-out. It looks different every time it is issued, or else the size of a
/// compressed page would give it away bit by bit (the attack BREACH); all of them are good as long as the session is the same.
///
/// ```
/// use cloakroom::CsrfToken;
///
/// fn form(token: &CsrfToken) -> String {
///     format!(r#"<form method="post"><input type="hidden" name="csrf" value="{}"><button>Buy</button></form>"#, token.as_str())
/// }
/// # let _ = form;
/// ```
#[derive(Clone)]
pub struct CsrfToken(Zeroizing<String>);

impl CsrfToken {
    /// A token for the session in this epoch.
    pub(crate) fn issue(key: &SessionKey, selector: &Selector, epoch: u32) -> Result<Self, RandomError> {
        Ok(Self::masked(&Tag::of(key, selector, epoch), random::bytes()?))
    }

    /// Whether this text is a token of the session in this epoch, in time that does not depend on how nearly it is.
    #[must_use]
    pub(crate) fn verify(submitted: &[u8], key: &SessionKey, selector: &Selector, epoch: u32) -> bool {
        Tag::unmasked(submitted).is_some_and(|tag| tag.matches(&Tag::of(key, selector, epoch)))
    }

    fn masked(tag: &Tag, mask: [u8; HALF]) -> Self {
        let mut bytes = Zeroizing::new([0; 2 * HALF]);
        bytes[..HALF].copy_from_slice(&mask);
        bytes[HALF..].copy_from_slice(&xor(&mask, &tag.0));
        Self(Base64UrlUnpadded::encode_string(&*bytes).into())
    }
}

impl CsrfToken {
    /// The token as it goes into a form field, a `<meta>` tag or a header.
    ///
    /// ```
    /// use cloakroom::CsrfToken;
    ///
    /// fn meta(token: &CsrfToken) -> String {
    ///     format!(r#"<meta name="csrf-token" content="{}">"#, token.as_str())
    /// }
    /// # let _ = meta;
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(..)")
    }
}

/// What every token of a session is in one epoch, once the mask is off.
struct Tag(Zeroizing<[u8; HALF]>);

impl Tag {
    fn of(key: &SessionKey, selector: &Selector, epoch: u32) -> Self {
        // Both parts have a fixed length, so no two pairs of them are the same bytes.
        let mut session = [0; 20];
        session[..16].copy_from_slice(selector.as_bytes());
        session[16..].copy_from_slice(&epoch.to_le_bytes());
        let whole = Zeroizing::new(<[u8; 32]>::from(blake3::keyed_hash(&key.derive("cloakroom 1 csrf token"), &session)));
        Self(Zeroizing::new(first_half(&whole)))
    }

    fn unmasked(submitted: &[u8]) -> Option<Self> {
        // Looked at first: the text comes from anybody and has any length.
        if submitted.len() != LENGTH {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 2 * HALF]);
        // The decoder refuses other alphabets, padding and non-canonical last characters, and runs in constant time.
        Base64UrlUnpadded::decode(submitted, &mut *bytes).ok()?;
        let masked: [u8; HALF] = std::array::from_fn(|at| bytes[HALF + at]);
        Some(Self(Zeroizing::new(xor(&first_half(&bytes), &masked))))
    }

    fn matches(&self, other: &Self) -> bool {
        // blake3::Hash documents its equality as constant-time; it is 32 bytes wide.
        let wide = |tag: &Self| {
            let mut bytes = [0; 32];
            bytes[..HALF].copy_from_slice(&*tag.0);
            blake3::Hash::from_bytes(bytes)
        };
        wide(self) == wide(other)
    }
}

fn first_half(bytes: &[u8; 2 * HALF]) -> [u8; HALF] {
    std::array::from_fn(|at| bytes[at])
}

fn xor(a: &[u8; HALF], b: &[u8; HALF]) -> [u8; HALF] {
    std::array::from_fn(|at| a[at] ^ b[at])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{key::WrappedKey, token::Token};
    use std::collections::HashSet;

    /// The golden session of `docs/wire-format.md`.
    fn golden() -> (SessionKey, Selector) {
        let token = Token::parse(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
        let mut wrapped = [0; 32];
        Base64UrlUnpadded::decode("6RwcWBS7pJBF0rSFP6LnvU-goAPS1XCtpl1WOJ6WErM", &mut wrapped).unwrap();
        (WrappedKey::from_bytes(wrapped).unwrap_with(&token.selector, &token.secret), token.selector)
    }

    fn issue(key: &SessionKey, selector: &Selector, epoch: u32) -> String {
        CsrfToken::issue(key, selector, epoch).unwrap().as_str().to_owned()
    }

    #[test]
    fn a_token_has_its_golden_bytes() {
        let (key, selector) = golden();
        let token = CsrfToken::masked(&Tag::of(&key, &selector, 0x0a0b_0c0d), std::array::from_fn(|at| 0xe0 + at as u8));
        let golden = "4OHi4-Tl5ufo6err7O3u74WyI7lT016nzU6ngYWBlXc";
        assert_eq!(token.as_str(), golden);
        assert!(CsrfToken::verify(golden.as_bytes(), &key, &selector, 0x0a0b_0c0d));
    }

    #[test]
    fn every_token_of_a_session_is_good_and_no_two_are_alike() {
        let (key, selector) = golden();
        let tokens: HashSet<String> = (0..1000).map(|_| issue(&key, &selector, 7)).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| token.len() == LENGTH && CsrfToken::verify(token.as_bytes(), &key, &selector, 7)));
        // Not even half of one returns, so nothing on a page is the same twice.
        let halves = |from: usize| tokens.iter().map(|token| token[from..from + 20].to_owned()).collect::<HashSet<_>>().len();
        assert_eq!((halves(0), halves(22)), (1000, 1000));
    }

    #[test]
    fn a_token_of_another_session_key_or_epoch_is_refused() {
        let (key, selector) = golden();
        let token = issue(&key, &selector, 1);
        let good = |key: &SessionKey, selector: &Selector, epoch| CsrfToken::verify(token.as_bytes(), key, selector, epoch);
        assert!(good(&key, &selector, 1));
        for epoch in [0, 2, 1 << 8, 1 << 24, u32::MAX] {
            assert!(!good(&key, &selector, epoch), "epoch {epoch}");
        }
        assert!(!good(&SessionKey::from_bytes([9; 32]), &selector, 1));
        assert!(!good(&key, &Selector::from_bytes([9; 16]), 1));
    }

    #[test]
    fn a_token_with_any_character_changed_left_out_or_added_is_refused() {
        let (key, selector) = golden();
        let token = issue(&key, &selector, 0).into_bytes();
        let refused = |text: &[u8]| !CsrfToken::verify(text, &key, &selector, 0);
        for at in 0..token.len() {
            for other in *b"Az09-_=+/ %.\0\xff" {
                let mut changed = token.clone();
                changed[at] = other;
                assert_eq!(refused(&changed), changed != token, "{:?}", String::from_utf8_lossy(&changed));
            }
            assert!(refused(&token[..at]) && refused(&token[at + 1..]));
        }
        for longer in [&b"="[..], b"A", b" ", b"\n", &token] {
            assert!(refused(&[&token, longer].concat()) && refused(&[longer, &token].concat()));
        }
        assert!(refused(&[b'A'; LENGTH]), "no mask and no tag");
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let (key, selector) = golden();
        assert_eq!(format!("{:?}", CsrfToken::issue(&key, &selector, 0).unwrap()), "CsrfToken(..)");
    }
}
