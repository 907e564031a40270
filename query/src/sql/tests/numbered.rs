//! Grouping by numbers of texts: the same answers as grouping by texts, and where it is done.

use super::*;

/// Spans of few services and many names in two segments and the head; some of the head's texts are in no segment.
async fn shop() -> TestStore {
    let store = TestStore::open().await;
    for part in 0..3_u64 {
        let names: Vec<String> = (0..300).map(|at| format!("GET /{}/{}", part, at % 70)).collect();
        let spans = names.iter().enumerate().map(|(at, name)| TestSpan {
            service: ["checkout", "billing", "stock", "a service with a rather long name"]
                [at % (2 + part as usize)],
            name,
            kind: if at % 5 == 0 { SpanKind::Client } else { SpanKind::Server },
            trace: part * 1_000 + at as u64 / 3,
            span: at as u64,
            start: -SECOND,
            duration: (at as i64 + 1) * MS,
            is_error: at % 11 == 3,
            attributes: &[("order_id", "ORD-1")],
            ..TestSpan::default()
        });
        store.spans(&spans.collect::<Vec<_>>()).await;
        let logs = names.iter().enumerate().map(|(at, name)| TestLog {
            service: ["checkout", "billing"][at % 2],
            level: ["", "info", "warn"][at % 3],
            event: if at % 4 == 0 { "paid" } else { "" },
            body: name,
            time: -SECOND,
            ..TestLog::default()
        });
        store.logs(&logs.collect::<Vec<_>>()).await;
        if part < 2 {
            store.store.seal().await.expect("sealed");
        }
    }
    store
}

/// Whether a statement's plan groups by number.
async fn is_numbered(store: &TestStore, query: &str) -> bool {
    let plan = rows(store, &format!("explain {query}")).await;
    plan.iter().any(|row| row[1].to_string().contains("NumberedAggregateExec"))
}

/// Statements with `{service}` and the like, which are replaced by the column, or by something that has the same value; and
/// whether the first is grouped by number.
const GROUPED: &[(&str, bool)] = &[
    (
        "select {service}, count(*), avg(duration_nano), min(start_time), max(duration_nano) from spans group by 1",
        true,
    ),
    ("select {service}, {name}, {kind}, count(*), sum(duration_nano) from spans group by 1, 2, 3", true),
    ("select {kind}, {service}, count(distinct trace_id) from spans group by 1, 2", false),
    ("select distinct {name} from spans", true),
    ("select {service}, count(*) from spans where status = 'error' group by 1", true),
    ("select {service}, count(*) from spans where 'error' <> status and kind = 'client' group by 1", true),
    (
        "select {service}, count(*) from spans where status = 'error' and duration_nano > 50000000 group by 1",
        true,
    ),
    ("select {service}, count(*) from spans where status = 'error' or service = 'stock' group by 1", true),
    (
        "select {service}, count(*) from spans where not (status = 'error' or kind = 'client') group by 1",
        true,
    ),
    // One group: its rows count as sorted.
    ("select {service}, count(*) from spans where service = 'billing' group by 1", false),
    ("select {service}, count(*) from spans where service = 'nobody' group by 1", false),
    ("select {service}, count(*) from spans where status = 'none' group by 1", true),
    ("select {service}, count(*) from spans where status like 'err%' and kind is not null group by 1", true),
    ("select {service}, count(*) from spans where service in ('stock', 'billing') group by 1", true),
    (
        "select {service}, count(*) from spans where service in ('a', 'stock', 'b', 'billing') group by 1",
        false,
    ),
    ("select {service}, count(*) from spans where name > 'GET /1' group by 1", true),
    ("select {service}, count(*) filter (where duration_nano > 9000000) from spans group by 1", true),
    ("select {service}, count(*) filter (where status = 'error'), max(kind) from spans group by 1", true),
    ("select {service}, max(name), median(duration_nano) from spans group by 1 having count(*) > 100", true),
    ("select {service}, min(links[1]) from spans group by 1", true),
    ("select {service}, count(*) from spans where attributes['order_id'] = 'ORD-1' group by 1", true),
    ("select {service}, count(*) from spans where array_has(ids, 'order_id=ORD-1') group by 1", true),
    ("select {severity_text}, {event_name}, count(*) from logs group by 1, 2", true),
    ("select {severity_text}, count(*) from logs where event_name = 'paid' group by 1", true),
    ("select {severity_text}, count(*) from logs where body like '%/7' group by 1", true),
    ("select {service} as s, count(*) from (select service from spans) group by 1", true),
    ("select {service}, count(*) from (select * from spans union all select * from spans) group by 1", true),
    ("select {service}, n from (select service, count(*) as n from spans group by 1) group by 1, 2", true),
    ("select {service}, {kind}, count(*) from spans group by rollup({service}, {kind})", false),
    ("select {service}, array_agg(duration_nano order by duration_nano) from spans group by 1", false),
    ("select {service}, count(service) from spans group by 1", false),
    ("select {service}, count(*) from spans where duration_nano > 9000000000 group by 1", true),
    ("select {service}, count(*) from spans where status = 'error' group by 1 order by 1 limit 1", true),
    ("select {name}, count(*) from spans group by 1 order by 1 desc limit 3", true),
];

