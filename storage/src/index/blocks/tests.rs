//! What was put in is found, whatever it is, and nothing else; no bytes make a reader panic.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Postings = BTreeMap<String, BTreeSet<Posting>>;

fn file_of(groups: &[u32], postings: &Postings) -> Vec<u8> {
    let mut file = FileBuilder::new(groups);
    for (kind, postings) in postings {
        file.add(kind, &postings.iter().copied().collect::<Vec<_>>());
    }
    file.finish()
}

/// Groups of the files that have postings.
const GROUPS: u32 = 5_000;

/// So many groups of one row, or of some.
fn groups(has_table: bool) -> Vec<u32> {
    (0..GROUPS).map(|at| if has_table { 1 + at % 7 } else { 1 }).collect()
}

/// Rows of groups: none, one each, or any number.
fn any_groups() -> impl Strategy<Value = Vec<u32>> {
    let rows = prop_oneof![4 => 1..20_u32, 1 => 1..=u32::MAX];
    prop_oneof![prop::collection::vec(rows, 0..700), prop::collection::vec(Just(1), 0..300)]
}

/// Keys of which some are had by many, so that a key fills blocks.
fn any_postings() -> impl Strategy<Value = Postings> {
    let key = prop_oneof![Just(0_u64), 1..4_u64, Just(u64::MAX >> 12), 0..u64::MAX >> 12];
    let group = 0..GROUPS;
    let posting = (key, group).prop_map(|(key, group)| Posting { key, group });
    let hub = (0..4_u64, 0..600_u32).prop_map(|(key, postings)| {
        (0..postings).map(move |at| Posting { key, group: at * 7 }).collect::<Vec<_>>()
    });
    let few = prop::collection::vec(posting, 1..300);
    let of_kind = (few, hub).prop_map(|(few, hub)| few.into_iter().chain(hub).collect::<BTreeSet<_>>());
    prop::collection::btree_map("[a-z_]{1,12}", of_kind, 0..5)
}

proptest! {
    #[test]
    fn a_key_leads_to_all_its_groups_and_to_no_others(
        postings in any_postings(),
        other in 0..u64::MAX >> 12,
        has_table in any::<bool>(),
    ) {
        let file = file_of(&groups(has_table), &postings);
        let directory = Directory::of(&file).expect("whole");
        let names: Vec<&str> = directory.kinds().iter().map(|kind| kind.name.as_str()).collect();
        prop_assert_eq!(names, postings.keys().map(String::as_str).collect::<Vec<_>>());
        let mut bytes = 0;
        for (name, expected) in &postings {
            let kind = directory.kind(name).expect("there");
            let keys: BTreeSet<u64> = expected.iter().map(|posting| posting.key).collect();
            prop_assert_eq!((kind.values, kind.postings), (keys.len() as u64, expected.len() as u64));
            bytes += directory.bytes(kind);
            let mut all = Vec::new();
            directory.walk(&file, kind, &mut |posting| all.push(posting)).expect("sound");
            prop_assert_eq!(&all, &expected.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(directory.first(&file, kind).expect("sound"), all.first().copied());
            for key in keys.iter().copied().chain([other]) {
                let mut found = Vec::new();
                directory.find(&file, kind, key, &mut found).expect("sound");
                let of_key = expected.iter().filter(|posting| posting.key == key);
                let expected: Vec<u32> = of_key.map(|posting| posting.group).collect();
                prop_assert_eq!(directory.count(&file, kind, key).expect("sound"), expected.len());
                prop_assert_eq!(found, expected);
            }
        }
        prop_assert!(bytes <= file.len() as u64);
        prop_assert!(directory.kind("no such kind").is_none());
    }

    #[test]
    fn groups_have_the_rows_they_were_given(
        groups in any_groups(),
        some in prop::collection::vec(any::<prop::sample::Index>(), 0..50),
    ) {
        let file = file_of(&groups, &Postings::new());
        let directory = Directory::of(&file).expect("whole");
        let rows_before = |group: usize| groups[..group].iter().map(|rows| *rows as usize).sum::<usize>();
        prop_assert_eq!(&directory.group_sizes(&file).expect("sound"), &groups);
        let mut wanted: Vec<u32> = Vec::new();
        if !groups.is_empty() {
            wanted.extend(some.iter().map(|index| index.index(groups.len()) as u32));
            wanted.sort_unstable();
            wanted.dedup();
        }
        let expected: Vec<Range<usize>> = wanted
            .iter()
            .map(|group| rows_before(*group as usize)..rows_before(*group as usize + 1))
            .collect();
        prop_assert_eq!(directory.rows(&file, &wanted).expect("sound"), expected);
        directory.rows(&file, &[groups.len() as u32]).expect_err("there is no such group");
    }

    #[test]
    fn a_flipped_bit_is_noticed_by_whoever_reads_it(
        has_table in any::<bool>(),
        postings in any_postings(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut file = file_of(&groups(has_table), &postings);
        let read = |file: &[u8]| Directory::of(file).and_then(|directory| {
            directory.group_sizes(file)?;
            directory.kinds().iter().try_for_each(|kind| directory.walk(file, kind, &mut |_| {}))
        });
        prop_assert_eq!(read(&file), Ok(()));
        let bit = at.index(file.len() * 8);
        file[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read(&file).is_err());
    }

    #[test]
    fn no_bytes_under_right_checksums_make_it_panic(
        directory in prop::collection::vec(prop_oneof![Just(0), 0..4_u8, any::<u8>()], 0..120),
        block in prop::collection::vec(any::<u8>(), 0..60),
        is_directory in any::<bool>(),
        has_groups in any::<bool>(),
    ) {
        let mut file = around(&block, has_groups);
        if is_directory {
            file.truncate(MAGIC.len());
            file.extend_from_slice(&directory);
            file.extend_from_slice(&crc32c(&directory).to_le_bytes());
            file.extend_from_slice(&(directory.len() as u32).to_le_bytes());
            file.extend_from_slice(MAGIC);
        }
        let read = Directory::of(&file);
        prop_assert!(read.is_ok() || is_directory);
        if let Ok(directory) = read {
            let _ = (directory.group_sizes(&file), directory.rows(&file, &[0, 1, 127, 128]));
            for kind in directory.kinds() {
                let _ = directory.walk(&file, kind, &mut |_| {});
                let _ = directory.count(&file, kind, u64::MAX);
                directory.bytes(kind);
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_no_index() {
    let posting = |group: u32| Posting { key: u64::from(group) << 20, group };
    let file =
        file_of(&[2; 300], &Postings::from([("order_id".to_owned(), (0..300).map(posting).collect())]));
    Directory::of(&file).expect("whole");
    for end in 0..file.len() {
        Directory::of(&file[..end]).expect_err("cut");
    }
}
