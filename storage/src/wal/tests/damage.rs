//! Damaged, torn, unreadable and foreign files: the start goes on, and what is missing was counted.

use std::ops::Range;

use super::*;

/// What a check says that fails when a bug is planted.
pub(super) fn noticed(check: fn(Planted), plant: Plant) -> Option<String> {
    let panic = std::panic::catch_unwind(|| check(Planted::new(plant))).err()?;
    Some(panic.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |text| *text))
}

pub(crate) fn caught_by_flips(plant: Plant) -> Option<String> {
    noticed(flips, plant)
}

pub(crate) fn caught_by_a_record_of_another_file(plant: Plant) -> Option<String> {
    noticed(record_of_another_file, plant)
}

/// Where the records of a file are, and their ids.
type Places = Vec<(Range<usize>, u64)>;

/// A log of two files or more, in groups of one to three records.
fn sound_log() -> (SimFs, Vec<(PathBuf, Places)>) {
    sound_log_with(Planted::default())
}

fn sound_log_with(planted: Planted) -> (SimFs, Vec<(PathBuf, Places)>) {
    let fs = SimFs::default();
    let mut bench = Bench::open(&fs, &Settings { planted, ..small() }, 0);
    let mut files: Vec<(PathBuf, Places)> = Vec::new();
    let mut id = 0;
    for group in [1, 3, 2, 1, 3, 2, 3, 1, 3, 2] {
        assert!(bench.append(id..id + group).iter().all(Result::is_ok));
        let path = path_of(bench.files().last().expect("one"));
        if files.last().is_none_or(|(last, _)| *last != path) {
            files.push((path, Vec::new()));
        }
        let (_, records) = files.last_mut().expect("one");
        for id in id..id + group {
            let start = records.last().map_or(64, |(range, _)| range.end);
            records.push((start..start + super::super::format::encoded_bytes(&record(id)), id));
        }
        id += group;
    }
    bench.writer.finish();
    for (path, records) in &files {
        let len = fs.read(path).expect("it exists").len();
        assert_eq!(len, records.last().expect("some").0.end, "the test knows where the records are");
    }
    assert!(files.len() >= 2, "{}", files.len());
    (fs, files)
}

#[test]
fn a_flipped_bit_costs_at_most_its_own_record_and_the_loss_is_counted() {
    flips(Planted::default());
}

fn flips(planted: Planted) {
    let (fs, files) = sound_log_with(planted);
    let all: Vec<u64> = files.iter().flat_map(|(_, records)| records.iter().map(|(_, id)| *id)).collect();
    let (mut flips, mut lost) = (0, 0);
    for (file, (path, records)) in files.iter().enumerate() {
        for at in (0..records.last().expect("some").0.end).step_by(7) {
            let fs = fs.kill();
            fs.damage(path, |bytes| bytes[at] ^= 1 << (at % 8));
            let bench = Bench::open(&fs, &Settings { planted, ..small() }, 0);
            let case = format!("byte {at} of file {file}: {:?}", bench.report);
            let found = ids(&bench.replayed);
            let missing: Vec<u64> = all.iter().copied().filter(|id| !found.contains(id)).collect();
            let hit = records.iter().find(|(range, _)| range.contains(&at)).map(|(_, id)| *id);
            assert!(missing.is_empty() || missing == Vec::from_iter(hit), "{case}");
            assert!(found.is_sorted(), "{case}");
            let counted = bench.report.lost_records + bench.report.torn_records;
            let is_tail = missing.last() == all.last() && bench.report.truncated_tail_bytes > 0;
            assert!(counted == missing.len() as u64 || (is_tail && counted == 0), "{case}");
            assert!(missing.is_empty() || is_tail || bench.report.damaged_ranges == 1, "{case}");
            flips += 1;
            lost += missing.len();
        }
    }
    assert!(lost > flips / 2, "{lost} of {flips} flips hit something");
}

#[test]
fn a_record_that_stands_twice_is_replayed_once_and_what_is_behind_it_is_kept() {
    let (fs, files) = sound_log();
    let all: Vec<u64> = files.iter().flat_map(|(_, records)| records.iter().map(|(_, id)| *id)).collect();
    for (path, records) in &files {
        for (range, id) in records {
            let fs = fs.kill();
            fs.damage(path, |bytes| drop(bytes.splice(range.end..range.end, bytes[range.clone()].to_vec())));
            let bench = Bench::open(&fs, &small(), 0);
            let case = format!("record {id}: {:?}", bench.report);
            assert_eq!(ids(&bench.replayed), all, "{case}");
            assert_eq!((bench.report.lost_records, bench.report.torn_records), (0, 0), "{case}");
            let stepped_over = bench.report.damaged_bytes + bench.report.truncated_tail_bytes;
            // Zeros at the end of a record look like free space.
            assert!((range.len() as u64 - 7..=range.len() as u64).contains(&stepped_over), "{case}");
        }
    }
}

