//! The spool across restarts, torn ends, bad bytes, its cap and its policies.

mod crash;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use disk::RealFs;
use model::positions::Range;
use model::{SystemClock, UnixNano};

use super::*;

const LOGS: Lane = Lane::Signal(Signal::Logs);
const METRICS: Lane = Lane::Signal(Signal::Metrics);

const LIMITS: Limits = Limits {
    bytes_max: 1 << 20,
    durability: Durability::Process,
    when_full: [WhenFull::DropOldest, WhenFull::Block, WhenFull::DropOldest],
};

/// Changes bytes around a place.
type Damage = dyn Fn(&mut [u8], usize);

fn open(folder: &Path) -> Queue {
    Queue::open(Arc::new(RealFs), folder, LIMITS, SystemClock::shared()).expect("opened")
}

fn request(signal: Signal, items: u64, text: &str) -> Spooled {
    Spooled::new(signal, Encoding::Protobuf, items, text.len(), Bytes::copy_from_slice(text.as_bytes()))
}

fn put(queue: &Queue, signal: Signal, text: &str) -> Option<u64> {
    queue.append(Lane::Signal(signal), &request(signal, 1, text)).expect("room")
}

fn texts(group: &[Spooled]) -> Vec<&str> {
    group.iter().map(|spooled| std::str::from_utf8(&spooled.payload).expect("text")).collect()
}

fn segments(folder: &Path, lane: Lane) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder.join(lane.name()))
        .expect("folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "seg"))
        .collect();
    paths.sort();
    paths
}

/// Changes the bytes of the only segment where `text` stands.
fn damage(folder: &Path, text: &str, change: impl Fn(&mut [u8], usize)) {
    let path = segments(folder, LOGS).pop().expect("one");
    let mut bytes = fs::read(&path).expect("read");
    let at = memchr::memmem::find(&bytes, text.as_bytes()).expect("there");
    change(&mut bytes, at);
    fs::write(&path, bytes).expect("damage");
}

#[test]
fn a_note_is_found_again_although_everything_is_settled_as_long_as_its_segment_is_held() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    assert_eq!(queue.last_note(LOGS), None);
    let large = "x".repeat(20_000);
    let hold = queue.hold(LOGS);
    queue.append(LOGS, &Spooled { note: "older".to_owned(), ..request(Signal::Logs, 1, "a") }).expect("room");
    queue
        .append(LOGS, &Spooled { note: "newer".to_owned(), ..request(Signal::Logs, 1, &large) })
        .expect("room");
    put(&queue, Signal::Logs, "b");
    let taken = queue.take(LOGS, 1 << 20).expect("read");
    assert_eq!((taken.len(), taken[1].note.as_str(), taken[2].note.as_str()), (3, "newer", ""));
    queue.settle_taken(LOGS);
    let again = open(folder.path());
    assert_eq!((again.waiting(LOGS).requests, again.last_note(LOGS).as_deref()), (0, Some("newer")));
    drop((again, hold));
    put(&queue, Signal::Logs, "c");
    queue.take(LOGS, 1 << 20).expect("read");
    queue.settle_taken(LOGS);
    assert_eq!(open(folder.path()).last_note(LOGS), None, "deleted with all that is settled");
}

#[test]
fn the_oldest_request_is_told_whether_it_was_taken_or_not() {
    let folder = tempfile::tempdir().expect("folder");
    let clock = model::ManualClock::at(UnixNano(1_795_000_000 * SECOND));
    let open =
        || Queue::open(Arc::new(RealFs), folder.path(), LIMITS, Arc::clone(&clock) as _).expect("opened");
    let queue = open();
    let oldest = |queue: &Queue| queue.status().lanes[LOGS.index()].oldest_seconds;
    assert_eq!(oldest(&queue), 0);
    for text in ["a", "b"] {
        queue.append(LOGS, &Spooled { time: clock.now(), ..request(Signal::Logs, 1, text) }).expect("room");
        clock.advance(Duration::from_secs(10));
    }
    assert_eq!(oldest(&queue), 20, "nothing is taken");
    let taken = queue.take(LOGS, 1).expect("read");
    assert_eq!(oldest(&queue), 20, "taken, and not settled");
    queue.settle(LOGS, taken[0].after());
    assert_eq!(oldest(&queue), 10);
    drop(queue);
    let queue = open();
    assert_eq!(oldest(&queue), 10, "after a restart");
    queue.take(LOGS, 1 << 20).expect("read");
    queue.settle_taken(LOGS);
    assert_eq!(oldest(&queue), 0);
}

