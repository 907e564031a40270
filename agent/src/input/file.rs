//! The file input: finds files, follows them through rotation, makes batches, moves positions.
//!
//! Owns: which files are open, how far each was read and acknowledged, `positions.json`. Does not own:
//! sending (`export`), parsing lines (`model::dialect`).
//!
//! ```text
//!             found by glob
//!                  │ key known? ── yes ─► resume at the saved position, if its evidence holds
//!                  │ no                        (else: truncated while away ─► next generation, 0)
//!                  ├─ may be a copy of a file with a kin name ─► wait, then go on where that was left
//!                  └─ new ─► from its beginning (very first start: `start_at`)
//!   size < offset, or other bytes before it ─► truncated: remember the position, next generation, 0
//!   no longer found ─► rotated away: read on; closed after `Grace` without growth, once acknowledged
//! ```
//!
//! Invariants: nothing is read before [`FileTail::place`] said what the collector has already; a position
//! is saved only when the collector acknowledged everything before it; the acknowledgements of an older
//! generation never move the position of a newer one; a file is known on disk, with its fingerprints,
//! before the first of its lines leaves, so that after a crash the collector's position finds it again.

mod assemble;
pub(crate) mod batch;
mod binary;
pub(crate) mod container;
mod copies;
mod discover;
mod exchange;
mod gzip;
pub(crate) mod identity;
mod look;
mod names;
mod originals;
mod packed;
pub(crate) mod positions;
mod quiet;
mod ranges;
mod reading;
mod remembered;
mod report;
mod spill;
mod start;
mod streams;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub(crate) mod tracked;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::positions::StreamId;

use self::batch::BatchBuilder;
use self::discover::Globs;
pub(crate) use self::discover::NOTHING as NOTHING_MATCHES;
use self::identity::{FileKey, FileStat, HEAD_BYTES, read_range};
use self::packed::Packed;
use self::positions::{Positions, Saved};
use self::quiet::Quiet;
use self::remembered::Remembered;
use self::spill::Held;
use self::streams::Streams;
use self::tracked::{FileId, Tracked};
use crate::config::process::ProcessSettings;
use crate::config::{Config, FileSettings};
use crate::export::pack::Packer;
use crate::export::session::Committed;
use crate::input::Matching;
use crate::process::Chain;
use crate::process::limit::Bucket;
use crate::status::{FileStatus, Shared};

/// Bytes of records that are joined or put together, of all streams.
pub(crate) const OPEN_RECORDS_BYTES_MAX: usize = 2 << 20;

/// How long a file that is gone from its folder is kept open without growth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace {
    /// When it has no name left.
    pub(crate) deleted: Duration,
    /// When it was renamed out of the globs: its writer may hold on to it for long.
    pub(crate) renamed: Duration,
    /// How long a file that may be a copy is watched before it is read as a file of its own.
    pub(crate) copy: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            deleted: Duration::from_secs(10),
            renamed: Duration::from_secs(300),
            copy: Duration::from_secs(2),
        }
    }
}

#[derive(Debug)]
struct Input {
    name: String,
    settings: FileSettings,
    globs: Globs,
    chain: Chain,
    /// The rate limit of the whole input.
    bucket: Bucket,
    /// Never in use before: `start_at` decides until the first look is over.
    is_first_start: bool,
    /// Its files were not looked for yet.
    is_first_look: bool,
    /// Its table is gone; its name keeps its number.
    is_removed: bool,
}

impl Input {
    fn new(name: String, settings: FileSettings, is_first_start: bool) -> Result<Self, globset::Error> {
        Ok(Self {
            name,
            globs: Globs::new(&settings)?,
            chain: Chain::new(&ProcessSettings { time: settings.time, ..settings.process() }),
            settings,
            bucket: Bucket::default(),
            is_first_start,
            is_first_look: true,
            is_removed: false,
        })
    }
}

/// All files of all `[files.NAME]` tables.
#[derive(Debug)]
pub(crate) struct FileTail {
    inputs: Vec<Input>,
    streams: Streams,
    /// In boxes: half of the rooms in a map's nodes are empty.
    files: BTreeMap<FileId, Box<Tracked>>,
    by_key: HashMap<FileKey, FileId>,
    /// Compressed files that are not read, or not yet.
    packed: BTreeMap<FileKey, Packed>,
    /// Open files that need not be looked at.
    quiet: Quiet,
    /// Names that matched at the last look.
    names: BTreeSet<PathBuf>,
    remembered: VecDeque<Remembered>,
    positions: Positions,
    builder: BatchBuilder,
    block: Vec<u8>,
    shared: Arc<Shared>,
    fallback_service: Option<String>,
    grace: Grace,
    next_id: FileId,
    /// What the collector had when this run began; `None` until it is known.
    committed: Option<Committed>,
    /// Counts how often reading began anew because the collector missed something.
    turn: u64,
    /// Streams that will never be read again.
    forget: Vec<StreamId>,
    has_unsaved: bool,
    /// Whether a file is to be read whose fingerprints are not on disk yet.
    has_unsaved_stream: bool,
    is_first_look: bool,
    /// When deleted files are let go of, and those that are.
    held: Held,
    spilling: BTreeSet<FileId>,
    folders: BTreeSet<PathBuf>,
    left_out: Vec<FileStatus>,
    /// Files that may be open at a time.
    open_max: usize,
}

