//! What the agent knows about itself: counters, the collector's health, every file and why not.
//!
//! Owns: the live numbers, one place for all parts of the agent. Does not own: how records are counted (`flow`), what a
//! status looks like (`page`), what the numbers are called as metrics (`metrics`), serving them (`http`).

mod flow;
pub(crate) mod http;
pub(crate) mod metrics;
mod page;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::agents::PushedConfiguration;
use model::redact::Redactor;
use model::time::SECOND;
use model::{Clock, Signal, UnixNano};
use tokio::sync::{Notify, watch};

pub(crate) use self::flow::Flow;
pub use self::flow::{DropReason, FlowStatus};
pub use self::page::{
    BreakerState, CentralStatus, CollectorStatus, ConfigStatus, FileStatus, LaneStatus, MemoryStatus,
    SpoolStatus, Status, is_problem,
};
use crate::config::process::RedactPreset;
use crate::export::breaker::Breaker;
use crate::memory::{self, Bound, Budget, Plan};
use crate::queue::Queue;
use crate::tap::Tap;

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
    /// Records that the collector had already: sent again after a lost answer, or left in the spool by one.
    pub(crate) duplicates: AtomicU64,
    pub(crate) breaker: Breaker,
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
            duplicates: AtomicU64::new(0),
            breaker: Breaker::default(),
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
        self.duplicates.fetch_add(earlier.duplicates.load(Relaxed), Relaxed);
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
            if let Some(reason) = file.reason.as_ref().filter(|reason| is_problem(reason)) {
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

    pub(crate) fn set_files(&self, files: impl Iterator<Item = FileStatus>) {
        let mut list = lock(&self.file_list);
        // Not beside the old ones: for a thousand files that is a noticeable part of what the agent holds.
        list.clear();
        list.extend(files);
        self.note_lag(&list);
        drop(list);
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
        let files = lock(&self.file_list).clone();
        Status { files, ..self.summary() }
    }

    /// Everything but the list of files.
    pub(crate) fn summary(&self) -> Status {
        let file_lag_bytes = lock(&self.file_list).iter().map(|file| file.lag_bytes).sum();
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
            collector: CollectorStatus {
                in_flight: self.breaker.in_flight(),
                breaker: self.breaker.state(),
                duplicates: self.duplicates.load(Relaxed),
                ..lock(&self.collector).clone()
            },
            flows,
            files: Vec::new(),
            file_lag_bytes,
            file_lag_seconds: self.file_lag_seconds(),
            truncations: self.truncations.load(Relaxed),
            watch_overflows: self.watch_overflows.load(Relaxed),
            unwatched_folders: self.unwatched_folders.load(Relaxed),
            files_missing: self.files_missing.load(Relaxed),
            problems: self.problems(),
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
