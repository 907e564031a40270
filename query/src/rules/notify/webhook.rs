//! The payload of Alertmanager's webhook receiver, version 4.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{generator_url, time_text};
use crate::rules::notice::Notice;

/// One message for a batch of alerts of one name.
pub(super) fn payload(receiver: &str, batch: &[Notice], external_url: &str) -> Value {
    let is_firing = batch.iter().any(|notice| notice.ends_at.is_none());
    let name = batch.first().map_or("", Notice::alert_name);
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname={name:?}}}"),
        "truncatedAlerts": 0,
        "status": if is_firing { "firing" } else { "resolved" },
        "receiver": receiver,
        "groupLabels": {"alertname": name},
        "commonLabels": common(batch.iter().map(|notice| &notice.labels)),
        "commonAnnotations": common(batch.iter().map(|notice| &notice.annotations)),
        "externalURL": external_url,
        "alerts": batch.iter().map(|notice| alert(notice, external_url)).collect::<Vec<_>>(),
    })
}

fn alert(notice: &Notice, external_url: &str) -> Value {
    json!({
        "status": notice.status(),
        "labels": notice.labels,
        "annotations": notice.annotations,
        "startsAt": notice.starts_at,
        "endsAt": time_text(notice.ends_at),
        "generatorURL": generator_url(notice, external_url),
        "fingerprint": notice.fingerprint(),
    })
}

/// The pairs that all maps share.
fn common<'a>(mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut shared = maps.next().cloned().unwrap_or_default();
    for map in maps {
        shared.retain(|key, value| map.get(key) == Some(value));
    }
    shared
}