#[test]
fn neighbours_in_a_lane_are_taken_together_in_order_and_lanes_do_not_wait_for_each_other() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    for (signal, text) in [
        (Signal::Logs, "a"),
        (Signal::Logs, "b"),
        (Signal::Traces, "c"),
        (Signal::Logs, "dd"),
        (Signal::Logs, "e"),
    ] {
        put(&queue, signal, text);
    }
    assert_eq!(texts(&queue.take(LOGS, 2).expect("read")), ["a", "b"], "the limit in bytes");
    assert_eq!(texts(&queue.take(Lane::Signal(Signal::Traces), 100).expect("read")), ["c"]);
    assert_eq!(texts(&queue.take(LOGS, 100).expect("read")), ["dd", "e"]);
    assert!(queue.take(LOGS, 2).expect("read").is_empty());
}

#[test]
fn json_and_batches_of_files_travel_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    for encoding in [Encoding::Json, Encoding::Json, Encoding::Protobuf] {
        queue.append(LOGS, &Spooled { encoding, ..request(Signal::Logs, 1, "x") }).expect("room");
    }
    let ranges = vec![Range::new(StreamId([3; 16]), 10, 20, 1)];
    for _ in 0..2 {
        let batch = Spooled { ranges: ranges.clone(), ..request(Signal::Logs, 1, "f") };
        queue.append(Lane::Files, &batch).expect("room");
    }
    let sizes: Vec<usize> = (0..4).map(|_| queue.take(LOGS, 100).expect("read").len()).collect();
    assert_eq!(sizes, [1, 1, 1, 0]);
    assert_eq!(queue.spilled().expect("read"), [(StreamId([3; 16]), 20), (StreamId([3; 16]), 20)]);
    let first = queue.take(Lane::Files, 100).expect("read");
    assert_eq!((first.len(), &first[0].ranges), (1, &ranges));
}

#[test]
fn what_is_not_settled_comes_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    for text in ["a", "b", "c"] {
        queue.append(METRICS, &request(Signal::Metrics, 5, text)).expect("room");
    }
    let first = queue.take(METRICS, 1).expect("read");
    queue.settle(METRICS, first[0].after());
    drop(queue);
    let queue = open(folder.path());
    assert_eq!(queue.waiting(METRICS), Amount { requests: 2, items: 10, bytes: 2 });
    assert_eq!(texts(&queue.take(METRICS, 100).expect("read")), ["b", "c"]);
    assert_eq!(put(&queue, Signal::Metrics, "d"), Some(4));
    assert_eq!(queue.status().requests, 3);
}

#[test]
fn a_full_spool_sends_away_and_takes_again_when_it_is_emptied() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    let text = "x".repeat(100 << 10);
    let mut accepted = 0;
    let error = loop {
        match queue.append(LOGS, &request(Signal::Logs, 1, &text)) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, QueueError::Full { is_disk_full: false, .. }), "{error}");
    assert!((5..=10).contains(&accepted), "{accepted}");
    assert!(queue.status().bytes <= LIMITS.bytes_max);
    put(&queue, Signal::Metrics, "a signal has room of its own");
    let mut taken = 0;
    loop {
        let group = queue.take(LOGS, 1).expect("read");
        let Some(last) = group.last() else { break };
        taken += group.len();
        queue.settle(LOGS, last.after());
    }
    assert_eq!(taken, accepted);
    assert!(queue.status().bytes < 5 << 10, "settled segments are deleted");
    put(&queue, Signal::Logs, &text);
    assert_eq!(texts(&queue.take(LOGS, 1).expect("read")), [text.as_str()]);
}

#[test]
fn each_policy_gives_up_what_it_says_and_counts_it() {
    let text = "x".repeat(20 << 10);
    let kept_of = |when_full| {
        let folder = tempfile::tempdir().expect("folder");
        let limits = Limits { when_full: [when_full; 3], ..LIMITS };
        let queue =
            Queue::open(Arc::new(RealFs), folder.path(), limits, SystemClock::shared()).expect("opened");
        let (mut refused, mut given_up) = (0u64, Amount::default());
        for number in 0..100 {
            let request = request(Signal::Metrics, 2, &format!("{number:03}{text}"));
            refused += u64::from(queue.append(METRICS, &request).expect("the policy decides").is_none());
            given_up.add(queue.take_given_up(METRICS));
        }
        assert!(queue.status().bytes <= limits.bytes_max);
        let group = queue.take(METRICS, 100 << 20).expect("read");
        assert_eq!(group.len() as u64 + refused + given_up.requests, 100);
        assert_eq!(given_up.items, 2 * given_up.requests);
        let numbers: Vec<u64> =
            texts(&group).iter().map(|text| text[..3].parse().expect("a number")).collect();
        assert!(numbers.is_sorted());
        (numbers[0], *numbers.last().expect("some"), refused, given_up.requests)
    };
    let (first, last, refused, given_up) = kept_of(WhenFull::DropOldest);
    assert!(first > 0 && last == 99 && refused == 0 && given_up == first);
    let (first, last, refused, given_up) = kept_of(WhenFull::DropNew);
    assert!(first == 0 && last < 99 && refused > 0 && given_up == 0);
}

