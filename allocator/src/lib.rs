//! The allocator of the server, and of benchmarks of its parts: jemalloc.
//!
//! The C library's keeps, for nearly every thread, the most that it ever held: under overload a server of 96 MiB had 350 to 410 MiB
//! resident, and after ten minutes of ingest 1.5 GB of which 0.3 were in use. It can be told to keep less before a program
//! begins, but is slower then (`docs/adr/0020-the-server-allocates-with-jemalloc.md`).
//!
//! A program takes it with
//!
//! ```text
//! #[global_allocator]
//! static ALLOCATOR: allocator::Jemalloc = allocator::Jemalloc;
//! ```
//!
//! Does not own: what is counted and bounded (`storage::budget`).

pub use tikv_jemallocator::Jemalloc;

/// What jemalloc reads before the first allocation: few arenas, and what lies unused for a second goes back to the system, by a
/// thread of its own. `_RJEM_MALLOC_CONF` in the environment comes after it.
#[expect(unsafe_code, reason = "a name that C code knows")]
// SAFETY: jemalloc declares `const char *_rjem_malloc_conf` and only reads it: a thin reference to bytes that end with zero and are
// never changed. Nothing else exports the name.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static SETTINGS: &[u8; 70] = b"narenas:4,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
