//! Gathers the answer of a search while batches go by.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use model::{TimeRange, UnixNano};
use query_api::{Cut, Facet, FacetValue, LogRecord, LogsAnswer, QueryStats};
use storage::rows::LogRows;

use super::ANSWER_BYTES_MAX;
use super::histogram::Histogram;
use super::record::{bytes, level, record};
use crate::search::{Query, severity_of};

/// Different services that are counted; more are counted together.
const SERVICES_MAX: usize = 10_000;
/// Values a facet shows.
const FACET_VALUES_MAX: usize = 100;

/// The latest records and the counts of all.
pub(super) struct Collector {
    range: TimeRange,
    limit: usize,
    matched: u64,
    /// By time and then by order of reading, so that equal times keep all their records.
    latest: BTreeMap<(UnixNano, u64), LogRecord>,
    latest_bytes: usize,
    is_cut_by_bytes: bool,
    histogram: Histogram,
    services: HashMap<String, u64>,
    services_left_out: u64,
    levels: BTreeMap<&'static str, u64>,
}

impl Collector {
    pub(super) fn new(range: TimeRange, limit: usize) -> Self {
        Self {
            range,
            limit,
            matched: 0,
            latest: BTreeMap::new(),
            latest_bytes: 0,
            is_cut_by_bytes: false,
            histogram: Histogram::new(range),
            services: HashMap::new(),
            services_left_out: 0,
            levels: BTreeMap::new(),
        }
    }

    /// Looks at every row of a batch.
    pub(super) fn add(&mut self, batch: &RecordBatch, query: &Query) {
        let rows = LogRows::new(batch);
        for row in 0..rows.len() {
            if query.matches_log(&rows, row) {
                self.count(&rows, row);
                self.keep(&rows, row);
            }
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

    fn keep(&mut self, rows: &LogRows<'_>, row: usize) {
        let time = rows.time(row);
        let is_full = self.latest.len() >= self.limit || self.is_cut_by_bytes;
        let is_older = self.latest.first_key_value().is_none_or(|((oldest, _), _)| time <= *oldest);
        if is_full && is_older {
            return;
        }
        let record = record(rows, row);
        self.latest_bytes += bytes(&record);
        self.latest.insert((time, self.matched), record);
        while self.latest.len() > self.limit {
            self.drop_oldest();
        }
        while self.latest_bytes > ANSWER_BYTES_MAX && self.latest.len() > 1 {
            self.is_cut_by_bytes = true;
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, record)) = self.latest.pop_first() {
            self.latest_bytes -= bytes(&record);
        }
    }

    pub(super) fn finish(self, stats: QueryStats) -> LogsAnswer {
        let cuts = self.cuts();
        let services = self.services.into_iter().collect();
        let levels = self.levels.into_iter().map(|(level, count)| (level.to_owned(), count)).collect();
        LogsAnswer {
            range: self.range,
            records: self.latest.into_values().collect(),
            matched: self.matched,
            histogram: self.histogram.finish(),
            facets: vec![facet("service", services), facet("severity", levels)],
            cuts,
            stats,
        }
    }

    fn cuts(&self) -> Vec<Cut> {
        let mut cuts = Vec::new();
        let kept = self.latest.len();
        if self.matched > kept as u64 {
            let (limit, hint) = match self.is_cut_by_bytes {
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
