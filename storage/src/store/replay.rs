//! Replaying the log when the store opens, while it is read from already.
//!
//! ```text
//! log ─► records, 512 KiB at a time ─┬─► decoded ─┬─► head, in the order of the log ─► full: segments
//!                                    └─► decoded ─┘          meanwhile the log is read on
//! ```
//!
//! Owns: how records become rows again, how far that is. Does not own: which records there are (`wal`), when the
//! store takes appends.
//!
//! Invariants: rows and positions come back in the order of the log; memory is the head's budget and the rows of
//! 512 KiB of log a core, and one more; until the end nothing is appended, deleted or merged, and answers say that rows are missing.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, Scope};

use model::{IdRules, Signal};
use tokio::runtime::Handle;

use super::Shared;
use super::gate::{Arrived, Gate};
use crate::budget::cores;
use crate::decode::{self, Batch};
use crate::error::{Context as _, Error, ErrorKind};
use crate::frame::{Compression, decompress};
use crate::plant::Plant;
use crate::positions::{Admitted, Extension};
use crate::wal::{self, ReplayRecord, Wal};

/// Bytes of records that are decoded at once.
const CHUNK_BYTES: usize = 512 << 10;
/// Records of the same.
const CHUNK_RECORDS: usize = 64;
/// Limits of replay. They are not settings: what was acknowledged under larger settings than today's has
/// to come back.
const REPLAY_BYTES_MAX: usize = 1 << 30;

/// How far the log is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Records whose rows are back.
    pub records: u64,
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Bytes of all its files; the space reserved in the last one counts.
    pub bytes_total: u64,
}

/// Where the replay is.
#[derive(Clone, Debug)]
pub(super) enum State {
    Running,
    Done,
    Failed(ErrorKind, Arc<str>),
}

/// Replays the log into the head, and opens it for writing.
pub(super) async fn run(shared: &Arc<Shared>, ids: &Arc<IdRules>) -> Result<Wal<Arrived>, Error> {
    let one_too_low = u64::from(shared.folder.planted.has(Plant::ReplayFromOneBefore));
    let from_sequence = shared.catalog.wal_sequence().await?.saturating_sub(one_too_low);
    let (shared, ids, runtime) = (Arc::clone(shared), Arc::clone(ids), Handle::current());
    let open = move || {
        let dir = shared.settings.data_dir.join("wal");
        shared.replayed(|progress| progress.bytes_total = bytes_of(&dir));
        thread::scope(|scope| {
            let decoders = Decoders::start(scope, &ids);
            let (shared, ids, chunk) = (&shared, &*ids, Vec::new());
            let mut replay = Replay { shared, ids, runtime, decoders, chunk, undecodable: 0 };
            let (wal, lost) = replay.open_wal(&dir, from_sequence)?;
            replay.flush()?;
            while let Some(chunk) = replay.decoders.next() {
                replay.push(chunk)?;
            }
            let undecodable = replay.undecodable;
            shared.state().stats.wal_records_lost = lost + undecodable;
            Ok(wal)
        })
    };
    tokio::task::spawn_blocking(open).await.context(ErrorKind::Internal, || "replaying the wal".to_owned())?
}

fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let lengths = entries.filter_map(Result::ok).filter_map(|entry| entry.metadata().ok());
    lengths.filter(std::fs::Metadata::is_file).map(|metadata| metadata.len()).sum()
}

struct Replay<'a> {
    shared: &'a Arc<Shared>,
    ids: &'a IdRules,
    runtime: Handle,
    decoders: Decoders,
    chunk: Vec<ReplayRecord>,
    undecodable: u64,
}

