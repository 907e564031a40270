//! What goes into a layout comes out again.

use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{IdRules, TraceId, UnixNano};
use proptest::prelude::*;

use super::*;
use crate::decode::decode;
use crate::rows::{LogRows, unshared};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

type Attributes = Vec<(String, String)>;

fn rows_of(records: &[(String, Attributes)]) -> RecordBatch {
    let mut request = Vec::new();
    for (at, (body, attributes)) in records.iter().enumerate() {
        let service = ["billing", "cart", "order \"7\""][at % 3];
        let mut writer = LogsWriter::new([("service.name", service), ("host.name", "h-1")]);
        let parts = LogRecordParts {
            time: NOW,
            observed_time: NOW.plus(at as i64 * 1_000 - 5),
            trace_id: TraceId::from_bytes(&[7; 16]),
            body,
            ..LogRecordParts::default()
        };
        writer.push(&parts, attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        request.extend(writer.finish());
    }
    decode(Signal::Logs, &request, &IdRules::default(), NOW, 10_000).expect("decodable").rows
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort();
    items
}

/// Checks that rows survive, and that they are stored the same way again.
fn check(rows: &RecordBatch, promoted: &[&str]) {
    let layout =
        Layout::new(Signal::Logs, promoted.iter().map(|key| (*key).to_owned()).collect(), Vec::new());
    let stored = layout.store(rows).expect("storable");
    assert_eq!(stored.schema(), layout.schema());
    assert_eq!(Layout::of_file(Signal::Logs, &stored.schema()), layout);
    let restored = layout.restore(&stored, &[]).expect("readable");
    assert_eq!(restored.schema(), unshared(rows).schema());
    let (was, is) = (LogRows::new(rows), LogRows::new(&restored));
    for row in 0..was.len() {
        assert_eq!(sorted(is.ids(row)), sorted(was.ids(row)));
        let mut attributes: Vec<_> = was.attributes(row).collect();
        attributes.sort_by_key(|(key, _)| *key);
        assert_eq!(is.attributes(row).collect::<Vec<_>>(), attributes, "sorted by key");
        assert_eq!(
            is.resource_attributes(row).collect::<Vec<_>>(),
            was.resource_attributes(row).collect::<Vec<_>>()
        );
        assert_eq!(
            (is.body(row), is.time(row), is.trace_id(row)),
            (was.body(row), was.time(row), was.trace_id(row))
        );
    }
    for name in ["observed_time", "service", "severity_text", "scope", "event_name"] {
        assert_eq!(restored.column_by_name(name), rows.column_by_name(name), "{name}");
    }
    assert_eq!(layout.store(&restored).expect("storable"), stored, "the form depends on the values alone");
}

fn record(body: &str, attributes: &[(&str, &str)]) -> (String, Attributes) {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    (body.to_owned(), attributes.iter().map(own).collect())
}

#[test]
fn ids_that_attributes_hold_are_named_and_others_are_written_out() {
    let rows = rows_of(&[record("retry order_id=ORD-7", &[("correlation_id", "c-1"), ("a", "ORD-8")])]);
    let layout = Layout::new(Signal::Logs, vec!["correlation_id".to_owned()], Vec::new());
    let stored = layout.store(&rows).expect("storable");
    let text = stored.column_by_name(ID_ATTRIBUTES).expect("a column").as_string::<i32>();
    assert_eq!(text.value(0), "correlation_id=correlation_id");
    let others = stored.column_by_name("ids").expect("a column").as_list::<i32>().values();
    assert_eq!(others.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["order_id=ORD-7"]);
    let held = stored.column_by_name("attributes.correlation_id").expect("a column").as_string::<i32>();
    assert_eq!(held.value(0), "c-1");
    check(&rows, &["correlation_id"]);
}

#[test]
fn odd_keys_and_keys_that_stand_twice_survive() {
    let rows = rows_of(&[
        record("x", &[("b", "1"), ("a", "2"), ("b", "3"), ("", "4"), ("order id", "5"), ("ü=", "6")]),
        record("y", &[]),
        record("z", &[("order_id", "ORD-1"), ("order_id", "ORD-2"), ("entries.key", "7")]),
    ]);
    check(&rows, &["b", "order_id"]);
    check(&rows, &[]);
}

#[test]
fn keys_that_many_rows_have_get_columns_and_those_that_vary_no_dictionary() {
    let record = |at: usize| {
        let mut attributes =
            vec![("id".to_owned(), format!("{at}")), ("kind".to_owned(), format!("{}", at % 3))];
        if at == 0 {
            attributes.push(("rare".to_owned(), "x".to_owned()));
        }
        (String::new(), attributes)
    };
    let rows = rows_of(&(0..4_800).map(record).collect::<Vec<_>>());
    let mut counts = KeyCounts::default();
    counts.add_sample(&rows, 4_800);
    let layout = counts.layout(Signal::Logs, &[]);
    assert_eq!(layout.promoted(), ["id", "kind"]);
    assert_eq!((layout.repeats("attributes.id"), layout.repeats("attributes.kind")), (false, true));
    let mut few = KeyCounts::default();
    few.add_sample(&rows.slice(0, 100), 100);
    assert!(few.layout(Signal::Logs, &[]).promoted().is_empty(), "a small file has no columns of its own");
}

#[test]
fn keys_that_are_asked_for_have_a_column_in_every_file_and_take_the_place_of_frequent_ones() {
    let record = |at: usize| {
        let attributes = (0..60).map(|key| (format!("k{key:02}"), format!("{}", at % 3)));
        (String::new(), attributes.collect::<Vec<_>>())
    };
    let rows = rows_of(&(0..4_800).map(record).collect::<Vec<_>>());
    let asked_for = ["http.route".to_owned(), "k59".to_owned(), "no column".to_owned()];
    let mut counts = KeyCounts::default();
    counts.add_sample(&rows, 4_800);
    let layout = counts.layout(Signal::Logs, &asked_for);
    let promoted = layout.promoted();
    assert_eq!(promoted.len(), PROMOTED_MAX);
    assert!(promoted.contains(&asked_for[0]) && promoted.contains(&asked_for[1]), "{promoted:?}");
    assert_eq!(
        layout.restore(&layout.store(&rows).expect("stored"), &[]).expect("restored").num_rows(),
        4_800
    );
    assert_eq!(KeyCounts::default().layout(Signal::Logs, &asked_for[..2]).promoted(), &asked_for[..2]);
    assert!(KeyCounts::default().layout(Signal::Metrics, &asked_for).promoted().is_empty());

    let promote = |keys: &[String]| Promote { logs: keys.to_vec(), ..Promote::default() };
    promote(&asked_for[..2]).check().expect("they can have columns");
    let problem = promote(&asked_for).check().expect_err("a blank");
    assert!(problem.contains("`no column`"), "{problem}");
    promote(&std::iter::repeat_n("k".to_owned(), PROMOTED_MAX + 1).collect::<Vec<_>>())
        .check()
        .expect_err("too many");
}

proptest! {
    #[test]
    fn any_rows_survive_any_layout(
        records in proptest::collection::vec(
            ("[a-z= ]{0,12}|order_id=[A-C]", proptest::collection::vec(("[a-c]|order_id|correlation_id", "[A-C]{0,2}"), 0..6)),
            1..20,
        ),
        promoted in proptest::sample::subsequence(vec!["a", "b", "correlation_id", "order_id"], 0..4),
    ) {
        check(&rows_of(&records), &promoted);
    }
}
