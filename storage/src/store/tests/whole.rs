//! The whole store against a list in memory: whatever is sent, sealed, merged, expired, deleted, killed and opened
//! again, in whatever order, the store shows what the list says. Also with the power cut anywhere.
//!
//! Owns: the commands, how they are done, and when the two are compared. Does not own: what the list says (`naive`).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use model::positions::{AgentId, Range, StreamId};
use model::{Clock as _, IdRules, ManualClock, Signal, TimeRange, UnixNano};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{TestRng, TestRunner};
use servers::{Postgres, S3Server};
use tempfile::TempDir;

use super::naive::{Naive, Row, Visible};
use crate::catalog::tests::both::schema;
use crate::plant::{Plant, Planted};
use crate::positions::{AgentOrigin, Mismatch, Origin};
use crate::rows::{LogRows, PointRows, SpanRows};
use crate::segment::home::tests::home_in;
use crate::shadow::{Image, ShadowFs, memory_dir};
use crate::testing::{HOUR, NOW, SECOND, frame, log, logs_request, points_request, span, spans_request};
use crate::{
    CatalogHome, ErrorKind, Keep, Places, Retention, ScanOrder, ScanStats, Settings, Snapshot, Store,
};
use disk::sim::{Dice, Fault};

const AGENT: AgentId = AgentId([7; 16]);

/// A log record to send: body, trace (0: none), order (0: none), time from now.
#[derive(Clone, Debug)]
pub(super) struct SentLog {
    body: u8,
    trace: u8,
    order: u8,
    time: i64,
}

/// One thing that is done to the store.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Trace, span, time from now, whether it failed.
    Spans(Vec<(u8, u8, i64, bool)>),
    Logs(Vec<SentLog>),
    /// Series, time from now, value.
    Points(Vec<(u8, i64, u8)>),
    /// Records of an agent's stream, beginning so many records beside the committed position.
    Stream(u8, i64, Vec<SentLog>),
    Seal,
    /// The seal whose n-th operation fails.
    FailingSeal(u64, Fault),
    Compact,
    FailingCompact(u64, Fault),
    /// Minutes.
    Advance(u16),
    Delete(String),
    Kill,
    Close,
    /// Keeps a snapshot until the process ends.
    Hold,
}

pub(super) fn commands(max: usize) -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(command(), 1..max)
}

fn time() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![
        0,
        0,
        SECOND,
        -60 * SECOND,
        -50 * 60 * SECOND,
        -3 * HOUR,
        -7 * HOUR,
        -26 * HOUR,
    ])
}

fn time_or_future() -> impl Strategy<Value = i64> {
    prop_oneof![8 => time(), 1 => Just(300 * SECOND), 1 => Just(3 * HOUR)]
}

