//! What other agents lost, doubled or got stuck on: one test a class of failure, named in
//! `docs/operating/agent.md` with the reports they come from.

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

impl World {
    /// Compresses a file as `gzip` does: the original goes when its compressed form is whole.
    fn gzip(&self, name: &str) {
        self.gzip_beside(name);
        fs::remove_file(self.path(name)).expect("removed");
    }

    fn gzip_beside(&self, name: &str) {
        let to = File::create(self.path(&format!("{name}.gz"))).expect("created");
        let mut encoder = GzEncoder::new(to, Compression::fast());
        encoder.write_all(&fs::read(self.path(name)).expect("read")).expect("written");
        encoder.finish().expect("written");
    }

    /// Everything that comes within some minutes.
    fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for seconds in [0, 3, 3, 11, 400] {
            self.pass(seconds);
            all.extend(self.texts());
        }
        all
    }

    fn reason(&self, name: &str) -> String {
        let status: Vec<_> = self.tail.status().collect();
        let file = status.iter().find(|file| file.path.ends_with(name)).expect("listed");
        format!("{}: {}", file.state, file.reason.clone().unwrap_or_default())
    }

    fn link(&self, target: &str, name: &str) {
        std::os::unix::fs::symlink(self.path(target), self.path("new-link")).expect("linked");
        self.rename("new-link", name);
    }
}

#[test]
fn a_position_beyond_the_end_of_a_file_is_a_truncation_and_no_silence() {
    let mut world = World::new("*.log");
    world.append("a.log", "a line that was long\n");
    assert_eq!(world.texts().len(), 1);
    world.tail.files.clear();
    fs::write(world.path("a.log"), "short\n").expect("truncated while no agent ran");
    world.restart();
    assert_eq!(world.texts(), ["short"]);
    assert_eq!(world.tail.shared.truncations.load(Relaxed), 1);
}

#[test]
fn reading_goes_on_after_any_number_of_copytruncates() {
    let mut world = World::new("*.log");
    for round in 0..50 {
        // The same size every time: only the content tells.
        world.append("a.log", &format!("line {round:02}\n"));
        assert_eq!(world.texts(), [format!("line {round:02}")]);
        fs::write(world.path("a.log"), "").expect("truncated");
    }
}

#[test]
fn a_file_truncated_to_the_same_or_a_larger_size_is_told_by_the_bytes_before_its_position() {
    let mut world = World::new("*.log");
    world.append("a.log", "one\ntwo\n");
    assert_eq!(world.texts(), ["one", "two"]);
    fs::write(world.path("a.log"), "ONE\nTWO\n").expect("the same size");
    assert_eq!(world.texts(), ["ONE", "TWO"]);
    fs::write(world.path("a.log"), "1\n2\n3\n4\n5\n6\n").expect("a larger one");
    assert_eq!(world.texts(), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(world.tail.shared.truncations.load(Relaxed), 2);
}

#[test]
fn an_inode_that_is_given_to_another_file_is_told_by_its_birth() {
    let mut world = World::new("*.log");
    world.append("a.log", "same\n");
    assert_eq!(world.texts(), ["same"]);
    // As if the saved file had been deleted, and this one born on its inode with the same content.
    let positions = world.data.path().join("positions.json");
    let saved = fs::read_to_string(&positions).expect("saved");
    let mut saved: serde_json::Value = serde_json::from_str(&saved).expect("JSON");
    let born = saved["files"][0]["birth_time_unix_nano"].as_i64().expect("a filesystem that keeps births");
    saved["files"][0]["birth_time_unix_nano"] = (born - 1).into();
    fs::write(&positions, saved.to_string()).expect("written");
    world.restart();
    assert_eq!(world.texts(), ["same"]);
    world.restart();
    assert!(world.texts().is_empty());
}

#[test]
fn files_that_begin_alike_are_told_apart() {
    let mut world = World::new("*.log*");
    let head = format!("{}\n", "=".repeat(2000));
    for name in ["a.log", "b.log", "a.log.1"] {
        world.append(name, &format!("{head}of {name}\n"));
    }
    let mut texts = world.all();
    texts.retain(|text| text.starts_with("of"));
    texts.sort_unstable();
    assert_eq!(texts, ["of a.log", "of a.log.1", "of b.log"]);
    world.restart();
    assert!(world.all().is_empty());
}

#[test]
fn a_switched_link_is_followed_and_what_it_pointed_to_is_read_to_its_end() {
    let mut world = World::new("cur.log");
    world.append("cur.0", "1\n");
    world.link("cur.0", "cur.log");
    assert_eq!(world.texts(), ["1"]);
    world.append("cur.0", "2\n");
    world.append("cur.1", "3\n");
    world.link("cur.1", "cur.log");
    world.append("cur.0", "written late\n");
    assert_eq!(world.texts(), ["2", "written late", "3"]);
    world.append("cur.0", "4\n");
    world.restart();
    let mut texts = world.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["4"], "also after a restart");
    assert!(world.tail.folders().contains(&world.folder.path().canonicalize().expect("there")));
}

