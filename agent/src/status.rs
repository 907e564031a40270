//! What the agent knows about itself: counters, the collector's health, every file and why not.
//!
//! Owns: the numbers and their names. Does not own: serving them (`http`).
//! Invariant: per flow `in = out + dropped + buffered`, counted in records; `buffered` is counted on
//! its own, not computed from the others, so that a test can catch a leak.

pub(crate) mod http;
pub(crate) mod metrics;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::agents::PushedConfiguration;
use model::redact::Redactor;
use model::time::SECOND;
use model::{Clock, Signal, UnixNano};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::config::process::RedactPreset;
use crate::memory::{self, Bound, Budget, Plan};
use crate::queue::Queue;
use crate::tap::Tap;

/// Why a record did not reach the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// A line without text.
    Blank,
    /// The collector refused the whole request as wrong.
    Refused,
    /// The collector took the request and rejected some of its records (`partial_success`).
    Rejected,
    /// Spooled bytes that no longer carry their checksum.
    Damaged,
    /// A line that became part of the record before it.
    Joined,
    /// A record that the conditions of `drop` and `keep` left out.
    Filtered,
    /// A record outside the share of `sample`.
    Sampled,
    /// A record beyond `rate_limit`.
    RateLimited,
    /// A record like the one before it.
    Repeated,
    /// What the spool had no room for: sent by one that cannot wait, or given up by the policy.
    SpoolFull,
    /// What no parser understands.
    Malformed,
    /// A series beyond the most that an input may have.
    TooManySeries,
    /// What is larger than any request may be.
    TooLarge,
}

impl DropReason {
    /// All reasons.
    pub const ALL: [Self; 13] = [
        Self::Blank,
        Self::Refused,
        Self::Rejected,
        Self::Damaged,
        Self::Joined,
        Self::Filtered,
        Self::Sampled,
        Self::RateLimited,
        Self::Repeated,
        Self::SpoolFull,
        Self::Malformed,
        Self::TooManySeries,
        Self::TooLarge,
    ];

    /// The label of the reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Damaged => "damaged",
            Self::Joined => "joined",
            Self::Filtered => "filtered",
            Self::Sampled => "sampled",
            Self::RateLimited => "rate_limited",
            Self::Repeated => "repeated",
            Self::SpoolFull => "spool_full",
            Self::Malformed => "malformed",
            Self::TooManySeries => "too_many_series",
            Self::TooLarge => "too_large",
        }
    }
}

/// The counters of one component and signal.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    input_records: AtomicU64,
    input_bytes: AtomicU64,
    output_records: AtomicU64,
    output_bytes: AtomicU64,
    buffered_records: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    dropped_bytes: [AtomicU64; DropReason::ALL.len()],
}

impl Flow {
    /// Records came in and wait.
    pub(crate) fn entered(&self, records: u64, bytes: u64) {
        if records == 0 && bytes == 0 {
            return;
        }
        self.input_records.fetch_add(records, Relaxed);
        self.input_bytes.fetch_add(bytes, Relaxed);
        self.buffered_records.fetch_add(records, Relaxed);
    }

    /// Waiting records were acknowledged; `rejected` of them were not kept.
    pub(crate) fn left(&self, records: u64, rejected: u64, bytes: u64) {
        let rejected = rejected.min(records);
        self.output_records.fetch_add(records - rejected, Relaxed);
        self.output_bytes.fetch_add(bytes, Relaxed);
        self.dropped[DropReason::Rejected as usize].fetch_add(rejected, Relaxed);
        self.buffered_records.fetch_sub(records, Relaxed);
    }

    /// Waiting records were given up.
    pub(crate) fn dropped(&self, reason: DropReason, records: u64) {
        if records == 0 {
            return;
        }
        self.dropped[reason as usize].fetch_add(records, Relaxed);
        self.buffered_records.fetch_sub(records, Relaxed);
    }

