//! Few arenas of the C library. It makes one for nearly every thread, eight a core at most, and each keeps the most it
//! ever held: under overload a server of 96 MiB had 350 to 410 MiB resident, 250 with two arenas (`tests/overload.rs`).
//!
//! How many is read from the environment before a program begins, so the server replaces itself with itself once.
//!
//! Does not own: what is counted and bounded (`storage::budget`).

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the C library reads. Whoever sets it decides.
const VARIABLE: &str = "MALLOC_ARENA_MAX";
const ARENAS: &str = "2";

/// Begins this program anew with few arenas, unless the environment says how many. Returns when that cannot be done: the
/// program goes on as it is.
pub(crate) fn bound() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // It returns only when it failed.
    drop(again.args(arguments).env(VARIABLE, ARENAS).exec());
}
