//! What was changed around a journey: versions, from its own records; configuration files, from what agents report.
//!
//! A version changed where a service's records name two values of `service.version`: the mark stands at the first record
//! of the new one. A report of a changed file carries the id kind `config_change` with the service's name, so that the
//! identity index finds it; a file of id kinds without it has no such marks.

use std::collections::HashMap;

use model::{IdTerm, Signal, TimeRange, UnixNano};
use query_api::{Attributes, Cut, Journey, JourneyMark, MarkKind, Text};
use storage::rows::LogRows;
use storage::{ScanStats, Snapshot};

use super::records::{LogRecord, SpanRecord};
use crate::reads::add_memory_cut;

const VERSION: &str = "service.version";
/// Marks of one service, beyond which versions are mixed rather than changed.
const CHANGES_MAX: usize = 8;

/// The id kind that reports of changed files carry.
const CONFIG_CHANGE: &str = "config_change";
/// A change this long before a journey may still explain it.
const BEFORE_NANO: i64 = 3_600_000_000_000;
/// Changes that are shown, the newest.
const CONFIG_MARKS_MAX: usize = 50;

/// Adds a mark for every configuration file that was changed, of a service that the journey touched, within it or in
/// the hour before.
///
/// # Errors
/// When the store cannot be read.
pub fn mark_config_changes(journey: &mut Journey, snapshot: &Snapshot) -> Result<(), storage::Error> {
    let end = journey.start_time.plus(journey.duration_nano);
    let range = TimeRange { from: journey.start_time.plus(-BEFORE_NANO), to: end };
    let term = |service: &String| IdTerm::new(CONFIG_CHANGE, service.as_str()).to_string();
    let terms: Vec<String> = journey.services.iter().map(term).collect();
    let mut stats = ScanStats::default();
    let found = snapshot.lookup_newest(Signal::Logs, &range, &terms, CONFIG_MARKS_MAX, &mut stats)?;
    let mut marks = Vec::new();
    for batch in &found {
        let rows = LogRows::new(batch);
        for row in (0..rows.len()).filter(|row| rows.ids(*row).any(|id| terms.iter().any(|term| term == id)))
        {
            let path = rows.attributes(row).find(|(key, _)| *key == "file.path").map_or("", |(_, path)| path);
            marks.push(JourneyMark {
                time: rows.time(row),
                kind: MarkKind::Config,
                service: rows.service(row).to_owned(),
                text: format!("{path} was changed"),
            });
        }
    }
    add_memory_cut(&mut journey.cuts, snapshot);
    if stats.groups_left_out > 0 {
        let what =
            format!("{} changes of configuration files before these are left out", stats.groups_left_out);
        journey.cuts.push(Cut { what, limit: "config_marks".to_owned(), hint: None });
    }
    journey.marks.extend(marks);
    journey.marks.sort_by(|a, b| (a.time, &a.service, &a.text).cmp(&(b.time, &b.service, &b.text)));
    Ok(())
}

/// Marks where the version of a service changes, by time.
pub(crate) fn of_versions(spans: &[SpanRecord], logs: &[LogRecord]) -> Vec<JourneyMark> {
    let spans = spans.iter().map(|span| (span.start, span.service.as_str(), &span.resource));
    let logs = logs.iter().map(|log| (log.time, log.service.as_str(), &log.resource));
    let version = |(time, service, resource): (UnixNano, _, &Attributes)| {
        Some((time, service, resource.get(VERSION)?.clone()))
    };
    let mut seen: Vec<(UnixNano, &str, Text)> = spans.chain(logs).filter_map(version).collect();
    seen.sort_unstable();
    let mut current: HashMap<&str, (Text, usize)> = HashMap::new();
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
