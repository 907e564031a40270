//! Distinct counts of whole maps and lists.

use super::stored::many_spans;
use super::*;

#[tokio::test]
async fn distinct_maps_and_lists_are_counted_alone_and_otherwise_by_what_the_refusal_proposes() {
    let store = many_spans().await;
    for is_sealed in [false, true] {
        for (statement, expected) in [
            ("select count(distinct attributes) from spans", vec![json!(6_000)]),
            ("select count(distinct ids) from spans", vec![json!(2_000)]),
            (
                "select count(distinct spans.attributes), max(duration_nano) from spans",
                vec![json!(6_000), json!(999)],
            ),
            (
                "select service, count(distinct ids) as n, sum(1) from spans group by 1 order by 1 limit 1",
                vec![json!("billing"), json!(2_000), json!(3_000)],
            ),
            (
                "select count(*), (select count(distinct ids) from spans) from spans",
                vec![json!(6_000), json!(2_000)],
            ),
            (
                "select count(distinct attributes['order_id']), count(*) from spans",
                vec![json!(2_000), json!(6_000)],
            ),
            (
                "select count(distinct trace_id), count(*), avg(1) from spans",
                vec![json!(100), json!(6_000), json!(1.0)],
            ),
        ] {
            let rows = rows(&store, statement).await;
            assert_eq!(rows, [expected], "{statement}, sealed: {is_sealed}");
        }
        store.store.seal().await.expect("sealed");
    }
}

#[test]
fn a_distinct_count_of_maps_or_lists_beside_other_aggregates_is_refused_with_what_to_write() {
    for (statement, part) in [
        ("select count(distinct attributes), count(*) from spans", "count(distinct attributes['key'])"),
        (
            "select COUNT(DISTINCT spans.attributes), avg(duration_nano) from spans",
            "(select count(distinct spans.attributes) from …)",
        ),
        ("select count(distinct (\"labels\")), count(distinct service) from points", "whole maps"),
        ("select service from logs group by 1 having count(distinct ids) > count(*)", "whole lists"),
        ("select count(distinct events) filter (where name = 'a') from spans", "whole lists"),
        ("select service, count(distinct ids) from spans group by rollup(service)", "whole lists"),
        ("select 1 where exists (select count(distinct ids), stddev(value) from points)", "whole lists"),
    ] {
        refused(statement, part);
    }
}

/// When this is answered, DataFusion keeps less, and the refusal can go.
#[tokio::test]
async fn a_map_under_another_name_meets_the_limit_of_memory() {
    let store = many_spans().await;
    let statement = "select count(distinct a), count(*) from (select attributes as a from spans)";
    let error = ask(&store, statement, None).await.expect_err("300 KB a row");
    assert!(error.to_string().contains("not enough memory"), "{error:?}");
}