    /// Bytes of records that were given up, as they waited.
    pub(crate) fn dropped_bytes(&self, reason: DropReason, bytes: u64) {
        self.dropped_bytes[reason as usize].fetch_add(bytes, Relaxed);
    }

    /// Records that came in with an earlier run still wait.
    pub(crate) fn recovered(&self, records: u64) {
        self.entered(records, 0);
    }

    /// What was counted as entered was not taken after all.
    pub(crate) fn withdrawn(&self, records: u64, bytes: u64) {
        self.input_records.fetch_sub(records, Relaxed);
        self.input_bytes.fetch_sub(bytes, Relaxed);
        self.buffered_records.fetch_sub(records, Relaxed);
    }

    /// Goes on counting where `earlier` left off. What waited there is read again, from a file or the spool, and counts when it is.
    fn carry(&self, earlier: &Self) {
        let waiting = earlier.buffered_records.load(Relaxed);
        self.input_records.fetch_add(earlier.input_records.load(Relaxed).saturating_sub(waiting), Relaxed);
        for (counter, before) in [
            (&self.input_bytes, &earlier.input_bytes),
            (&self.output_records, &earlier.output_records),
            (&self.output_bytes, &earlier.output_bytes),
        ] {
            counter.fetch_add(before.load(Relaxed), Relaxed);
        }
        let reasons = self.dropped.iter().zip(&earlier.dropped);
        for (counter, before) in reasons.chain(self.dropped_bytes.iter().zip(&earlier.dropped_bytes)) {
            counter.fetch_add(before.load(Relaxed), Relaxed);
        }
    }

    pub(crate) fn snapshot(&self, component: &str, signal: Signal) -> FlowStatus {
        FlowStatus {
            component: component.to_owned(),
            signal,
            input_records: self.input_records.load(Relaxed),
            input_bytes: self.input_bytes.load(Relaxed),
            output_records: self.output_records.load(Relaxed),
            output_bytes: self.output_bytes.load(Relaxed),
            buffered_records: self.buffered_records.load(Relaxed),
            dropped: DropReason::ALL
                .map(|reason| (reason, self.dropped[reason as usize].load(Relaxed)))
                .to_vec(),
            dropped_bytes: DropReason::ALL
                .map(|reason| (reason, self.dropped_bytes[reason as usize].load(Relaxed)))
                .into_iter()
                .filter(|(_, bytes)| *bytes > 0)
                .collect(),
        }
    }
}

/// Counters of one component and signal at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowStatus {
    /// `files`, `otlp` (the spool), or the table of an input that pushes into the spool.
    pub component: String,
    /// The signal.
    pub signal: Signal,
    /// Records that came in since start, and those an earlier run left in the spool.
    pub input_records: u64,
    /// Their bytes, as read.
    pub input_bytes: u64,
    /// Records the collector acknowledged.
    pub output_records: u64,
    /// Bytes of acknowledged requests before compression.
    pub output_bytes: u64,
    /// Records that are read or spooled and not yet acknowledged.
    pub buffered_records: u64,
    /// Records that will never leave, by reason.
    pub dropped: Vec<(DropReason, u64)>,
    /// Their bytes, where whole requests were given up.
    #[serde(default)]
    pub dropped_bytes: Vec<(DropReason, u64)>,
}

impl FlowStatus {
    /// Records that will never leave.
    pub fn dropped_records(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }

    /// What is unaccounted for: `in - (out + dropped + buffered)`, 0 when nothing moves.
    pub fn unaccounted(&self) -> i64 {
        let counted = self.output_records + self.dropped_records() + self.buffered_records;
        self.input_records.wrapping_sub(counted).cast_signed()
    }

    /// Whether nothing is unaccounted for.
    pub fn is_conserved(&self) -> bool {
        self.unaccounted() == 0
    }
}

