//! An allocator that counts for each thread: how often it asked for memory, and how much of it it holds.

#![expect(unsafe_code, reason = "the trait of allocators is an unsafe one; every call goes on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTED: Counted = Counted;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counted;

// SAFETY: the system's allocator does all the work; the counts allocate nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, new_size as i64 - layout.size() as i64);
        // SAFETY: as our caller promises.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

fn count(times: u64, bytes: i64) {
    // A thread that ends allocates when its own variables are gone already.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + times));
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

/// How often `act` asked for memory on this thread.
pub(crate) fn asked(act: impl FnOnce()) -> u64 {
    let before = ASKED.with(Cell::get);
    act();
    ASKED.with(Cell::get) - before
}

/// What `make` made, and the bytes that it holds.
pub(crate) fn held<T>(make: impl FnOnce() -> T) -> (T, i64) {
    let before = HELD.with(Cell::get);
    let made = make();
    (made, HELD.with(Cell::get) - before)
}
