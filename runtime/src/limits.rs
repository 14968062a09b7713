//! How large stored things may be.

/// The largest encoded field, in bytes.
///
/// A field above it is refused when it is written, with its size, and nothing is stored; a stored cell above it is not
/// decoded. Sessions are read on every request: what is larger than this belongs into a table of its own.
pub const CELL: usize = 256 * 1024;

/// The largest record: keys and encoded fields together, in bytes.
pub const RECORD: usize = 1024 * 1024;

/// The longest label of a session, in bytes; a longer one is cut at a character boundary.
pub const LABEL: usize = 200;
