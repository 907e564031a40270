//! Where records come from: `file` (replayable, positions only), `otlp` and the others (pushed, spooled).

pub(crate) mod file;
mod host;
pub(crate) mod intake;
mod journald;
pub(crate) mod otlp;
mod own;
pub(crate) mod pushed;
mod records;
mod report;
pub(crate) mod scrape;
mod split;
pub(crate) mod statsd;
pub(crate) mod syslog;

use std::path::{Path, PathBuf};

use model::otlp::points;

use crate::Config;

/// File batches between reading and acknowledgement. When so many wait, reading stops: the files
/// themselves are the queue.
pub const BATCHES_MAX: usize = 3;

/// Matching paths, with the reason for those that are not read.
pub type Matching = Vec<(PathBuf, Option<String>)>;

/// How the reason of a glob without files begins.
pub const NOTHING_MATCHES: &str = file::NOTHING_MATCHES;

/// How many targets a file of `[scrape.NAME] target_files` lists.
///
/// # Errors
/// When it cannot be read, or is no such list.
pub fn listed_targets(path: &Path) -> Result<usize, String> {
    scrape::listed(path).map(|targets| targets.len())
}

/// The files each `[files.NAME]` table matches at this moment.
pub fn matching_files(config: &Config) -> Vec<(String, Matching)> {
    file::matching(config.files.iter())
}
