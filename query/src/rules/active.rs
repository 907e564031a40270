//! The state machine of one rule's alerts.
//!
//! ```text
//!              holds                  holds for `for`
//!  (inactive) ───────► pending ─────────────────────► firing ──┐ holds, or stopped holding less
//!       ▲                 │ stops holding                │  ▲──┘ than `keep_firing_for` ago
//!       └─────────────────┘◄─────────────────────────────┘
//!                                 resolved
//! ```

use std::collections::BTreeMap;

use model::UnixNano;
use serde::{Deserialize, Serialize};

use crate::promql::Labels;

/// An alert that is pending or firing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ActiveAlert {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(with = "number_text")]
    pub(crate) value: f64,
    pub(crate) active_at: UnixNano,
    pub(crate) fired_at: Option<UnixNano>,
    /// The first evaluation, of those since the expression last held, at which it did not hold.
    pub(crate) missing_since: Option<UnixNano>,
}

/// What the expression yields for one label set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Holding {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// What one evaluation changes, for the receivers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Fired(ActiveAlert),
    Resolved(ActiveAlert),
}

/// One rule's alerts, by their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ActiveAlerts {
    by_labels: BTreeMap<Labels, ActiveAlert>,
}

impl ActiveAlerts {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.by_labels.values()
    }

    pub(crate) fn restore(&mut self, alert: ActiveAlert) {
        self.by_labels.insert(alert.labels.clone(), alert);
    }

    /// Takes what holds at `now`; `hold` and `keep` are `for` and `keep_firing_for` in nanoseconds.
    pub(crate) fn step(&mut self, now: UnixNano, hold: i64, keep: i64, holding: Vec<Holding>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut held = BTreeMap::new();
        for found in holding {
            let before = self.by_labels.remove(&found.labels);
            let (active_at, fired_at) = before.map_or((now, None), |alert| (alert.active_at, alert.fired_at));
            let Holding { labels, annotations, value } = found;
            let mut alert =
                ActiveAlert { labels, annotations, value, active_at, fired_at, missing_since: None };
            if alert.fired_at.is_none() && now.since(active_at) >= hold {
                alert.fired_at = Some(now);
                changes.push(Change::Fired(alert.clone()));
            }
            held.insert(alert.labels.clone(), alert);
        }
        for (labels, mut alert) in std::mem::replace(&mut self.by_labels, held) {
            if alert.fired_at.is_none() {
                continue;
            }
            let missing_since = *alert.missing_since.get_or_insert(now);
            if now.since(missing_since) < keep {
                self.by_labels.insert(labels, alert);
            } else {
                changes.push(Change::Resolved(alert));
            }
        }
        changes
    }

    /// The rule is gone: whatever fires is resolved.
    pub(crate) fn resolve_all(&mut self) -> Vec<ActiveAlert> {
        let all = std::mem::take(&mut self.by_labels);
        all.into_values().filter(|alert| alert.fired_at.is_some()).collect()
    }
}

/// JSON has no NaN and no infinities: numbers are kept as text.
pub(crate) mod number_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
