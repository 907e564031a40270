//! The spool across restarts, torn ends, bad bytes and its cap.

use super::*;

fn request(signal: Signal, items: u32, text: &str) -> Spooled {
    Spooled {
        number: 0,
        signal,
        encoding: Encoding::Protobuf,
        items,
        raw_bytes: text.len(),
        time: UnixNano(7),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn texts(group: &[Spooled]) -> Vec<&str> {
    group.iter().map(|spooled| std::str::from_utf8(&spooled.payload).expect("text")).collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| segment::is_name(path))
        .collect();
    paths.sort();
    paths
}

#[test]
fn neighbours_of_one_signal_are_taken_together_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open");
    for (signal, text) in [
        (Signal::Logs, "a"),
        (Signal::Logs, "b"),
        (Signal::Traces, "c"),
        (Signal::Logs, "dd"),
        (Signal::Logs, "e"),
    ] {
        queue.append(&request(signal, 1, text)).expect("room");
    }
    assert_eq!(texts(&queue.take(100).expect("read")), ["a", "b"]);
    assert_eq!(texts(&queue.take(100).expect("read")), ["c"]);
    assert_eq!(texts(&queue.take(2).expect("read")), ["dd"], "the limit in bytes");
    assert_eq!(texts(&queue.take(2).expect("read")), ["e"]);
    assert!(queue.take(2).expect("read").is_empty());
}

#[test]
fn what_is_not_acknowledged_comes_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open");
    for text in ["a", "b", "c"] {
        queue.append(&request(Signal::Metrics, 5, text)).expect("room");
    }
    queue.take(1).expect("read");
    queue.acknowledge(1);
    drop(queue);
    let queue = Queue::open(folder.path(), 1 << 20).expect("open again");
    assert_eq!(queue.recovered()[Signal::Metrics.index()], 10);
    assert_eq!(texts(&queue.take(100).expect("read")), ["b", "c"]);
    assert_eq!(queue.append(&request(Signal::Metrics, 1, "d")).expect("room"), 4);
    assert_eq!(queue.status().requests, 3);
}

#[test]
fn a_full_spool_refuses_and_takes_again_when_it_is_emptied() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open");
    let text = "x".repeat(100 << 10);
    let mut accepted = 0;
    let error = loop {
        match queue.append(&request(Signal::Logs, 1, &text)) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, QueueError::Full { .. }), "{error}");
    assert!((5..=10).contains(&accepted), "{accepted}");
    let mut taken = 0;
    loop {
        let group = queue.take(1).expect("read");
        let Some(last) = group.last() else { break };
        taken += group.len();
        queue.acknowledge(last.number);
    }
    assert_eq!(taken, accepted);
    queue.append(&request(Signal::Logs, 1, &text)).expect("room again");
    assert_eq!(texts(&queue.take(1).expect("read")), [text.as_str()]);
    assert!(queue.status().bytes < 250 << 10, "acknowledged segments are deleted");
}

#[test]
fn a_torn_end_is_cut_off_and_numbers_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open");
    queue.append(&request(Signal::Logs, 1, "whole")).expect("room");
    queue.append(&request(Signal::Logs, 1, "torn")).expect("room");
    drop(queue);
    let path = segments(folder.path()).pop().expect("one");
    let len = fs::metadata(&path).expect("there").len();
    OpenOptions::new().write(true).open(&path).expect("open").set_len(len - 3).expect("tear");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open again");
    queue.append(&request(Signal::Logs, 1, "next")).expect("room");
    assert_eq!(texts(&queue.take(100).expect("read")), ["whole"]);
    assert_eq!(texts(&queue.take(100).expect("read")), ["next"], "another run, another stream");
    let stream = |number| queue.stream_of(number).expect("there");
    assert!(stream(1) != stream(2), "the number that was torn off was another request's");
}

#[test]
fn bad_bytes_cost_only_the_request_they_hit() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open");
    for text in ["first", "second", "third"] {
        queue.append(&request(Signal::Logs, 1, text)).expect("room");
    }
    let path = segments(folder.path()).pop().expect("one");
    let mut bytes = fs::read(&path).expect("read");
    let at = memchr::memmem::find(&bytes, b"second").expect("there");
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("damage");
    assert_eq!(texts(&queue.take(100).expect("read")), ["first", "third"]);
    assert_eq!(queue.take_lost(), [(Signal::Logs, 1)]);
}

#[test]
fn a_read_that_fails_skips_nothing_and_works_again_when_the_disk_does() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open");
    for text in ["first", "second", "third"] {
        queue.append(&request(Signal::Logs, 1, text)).expect("room");
    }
    let path = segments(folder.path()).pop().expect("one");
    let whole = fs::read(&path).expect("read");
    let at = memchr::memmem::find(&whole, b"second").expect("there");
    fs::write(&path, &whole[..at]).expect("shortened behind the queue's back");
    assert_eq!(texts(&queue.take(100).expect("what can be read")), ["first"]);
    for _ in 0..2 {
        queue.take(100).expect_err("the file is too short");
    }
    assert!(queue.status().read_error.is_some());
    fs::write(&path, &whole).expect("whole again");
    assert_eq!(texts(&queue.take(100).expect("read")), ["second", "third"]);
    assert_eq!((queue.status().read_error, queue.take_lost()), (None, Vec::new()));
}

#[test]
fn a_cursor_torn_while_written_leaves_the_one_before() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open");
    for text in ["a", "b", "c"] {
        queue.append(&request(Signal::Logs, 1, text)).expect("room");
    }
    queue.acknowledge(1);
    queue.acknowledge(2);
    drop(queue);
    let cursor = OpenOptions::new().write(true).open(folder.path().join("cursor")).expect("open");
    cursor.write_all_at(&[0xff; 4], 16).expect("tear the slot of the second write");
    let queue = Queue::open(folder.path(), 1 << 20).expect("open again");
    assert_eq!(texts(&queue.take(100).expect("read")), ["b", "c"]);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_searched_without_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        proptest::prop_assert!(find_record(&bytes, 0).is_none());
        let record = segment::encode(9, &request(Signal::Logs, 1, "good"));
        bytes.extend_from_slice(&record);
        proptest::prop_assert_eq!(find_record(&bytes, 0).map(|found| found.spooled.number), Some(9));
    }
}
