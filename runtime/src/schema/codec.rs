//! Values to bytes and back, by codec id.

use crate::record::{CodecId, Payload};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use zeroize::Zeroize;

/// The codec new cells are written with: bincode where it is compiled in, else postcard.
#[cfg(feature = "bincode")]
pub(crate) const WRITTEN: Option<CodecId> = Some(CodecId::BINCODE);
#[cfg(all(feature = "postcard", not(feature = "bincode")))]
pub(crate) const WRITTEN: Option<CodecId> = Some(CodecId::POSTCARD);
#[cfg(not(any(feature = "postcard", feature = "bincode")))]
pub(crate) const WRITTEN: Option<CodecId> = None;

/// What people call a codec.
pub(super) fn name(codec: CodecId) -> &'static str {
    match codec {
        CodecId::BINCODE => "bincode",
        CodecId::POSTCARD => "postcard",
        CodecId::JSON => "JSON",
        _ => "a codec of another version",
    }
}

/// Why a value could not be encoded or decoded.
///
/// Of a failed read the kind is kept and the text is not: serde quotes values there, and an error may be logged. A failed write
/// keeps the words of the type's own `Serialize`, unless the field is `secret`.
///
/// ```
/// use cloakroom::CodecError;
/// assert_eq!(CodecError::Trailing.to_string(), "bytes are left over after the value");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The cell was written with a codec this build does not have.
    UnknownCodec(CodecId),
    /// The type's `Serialize` refused.
    Encode(String),
    /// The bytes are not such a value.
    Decode(String),
    /// The bytes go on after the value.
    Trailing,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCodec(codec) => {
                write!(
                    f,
                    "written with codec {}, which this build lacks; enable its feature (bincode, postcard or json)",
                    codec.as_u8()
                )
            }
            Self::Encode(why) => write!(f, "the value could not be encoded: {why}"),
            Self::Decode(why) => write!(f, "the bytes are not such a value: {why}"),
            Self::Trailing => f.write_str("bytes are left over after the value"),
        }
    }
}

impl std::error::Error for CodecError {}

/// What becomes of the memory that a value was encoded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residue {
    /// It is given back as it is.
    Left,
    /// It is overwritten with zeros, as for a `secret` field.
    Wiped,
}

impl Residue {
    pub(super) fn payload(self, bytes: &[u8]) -> Payload {
        match self {
            Self::Left => Payload::from(bytes),
            Self::Wiped => Payload::wiped(bytes),
        }
    }
}

/// Where a value is encoded to: small ones, and most are, without an allocation.
#[derive(Debug)]
pub(crate) struct Encoded {
    small: [u8; Self::SMALL],
    used: usize,
    large: Vec<u8>,
    residue: Residue,
}

impl Drop for Encoded {
    fn drop(&mut self) {
        if self.residue == Residue::Wiped {
            self.small.zeroize();
            self.large.zeroize();
        }
    }
}

impl Encoded {
    const SMALL: usize = 64;

    pub(crate) fn new(residue: Residue) -> Self {
        Self { small: [0; Self::SMALL], used: 0, large: Vec::new(), residue }
    }

