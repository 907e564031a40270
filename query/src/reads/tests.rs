//! Queries that there is not enough memory for: cut or refused by name, and everything is given back afterwards.

use std::time::Duration;

use model::{IdRules, TimeRange};
use query_api::{Cut, MetricsData, SqlRequest};
use storage::Reservation;

use super::*;
use crate::identity::{self, GraphLimits};
use crate::journey::{self, Limits, Request};
use crate::limits::{self, Cancel, Gate};
use crate::promql::{self, Options, PromqlError, SnapshotSource};
use crate::sql::{Runner, SqlError, SqlLimits};
use crate::testing::{MS, NOW, SECOND, TestLog, TestSpan, TestStore, last_15m};
use crate::{doctor, logs, search, services};

/// Takes all memory that is free for queries but so many bytes.
fn leave(store: &TestStore, bytes: usize) -> Reservation {
    let others = store.store.memory().reserve();
    others.grow(store.store.memory().free() - bytes).expect("free");
    others
}

fn is_cut(cuts: &[Cut]) -> bool {
    let by_memory: Vec<&Cut> = cuts.iter().filter(|cut| cut.limit == MEMORY_LIMIT).collect();
    assert!(by_memory.len() <= 1, "said once: {by_memory:?}");
    assert!(by_memory.iter().all(|cut| cut.hint.as_deref() == Some(MEMORY_HINT)), "{by_memory:?}");
    !by_memory.is_empty()
}

/// 300 spans and 300 log records of one order, in as many services.
async fn filled() -> TestStore {
    let store = TestStore::open().await;
    let names: Vec<String> = (0..300).map(|number| format!("service-{number}")).collect();
    let attributes = [("order_id", "ORD-1"), ("messaging.destination.name", "orders")];
    let spans = names.iter().zip(0..).map(|(service, span)| TestSpan {
        service,
        name: "work",
        kind: opentelemetry_proto::tonic::trace::v1::span::SpanKind::Producer,
        trace: 1,
        span,
        start: span as i64 * MS - 60 * SECOND,
        duration: MS,
        attributes: &attributes,
        ..TestSpan::default()
    });
    store.spans(&spans.collect::<Vec<_>>()).await;
    let logs = names.iter().zip(0..).map(|(service, number)| TestLog {
        service,
        body: "done",
        time: number * MS - 60 * SECOND,
        attributes: &attributes,
        ..TestLog::default()
    });
    store.logs(&logs.collect::<Vec<_>>()).await;
    store
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Cut,
    Whole,
}

fn journey(store: &TestStore) -> Outcome {
    let request = Request { id: "order_id=ORD-1", range: last_15m(), is_corrected: false };
    match journey::find(&store.store.snapshot(), &IdRules::default(), &request, &Limits::default()) {
        Err(journey::Error::Memory(refusal)) => {
            assert!(refusal.to_string().contains("`memory_bytes_max`"), "{refusal}");
            Outcome::Refused
        }
        Err(error) => panic!("{error}"),
        Ok(found) if is_cut(&found.cuts) => {
            assert!(!found.rows.is_empty(), "what there was memory for is shown");
            Outcome::Cut
        }
        Ok(found) => {
            assert!(found.rows.len() >= 600, "{}", found.rows.len());
            Outcome::Whole
        }
    }
}

#[tokio::test]
async fn a_journey_is_refused_cut_or_whole_as_memory_allows_and_gives_all_of_it_back() {
    let store = filled().await;
    for is_sealed in [false, true] {
        if is_sealed {
            store.store.seal().await.expect("sealed");
        }
        let mut outcomes = Vec::new();
        let sizes = std::iter::successors(Some(1_000), |bytes| Some(bytes + bytes / 8));
        for bytes in sizes.take_while(|bytes| *bytes < 16 << 20) {
            let others = leave(&store, bytes);
            let reserved = store.store.memory().reserved();
            outcomes.push(journey(&store));
            assert_eq!(store.store.memory().reserved(), reserved, "all was given back");
            drop(others);
        }
        assert_eq!((outcomes.first(), outcomes.last()), (Some(&Outcome::Refused), Some(&Outcome::Whole)));
        assert!(outcomes.contains(&Outcome::Cut), "{outcomes:?}");
    }
    assert_eq!(store.store.memory().reserved(), 0);
    assert!(store.store.stats().queries_out_of_memory > 0);
}

