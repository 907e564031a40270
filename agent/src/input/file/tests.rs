//! The reader alone, on real files and a clock that is driven: every line once, in any order of
//! writes, rotations and restarts.

mod exchange;
mod failures;
mod history;
pub(super) mod many;
mod processed;
mod quiet;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use model::otlp::{self, AnyValue, LogRecordView};
use model::time::SECOND;
use model::{ManualClock, UnixNano};
use proptest::prelude::*;
use tempfile::TempDir;

use super::batch::Range;
use super::start::last_line_end;
use super::tracked::LINE_BYTES_MAX;
use super::*;

/// One folder of logs, an agent's data directory, and a reader that can be restarted.
struct World {
    folder: TempDir,
    data: TempDir,
    clock: Arc<ManualClock>,
    glob: &'static str,
    /// Further keys of the table.
    keys: &'static str,
    tail: FileTail,
}

/// A text read, and the name of the file it was read from.
type Read = (String, String);

impl World {
    fn new(glob: &'static str) -> Self {
        Self::with(glob, "")
    }

    fn with(glob: &'static str, keys: &'static str) -> Self {
        let (folder, data) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
        let clock = ManualClock::at(UnixNano(1_795_000_000 * SECOND));
        let tail = open((&folder, &data), glob, keys, &clock);
        Self { folder, data, clock, glob, keys, tail }
    }

    fn restart(&mut self) {
        self.tail = open((&self.folder, &self.data), self.glob, self.keys, &self.clock);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("open");
        file.write_all(text.as_bytes()).expect("write");
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("rename");
    }

