//! Random histories of log files against the real reader: writers, rotations, crashes and lost answers in any order, on
//! real files, with a store that keeps positions as the collector does.
//!
//! ```text
//! steps ─► files on disk ─► FileTail ─► batches in flight ─► store: rows and committed positions
//!   └────► what must be there: each line once, whole, in the order of its stream
//! ```
//!
//! Allowed are only losses and repetitions that no reader could avoid, and each is derived from the history:
//! lines of a file that was deleted while nobody held it, and copies made of files that an agent without
//! its state has never met. `SILMARI_FILE_CASES` sets the number of histories.

mod failed;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::batch::Batch;
use super::super::identity::FileStat;
use super::*;
use crate::export::session::Committed;

/// Histories of `make test`.
const CASES: u32 = 150;
/// The streams: two files that are rotated, and a symbolic link that is switched.
const STREAMS: [&str; 3] = ["a.log", "b.log", "cur.log"];
const LINK: usize = 2;
/// What files of both rotated streams may begin with.
const BANNER_BYTES: usize = 300;

#[derive(Clone, Debug)]
enum Step {
    /// Whole lines, then perhaps half of one.
    Write {
        stream: usize,
        lines: usize,
        length: usize,
        is_cut: bool,
    },
    /// A line longer than a whole head.
    WriteLong {
        stream: usize,
    },
    Rename {
        stream: usize,
    },
    CopyTruncate {
        stream: usize,
    },
    /// Truncated without a copy, once read, and written to at once: smaller, as large, or larger than before.
    Overwrite {
        stream: usize,
        lines: usize,
    },
    Recreate {
        stream: usize,
        has_banner: bool,
    },
    SwitchLink,
    /// Compresses the oldest plain rotated file; a slow one is seen half written.
    Compress {
        stream: usize,
        is_slow: bool,
    },
    /// Removes the oldest rotated file.
    Prune {
        stream: usize,
    },
    /// A rotated file is deleted and comes back from a backup with another inode.
    Restore {
        stream: usize,
        keeps_times: bool,
    },
    /// Two files of their own with the same head, one named like a rotated `a.log`.
    Twins {
        head: usize,
    },
    Look,
    Read,
    Deliver {
        batches: usize,
    },
    /// The store takes a batch, and its answer never arrives.
    LoseAnswer,
    Save,
    /// `kill -9`; the agent starts again with the next step that needs it.
    Crash {
        loses_state: bool,
    },
    Stop,
    Pass {
        seconds: u64,
    },
    Jump {
        seconds: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0usize..2;
    prop_oneof![
        8 => (0usize..3, 0usize..6, prop_oneof![Just(0usize), 1usize..80], any::<bool>())
            .prop_map(|(stream, lines, length, is_cut)| Step::Write { stream, lines, length, is_cut }),
        2 => (0usize..3).prop_map(|stream| Step::WriteLong { stream }),
        3 => stream.clone().prop_map(|stream| Step::Rename { stream }),
        2 => stream.clone().prop_map(|stream| Step::CopyTruncate { stream }),
        1 => (stream.clone(), 1usize..6).prop_map(|(stream, lines)| Step::Overwrite { stream, lines }),
        2 => (stream.clone(), any::<bool>())
            .prop_map(|(stream, has_banner)| Step::Recreate { stream, has_banner }),
        2 => Just(Step::SwitchLink),
        3 => (stream.clone(), any::<bool>()).prop_map(|(stream, is_slow)| Step::Compress { stream, is_slow }),
        1 => stream.clone().prop_map(|stream| Step::Prune { stream }),
        1 => (stream, any::<bool>())
            .prop_map(|(stream, keeps_times)| Step::Restore { stream, keeps_times }),
        1 => prop_oneof![Just(20usize), Just(2000)].prop_map(|head| Step::Twins { head }),
        2 => Just(Step::Look),
        7 => Just(Step::Read),
        6 => (1usize..4).prop_map(|batches| Step::Deliver { batches }),
        2 => Just(Step::LoseAnswer),
        1 => Just(Step::Save),
        3 => prop_oneof![9 => Just(false), 1 => Just(true)].prop_map(|loses_state| Step::Crash { loses_state }),
        1 => Just(Step::Stop),
        3 => (1u64..20).prop_map(|seconds| Step::Pass { seconds }),
        1 => (-100_000i64..100_000).prop_map(|seconds| Step::Jump { seconds }),
    ]
}

/// The collector's part: rows, and the positions that are committed with them.
#[derive(Debug, Default)]
struct Store {
    committed: Committed,
    rows: Vec<String>,
    duplicates: u64,
}

impl Store {
    /// Takes a batch as `docs/formats/positions.md` says.
    fn take(&mut self, batch: &Batch) -> Result<(), String> {
        let mut texts = records(&batch.body).into_iter().map(|(text, _)| text);
        let mut kept = Vec::new();
        let mut moved = Committed::new();
        for range in batch.positions() {
            let texts: Vec<String> = texts.by_ref().take(range.records as usize).collect();
            assert_eq!(texts.len() as u64, range.records, "records without a range");
            let at = moved.get(&range.stream).or_else(|| self.committed.get(&range.stream)).copied();
            match at {
                Some(at) if range.end <= at => self.duplicates += 1,
                Some(at) if at != range.start => return Err(format!("{range:?} although it stands at {at}")),
                _ => {
                    kept.extend(texts);
                    moved.insert(range.stream, range.end);
                }
            }
        }
        assert_eq!(texts.next(), None, "more records than the ranges hold");
        self.committed.extend(moved);
        self.rows.extend(kept);
        Ok(())
    }
}

/// One file, by whatever name.
#[derive(Debug)]
struct OnDisk {
    name: Option<String>,
    lines: Vec<String>,
    /// It holds lines that another file held first.
    is_copy: bool,
    /// It was truncated: without the agent's state nothing tells its lines from those before.
    was_truncated: bool,
    stream: usize,
}

#[derive(Debug)]
struct Writer {
    next: usize,
    /// Text of a line, and how much of it is written.
    cut: Option<(String, usize)>,
    handle: Option<File>,
    /// The file behind the handle.
    file: usize,
    /// Nothing happened that may change the order in which lines arrive.
    is_ordered: bool,
    targets: usize,
}

struct Machine {
    folder: TempDir,
    data: TempDir,
    clock: Arc<ManualClock>,
    glob: &'static str,
    agent: Option<FileTail>,
    starts: usize,
    flight: VecDeque<Batch>,
    store: Store,
    writers: Vec<Writer>,
    files: Vec<OnDisk>,
    /// Deleted files that the agent may hold open.
    held: Vec<usize>,
    /// A compressed file of which half is written: its file, its source, all its bytes.
    compressing: Option<(usize, usize, Vec<u8>)>,
    /// How often each line may be among the rows: at least, at most.
    expected: BTreeMap<String, (usize, usize)>,
    twins: usize,
    /// The agent lost its state.
    has_lost_memory: bool,
    /// Identities that files had.
    keys: HashSet<FileKey>,
}

impl Machine {
    fn new(glob: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let data = tempfile::tempdir().expect("folder");
        // Before the times of any file, so that none of them counts as over.
        let clock = ManualClock::at(UnixNano(1_000_000_000 * SECOND));
        let writer = |_| Writer { next: 0, cut: None, handle: None, file: 0, is_ordered: true, targets: 0 };
        Self {
            folder,
            data,
            clock,
            glob,
            agent: None,
            starts: 0,
            flight: VecDeque::new(),
            store: Store::default(),
            writers: STREAMS.iter().map(writer).collect(),
            files: Vec::new(),
            held: Vec::new(),
            compressing: None,
            expected: BTreeMap::new(),
            twins: 0,
            has_lost_memory: false,
            keys: HashSet::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn matches_rotated(&self) -> bool {
        self.glob == "*.log*"
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Write { stream, lines, length, is_cut } => self.write(stream, lines, length, is_cut),
            Step::WriteLong { stream } => self.write(stream, 1, 1500, false),
            Step::Rename { stream } => self.rename(stream),
            Step::CopyTruncate { stream } => self.copytruncate(stream),
            Step::Overwrite { stream, lines } => self.overwrite(stream, lines),
            Step::Recreate { stream, has_banner } => self.recreate(stream, has_banner),
            Step::SwitchLink => self.switch_link(),
            Step::Compress { stream, is_slow } => self.compress(stream, is_slow),
            Step::Prune { stream } => self.prune(stream),
            Step::Restore { stream, keeps_times } => self.restore(stream, keeps_times),
            Step::Twins { head } => self.twins(head),
            Step::Look => self.agent().reconcile(),
            Step::Read => self.read(),
            Step::Deliver { batches } => self.deliver(batches),
            Step::LoseAnswer => self.lose_answer(),
            Step::Save => self.agent().save().expect("saved"),
            Step::Crash { loses_state } => self.crash(loses_state),
            Step::Stop => self.stop(),
            Step::Pass { seconds } => self.clock.advance(Duration::from_secs(seconds)),
            Step::Jump { seconds } => self.clock.jump(seconds * SECOND),
        }
    }

    /// A new file. A filesystem may give an inode to the next file within one tick of its clock, or keep no births:
    /// then both have one identity, and no reader tells them apart while their first bytes agree. Such a file is
    /// made once more, while the first one holds the inode.
    fn create(&mut self, name: &str) -> File {
        let path = self.path(name);
        let newest = self.newest_write();
        let mut held = Vec::new();
        loop {
            let file = OpenOptions::new().create_new(true).append(true).open(&path).expect("created");
            let is_later = birth(&file).is_none_or(|born| newest.is_none_or(|written| born > written));
            if is_later && self.keys.insert(FileStat::of(&file).expect("there").key) {
                return file;
            }
            if !is_later {
                fs::remove_file(&path).expect("deleted");
                continue;
            }
            fs::remove_file(&path).expect("deleted");
            held.push(file);
        }
    }

    /// Without its state, an agent tells by times alone which compressed file beside a missing one is older: when the
    /// last of the others was written, where that matters.
    fn newest_write(&self) -> Option<i64> {
        if self.matches_rotated() {
            return None;
        }
        let entries = fs::read_dir(self.folder.path()).expect("listed").flatten();
        entries.filter_map(|entry| FileStat::at(&entry.path()).ok()).map(|stat| stat.modified).max()
    }

    // The writers.

    /// Opens the stream's file, if its name is not the one written to.
    fn reopen(&mut self, stream: usize) {
        let name = if stream == LINK {
            format!("cur.{}", self.writers[stream].targets)
        } else {
            STREAMS[stream].to_owned()
        };
        let writer = &self.writers[stream];
        if writer.handle.is_some() && self.files[writer.file].name.as_ref() == Some(&name) {
            return;
        }
        self.finish_line(stream);
        let handle = self.create(&name);
        if stream == LINK {
            std::os::unix::fs::symlink(self.path(&name), self.path(STREAMS[LINK])).expect("linked");
        }
        self.begin(stream, name, handle);
    }

    /// A file that the stream is written to from now on.
    fn begin(&mut self, stream: usize, name: String, handle: File) {
        self.files.push(OnDisk {
            name: Some(name),
            lines: Vec::new(),
            is_copy: false,
            was_truncated: false,
            stream,
        });
        (self.writers[stream].handle, self.writers[stream].file) = (Some(handle), self.files.len() - 1);
    }

    fn put(&self, stream: usize, bytes: &[u8]) {
        self.writers[stream].handle.as_ref().expect("open").write_all(bytes).expect("written");
    }

    fn expect_line(&mut self, text: &str) {
        let (least, most) = self.expected.entry(text.to_owned()).or_default();
        (*least, *most) = (*least + 1, *most + 1);
    }

    /// A line is whole in a file.
    fn note_line(&mut self, file: usize, text: String) {
        self.expect_line(&text);
        self.files[file].lines.push(text);
    }

    fn finish_line(&mut self, stream: usize) {
        if let Some((text, written)) = self.writers[stream].cut.take() {
            self.put(stream, format!("{}\n", &text[written..]).as_bytes());
            let file = self.writers[stream].file;
            self.note_line(file, text);
        }
    }

    fn write(&mut self, stream: usize, lines: usize, length: usize, is_cut: bool) {
        self.finish_line(stream);
        self.reopen(stream);
        for at in 0..=lines {
            if at == lines && !is_cut {
                break;
            }
            let number = self.writers[stream].next;
            self.writers[stream].next += 1;
            let letter = char::from(b'a' + stream as u8);
            let text = format!("{letter}{number:03}{}", "x".repeat(length));
            if at == lines {
                let written = text.len() / 2;
                self.put(stream, &text.as_bytes()[..written]);
                self.writers[stream].cut = Some((text, written));
            } else {
                self.put(stream, format!("{text}\n").as_bytes());
                let file = self.writers[stream].file;
                self.note_line(file, text);
            }
        }
    }

    // What happens to files.

    /// Where only known files are found again, the agent has to know them before they change their names.
    fn be_known(&mut self) {
        if self.agent.is_none() || !self.matches_rotated() {
            self.agent().reconcile();
            self.agent().save().expect("saved");
        }
    }

    /// `a.log.1` becomes `a.log.2`, and so on; the names of a stream's rotated files, the newest first.
    fn shift(&mut self, stream: usize) {
        self.finish_compressing();
        let mut rotated: Vec<usize> = self.rotated(stream);
        rotated.reverse();
        for file in rotated {
            let old = self.files[file].name.clone().expect("named");
            let (number, ending) = number_of(&old, STREAMS[stream]).expect("rotated");
            let new = format!("{}.{}{ending}", STREAMS[stream], number + 1);
            fs::rename(self.path(&old), self.path(&new)).expect("renamed");
            self.files[file].name = Some(new);
        }
    }

    /// The rotated files of a stream, the newest first.
    fn rotated(&self, stream: usize) -> Vec<usize> {
        let number = |file: &usize| {
            let name = self.files[*file].name.as_deref()?;
            number_of(name, STREAMS[stream]).map(|(number, _)| number)
        };
        let mut all: Vec<usize> = (0..self.files.len()).filter(|file| number(file).is_some()).collect();
        all.sort_by_key(number);
        all
    }

    fn rename(&mut self, stream: usize) {
        self.reopen(stream);
        if !self.matches_rotated() {
            self.be_known();
        }
        self.shift(stream);
        let (old, new) = (STREAMS[stream], format!("{}.1", STREAMS[stream]));
        fs::rename(self.path(old), self.path(&new)).expect("renamed");
        let file = self.writers[stream].file;
        self.files[file].name = Some(new);
    }

    fn copytruncate(&mut self, stream: usize) {
        if !self.matches_rotated() {
            return;
        }
        self.finish_line(stream);
        self.reopen(stream);
        self.shift(stream);
        let (old, new) = (STREAMS[stream], format!("{}.1", STREAMS[stream]));
        self.create(&new);
        fs::copy(self.path(old), self.path(&new)).expect("copied");
        let file = self.writers[stream].file;
        let lines = std::mem::take(&mut self.files[file].lines);
        self.files.push(OnDisk { name: Some(new), lines, is_copy: true, was_truncated: false, stream });
        self.writers[stream].handle.as_ref().expect("open").set_len(0).expect("truncated");
        self.files[file].was_truncated = true;
        self.may_repeat_without_memory();
        self.writers[stream].is_ordered = false;
    }

    fn overwrite(&mut self, stream: usize, lines: usize) {
        self.finish_line(stream);
        self.reopen(stream);
        self.settle();
        self.writers[stream].handle.as_ref().expect("open").set_len(0).expect("truncated");
        let file = self.writers[stream].file;
        self.files[file].lines.clear();
        self.files[file].was_truncated = true;
        self.write(stream, lines, 30, false);
    }

    fn recreate(&mut self, stream: usize, has_banner: bool) {
        self.finish_line(stream);
        self.reopen(stream);
        let file = self.writers[stream].file;
        self.delete(file);
        self.writers[stream].handle = None;
        self.reopen(stream);
        if has_banner {
            let text = "=".repeat(BANNER_BYTES);
            self.put(stream, format!("{text}\n").as_bytes());
            let file = self.writers[stream].file;
            self.note_line(file, text);
            // Files that are equal as a whole are told apart by nobody.
            self.write(stream, 1, 0, false);
        }
    }

    fn switch_link(&mut self) {
        self.finish_line(LINK);
        self.reopen(LINK);
        // An agent that never saw a target cannot know of it afterwards.
        self.agent().reconcile();
        self.agent().save().expect("saved");
        self.writers[LINK].targets += 1;
        let target = format!("cur.{}", self.writers[LINK].targets);
        let handle = self.create(&target);
        std::os::unix::fs::symlink(self.path(&target), self.path("new-link")).expect("linked");
        fs::rename(self.path("new-link"), self.path(STREAMS[LINK])).expect("switched");
        self.begin(LINK, target, handle);
    }

    fn compress(&mut self, stream: usize, is_slow: bool) {
        self.finish_compressing();
        let writing: Vec<usize> =
            self.writers.iter().filter(|writer| writer.cut.is_some()).map(|writer| writer.file).collect();
        let plain = |file: &usize| {
            !self.files[*file].name.as_ref().is_some_and(|name| name.ends_with(".gz"))
                && !writing.contains(file)
        };
        let Some(source) = self.rotated(stream).into_iter().rev().find(plain) else { return };
        let name = self.files[source].name.clone().expect("named");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(self.path(&name)).expect("read")).expect("compressed");
        let bytes = encoder.finish().expect("compressed");
        let packed = format!("{name}.gz");
        self.create(&packed).write_all(&bytes[..bytes.len() / 2]).expect("written");
        let lines = self.files[source].lines.clone();
        self.files.push(OnDisk { name: Some(packed), lines, is_copy: true, was_truncated: false, stream });
        self.may_repeat_without_memory();
        self.compressing = Some((self.files.len() - 1, source, bytes));
        self.writers[stream].is_ordered = false;
        if !is_slow {
            self.finish_compressing();
        }
    }

