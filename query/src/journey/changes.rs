//! Versions that changed within a journey: a service whose records name two values of `service.version`.
//!
//! Invariant: only what the journey's own records say; the mark stands at the first record of the new version.

use std::collections::HashMap;

use model::UnixNano;
use query_api::{JourneyMark, MarkKind};

use super::records::{Attributes, LogRecord, SpanRecord};

const VERSION: &str = "service.version";
/// Marks of one service, beyond which versions are mixed rather than changed.
const CHANGES_MAX: usize = 8;

/// Marks where the version of a service changes, by time.
pub(crate) fn of_versions(spans: &[SpanRecord], logs: &[LogRecord]) -> Vec<JourneyMark> {
    let spans = spans.iter().map(|span| (span.start, span.service.as_str(), &span.resource));
    let logs = logs.iter().map(|log| (log.time, log.service.as_str(), &log.resource));
    let version = |(time, service, resource): (UnixNano, _, &Attributes)| {
        Some((time, service, resource.get(VERSION)?.clone()))
    };
    let mut seen: Vec<(UnixNano, &str, String)> = spans.chain(logs).filter_map(version).collect();
    seen.sort_unstable();
    let mut current: HashMap<&str, (String, usize)> = HashMap::new();
    let mut marks = Vec::new();
    for (time, service, version) in seen {
        let Some((known, changes)) = current.get_mut(service) else {
            current.insert(service, (version, 0));
            continue;
        };
        if *known != version && *changes < CHANGES_MAX {
            let text = format!("version {known} → {version}");
            marks.push(JourneyMark { time, kind: MarkKind::Deploy, service: service.to_owned(), text });
            *changes += 1;
            *known = version;
        }
    }
    marks
}
