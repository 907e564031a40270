//! What receivers are told: one alert that fires or is resolved.

use std::collections::BTreeMap;

use model::UnixNano;
use serde::{Deserialize, Serialize};

use super::active::ActiveAlert;
use crate::promql::Labels;

/// One alert that fires or is resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The alert's labels.
    pub labels: Labels,
    /// Its annotations, templates filled in.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: UnixNano,
    /// When it was resolved; `None` while it fires.
    pub ends_at: Option<UnixNano>,
    /// The rule: `file:line`.
    pub rule: String,
}

impl Notice {
    pub(crate) fn firing(alert: &ActiveAlert, rule: &str) -> Self {
        Self {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: alert.fired_at.unwrap_or(alert.active_at),
            ends_at: None,
            rule: rule.to_owned(),
        }
    }

    pub(crate) fn resolved(alert: &ActiveAlert, rule: &str, now: UnixNano) -> Self {
        Self { ends_at: Some(now), ..Self::firing(alert, rule) }
    }

    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.ends_at.is_some() { "resolved" } else { "firing" }
    }

    /// The name of the alert.
    pub fn alert_name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }

    /// The hash of the labels that Prometheus' tools know an alert by (FNV-1a), in hexadecimal.
    pub fn fingerprint(&self) -> String {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        for (name, value) in &self.labels {
            name.bytes().for_each(&mut mix);
            mix(0xff);
            value.bytes().for_each(&mut mix);
            mix(0xff);
        }
        format!("{hash:016x}")
    }
}