    fn finish_compressing(&mut self) {
        let Some((packed, source, bytes)) = self.compressing.take() else { return };
        let path = self.path(self.files[packed].name.as_ref().expect("named"));
        let mut file = OpenOptions::new().append(true).open(path).expect("opened");
        file.write_all(&bytes[bytes.len() / 2..]).expect("written");
        // As `gzip` and `logrotate` do.
        let source_path = self.path(self.files[source].name.as_ref().expect("named"));
        let modified = fs::metadata(source_path).expect("there").modified().expect("known");
        file.set_modified(modified).expect("set");
        self.delete(source);
    }

    fn prune(&mut self, stream: usize) {
        self.finish_compressing();
        let writing: Vec<usize> = self.writers.iter().map(|writer| writer.file).collect();
        if let Some(oldest) = self.rotated(stream).into_iter().rev().find(|file| !writing.contains(file)) {
            self.delete(oldest);
        }
    }

    /// Deletes a file; an agent at work has seen it before.
    fn delete(&mut self, file: usize) {
        if let Some(agent) = &mut self.agent {
            agent.reconcile();
        }
        let name = self.files[file].name.take().expect("named");
        fs::remove_file(self.path(&name)).expect("deleted");
        let is_compressed = name.ends_with(".gz");
        if self.agent.is_some() && !is_compressed {
            self.held.push(file);
        } else {
            self.give_up(file);
        }
    }

