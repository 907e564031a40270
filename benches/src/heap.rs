//! An allocator that counts: how much memory something holds at most while it runs.
//!
//! A benchmark that wants to know makes it its global allocator; without that everything is 0. It counts only while it is
//! asked to ([`used`]): counting costs each allocation as much again, and the more the more threads there are.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use allocator::Jemalloc;

/// The server's allocator, counted.
#[derive(Debug)]
pub struct Counting;

static IS_COUNTED: AtomicBool = AtomicBool::new(false);
/// Below zero when more of what was allocated before is freed than allocated.
static HELD: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

/// Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// At most while it ran.
    pub most: usize,
    /// By what it gave.
    pub held: usize,
}

fn changed(grown: usize, shrunk: usize) {
    if IS_COUNTED.load(Ordering::Relaxed) {
        let by = grown as isize - shrunk as isize;
        let held = HELD.fetch_add(by, Ordering::Relaxed) + by;
        MOST.fetch_max(held, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one hands every call on as it is")]
// SAFETY: every call goes to the server's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        changed(layout.size(), 0);
        // SAFETY: the caller's contract is that of `Jemalloc`.
        unsafe { Jemalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        changed(layout.size(), 0);
        // SAFETY: the caller's contract is that of `Jemalloc`.
        unsafe { Jemalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        changed(0, layout.size());
        // SAFETY: the caller's contract is that of `Jemalloc`.
        unsafe { Jemalloc.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        changed(bytes, layout.size());
        // SAFETY: the caller's contract is that of `Jemalloc`.
        unsafe { Jemalloc.realloc(memory, layout, bytes) }
    }
}

/// What `work` allocates beyond what is held already. Nothing else should run meanwhile.
pub fn used<T>(work: impl FnOnce() -> T) -> (T, Used) {
    HELD.store(0, Ordering::Relaxed);
    MOST.store(0, Ordering::Relaxed);
    IS_COUNTED.store(true, Ordering::Relaxed);
    let result = work();
    IS_COUNTED.store(false, Ordering::Relaxed);
    let [most, held] = [&MOST, &HELD].map(|bytes| bytes.load(Ordering::Relaxed).max(0) as usize);
    (result, Used { most, held })
}
