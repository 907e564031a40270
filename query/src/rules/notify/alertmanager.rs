//! The body of `POST /api/v2/alerts`.

use std::time::Duration;

use model::UnixNano;
use serde_json::{Value, json};

use super::{generator_url, time_text};
use crate::rules::engine::nanos;
use crate::rules::notice::Notice;

/// All alerts of a batch. One that fires ends after `lifetime`, unless it is told again.
pub(super) fn payload(batch: &[Notice], external_url: &str, now: UnixNano, lifetime: Duration) -> Value {
    let alerts = batch.iter().map(|notice| {
        let ends_at = notice.ends_at.unwrap_or(now.plus(nanos(lifetime)));
        json!({
            "labels": notice.labels,
            "annotations": notice.annotations,
            "startsAt": notice.starts_at,
            "endsAt": time_text(Some(ends_at)),
            "generatorURL": generator_url(notice, external_url),
        })
    });
    Value::Array(alerts.collect())
}