    fn copytruncate(&self, name: &str, copy: &str) {
        fs::copy(self.path(name), self.path(copy)).expect("copy");
        OpenOptions::new().write(true).open(self.path(name)).expect("open").set_len(0).expect("truncate");
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Looks, reads everything, acknowledges it and saves.
    fn read(&mut self) -> Vec<Read> {
        let (read, ranges) = self.read_without_acknowledgement();
        self.tail.acknowledge(&ranges);
        self.tail.save().expect("saved");
        read
    }

    fn read_without_acknowledgement(&mut self) -> (Vec<Read>, Vec<Range>) {
        let (mut read, mut ranges) = (Vec::new(), Vec::new());
        self.tail.reconcile();
        loop {
            let has_read = self.tail.read();
            if let Some(batch) = self.tail.take_batch() {
                read.extend(records(&batch.body));
                ranges.extend(batch.ranges);
            }
            if !has_read {
                // A truncation is noticed by reading; copies of what was truncated are settled by the next look.
                self.tail.reconcile();
                if !self.tail.read() {
                    return (read, ranges);
                }
            }
        }
    }

    fn texts(&mut self) -> Vec<String> {
        self.read().into_iter().map(|(text, _)| text).collect()
    }
}

fn open(folders: (&TempDir, &TempDir), glob: &str, keys: &str, clock: &Arc<ManualClock>) -> FileTail {
    let mut tail = start(folders, glob, keys, clock);
    tail.place(Committed::new());
    tail
}

/// A reader that does not know yet what the collector has.
fn start(folders: (&TempDir, &TempDir), glob: &str, keys: &str, clock: &Arc<ManualClock>) -> FileTail {
    start_with(folders, glob, "1KiB", keys, clock)
}

fn start_with(
    (folder, data): (&TempDir, &TempDir),
    glob: &str,
    batch: &str,
    keys: &str,
    clock: &Arc<ManualClock>,
) -> FileTail {
    let include = folder.path().join(glob).display().to_string();
    let text = format!(
        "[collector]\nbatch = \"{batch}\"\ncompression = \"none\"\n[files.test]\ninclude = ['{include}']\ndialect = 'plain'\nstart_at = 'beginning'\n{keys}"
    );
    let config = Config::parse(&text, "test", |_| None).expect("valid");
    let clock: Arc<dyn model::Clock> = Arc::clone(clock) as _;
    let shared = Shared::new("id".to_owned(), "test".to_owned(), Vec::new(), clock);
    let positions = Positions::in_folder(data.path());
    let saved = positions.load().expect("readable");
    FileTail::new(&config, Vec::new(), positions, saved, shared).expect("globs")
}

fn records(request: &[u8]) -> Vec<Read> {
    let mut found = Vec::new();
    for group in otlp::resources(request).expect("message") {
        for scope in group.expect("whole").scopes() {
            for item in scope.expect("whole").items() {
                let record = LogRecordView::parse(item).expect("record");
                let text = |value: AnyValue<'_>| value.as_str().unwrap_or_default().to_owned();
                let file = otlp::value::find(record.attributes, "log.file.name").expect("a file name");
                found.push((text(record.body), text(file)));
            }
        }
    }
    found
}

#[test]
fn lines_come_once_and_an_unfinished_line_waits_for_its_end() {
    let mut world = World::new("*.log");
    world.append("a.log", "x\nhalf");
    assert_eq!(world.read(), [("x".to_owned(), "a.log".to_owned())]);
    world.append("a.log", " and");
    assert!(world.texts().is_empty());
    world.append("a.log", " half\r\n\n  \nlast\n");
    assert_eq!(world.texts(), ["half and half", "last"]);
    assert!(world.texts().is_empty());
}

#[test]
fn a_file_of_five_bytes_is_read_at_once_and_so_is_an_equal_one() {
    let mut world = World::new("*.log");
    world.append("a.log", "tick\n");
    world.append("b.log", "tick\n");
    assert_eq!(world.texts(), ["tick", "tick"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    world.append("a.log", "2\n");
    world.rename("a.log", "a.log.1");
    world.append("a.log.1", "3\n");
    world.append("a.log", "4\n");
    assert_eq!(world.texts(), ["2", "3", "4"]);
    world.append("a.log.1", "the old one is still written to\n");
    assert_eq!(world.texts(), ["the old one is still written to"]);
}

#[test]
fn a_rotated_file_that_matches_under_its_new_name_is_not_read_again() {
    let mut world = World::new("*.log*");
    world.append("a.log", "1\n2\n");
    assert_eq!(world.texts(), ["1", "2"]);
    world.rename("a.log", "a.log.1");
    world.append("a.log", "3\n");
    assert_eq!(world.texts(), ["3"]);
    world.rename("a.log.1", "a.log.2");
    world.rename("a.log", "a.log.1");
    world.append("a.log", "4\n");
    assert_eq!(world.texts(), ["4"]);
}

#[test]
fn a_rotated_file_is_closed_after_its_grace_with_its_last_line() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\nno end");
    assert_eq!(world.texts(), ["1"]);
    fs::remove_file(world.path("a.log")).expect("remove");
    assert!(world.texts().is_empty());
    world.pass(11);
    assert_eq!(world.texts(), ["no end"]);
    assert!(world.texts().is_empty());
    assert!(world.tail.files.is_empty(), "closed");
}

#[test]
fn a_deleted_file_made_again_under_its_name_is_a_new_file() {
    let mut world = World::new("*.log");
    world.append("a.log", "same\n");
    assert_eq!(world.texts(), ["same"]);
    fs::remove_file(world.path("a.log")).expect("remove");
    world.append("a.log", "same\n");
    assert_eq!(world.texts(), ["same"]);
}

#[test]
fn a_file_made_again_while_no_agent_ran_is_a_new_file_even_on_the_same_inode() {
    let mut world = World::new("*.log");
    world.append("a.log", "same\n");
    assert_eq!(world.texts(), ["same"]);
    world.tail.files.clear();
    fs::remove_file(world.path("a.log")).expect("remove");
    world.append("a.log", "same\n");
    world.restart();
    assert_eq!(world.texts(), ["same"]);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning_even_when_it_has_grown_again() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n2\n");
    assert_eq!(world.texts(), ["1", "2"]);
    fs::write(world.path("a.log"), "3\n").expect("truncate and write");
    assert_eq!(world.texts(), ["3"]);
    fs::write(world.path("a.log"), "four is longer\nfive too\n").expect("truncate and write");
    assert_eq!(world.texts(), ["four is longer", "five too"]);
    assert_eq!(world.tail.shared.truncations.load(Relaxed), 2);
}

#[test]
fn the_copy_of_copytruncate_continues_where_the_original_was_left() {
    let mut world = World::new("*.log*");
    world.append("a.log", "1\n2\n");
    assert_eq!(world.texts(), ["1", "2"]);
    world.append("a.log", "3\n");
    world.copytruncate("a.log", "a.log.1");
    world.append("a.log", "4\n");
    let mut texts = world.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["3", "4"]);
    world.pass(60);
    assert!(world.texts().is_empty());
}

#[test]
fn a_copy_seen_before_the_truncation_waits_and_loses_nothing() {
    let mut world = World::new("*.log*");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    fs::copy(world.path("a.log"), world.path("a.log.1")).expect("copy");
    assert!(world.texts().is_empty());
    let status: Vec<_> = world.tail.status().collect();
    assert!(status.iter().any(|file| file.state == "waiting"), "{status:?}");
    world.append("a.log", "written after the copy\n");
    assert_eq!(world.texts(), ["written after the copy"]);
    fs::write(world.path("a.log"), "").expect("truncate");
    world.append("a.log", "2\n");
    assert_eq!(world.texts(), ["2"]);
    world.pass(60);
    assert!(world.texts().is_empty());
    world.append("a.log.1", "3\n");
    assert_eq!(world.texts(), ["3"], "a copy that somebody writes to is read on");
}

#[test]
fn a_copytruncate_while_no_agent_ran_doubles_nothing() {
    let mut world = World::new("*.log*");
    world.append("a.log", "1\n2\n");
    assert_eq!(world.texts(), ["1", "2"]);
    world.append("a.log", "3\n");
    world.copytruncate("a.log", "a.log.1");
    world.append("a.log", "4\n");
    world.restart();
    let mut texts = world.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["3", "4"]);
}