#[test]
fn what_was_taken_is_not_counted_as_given_up_when_its_segment_goes() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    let text = "x".repeat(40 << 10);
    put(&queue, Signal::Metrics, &text);
    let under_way = queue.take(METRICS, 1).expect("read");
    let mut given_up = Amount::default();
    for _ in 0..50 {
        put(&queue, Signal::Metrics, &text);
        given_up.add(queue.take_given_up(METRICS));
    }
    queue.settle(METRICS, under_way[0].after());
    let waiting = queue.take(METRICS, 100 << 20).expect("read");
    assert_eq!(given_up.requests + waiting.len() as u64, 50);
    assert_eq!(queue.take_lost(METRICS), Amount::default());
}

#[test]
fn a_torn_end_is_cut_off_and_numbers_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    put(&queue, Signal::Logs, "whole");
    put(&queue, Signal::Logs, "torn");
    drop(queue);
    let path = segments(folder.path(), LOGS).pop().expect("one");
    let len = fs::metadata(&path).expect("there").len();
    OpenOptions::new().write(true).open(&path).expect("open").set_len(len - 3).expect("tear");
    let queue = open(folder.path());
    put(&queue, Signal::Logs, "next");
    let first = queue.take(LOGS, 100).expect("read");
    let second = queue.take(LOGS, 100).expect("read");
    assert_eq!((texts(&first), texts(&second)), (vec!["whole"], vec!["next"]), "another run, another stream");
    assert_eq!(second[0].number(), 2);
    assert!(first[0].stream != second[0].stream, "the number that was torn off was another request's");
}

#[test]
fn bad_bytes_cost_only_the_request_they_hit_and_its_records_are_counted() {
    let heads_and_bodies: [&Damage; 3] =
        [&|bytes, at| bytes[at] ^= 1, &|bytes, at| bytes[at - 20] ^= 1, &|bytes, at| {
            bytes[at - segment::RECORD_HEAD_BYTES..at].fill(0)
        }];
    for change in heads_and_bodies {
        let folder = tempfile::tempdir().expect("folder");
        let queue = open(folder.path());
        for (items, text) in [(1, "first"), (7, "second"), (1, "third")] {
            queue.append(LOGS, &request(Signal::Logs, items, text)).expect("room");
        }
        damage(folder.path(), "second", change);
        assert_eq!(texts(&queue.take(LOGS, 100).expect("read")), ["first", "third"]);
        assert_eq!(queue.take_lost(LOGS), Amount { requests: 1, items: 7, bytes: 6 });
    }
}

#[test]
fn bytes_inside_a_payload_never_pass_for_a_request() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    put(&queue, Signal::Logs, "forged");
    let record = fs::read(&segments(folder.path(), LOGS)[0]).expect("read")[HEADER_BYTES as usize..].to_vec();
    drop(queue);
    fs::remove_dir_all(folder.path()).expect("gone");
    let queue = open(folder.path());
    queue
        .append(LOGS, &Spooled { payload: record.into(), ..request(Signal::Logs, 1, "outer") })
        .expect("room");
    put(&queue, Signal::Logs, "good");
    // The head of the outer one: what comes next to its sync word is searched.
    let path = segments(folder.path(), LOGS).pop().expect("one");
    let file = OpenOptions::new().write(true).open(path).expect("open");
    file.write_all_at(&[0xff], HEADER_BYTES + 20).expect("damage");
    assert_eq!(texts(&queue.take(LOGS, 100).expect("read")), ["good"]);
    assert_eq!(queue.take_lost(LOGS).requests, 1);
}

