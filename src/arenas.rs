//! What the C library keeps of memory that was freed. It makes an arena for nearly every thread, eight a core at most, and each
//! keeps the most it ever held: under overload a server of 96 MiB had 350 to 410 MiB resident, 250 with two arenas
//! (`tests/overload.rs`). And it raises the size from which on a buffer is given back when it is freed to the largest it saw,
//! 32 MiB at most: after ten minutes of ingest 1.5 GB were resident of which 0.3 were in use.
//!
//! Both are read from the environment before a program begins, so the server replaces itself with itself once.
//!
//! Does not own: what is counted and bounded (`storage::budget`).

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the C library reads, and what it is told. Whoever sets one of them decides.
const VARIABLES: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072")];

/// Begins this program anew with few arenas that keep little, as far as the environment does not say otherwise. Returns when
/// that cannot be done: the program goes on as it is.
pub(crate) fn bound() {
    let unset = VARIABLES.iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).envs(unset.clone().copied());
    if unset.count() > 0 {
        // It returns only when it failed.
        drop(again.exec());
    }
}