#[test]
fn a_docker_line_cut_into_two_files_is_one_record() {
    let mut world = World::new("*.log*");
    let part = |text: &str| {
        format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-11-24T10:00:00Z\"}}\n")
    };
    world.append("c-json.log", &(part("before\\n") + &part("one ")));
    assert_eq!(world.texts(), ["before"]);
    world.rename("c-json.log", "c-json.log.1");
    world.append("c-json.log", &(part("two ") + &part("three\\n")));
    assert_eq!(world.texts(), ["one two three"]);
}

#[test]
fn files_rotated_before_they_were_ever_seen_are_one_stream_in_its_order() {
    let mut world = World::with("*.log*", "multiline = 'indent'\n");
    world.append("a.log", "first\nboom\n  at a\n");
    world.rename("a.log", "a.log.1");
    world.append("a.log", "  at b\nlast\n");
    let read: Vec<Read> = world.all_reads();
    let texts: Vec<&str> = read.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, ["first", "boom\n  at a\n  at b", "last"]);
    assert!(read.iter().all(|(_, name)| name == "a.log"), "{read:?}");
}

impl World {
    fn all_reads(&mut self) -> Vec<Read> {
        let mut all = Vec::new();
        for seconds in [0, 3, 11] {
            self.pass(seconds);
            all.extend(self.read());
        }
        all
    }
}

#[test]
fn nothing_moves_when_the_clock_jumps() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    for jump in [-90_000, 400_000, -300_000] {
        world.clock.jump(jump * SECOND);
        fs::rename(world.path("a.log"), world.path("a.log.1")).expect("renamed");
        world.append("a.log.1", "late\n");
        world.append("a.log", "new\n");
        assert_eq!(world.texts(), ["late", "new"]);
    }
}

#[test]
fn a_deleted_file_is_let_go_once_it_is_read_and_not_before() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n");
    let (read, ranges) = world.read_without_acknowledgement();
    assert_eq!(read.len(), 1);
    fs::remove_file(world.path("a.log")).expect("removed");
    world.pass(60);
    let (more, _) = world.read_without_acknowledgement();
    assert!(more.is_empty() && world.tail.files.len() == 1, "held until the answer");
    world.tail.acknowledge(&ranges);
    world.pass(11);
    world.tail.reconcile();
    assert!(world.tail.files.is_empty());
}

#[test]
fn a_gzip_of_a_file_that_was_read_is_not_read_again() {
    let mut world = World::new("*.log*");
    world.append("a.log", "1\n2\n");
    assert_eq!(world.texts(), ["1", "2"]);
    world.rename("a.log", "a.log.1");
    world.append("a.log", "3\n");
    world.gzip("a.log.1");
    assert_eq!(world.all(), ["3"]);
    let reason = world.reason("a.log.1.gz");
    assert!(reason.starts_with("not_read: compressed; read already, as /"), "{reason}");
    world.rename("a.log.1.gz", "a.log.2.gz");
    world.restart();
    assert!(world.all().is_empty());
    assert_eq!(world.reason("a.log.2.gz"), "not_read: compressed; read already");
    // Unpacked again to look into it.
    world.append("a.log.2", "1\n2\n");
    assert!(world.all().is_empty());
}

