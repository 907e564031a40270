//! Tests of the log on a disk in memory, step by step; two on the real one with its thread.

pub(crate) mod crash;
pub(crate) mod damage;
pub(crate) mod reuse;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use model::{ManualClock, SystemClock, UnixNano};

use super::writer::{Place, Writer};
use super::*;
use crate::plant::{Plant, Planted};
use disk::RealFs;
use disk::sim::{Dice, Fault, SimFs};

const DIR: &str = "/data/wal";

/// A log without its thread: what is appended is written by [`Bench::step`].
struct Bench {
    fs: SimFs,
    clock: Arc<ManualClock>,
    wal: Wal<u64>,
    writer: Writer<u64>,
    /// What `on_durable` was told: sequence and id.
    visible: Arc<Mutex<Vec<(u64, u64)>>>,
    replayed: Vec<ReplayRecord>,
    report: ReplayReport,
}

type Answer = Result<Durable, Error>;

impl Bench {
    fn try_open(fs: &SimFs, settings: &Settings, from_sequence: u64) -> Result<Self, Error> {
        let clock = ManualClock::at(UnixNano(1_700_000_000_000_000_000));
        let visible = Arc::new(Mutex::new(Vec::new()));
        let mut replayed = Vec::new();
        let place = Place {
            fs: Arc::new(fs.clone()),
            dir: DIR.into(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            settings: settings.clone(),
        };
        let (wal, writer, report) =
            Wal::open_parts(place, from_sequence, on_durable(&visible), &mut |record| {
                replayed.push(record);
                Ok(())
            })?;
        Ok(Self { fs: fs.clone(), clock, wal, writer, visible, replayed, report })
    }

    fn open(fs: &SimFs, settings: &Settings, from_sequence: u64) -> Self {
        Self::try_open(fs, settings, from_sequence).expect("the log opens")
    }

    fn step(&mut self) {
        while let Some(work) = self.wal.queue.next_now(self.writer.group_bytes_max()) {
            self.writer.work(work);
        }
    }

    /// Appends records with these ids, in one group when they fit.
    fn append(&mut self, ids: impl IntoIterator<Item = u64>) -> Vec<Answer> {
        let waiting: Vec<_> = ids.into_iter().map(|id| self.wal.append(record(id), id)).collect();
        self.step();
        waiting.into_iter().map(|answer| answer.now_or_never().expect("every append is answered")).collect()
    }

    /// Appends one record that has to work; its sequence.
    fn append_one(&mut self, id: u64) -> u64 {
        self.append([id]).pop().expect("one").expect("the disk works").sequence
    }

    fn trim(&mut self, up_to: u64) -> Result<usize, Error> {
        let trimmed = self.wal.trim(up_to);
        self.step();
        trimmed.now_or_never().expect("every trim is answered")
    }

    fn visible(&self) -> Vec<(u64, u64)> {
        self.visible.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn files(&self) -> Vec<String> {
        files(&self.fs)
    }
}

fn on_durable(visible: &Arc<Mutex<Vec<(u64, u64)>>>) -> OnDurable<u64> {
    let visible = Arc::clone(visible);
    Box::new(move |sequence, id| {
        visible.lock().unwrap_or_else(PoisonError::into_inner).push((sequence, id));
    })
}

fn files(fs: &SimFs) -> Vec<String> {
    let names = fs.list(Path::new(DIR)).expect("the folder exists");
    names.into_iter().filter(|name| name.ends_with(".wal")).collect()
}

fn path_of(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn small() -> Settings {
    Settings { segment_bytes: 4096, group_bytes_max: 2048, ..Settings::default() }
}

/// A record whose every byte follows from its id.
fn record(id: u64) -> Record {
    let mut dice = Dice(id);
    let mut payload = id.to_le_bytes().to_vec();
    let more = dice.below(700);
    payload.extend((0..more).map(|_| dice.roll() as u8));
    let extension = vec![id as u8; dice.below(3) as usize * 5];
    Record {
        signal: 1 + (id % 3) as u8,
        compression: (id % 2) as u8,
        received_at: UnixNano(id as i64 - 3),
        extension: extension.into(),
        payload: payload.into(),
    }
}

/// The id of a replayed record, if every byte of it is as it was appended.
fn id_of(replayed: &ReplayRecord) -> Option<u64> {
    let id = u64::from_le_bytes(replayed.payload.get(..8)?.try_into().ok()?);
    let ReplayRecord { signal, compression, received_at, extension, payload, .. } = replayed.clone();
    (Record { signal, compression, received_at, extension, payload } == record(id)).then_some(id)
}

fn ids(replayed: &[ReplayRecord]) -> Vec<u64> {
    replayed.iter().map(|record| id_of(record).expect("the record is as it was appended")).collect()
}

#[test]
fn what_is_appended_through_the_thread_is_replayed_in_order_from_a_real_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("wal");
    let visible = Arc::new(Mutex::new(Vec::new()));
    let open = |replay: &mut dyn FnMut(ReplayRecord) -> Result<(), Error>| {
        let settings = Settings { segment_bytes: 200_000, group_bytes_max: 20_000, ..Settings::default() };
        Wal::open(Arc::new(RealFs), &dir, settings, SystemClock::shared(), 0, on_durable(&visible), replay)
            .expect("the log opens")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let (wal, _) = open(&mut |_| panic!("there is nothing to replay"));
    let appended: Vec<_> = (0..1000).map(|id| wal.append(record(id), id)).collect();
    for (answer, sequence) in appended.into_iter().zip(1..) {
        assert_eq!(runtime.block_on(answer).expect("durable").sequence, sequence);
    }
    let stats = wal.stats();
    assert_eq!((stats.records, stats.last_sequence, stats.failures), (1000, 1000, 0));
    assert!(stats.syncs < 1000, "{stats:?}");
    assert!(stats.files > 1, "{stats:?}");
    wal.close();
    let refused = runtime.block_on(wal.append(record(1), 1)).expect_err("closed");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    drop(wal);

    let mut replayed = Vec::new();
    let (wal, report) = open(&mut |record| {
        replayed.push(record);
        Ok(())
    });
    assert_eq!(ids(&replayed), Vec::from_iter(0..1000));
    assert_eq!((report.records, report.lost_records, report.truncated_tail_bytes), (1000, 0, 0));
    assert_eq!(runtime.block_on(wal.append(record(7), 7)).expect("durable").sequence, 1001);
    assert!(runtime.block_on(wal.trim(1001)).expect("deletes") > 1);
    let mut names = std::fs::read_dir(&dir).expect("the folder").map(|entry| entry.expect("readable").path());
    assert!(names.all(|path| path.extension().is_some_and(|extension| extension == "spare")));
}

#[test]
fn a_writer_that_panicked_leaves_no_one_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let on_durable: OnDurable<u64> = Box::new(|_, _| panic!("planted"));
    let (fs, clock) = (Arc::new(RealFs), SystemClock::shared());
    let settings = Settings { segment_bytes: 4096, ..Settings::default() };
    let (wal, _) =
        Wal::open(fs, folder.path(), settings, clock, 0, on_durable, &mut |_| Ok(())).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(wal.append(record(1), 1)).expect_err("no one can tell");
    let refused = runtime.block_on(wal.append(record(2), 2)).expect_err("the thread is gone");
    assert_eq!(refused.kind(), ErrorKind::Retry);
}

#[test]
fn a_group_is_written_with_one_sync() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &Settings { segment_bytes: 65_536, ..Settings::default() }, 0);
    let before = fs.counts();
    assert!(bench.append(0..50).iter().all(Result::is_ok));
    let after = fs.counts();
    assert_eq!(after.syncs - before.syncs, 1);
    assert_eq!(after.writes - before.writes, 1);
    assert_eq!(after.dir_syncs - before.dir_syncs, 1, "the file is new");
    bench.append_one(50);
    assert_eq!(fs.counts().dir_syncs, after.dir_syncs, "the file is not new");
    let stats = bench.wal.stats();
    assert_eq!((stats.records, stats.groups, stats.group_records_max, stats.syncs), (51, 2, 50, 2));
}

