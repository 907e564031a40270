//! Alerts of the services that a journey touched, which were firing while it went on: also those that have ended.
//!
//! ```text
//! ALERTS{alertstate="firing"}   ▪ ▪ ▪ ▪ ▪ ▪ ✝            one sample every 15 s, then a stale marker
//! ALERTS_FOR_STATE              ▪ ▪ ▪ ▪ ▪ ▪ ✝            its value: since when the expression holds
//! journey                          ├──────┤              samples within it or just before make the mark
//! ```
//!
//! Only the time of the journey is read, so that a mark costs little: when an ended alert ended is told when its marker
//! lies in that time.
//!
//! Owns: which alerts concern a journey. Invariant: an alert of a service makes one mark, whether the series or the rules
//! tell of it; what the store no longer has, and what fired before alerts were written as series, is not known.

use std::collections::{BTreeMap, BTreeSet};

use model::time::SECOND;
use model::{TimeRange, UnixNano};
use query_api::{Alert, AlertState, AlertsAnswer, Cut, Journey, JourneyMark, MarkKind};
use storage::Snapshot;

use crate::promql::{
    METRIC_NAME, MatchOp, Matcher, Options, PromqlError, RawSeries, STALE_BITS, SeriesSource, SnapshotSource,
};
use crate::rules::{ALERT_STATE, ALERTS, ALERTS_FOR_STATE};

/// Labels that name the service of an alert.
const SERVICE_LABELS: [&str; 4] = ["service_name", "service", "job", "service.name"];
/// Series are written every 15 s unless configured otherwise: so long before a journey is looked for a sample.
const BEFORE_NANO: i64 = 60 * SECOND;
/// Of longer journeys the last part is looked at.
const WINDOW_NANO: i64 = 3_600 * SECOND;
/// Marks of alerts that are shown.
const MARKS_MAX: usize = 200;

/// Name and service: what makes one mark.
type Key = (String, String);

/// An alert that fired while the journey went on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Firing {
    since: UnixNano,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fires,
    /// At the time of its stale marker, if that was read.
    Ended(Option<UnixNano>),
}

/// Adds a mark for every alert that concerns the journey. `now` is the state of the rules; series of alerts are read
/// from the store.
pub fn mark_alerts(journey: &mut Journey, snapshot: &Snapshot, now: &AlertsAnswer) {
    let end = journey.start_time.plus(journey.duration_nano);
    let touched: BTreeSet<&str> = journey.services.iter().map(String::as_str).collect();
    let mut firings: BTreeMap<Key, Firing> = BTreeMap::new();
    let mut cuts = Vec::new();
    let from = journey.start_time.plus(-BEFORE_NANO);
    let window = TimeRange { from: from.max(end.plus(-WINDOW_NANO)), to: end };
    if window.from > from {
        let what = format!("alerts that ended before {} were not looked for", window.from);
        cuts.push(Cut { what, limit: "alerts".to_owned(), hint: None });
    }
    match recorded(snapshot, window) {
        Ok(series) => firings.extend(of_series(&series)),
        Err(error) => cuts.push(Cut {
            what: format!("alerts that have ended are missing: {error}"),
            limit: "alerts".to_owned(),
            hint: Some("ask for a shorter time range".to_owned()),
        }),
    }
    for rule in &now.rules {
        let firing = rule.alerts.iter().filter(|alert| alert.state == AlertState::Firing);
        // The rules know better than the series since when.
        firings.extend(firing.filter_map(|alert| of_rule(&rule.name, alert)));
    }
    firings.retain(|(_, service), firing| touched.contains(service.as_str()) && firing.since <= end);
    if firings.len() > MARKS_MAX {
        let what = format!("{MARKS_MAX} of {} alerts are shown", firings.len());
        cuts.push(Cut { what, limit: "alerts".to_owned(), hint: None });
    }
    let marks =
        firings.into_iter().take(MARKS_MAX).map(|((name, service), firing)| firing.mark(&name, service));
    journey.marks.extend(marks);
    journey.marks.sort_by(|a, b| (a.time, &a.service, &a.text).cmp(&(b.time, &b.service, &b.text)));
    journey.cuts.extend(cuts);
}