#[test]
fn a_gzip_that_nobody_read_is_read_once() {
    let mut world = World::new("*.log*");
    let lines: Vec<String> = (0..3000).map(|number| format!("line {number} {}", "x".repeat(300))).collect();
    world.append("old.log.1", &format!("{}\nlast without an end", lines.join("\n")));
    world.gzip("old.log.1");
    let texts = world.all();
    assert_eq!(texts[..3000], lines);
    assert_eq!(texts[3000..], ["last without an end"]);
    assert_eq!(world.reason("old.log.1.gz"), "not_read: compressed; read already");
    world.restart();
    assert!(world.all().is_empty());
}

#[test]
fn a_gzip_made_while_no_agent_ran_goes_on_where_the_file_was_left() {
    for glob in ["*.log*", "*.log"] {
        let mut world = World::new(glob);
        world.append("a.log", "1\n");
        assert_eq!(world.texts(), ["1"]);
        world.append("a.log", "2\n3\n");
        world.rename("a.log", "a.log.1");
        world.gzip("a.log.1");
        world.append("a.log", "4\n");
        world.restart();
        let mut texts = world.all();
        texts.sort_unstable();
        assert_eq!(texts, ["2", "3", "4"], "{glob}");
        assert_eq!(world.tail.shared.files_missing.load(Relaxed), 0);
        world.restart();
        assert!(world.all().is_empty(), "{glob}");
    }
}

#[test]
fn a_crash_within_a_gzip_goes_on_behind_what_was_acknowledged() {
    let mut world = World::new("*.log*");
    let lines: Vec<String> = (0..200).map(|number| format!("{number:03} {}", "x".repeat(100))).collect();
    world.append("a.log.1", &format!("{}\n", lines.join("\n")));
    world.gzip("a.log.1");
    world.tail.reconcile();
    world.pass(3);
    let mut seen = Vec::new();
    // The first batch is answered, the others are lost with the agent.
    let mut taken = 0;
    while world.tail.read() {
        if let Some(batch) = world.tail.take_batch() {
            if taken == 0 {
                seen.extend(records(&batch.body).into_iter().map(|(text, _)| text));
                world.tail.acknowledge(&batch.ranges);
                world.tail.save().expect("saved");
            }
            taken += 1;
        }
    }
    assert!(taken > 1 && !seen.is_empty() && seen.len() < lines.len(), "{taken} batches");
    world.restart();
    seen.extend(world.all());
    assert_eq!(seen, lines);
}

#[test]
fn a_bad_gzip_is_left_out_with_its_reason_until_it_is_whole() {
    let mut world = World::new("*.log*");
    world.append("a.log.1", &"a line of some length\n".repeat(50));
    world.gzip("a.log.1");
    let whole = fs::read(world.path("a.log.1.gz")).expect("read");
    fs::write(world.path("a.log.1.gz"), &whole[..whole.len() / 2]).expect("cut");
    world.append("b.log.1.gz", "no gzip at all\n");
    world.append("c.log", "beside\n");
    assert_eq!(world.all(), ["beside"]);
    for name in ["a.log.1.gz", "b.log.1.gz"] {
        assert!(
            world.reason(name).starts_with("not_read: compressed; not a sound gzip file"),
            "{}",
            world.reason(name)
        );
    }
    fs::write(world.path("a.log.1.gz"), &whole).expect("written to its end");
    assert_eq!(world.all().len(), 50);
}

#[test]
fn a_gzip_kept_beside_its_original_is_not_read() {
    let mut world = World::new("*.log*");
    world.append("a.log.1", "1\n");
    world.gzip_beside("a.log.1");
    assert_eq!(world.all(), ["1"]);
    assert!(world.reason("a.log.1.gz").contains("the same lines as"), "{}", world.reason("a.log.1.gz"));
}

#[test]
fn compressed_files_of_before_the_first_start_are_old_logs() {
    let mut world = World::new("*.log*");
    world.append("a.log.1", "old\n");
    world.gzip("a.log.1");
    world.tail = start_at_end(&world);
    assert!(world.all().is_empty());
    assert_eq!(world.reason("a.log.1.gz"), "not_read: compressed; it was there before the first start");
    world.append("a.log.2", "new\n");
    world.gzip("a.log.2");
    assert_eq!(world.all(), ["new"]);
    world.restart();
    assert!(world.all().is_empty(), "also by the next start");
}

