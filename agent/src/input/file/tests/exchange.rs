//! Tables that change, come and go while the agent runs.

use super::*;

impl World {
    /// Puts these tables to use: name, glob and further keys.
    fn exchange(&mut self, tables: &[(&str, &str, &str)]) -> Vec<String> {
        let mut text = String::new();
        for (name, glob, keys) in tables {
            let include = self.path(glob).display().to_string();
            text.push_str(&format!("[files.{name}]\ninclude = ['{include}']\ndialect = 'plain'\n{keys}\n"));
        }
        let config = Config::parse(&text, "test", |_| None).expect("valid");
        self.tail.exchange(&config.files).expect("globs")
    }
}

const BEGINNING: &str = "start_at = 'beginning'";

#[test]
fn a_table_that_comes_or_changes_leaves_the_files_of_the_others_alone() {
    let mut world = World::new("a.log");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    // Nothing but the open handle has this line.
    world.append("a.log", "2\n");
    fs::remove_file(world.path("a.log")).expect("removed");
    world.append("b.log", "old\n");
    let same = ("test", "a.log", BEGINNING);
    assert_eq!(world.exchange(&[same, ("more", "b.log", "start_at = 'end'")]), ["more"]);
    world.append("b.log", "new\n");
    assert_eq!(world.texts(), ["2"], "what a new table finds is at its first start");
    world.append("b.log", "newer\n");
    assert_eq!(world.texts(), ["newer"]);
    assert_eq!(world.exchange(&[same, ("more", "b.log", "service = 'shop'")]), ["more"]);
    world.append("b.log", "once\n");
    assert_eq!(world.texts(), ["once"], "it goes on where it was");
    assert!(world.exchange(&[same, ("more", "b.log", "service = 'shop'")]).is_empty());
}

#[test]
fn a_table_that_goes_lets_go_of_its_files_and_goes_on_there_when_it_comes_back() {
    let mut world = World::new("a.log");
    world.append("a.log", "1\n");
    assert_eq!(world.texts(), ["1"]);
    assert_eq!(world.exchange(&[("other", "b.log", BEGINNING)]), ["test", "other"]);
    world.append("a.log", "2\n");
    assert!(world.texts().is_empty());
    assert!(world.tail.files.is_empty(), "closed");
    world.rename("a.log", "a.log.1");
    world.append("a.log", "3\n");
    assert_eq!(world.exchange(&[("test", "a.log", BEGINNING)]), ["other", "test"]);
    assert_eq!(world.texts(), ["2", "3"], "also what was renamed meanwhile");
    world.restart();
    assert!(world.texts().is_empty());
}

#[test]
fn lines_under_way_when_their_table_goes_are_not_read_twice_when_it_comes_back_at_once() {
    let mut world = World::new("a.log");
    world.append("a.log", "1\n");
    let (read, ranges) = world.read_without_acknowledgement();
    assert_eq!(read.len(), 1);
    world.exchange(&[("other", "b.log", BEGINNING)]);
    world.exchange(&[("test", "a.log", BEGINNING)]);
    world.append("a.log", "2\n");
    assert!(world.texts().is_empty(), "the first line is not acknowledged");
    world.tail.acknowledge(&ranges);
    assert_eq!(world.texts(), ["2"]);
}

#[test]
fn a_file_that_a_changed_table_no_longer_matches_is_not_read_on() {
    let mut world = World::new("*.log");
    world.append("a.log", "1\n");
    world.append("b.log", "1\n");
    assert_eq!(world.texts().len(), 2);
    world.exchange(&[("test", "b.log", BEGINNING)]);
    world.append("a.log", "2\n");
    world.append("b.log", "2\n");
    assert_eq!(world.read(), [("2".to_owned(), "b.log".to_owned())]);
    world.restart();
    world.exchange(&[("test", "*.log", BEGINNING)]);
    assert!(world.texts().contains(&"2".to_owned()), "it goes on when it is matched again");
}

#[test]
fn a_record_that_is_open_when_its_table_changes_ends_and_nothing_of_it_is_lost() {
    let mut world = World::with("a.log", "multiline = 'indent'");
    world.append("a.log", "begin\n  more\n");
    assert!(world.texts().is_empty(), "it waits for more");
    world.exchange(&[("test", "a.log", BEGINNING)]);
    world.append("a.log", "  not joined any more\n");
    assert_eq!(world.texts(), ["begin\n  more", "not joined any more"]);
}