/// How the collector answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CollectorStatus {
    /// Where data goes.
    pub endpoints: Vec<String>,
    /// Failed attempts since the last success.
    pub consecutive_failures: u64,
    /// The last failure or refusal.
    pub last_error: Option<String>,
    /// When a request was last acknowledged.
    pub last_success: Option<UnixNano>,
    /// `exactly once`, `at least once: WHY`, or that no collector answered yet.
    #[serde(default)]
    pub delivery: String,
    /// The session the collector handed out.
    #[serde(default)]
    pub session: Option<u64>,
    /// Times the collector missed something before a request; the source was read again.
    #[serde(default)]
    pub gaps: u64,
    /// Bytes of files that a gap asked for and that could not be read any more.
    #[serde(default)]
    pub gap_lost_bytes: u64,
    /// Times another agent with the same identity took over.
    #[serde(default)]
    pub fenced: u64,
}

/// One matching file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileStatus {
    /// Name of its `[files.NAME]` table.
    pub input: String,
    /// Where it was last seen.
    pub path: String,
    /// Inode number, 0 for a file that is not read.
    pub inode: u64,
    /// How often it was truncated while known.
    pub generation: u32,
    /// Its size.
    pub size: u64,
    /// Bytes read.
    pub offset: u64,
    /// Bytes acknowledged.
    pub acked: u64,
    /// Bytes written and not acknowledged.
    pub lag_bytes: u64,
    /// `reading`, `rotated`, `waiting` or `not_read`.
    pub state: String,
    /// Why it is not read, or waits.
    pub reason: Option<String>,
}

/// The spool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes allowed.
    pub bytes_max: u64,
    /// Requests that wait.
    pub requests: u64,
    /// Its lanes: one a signal, and `files`.
    #[serde(default)]
    pub lanes: Vec<LaneStatus>,
    /// Whether the disk was full when it was last written to.
    #[serde(default)]
    pub is_disk_full: bool,
    /// Why it cannot be read at the moment; reading is tried again.
    #[serde(default)]
    pub read_error: Option<String>,
}

/// Memory: what may be used and what is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// `[memory] limit`.
    pub limit_bytes: u64,
    /// What all components may use at most.
    pub bound_bytes: u64,
    /// What OTLP requests that are being received hold now.
    pub requests_bytes: u64,
    /// What of the process is in memory now.
    pub resident_bytes: u64,
    /// The bound of every component.
    pub bounds: Vec<Bound>,
}

/// One lane of the spool.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LaneStatus {
    /// `traces`, `logs`, `metrics` or `files`.
    pub lane: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Requests that wait.
    pub requests: u64,
    /// Spans, records or metrics in them.
    pub records: u64,
}

/// All of it at one moment; what `/status` serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Identity of the agent, made once per data directory.
    pub agent_id: String,
    /// Its name.
    pub instance: String,
    /// Version of the program.
    pub version: String,
    /// When it started.
    pub started: UnixNano,
    /// How the collector answers.
    pub collector: CollectorStatus,
    /// Counters.
    pub flows: Vec<FlowStatus>,
    /// Files, read or not.
    pub files: Vec<FileStatus>,
    /// How long the file that waits longest made no progress although there is something to send.
    #[serde(default)]
    pub file_lag_seconds: u64,
    /// Times a file was found truncated.
    pub truncations: u64,
    /// How often the queue of file events was full, and folders were looked through instead.
    #[serde(default)]
    pub watch_overflows: u64,
    /// Folders without file events; they are looked at every second.
    #[serde(default)]
    pub unwatched_folders: u64,
    /// Files with a saved position that could not be found again.
    pub files_missing: u64,
    /// The spool.
    pub spool: SpoolStatus,
    /// Memory.
    #[serde(default)]
    pub memory: MemoryStatus,
    /// The configuration in use.
    #[serde(default)]
    pub config: ConfigStatus,
}

/// The configuration in use, and what became of newer ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// A fingerprint of the configuration in use.
    pub version: String,
    /// Times a newer one was put to use.
    pub reloads: u64,
    /// Times a newer one was refused.
    pub failures: u64,
    /// Why the last one was refused; the one in use is older then.
    pub error: Option<String>,
    /// The tables that the last one changed.
    pub changed: Vec<String>,
    /// What the collector handed out.
    #[serde(default)]
    pub central: CentralStatus,
}