    /// Nobody can read a file any more: its lines may be lost, if no other file has them.
    fn give_up(&mut self, file: usize) {
        for line in self.files[file].lines.clone() {
            let is_elsewhere = !line.starts_with('=')
                && self.files.iter().any(|other| other.name.is_some() && other.lines.contains(&line));
            let rows = self.store.rows.iter().filter(|row| **row == line).count();
            if let Some((least, _)) = self.expected.get_mut(&line)
                && !is_elsewhere
                && rows < *least
            {
                *least -= 1;
            }
        }
    }

    fn restore(&mut self, stream: usize, keeps_times: bool) {
        self.finish_compressing();
        let writing: Vec<usize> = self.writers.iter().map(|writer| writer.file).collect();
        let plain = |file: &usize| {
            !self.files[*file].name.as_ref().is_some_and(|name| name.ends_with(".gz"))
                && !writing.contains(file)
        };
        let Some(file) = self.rotated(stream).into_iter().find(plain) else { return };
        self.writers[stream].is_ordered = false;
        if !self.matches_rotated() {
            return;
        }
        if let Some(agent) = &mut self.agent {
            agent.reconcile();
        }
        let name = self.files[file].name.clone().expect("named");
        let path = self.path(&name);
        let bytes = fs::read(&path).expect("read");
        let holder = File::open(&path).expect("held, so that its inode is not given again");
        let modified = FileStat::of(&holder).expect("there").modified;
        fs::remove_file(&path).expect("deleted");
        if self.agent.is_some() {
            self.agent().reconcile();
        }
        let mut restored = self.create(&name);
        // A backup is older than the tick of the clock in which it is restored.
        while keeps_times && birth(&restored).is_some_and(|born| born <= modified) {
            fs::remove_file(&path).expect("deleted");
            restored = self.create(&name);
        }
        restored.write_all(&bytes).expect("restored");
        if keeps_times {
            let since_epoch = Duration::from_nanos(modified.unsigned_abs());
            restored.set_modified(SystemTime::UNIX_EPOCH + since_epoch).expect("set");
        }
        // Not enough evidence, or nobody left who had any: as good as a file written anew.
        let is_short = bytes.len() < 1024 && (!keeps_times || birth(&restored).is_none());
        if is_short || self.is_without_memory() {
            self.may_repeat(file);
        }
        self.files[file].is_copy = true;
    }