impl Firing {
    fn mark(&self, name: &str, service: String) -> JourneyMark {
        let since = self.since.clock_text();
        let text = match self.state {
            State::Fires => format!("{name} fires since {since}"),
            State::Ended(Some(until)) => format!("{name} fired, {since} to {}", until.clock_text()),
            State::Ended(None) => format!("{name} fired since {since}, has ended"),
        };
        JourneyMark { time: self.since, kind: MarkKind::Alert, service, text }
    }
}

fn of_rule(rule: &str, alert: &Alert) -> Option<(Key, Firing)> {
    let since = alert.fired_at.unwrap_or(alert.active_at);
    Some(((rule.to_owned(), service(&alert.labels)?), Firing { since, state: State::Fires }))
}

fn service(labels: &BTreeMap<String, String>) -> Option<String> {
    SERVICE_LABELS.iter().find_map(|label| labels.get(*label)).cloned()
}

/// The series of alerts within a time.
fn recorded(snapshot: &Snapshot, window: TimeRange) -> Result<Vec<RawSeries>, PromqlError> {
    let names = format!("{ALERTS}|{ALERTS_FOR_STATE}");
    let matchers = [Matcher::new(METRIC_NAME, MatchOp::Regex, &names)?];
    SnapshotSource::new(snapshot.clone(), &Options::default()).select(&matchers, window.from, window.to)
}

/// What fired, by the series; the earliest of several alerts of one name and service.
fn of_series(series: &[RawSeries]) -> BTreeMap<Key, Firing> {
    let metric = |series: &RawSeries, name: &str| series.labels.get(METRIC_NAME).is_some_and(|of| of == name);
    let own = |series: &RawSeries| -> BTreeMap<String, String> {
        let is_own = |key: &str| key != METRIC_NAME && key != ALERT_STATE;
        series.labels.iter().filter(|(key, _)| is_own(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let is_value = |(_, value): &&(i64, f64)| value.to_bits() != STALE_BITS;
    let active: BTreeMap<_, _> = series
        .iter()
        .filter(|series| metric(series, ALERTS_FOR_STATE))
        .filter_map(|series| Some((own(series), series.samples.iter().find(is_value)?.1)))
        .collect();
    let at = |millis: i64| UnixNano(millis.saturating_mul(1_000_000));
    let mut firings: BTreeMap<Key, Firing> = BTreeMap::new();
    let is_firing =
        |series: &&RawSeries| series.labels.get(ALERT_STATE).is_some_and(|state| state == "firing");
    for series in series.iter().filter(|series| metric(series, ALERTS)).filter(is_firing) {
        let labels = own(series);
        let (Some(name), Some(service)) = (labels.get("alertname"), service(&labels)) else { continue };
        let Some((first, _)) = series.samples.iter().find(is_value) else { continue };
        let since = match active.get(&labels) {
            Some(seconds) => UnixNano((*seconds as i64).saturating_mul(SECOND)).min(at(*first)),
            None => at(*first),
        };
        let ended = series.samples.last().filter(|sample| !is_value(sample)).map(|(time, _)| at(*time));
        let firing = Firing { since, state: State::Ended(ended) };
        let known = firings.entry((name.clone(), service)).or_insert_with(|| firing.clone());
        if firing.since < known.since {
            *known = firing;
        }
    }
    firings
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn series(name: &str, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> RawSeries {
        let named = [(METRIC_NAME, name), ("alertname", "Slow"), ("service_name", "billing")];
        let labels = named.iter().chain(labels).map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        RawSeries { labels: Arc::new(labels.collect()), samples: samples.to_vec() }
    }

    #[test]
    fn series_tell_since_when_an_alert_is_active_and_when_it_ended() {
        let stale = f64::from_bits(STALE_BITS);
        let for_state = series(ALERTS_FOR_STATE, &[], &[(90_000, 60.0)]);
        let pending = series(ALERTS, &[(ALERT_STATE, "pending")], &[(60_000, 1.0), (75_000, stale)]);
        let firing =
            series(ALERTS, &[(ALERT_STATE, "firing")], &[(75_000, 1.0), (90_000, 1.0), (100_000, stale)]);
        let found = of_series(&[for_state, pending.clone(), firing]);
        let key = ("Slow".to_owned(), "billing".to_owned());
        let expected =
            Firing { since: UnixNano(60 * SECOND), state: State::Ended(Some(UnixNano(100 * SECOND))) };
        assert_eq!(found, [(key, expected)].into());
        assert_eq!(of_series(&[pending]), BTreeMap::new(), "what never fired is no mark");
    }
}
