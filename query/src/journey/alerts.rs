//! Alerts of the services that a journey touched, which were firing while it went on.
//!
//! Owns: which alerts concern a journey. Invariant: it is judged by what the rules know now; an alert that has
//! ended since is forgotten and makes no mark.

use query_api::{Alert, AlertState, AlertsAnswer, Journey, JourneyMark, MarkKind};

/// Labels that name the service of an alert.
const SERVICE_LABELS: [&str; 4] = ["service_name", "service", "job", "service.name"];

/// Adds a mark for every alert that concerns the journey.
pub fn mark_alerts(journey: &mut Journey, alerts: &AlertsAnswer) {
    let end = journey.start_time.plus(journey.duration_nano);
    let mut marks = Vec::new();
    for rule in &alerts.rules {
        for alert in rule.alerts.iter().filter(|alert| alert.state == AlertState::Firing) {
            let since = alert.fired_at.unwrap_or(alert.active_at);
            let Some(service) = service(alert).filter(|service| journey.services.contains(service)) else {
                continue;
            };
            if since <= end {
                let text = format!("{} fires since {}", rule.name, since.clock_text());
                marks.push(JourneyMark { time: since, kind: MarkKind::Alert, service, text });
            }
        }
    }
    journey.marks.extend(marks);
    journey.marks.sort_by(|a, b| (a.time, &a.service, &a.text).cmp(&(b.time, &b.service, &b.text)));
}

fn service(alert: &Alert) -> Option<String> {
    SERVICE_LABELS.iter().find_map(|label| alert.labels.get(*label)).cloned()
}
