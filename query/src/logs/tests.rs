//! Searches, counts and tails over a real store.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use query_api::LogRecord;

use super::*;
use crate::search::{parse, parse_with_ids};
use crate::testing::{NOW, SECOND, TestLog, TestStore, last_15m};

fn run(store: &TestStore, text: &str, limit: usize) -> LogsAnswer {
    let query = parse_with_ids(text, store.store.ids()).expect(text);
    search(&store.store.snapshot(), &query, last_15m(), limit, &Cancel::default()).expect("readable")
}

fn bodies(answer: &LogsAnswer) -> Vec<&str> {
    answer.records.iter().map(|record| &*record.body).collect()
}

async fn filled() -> TestStore {
    let store = TestStore::open().await;
    let log = TestLog { service: "billing", severity: 9, body: "paid", ..TestLog::default() };
    store
        .logs(&[
            TestLog { time: -3 * SECOND, body: "third", severity: 17, ..log.clone() },
            TestLog { time: -SECOND, body: "first", attributes: &[("order_id", "ORD-1")], ..log.clone() },
        ])
        .await;
    store.store.seal().await.expect("sealed");
    store
        .logs(&[
            TestLog { time: -2 * SECOND, body: "second", service: "shipping", severity: 13, ..log.clone() },
            TestLog { time: -4 * SECOND, body: "fourth", level: "WARN", severity: 0, ..log.clone() },
            TestLog { time: -3600 * SECOND, body: "long ago", ..log },
        ])
        .await;
    store
}

#[tokio::test]
async fn the_latest_records_come_oldest_first_and_all_are_counted() {
    let store = filled().await;
    let answer = run(&store, "*", 2);
    assert_eq!(bodies(&answer), ["second", "first"]);
    assert_eq!(answer.matched, 4);
    assert_eq!(answer.cuts.len(), 1);
    assert_eq!(answer.cuts[0].limit, "limit");
    let total = |of: fn(&query_api::LogBucket) -> u64| answer.histogram.iter().map(of).sum::<u64>();
    assert_eq!((total(|b| b.errors), total(|b| b.warnings), total(|b| b.others)), (1, 2, 1));
    let services: Vec<_> = answer.facets[0].values.iter().map(|v| (&*v.value, v.count)).collect();
    assert_eq!(services, [("billing", 3), ("shipping", 1)]);
    let levels: Vec<_> = answer.facets[1].values.iter().map(|v| (&*v.value, v.count)).collect();
    assert_eq!(levels, [("WARN", 2), ("ERROR", 1), ("INFO", 1)]);
    assert!(answer.stats.segments_read == 1 && answer.stats.head_rows == 3, "{:?}", answer.stats);

    let all = run(&store, "*", 10);
    assert_eq!(bodies(&all), ["fourth", "third", "second", "first"]);
    assert_eq!(all.cuts, []);
    assert_eq!(all.records[0].severity, "WARN");
    assert_eq!(all.records[1].severity, "ERROR");
    assert!(run(&store, "*", 0).records.is_empty());
}

#[tokio::test]
async fn a_search_for_an_id_reads_only_what_the_index_names() {
    let store = filled().await;
    let answer = run(&store, "order_id:ORD-1 first", 10);
    assert_eq!(bodies(&answer), ["first"]);
    assert_eq!(answer.records[0].ids, ["order_id=ORD-1".parse().expect("a term")]);
    assert_eq!(answer.stats.rows_scanned, 1, "{:?}", answer.stats);
    assert_eq!(run(&store, "order_id:ORD-2", 10).matched, 0);
}

/// Lines of three kinds, one of which says what another says with a number between the words.
async fn many_lines() -> (TestStore, Vec<String>) {
    let store = TestStore::open().await;
    let body = |row: usize| match row % 3 {
        0 => format!("Stock reserved for order {row}, item {}", row % 7),
        1 => format!("stock {row} reserved"),
        _ => format!("took {row} ms: rolling stock"),
    };
    let bodies: Vec<String> = (0..3_000).map(body).collect();
    let log = |row: usize| TestLog {
        service: ["billing", "shipping"][row % 2],
        severity: if row.is_multiple_of(5) { 17 } else { 9 },
        body: &bodies[row],
        time: row as i64 - 3_000,
        ..TestLog::default()
    };
    for some in (0..bodies.len()).collect::<Vec<_>>().chunks(600) {
        store.logs(&some.iter().map(|row| log(*row)).collect::<Vec<_>>()).await;
        store.store.seal().await.expect("sealed");
    }
    store.store.compact().await.expect("merged");
    // One more is in the head.
    store
        .logs(&[TestLog { body: "stock reserved", service: "billing", severity: 9, ..TestLog::default() }])
        .await;
    (store, [bodies, vec!["stock reserved".to_owned()]].concat())
}