fn sent_log() -> impl Strategy<Value = SentLog> {
    (0..5_u8, 0..4_u8, 0..4_u8, time_or_future()).prop_map(|(body, trace, order, time)| SentLog {
        body,
        trace,
        order,
        time,
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![Fault::Io, Fault::NoSpace, Fault::ShortWrite])
}

fn command() -> impl Strategy<Value = Command> {
    let span = (1..4_u8, 1..4_u8, time_or_future(), prop::bool::weighted(0.2));
    let term = prop_oneof![
        (1..4_u8).prop_map(|order| format!("order_id=ORD-{order}")),
        (1..4_u8).prop_map(|trace| format!("trace_id={}", format!("{trace:02x}").repeat(16))),
    ];
    prop_oneof![
        4 => prop::collection::vec(span, 1..5).prop_map(Command::Spans),
        4 => prop::collection::vec(sent_log(), 1..5).prop_map(Command::Logs),
        3 => prop::collection::vec((1..3_u8, time(), 1..4_u8), 1..5).prop_map(Command::Points),
        4 => (1..3_u8, -2..2_i64, prop::collection::vec(sent_log(), 0..4))
            .prop_map(|(stream, beside, logs)| Command::Stream(stream, beside, logs)),
        5 => Just(Command::Seal),
        1 => (0..60_u64, fault()).prop_map(|(at, fault)| Command::FailingSeal(at, fault)),
        3 => Just(Command::Compact),
        1 => (0..60_u64, fault()).prop_map(|(at, fault)| Command::FailingCompact(at, fault)),
        2 => (1..400_u16).prop_map(Command::Advance),
        2 => term.prop_map(Command::Delete),
        3 => Just(Command::Kill),
        1 => Just(Command::Close),
        1 => Just(Command::Hold),
    ]
}

/// What a command adds, if it is done as a whole.
#[derive(Clone, Debug, Default)]
struct Effect {
    rows: Vec<Row>,
    committed: Option<(u8, u64)>,
}

/// The state when a command began.
struct Step {
    naive: Naive,
    positions: BTreeMap<u8, u64>,
    now: UnixNano,
    effect: Effect,
    deletes: Option<String>,
}

/// A store and the list beside it.
struct Bench {
    dir: TempDir,
    fs: ShadowFs,
    planted: Planted,
    places: Places,
    clock: Arc<ManualClock>,
    store: Option<Arc<Store>>,
    naive: Naive,
    positions: BTreeMap<u8, u64>,
    session: u64,
    held: Vec<(Snapshot, Visible)>,
    steps: Vec<Step>,
}

type Outcome<T = ()> = Result<T, String>;

fn settings(dir: &std::path::Path, planted: Planted) -> Settings {
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
    Settings {
        compaction_fan_in: 2,
        has_maintenance: false,
        wal_segment_bytes: 2_048,
        disk_free_bytes_min: Some(0),
        planted,
        retention: Retention {
            traces: Keep { age: hours(8), ..Keep::default() },
            logs: Keep { age: hours(5), errors_age: hours(20), ..Keep::default() },
            metrics: Keep::default(),
        },
        ..Settings::new(dir)
    }
}

impl Bench {
    async fn new(planted: Planted) -> Outcome<Self> {
        Self::new_in(Places::default(), planted).await
    }

    /// With segments and catalog there.
    async fn new_in(places: Places, planted: Planted) -> Outcome<Self> {
        let dir = memory_dir();
        let fs = ShadowFs::of(dir.path());
        let mut bench = Self {
            dir,
            fs,
            planted,
            places,
            clock: ManualClock::at(NOW),
            store: None,
            naive: Naive::default(),
            positions: BTreeMap::new(),
            session: 0,
            held: Vec::new(),
            steps: Vec::new(),
        };
        bench.open().await?;
        Ok(bench)
    }

    /// The store a power cut left, beside the list as it was then.
    async fn of_image(image: Image, step: &Step, planted: Planted) -> Outcome<Self> {
        let clock = ManualClock::at(step.now);
        let mut bench = Self {
            fs: ShadowFs::of(image.dir.path()),
            dir: image.dir,
            planted,
            places: Places::default(),
            clock,
            store: None,
            naive: step.naive.clone(),
            positions: step.positions.clone(),
            session: 0,
            held: Vec::new(),
            steps: Vec::new(),
        };
        bench.start().await?;
        Ok(bench)
    }

    fn store(&self) -> &Arc<Store> {
        self.store.as_ref().expect("open between two commands")
    }

    async fn start(&mut self) -> Outcome {
        let (ids, clock) = (Arc::new(IdRules::default()), Arc::clone(&self.clock));
        let settings = Settings { places: self.places.clone(), ..settings(self.dir.path(), self.planted) };
        let store = Store::open_on(Arc::new(self.fs.clone()), settings, ids, clock).await;
        let store = store.map_err(|error| format!("the store does not open: {error}"))?;
        let stats = store.stats();
        if stats.wal_records_lost + stats.segments_unreadable > 0 {
            return Err(format!("the store says that something is lost: {stats:?}"));
        }
        self.store = Some(store);
        Ok(())
    }

    /// Opens the store and compares what it says of positions.
    async fn open(&mut self) -> Outcome {
        self.start().await?;
        let found = self.hello().await?;
        if found == self.positions {
            return Ok(());
        }
        Err(format!("positions are {found:?}, {:?} were committed", self.positions))
    }

    async fn hello(&mut self) -> Outcome<BTreeMap<u8, u64>> {
        let hello = self.store().hello(AGENT, Vec::new()).await.map_err(|error| error.to_string())?;
        self.session = hello.session;
        Ok(hello.streams.into_iter().map(|(stream, committed)| (stream.0[0], committed)).collect())
    }

    /// Does a command, and says what should be there afterwards.
    async fn run(&mut self, command: &Command) -> Outcome {
        let effect = self.effect(command);
        let deletes = if let Command::Delete(term) = command { Some(term.clone()) } else { None };
        self.fs.mark(self.steps.len());
        self.steps.push(Step {
            naive: self.naive.clone(),
            positions: self.positions.clone(),
            now: self.clock.now(),
            effect: effect.clone(),
            deletes,
        });
        self.act(command, effect).await?;
        self.check()
    }

    async fn act(&mut self, command: &Command, effect: Effect) -> Outcome {
        match command {
            Command::Spans(_) | Command::Logs(_) | Command::Points(_) => {
                let frame = self.frame_of(command);
                let batch = self.decode(&frame)?;
                self.store().append(frame, batch).await.map_err(|error| error.to_string())?;
                self.naive.add(effect.rows);
            }
            Command::Stream(stream, beside, logs) => self.stream(*stream, *beside, logs, effect).await?,
            Command::Seal => {
                let watch = self.watch();
                let sealed = self.store().seal().await.map_err(|error| error.to_string());
                self.fs.observe(None);
                let seen = watch.lock().expect("no panic in it").take();
                seen.map_or(sealed, Err)?;
            }
            Command::Compact => self.store().compact().await.map_err(|error| error.to_string())?,
            Command::FailingSeal(at, fault) => {
                self.fs.fail(*at, *fault);
                let result = self.store().seal().await;
                self.after_fault(result)?;
            }
            Command::FailingCompact(at, fault) => {
                self.fs.fail(*at, *fault);
                let result = self.store().compact().await;
                self.after_fault(result)?;
            }
            Command::Advance(minutes) => self.clock.advance(Duration::from_secs(u64::from(*minutes) * 60)),
            Command::Delete(term) => {
                let receipt = self.store().delete(term).await.map_err(|error| error.to_string())?;
                let expected = self.naive.delete(term);
                if [receipt.spans, receipt.log_records] != expected {
                    return Err(format!("{expected:?} spans and log records carry it: {receipt:?}"));
                }
            }
            Command::Kill => {
                // Snapshots go with the process that took them.
                self.held.clear();
                self.store = None;
                self.open().await?;
            }
            Command::Close => {
                self.store().close().await.map_err(|error| error.to_string())?;
                self.held.clear();
                self.store = None;
                self.open().await?;
            }
            Command::Hold => {
                let snapshot = self.store().snapshot();
                let visible = visible(&snapshot, &TimeRange::ALL)?;
                self.held.push((snapshot, visible));
            }
        }
        Ok(())
    }

    fn after_fault(&self, result: Result<(), crate::Error>) -> Outcome {
        self.fs.heal();
        match result {
            Err(error) if error.kind() != ErrorKind::Retry => {
                Err(format!("a disk that fails is no reason for {:?}: {error}", error.kind()))
            }
            _ => Ok(()),
        }
    }

    /// Looks, at every operation on the disk, whether all rows are to be seen once.
    fn watch(&self) -> Arc<Mutex<Option<String>>> {
        let problem = Arc::new(Mutex::new(None));
        let (seen, store): (_, Weak<Store>) = (Arc::clone(&problem), Arc::downgrade(self.store()));
        let counts = |store: &Store| {
            let snapshot = store.snapshot();
            Signal::ALL.map(|signal| snapshot.row_counts(signal)).map(|(head, segments)| head + segments)
        };
        let expected = counts(self.store());
        self.fs.observe(Some(Arc::new(move || {
            let Some(store) = store.upgrade() else { return };
            let found = counts(&store);
            if found != expected {
                let problem = format!("while sealing, {found:?} rows are to be seen of {expected:?}");
                *seen.lock().expect("no panic in it") = Some(problem);
            }
        })));
        problem
    }

    fn decode(&self, frame: &crate::Frame) -> Outcome<crate::Batch> {
        let batch = self.store().decode(frame.signal, &frame.payload, self.clock.now());
        let batch = batch.map_err(|error| error.to_string())?;
        if batch.rejected > 0 { Err(format!("{:?}", batch.rejection)) } else { Ok(batch) }
    }

    fn frame_of(&self, command: &Command) -> crate::Frame {
        let now = self.clock.now();
        let at = |time: i64| now.since(NOW) + time;
        match command {
            Command::Spans(spans) => {
                let spans = spans.iter().map(|(trace, id, time, fails)| span(*trace, *id, at(*time), *fails));
                frame(Signal::Traces, &spans_request(spans.collect()), now)
            }
            Command::Logs(logs) | Command::Stream(_, _, logs) => {
                let record = |sent: &SentLog| {
                    let order = if sent.order == 0 { String::new() } else { format!("ORD-{}", sent.order) };
                    log(&body(sent.body), sent.trace, &order, at(sent.time))
                };
                frame(Signal::Logs, &logs_request(logs.iter().map(record).collect()), now)
            }
            Command::Points(points) => {
                let names: Vec<String> = points.iter().map(|(name, ..)| format!("series_{name}")).collect();
                let points: Vec<(&str, i64, f64)> = points
                    .iter()
                    .zip(&names)
                    .map(|((_, time, value), name)| (name.as_str(), at(*time), f64::from(*value)))
                    .collect();
                frame(Signal::Metrics, &points_request(&points), now)
            }
            _ => unreachable!("only what is sent has a frame"),
        }
    }

    /// The rows a command should add.
    fn effect(&self, command: &Command) -> Effect {
        let now = self.clock.now();
        let believed = |time: i64| if time > 600 * SECOND { now } else { now.plus(time) };
        let log = |sent: &SentLog| Row::log(believed(sent.time), &body(sent.body), sent.trace, sent.order);
        match command {
            Command::Spans(spans) => {
                let row = |(trace, id, time, fails): &(u8, u8, i64, bool)| {
                    Row::span(believed(*time), *trace, *id, *fails)
                };
                Effect { rows: spans.iter().map(row).collect(), committed: None }
            }
            Command::Logs(logs) => Effect { rows: logs.iter().map(log).collect(), committed: None },
            Command::Points(points) => {
                let row = |(name, time, value): &(u8, i64, u8)| {
                    Row::point(now.plus(*time), *name, f64::from(*value))
                };
                Effect { rows: points.iter().map(row).collect(), committed: None }
            }
            Command::Stream(stream, beside, logs) => {
                let range = self.range(*stream, *beside, logs.len());
                let committed = self.positions.get(stream).copied();
                if committed.is_some_and(|committed| range.start > committed || range.end <= committed) {
                    return Effect::default();
                }
                let kept = |(_, end): &(&SentLog, u64)| committed.is_none_or(|committed| *end > committed);
                let ends = (1_u64..).map(|number| range.start + number * 10);
                let rows = logs.iter().zip(ends).filter(kept).map(|(sent, _)| log(sent)).collect();
                Effect { rows, committed: Some((*stream, range.end)) }
            }
            _ => Effect::default(),
        }
    }

    /// Ten positions a record; without records the range moves the position only, and fits.
    fn range(&self, stream: u8, beside: i64, records: usize) -> Range {
        let committed = self.positions.get(&stream).copied();
        let beside = if records == 0 { 0 } else { beside };
        let start = (committed.unwrap_or(0) as i64 + beside * 10).max(0) as u64;
        let ends: Vec<u64> = (1..=records as u64).map(|number| start + number * 10).collect();
        let end = ends.last().copied().unwrap_or(start + 10);
        let range = Range::new(StreamId([stream; 16]), start, end, records as u64);
        Range { ends, begins: committed.is_none(), ..range }
    }

    async fn stream(&mut self, stream: u8, beside: i64, logs: &[SentLog], effect: Effect) -> Outcome {
        let range = self.range(stream, beside, logs.len());
        let frame = self.frame_of(&Command::Stream(stream, beside, logs.to_vec()));
        let batch = self.decode(&frame)?;
        let origin = AgentOrigin { agent: AGENT, session: self.session, ranges: vec![range.clone()] };
        let result = self.store().append_from(frame, batch, Origin::Agent(origin)).await;
        let committed = self.positions.get(&stream).copied();
        match result {
            Ok(placed) => {
                let (dropped, expected) = (placed.dropped, logs.len() - effect.rows.len());
                if dropped != expected {
                    return Err(format!("{range:?}: {dropped} records were dropped, not {expected}"));
                }
                self.naive.add(effect.rows);
                self.positions.extend(effect.committed);
                Ok(())
            }
            Err(error) => match error.position_refusal() {
                Some(refusal) if refusal.mismatch == Mismatch::Gap && committed < Some(range.start) => Ok(()),
                _ => Err(format!("{range:?} was refused with {committed:?} committed: {error}")),
            },
        }
    }

    /// Compares everything.
    fn check(&mut self) -> Outcome {
        let snapshot = self.store().snapshot();
        let found = visible(&snapshot, &TimeRange::ALL)?;
        self.naive.check(&found, self.clock.now())?;
        let counted: u64 = Signal::ALL
            .iter()
            .map(|signal| snapshot.row_counts(*signal))
            .map(|(head, segments)| head + segments)
            .sum();
        if counted != found.values().sum::<u64>() {
            return Err(format!("{counted} rows are counted, {found:?} are there"));
        }
        check_times(&snapshot, &found, self.clock.now())?;
        check_lookups(&snapshot, &found)?;
        for (held, expected) in &self.held {
            let found = visible(held, &TimeRange::ALL)?;
            if found != *expected {
                return Err(format!("a snapshot changed from {expected:?} to {found:?}"));
            }
        }
        Ok(())
    }

    /// Compares what a power cut left: all of the command that was under way, or nothing of it.
    async fn check_image(&mut self, step: &Step) -> Outcome {
        let found = visible(&self.store().snapshot(), &TimeRange::ALL)?;
        let positions = self.hello().await?;
        let mut after = step.positions.clone();
        after.extend(step.effect.committed);
        let is_done = self.naive.is_done(&step.effect.rows, &found)?;
        let done = is_done.unwrap_or(positions == after);
        if positions != *(if done { &after } else { &step.positions }) {
            return Err(format!("rows of the command are there: {done}; positions are {positions:?}"));
        }
        if done {
            self.naive.add(step.effect.rows.clone());
        }
        if let Some(term) = &step.deletes {
            self.naive.may_be_deleted(term);
        }
        self.positions = positions;
        self.check()?;
        // The store goes on from there.
        for command in [Command::Seal, Command::Compact, Command::Kill] {
            self.act(&command, Effect::default()).await?;
            self.check()?;
        }
        Ok(())
    }
}

fn body(number: u8) -> String {
    if number == 0 { "error".to_owned() } else { format!("body {number}") }
}

/// Every visible row within `range` and how often it is there.
fn visible(snapshot: &Snapshot, range: &TimeRange) -> Outcome<Visible> {
    let mut found = Visible::new();
    for signal in Signal::ALL {
        let mut stats = ScanStats::default();
        let mut visit = |rows: &arrow::array::RecordBatch| {
            add_rows(signal, rows, &mut found);
            ControlFlow::Continue(())
        };
        snapshot
            .scan(signal, range, &[], ScanOrder::Any, &mut stats, &mut visit)
            .map_err(|error| error.to_string())?;
        if stats.segments_unreadable > 0 {
            return Err(format!("a segment of {signal} cannot be read"));
        }
    }
    Ok(found)
}

fn add_rows(signal: Signal, batch: &arrow::array::RecordBatch, found: &mut Visible) {
    for row in 0..batch.num_rows() {
        let row = match signal {
            Signal::Traces => Row::of_span(&SpanRows::new(batch), row),
            Signal::Logs => Row::of_log(&LogRows::new(batch), row),
            Signal::Metrics => Row::of_point(&PointRows::new(batch), row),
        };
        *found.entry(row).or_default() += 1;
    }
}

fn check_times(snapshot: &Snapshot, all: &Visible, now: UnixNano) -> Outcome {
    for (from, to) in [(-4 * HOUR, -60 * SECOND), (0, SECOND), (700 * SECOND, 10 * HOUR)] {
        let range = TimeRange { from: now.plus(from), to: now.plus(to) };
        let found = visible(snapshot, &range)?;
        let expected = all.iter().filter(|(row, _)| range.contains(row.time()));
        let expected: Visible = expected.map(|(row, count)| (row.clone(), *count)).collect();
        if found != expected {
            return Err(format!("within {range:?} are {found:?}, expected {expected:?}"));
        }
    }
    Ok(())
}

fn check_lookups(snapshot: &Snapshot, all: &Visible) -> Outcome {
    for signal in [Signal::Traces, Signal::Logs] {
        let terms: std::collections::BTreeSet<&String> = all.keys().flat_map(Row::terms).collect();
        for term in terms {
            let mut stats = ScanStats::default();
            let batches = snapshot
                .lookup(signal, &TimeRange::ALL, std::slice::from_ref(term), &mut stats)
                .map_err(|error| error.to_string())?;
            let mut found = Visible::new();
            batches.iter().for_each(|batch| add_rows(signal, batch, &mut found));
            for (row, count) in all.iter().filter(|(row, _)| row.signal() == signal) {
                let there = found.remove(row).unwrap_or(0);
                let must = if row.carries(term) { *count } else { 0 };
                if there < must || there > *count {
                    return Err(format!("{term} finds {row:?} {there} times; it is there {count} times"));
                }
                if there > 0 && must == 0 && row.trace().is_none() {
                    return Err(format!("{term} finds {row:?}, which has nothing to do with it"));
                }
            }
            if !found.is_empty() {
                return Err(format!("{term} finds rows that are not there: {found:?}"));
            }
        }
    }
    Ok(())
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

/// Does the commands; the first difference.
pub(super) fn run(commands: &[Command], planted: Planted) -> Outcome {
    run_in(Places::default(), commands, planted)
}

/// The same with segments and catalog there.
fn run_in(places: Places, commands: &[Command], planted: Planted) -> Outcome {
    block_on(async {
        let mut bench = Bench::new_in(places, planted).await?;
        for (number, command) in commands.iter().enumerate() {
            let at = |problem| format!("command {number}, {command:?}: {problem}");
            bench.run(command).await.map_err(at)?;
        }
        Ok(())
    })
}

/// Where the power is cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cuts {
    /// At some operations of each command, as the seed says.
    Some(u64),
    /// At every operation.
    Every,
}

impl Cuts {
    fn plan(self, fs: &ShadowFs, dice: &mut Dice) {
        match self {
            // Some at any operation, some at the first ones, where the command has few.
            Self::Some(_) => {
                for within in [4, 30, 120] {
                    if dice.percent(40) {
                        fs.want_image(dice.below(within), dice.roll());
                    }
                }
            }
            Self::Every => (0..400).for_each(|at| fs.want_image(at, dice.roll())),
        }
    }
}

/// Does the commands with the power cut; the first difference. How many cuts there were.
pub(super) fn run_with_cuts(commands: &[Command], cuts: Cuts, planted: Planted) -> Outcome<usize> {
    block_on(async {
        let mut bench = Bench::new(planted).await?;
        let mut dice = Dice(if let Cuts::Some(seed) = cuts { seed } else { 0 });
        for command in commands {
            if matches!(command, Command::FailingSeal(..) | Command::FailingCompact(..)) {
                continue;
            }
            cuts.plan(&bench.fs, &mut dice);
            bench.run(command).await.map_err(|problem| format!("{command:?}: {problem}"))?;
        }
        bench.store = None;
        let images = bench.fs.take_images();
        let count = images.len();
        for image in images {
            let (operation, number) = (image.operation, image.mark);
            let step = &bench.steps[number];
            let at =
                |problem| format!("power cut at operation {operation}, in {:?}: {problem}", commands[number]);
            let mut after = Bench::of_image(image, step, planted).await.map_err(at)?;
            after.check_image(step).await.map_err(at)?;
        }
        Ok(count)
    })
}

/// Two seals that are merged, rows that are deleted, a stream.
fn everyday() -> Vec<Command> {
    let log = |body, order| SentLog { body, trace: 1, order, time: 0 };
    vec![
        Command::Logs(vec![log(1, 1), log(2, 2)]),
        Command::Stream(1, 0, vec![log(3, 3)]),
        Command::Spans(vec![(1, 1, 0, false)]),
        Command::Seal,
        Command::Logs(vec![log(4, 2), log(0, 3)]),
        Command::Spans(vec![(1, 1, 0, false)]),
        Command::Seal,
        Command::Compact,
        Command::Delete("order_id=ORD-2".to_owned()),
        Command::Compact,
    ]
}

/// Random commands, the same every time.
pub(super) fn samples(max: usize) -> impl Iterator<Item = Vec<Command>> {
    let rng = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    std::iter::repeat_with(move || {
        commands(max).new_tree(&mut runner).expect("nothing is filtered").current()
    })
}

/// The first difference that a planted bug makes.
pub(crate) fn caught(plant: Plant, cases: usize) -> Option<String> {
    samples(14).take(cases).find_map(|commands| run(&commands, Planted::new(plant)).err())
}

/// The same when the power is cut.
pub(crate) fn caught_by_cuts(plant: Plant) -> Option<String> {
    let planted = Planted::new(plant);
    let cut =
        |(commands, seed): (Vec<Command>, u64)| run_with_cuts(&commands, Cuts::Some(seed), planted).err();
    run_with_cuts(&everyday(), Cuts::Every, planted)
        .err()
        .or_else(|| samples(10).zip(0..).take(CUT_CASES).find_map(cut))
}

/// Whether a span that was sent twice is there once after a merge.
pub(crate) fn caught_by_repeated_spans(plant: Plant) -> Option<String> {
    let check = async {
        let mut bench = Bench::new(Planted::new(plant)).await?;
        let spans = || Command::Spans(vec![(1, 1, 0, false)]);
        for command in [spans(), Command::Seal, spans(), Command::Seal, Command::Compact] {
            bench.run(&command).await?;
        }
        let found = visible(&bench.store().snapshot(), &TimeRange::ALL)?;
        if found.values().sum::<u64>() == 1 { Ok(()) } else { Err(format!("{found:?}")) }
    };
    let result: Outcome = block_on(check);
    result.err()
}

/// Whether rows that were deleted while nothing could be sealed are gone after a restart too.
pub(crate) fn caught_by_a_delete_before_a_restart(plant: Plant) -> Option<String> {
    let check = async {
        let mut bench = Bench::new(Planted::new(plant)).await?;
        let log = |order| SentLog { body: order, trace: 0, order, time: 0 };
        bench.run(&Command::Logs(vec![log(1), log(2)])).await?;
        // A delete wakes the sealer. When it has failed it pauses, and the rows are in the log only.
        bench.fs.fail_all(Fault::Io);
        bench.run(&Command::Delete("order_id=ORD-1".to_owned())).await?;
        let has_failed = async {
            while bench.store().stats().seal_failures == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SEAL_DEADLINE, has_failed).await.map_err(|_| "no seal was tried".to_owned())?;
        bench.fs.heal();
        bench.run(&Command::Kill).await
    };
    let result: Outcome = block_on(check);
    result.err()
}

/// Whether a segment stays whose first row is too old and whose last is not.
pub(crate) fn caught_by_a_segment_that_is_half_too_old(plant: Plant) -> Option<String> {
    let check = async {
        let mut bench = Bench::new(Planted::new(plant)).await?;
        let log = |time| SentLog { body: 1, trace: 1, order: 1, time };
        let commands = [
            Command::Logs(vec![log(-60 * SECOND), log(0)]),
            Command::Seal,
            Command::Advance(300),
            Command::Compact,
        ];
        for command in commands {
            bench.run(&command).await?;
        }
        Ok(())
    };
    let result: Outcome = block_on(check);
    result.err()
}

/// How long until the sealer has noticed that it is wanted.
const SEAL_DEADLINE: Duration = Duration::from_secs(20);

/// Runs with cuts in which a bug has to show.
const CUT_CASES: usize = 200;

fn cases(default: u32) -> u32 {
    std::env::var("SILMARI_MODEL_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(150), max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_store_shows_what_a_list_in_memory_shows(commands in commands(16)) {
        prop_assert_eq!(run(&commands, Planted::default()), Ok(()));
    }
}

#[test]
fn a_power_cut_anywhere_leaves_all_of_what_was_acknowledged_and_nothing_by_halves() {
    let mut cuts = 0;
    for (commands, seed) in samples(10).zip(0..u64::from(cases(60))) {
        match run_with_cuts(&commands, Cuts::Some(seed), Planted::default()) {
            Ok(some) => cuts += some,
            Err(problem) => panic!("seed {seed} of {commands:?}: {problem}"),
        }
    }
    assert!(cuts > 100, "{cuts}");
}

#[test]
fn a_power_cut_at_every_operation_of_an_everyday_run_loses_nothing() {
    let cuts = run_with_cuts(&everyday(), Cuts::Every, Planted::default()).expect("nothing is lost");
    assert!(cuts > 150, "{cuts}");
}

/// Runs in which segments go over HTTP, or the catalog is a server's.
const OBJECT_CASES: usize = 20;

#[test]
fn the_store_shows_the_same_when_its_segments_are_in_an_object_store() {
    let server = S3Server::start().expect("a server");
    for (number, commands) in samples(12).take(OBJECT_CASES).enumerate() {
        let segments = home_in(&server, &format!("case-{number}"));
        let places = Places { segments, ..Places::default() };
        run_in(places, &commands, Planted::default())
            .unwrap_or_else(|problem| panic!("case {number}, {commands:?}: {problem}"));
    }
}

#[test]
fn the_store_shows_the_same_when_its_catalog_is_in_a_database() {
    let Some(server) = Postgres::shared() else { return };
    for (number, commands) in samples(12).take(OBJECT_CASES).enumerate() {
        let database = block_on(schema(server));
        let catalog = CatalogHome::Postgres(database.url);
        let places = Places { catalog, ..Places::default() };
        run_in(places, &commands, Planted::default())
            .unwrap_or_else(|problem| panic!("case {number}, {commands:?}: {problem}"));
    }
}
