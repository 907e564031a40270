//! Statements on segments whose columns are not the table's give the answers they gave on the head.

use super::*;

const SPANS: u64 = 6_000;

/// Enough spans for attributes to get columns of their own; every hundredth has a rare one.
pub(super) async fn many_spans() -> TestStore {
    let store = TestStore::open().await;
    for batch in 0..6 {
        let orders: Vec<String> = (0..1_000).map(|at| format!("ORD-{}", (batch * 1_000 + at) / 3)).collect();
        let attributes: Vec<Vec<(&str, &str)>> = orders
            .iter()
            .enumerate()
            .map(|(at, order)| {
                let route = ["/pay", "/cart", "/stock"][at % 3];
                let mut attributes = vec![("order_id", order.as_str()), ("http.route", route)];
                if at % 100 == 0 {
                    attributes.push(("rare", "yes"));
                }
                attributes
            })
            .collect();
        let span = |at: usize| TestSpan {
            service: ["checkout", "billing"][at % 2],
            name: "POST",
            trace: 1 + (at / 10) as u64,
            span: batch * 1_000 + at as u64 + 1,
            start: at as i64 * -MS,
            duration: at as i64,
            attributes: &attributes[at],
            ..TestSpan::default()
        };
        store.spans(&(0..1_000).map(span).collect::<Vec<_>>()).await;
    }
    store
}

#[tokio::test]
async fn sealing_and_merging_change_no_answer() {
    let statements = [
        "select count(*) from spans",
        "select attributes['http.route'] as route, count(*) from spans group by 1 order by 1",
        "select attributes['rare'] as rare, count(*) from spans group by 1 order by 1",
        "select attributes['none'] as none, count(*) from spans group by 1",
        "select count(*), sum(duration_nano) from spans where attributes['http.route'] = '/cart' and service = 'billing'",
        "select count(*) from spans where attributes['order_id'] is null",
        "select count(*) from spans where array_has(ids, 'order_id=ORD-77')",
        "select id, count(*) from (select unnest(ids) as id from spans) group by id order by 2 desc, 1 limit 5",
        "select resource_attributes['service.name'] as name, count(*) from spans group by 1 order by 1",
        "select cardinality(attributes) as n, count(*) from spans group by 1 order by 1",
        "select ids, resource_attributes from spans where attributes['order_id'] = 'ORD-5' order by duration_nano limit 2",
    ];
    let store = many_spans().await;
    let mut before = Vec::new();
    for statement in statements {
        before.push(
            ask(&store, statement, None).await.unwrap_or_else(|error| panic!("{statement}: {error:?}")).rows,
        );
    }
    assert_eq!(before[0], [[json!(SPANS)]]);
    store.store.seal().await.expect("sealed");
    for (statement, before) in statements.iter().zip(&before) {
        let after =
            ask(&store, statement, None).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        assert_eq!(&after.rows, before, "{statement}");
        assert_eq!(after.stats.head_rows, 0, "everything is in segments");
    }
}