fn start_at_end(world: &World) -> FileTail {
    let include = world.path("*.log*").display().to_string();
    let text = format!(
        "[collector]\ncompression = \"none\"\n[files.test]\ninclude = ['{include}']\nstart_at = 'end'\n"
    );
    let config = Config::parse(&text, "test", |_| None).expect("valid");
    let clock: Arc<dyn model::Clock> = Arc::clone(&world.clock) as _;
    let shared = Shared::new("id".to_owned(), "test".to_owned(), Vec::new(), clock);
    let positions = Positions::in_folder(world.data.path());
    let mut tail = FileTail::new(&config, Vec::new(), positions, Saved::default(), shared).expect("globs");
    tail.place(Committed::new());
    tail
}

#[test]
fn a_binary_file_is_not_read_and_says_so() {
    let mut world = World::new("*");
    fs::write(world.path("wtmp"), [&[7u8, 0, 0, 0][..], &[0; 300], b"tty1\n"].concat()).expect("written");
    fs::write(world.path("core"), b"\x7fELF\x02\x01\x01\n").expect("written");
    world.append("a.log", "text\n");
    assert_eq!(world.all(), ["text"]);
    assert_eq!(world.reason("core"), "not_read: binary: its content looks like a program");
    assert_eq!(world.reason("wtmp"), "not_read: binary: its content looks like binary records");
    fs::write(world.path("core"), "a text now\n").expect("written anew");
    assert_eq!(world.all(), ["a text now"]);
}

#[test]
fn an_agent_without_its_positions_goes_on_where_the_collector_stands() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n2\n");
    world.append("b.log", "1\n");
    assert_eq!(world.texts().len(), 3);
    fs::write(world.path("b.log"), "2 after a truncation\n").expect("truncated");
    let (_, ranges) = world.read_without_acknowledgement();
    let mut committed = Committed::new();
    for file in world.tail.files.values() {
        committed.insert(stream_id(&file.key, file.generation), file.read.offset);
    }
    assert_eq!(ranges.len(), 1);
    world.append("a.log", "3\n");
    world.append("b.log", "3\n");
    fs::remove_file(world.data.path().join("positions.json")).expect("lost");
    world.tail = start((&world.folder, &world.data), world.glob, "", &world.clock);
    world.tail.place(committed);
    assert_eq!(world.texts(), ["3", "3"]);
}

#[test]
fn a_short_file_restored_with_its_times_is_known_again() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    let modified = fs::metadata(world.path("a.log")).expect("there").modified().expect("known");
    fs::remove_file(world.path("a.log")).expect("removed");
    assert!(world.texts().is_empty());
    // A later birth than the time of its last change.
    while File::create(world.path("a.log")).and_then(|file| file.metadata()?.modified()).expect("time")
        <= modified
    {}
    fs::remove_file(world.path("a.log")).expect("removed");
    fs::write(world.path("restored"), "1\n").expect("written");
    File::options()
        .write(true)
        .open(world.path("restored"))
        .and_then(|file| file.set_modified(modified))
        .expect("set");
    world.rename("restored", "a.log");
    assert!(world.all().is_empty());
}

#[test]
fn the_unread_rest_of_a_deleted_file_comes_once_although_it_is_restored_at_once() {
    let mut world = World::new("*.log");
    let long = "x".repeat(2000);
    world.append("a.log", &format!("{long}\n"));
    assert_eq!(world.texts().len(), 1);
    world.append("a.log", "unread\n");
    let bytes = fs::read(world.path("a.log")).expect("read");
    fs::rename(world.path("a.log"), world.path("gone")).expect("moved");
    fs::remove_file(world.path("gone")).expect("removed");
    fs::write(world.path("a.log"), bytes).expect("restored");
    assert_eq!(world.all(), ["unread"]);
}

