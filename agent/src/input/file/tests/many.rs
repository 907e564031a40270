//! Many files of one family: what is asked of each does not grow with how many there are.

use std::cell::Cell;

use super::*;

thread_local! {
    /// Questions to the disk about one file, and comparisons of two names, of this thread.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

pub(in super::super) fn count() {
    COUNT.set(COUNT.get() + 1);
}

/// How many questions and comparisons `work` takes.
fn counted(work: impl FnOnce()) -> usize {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// Numbered files in `world`, each with its own `text`.
fn numbered(world: &World, files: usize, text: impl Fn(usize) -> String) {
    (0..files).for_each(|at| world.append(&format!("app-{at:04}.log"), &text(at)));
}

/// That `work` on sixteen times as many files takes about sixteen times as much.
#[track_caller]
fn assert_linear(work: impl Fn(usize) -> usize) {
    let (few, many) = (work(20), work(320));
    assert!(few >= 20 && many < few * 24, "{few} for 20 files, {many} for 320");
}

#[test]
fn new_numbered_files_are_not_compared_each_with_each() {
    assert_linear(|files| {
        let mut world = World::new("*.log");
        numbered(&world, files, |at| format!("{at} is a worker that has started\n"));
        counted(|| world.tail.reconcile())
    });
}

#[test]
fn empty_numbered_files_that_wait_are_not_compared_each_with_each() {
    assert_linear(|files| {
        let mut world = World::new("*.log");
        numbered(&world, files, |_| String::new());
        world.tail.reconcile();
        assert_eq!(world.tail.standing(), (files, files - 1), "any but the first may become a copy");
        counted(|| world.tail.settle_files())
    });
}

#[test]
fn numbered_files_that_went_missing_are_looked_for_together() {
    assert_linear(|files| {
        let mut world = World::new("*.log");
        numbered(&world, files, |at| format!("{at} is a worker that has started\n"));
        world.read();
        (0..files).for_each(|at| world.rename(&format!("app-{at:04}.log"), &format!("app-{at:04}.log.1")));
        numbered(&world, files, |at| format!("{at} is another worker that has started\n"));
        world.restart();
        let count = counted(|| world.tail.reconcile());
        assert_eq!(world.tail.standing().0, 2 * files);
        count
    });
}
