//! Gathers the answer of a search while batches go by.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{TimeRange, UnixNano};
use query_api::{Cut, Facet, FacetValue, LogRecord, LogsAnswer, QueryStats};
use storage::Place;
use storage::rows::LogRows;

use super::Matches;
use super::histogram::Histogram;
use super::record::level;
use crate::reads::{MEMORY_HINT, MEMORY_LIMIT};
use crate::search::severity_of;

/// Different services that are counted; more are counted together.
const SERVICES_MAX: usize = 10_000;
/// Values a facet shows.
const FACET_VALUES_MAX: usize = 100;

/// Where the latest records are, and the counts of all.
pub(super) struct Collector {
    range: TimeRange,
    limit: usize,
    matched: u64,
    latest: BTreeSet<(UnixNano, Place)>,
    histogram: Histogram,
    services: HashMap<String, u64>,
    services_left_out: u64,
    levels: BTreeMap<&'static str, u64>,
}

impl Collector {
    /// What it looks at.
    pub(super) const COLUMNS: &'static [&'static str] =
        &["time", "service", "severity_number", "severity_text"];

    pub(super) fn new(range: TimeRange, limit: usize) -> Self {
        Self {
            range,
            limit,
            matched: 0,
            latest: BTreeSet::new(),
            histogram: Histogram::new(range),
            services: HashMap::new(),
            services_left_out: 0,
            levels: BTreeMap::new(),
        }
    }

    /// Takes the records of a batch that match.
    pub(super) fn add(&mut self, found: &Matches<'_>) {
        for row in found.matching {
            self.count(found.rows, *row);
            self.keep(found.rows.time(*row), || (found.place)(*row));
        }
    }

    fn count(&mut self, rows: &LogRows<'_>, row: usize) {
        self.matched += 1;
        let (number, text) = (rows.severity_number(row), rows.severity_text(row));
        self.histogram.add(rows.time(row), severity_of(number, text).unwrap_or(0));
        *self.levels.entry(level(number, text)).or_default() += 1;
        let service = rows.service(row);
        if let Some(count) = self.services.get_mut(service) {
            *count += 1;
        } else if self.services.len() < SERVICES_MAX {
            self.services.insert(service.to_owned(), 1);
        } else {
            self.services_left_out += 1;
        }
    }

    fn keep(&mut self, time: UnixNano, place: impl FnOnce() -> Place) {
        if self.latest.len() < self.limit {
            self.latest.insert((time, place()));
        } else if self.latest.first().is_some_and(|(oldest, _)| *oldest < time) {
            self.latest.pop_first();
            self.latest.insert((time, place()));
        }
    }

    /// Where the latest records are, the latest first.
    pub(super) fn latest(&self) -> Vec<Place> {
        self.latest.iter().rev().map(|(_, place)| *place).collect()
    }

    /// The answer, with the records at [`Collector::latest`], or fewer where they take too many bytes.
    pub(super) fn finish(
        self,
        mut records: Vec<LogRecord>,
        stats: QueryStats,
        is_out_of_memory: bool,
    ) -> LogsAnswer {
        let cuts = self.cuts(records.len(), is_out_of_memory);
        records.reverse();
        let services = self.services.into_iter().collect();
        let levels = self.levels.into_iter().map(|(level, count)| (level.to_owned(), count)).collect();
        LogsAnswer {
            range: self.range,
            records,
            matched: self.matched,
            histogram: self.histogram.finish(),
            facets: vec![facet("service", services), facet("severity", levels)],
            cuts,
            stats,
        }
    }

    fn cuts(&self, kept: usize, is_out_of_memory: bool) -> Vec<Cut> {
        let mut cuts = Vec::new();
        if self.matched > kept as u64 {
            let (limit, hint) = match kept < self.latest.len() {
                true if is_out_of_memory => (MEMORY_LIMIT, MEMORY_HINT),
                true => ("answer_bytes_max", "narrow the time range or the search"),
                false => ("limit", "ask for more records with `limit`, or narrow the time range"),
            };
            cuts.push(Cut {
                what: format!("the latest {kept} of {} matching records", self.matched),
                limit: limit.to_owned(),
                hint: Some(hint.to_owned()),
            });
        }
        if self.services_left_out > 0 {
            cuts.push(Cut {
                what: format!("{} records of further services are not in the facet", self.services_left_out),
                limit: "facet_services_max".to_owned(),
                hint: Some("narrow the search".to_owned()),
            });
        }
        let shown = self.services.len();
        if shown > FACET_VALUES_MAX {
            cuts.push(Cut {
                what: format!("the {FACET_VALUES_MAX} most frequent of {shown} services"),
                limit: "facet_values_max".to_owned(),
                hint: None,
            });
        }
        cuts
    }
}

/// The most frequent values first, equal ones by name.
fn facet(field: &str, counts: Vec<(String, u64)>) -> Facet {
    let mut values: Vec<FacetValue> =
        counts.into_iter().map(|(value, count)| FacetValue { value, count }).collect();
    values.sort_by(|a, b| (Reverse(a.count), &a.value).cmp(&(Reverse(b.count), &b.value)));
    values.truncate(FACET_VALUES_MAX);
    Facet { field: field.to_owned(), values }
}
