//! An allocator that counts, for what must not take more memory than its input deserves.

#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, counting the bytes that each thread has asked for. A program that counts makes it its `global_allocator`.
pub struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // A thread that is ending has no counter any more.
    let _ = ASKED.try_with(|asked| asked.set(asked.get().wrapping_add(bytes)));
}

// SAFETY: every call is handed to the system's allocator as it is; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How many bytes this thread has asked for so far.
pub fn asked() -> usize {
    ASKED.with(Cell::get)
}

/// What the work returns.
///
/// # Panics
/// If it asked for more than `limit` bytes.
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = asked();
    let done = work();
    let used = asked().wrapping_sub(before);
    assert!(used <= limit, "{used} bytes of memory, {limit} are enough");
    done
}