/// What became of configurations that the collector handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CentralStatus {
    /// Whether they are taken.
    pub is_accepted: bool,
    /// Version of the one in use, 0 for none.
    pub version: u64,
    /// Whether it is still being tried.
    pub is_trial: bool,
    /// Version of the last one that was given up, 0 for none.
    pub given_up: u64,
    /// Why.
    pub error: Option<String>,
}

/// The live numbers, shared by every part of the agent.
#[derive(Debug)]
pub struct Shared {
    pub(crate) agent_id: String,
    pub(crate) instance: String,
    pub(crate) started: UnixNano,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: Flow,
    pub(crate) otlp: [Flow; 3],
    pub(crate) truncations: AtomicU64,
    pub(crate) watch_overflows: AtomicU64,
    pub(crate) unwatched_folders: AtomicU64,
    pub(crate) files_missing: AtomicU64,
    collector: Mutex<CollectorStatus>,
    file_list: Mutex<Vec<FileStatus>>,
    /// Inode and generation of files with something to send: what was acknowledged, and since when it is no more.
    lagging: Mutex<HashMap<(u64, u32), (u64, UnixNano)>>,
    spool: Mutex<Option<Arc<Queue>>>,
    inputs: Mutex<BTreeMap<(String, usize), Arc<Flow>>>,
    config: Mutex<ConfigStatus>,
    offered: watch::Sender<Option<PushedConfiguration>>,
    memory: Mutex<Memory>,
    pub(crate) tap: Tap,
    /// Name and text of the parts of the configuration.
    config_parts: Mutex<Vec<(String, String)>>,
    /// What keeps an input from working, by table.
    problems: Mutex<BTreeMap<String, String>>,
    has_looked: AtomicBool,
    goes_on: AtomicBool,
    beat_now: Notify,
}

/// What is allowed, and what is taken.
#[derive(Debug, Default)]
struct Memory {
    limit: u64,
    bounds: Vec<Bound>,
    requests: Option<Budget>,
}

