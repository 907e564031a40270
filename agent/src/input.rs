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

use std::path::PathBuf;

use model::otlp::points;

use crate::Config;

/// File batches between reading and acknowledgement. When so many wait, reading stops: the files
/// themselves are the queue.
pub const BATCHES_MAX: usize = 3;

/// Matching paths, with the reason for those that are not read.
pub type Matching = Vec<(PathBuf, Option<String>)>;

/// The files each `[files.NAME]` table matches at this moment.
pub fn matching_files(config: &Config) -> Vec<(String, Matching)> {
    config.files.iter().map(|(name, settings)| (name.clone(), file::matching(settings))).collect()
}