    /// The newest file is a copy that was made before the agent could meet its original again.
    fn may_repeat_without_memory(&mut self) {
        if self.is_without_memory() {
            self.may_repeat(self.files.len() - 1);
        }
    }

    /// The agent lost its state and nothing was saved since: an agent at work saves ten times a second.
    fn is_without_memory(&self) -> bool {
        self.has_lost_memory && !self.data.path().join("positions.json").exists()
    }

    fn may_repeat(&mut self, file: usize) {
        for line in self.files[file].lines.clone() {
            if let Some((_, most)) = self.expected.get_mut(&line) {
                *most += 1;
            }
        }
    }

    fn twins(&mut self, head: usize) {
        self.twins += 1;
        let common = format!("{}{}", self.twins, "h".repeat(head));
        for name in [format!("t{}.log", self.twins), format!("a.log.twin{}", self.twins)] {
            let own = format!("t{name}");
            let text = format!("{common}\n{own}\n");
            self.create(&name).write_all(text.as_bytes()).expect("written");
            if name.starts_with('t') || self.matches_rotated() {
                self.expect_line(&common);
                self.expect_line(&own);
            }
        }
    }

    // The agent.

    fn agent(&mut self) -> &mut FileTail {
        if self.agent.is_none() {
            if self.is_without_memory() {
                self.give_up_truncated();
            }
            self.starts += 1;
            let mut tail = start((&self.folder, &self.data), self.glob, "", &self.clock);
            if self.starts.is_multiple_of(2) {
                // The collector answers late.
                tail.reconcile();
            }
            tail.place(self.store.committed.clone());
            tail.reconcile();
            self.agent = Some(tail);
        }
        self.agent.as_mut().expect("just started")
    }