#[test]
fn a_group_is_no_larger_than_its_limit_and_a_larger_record_is_a_group_of_its_own() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &Settings { group_bytes_max: 100, ..small() }, 0);
    let payload = Bytes::from(vec![9; 9000]);
    let large = Record { payload: payload.clone(), ..record(1) };
    let answers =
        [bench.wal.append(record(1), 1), bench.wal.append(large, 2), bench.wal.append(record(3), 3)];
    bench.step();
    assert!(answers.into_iter().all(|answer| matches!(answer.now_or_never(), Some(Ok(_)))));
    assert_eq!(bench.wal.stats().groups, 3);
    let replayed = Bench::open(&fs.crash(1), &small(), 0).replayed;
    assert_eq!(replayed.len(), 3);
    assert_eq!(replayed[1].payload, payload);
}

#[test]
fn rows_become_visible_in_order_and_before_the_answer() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    for id in (0..30).step_by(3) {
        let waiting: Vec<_> = (id..id + 3).map(|id| bench.wal.append(record(id), id)).collect();
        assert!(bench.visible().len() as u64 == id, "nothing is visible before it is durable");
        bench.step();
        assert_eq!(bench.visible().len() as u64, id + 3);
        for (answer, id) in waiting.into_iter().zip(id..) {
            let durable = answer.now_or_never().expect("answered").expect("durable");
            assert_eq!(durable.sequence, id + 1);
        }
    }
    assert_eq!(bench.visible(), Vec::from_iter((0..30).map(|id| (id + 1, id))));
}

