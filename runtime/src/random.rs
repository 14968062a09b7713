//! Random bytes from the operating system, fetched a block at a time.

use std::cell::RefCell;
use zeroize::Zeroize;

const BLOCK: usize = 512;

struct Buffer {
    bytes: [u8; BLOCK],
    used: usize,
}

thread_local! {
    // One system call serves several tokens: asking the kernel for 32 bytes at a time costs more than the rest of a token.
    static BUFFER: RefCell<Buffer> = const { RefCell::new(Buffer { bytes: [0; BLOCK], used: BLOCK }) };
}

/// The operating system gave no random bytes.
#[derive(Debug)]
pub(crate) struct RandomError(getrandom::Error);

impl std::fmt::Display for RandomError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the operating system gave no random bytes: {}", self.0)
    }
}

impl std::error::Error for RandomError {}

/// `N` fresh random bytes. Bytes handed out are wiped from the buffer, so that they exist once.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    const { assert!(N <= BLOCK) };
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.used + N > BLOCK {
            // Marked used up first: a failing generator must never leave yesterday's bytes to be handed out.
            buffer.used = BLOCK;
            getrandom::fill(&mut buffer.bytes).map_err(RandomError)?;
            buffer.used = 0;
        }
        let mut out = [0; N];
        let source = &mut buffer.bytes[buffer.used..buffer.used + N];
        out.copy_from_slice(source);
        source.zeroize();
        buffer.used += N;
        Ok(out)
    })
}
