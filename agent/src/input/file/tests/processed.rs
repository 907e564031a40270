//! Files whose lines are joined, hidden and left out: nothing lost, positions right, numbers that add up.

use super::*;
use crate::status::DropReason;

const INDENT: &str = "multiline = 'indent'\n";

impl World {
    fn dropped(&self, reason: DropReason) -> u64 {
        let status = self.tail.shared.status();
        assert!(status.flows[0].is_conserved() || !self.tail.has_open(), "{:?}", status.flows[0]);
        status.flows[0].dropped.iter().find(|(found, _)| *found == reason).map_or(0, |(_, count)| *count)
    }
}

#[test]
fn an_open_record_holds_its_position_until_it_ends_and_is_read_again_after_a_restart() {
    let mut world = World::with("*.log", INDENT);
    world.append("a.log", "one\ntwo\n  more of two\n");
    assert_eq!(world.texts(), ["one"]);
    world.restart();
    assert!(world.texts().is_empty(), "still open");
    world.append("a.log", "  and more\n");
    assert!(world.texts().is_empty());
    world.pass(2);
    assert_eq!(world.texts(), ["two\n  more of two\n  and more"]);
    assert_eq!(world.dropped(DropReason::Joined), 2);
    world.restart();
    world.pass(2);
    assert!(world.texts().is_empty(), "acknowledged to the end");
}

#[test]
fn a_record_that_is_cut_in_two_by_a_rotation_is_one() {
    let mut world = World::with("*.log", INDENT);
    world.append("a.log", "boom\n  at a\n");
    assert!(world.texts().is_empty());
    world.rename("a.log", "a.log.1");
    world.append("a.log", "  at b\nnext\n");
    assert_eq!(world.texts(), ["boom\n  at a\n  at b"]);
    world.pass(2);
    assert_eq!(world.texts(), ["next"]);
    world.restart();
    world.pass(2);
    assert!(world.texts().is_empty());
}

#[test]
fn a_truncation_ends_the_open_record() {
    let mut world = World::with("*.log", INDENT);
    world.append("a.log", "a long first line\n  more\n");
    assert!(world.texts().is_empty());
    world.copytruncate("a.log", "kept");
    world.append("a.log", "new\n");
    assert_eq!(world.texts(), ["a long first line\n  more"]);
    world.pass(2);
    assert_eq!(world.texts(), ["new"]);
}

#[test]
fn lines_that_are_all_left_out_move_the_position_and_are_counted() {
    let mut world = World::with("*.log", "drop = ['line ~ health']\nredact = ['email']\n");
    world.append("a.log", "GET /health\nGET /health\n");
    assert!(world.texts().is_empty());
    assert_eq!(world.dropped(DropReason::Filtered), 2);
    world.restart();
    world.append("a.log", "mail ann@shop.example\n");
    assert_eq!(world.texts(), ["mail [redacted:email]"]);
    assert_eq!(world.dropped(DropReason::Filtered), 0, "not read again");
}

#[test]
fn repetitions_end_with_their_window_although_nothing_else_is_written() {
    let mut world = World::with("*.log", "repeat_window = '5s'\n");
    world.append("a.log", "same\nsame\nsame\n");
    assert_eq!(world.texts(), ["same"]);
    world.pass(6);
    assert_eq!(world.texts(), ["last line repeated 2 times: same"]);
    assert_eq!(world.dropped(DropReason::Repeated), 2);
}