#[test]
fn a_future_that_is_dropped_leaves_its_record() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    drop(bench.wal.append(record(5), 5));
    bench.step();
    assert_eq!(bench.visible(), [(1, 5)]);
    assert_eq!(ids(&Bench::open(&fs.crash(1), &small(), 0).replayed), [5]);
}

#[test]
fn a_full_queue_refuses_and_takes_more_when_it_was_written() {
    let fs = SimFs::default();
    let settings = Settings { queue_records_max: 3, ..small() };
    let mut bench = Bench::open(&fs, &settings, 0);
    let waiting: Vec<_> = (0..5).map(|id| bench.wal.append(record(id), id)).collect();
    bench.step();
    let answers: Vec<_> =
        waiting.into_iter().map(|answer| answer.now_or_never().expect("answered")).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    let refused = answers[4].as_ref().expect_err("the queue was full");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    assert!(refused.to_string().contains("3 records"), "{refused}");
    bench.append_one(5);

    let mut bench = Bench::open(&SimFs::default(), &Settings { queue_bytes_max: 10, ..small() }, 0);
    let waiting = [bench.wal.append(record(1), 1), bench.wal.append(record(2), 2)];
    bench.step();
    let [first, second] = waiting.map(|answer| answer.now_or_never().expect("answered"));
    first.expect("one is always taken");
    assert_eq!(second.expect_err("too many bytes").kind(), ErrorKind::Retry);
}

#[test]
fn a_record_over_the_limit_is_the_senders_mistake() {
    let mut bench = Bench::open(&SimFs::default(), &Settings { record_bytes_max: 7, ..small() }, 0);
    let refused = bench.append([1]).pop().expect("one").expect_err("8 bytes at least");
    assert_eq!(refused.kind(), ErrorKind::FixInput);
}

#[test]
fn a_failed_sync_acknowledges_nothing_and_the_log_goes_on_in_a_new_file() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    bench.append_one(0);
    fs.fail(1, Fault::Io);
    let syncs = fs.counts().syncs;
    for answer in bench.append([1, 2]) {
        assert_eq!(answer.expect_err("the sync failed").kind(), ErrorKind::Retry);
    }
    assert_eq!(fs.counts().syncs, syncs + 1, "a sync is not tried again");
    assert_eq!(bench.visible(), [(1, 0)]);
    assert_eq!(bench.append_one(3), 4, "the sequences of the refused group are not used again");
    assert_eq!(bench.files().len(), 2);
    for seed in 0..30 {
        let reopened = Bench::open(&fs.crash(seed), &small(), 0);
        assert_eq!(ids(&reopened.replayed).iter().filter(|id| [0, 3].contains(*id)).count(), 2);
        assert_eq!(reopened.report.lost_records, 0, "seed {seed}: {:?}", reopened.report);
    }
}