#[test]
fn a_truncated_file_whose_new_lines_end_like_the_old_ones_is_told_by_its_beginning() {
    let mut world = World::new("*.log");
    let line = |number: usize| format!("{number} {}\n", "x".repeat(200));
    world.append("a.log", &line(1));
    assert_eq!(world.texts().len(), 1);
    fs::write(world.path("a.log"), line(2)).expect("truncated and written");
    assert_eq!(world.texts(), [line(2).trim_end()], "the same size, the same end");
    fs::write(world.path("a.log"), line(3) + &line(4)).expect("truncated and written");
    assert_eq!(world.texts().len(), 2, "more than before");
    assert_eq!(world.tail.shared.truncations.load(Relaxed), 2);
}

#[test]
fn what_a_stream_left_in_several_files_is_read_oldest_first_after_a_restart() {
    let mut world = World::new("*.log*");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    world.append("a.log", "2\n");
    for number in 3..6 {
        for old in (1..number).rev().filter(|old| world.path(&format!("a.log.{old}")).exists()) {
            world.rename(&format!("a.log.{old}"), &format!("a.log.{}", old + 1));
        }
        world.rename("a.log", "a.log.1");
        world.append("a.log", &format!("{number}\n"));
    }
    world.restart();
    let mut texts = world.texts();
    world.pass(3);
    texts.extend(world.texts());
    assert_eq!(texts, ["2", "3", "4", "5"]);
}

#[test]
fn parts_that_were_rotated_before_their_plain_name_was_seen_are_read_one_after_the_other() {
    let mut world = World::new("*.log*");
    // Each is more than a batch, which is more than is read in one turn.
    let part = |from: usize| {
        (from..from + 120).map(|at| format!("{at:03}{}\n", "x".repeat(4000))).collect::<String>()
    };
    world.append("a.log.2", &part(0));
    world.append("a.log.1", &part(120));
    world.tail = start_with((&world.folder, &world.data), world.glob, "400KiB", world.keys, &world.clock);
    world.tail.place(Committed::new());
    world.tail.reconcile();
    world.append("a.log", "240\n");
    let texts = world.texts();
    assert!(
        texts.len() == 241 && texts.is_sorted(),
        "{:?}",
        texts.iter().map(|text| &text[..3]).collect::<Vec<_>>()
    );
}

/// `app-2026-11-25.log` is a stream of its own when there was no `app.log` yet: that costs a stream, and no line.
#[test]
fn a_date_in_the_middle_of_a_name_that_was_there_first_loses_and_doubles_nothing() {
    let mut world = World::new("app*.log");
    world.append("app-2026-11-24.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    world.append("app-2026-11-25.log", "2\n");
    world.append("app-2026-11-24.log", "3\n");
    let mut texts = world.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["2", "3"]);
    // The plain name comes, is rotated by a rename, by a copy, and once while no agent runs.
    world.append("app.log", "4\n");
    assert_eq!(world.texts(), ["4"]);
    world.append("app.log", "5\n");
    world.rename("app.log", "app-2026-11-26.log");
    world.append("app.log", "6\n");
    assert_eq!(world.texts(), ["5", "6"]);
    world.append("app.log", "7\n");
    world.copytruncate("app.log", "app-2026-11-27.log");
    world.append("app.log", "8\n");
    let mut texts = world.texts();
    world.pass(3);
    texts.extend(world.texts());
    texts.sort_unstable();
    assert_eq!(texts, ["7", "8"]);
    world.append("app.log", "9\n");
    world.rename("app.log", "app-2026-11-28.log");
    world.append("app.log", "A\n");
    world.append("app-2026-11-25.log", "B\n");
    world.restart();
    let mut texts = world.texts();
    world.pass(3);
    texts.extend(world.texts());
    texts.sort_unstable();
    assert_eq!(texts, ["9", "A", "B"]);
}

#[test]
fn the_rest_of_a_link_target_comes_before_the_next_target_after_a_restart() {
    let mut world = World::new("cur.log");
    world.append("cur.0", "1\n");
    world.link("cur.0", "cur.log");
    assert_eq!(world.texts(), ["1"]);
    world.append("cur.0", "2\n");
    world.append("cur.1", "3\n");
    world.link("cur.1", "cur.log");
    world.tail.reconcile();
    world.tail.save().expect("saved");
    world.restart();
    assert_eq!(world.texts(), ["2", "3"]);
}