#[test]
fn a_new_file_with_a_kin_name_and_an_equal_beginning_is_read_when_it_differs() {
    let mut world = World::new("*.log*");
    world.append("a.log", "start\n1\n");
    assert_eq!(world.texts(), ["start", "1"]);
    world.append("a.log.err", "start\nother\n");
    assert_eq!(world.texts(), ["start", "other"]);
}

#[test]
fn a_file_restored_from_a_backup_goes_on_where_it_was_left() {
    let mut world = World::new("*.log");
    let long = "x".repeat(2000);
    world.append("a.log", &format!("{long}\n1\n"));
    assert_eq!(world.texts().len(), 2);
    for is_closed in [false, true] {
        let backup = fs::read(world.path("a.log")).expect("read");
        fs::remove_file(world.path("a.log")).expect("removed");
        if is_closed {
            world.texts();
            world.pass(11);
            world.texts();
            assert!(world.tail.files.is_empty(), "closed");
        }
        fs::write(world.path("a.log"), backup).expect("restored");
        world.append("a.log", "2\n");
        assert_eq!(world.texts(), ["2"]);
        world.pass(400);
        assert!(world.texts().is_empty());
    }
}

#[test]
fn a_container_line_cut_into_two_files_is_one_record_also_after_a_crash_between() {
    let mut world = World::new("*.log*");
    let line = |tag: &str, text: &str| format!("2026-11-24T10:00:00.5Z stdout {tag} {text}\n");
    world.append("0.log", &(line("F", "before") + &line("P", "one ")));
    assert_eq!(world.texts(), ["before"]);
    world.append("0.log", "2026-11-24T10:00:00.5Z stderr F beside\n");
    assert!(world.texts().is_empty(), "in the order of their beginnings");
    world.rename("0.log", "0.log.20261124-100000");
    world.restart();
    world.append("0.log", &(line("P", "two ") + &line("F", "three") + &line("F", "after")));
    assert_eq!(world.texts(), ["one two three", "beside", "after"]);
    world.restart();
    world.pass(400);
    assert!(world.texts().is_empty(), "positions moved over both files");
}

#[test]
fn unacknowledged_lines_are_read_again_after_a_restart() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    world.append("a.log", "2\n");
    let (read, _) = world.read_without_acknowledgement();
    assert_eq!(read.len(), 1);
    world.tail.save().expect("saved");
    world.restart();
    assert_eq!(world.texts(), ["2"]);
}

