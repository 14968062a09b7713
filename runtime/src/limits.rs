//! How large stored things may be.
//!
//! ```
//! use cloakroom::limits;
//! let scan = vec![0u8; 300_000];
//! assert!(scan.len() > limits::CELL, "too large for a field: keep it elsewhere, and its key in the session");
//! ```

/// The largest encoded field, in bytes; of a `secret` field, with the 40 bytes of its seal.
///
/// A field above it is refused when it is written, with its size, and nothing is stored; a stored cell above it is not
/// decoded. Sessions are read on every request: what is larger than this belongs into a table of its own.
///
/// ```
/// assert!(cloakroom::limits::CELL < cloakroom::limits::RECORD);
/// ```
pub const CELL: usize = 256 * 1024;

/// The largest record: keys and encoded fields together, in bytes. Seals count.
///
/// ```
/// assert_eq!(cloakroom::limits::RECORD, 1024 * 1024);
/// ```
pub const RECORD: usize = 1024 * 1024;

/// The longest label of a session, in bytes; a longer one is cut at a character boundary.
///
/// ```
/// assert!("Firefox on a laptop".len() <= cloakroom::limits::LABEL);
/// ```
pub const LABEL: usize = 200;