#[test]
fn a_missing_segment_is_counted_and_stops_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    let text = "x".repeat(40 << 10);
    for _ in 0..4 {
        queue.append(LOGS, &request(Signal::Logs, 3, &text)).expect("room");
    }
    drop(queue);
    let paths = segments(folder.path(), LOGS);
    assert_eq!(paths.len(), 4);
    fs::remove_file(&paths[1]).expect("gone");
    fs::write(&paths[2], vec![7; 5000]).expect("no segment any more");
    let queue = open(folder.path());
    assert_eq!(queue.waiting(LOGS).items, 12);
    let numbers: Vec<_> = queue.take(LOGS, 1 << 20).expect("read").iter().map(Spooled::number).collect();
    assert_eq!(numbers, [1, 4]);
    assert_eq!(queue.take_lost(LOGS), Amount { requests: 2, items: 6, bytes: 2 * (40 << 10) });
    assert!(paths[2].with_extension("bad").exists(), "kept for people");
}

#[test]
fn one_damaged_header_is_read_from_its_copy() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    put(&queue, Signal::Logs, "kept");
    drop(queue);
    damage(folder.path(), "SILSPOOL", |bytes, at| bytes[at..at + 100].fill(9));
    let queue = open(folder.path());
    assert_eq!(texts(&queue.take(LOGS, 100).expect("read")), ["kept"]);
}

#[test]
fn a_segment_of_another_version_is_named_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    put(&queue, Signal::Logs, "of a newer agent");
    drop(queue);
    damage(folder.path(), "SILSPOOL", |bytes, at| {
        bytes[at + 8] = 9;
        let crc = crc32c::crc32c(&bytes[at..at + 56]);
        bytes[at + 56..at + 60].copy_from_slice(&crc.to_le_bytes());
    });
    let before = fs::read(&segments(folder.path(), LOGS)[0]).expect("read");
    let opened = Queue::open(Arc::new(RealFs), folder.path(), LIMITS, SystemClock::shared());
    let error = opened.expect_err("another version");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("version 9"), "{error}");
    assert_eq!(fs::read(&segments(folder.path(), LOGS)[0]).expect("read"), before);
}

#[test]
fn a_read_that_fails_skips_nothing_and_works_again_when_the_disk_does() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    for text in ["first", "second", "third"] {
        put(&queue, Signal::Logs, text);
    }
    let path = segments(folder.path(), LOGS).pop().expect("one");
    let whole = fs::read(&path).expect("read");
    let at = memchr::memmem::find(&whole, b"second").expect("there");
    fs::write(&path, &whole[..at]).expect("shortened behind the queue's back");
    assert_eq!(texts(&queue.take(LOGS, 100).expect("what can be read")), ["first"]);
    for _ in 0..2 {
        queue.take(LOGS, 100).expect_err("the file is too short");
    }
    assert!(queue.status().read_error.is_some());
    fs::write(&path, &whole).expect("whole again");
    assert_eq!(texts(&queue.take(LOGS, 100).expect("read")), ["second", "third"]);
    assert_eq!((queue.status().read_error, queue.take_lost(LOGS)), (None, Amount::default()));
}

#[test]
fn a_cursor_torn_while_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    for text in ["a", "b", "c"] {
        put(&queue, Signal::Logs, text);
    }
    let all = queue.take(LOGS, 100).expect("read");
    queue.settle(LOGS, all[0].after());
    queue.settle(LOGS, all[1].after());
    drop(queue);
    let cursor = OpenOptions::new().write(true).open(folder.path().join("logs/cursor")).expect("open");
    cursor.write_all_at(&[0xff; 4], 16).expect("tear the slot of the second write");
    let queue = open(folder.path());
    assert_eq!(texts(&queue.take(LOGS, 100).expect("read")), ["b", "c"]);
}

#[test]
fn a_spool_is_looked_into_while_it_is_used_and_bad_bytes_are_counted() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = open(folder.path());
    for text in ["one", "two", "three"] {
        put(&queue, Signal::Logs, text);
    }
    let first = queue.take(LOGS, 1).expect("read");
    queue.settle(LOGS, first[0].after());
    let seen = || look(folder.path(), |_, _, _| Ok::<_, io::Error>(())).expect("read");
    let found = seen();
    assert_eq!((found.len(), found[0].requests, found[0].waiting, found[0].damaged_bytes), (1, 3, 2, 0));
    let path = &found[0].path;
    let mut bytes = fs::read(path).expect("read");
    bytes.extend_from_slice(b"torn");
    fs::write(path, bytes).expect("written");
    assert_eq!(seen()[0].damaged_bytes, 4);
}

#[test]
fn the_default_cap_is_a_tenth_of_the_free_disk_within_bounds() {
    for (free, expected) in [(0, 64 << 20), (2 << 30, (2u64 << 30) / 10), (1 << 40, 1 << 30)] {
        assert_eq!(bytes_max_default(free), expected);
    }
}
