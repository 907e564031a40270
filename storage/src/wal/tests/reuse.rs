//! Files that are written again: what they were before is never replayed.

use super::damage::noticed;
use super::*;

pub(crate) fn caught_by_remains(plant: Plant) -> Option<String> {
    noticed(remains, plant)
}

/// Records up to here are in segments, and their files are spares.
const IN_SEGMENTS: u64 = 20;

/// A log whose first [`IN_SEGMENTS`] records were trimmed.
fn log_with_spares(planted: Planted) -> (SimFs, Bench) {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &Settings { planted, ..small() }, 0);
    for id in 0..IN_SEGMENTS {
        bench.append_one(id);
    }
    bench.trim(IN_SEGMENTS).expect("the disk works");
    assert!(bench.files().is_empty());
    assert_eq!(bench.wal.stats().spares, 2);
    (fs, bench)
}

#[test]
fn a_file_that_is_written_again_replays_what_it_is_and_not_what_it_was() {
    remains(Planted::default());
}

/// Even when the catalog is lost, and nothing says which records are in segments.
fn remains(planted: Planted) {
    let settings = Settings { planted, ..small() };
    let operations = {
        let (fs, mut bench) = log_with_spares(planted);
        let before = fs.counts().operations;
        bench.append_one(100);
        let operations = fs.counts().operations - before;
        let reused = bench.wal.stats();
        assert_eq!((reused.files_reused, reused.spares), (1, 1));
        let path = path_of(&bench.files()[0]);
        let bytes = fs.read(&path).expect("it exists");
        let words = bytes.chunks(8).filter(|word| word.starts_with(&super::super::format::SYNC_WORD)).count();
        assert!(words > 2, "there are remains behind the record: {words}");
        for bench in [Bench::open(&fs.kill(), &settings, 0), Bench::open(&fs.kill(), &settings, IN_SEGMENTS)]
        {
            assert_eq!(ids(&bench.replayed), [100]);
            assert_eq!((bench.report.damaged_ranges, bench.report.truncated_tail_bytes), (0, 0));
        }
        operations
    };
    let mut unwritten = 0;
    for (cut, seed) in (0..operations).flat_map(|cut| (0..10).map(move |seed| (cut, seed))) {
        let (fs, mut bench) = log_with_spares(planted);
        fs.power_off(cut);
        bench.append([100]).pop().expect("one").expect_err("the power went off");
        let fs = fs.crash(seed);
        let mut bench = Bench::open(&fs, &settings, 0);
        let case = format!("cut at {cut}, seed {seed}: {:?}", bench.report);
        let found = ids(&bench.replayed);
        assert!(found.is_empty() || found == [100], "{case}: {found:?}");
        unwritten += u64::from(found.is_empty() && bench.report.files > 0);
        bench.append_one(101);
        let found = ids(&Bench::open(&fs.crash(seed), &settings, 0).replayed);
        assert!(found == [101] || found == [100, 101], "{case}: {found:?}");
    }
    assert!(unwritten > 0, "no file was found that had a new name and its old header");
}

#[test]
fn files_that_are_too_many_or_too_short_are_no_spares_and_a_failing_disk_gets_their_space_back() {
    let spares = |fs: &SimFs| {
        let names = fs.list(Path::new(DIR)).expect("the folder");
        names.into_iter().filter(|name| name.ends_with(".spare")).count()
    };
    let (fs, mut bench) = log_with_spares(Planted::default());
    assert_eq!(spares(&fs), 2);
    fs.create(&path_of("00000000000000000003.spare")).expect("new");
    bench.writer.finish();
    let mut bench = Bench::open(&fs, &small(), IN_SEGMENTS);
    assert_eq!(spares(&fs), 2, "one of three goes");
    fs.fail(4, Fault::NoSpace);
    bench.append([1]).pop().expect("one").expect_err("planted");
    assert_eq!(spares(&fs), 0);
    assert_eq!(bench.wal.stats().spares, 0);
    let next = bench.append_one(2);
    bench.writer.finish();
    bench.trim(next).expect("the disk works");
    assert_eq!(spares(&fs), 0, "a file that was cut to one record is deleted");
}

#[test]
fn numbers_of_spares_are_not_given_out_again_when_the_catalog_is_lost() {
    let (fs, _) = log_with_spares(Planted::default());
    let highest = fs.list(Path::new(DIR)).expect("the folder").pop().expect("a spare");
    let highest: u64 = highest.trim_end_matches(".spare").parse().expect("a number");
    let mut bench = Bench::open(&fs.crash(0), &small(), 0);
    assert!(bench.append_one(100) > highest);
}

#[test]
fn what_was_deleted_by_id_is_in_no_spare_and_in_no_file_that_is_written_again() {
    let (fs, mut bench) = log_with_spares(Planted::default());
    let next = bench.append_one(100);
    assert_eq!(bench.wal.stats().files_reused, 1);
    bench.wal.forget();
    bench.trim(next).expect("the disk works");
    assert_eq!(fs.list(Path::new(DIR)).expect("the folder"), Vec::<String>::new());
    for id in 101..121 {
        bench.append_one(id);
    }
    bench.trim(bench.wal.stats().last_sequence).expect("the disk works");
    assert_eq!(bench.wal.stats().spares, 2, "later files are spares again");
}