    fn read(&mut self) {
        self.agent().reconcile();
        while self.flight.len() < crate::input::BATCHES_MAX {
            let agent = self.agent();
            let has_read = agent.read();
            let batch = agent.take_batch();
            let is_idle = !has_read && batch.is_none();
            self.flight.extend(batch);
            if is_idle {
                return;
            }
        }
    }

    fn deliver(&mut self, batches: usize) {
        self.agent();
        for _ in 0..batches {
            let Some(batch) = self.flight.pop_front() else { return };
            if let Err(gap) = self.store.take(&batch) {
                panic!("a gap: {gap}");
            }
            self.agent().acknowledge(&batch.ranges);
        }
    }

    fn lose_answer(&mut self) {
        if let Some(batch) = self.flight.front()
            && let Err(gap) = self.store.take(batch)
        {
            panic!("a gap: {gap}");
        }
    }

    fn crash(&mut self, loses_state: bool) {
        self.agent = None;
        self.flight.clear();
        self.forgive_banners();
        for file in std::mem::take(&mut self.held) {
            self.give_up(file);
        }
        if loses_state {
            // Where they stand nobody looks any more.
            (0..3).for_each(|stream| self.finish_line(stream));
            fs::remove_file(self.data.path().join("positions.json")).unwrap_or_default();
            self.has_lost_memory = true;
            let copies: Vec<usize> = (0..self.files.len()).filter(|file| self.files[*file].is_copy).collect();
            copies.into_iter().for_each(|file| self.may_repeat(file));
            self.writers.iter_mut().for_each(|writer| writer.is_ordered = false);
            // Files that only the state knew where to look for.
            let mut hidden: Vec<usize> = Vec::new();
            if !self.matches_rotated() {
                hidden.extend((0..2).flat_map(|stream| self.rotated(stream)));
            }
            let current = format!("cur.{}", self.writers[LINK].targets);
            let is_old = |file: &OnDisk| file.stream == LINK && file.name.as_ref() != Some(&current);
            hidden.extend((0..self.files.len()).filter(|file| is_old(&self.files[*file])));
            self.give_up_hidden(&hidden);
        }
    }

