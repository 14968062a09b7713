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

/// The system's allocator, which looks for [`WATCHED`] in all memory that is given back.
pub struct Watching;

/// What must not be in memory that is free again, while a thread watches.
pub const WATCHED: [u8; 16] = *b"\x9d\x1fplain\x00secret\x8e\x02";

thread_local! {
    /// How often it was found, while this thread watches.
    static FOUND: Cell<Option<usize>> = const { Cell::new(None) };
}

/// What the work returns, and how many blocks of memory it gave back with [`WATCHED`] in them.
pub async fn left_behind<T>(work: impl Future<Output = T>) -> (T, usize) {
    FOUND.with(|found| found.set(Some(0)));
    let done = work.await;
    (done, FOUND.with(Cell::take).unwrap_or(0))
}

// SAFETY: every call is handed to the system's allocator, with layouts that are the caller's; a block that is grown is copied into
// another one. All memory is zeroed first, so that all of it can be read.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = FOUND.try_with(|found| {
            if let Some(times) = found.get() {
                let block = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
                if block.windows(WATCHED.len()).any(|window| window == WATCHED) {
                    found.set(Some(times + 1));
                }
            }
        });
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe {
            let larger = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !larger.is_null() {
                std::ptr::copy_nonoverlapping(pointer, larger, layout.size().min(size));
                self.dealloc(pointer, layout);
            }
            larger
        }
    }
}