impl Shared {
    pub(crate) fn new(
        agent_id: String,
        instance: String,
        endpoints: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            agent_id,
            instance,
            started: clock.now(),
            clock,
            files: Flow::default(),
            otlp: Default::default(),
            truncations: AtomicU64::new(0),
            watch_overflows: AtomicU64::new(0),
            unwatched_folders: AtomicU64::new(0),
            files_missing: AtomicU64::new(0),
            collector: Mutex::new(CollectorStatus {
                endpoints,
                delivery: "not known yet: no collector has answered".to_owned(),
                ..CollectorStatus::default()
            }),
            file_list: Mutex::default(),
            lagging: Mutex::default(),
            spool: Mutex::default(),
            inputs: Mutex::default(),
            config: Mutex::default(),
            offered: watch::Sender::new(None),
            memory: Mutex::default(),
            tap: Tap::default(),
            config_parts: Mutex::default(),
            problems: Mutex::default(),
            has_looked: AtomicBool::new(false),
            goes_on: AtomicBool::new(false),
            beat_now: Notify::new(),
        })
    }

    /// Goes on counting where an earlier agent of this process left off.
    pub(crate) fn carry(&mut self, earlier: &Self) {
        self.started = earlier.started;
        self.files.carry(&earlier.files);
        for (flow, before) in self.otlp.iter().zip(&earlier.otlp) {
            flow.carry(before);
        }
        for ((name, signal), before) in lock(&earlier.inputs).iter() {
            let mut inputs = lock(&self.inputs);
            inputs.entry((name.clone(), *signal)).or_default().carry(before);
        }
        self.truncations.fetch_add(earlier.truncations.load(Relaxed), Relaxed);
        self.files_missing.fetch_add(earlier.files_missing.load(Relaxed), Relaxed);
        let (mut collector, before) = (lock(&self.collector), lock(&earlier.collector));
        (collector.gaps, collector.gap_lost_bytes, collector.fenced) =
            (before.gaps, before.gap_lost_bytes, before.fenced);
        *lock(&self.config) = lock(&earlier.config).clone();
    }

    /// The counters of an input that pushes into the spool; kept when it starts again.
    pub(crate) fn input(&self, name: &str, signal: Signal) -> Arc<Flow> {
        Arc::clone(lock(&self.inputs).entry((name.to_owned(), signal.index())).or_default())
    }

    /// Notes a configuration that the collector hands out.
    pub(crate) fn offer(&self, configuration: PushedConfiguration) {
        self.offered.send_if_modified(|offered| {
            let is_new = offered.as_ref() != Some(&configuration);
            *offered = Some(configuration);
            is_new
        });
    }

    /// Configurations that the collector hands out, the newest one.
    pub fn offers(&self) -> watch::Receiver<Option<PushedConfiguration>> {
        self.offered.subscribe()
    }

    /// Notes what keeps an input from working, or that nothing does any more.
    pub(crate) fn note_problem(&self, table: &str, problem: Option<String>) {
        let mut problems = lock(&self.problems);
        match problem {
            Some(problem) => drop(problems.insert(table.to_owned(), problem)),
            None => drop(problems.remove(table)),
        }
    }

    /// What keeps an input from working, by table.
    pub fn problems(&self) -> BTreeMap<String, String> {
        let mut problems = lock(&self.problems).clone();
        for file in lock(&self.file_list).iter() {
            if let Some(reason) = file.reason.as_ref().filter(|reason| reason.starts_with("cannot ")) {
                problems.insert(format!("files.{}", file.input), format!("{}: {reason}", file.path));
            }
        }
        problems
    }

    /// Whether files were looked at since the start.
    pub fn has_looked(&self) -> bool {
        self.has_looked.load(Relaxed)
    }

    /// Keeps the texts of the configuration in use, for who asks.
    pub fn set_config_parts(&self, parts: Vec<(String, String)>) {
        *lock(&self.config_parts) = parts;
    }

    /// The texts of the configuration in use, secrets hidden.
    pub(crate) fn config_text(&self) -> String {
        let redactor = Redactor::new(&[RedactPreset::Default], &[]).expect("the preset holds rules");
        let mut text = String::new();
        for (name, part) in lock(&self.config_parts).iter() {
            text.push_str(&format!("# {name}\n"));
            text.push_str(&redactor.redact(Cow::Borrowed(part)));
            text.push('\n');
        }
        text
    }

    /// Another agent of this process follows: no goodbye is said.
    pub fn will_go_on(&self) {
        self.goes_on.store(true, Relaxed);
    }

    /// Whether another agent of this process follows.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on.load(Relaxed)
    }

    /// Tells the collector at once how the agent does, not when the next heartbeat is due.
    pub fn beat_now(&self) {
        self.beat_now.notify_one();
    }

    /// Waits for [`Shared::beat_now`].
    pub(crate) async fn wants_beat(&self) {
        self.beat_now.notified().await;
    }

    /// Notes what became of a configuration.
    pub fn note_config(&self, note: impl FnOnce(&mut ConfigStatus)) {
        note(&mut lock(&self.config));
    }

    pub(crate) fn otlp(&self, signal: Signal) -> &Flow {
        &self.otlp[signal.index()]
    }

    pub(crate) fn set_files(&self, files: Vec<FileStatus>) {
        self.note_lag(&files);
        *lock(&self.file_list) = files;
        self.has_looked.store(true, Relaxed);
    }

    /// What the agent may use, and the permits of requests.
    pub(crate) fn set_memory(&self, plan: &Plan, requests: Budget) {
        *lock(&self.memory) =
            Memory { limit: plan.limit, bounds: plan.bounds.clone(), requests: Some(requests) };
    }

    fn memory_status(&self) -> MemoryStatus {
        let memory = lock(&self.memory);
        MemoryStatus {
            limit_bytes: memory.limit,
            bound_bytes: memory.bounds.iter().map(|bound| bound.bytes).sum(),
            requests_bytes: memory.requests.as_ref().map_or(0, Budget::taken),
            resident_bytes: memory::resident_bytes(),
            bounds: memory.bounds.clone(),
        }
    }

    /// The spool whose numbers `status` shows.
    pub(crate) fn attach_spool(&self, spool: Arc<Queue>) {
        *lock(&self.spool) = Some(spool);
    }

    pub(crate) fn collector_answered(&self) {
        let now = self.clock.now();
        let mut collector = lock(&self.collector);
        collector.consecutive_failures = 0;
        collector.last_success = Some(now);
    }

    /// Whether the last attempt to reach the collector failed.
    pub(crate) fn is_collector_away(&self) -> bool {
        lock(&self.collector).consecutive_failures > 0
    }

    /// Notes a failed attempt; the number of failures in a row.
    pub(crate) fn collector_failed(&self, reason: &str) -> u64 {
        let mut collector = lock(&self.collector);
        collector.consecutive_failures += 1;
        collector.last_error = Some(reason.to_owned());
        collector.consecutive_failures
    }

    pub(crate) fn delivers_exactly_once(&self, session: u64) {
        let mut collector = lock(&self.collector);
        "exactly once".clone_into(&mut collector.delivery);
        collector.session = Some(session);
    }

    pub(crate) fn delivers_at_least_once(&self, why: &str) {
        let mut collector = lock(&self.collector);
        collector.delivery = format!("at least once: {why}");
        collector.session = None;
    }

    pub(crate) fn gap_detected(&self) {
        lock(&self.collector).gaps += 1;
    }

    pub(crate) fn gap_lost(&self, bytes: u64) {
        lock(&self.collector).gap_lost_bytes += bytes;
    }

    pub(crate) fn fenced(&self) {
        lock(&self.collector).fenced += 1;
    }

    /// Notes which files wait, and since when they made no progress.
    fn note_lag(&self, files: &[FileStatus]) {
        let now = self.clock.now();
        let mut lagging = lock(&self.lagging);
        let before = std::mem::take(&mut *lagging);
        for file in files.iter().filter(|file| file.lag_bytes > 0) {
            let key = (file.inode, file.generation);
            let since = before.get(&key).filter(|(acked, _)| *acked == file.acked).map_or(now, |(_, at)| *at);
            lagging.insert(key, (file.acked, since));
        }
    }

    fn file_lag_seconds(&self) -> u64 {
        let now = self.clock.now();
        let oldest = lock(&self.lagging).values().map(|(_, since)| now.since(*since)).max();
        u64::try_from(oldest.unwrap_or(0) / SECOND).unwrap_or(0)
    }

    /// Everything at this moment.
    pub fn status(&self) -> Status {
        let mut flows = vec![self.files.snapshot("files", Signal::Logs)];
        flows.extend(Signal::ALL.map(|signal| self.otlp(signal).snapshot("otlp", signal)));
        for ((name, signal), flow) in lock(&self.inputs).iter() {
            flows.extend(Signal::ALL.get(*signal).map(|signal| flow.snapshot(name, *signal)));
        }
        Status {
            agent_id: self.agent_id.clone(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            collector: lock(&self.collector).clone(),
            flows,
            files: lock(&self.file_list).clone(),
            file_lag_seconds: self.file_lag_seconds(),
            truncations: self.truncations.load(Relaxed),
            watch_overflows: self.watch_overflows.load(Relaxed),
            unwatched_folders: self.unwatched_folders.load(Relaxed),
            files_missing: self.files_missing.load(Relaxed),
            spool: lock(&self.spool).as_ref().map(|spool| spool.status()).unwrap_or_default(),
            memory: self.memory_status(),
            config: lock(&self.config).clone(),
        }
    }
}

/// A lock that a panicking holder does not take with it: the values inside are plain data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