    /// Makes room for more, and leaves nothing behind where it moves to.
    fn grow(&mut self, more: usize) {
        let needed = self.large.len() + more;
        if self.residue == Residue::Wiped && needed > self.large.capacity() {
            let mut larger = Vec::with_capacity(needed.max(2 * self.large.capacity()));
            larger.extend_from_slice(&self.large);
            self.large.zeroize();
            self.large = larger;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        if self.large.is_empty() { &self.small[..self.used] } else { &self.large }
    }
}

impl std::io::Write for Encoded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.large.is_empty() {
            let end = self.used + bytes.len();
            if end <= Self::SMALL {
                self.small[self.used..end].copy_from_slice(bytes);
                self.used = end;
                return Ok(bytes.len());
            }
            self.grow(end);
            self.large.extend_from_slice(&self.small[..self.used]);
        }
        self.grow(bytes.len());
        self.large.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Appends a value's bytes in the codec of this build.
pub(crate) fn encode<V: Serialize>(value: &V, out: &mut Encoded) -> Result<(), CodecError> {
    #[cfg(feature = "bincode")]
    {
        bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
            .map(drop)
            .map_err(|error| CodecError::Encode(error.to_string()))
    }
    #[cfg(all(feature = "postcard", not(feature = "bincode")))]
    {
        postcard::to_io(value, out).map(drop).map_err(|error| CodecError::Encode(error.to_string()))
    }
    #[cfg(not(any(feature = "postcard", feature = "bincode")))]
    {
        let _ = (value, out);
        Err(CodecError::Encode("no codec is compiled in".to_owned()))
    }
}

/// The value of these bytes; all of them must be used.
pub(crate) fn decode<V: DeserializeOwned>(codec: CodecId, bytes: &[u8]) -> Result<V, CodecError> {
    match codec {
        #[cfg(feature = "bincode")]
        CodecId::BINCODE => decode_bincode(bytes),
        #[cfg(feature = "postcard")]
        CodecId::POSTCARD => match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(CodecError::Trailing),
            Err(error) => Err(CodecError::Decode(error.to_string())),
        },
        #[cfg(feature = "json")]
        CodecId::JSON => decode_json(bytes),
        other => {
            // Used by no arm in a build without codecs.
            let _ = bytes;
            Err(CodecError::UnknownCodec(other))
        }
    }
}

#[cfg(feature = "bincode")]
fn decode_bincode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, CodecError> {
    // bincode 2.0.1 allocates what a length prefix claims before it looks for the bytes (bincode#764), up to the limit. The
    // limit counts decoded sizes, of which one input byte can hold sixteen (a u128 below 251), so it is chosen by the
    // input's size: a small cell cannot ask for much.
    const SMALL: usize = 4 * 1024;
    const LARGE: usize = crate::limits::CELL;
    let read = if bytes.len() <= SMALL {
        bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<{ 16 * SMALL }>())
    } else {
        bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<{ 16 * LARGE }>())
    };
    match read {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok(_) => Err(CodecError::Trailing),
        Err(error) => Err(CodecError::Decode(what_bincode_saw(&error).to_owned())),
    }
}

/// The kind of an error, without the text that serde makes of it: that may quote the value.
#[cfg(feature = "bincode")]
fn what_bincode_saw(error: &bincode::error::DecodeError) -> &'static str {
    use bincode::error::DecodeError as Seen;
    match error {
        Seen::UnexpectedEnd { .. } => "the bytes end early",
        Seen::LimitExceeded => "a length in it is larger than the bytes could hold",
        Seen::Utf8 { .. } => "a text in it is not UTF-8",
        Seen::UnexpectedVariant { .. } | Seen::InvalidBooleanValue(_) | Seen::InvalidCharEncoding(_) => {
            "a byte in it has no meaning"
        }
        Seen::OtherString(_) | Seen::Other(_) => "the type refused it",
        _ => "it is something else",
    }
}

/// Appends a value's bytes as JSON, for fields whose bytes must describe themselves.
#[cfg(feature = "json")]
pub(crate) fn encode_json<V: Serialize>(value: &V, out: &mut Encoded) -> Result<(), CodecError> {
    serde_json::to_writer(out, value).map_err(|error| CodecError::Encode(error.to_string()))
}

// Without the feature the derive refuses `opaque` with one error; the types behind it must still add up.
#[cfg(not(feature = "json"))]
pub(crate) fn encode_json<V: Serialize>(_: &V, _: &mut Encoded) -> Result<(), CodecError> {
    Err(CodecError::UnknownCodec(CodecId::JSON))
}

#[cfg(feature = "json")]
fn decode_json<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, CodecError> {
    serde_json::from_slice(bytes).map_err(|error| CodecError::Decode(what_json_saw(&error)))
}

#[cfg(feature = "json")]
fn what_json_saw(error: &serde_json::Error) -> String {
    format!("{:?} error at column {}", error.classify(), error.column())
}