#[test]
fn a_zeroed_or_cut_block_costs_only_the_records_in_it() {
    let (fs, files) = sound_log();
    let (path, records) = &files[0];
    let bytes = fs.read(path).expect("it exists");
    for start in (0..bytes.len()).step_by(128) {
        let end = (start + 512).min(bytes.len());
        let fs = fs.kill();
        fs.damage(path, |bytes| bytes[start..end].fill(0));
        let bench = Bench::open(&fs, &small(), 0);
        let case = format!("{start}..{end}: {:?}", bench.report);
        let found = ids(&bench.replayed);
        let hit: Vec<u64> =
            records.iter().filter(|(r, _)| r.start < end && start < r.end).map(|(_, id)| *id).collect();
        let missing: Vec<u64> = (0..21).filter(|id| !found.contains(id)).collect();
        assert!(missing.iter().all(|id| hit.contains(id)), "{missing:?} {hit:?} {case}");
        let header_is_known = start >= 64;
        assert!(!header_is_known || bench.report.lost_records == missing.len() as u64, "{missing:?} {case}");
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_the_log_goes_on() {
    let (fs, files) = sound_log();
    let (path, records) = files.last().expect("some");
    let len = records.last().expect("some").0.end;
    for (cut, is_preallocated) in (64..len).flat_map(|cut| [(cut, false), (cut, true)]) {
        let fs = fs.kill();
        fs.damage(path, |bytes| {
            bytes.truncate(cut);
            bytes.resize(if is_preallocated { 4096 } else { cut }, 0);
        });
        let mut bench = Bench::open(&fs, &small(), 0);
        let case = format!("{cut} {is_preallocated}: {:?}", bench.report);
        let whole = records.iter().filter(|(range, _)| range.end <= cut);
        let good_end = whole.clone().map(|(range, _)| range.end).max().unwrap_or(64);
        // A record whose end is padding or zeros may be whole although the cut fell into it.
        let found = ids(&bench.replayed);
        let expected = records[0].1 as usize + whole.count();
        assert!(found.len() == expected || found.len() == expected + 1, "{case}");
        assert_eq!(found, Vec::from_iter(0..found.len() as u64), "{case}");
        assert!(bench.report.truncated_tail_bytes <= (cut - good_end) as u64, "{case}");
        assert_eq!((bench.report.lost_records, bench.report.damaged_ranges), (0, 0), "{case}");
        bench.append_one(100);
        let again = Bench::open(&fs.kill(), &small(), 0);
        assert_eq!(ids(&again.replayed).last(), Some(&100), "{case}");
        assert_eq!(again.replayed.len(), found.len() + 1, "{case}");
        assert_eq!((again.report.lost_records, again.report.truncated_tail_bytes), (0, 0), "{case}");
    }
}

#[test]
fn damaged_bytes_are_kept_in_quarantine_with_a_reason() {
    let (fs, files) = sound_log();
    let (path, records) = &files[0];
    let hit = records[2].0.clone();
    fs.damage(path, |bytes| bytes[hit.start + 1] ^= 8);
    let damaged = fs.read(path).expect("it exists")[hit.clone()].to_vec();
    for _ in 0..2 {
        let bench = Bench::open(&fs, &small(), 0);
        assert_eq!((bench.report.lost_records, bench.report.damaged_bytes), (1, hit.len() as u64));
    }
    let name = format!("quarantine/00000000000000000001.wal@{}+{}", hit.start, hit.len());
    assert_eq!(fs.read(&path_of(&format!("{name}.bin"))).expect("kept"), damaged);
    let reason = fs.read(&path_of(&format!("{name}.json"))).expect("kept");
    let reason: serde_json::Value = serde_json::from_slice(&reason).expect("JSON");
    assert_eq!(reason["offset"], hit.start);
}

#[test]
fn a_copy_of_the_log_inside_a_payload_is_not_mistaken_for_records() {
    let (fs, files) = sound_log();
    let copy = fs.read(&files[0].0).expect("it exists");
    let mut bench = Bench::open(&fs, &small(), 0);
    let embedding = Record { payload: Bytes::from(copy), ..record(50) };
    let answer = bench.wal.append(embedding, 50);
    bench.step();
    answer.now_or_never().expect("answered").expect("durable");
    bench.append_one(51);
    let path = path_of(bench.files().last().expect("one"));
    fs.damage(&path, |bytes| bytes[64 + 5] ^= 1);
    let bench = Bench::open(&fs, &small(), 0);
    let found = ids(&bench.replayed);
    assert_eq!(found, Vec::from_iter((0..21).chain([51])));
    assert_eq!(bench.report.lost_records, 1);
}

#[test]
fn a_record_of_another_file_inside_a_payload_is_not_mistaken_for_one_of_this_file() {
    record_of_another_file(Planted::default());
}

fn record_of_another_file(planted: Planted) {
    let (fs, files) = sound_log_with(planted);
    let mut bench = Bench::open(&fs, &Settings { planted, ..small() }, 0);
    // The next sequence, as it would be in the first file: only the file's number tells them apart.
    let other_epoch = if planted.has(Plant::EpochLeftOut) { 0 } else { 1 };
    let mut payload = Vec::new();
    super::super::format::encode_record(&record(99), 23, 1, other_epoch, &mut payload);
    assert_eq!(bench.append_one(50), 22);
    let embedding = Record { payload: Bytes::from(payload), extension: Bytes::new(), ..record(51) };
    let answer = bench.wal.append(embedding, 51);
    bench.step();
    assert_eq!(answer.now_or_never().expect("answered").expect("durable").sequence, 23);
    let path = path_of(bench.files().last().expect("one"));
    assert_ne!(path, files[0].0);
    let first = 64 + super::super::format::encoded_bytes(&record(50));
    fs.damage(&path, |bytes| bytes[first + 5] ^= 1);
    let bench = Bench::open(&fs, &Settings { planted, ..small() }, 0);
    assert_eq!(ids(&bench.replayed), Vec::from_iter((0..21).chain([50])));
}

#[test]
fn a_missing_file_is_counted_by_its_records() {
    let (fs, files) = sound_log();
    let lost = files[0].1.len() as u64;
    fs.remove_file(&files[0].0).expect("removes");
    let bench = Bench::open(&fs, &small(), 0);
    assert_eq!(bench.report.lost_records, lost);
    assert_eq!(ids(&bench.replayed), Vec::from_iter(lost..21));
}

#[test]
fn a_newer_version_is_refused_and_nothing_is_touched() {
    let (fs, files) = sound_log();
    let (path, _) = files.last().expect("some");
    fs.damage(path, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    let before: Vec<_> = files.iter().map(|(path, _)| fs.read(path).expect("it exists")).collect();
    let refused = Bench::try_open(&fs, &small(), 0).err().expect("refused");
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert!(refused.to_string().contains("version 2"), "{refused}");
    assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
    let after: Vec<_> = files.iter().map(|(path, _)| fs.read(path).expect("it exists")).collect();
    assert!(before == after);
    assert_eq!(fs.list(Path::new(DIR)).expect("the folder").len(), files.len());
}

#[test]
fn an_operation_that_fails_during_the_start_costs_nothing_that_is_there_next_time() {
    let (clean, files) = sound_log();
    let (path, _) = files.last().expect("some");
    let end = clean.read(path).expect("it exists").len();
    clean.damage(path, |bytes| bytes.extend_from_slice(&[7; 100]));
    let operations = {
        let fs = clean.kill();
        Bench::open(&fs, &small(), 0);
        fs.counts().operations
    };
    let (mut refused, mut incomplete) = (0, 0);
    for (number, run) in (0..operations).flat_map(|number| [(number, 1), (number, 4)]) {
        let fs = clean.kill();
        for more in 0..run {
            fs.fail(number + more, Fault::Io);
        }
        match Bench::try_open(&fs, &small(), 0) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Retry, "operation {number}: {error}");
                refused += 1;
            }
            Ok(mut bench) => {
                fs.heal();
                incomplete += u32::from(bench.replayed.len() < 21);
                assert!(bench.replayed.len() == 21 || bench.report != ReplayReport::default(), "{number}");
                assert!(bench.append_one(77) > 21, "operation {number}: sequences rise");
            }
        }
        let fs = fs.kill();
        let mut found = ids(&Bench::open(&fs, &small(), 0).replayed);
        found.retain(|id| *id != 77);
        assert_eq!(found, Vec::from_iter(0..21), "operation {number}");
        assert!(fs.read(path).expect("it exists").len() >= end);
    }
    assert!(refused > 0 && incomplete > 0, "{refused} {incomplete}");
}

#[test]
fn bytes_that_are_no_log_do_not_stop_the_start() {
    let mut dice = Dice(5);
    for length in [0, 1, 63, 64, 65, 1000, 5000] {
        let (fs, _) = sound_log();
        let file = fs.create(&path_of("00000000000000000999.wal")).expect("new");
        let noise: Vec<u8> = (0..length).map(|_| dice.roll() as u8).collect();
        file.write_all_at(&noise, 0).expect("writes");
        fs.create(&path_of("notes.txt")).expect("new");
        let mut bench = Bench::open(&fs, &small(), 0);
        assert_eq!(bench.replayed.len(), 21);
        assert_eq!(bench.report.damaged_bytes, length, "noise is kept, not cut");
        assert!(bench.append_one(5) > 999);
    }
}