#[tokio::test]
async fn a_promql_query_that_does_not_fit_is_refused_by_name_while_a_small_one_is_answered() {
    let store = TestStore::open().await;
    for number in 0..20 {
        store.counter(&format!("service-{number}"), "requests", -SECOND, number).await;
    }
    let options = Options::default();
    let ask = |expr: &str| {
        let source = SnapshotSource::new(store.store.snapshot(), &options);
        promql::instant(&source, expr, NOW, &options)
    };
    let _others = leave(&store, 6_000);
    let refused = ask("{__name__=~'requests.*'}");
    let Err(PromqlError::Limit(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("`memory_bytes_max`") && text.contains("are free for queries"), "{text}");
    let answered = ask("{service_name='service-7'}");
    let Ok(MetricsData::Vector(series)) = answered else { panic!("{answered:?}") };
    assert_eq!(series.len(), 1);
}

#[tokio::test]
async fn the_values_that_a_promql_query_makes_draw_on_memory_too() {
    let store = TestStore::open().await;
    store.counter("billing", "requests", -SECOND, 1).await;
    let options = Options::default();
    let ask = |expr: &str| {
        let source = SnapshotSource::new(store.store.snapshot(), &options);
        let range = TimeRange::last(Duration::from_secs(10_000), NOW);
        promql::range(&source, expr, range, Duration::from_secs(1), &options)
    };
    let _others = leave(&store, 700_000);
    ask("{__name__=~'requests.*'} @ end() * 0 < 0").expect("few samples are read, none is answered");
    let refused = ask("{__name__=~'requests.*'} @ end()");
    assert!(
        matches!(&refused, Err(PromqlError::Limit(text)) if text.contains("`memory_bytes_max`")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn log_searches_give_the_latest_records_that_there_is_memory_for() {
    let store = filled().await;
    let ids = IdRules::default();
    for text in ["", "order_id=ORD-1"] {
        let query = search::parse_with_ids(text, &ids).expect("a search");
        let ask = || {
            logs::search(&store.store.snapshot(), &query, last_15m(), 1_000, &Cancel::default())
                .expect("readable")
        };
        assert_eq!((ask().records.len(), is_cut(&ask().cuts)), (300, false));
        let others = leave(&store, 100_000);
        let answer = ask();
        assert!(is_cut(&answer.cuts), "{text}: {:?}", answer.cuts);
        assert!(answer.records.len() < 300, "{text}: {}", answer.records.len());
        drop(others);
    }
    assert_eq!(store.store.memory().reserved(), 0);
    let _others = leave(&store, 1_000);
    let query = search::parse_with_ids("", &ids).expect("a search");
    let by = ["service".to_owned()];
    let counted = logs::count(&store.store.snapshot(), &query, &by, last_15m(), &Cancel::default());
    assert!(matches!(counted, Err(logs::CountError::Memory(_))), "{counted:?}");
}

#[tokio::test]
async fn services_doctor_and_identity_graph_say_what_there_was_no_memory_for() {
    let store = filled().await;
    let cancel = Cancel::default();
    let others = leave(&store, 10_000);
    let overview = services::overview(&store.store.snapshot(), last_15m(), &cancel).expect("readable");
    assert!(is_cut(&overview.cuts), "{:?}", overview.cuts);
    let request = doctor::Request { range: last_15m(), service: None };
    let limits = doctor::Limits::default();
    let examined =
        doctor::examine(&store.store.snapshot(), &request, &limits, &|| false, &cancel).expect("readable");
    assert!(is_cut(&examined.cuts), "{:?}", examined.cuts);
    drop(others);
    let _others = leave(&store, 400_000);
    let (ids, limits) = (IdRules::default(), GraphLimits::default());
    let graph =
        identity::graph(&store.store.snapshot(), &ids, "order_id=ORD-1", last_15m(), &limits, &cancel);
    assert!(is_cut(&graph.expect("some of it fits").cuts));
}

#[tokio::test]
async fn a_statement_takes_half_of_what_is_free_and_none_when_that_is_too_little() {
    let store = filled().await;
    let ask = || {
        let request = SqlRequest { query: "select count(*) from spans".to_owned(), limit: None };
        Runner::Thread.run(store.store.snapshot(), request, SqlLimits::default(), ())
    };
    let others = leave(&store, 40 << 20);
    ask().await.expect("20 MiB are enough");
    drop(others);
    // The thread lets go of the snapshot after it has answered.
    let given_back = async {
        while store.store.memory().reserved() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given_back).await.expect("given back");
    let _others = leave(&store, 30 << 20);
    let refused = ask().await;
    let Err(SqlError::Limit { message, hint }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("`memory_bytes_max`"), "{message}");
    assert_eq!(hint.as_deref(), Some(MEMORY_HINT));
}

#[tokio::test]
async fn memory_is_reserved_until_the_answer_is_written() {
    let store = TestStore::open().await;
    let engine = crate::Engine::new(std::sync::Arc::clone(&store.store), store.clock.clone());
    let gate = Gate::new(&limits::Limits::default());
    let reserved = gate.run(move |cancel| {
        engine.snapshot(cancel).held().grow(1_000).expect("free");
        // The snapshot is gone; what was made of it would be written here.
        engine.store.memory().reserved()
    });
    assert!(reserved.await.expect("it ran") >= 1_000);
    assert_eq!(store.store.memory().reserved(), 0);
}
