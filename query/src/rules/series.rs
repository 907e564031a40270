//! Alerts as series, the two that Prometheus keeps: `ALERTS` and `ALERTS_FOR_STATE`.
//!
//! ```text
//! ALERTS{alertname, alertstate="pending"|"firing", labels of the alert…}   1   at every write
//! ALERTS_FOR_STATE{alertname, labels of the alert…}                        Unix seconds since which it is active
//! ```
//!
//! A write is due when an alert changed its state, and once an interval. A series that has ended gets a stale marker, so
//! that it is gone at once and not five minutes later.
//!
//! Invariants: at most [`SERIES_MAX`] alerts are written at once; a store that refuses keeps nobody from being told of
//! an alert.

use std::collections::BTreeSet;

use model::UnixNano;
use model::otlp::gauges::{GaugePoint, GaugeValue, GaugesWriter};
use query_api::{Alert, AlertState, AlertsAnswer};

/// The series of active alerts.
pub const ALERTS: &str = "ALERTS";
/// The series of when alerts became active.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
/// The label that tells pending from firing.
pub const ALERT_STATE: &str = "alertstate";

/// Alerts that are written at once.
const SERIES_MAX: usize = 10_000;

/// Labels of one series, in order.
type SeriesLabels = Vec<(String, String)>;

/// Knows what was written last.
#[derive(Debug, Default)]
pub(crate) struct AlertSeries {
    active: BTreeSet<(&'static str, SeriesLabels)>,
    written_at: Option<UnixNano>,
}

impl AlertSeries {
    /// A request with what is due at `now`, if anything is.
    pub(crate) fn due(
        &mut self,
        answer: &AlertsAnswer,
        now: UnixNano,
        interval_nano: i64,
    ) -> Option<Vec<u8>> {
        let alerts: Vec<&Alert> =
            answer.rules.iter().flat_map(|rule| &rule.alerts).take(SERIES_MAX).collect();
        let active: BTreeSet<_> = alerts
            .iter()
            .flat_map(|alert| [(ALERTS, state_labels(alert)), (ALERTS_FOR_STATE, labels(alert))])
            .collect();
        let is_due = self.written_at.is_none_or(|at| now.since(at) >= interval_nano || now < at);
        if active == self.active && (active.is_empty() || !is_due) {
            return None;
        }
        let mut series: Vec<(&str, SeriesLabels, GaugeValue)> = Vec::new();
        for alert in alerts {
            series.push((ALERTS, state_labels(alert), GaugeValue::Whole(1)));
            let seconds = alert.active_at.0.div_euclid(1_000_000_000);
            series.push((ALERTS_FOR_STATE, labels(alert), GaugeValue::Whole(seconds)));
        }
        let ended = self.active.difference(&active);
        series.extend(ended.map(|(name, labels)| (*name, labels.clone(), GaugeValue::Stale)));
        let request = request(&series, now);
        (self.active, self.written_at) = (active, Some(now));
        Some(request)
    }
}

fn labels(alert: &Alert) -> SeriesLabels {
    alert.labels.iter().map(|(key, text)| (key.clone(), text.clone())).collect()
}

fn state_labels(alert: &Alert) -> SeriesLabels {
    let state = match alert.state {
        AlertState::Firing => "firing",
        AlertState::Pending | AlertState::Inactive => "pending",
    };
    let mut labels = labels(alert);
    labels.push((ALERT_STATE.to_owned(), state.to_owned()));
    labels.sort();
    labels
}

/// One request for all: a resource for each service that labels name, since the store makes `service_name` and `job` of it.
fn request(series: &[(&str, SeriesLabels, GaugeValue)], now: UnixNano) -> Vec<u8> {
    let mut out = Vec::new();
    let service = |labels: &SeriesLabels| -> String {
        let named = ["service_name", "service", "job"]
            .iter()
            .find_map(|key| labels.iter().find(|(known, _)| known == key).map(|(_, text)| text.clone()));
        named.unwrap_or_else(|| "silmari".to_owned())
    };
    let mut services: Vec<String> = series.iter().map(|(_, labels, _)| service(labels)).collect();
    services.sort_unstable();
    services.dedup();
    for name in &services {
        let mut writer = GaugesWriter::new([("service.name", name.as_str())]);
        for metric in [ALERTS, ALERTS_FOR_STATE] {
            let of_metric = series.iter().filter(|(of, labels, _)| *of == metric && service(labels) == *name);
            let points: Vec<GaugePoint<'_>> = of_metric
                .map(|(_, labels, value)| GaugePoint {
                    attributes: labels.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect(),
                    time: now,
                    value: *value,
                })
                .collect();
            writer.push(metric, "", &points);
        }
        // Requests of one kind joined end to end are one request.
        out.extend(writer.finish());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use query_api::RuleStatus;

    use super::*;

    fn answer(alerts: &[(&str, AlertState)]) -> AlertsAnswer {
        let alert = |(service, state): &(&str, AlertState)| Alert {
            labels: [("alertname", "Slow"), ("service_name", service)]
                .map(|(key, text)| (key.to_owned(), text.to_owned()))
                .into(),
            annotations: BTreeMap::new(),
            state: *state,
            active_at: UnixNano(5_000_000_000),
            fired_at: None,
            value: 1.0,
        };
        let rule = RuleStatus {
            name: "Slow".to_owned(),
            group: String::new(),
            file: String::new(),
            line: 1,
            lang: "promql".to_owned(),
            expr: String::new(),
            for_nano: 0,
            state: AlertState::Firing,
            last_evaluation: None,
            error: None,
            history: Vec::new(),
            alerts: alerts.iter().map(alert).collect(),
        };
        AlertsAnswer { time: UnixNano(0), rules: vec![rule], file_errors: Vec::new() }
    }

    #[test]
    fn a_write_is_due_at_every_change_and_once_an_interval_while_anything_is_active() {
        let mut series = AlertSeries::default();
        let at = |seconds: i64| UnixNano(seconds * 1_000_000_000);
        let interval = 15_000_000_000;
        let mut due =
            |alerts: &[(&str, AlertState)], now| series.due(&answer(alerts), now, interval).is_some();
        let (pending, firing) = ([("a", AlertState::Pending)], [("a", AlertState::Firing)]);
        assert!(!due(&[], at(0)), "nothing is active");
        assert!(due(&pending, at(1)));
        assert!(!due(&pending, at(15)));
        assert!(due(&pending, at(16)));
        assert!(due(&firing, at(17)), "its state changed");
        assert!(due(&[], at(18)), "it has ended");
        assert!(!due(&[], at(60)));
    }
}