/// The statement by columns, and by something that is no plain column and has the same value.
fn two_ways(statement: &str) -> (String, String) {
    let with = |column: &dyn Fn(&str) -> String| {
        let names = ["service", "name", "kind", "severity_text", "event_name"];
        names.iter().fold(statement.to_owned(), |statement, name| {
            statement.replace(&format!("{{{name}}}"), &column(name))
        })
    };
    (with(&|name| name.to_owned()), with(&|name| format!("concat({name}, '')")))
}

async fn sorted(store: &TestStore, query: &str) -> Vec<String> {
    let mut rows: Vec<_> = rows(store, query).await.iter().map(|row| format!("{row:?}")).collect();
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn groups_by_number_are_the_groups_by_text() {
    let sealed = shop().await;
    sealed.store.seal().await.expect("sealed");
    for (name, store) in [("mixed", shop().await), ("sealed", sealed), ("empty", TestStore::open().await)] {
        for (statement, wanted) in GROUPED {
            let (by_number, by_text) = two_ways(statement);
            assert_eq!(
                sorted(&store, &by_number).await,
                sorted(&store, &by_text).await,
                "{name}: {by_number}"
            );
            let is_numbered = is_numbered(&store, &by_number).await;
            assert!(is_numbered == *wanted || name == "empty", "{name}: {by_number}");
        }
    }
}

#[tokio::test]
async fn plain_groups_of_texts_are_found_by_number_and_others_are_not() {
    let store = shop().await;
    for (query, wanted) in [
        ("select service, count(*), avg(duration_nano) from spans group by service", true),
        ("select service, kind, count(*) from spans where status = 'error' group by 1, 2", true),
        ("select distinct service from spans", true),
        ("select service, count(*) from spans group by 1 order by 1 limit 10", true),
        ("select service, count(*) from spans group by 1 order by 2 desc limit 10", true),
        (
            "select service, count(*) from spans where status = 'error' group by 1 order by service limit 2",
            true,
        ),
        ("select service, count(*) from spans where status like 'e%' group by 1", true),
        ("select service, count(*) from spans where service like 'c%' group by 1", false),
        ("select severity_text, count(*) from logs group by 1", true),
        ("select body, count(*) from logs group by 1", false),
        ("select duration_nano, count(*) from spans group by 1", false),
        ("select service, count(service) from spans group by 1", false),
        ("select upper(service), count(*) from spans group by 1", false),
        ("select count(*) from spans", false),
    ] {
        assert_eq!(is_numbered(&store, query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn many_groups_by_number_are_given_out_whole_and_draw_on_the_memory_of_the_statement() {
    let store = TestStore::open().await;
    let names: Vec<String> = (0..5_000).map(|at| format!("GET /{at}/{}", "x".repeat(20))).collect();
    let spans = names.iter().enumerate().map(|(at, name)| TestSpan {
        service: "checkout",
        name,
        trace: at as u64,
        start: -SECOND,
        ..TestSpan::default()
    });
    store.spans(&spans.collect::<Vec<_>>()).await;
    store.store.seal().await.expect("sealed");
    let query = "select count(*), sum(n) from (select name, count(*) as n from spans group by name)";
    assert!(is_numbered(&store, query).await);
    assert_eq!(rows(&store, query).await, [[json!(5_000), json!(5_000)]]);
    // A partial aggregate gives out what it has when there is no memory; whoever needs all of it says so.
    for (bytes, wanted) in [(64 << 20, true), (256 << 10, false)] {
        let request = SqlRequest { query: query.to_owned(), limit: None };
        let limits = SqlLimits { memory_bytes_max: bytes, ..SqlLimits::default() };
        let answer = Runner::Thread.run(store.store.snapshot(), request, limits, ()).await;
        assert_eq!(answer.is_ok(), wanted, "{answer:?}");
        assert!(answer.is_ok_and(|answer| answer.rows == [[json!(5_000), json!(5_000)]]) == wanted);
    }
}
