//! Answers for alerts.

use std::collections::BTreeMap;

use query_api::{Alert, AlertState, AlertsAnswer, RuleStatus};

use super::services::wave;
use super::{MS, now};

pub(super) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn rule(name: &str, expr: &str, state: AlertState, alerts: Vec<Alert>) -> RuleStatus {
    RuleStatus {
        name: name.to_owned(),
        group: "shop".to_owned(),
        file: "rules/shop.yaml".to_owned(),
        line: 14,
        lang: "promql".to_owned(),
        expr: expr.to_owned(),
        for_nano: 60_000 * MS,
        state,
        last_evaluation: Some(now().plus(-4_000 * MS)),
        error: None,
        history: if state == AlertState::Inactive { vec![0.0; 30] } else { wave(0.01, 0.01) },
        alerts,
    }
}

fn alert(name: &str, service: &str, state: AlertState, minutes: i64, value: f64) -> Alert {
    let active_at = now().plus(-minutes * 60_000 * MS - 2_000 * MS);
    Alert {
        labels: labels(&[("alertname", name), ("severity", "page"), ("service_name", service)]),
        annotations: labels(&[
            ("summary", "4.3 % of requests fail"),
            ("runbook", "docs/operating/runbooks/billing.md"),
            ("order_id", "ORD-4711"),
        ]),
        state,
        active_at,
        fired_at: (state == AlertState::Firing).then(|| active_at.plus(60_000 * MS)),
        value,
    }
}

pub(crate) fn alerts() -> AlertsAnswer {
    use AlertState::{Firing, Inactive, Pending};
    let broken = RuleStatus {
        error: Some("unknown function `rat`: did you mean `rate`?".to_owned()),
        ..rule("GatewayLatency", "rat(x[5m]) > 1", Inactive, vec![])
    };
    AlertsAnswer {
        time: now(),
        rules: vec![
            rule(
                "ShopErrorsHigh",
                "sum by (service_name) (rate(http_server_request_duration_seconds_count{http_response_status_code=~\"5..\"}[1m])) > 0.02",
                Firing,
                vec![alert("ShopErrorsHigh", "billing", Firing, 6, 0.0431)],
            ),
            rule(
                "QueueWaitHigh",
                "queue_wait_p95 > 2",
                Pending,
                vec![alert("QueueWaitHigh", "shipping", Pending, 2, 4.1)],
            ),
            rule("DiskFull", "disk_free_ratio < 0.1", Inactive, vec![]),
            broken,
        ],
        file_errors: vec!["rules/new.yaml:3:5: unknown key `exp`: did you mean `expr`?".to_owned()],
    }
}
