//! The bytes are those of the format page, and any other bytes are refused.

use proptest::prelude::*;

use super::*;

const A: StreamId = StreamId([
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lines() -> Range {
    Range { ends: vec![1_120, 1_200, 1_400], ..Range::new(A, 1_000, 1_400, 3) }
}

#[test]
fn the_examples_of_the_format_page_are_these_bytes() {
    let bytes = encode(&[lines()]);
    let expected = "0a200a1000112233445566778899aabbccddeeff10e80718f80a200332047850c801";
    assert_eq!(hex(&bytes), expected);
    assert_eq!(decode(&bytes).expect("sound"), [lines()]);

    let mut second = A;
    second.0.reverse();
    let second = Range { begins: true, ends: vec![30, 64], ..Range::new(second, 0, 64, 2) };
    let bytes = encode(&[lines(), second.clone()]);
    let expected = format!("{expected}0a1c0a10ffeeddccbbaa9988776655443322110018402002280132021e22");
    assert_eq!(hex(&bytes), expected);
    assert_eq!(decode(&bytes).expect("sound"), [lines(), second]);

    let committed = [(A, Some(1_400)), (A, None)];
    let bytes = encode_committed(&committed);
    let expected = "0a150a1000112233445566778899aabbccddeeff10f80a0a120a1000112233445566778899aabbccddeeff";
    assert_eq!(hex(&bytes), expected);
    assert_eq!(decode_committed(&bytes).expect("sound"), committed);
}

#[test]
fn an_agent_id_is_read_with_and_without_hyphens_and_written_with_them() {
    let text = "01890a5d-ac96-774b-bcce-b302099a8057";
    let id = AgentId::parse(text).expect("a UUID");
    assert_eq!(id.to_string(), text);
    assert_eq!(AgentId::parse(&text.replace('-', "")), Some(id));
    for wrong in [
        "",
        "01890a5d",
        "01890a5dac96-774b-bcce-b302099a8057-",
        "g1890a5d-ac96-774b-bcce-b302099a8057",
        "é".repeat(18).as_str(),
    ] {
        assert_eq!(AgentId::parse(wrong), None, "{wrong}");
    }
    assert_eq!(StreamId::parse(&A.to_string()), Some(A));
    assert_eq!(StreamId::parse("é".repeat(16).as_str()), None);
}

#[test]
fn ranges_that_contradict_themselves_are_refused() {
    let refused = |range: Range| decode(&encode(&[range])).expect_err("contradicts itself").to_string();
    assert!(refused(Range::new(A, 5, 4, 0)).contains("5 to 4"));
    assert!(refused(Range::new(A, 0, u64::MAX, 0)).contains("is none"));
    assert!(refused(Range { ends: vec![3], ..Range::new(A, 0, 9, 2) }).contains("1 ends for 2 records"));
    assert!(refused(Range { ends: vec![3, 10], ..Range::new(A, 0, 9, 2) }).contains("ends at 10"));
    let too_many = vec![Range::new(A, 0, 0, 0); RANGES_MAX + 1];
    assert!(decode(&encode(&too_many)).is_err());
}

#[test]
fn ranges_must_hold_what_the_request_holds_and_touch_each_other() {
    check(&[lines()], 3).expect("fits");
    assert!(check(&[lines()], 4).is_err());
    assert!(check(&[Range::new(A, 0, 9, u64::MAX), Range::new(A, 9, 10, u64::MAX)], 3).is_err());
    check(&[lines(), Range::new(A, 1_400, 1_500, 1)], 4).expect("they touch");
    assert!(check(&[lines(), Range::new(A, 1_401, 1_500, 1)], 4).is_err());
}

fn any_range() -> impl Strategy<Value = Range> {
    let deltas = proptest::collection::vec(0u64..5_000, 0..40);
    (any::<[u8; 16]>(), 0u64..1 << 40, deltas, 0u64..1_000, any::<(bool, bool)>()).prop_map(
        |(stream, start, deltas, more, (begins, has_ends))| {
            let mut at = start;
            let ends: Vec<u64> = deltas
                .iter()
                .map(|delta| {
                    at += delta;
                    at
                })
                .collect();
            let records = ends.len() as u64;
            let ends = if has_ends { ends } else { Vec::new() };
            Range { begins, ends, ..Range::new(StreamId(stream), start, at + more + 1, records) }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(ranges in proptest::collection::vec(any_range(), 0..20)) {
        prop_assert_eq!(decode(&encode(&ranges)).expect("sound"), ranges);
    }

    #[test]
    fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = decode_committed(&bytes);
    }

    #[test]
    fn damaged_positions_are_refused_or_sound(
        ranges in proptest::collection::vec(any_range(), 1..5),
        flips in proptest::collection::vec(any::<(u16, u8)>(), 1..4),
    ) {
        let mut bytes = encode(&ranges);
        for (at, with) in flips {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= with;
        }
        for range in decode(&bytes).unwrap_or_default() {
            prop_assert!(range.start <= range.end && range.end <= POSITION_MAX);
            prop_assert!(range.ends.is_sorted());
            prop_assert!(range.ends.iter().all(|end| (range.start..=range.end).contains(end)));
            prop_assert!(range.ends.is_empty() || range.ends.len() as u64 == range.records);
        }
    }
}