    /// Of a file that was last saved right behind its banner nothing else is known: another one of its stream that begins
    /// with the same banner is taken for its copy, once it is gone.
    fn forgive_banners(&mut self) {
        let saved = Positions::in_folder(self.data.path()).load().expect("readable");
        let behind = saved.files.iter().filter(|file| file.seen.offset == BANNER_BYTES as u64 + 1).count();
        if let Some((least, _)) = self.expected.get_mut(&"=".repeat(BANNER_BYTES)) {
            *least = least.saturating_sub(behind);
        }
    }

    /// Without its state, the agent has the collector's position of a file, which may be of what stood there before a
    /// truncation; what was compressed or copied since is known by that file, while it is there.
    fn give_up_truncated(&mut self) {
        let is_there = |file: &&OnDisk| file.name.is_some() && !file.lines.is_empty();
        let truncated = || self.files.iter().filter(|file| file.was_truncated).filter(is_there);
        let is_same = |copy: &OnDisk| copy.is_copy && truncated().any(|file| file.lines == copy.lines);
        let is_hidden = |file: &OnDisk| file.was_truncated || is_same(file);
        let is_hidden = |file: &OnDisk| is_there(&file) && is_hidden(file);
        let hidden: Vec<usize> = (0..self.files.len()).filter(|file| is_hidden(&self.files[*file])).collect();
        self.give_up_hidden(&hidden);
    }