impl Replay<'_> {
    /// The log, and how many of its records are lost. The last chunk is still to be flushed.
    fn open_wal(&mut self, dir: &Path, from_sequence: u64) -> Result<(Wal<Arrived>, u64), Error> {
        let shared = Arc::clone(self.shared);
        let planted = shared.folder.planted;
        let segment_bytes = shared.settings.wal_segment_bytes;
        let settings = wal::Settings { segment_bytes, planted, ..wal::Settings::default() };
        let (fs, clock) = (Arc::clone(&shared.folder.fs), Arc::clone(&shared.clock));
        let gate = Gate { shared, admitted: Admitted::default(), waiting: VecDeque::new() };
        let mut bytes = 0;
        let mut deliver = |record: ReplayRecord| {
            bytes += record.extension.len() + record.payload.len();
            self.chunk.push(record);
            if bytes < CHUNK_BYTES && self.chunk.len() < CHUNK_RECORDS {
                return Ok(());
            }
            bytes = 0;
            self.flush()
        };
        let opened = Wal::open(fs, dir, settings, clock, from_sequence, Box::new(gate), &mut deliver);
        let (wal, report) = opened?;
        if !self.shared.state().tombstones.is_empty() {
            // The requests hold what was deleted.
            wal.forget();
        }
        Ok((wal, report.lost_records))
    }

    /// Lets the chunk be decoded, and makes the rows of those visible that are due.
    fn flush(&mut self) -> Result<(), Error> {
        let chunk = std::mem::take(&mut self.chunk);
        self.decoders.begin(chunk);
        while self.decoders.are_busy()
            && let Some(chunk) = self.decoders.next()
        {
            self.push(chunk)?;
        }
        Ok(())
    }

    /// Makes the rows of a chunk visible.
    fn push(&mut self, chunk: Chunk) -> Result<(), Error> {
        for (record, (extension, decoded)) in chunk {
            if self.shared.is_closing() {
                return Err(Error::retry("the store was closed before its log was replayed"));
            }
            let batch = decoded.or_else(|problem| {
                self.undecodable += 1;
                quarantine(&self.shared.settings.data_dir, &record, &problem);
                // Its positions were acknowledged: its sender will not send it again.
                rows_of(self.ids, &record.empty(), &Extension::default())
            });
            if let Ok(batch) = batch {
                self.shared.push(record.sequence, batch, |positions, now| positions.replay(&extension, now));
            }
            self.shared.replayed(|progress| {
                progress.records += 1;
                progress.bytes += (record.extension.len() + record.payload.len()) as u64;
            });
            if self.shared.is_full() {
                // Else the whole log would have to fit into memory. When it fails, for example because
                // the disk is full, the head grows to what it was before the restart.
                if let Err(error) = self.runtime.block_on(crate::seal::seal_head(self.shared)) {
                    tracing::error!("sealing during replay failed: {error}");
                }
            }
        }
        Ok(())
    }
}

type Decoded = (Extension, Result<Batch, String>);

type Chunk = Vec<(ReplayRecord, Decoded)>;
/// Records, and where their rows go.
type Job = (Vec<ReplayRecord>, mpsc::Sender<Chunk>);

/// Threads that decode, one a core, and what they are at in the order of the log.
struct Decoders {
    jobs: mpsc::Sender<Job>,
    under_way: VecDeque<mpsc::Receiver<Chunk>>,
    threads: usize,
}

impl Decoders {
    /// They end when this is dropped.
    fn start<'scope>(scope: &'scope Scope<'scope, '_>, ids: &'scope Arc<IdRules>) -> Self {
        let threads = cores();
        let (jobs, taken) = mpsc::channel::<Job>();
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..threads {
            let taken = Arc::clone(&taken);
            scope.spawn(move || {
                let next = || taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok((records, done)) = next() {
                    let decoded = records.into_iter().map(|record| {
                        let decoded = decode_record(ids, &record);
                        (record, decoded)
                    });
                    // Nobody waits for it when the replay was given up.
                    drop(done.send(decoded.collect()));
                }
            });
        }
        Self { jobs, under_way: VecDeque::new(), threads }
    }

    fn begin(&mut self, chunk: Vec<ReplayRecord>) {
        let (done, decoded) = mpsc::channel();
        self.jobs.send((chunk, done)).expect("decoders end after this");
        self.under_way.push_back(decoded);
    }

    /// Whether all have enough to do.
    fn are_busy(&self) -> bool {
        self.under_way.len() > self.threads
    }

    /// The oldest chunk, when it is decoded; `None` when none is under way.
    fn next(&mut self) -> Option<Chunk> {
        Some(self.under_way.pop_front()?.recv().expect("decoding does not panic"))
    }
}

/// What a record holds.
fn decode_record(ids: &IdRules, record: &ReplayRecord) -> Decoded {
    // The checksum held: what cannot be read was written by a newer version.
    let extension = Extension::decode(&record.extension).unwrap_or_default();
    let batch = rows_of(ids, record, &extension);
    (extension, batch)
}

/// The rows of one record.
pub(super) fn rows_of(ids: &IdRules, record: &ReplayRecord, extension: &Extension) -> Result<Batch, String> {
    let signal =
        Signal::from_code(record.signal).ok_or_else(|| format!("unknown signal {}", record.signal))?;
    let compression = Compression::from_code(record.compression)
        .ok_or_else(|| format!("unknown compression {}", record.compression))?;
    let request =
        decompress(compression, &record.payload, REPLAY_BYTES_MAX).map_err(|error| error.to_string())?;
    let rest = extension.without_dropped(&request);
    let request = rest.as_deref().unwrap_or(&request);
    decode::decode(signal, request, ids, record.received_at, usize::MAX).map_err(|error| error.to_string())
}

/// Keeps a payload that cannot be replayed where the WAL's trimming does not reach it.
fn quarantine(data_dir: &Path, record: &ReplayRecord, problem: &str) {
    let dir = data_dir.join("quarantine");
    let file = dir.join(format!("record-{:020}.bin", record.sequence));
    let kept = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&file, &record.payload));
    match kept {
        Ok(()) => tracing::error!("wal record {}: {problem}: kept in `{}`", record.sequence, file.display()),
        Err(error) => tracing::error!("wal record {}: {problem}: lost, {error}", record.sequence),
    }
}
