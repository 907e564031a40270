//! Which records an id reaches, per service, and which parents are missing.

use std::collections::{BTreeMap, HashMap};

use model::TraceId;
use query_api::DoctorService;

use super::calls::Calls;
use super::census::{Census, Counts, Name};
use super::messages::Messages;

/// What was judged of one service.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) spans_unreachable: u64,
    pub(super) logs_unreachable: u64,
    /// Spans whose parents would be there.
    pub(super) with_parent: u64,
    pub(super) orphans: u64,
    pub(super) received: u64,
    pub(super) received_without_context: u64,
    pub(super) example_span: Option<TraceId>,
    pub(super) example_log: Option<TraceId>,
    pub(super) example_orphan: Option<TraceId>,
}

/// All services.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    pub(super) services: BTreeMap<Name, Judged>,
}

/// Judges every service.
pub(super) fn judge(census: &Census, calls: &Calls, messages: &Messages) -> Coverage {
    let mut coverage = Coverage::default();
    let scale = census.scale();
    for (service, counts) in &census.counts {
        let of = |map: &BTreeMap<Name, u64>| map.get(service).copied().unwrap_or(0) * scale;
        let judged = coverage.services.entry(*service).or_default();
        judged.logs_unreachable = counts.logs_alone;
        judged.received = of(&calls.received) + of(&messages.received);
        judged.received_without_context = of(&calls.lost) + of(&messages.lost);
    }
    coverage.judge_spans(census);
    coverage.judge_logs(census);
    coverage
}

impl Coverage {
    fn judge_spans(&mut self, census: &Census) {
        let scale = census.scale();
        for note in &census.notes {
            let judged = self.services.entry(note.service).or_default();
            if !census.covered.contains(&note.trace) {
                judged.spans_unreachable += scale;
                judged.example_span.get_or_insert(note.trace);
            }
            if note.parent.is_none() || !census.is_settled(note) || !census.is_inside(note) {
                continue;
            }
            judged.with_parent += scale;
            let parent = note.parent.map(|parent| (note.trace, parent));
            if parent.is_some_and(|parent| !census.by_span.contains_key(&parent)) {
                judged.orphans += scale;
                judged.example_orphan.get_or_insert(note.trace);
            }
        }
    }

    /// Log records without an id of their own are reached through their trace, when anything of it carries one.
    fn judge_logs(&mut self, census: &Census) {
        let mut sums: HashMap<Name, (u64, u64)> = HashMap::new();
        for ((service, trace), count) in &census.waiting {
            let (kept, unreachable) = sums.entry(*service).or_default();
            *kept += count;
            if !census.covered.contains(trace) {
                *unreachable += count;
                let judged = self.services.entry(*service).or_default();
                // The smallest, so that the answer does not hang on the order of a map.
                judged.example_log = Some(judged.example_log.map_or(*trace, |known| known.min(*trace)));
            }
        }
        for (service, (kept, unreachable)) in sums {
            let counts = &census.counts[&service];
            let traced = counts.logs_without_id - counts.logs_alone;
            let share = unreachable as f64 / kept.max(1) as f64;
            let judged = self.services.entry(service).or_default();
            judged.logs_unreachable += (traced as f64 * share).round() as u64;
        }
    }

    /// The services, least covered first.
    pub(super) fn rows(&self, census: &Census) -> Vec<DoctorService> {
        let row = |(name, judged): (&Name, &Judged)| {
            let counts = &census.counts[name];
            judged.row(census.text(*name), counts)
        };
        let known = self.services.iter().filter(|(name, _)| census.counts.contains_key(name));
        let mut rows: Vec<DoctorService> = known.map(row).collect();
        rows.sort_by(|a, b| a.coverage.total_cmp(&b.coverage).then_with(|| a.service.cmp(&b.service)));
        rows
    }
}

impl Judged {
    fn row(&self, service: &str, counts: &Counts) -> DoctorService {
        let records = counts.spans + counts.logs;
        let spans_unreachable = self.spans_unreachable.min(counts.spans);
        let unreachable = spans_unreachable + self.logs_unreachable;
        let lost = self.received_without_context.min(self.received);
        DoctorService {
            service: service.to_owned(),
            coverage: kept(unreachable, records).min(kept(lost, self.received)),
            spans: counts.spans,
            spans_without_id: counts.spans_without_id,
            spans_unreachable,
            logs: counts.logs,
            logs_without_id: counts.logs_without_id,
            logs_unreachable: self.logs_unreachable,
            logs_without_trace: counts.logs_without_trace,
            received: self.received,
            received_without_context: lost,
            orphans: self.orphans.min(counts.spans),
        }
    }
}

/// The share that is not lost; all of nothing.
fn kept(lost: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { 1.0 - lost as f64 / of as f64 }
}