    /// Files that have names, but none that the agent looks at.
    fn give_up_hidden(&mut self, hidden: &[usize]) {
        let names: Vec<_> = hidden.iter().map(|file| self.files[*file].name.take()).collect();
        hidden.iter().for_each(|file| self.give_up(*file));
        for (file, name) in hidden.iter().zip(names) {
            self.files[*file].name = name;
        }
    }

    /// Reads, delivers and waits until nothing moves.
    fn settle(&mut self) {
        for pass in 0..60 {
            let before = (self.store.rows.len(), self.store.duplicates);
            self.read();
            let had_batches = !self.flight.is_empty();
            self.deliver(usize::MAX);
            if !had_batches && before == (self.store.rows.len(), self.store.duplicates) && pass > 2 {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
        }
    }

    fn stop(&mut self) {
        self.settle();
        self.agent().save().expect("saved");
        self.crash(false);
    }

    /// Ends what is begun, reads everything, and compares.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        (0..3).for_each(|stream| self.finish_line(stream));
        self.finish_compressing();
        for _ in 0..3 {
            self.settle();
            self.clock.advance(Duration::from_secs(400));
        }
        self.settle();
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &self.store.rows {
            *found.entry(row).or_default() += 1;
        }
        for (line, (least, most)) in &self.expected {
            let count = found.remove(line.as_str()).unwrap_or_default();
            let shown = &line[..line.len().min(40)];
            let status = || self.agent.as_ref().map(|tail| tail.status().collect::<Vec<_>>());
            prop_assert!(
                (*least..=*most).contains(&count),
                "{shown}: {count} times, expected {least} to {most}\n{:#?}",
                status()
            );
        }
        prop_assert!(found.is_empty(), "lines that nobody wrote: {found:?}");
        for (writer, letter) in self.writers.iter().zip('a'..) {
            let rows: Vec<&String> = self.store.rows.iter().filter(|row| row.starts_with(letter)).collect();
            prop_assert!(!writer.is_ordered || rows.is_sorted(), "out of order: {rows:?}");
        }
        Ok(())
    }
}

/// When a file came into being; `None` where the filesystem does not say.
fn birth(file: &File) -> Option<i64> {
    FileStat::of(file).expect("there").key.birth_time_unix_nano
}

/// The number and what follows it in `a.log.2.gz`.
fn number_of<'a>(name: &'a str, stream: &str) -> Option<(usize, &'a str)> {
    let rest = name.strip_prefix(stream)?.strip_prefix('.')?;
    let digits = rest.len() - rest.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    Some((rest[..digits].parse().ok()?, &rest[digits..]))
}

fn cases() -> u32 {
    std::env::var("SILMARI_FILE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES)
}

/// The same histories in every run of `make test`; other ones each time when their number is asked for.
fn seed() -> RngSeed {
    if std::env::var_os("SILMARI_FILE_CASES").is_some() {
        RngSeed::Random
    } else {
        RngSeed::Fixed(20_261_126)
    }
}

fn check(glob: &'static str, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut machine = Machine::new(glob);
    for step in steps {
        machine.run(step);
    }
    machine.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, rng_seed: seed(), ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn any_history_of_files_delivers_each_line_once_whole_and_in_order(
        steps in proptest::collection::vec(step(), 1..60),
        matches_rotated in prop_oneof![3 => Just(true), 1 => Just(false)],
    ) {
        check(if matches_rotated { "*.log*" } else { "*.log" }, &steps)?;
    }
}
