//! Each line of the table in `docs/formats/positions.md`, and a model that counts records.

use model::UnixNano;
use model::wire::{put_bytes, put_message};
use proptest::prelude::*;

use super::*;

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

/// Positions of a store where the agent has session 2 and stream 1 is committed up to 100.
fn some() -> Positions {
    let mut positions = Positions::default();
    let session = Change { key: Key::Session(AGENT), value: Some(2) };
    positions.apply([session, Change { key: Key::Stream(AGENT, stream(1)), value: Some(100) }], NOW);
    positions
}

fn verdict(origin: Origin) -> Verdict {
    judge(&Extension::from(origin), &some())
}

fn moves(verdict: Verdict) -> Vec<(Key, Option<u64>)> {
    match verdict {
        Verdict::Write(changes) => changes.into_iter().map(|change| (change.key, change.value)).collect(),
        other => panic!("{other:?}"),
    }
}

fn refusal(origin: Origin) -> PositionRefusal {
    match verdict(origin) {
        Verdict::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn to(of: u8, position: u64) -> (Key, Option<u64>) {
    (Key::Stream(AGENT, stream(of)), Some(position))
}

#[test]
fn what_starts_where_the_stream_stands_is_written() {
    assert_eq!(moves(verdict(from(2, vec![range(1, 100, &[120, 150])]))), [to(1, 150)]);
    let nothing_but_progress = Range::new(stream(1), 100, 130, 0);
    assert_eq!(moves(verdict(from(2, vec![nothing_but_progress]))), [to(1, 130)]);
}

#[test]
fn a_stream_begins_where_its_sender_says_if_it_says_so() {
    assert_eq!(moves(verdict(from(2, vec![begins(range(9, 5_000, &[5_001]))]))), [to(9, 5_001)]);
    assert_eq!(moves(verdict(from(2, vec![begins(range(9, 5_000, &[]))]))), [to(9, 5_000)]);
    let refused = refusal(from(2, vec![range(9, 0, &[10])]));
    assert_eq!((refused.mismatch, refused.committed), (Mismatch::Gap, vec![(stream(9), None)]));
}

#[test]
fn what_is_there_is_known_and_begins_does_not_change_that() {
    assert_eq!(verdict(from(2, vec![range(1, 0, &[50, 100])])), Verdict::Known);
    assert_eq!(verdict(from(2, vec![begins(range(1, 40, &[60]))])), Verdict::Known);
    assert_eq!(verdict(from(2, vec![range(1, 100, &[])])), Verdict::Known, "an empty range says nothing");
}

#[test]
fn an_overlap_is_cut_at_what_is_there_and_then_written() {
    let overlap = range(1, 80, &[90, 100, 101, 140]);
    let origin = from(2, vec![overlap.clone(), range(1, 140, &[150])]);
    assert_eq!(verdict(origin.clone()), Verdict::Trim(vec![Some(100), None]));
    let mut cut = Extension::from(origin);
    cut.ranges[0].1 = Some(100);
    assert_eq!(moves(judge(&cut, &some())), [to(1, 150)]);
    cut.ranges[0].1 = Some(90);
    assert_eq!(judge(&cut, &some()), Verdict::Trim(vec![Some(100), None]), "it has moved meanwhile");

    let without_ends = Range::new(stream(1), 80, 140, 4);
    let refused = refusal(from(2, vec![without_ends]));
    assert_eq!((refused.mismatch, refused.committed), (Mismatch::Overlap, vec![(stream(1), Some(100))]));
    let without_records = Range::new(stream(1), 80, 140, 0);
    assert_eq!(moves(verdict(from(2, vec![without_records]))), [to(1, 140)], "there is nothing to cut");
}

#[test]
fn a_gap_is_refused_as_a_whole_with_where_to_go_on() {
    let refused = refusal(from(2, vec![begins(range(9, 0, &[10])), range(1, 101, &[110])]));
    assert_eq!(refused.mismatch, Mismatch::Gap);
    assert_eq!(refused.committed, [(stream(9), None), (stream(1), Some(100))]);
    assert_eq!(refused.session, 2);
}

#[test]
fn only_the_newest_session_writes() {
    let of = |session| refusal(from(session, vec![range(1, 100, &[110])]));
    assert_eq!((of(1).mismatch, of(1).session), (Mismatch::Session, 2));
    assert_eq!((of(3).mismatch, of(3).session), (Mismatch::SessionUnknown, 2));
    let hello = |session| judge(&Extension::hello(AGENT, session, vec![stream(1)]), &some());
    assert!(matches!(hello(2), Verdict::Refuse(refusal) if refusal.mismatch == Mismatch::Session));
    let forgotten = (Key::Stream(AGENT, stream(1)), None);
    assert_eq!(moves(hello(3)), [(Key::Session(AGENT), Some(3)), forgotten]);
}

#[test]
fn an_agent_may_not_have_streams_without_end() {
    let mut positions = some();
    let of = |number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        Key::Stream(AGENT, StreamId(id))
    };
    let many = model::positions::STREAMS_MAX as u32;
    positions.apply((1..many).map(|number| Change { key: of(number), value: Some(1) }), NOW);
    let new = Extension::from(from(2, vec![begins(range(9, 0, &[1]))]));
    assert!(
        matches!(judge(&new, &positions), Verdict::Refuse(refusal) if refusal.mismatch == Mismatch::Streams)
    );
    positions.apply([Change { key: of(5), value: None }], NOW);
    assert!(matches!(judge(&new, &positions), Verdict::Write(_)));
}

#[test]
fn a_kafka_partition_goes_on_where_it_stands_and_begins_anew_when_told() {
    let mut positions = Positions::default();
    let judged = |positions: &Positions, origin| judge(&Extension::from(origin), positions);
    let next = |offset| vec![(Key::Kafka("orders".to_owned(), 3), Some(offset))];
    assert_eq!(moves(judged(&positions, kafka(40, 41, false))), next(41), "nothing is known of it");
    positions.apply([Change { key: Key::Kafka("orders".to_owned(), 3), value: Some(50) }], NOW);
    assert_eq!(judged(&positions, kafka(49, 50, false)), Verdict::Known);
    assert_eq!(moves(judged(&positions, kafka(50, 58, false))), next(58), "offsets may have holes");
    let gap = judged(&positions, kafka(51, 52, false));
    assert!(matches!(gap, Verdict::Refuse(refusal) if refusal.mismatch == Mismatch::Gap));
    assert_eq!(moves(judged(&positions, kafka(0, 1, true))), next(1), "the topic was created anew");
    assert_eq!(
        moves(judged(&positions, kafka(70, 71, true))),
        next(71),
        "another store read the ones between"
    );
}

#[test]
fn streams_that_did_not_move_for_a_month_are_forgotten_and_their_agent_after_them() {
    let mut positions = some();
    positions.take_dirty();
    let later = UnixNano(NOW.0 + 31 * 24 * 3_600 * 1_000_000_000);
    positions.apply([Change { key: Key::Stream(AGENT, stream(2)), value: Some(5) }], later);
    positions.forget_idle(later);
    assert_eq!(positions.streams_of(AGENT), [(stream(2), 5)]);
    assert_eq!(positions.session(AGENT), 2, "the agent has a stream left");
    let removed = (Key::Stream(AGENT, stream(1)), None);
    assert!(positions.take_dirty().contains(&removed), "the catalog forgets it too");
    positions.forget_idle(UnixNano(later.0 + 31 * 24 * 3_600 * 1_000_000_000));
    assert_eq!(positions.session(AGENT), 0);
    assert_eq!(positions.take_dirty().len(), 2);
}

/// A request of records with these texts, in scopes of three.
fn request(texts: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |group| {
        put_bytes(group, 1, b"");
        for scope in texts.chunks(3) {
            put_message(group, 2, |out| scope.iter().for_each(|text| put_bytes(out, 2, text.as_bytes())));
        }
    });
    out
}

