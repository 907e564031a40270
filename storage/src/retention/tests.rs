//! Rows that are too old leave, errors later.

use model::ManualClock;

use super::*;
use crate::Settings;
use crate::testing::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn keep() -> Keep {
    Keep { age: Some(DAY), errors_age: Some(10 * DAY), ..Keep::default() }
}

async fn fill(store: &Arc<Store>) {
    append_spans(store, vec![span(1, 1, 0, false), span(1, 2, 1, true), span(2, 3, 2, false)]).await;
    append_logs(store, vec![log("an error", 0, "", 0), log("fine", 0, "", 1)]).await;
    append_points(store, &[("up", 0, 1.0)]).await;
    store.seal().await.expect("sealed");
    // The other half of trace 1, in another segment.
    append_spans(store, vec![span(1, 4, 3, false), span(3, 5, 4, false)]).await;
    store.seal().await.expect("sealed");
}

#[tokio::test]
async fn failed_traces_as_a_whole_and_error_logs_outlive_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(NOW);
    let retention = Retention { traces: keep(), logs: keep(), metrics: keep() };
    let settings = Settings { retention, compaction_fan_in: 16, ..settings(dir.path()) };
    let store = open_with(settings, Arc::clone(&clock)).await;
    fill(&store).await;
    store.compact().await.expect("nothing to do");
    assert_eq!(lines(&store.snapshot(), Signal::Traces).len(), 5);

    clock.advance(DAY + Duration::from_secs(60));
    store.compact().await.expect("retained");
    let snapshot = store.snapshot();
    assert_eq!(lines(&snapshot, Signal::Traces), ["01 span 1", "01 span 2", "01 span 4"]);
    assert_eq!(lines(&snapshot, Signal::Logs), ["an error"]);
    assert!(lines(&snapshot, Signal::Metrics).is_empty());
    drop(snapshot);

    clock.advance(10 * DAY);
    store.compact().await.expect("retained");
    for signal in Signal::ALL {
        assert!(lines(&store.snapshot(), signal).is_empty());
        assert!(folders(dir.path(), signal).is_empty(), "the files are gone too");
    }
}

/// Log records and points of a tenant.
async fn append_of(store: &Store, tenant: &str, time: i64) {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    let attribute = |key: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(tenant.to_owned())) }),
        ..KeyValue::default()
    };
    let mut request = logs_request(vec![
        log(&format!("{tenant} fine"), 0, "", time),
        log(&format!("{tenant} error"), 0, "", time),
    ]);
    let resource = request.resource_logs[0].resource.as_mut().expect("there is one");
    resource.attributes.push(attribute("tenant.id"));
    let frame = frame(Signal::Logs, &request, NOW);
    let batch = store.decode(Signal::Logs, &frame.payload, NOW).expect("decodable");
    store.append(frame, batch).await.expect("durable");
}

#[tokio::test]
async fn tenants_have_ages_of_their_own_and_a_segment_without_them_is_not_rewritten() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(NOW);
    let rule =
        |tenant: &str, age| KeepRule { attribute: "tenant.id".to_owned(), value: tenant.to_owned(), age };
    let keep = Keep {
        age: Some(2 * DAY),
        errors_age: Some(3 * DAY),
        rules: vec![rule("trial", Some(DAY)), rule("bank", None)],
        bytes_max: None,
    };
    let retention = Retention { logs: keep, ..Retention::default() };
    let settings =
        || Settings { retention: retention.clone(), compaction_fan_in: 16, ..settings(dir.path()) };
    let store = open_with(settings(), Arc::clone(&clock)).await;
    for tenant in ["trial", "bank", "shop"] {
        append_of(&store, tenant, 0).await;
    }
    store.seal().await.expect("sealed");
    append_of(&store, "shop", HOUR).await;
    store.seal().await.expect("sealed");

    clock.advance(DAY + 2 * Duration::from_secs(3_600));
    store.compact().await.expect("retained");
    let expired = store.stats().segments_expired;
    assert_eq!(expired, 1, "the segment without the tenant stays as it is");
    let left = lines(&store.snapshot(), Signal::Logs);
    let shop = ["shop error", "shop error", "shop fine", "shop fine"];
    assert_eq!(left, [&["bank error", "bank fine"][..], &shop, &["trial error"]].concat());
    store.compact().await.expect("nothing to do");
    assert_eq!(store.stats().segments_expired, expired);

    clock.advance(DAY);
    store.compact().await.expect("retained");
    let left = lines(&store.snapshot(), Signal::Logs);
    assert_eq!(left, ["bank error", "bank fine", "shop error", "shop error", "trial error"]);

    drop(store);
    let store = open_with(settings(), Arc::clone(&clock)).await;
    clock.advance(100 * DAY);
    store.compact().await.expect("retained");
    assert_eq!(lines(&store.snapshot(), Signal::Logs), ["bank error", "bank fine"]);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_removes_nothing_if_it_is_set_right_within_an_hour() {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(NOW);
    let retention = Retention { logs: keep(), ..Retention::default() };
    let store = open_with(Settings { retention, ..settings(dir.path()) }, Arc::clone(&clock)).await;
    append_logs(&store, vec![log("fine", 0, "", 0)]).await;
    store.seal().await.expect("sealed");
    store.compact().await.expect("nothing to do");
    let ten_years = 10 * 365 * 24 * HOUR;
    clock.jump(ten_years);
    store.compact().await.expect("nothing is believed yet");
    append_logs(&store, vec![log("meanwhile", 0, "", 1)]).await;
    clock.advance(Duration::from_secs(1_800));
    clock.jump(-ten_years);
    store.compact().await.expect("nothing to do");
    assert_eq!(lines(&store.snapshot(), Signal::Logs), ["fine", "meanwhile"]);

    clock.jump(ten_years);
    store.compact().await.expect("nothing is believed yet");
    clock.advance(Duration::from_secs(3_600));
    store.compact().await.expect("retained");
    assert_eq!(lines(&store.snapshot(), Signal::Logs), ["meanwhile"], "what is in the head is not looked at");
}

#[tokio::test]
async fn the_oldest_segments_make_room_when_there_are_too_many_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let retention =
        Retention { logs: Keep { bytes_max: Some(1), ..Keep::default() }, ..Retention::default() };
    let store = open_with(Settings { retention, ..settings(dir.path()) }, ManualClock::at(NOW)).await;
    append_logs(&store, vec![log("old", 0, "", -HOUR)]).await;
    append_spans(&store, vec![span(1, 1, 0, false)]).await;
    store.seal().await.expect("sealed");
    store.compact().await.expect("retained");
    assert!(lines(&store.snapshot(), Signal::Logs).is_empty());
    assert_eq!(lines(&store.snapshot(), Signal::Traces).len(), 1);
}