#[tokio::test]
async fn what_the_text_index_is_sure_of_is_counted_as_if_it_were_read() {
    let (store, texts) = many_lines().await;
    let count = |is_match: &dyn Fn(usize, &str) -> bool| {
        texts.iter().enumerate().filter(|(row, body)| is_match(*row, &body.to_lowercase())).count() as u64
    };
    let is_billing = |row: usize| row.is_multiple_of(2);
    let expected: [(&str, u64); 7] = [
        ("\"stock reserved\"", count(&|_, body| body.contains("stock reserved"))),
        ("STOCK", count(&|_, body| body.contains("stock"))),
        ("stock*reserved", count(&|_, body| body.contains("stock") && body.contains("reserved"))),
        (
            "\"stock reserved\" service:billing",
            count(&|row, body| body.contains("stock reserved") && is_billing(row)),
        ),
        ("stock -rolling", count(&|_, body| body.contains("stock") && !body.contains("rolling"))),
        ("reserved (item OR ms)", count(&|_, body| body.contains("reserved") && body.contains("item"))),
        (
            "\"item 3\" level>=error",
            count(&|row, body| body.contains("item 3") && row.is_multiple_of(5) && row < 3_000),
        ),
    ];
    for (text, count_expected) in expected {
        let answer = run(&store, text, 5);
        assert_eq!(answer.matched, count_expected, "{text}");
        let buckets: u64 = answer.histogram.iter().map(|of| of.errors + of.warnings + of.others).sum();
        let services: u64 = answer.facets[0].values.iter().map(|value| value.count).sum();
        assert_eq!((buckets, services), (count_expected, count_expected), "{text}");
        let counted = count_of(&store, text, &[]);
        assert_eq!(counted, count_expected, "{text}");
        assert!(answer.records.iter().all(|record| !record.body.is_empty() && !record.resource.is_empty()));
    }
    assert_eq!(bodies(&run(&store, "\"stock reserved\"", 2)), [&*texts[2_997], &*texts[3_000]]);
}

fn count_of(store: &TestStore, text: &str, by: &[String]) -> u64 {
    let query = parse_with_ids(text, store.store.ids()).expect(text);
    let counts = count(&store.store.snapshot(), &query, by, last_15m(), &Cancel::default()).expect("counted");
    counts.iter().map(|(_, count)| count).sum()
}

#[tokio::test]
async fn a_search_nobody_waits_for_stops_early() {
    let store = filled().await;
    let cancel = Cancel::default();
    cancel.cancel();
    let query = parse("*").expect("valid");
    let answer = search(&store.store.snapshot(), &query, last_15m(), 10, &cancel).expect("readable");
    assert!(answer.matched < 4, "{}", answer.matched);
}

#[tokio::test]
async fn counts_group_by_fields_and_leave_out_what_a_record_does_not_have() {
    let store = filled().await;
    let counts = |text: &str, by: &[&str]| {
        let query = parse(text).expect(text);
        let by: Vec<String> = by.iter().map(|field| (*field).to_owned()).collect();
        count(&store.store.snapshot(), &query, &by, last_15m(), &Cancel::default()).expect("counted")
    };
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(counts("*", &[]), [(labels(&[]), 4)]);
    assert_eq!(counts("nowhere", &[]), [(labels(&[]), 0)]);
    assert_eq!(counts("nowhere", &["service"]), []);
    assert_eq!(
        counts("level>=warn", &["service", "level"]),
        [
            (labels(&[("level", "ERROR"), ("service", "billing")]), 1),
            (labels(&[("level", "WARN"), ("service", "billing")]), 1),
            (labels(&[("level", "WARN"), ("service", "shipping")]), 1),
        ]
    );
    assert_eq!(counts("*", &["order_id"]), [(labels(&[]), 3), (labels(&[("order_id", "ORD-1")]), 1)]);
    assert_eq!(counts("*", &["resource.host.name"]), [(labels(&[("resource.host.name", "host-1")]), 4)]);
}

/// The next lines of a tail that are not empty.
async fn next_lines(tail: &mut (impl futures_util::Stream<Item = bytes::Bytes> + Unpin)) -> Vec<String> {
    let deadline = Duration::from_secs(20);
    let chunk =
        tokio::time::timeout(deadline, tail.next()).await.expect("a line in time").expect("no end yet");
    String::from_utf8(chunk.to_vec()).expect("text").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_tail_sends_what_matches_as_it_arrives() {
    let store = filled().await;
    let mut tail = Box::pin(tail(&store.store, parse("level:error").expect("valid")));
    let log = TestLog { service: "billing", severity: 17, body: "refused", ..TestLog::default() };
    store.logs(&[TestLog { severity: 9, body: "fine", ..log.clone() }]).await;
    store.logs(&[log]).await;
    let lines = next_lines(&mut tail).await;
    let record: LogRecord = serde_json::from_str(&lines[0]).expect("a record");
    assert_eq!((lines.len(), &*record.body, record.time), (1, "refused", NOW));
}

#[tokio::test]
async fn a_slow_reader_is_told_exactly_how_many_records_it_missed() {
    let store = TestStore::open().await;
    let mut tail = Box::pin(tail(&store.store, parse("*").expect("valid")));
    let log = TestLog { service: "billing", body: "x", ..TestLog::default() };
    // The broadcast keeps 1,024 batches: of 1,100 with two records each the first 76 are lost.
    let appends = (0..1_100).map(|_| async { store.logs(&[log.clone(), log.clone()]).await });
    futures_util::stream::iter(appends).buffer_unordered(64).collect::<Vec<()>>().await;
    assert_eq!(next_lines(&mut tail).await, [r#"{"skipped":152}"#]);
    let mut received = 0;
    while received < 2_048 {
        received += next_lines(&mut tail).await.len();
    }
    assert_eq!(received, 2_048);
}
