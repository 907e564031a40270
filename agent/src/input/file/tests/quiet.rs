//! Files that rest are looked at when they were touched, or with the next look at all.

use super::super::watch::{Touched, name_key};
use super::*;

fn touched(world: &World, names: &[&str]) -> Touched {
    let names = names.iter().map(|name| name_key(&world.path(name))).collect();
    Touched { names, is_any: false }
}

/// What a read of touched files brings, sorted: which of two new files comes first is the file system's to say.
fn texts(world: &mut World) -> Vec<String> {
    world.tail.read_touched();
    let batch = world.tail.take_batch();
    let read = batch.map(|batch| records(&batch.body)).unwrap_or_default();
    let mut texts: Vec<_> = read.into_iter().map(|(text, _)| text).collect();
    texts.sort();
    texts
}

fn two_quiet_files() -> World {
    let mut world = World::new("*.log");
    world.append("a.log", "a\n");
    world.append("b.log", "b\n");
    assert_eq!(world.texts().len(), 2);
    // What `read` left out after the last look rests from now on.
    assert!(texts(&mut world).is_empty());
    world.append("a.log", "more of a\n");
    world.append("b.log", "more of b\n");
    world
}

#[test]
fn a_file_that_rests_is_looked_at_when_its_name_was_touched() {
    let mut world = two_quiet_files();
    assert!(texts(&mut world).is_empty());
    let names = touched(&world, &["b.log"]);
    world.tail.look_at_touched(&names);
    assert_eq!(texts(&mut world), ["more of b"]);
    world.tail.look_at_all();
    assert_eq!(texts(&mut world), ["more of a"]);
}

#[test]
fn a_name_that_no_file_has_makes_all_be_looked_at() {
    let mut world = two_quiet_files();
    let names = touched(&world, &["target-of-a-link"]);
    world.tail.look_at_touched(&names);
    assert_eq!(texts(&mut world), ["more of a", "more of b"]);
}

#[test]
fn a_file_that_was_renamed_away_never_rests() {
    let mut world = World::new("*.log");
    world.append("a.log", "a\n");
    assert_eq!(world.texts(), ["a"]);
    world.rename("a.log", "a.old");
    world.tail.reconcile();
    world.tail.look_at_all();
    assert!(texts(&mut world).is_empty());
    world.append("a.old", "its writer holds on to it\n");
    assert_eq!(texts(&mut world), ["its writer holds on to it"]);
}
