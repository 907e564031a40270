//! Flipped bits in every file of a data folder: the store starts, and what is missing is no more than
//! what was hit, and counted.

use std::path::PathBuf;

use super::*;

/// Two segments a signal, and records in the log. Twelve rows.
async fn filled(dir: &std::path::Path) {
    let store = open(dir).await;
    for part in 0..3 {
        for row in 0..4 {
            append(&store, &format!("row {part}-{row}"), Some(row), "ORD-1", i64::from(row)).await;
        }
        if part < 2 {
            store.seal().await.expect("sealed");
        }
    }
}

fn files(dir: &std::path::Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path())
        {
            if path.is_dir() { folders.push(path) } else { all.push(path) }
        }
    }
    all.sort();
    all
}

pub(super) fn copy(from: &std::path::Path, to: &std::path::Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).expect("below"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        std::fs::copy(&path, &target).expect("copied");
    }
}

#[tokio::test]
async fn a_flipped_bit_in_any_file_never_stops_the_start_and_costs_at_most_what_it_hit() {
    let sound = tempfile::tempdir().expect("a folder");
    filled(sound.path()).await;
    let all = scanned(&*open(sound.path()).await, TimeRange::ALL);
    assert_eq!(all.len(), 12);
    let (mut kinds, mut lost) = (BTreeSet::new(), 0);
    let mut seed = 0x9E37_79B9_u64;
    for path in files(sound.path()) {
        let name = path.file_name().expect("named").to_string_lossy().into_owned();
        let bytes = std::fs::metadata(&path).expect("there").len();
        if bytes == 0 || name == "reserve" || name == "lock" {
            continue;
        }
        for _ in 0..4 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The log is preallocated: what was written is at its beginning.
            let within = if name.ends_with(".wal") { bytes.min(1_200) } else { bytes };
            let at = (seed >> 20) % within;
            let dir = tempfile::tempdir().expect("a folder");
            copy(sound.path(), dir.path());
            let hit = dir.path().join(path.strip_prefix(sound.path()).expect("below"));
            let mut content = std::fs::read(&hit).expect("readable");
            content[at as usize] ^= 1 << (seed % 8);
            std::fs::write(&hit, content).expect("written");

            let case = format!("byte {at} of `{}`", hit.display());
            let clock = ManualClock::at(NOW);
            let store = Store::open(Settings::new(dir.path()), Arc::new(IdRules::default()), clock).await;
            let store = store.unwrap_or_else(|error| panic!("{case}: {error}"));
            let mut found = Vec::new();
            let mut stats = ScanStats::default();
            let mut visit = |rows: &arrow::array::RecordBatch| {
                let rows = LogRows::new(rows);
                found.extend((0..rows.len()).map(|row| rows.body(row).to_owned()));
                ControlFlow::Continue(())
            };
            let range = TimeRange::ALL;
            let scan =
                store.snapshot().scan(Signal::Logs, &range, &[], ScanOrder::Any, &mut stats, &mut visit);
            found.sort();
            if scan.is_ok() && store.stats().segments_unreadable == 0 {
                let missing = all.iter().filter(|body| !found.contains(body)).count();
                // A record of the log, or the values of a page whose compression did not notice.
                let at_most =
                    if name.ends_with(".parquet") { 4 } else { usize::from(name.ends_with(".wal")) };
                assert!(missing <= at_most, "{case}: {missing} are missing, {:?}", store.stats());
                lost += missing;
            } else {
                assert!(found.len() >= 8 || scan.is_err(), "{case}: {found:?}");
                lost += 1;
            }
            assert!(found.is_sorted() && found.windows(2).all(|pair| pair[0] != pair[1]), "{case}: twice");
            kinds.insert(name.rsplit('.').next().unwrap_or_default().to_owned());
        }
    }
    assert!(kinds.is_superset(&set(&["wal", "sqlite", "parquet"])), "{kinds:?}");
    assert!(lost > 0, "no flip hit anything");
}
