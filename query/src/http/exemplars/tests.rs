//! Exemplars as Prometheus answers them.

use model::TimeRange;

use super::{find, selectors};
use crate::limits::Cancel;
use crate::testing::{SECOND, TestStore};

async fn answer(store: &TestStore, expr: &str) -> serde_json::Value {
    let selectors = selectors(expr).expect("an expression");
    let found = find(&store.store.snapshot(), &selectors, TimeRange::ALL, &Cancel::default());
    serde_json::to_value(found.expect("readable").0).expect("JSON")
}

#[tokio::test]
async fn exemplars_of_every_series_in_an_expression_come_in_prometheus_shape() {
    let store = TestStore::open().await;
    store.measured("checkout", 1, 2, -2 * SECOND).await;
    store.measured("checkout", 1, 2, -2 * SECOND).await;
    store.measured("billing", 3, 4, -SECOND).await;
    store.counter("checkout", "orders", 0, 1).await;
    for is_sealed in [false, true] {
        if is_sealed {
            store.store.seal().await.expect("seals");
        }
        let query = "histogram_quantile(0.9, sum by (le) (rate(\
                     http_server_request_duration_seconds_bucket{service_name=\"checkout\"}[5m]))) / orders_total";
        let found = answer(&store, query).await;
        let series = found.as_array().expect("a list");
        assert_eq!(series.len(), 1, "{found}");
        assert_eq!(series[0]["seriesLabels"]["le"], "0.5", "the bucket it fell into");
        let exemplars = series[0]["exemplars"].as_array().expect("a list");
        assert_eq!(exemplars.len(), 1, "what is exported twice is one: {found}");
        assert_eq!(exemplars[0]["value"], "0.3");
        assert!(exemplars[0]["timestamp"].is_number());
        let trace = exemplars[0]["labels"]["trace_id"].as_str().expect("its trace");
        assert_eq!(trace.len(), 32);
        assert_eq!(answer(&store, "orders_total").await, serde_json::json!([]), "no exemplars, no series");
    }
}

#[test]
fn what_is_no_expression_is_refused() {
    assert!(selectors("rate(").is_err());
    assert_eq!(selectors("1 + 1").expect("an expression").len(), 0);
}