proptest! {
    #[test]
    fn an_extension_that_is_written_is_read(
        session: u64, hello: bool, committed: Option<u64>, starts in proptest::collection::vec(0u64..1000, 0..5),
    ) {
        let ranges = starts.iter().map(|start| (range(1, *start, &[start + 1, start + 9]), committed)).collect();
        let extension = Extension {
            agent: Some((AGENT, session)),
            is_hello: hello,
            ranges,
            kafka: vec![KafkaRange { topic: "t".to_owned(), partition: 1, start: 2, end: session, resets: hello }],
            forget: vec![stream(3)],
        };
        prop_assert_eq!(Extension::decode(&extension.encode()).expect("sound"), extension);
    }

    #[test]
    fn any_extension_and_request_end_without_panic(
        extension in proptest::collection::vec(any::<u8>(), 0..200),
        request in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(extension) = Extension::decode(&extension) {
            let _ = extension.without_dropped(&request);
            let _ = judge(&extension, &some());
        }
    }

    /// Requests of one stream cut at will, some of them again, some too early: each record is kept once.
    #[test]
    fn however_a_stream_is_cut_and_repeated_each_record_is_kept_once(
        sent in proptest::collection::vec((0usize..30, 1usize..12), 1..40),
    ) {
        let texts: Vec<String> = (0..40).map(|record| format!("record {record}")).collect();
        let mut positions = some();
        let mut kept = Vec::new();
        for (first, count) in sent {
            let texts = &texts[first..(first + count).min(40)];
            let ends: Vec<u64> = (first..first + texts.len()).map(|record| 100 + 10 * (record as u64 + 1)).collect();
            let mut extension = Extension::from(from(2, vec![range(1, 100 + 10 * first as u64, &ends)]));
            let mut verdict = judge(&extension, &positions);
            if let Verdict::Trim(committed) = &verdict {
                extension.ranges[0].1 = committed[0];
                verdict = judge(&extension, &positions);
            }
            if let Verdict::Write(changes) = verdict {
                let request = request(texts);
                let rest = extension.without_dropped(&request).unwrap_or(request);
                kept.extend(model::otlp::resources(&rest).expect("sound").flat_map(|group| {
                    let scopes = group.expect("sound").scopes().map(|scope| scope.expect("sound"));
                    scopes.flat_map(|scope| scope.items().map(<[u8]>::to_vec)).collect::<Vec<_>>()
                }));
                positions.apply(changes, NOW);
            }
        }
        let expected: Vec<Vec<u8>> = texts[..kept.len()].iter().map(|text| text.clone().into_bytes()).collect();
        prop_assert_eq!(kept, expected);
    }
}