#[test]
fn what_nobody_read_is_found_compressed_beside_the_name_that_it_had() {
    let mut world = World::new("a.log");
    // Seen, and nothing of it was read.
    world.append("a.log", "1\n");
    world.tail.reconcile();
    world.tail.save().expect("saved");
    world.rename("a.log", "a.log.1");
    world.gzip("a.log.1");
    world.append("a.log.other.gz", "never meant\n");
    world.restart();
    assert_eq!(world.all(), ["1"]);
    world.restart();
    assert!(world.all().is_empty());
}

#[test]
fn a_deleted_copy_and_its_restored_twin_do_not_wait_for_each_other() {
    let mut world = World::new("*.log*");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    world.append("a.log", "2\n");
    world.copytruncate("a.log", "a.log.1");
    world.tail.reconcile();
    let bytes = fs::read(world.path("a.log.1")).expect("read");
    let holder = File::open(world.path("a.log.1")).expect("its inode is not given again");
    fs::remove_file(world.path("a.log.1")).expect("removed");
    world.tail.reconcile();
    fs::write(world.path("a.log.1"), bytes).expect("restored");
    drop(holder);
    assert!(world.all().contains(&"2".to_owned()));
}

#[test]
fn a_half_written_line_that_another_file_begins_with_is_not_taken_for_a_copy() {
    let mut world = World::new("*.log*");
    world.append("a.log", "line 1\n");
    assert_eq!(world.texts(), ["line 1"]);
    world.rename("a.log", "a.log.1");
    world.append("a.log", "line");
    assert!(world.texts().is_empty());
    fs::remove_file(world.path("a.log.1")).expect("removed");
    world.pass(11);
    world.texts();
    world.pass(11);
    world.texts();
    world.append("a.log", " 2\n");
    assert_eq!(world.all(), ["line 2"]);
}

#[test]
fn a_file_has_its_own_name_and_not_that_of_a_link_to_it() {
    let mut world = World::new("*.log");
    world.append("z-billing.log", "x\n");
    world.link("z-billing.log", "a-current.log");
    assert_eq!(world.read(), [("x".to_owned(), "z-billing.log".to_owned())]);
    assert!(world.reason("a-current.log").contains("the same file as"), "said at the first look");
    world.tail.reconcile();
    assert_eq!(
        world.tail.files.values().next().map(|file| file.path.clone()),
        Some(world.path("z-billing.log"))
    );
}

#[test]
fn a_file_that_is_refused_is_not_behind() {
    let mut world = World::new("*.log");
    fs::write(world.path("core.log"), b"\x7fELF and more").expect("written");
    assert!(world.read().is_empty());
    let status: Vec<_> = world.tail.status().collect();
    assert_eq!((status[0].state.as_ref(), status[0].lag_bytes), ("not_read", 0), "{status:?}");
}

#[test]
fn without_an_agent_a_look_says_why_a_file_would_not_be_read() {
    let world = World::with("*.log*", "exclude = ['*.tmp.log']");
    world.append("app.log", "x\n");
    world.append("app.tmp.log", "x\n");
    world.append("app.log.zst", "x\n");
    world.link("app.log", "current.log");
    fs::write(world.path("core.log"), b"\x7fELF and more").expect("written");
    let name = String::new();
    let found: Vec<_> = matching([(&name, &world.tail.inputs[0].settings)].into_iter())
        .remove(0)
        .1
        .into_iter()
        .map(|(path, reason)| {
            let name = path.file_name().expect("named").to_string_lossy().into_owned();
            (name, reason.unwrap_or_default().split(" as ").next().unwrap_or_default().to_owned())
        })
        .collect();
    let expected = [
        ("app.log", ""),
        ("app.log.zst", "compressed; only gzip is read"),
        ("app.tmp.log", "excluded by the configuration"),
        ("core.log", "binary: its content looks like a program"),
        ("current.log", "the same file"),
    ];
    assert_eq!(found, expected.map(|(name, reason)| (name.to_owned(), reason.to_owned())));
}
