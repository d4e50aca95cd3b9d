//! A bound on memory: readers may trust no size that a file states.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, which notes the largest piece of memory that a thread asks for.
#[derive(Debug)]
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `read`, which reads `input` bytes.
///
/// # Panics
/// When one piece of memory was larger than tables of a fixed size and a factor of the input: a number of q4 has half a
/// byte and becomes one of f32; growing doubles.
pub fn bounded<T>(input: usize, read: impl FnOnce() -> T) -> T {
    LARGEST.set(0);
    let result = read();
    let largest = LARGEST.get();
    assert!(largest <= (4 << 20) + 32 * input, "{largest} bytes at once to read {input}");
    result
}
