//! The file's bytes: what comes back, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::samples;

#[test]
fn what_is_written_is_read_again() {
    let case = samples::case();
    let bytes = write(&case).expect("written");
    assert_eq!(read(&bytes).expect("read"), case);
    assert_eq!(&bytes[..8], MAGIC);
}

#[test]
fn a_file_of_a_later_version_is_refused_by_its_number() {
    let mut bytes = write(&samples::case()).expect("written");
    bytes[8] = 2;
    assert_eq!(read(&bytes), Err(FileError::TooNew { found: 2 }));
    let said = FileError::TooNew { found: 2 }.to_string();
    assert!(said.contains("version 2") && said.contains("up to 1"), "{said}");
}

#[test]
fn what_is_no_case_is_told_from_a_damaged_one() {
    for bytes in [&b""[..], b"{}", b"SILM", b"PAR1"] {
        assert_eq!(read(bytes), Err(FileError::NoCase));
    }
    let bytes = write(&samples::case()).expect("written");
    for end in MAGIC.len()..bytes.len() {
        let error = read(&bytes[..end]).expect_err("cut");
        assert!(matches!(error, FileError::Damaged { .. }), "cut at {end}: {error}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(read(&longer), Err(FileError::Damaged { .. })), "something after the end");
}

/// A file with one section of any content.
fn with_section(name: &str, raw_bytes: u32, packed: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0, 0, 0, name.len() as u8]);
    bytes.extend(name.as_bytes());
    bytes.extend(raw_bytes.to_le_bytes());
    bytes.extend((packed.len() as u32).to_le_bytes());
    bytes.extend(crc32c::crc32c(packed).to_le_bytes());
    bytes.extend(packed);
    bytes.push(0);
    bytes.extend(1u32.to_le_bytes());
    bytes
}

#[test]
fn a_frame_that_unpacks_to_more_than_it_says_is_not_unpacked_further() {
    let bomb = zstd::bulk::compress(&vec![b' '; 64 << 20], 1).expect("packed");
    assert!(bomb.len() < 1 << 20, "it is a bomb");
    let error = read(&with_section("about", 100, &bomb)).expect_err("more than it says");
    assert!(error.to_string().contains("has not the 100 bytes"), "{error}");
    let error = read(&with_section("about", u32::MAX, &bomb)).expect_err("too large");
    assert!(matches!(error, FileError::TooLarge { .. }), "{error}");
}

#[test]
fn a_number_that_points_past_a_list_is_refused() {
    let mut case = samples::case();
    case.journey.failure.as_mut().expect("a failure").row = 99;
    let error = read(&write(&case).expect("written")).expect_err("row 99");
    assert!(error.to_string().contains("row 99 of 6"), "{error}");
    let mut case = samples::case();
    case.graph.as_mut().expect("a graph").edges[0].to = 7;
    let error = read(&write(&case).expect("written")).expect_err("node 7");
    assert!(error.to_string().contains("node 7 of 2"), "{error}");
}

#[test]
fn a_section_that_this_version_does_not_know_is_skipped() {
    let case = samples::case();
    let mut out = Writer::new();
    out.section("from_the_future", &vec![1, 2, 3]).expect("written");
    out.section("about", &case.about).expect("written");
    out.section("journey", &case.journey).expect("written");
    let read = read(&out.end().expect("ended")).expect("read");
    assert_eq!((read.journey, read.graph), (case.journey, None));
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(mut tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0, 0, 0]);
        bytes.append(&mut tail);
        drop(read(&bytes));
    }

    #[test]
    fn a_changed_byte_is_noticed(at in 8usize..4_000, change in 1u8..=255) {
        let mut bytes = write(&samples::case()).expect("written");
        let at = at % (bytes.len() - 8) + 8;
        bytes[at] ^= change;
        // A section renamed to one that is not known may be skipped; no other change may pass.
        if let Ok(read) = read(&bytes) {
            prop_assert_eq!(read.journey, samples::case().journey);
        }
    }
}