#[test]
fn a_file_renamed_out_of_the_globs_while_no_agent_ran_is_read_to_its_end() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    world.append("a.log", "2\n");
    world.rename("a.log", "a.log.1");
    world.append("a.log", "3\n");
    world.restart();
    let mut read = world.read();
    read.sort_unstable();
    assert_eq!(read, [("2".to_owned(), "a.log".to_owned()), ("3".to_owned(), "a.log".to_owned())]);
}

#[test]
fn acknowledgements_of_an_older_generation_do_not_move_the_newer_one() {
    let mut world = World::new("*.log");
    world.append("a.log", "1 long enough\n");
    let (_, old) = world.read_without_acknowledgement();
    fs::write(world.path("a.log"), "2\n").expect("truncate and write");
    let (read, _) = world.read_without_acknowledgement();
    assert_eq!(read[0].0, "2");
    world.tail.acknowledge(&old);
    world.tail.save().expect("saved");
    world.restart();
    assert_eq!(world.texts(), ["2"]);
}

#[test]
fn a_line_beyond_the_limit_comes_in_pieces_between_characters() {
    let mut world = World::new("*.log");
    let long = format!("{}{}", "x".repeat(LINE_BYTES_MAX - 1), "é".repeat(10));
    world.append("a.log", &format!("{long}\nnext\n"));
    let texts = world.texts();
    assert_eq!(texts.len(), 3);
    assert_eq!(texts[0].len(), LINE_BYTES_MAX - 1);
    assert_eq!(format!("{}{}", texts[0], texts[1]), long);
    assert_eq!(texts[2], "next");
}

#[test]
fn at_the_end_means_behind_the_last_whole_line() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.log");
    for (text, offset) in [("one\ntwo\nthr", 8), ("one\n", 4), ("", 0), ("one", 0)] {
        fs::write(&path, text).expect("write");
        let file = File::open(&path).expect("open");
        assert_eq!(last_line_end(&file, text.len() as u64).expect("read"), offset, "{text:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Rename,
    CopyTruncate,
    Recreate,
    Restart,
    Read,
    Pass,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1usize..60).prop_map(Step::Append),
        1 => Just(Step::Rename),
        1 => Just(Step::CopyTruncate),
        1 => Just(Step::Recreate),
        1 => Just(Step::Restart),
        3 => Just(Step::Read),
        1 => Just(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Lines are numbered and of differing length. A copy is read out before the next one overwrites its
    /// name, and a file is read before it is deleted: what no reader could know is not asked for.
    #[test]
    fn every_line_comes_exactly_once(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new("*.log*");
        let (mut written, mut rotations) = (0usize, 0usize);
        let mut seen = BTreeMap::new();
        let mut note = |texts: Vec<String>| {
            for text in texts {
                let number: usize = text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
                *seen.entry(number).or_insert(0) += 1;
            }
        };
        world.append("a.log", "");
        for step in steps {
            match step {
                Step::Append(length) => {
                    world.append("a.log", &format!("{written} {}\n", "x".repeat(length)));
                    written += 1;
                }
                Step::Rename => {
                    rotations += 1;
                    world.rename("a.log", &format!("a.log.{rotations}"));
                    world.append("a.log", "");
                }
                Step::CopyTruncate => {
                    rotations += 1;
                    // Names that were never used: kin of the original.
                    world.copytruncate("a.log", &format!("a.log.{rotations}"));
                    note(world.texts());
                }
                Step::Recreate => {
                    note(world.texts());
                    // What stands behind a file that may be a copy is read once that is known.
                    world.pass(3);
                    note(world.texts());
                    fs::remove_file(world.path("a.log")).expect("remove");
                    world.append("a.log", "");
                }
                Step::Restart => world.restart(),
                Step::Read => note(world.texts()),
                Step::Pass => world.pass(3),
            }
        }
        for _ in 0..3 {
            note(world.texts());
            world.pass(400);
        }
        let expected: BTreeMap<usize, i32> = (0..written).map(|number| (number, 1)).collect();
        prop_assert_eq!(seen, expected);
    }
}