#[test]
fn a_full_disk_refuses_without_being_touched_and_ends_by_itself() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    bench.append_one(0);
    fs.fail_all(Fault::NoSpace);
    for id in 1..=3 {
        let refused = bench.append([id]).pop().expect("one").expect_err("the disk is full");
        assert_eq!(refused.kind(), ErrorKind::Retry);
        assert!(refused.to_string().contains("os error 28"), "{refused}");
    }
    assert!(bench.wal.stats().is_refusing);
    let operations = fs.counts().operations;
    let refused = bench.append([4]).pop().expect("one").expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    assert_eq!(fs.counts().operations, operations, "the disk is left alone");

    bench.clock.advance(Duration::from_secs(2));
    bench.append([5]).pop().expect("one").expect_err("still full");
    assert!(fs.counts().operations > operations, "one attempt per interval");
    fs.heal();
    bench.append([6]).pop().expect("one").expect_err("not yet time");
    bench.clock.advance(Duration::from_secs(2));
    bench.append_one(7);
    assert!(!bench.wal.stats().is_refusing);
    bench.append_one(8);
    assert_eq!(ids(&Bench::open(&fs.crash(3), &small(), 0).replayed), [0, 7, 8]);
}

#[test]
fn a_short_write_leaves_nothing_behind() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    bench.append_one(0);
    fs.fail(0, Fault::ShortWrite);
    bench.append([1]).pop().expect("one").expect_err("written in part");
    bench.append_one(2);
    let reopened = Bench::open(&fs.kill(), &small(), 0);
    assert_eq!(ids(&reopened.replayed), [0, 2]);
    assert_eq!((reopened.report.lost_records, reopened.report.damaged_ranges), (0, 0));
}

#[test]
fn trim_deletes_what_is_covered_and_never_a_live_record() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    for id in 0..40 {
        bench.append_one(id);
    }
    let mut files = bench.files().len();
    assert!(files > 4, "{files}");
    for up_to in 0..=40 {
        let deleted = bench.trim(up_to).expect("the disk works");
        assert_eq!(bench.files().len(), files - deleted);
        files -= deleted;
        let reopened = Bench::open(&fs.crash(up_to), &small(), up_to);
        assert_eq!(ids(&reopened.replayed), Vec::from_iter(up_to..40));
        assert_eq!(reopened.report.lost_records, 0);
    }
    assert_eq!(files, 0, "the active file was covered too");
    assert_eq!(bench.append_one(40), 41);
    assert_eq!(bench.trim(40).expect("nothing to do"), 0);
}

#[test]
fn a_file_that_could_not_be_deleted_is_deleted_by_the_next_trim() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    for id in 0..20 {
        bench.append_one(id);
    }
    let files = bench.files().len();
    fs.fail(1, Fault::Io);
    assert_eq!(bench.trim(20).expect_err("planted").kind(), ErrorKind::Retry);
    assert_eq!(bench.trim(20).expect("the disk works"), files);
    assert!(bench.files().is_empty());
}

#[test]
fn sequences_rise_over_restarts_with_and_without_files() {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &small(), 0);
    assert_eq!(bench.append(0..5).len(), 5);
    let fs = fs.crash(1);
    let mut bench = Bench::open(&fs, &small(), 0);
    assert_eq!(bench.append_one(5), 6);
    assert_eq!(bench.files(), ["00000000000000000001.wal", "00000000000000000006.wal"]);
    bench.trim(6).expect("the disk works");
    let mut bench = Bench::open(&fs.crash(2), &small(), 6);
    assert!(bench.files().is_empty());
    assert_eq!(bench.append_one(6), 7);
    let mut bench = Bench::open(&SimFs::default(), &small(), 900);
    assert_eq!(bench.append_one(0), 901, "the catalog knows of more than the files");
}

#[test]
fn what_replay_refuses_stops_the_start() {
    let fs = SimFs::default();
    Bench::open(&fs, &small(), 0).append_one(1);
    let place = Place {
        fs: Arc::new(fs.clone()),
        dir: DIR.into(),
        clock: ManualClock::at(UnixNano(0)),
        settings: small(),
    };
    let result =
        Wal::<u64>::open_parts(place, 0, Box::new(|_, _| {}), &mut |_| Err(Error::damaged("planted")));
    assert_eq!(result.err().expect("passed on").to_string(), "planted");
    assert_eq!(ids(&Bench::open(&fs, &small(), 0).replayed), [1]);
}
