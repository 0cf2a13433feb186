//! An allocator that counts: what one thread asks of it, and what the process holds.

#![expect(unsafe_code, reason = "the trait of allocators is an unsafe one; every call goes on to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

#[global_allocator]
static COUNTED: Counted = Counted;

static HELD: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static ASKED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

struct Counted;

// SAFETY: the system's allocator does all the work; the counts allocate nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: as our caller promises.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

fn count(new: usize, old: usize) {
    HELD.fetch_add(new as i64 - old as i64, Ordering::Relaxed);
    // A thread that ends allocates when its own variables are gone already.
    let _ = ASKED.try_with(|asked| {
        let (times, bytes) = asked.get();
        asked.set((times + 1, bytes + new as u64));
    });
}

/// How often this thread asked for memory so far, and for how many bytes.
pub(crate) fn asked() -> (u64, u64) {
    ASKED.with(Cell::get)
}

/// Bytes that the process holds.
pub(crate) fn held() -> i64 {
    HELD.load(Ordering::Relaxed)
}