impl FileTail {
    /// The files of `config`, continuing from `saved`.
    pub(crate) fn new(
        config: &Config,
        resource: Vec<(String, String)>,
        positions: Positions,
        saved: Saved,
        shared: Arc<Shared>,
    ) -> Result<Self, globset::Error> {
        let fallback_service =
            resource.iter().find(|(key, _)| key == "service.name").map(|(_, name)| name.clone());
        let inputs = config
            .files
            .iter()
            .map(|(name, settings)| Input::new(name.clone(), settings.clone(), !saved.inputs.contains(name)));
        Ok(Self {
            inputs: inputs.collect::<Result<_, globset::Error>>()?,
            streams: Streams::default(),
            files: BTreeMap::new(),
            by_key: HashMap::new(),
            packed: BTreeMap::new(),
            quiet: Quiet::default(),
            names: BTreeSet::new(),
            remembered: saved.files.into_iter().map(Remembered::from).collect(),
            positions,
            builder: BatchBuilder::new(
                resource,
                config.collector.batch as usize,
                Packer::new(config.collector.compression),
                Arc::clone(&shared.clock),
            ),
            block: Vec::new(),
            shared,
            fallback_service,
            grace: Grace::default(),
            next_id: 0,
            committed: None,
            turn: 0,
            forget: Vec::new(),
            has_unsaved: true,
            has_unsaved_stream: false,
            is_first_look: true,
            held: Held::new(&config.spool),
            spilling: BTreeSet::new(),
            folders: BTreeSet::new(),
            left_out: Vec::new(),
            open_max: look::open_max(),
        })
    }

    /// Folders that hold matching files, to be watched.
    pub(crate) const fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }
}

/// The name of a generation of a file in the position protocol.
pub(crate) fn stream_id(key: &FileKey, generation: u32) -> StreamId {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(b"file");
    bytes.extend_from_slice(&key.inode.to_le_bytes());
    bytes.extend_from_slice(&key.birth_time_unix_nano.unwrap_or(i64::MIN).to_le_bytes());
    let (major, minor) = key.device.unwrap_or_default();
    for number in [major, minor, generation] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    StreamId(xxhash_rust::xxh3::xxh3_128(&bytes).to_le_bytes())
}

/// Whether a path is one of a table's files.
pub(crate) fn matches(settings: &FileSettings, path: &Path) -> bool {
    Globs::new(settings).is_ok_and(|globs| globs.is_match(path))
}

/// The files of every table that match now, and why some would not be read.
pub(crate) fn matching<'a>(
    tables: impl Iterator<Item = (&'a String, &'a FileSettings)>,
) -> Vec<(String, Matching)> {
    let mut seen = HashMap::new();
    let of_table = |(name, settings): (&'a String, &FileSettings)| {
        let found = Globs::new(settings).map(|globs| globs.find()).unwrap_or_default();
        let read = found.paths().map(|path| (path.clone(), why_not_read(name, path, &mut seen)));
        let left_out = found.left_out.iter().map(|(path, reason)| (path.clone(), Some(reason.clone())));
        let mut all: Matching = read.chain(left_out).collect();
        all.sort_unstable();
        (name.clone(), all)
    };
    tables.map(of_table).collect()
}

/// Files with the table and the path by which they are read.
type Seen<'a> = HashMap<FileKey, (&'a str, PathBuf)>;

/// What a look at a file alone tells of why it would not be read.
fn why_not_read<'a>(table: &'a str, path: &Path, seen: &mut Seen<'a>) -> Option<String> {
    let stat = match FileStat::at(path) {
        Ok(stat) => stat,
        Err(error) => return Some(look::why_not_looked_at(&error)),
    };
    if !stat.is_regular {
        return Some("no regular file".to_owned());
    }
    if let Some((other, read)) = seen.get(&stat.key) {
        return Some(if read == path { look::read_by(other) } else { look::same_as(read) });
    }
    seen.insert(stat.key, (table, path.to_path_buf()));
    let head = File::open(path).and_then(|file| read_range(&file, 0, HEAD_BYTES));
    match head {
        Err(error) => Some(look::why_not_opened(&error)),
        Ok(_) if packed::is_packed(path) => None,
        Ok(head) => binary::kind_of(&head).map(|kind| format!("binary: its content looks like {kind}")),
    }
}
