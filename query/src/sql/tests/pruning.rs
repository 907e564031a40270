//! What a statement does not open: segments of another time, segments without the id it asks for.

use super::*;

const HOUR: i64 = 3_600 * SECOND;

/// Eight segments of an hour each; `ORD-n` is in the n-th.
async fn eight_hours() -> TestStore {
    let store = TestStore::open().await;
    for hour in 0..8_i64 {
        let order = format!("ORD-{hour}");
        let attributes = [("order_id", order.as_str())];
        let span = TestSpan {
            service: if hour == 3 { "billing" } else { "checkout" },
            name: "POST /pay",
            trace: hour as u64 + 1,
            start: -8 * HOUR + hour * HOUR,
            duration: MS,
            attributes: &attributes,
            ..TestSpan::default()
        };
        let spans: Vec<TestSpan<'_>> = (0..50).map(|at| TestSpan { span: at, ..span.clone() }).collect();
        store.spans(&spans).await;
        store.store.seal().await.expect("sealed");
    }
    let span = TestSpan { service: "head", name: "now", trace: 99, start: -SECOND, ..TestSpan::default() };
    store.spans(&[span]).await;
    store
}

/// The only value of the answer; segments read and pruned; rows of the head.
async fn cost(store: &TestStore, query: &str) -> (serde_json::Value, u64, u64, u64) {
    let answer = ask(store, query, None).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let stats = &answer.stats;
    (answer.rows[0][0].clone(), stats.segments_read, stats.segments_pruned, stats.head_rows)
}

#[tokio::test]
async fn segments_and_head_of_another_time_are_not_read() {
    let store = eight_hours().await;
    for (filter, count, read, head) in [
        ("start_time < timestamp '2027-01-15T02:30:00Z'", 150, 3, 0),
        ("start_time >= timestamp '2027-01-15T06:30:00Z'", 51, 1, 1),
        (
            "start_time between timestamp '2027-01-15T02:00:00Z' and timestamp '2027-01-15T03:00:00Z'",
            100,
            2,
            0,
        ),
        ("start_time > timestamp '2030-01-01T00:00:00Z'", 0, 0, 0),
        (
            "start_time < timestamp '2027-01-15T02:30:00Z' and start_time > timestamp '2027-01-15T05:00:00Z'",
            0,
            0,
            0,
        ),
        ("start_time < timestamp '2027-01-15T00:30:00Z' or name = 'now'", 51, 8, 1),
    ] {
        let found = cost(&store, &format!("select count(name) from spans where {filter}")).await;
        assert_eq!(found, (json!(count), read, 8 - read, head), "{filter}");
    }
}

#[tokio::test]
async fn a_trace_or_an_id_is_found_through_the_identity_index() {
    let store = eight_hours().await;
    let trace = "07070707070707070000000000000004";
    for (filter, count, read) in [
        (format!("trace_id = X'{trace}'"), 50, 1),
        (format!("trace_id in (X'{trace}', X'07070707070707070000000000000005')"), 100, 2),
        ("array_has(ids, 'order_id=ORD-3')".to_owned(), 50, 1),
        ("'order_id=ORD-3' = any(ids)".to_owned(), 50, 1),
        ("array_has_any(ids, ['order_id=ORD-3', 'order_id=ORD-5'])".to_owned(), 100, 2),
        ("array_has(ids, 'order_id=ORD-3') and service = 'billing'".to_owned(), 50, 1),
        (format!("array_has(ids, 'order_id=ORD-4') and trace_id = X'{trace}'"), 0, 0),
        ("array_has(ids, 'order_id=ORD-404')".to_owned(), 0, 0),
        (format!("trace_id = X'{trace}' or service = 'checkout'"), 400, 8),
        ("not array_has(ids, 'order_id=ORD-3')".to_owned(), 351, 8),
    ] {
        let (found, segments, _, _) =
            cost(&store, &format!("select count(name) from spans where {filter}")).await;
        assert_eq!((found, segments), (json!(count), read), "{filter}");
    }
}

#[tokio::test]
async fn a_plan_does_not_tell_where_the_data_folder_is() {
    let store = eight_hours().await;
    let plan = ask(&store, "explain select name from spans", None).await.expect("explained");
    let text = format!("{:?}", plan.rows);
    assert!(
        text.contains("data.parquet") && !text.contains(&std::env::temp_dir().to_string_lossy()[1..]),
        "{text}"
    );
}

#[tokio::test]
async fn counting_all_rows_reads_none_of_a_segment() {
    let store = eight_hours().await;
    let answer = ask(&store, "select count(*) from spans", None).await.expect("answered");
    assert_eq!(answer.rows, [[json!(401)]]);
}

#[tokio::test]
async fn reading_more_than_allowed_names_the_limit() {
    let store = eight_hours().await;
    let limits = SqlLimits { scan_bytes_max: 500, ..SqlLimits::default() };
    let request = SqlRequest { query: "select name, attributes from spans".to_owned(), limit: None };
    let error = Runner::Thread.run(store.store.snapshot(), request, limits, ()).await.expect_err("too much");
    assert!(
        matches!(&error, SqlError::Limit { message, .. } if message.contains("scan_bytes_max")),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_rows_of_a_segment_that_cannot_be_read_are_named_as_missing() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = TestStore::open_in(dir.path()).await;
    let span = TestSpan { service: "a", name: "b", trace: 1, start: -SECOND, ..TestSpan::default() };
    store.spans(&[span]).await;
    store.store.close().await.expect("closed");
    drop(store);
    let table = dir.path().join("segments/spans");
    let segment = std::fs::read_dir(table).expect("a table").next().expect("one").expect("readable").path();
    std::fs::write(segment.join("data.parquet"), b"nothing").expect("written");
    let store = TestStore::open_in(dir.path()).await;
    let answer = ask(&store, "select count(*) from spans", None).await.expect("answered");
    assert_eq!((&answer.rows[0][0], &*answer.cuts[0].limit), (&json!(0), "unreadable segments"));
    assert!(ask(&store, "select count(*) from logs", None).await.expect("answered").cuts.is_empty());
}
