//! The store as a list of rows: what has to be visible, and what may be.
//!
//! ```text
//! log record    as often as it was sent
//! span          once at least, as often as it was sent at most: compaction leaves one
//! point         of those at one time of one series at least one
//! any           nothing, once it is older than retention keeps it; it does not come back then
//! ```

use std::collections::BTreeMap;

use model::{Signal, UnixNano};

use crate::rows::{LogRows, PointRows, SpanRows};
use crate::testing::HOUR;

/// A row, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    signal: usize,
    time: UnixNano,
    text: String,
    is_error: bool,
    /// Ids it carries itself.
    terms: Vec<String>,
    trace: Option<String>,
}

/// Rows and how often each is there.
pub(super) type Visible = BTreeMap<Row, u64>;

impl Row {
    fn new(signal: Signal, time: UnixNano, text: String, is_error: bool, ids: Vec<String>) -> Self {
        let mut terms = ids;
        terms.sort();
        let trace = terms.iter().find(|term| term.starts_with("trace_id=")).cloned();
        Self { signal: signal.index(), time, text, is_error, terms, trace }
    }

    pub(super) fn span(time: UnixNano, trace: u8, id: u8, is_error: bool) -> Self {
        Self::new(Signal::Traces, time, format!("span {id}"), is_error, vec![trace_term(trace)])
    }

    pub(super) fn log(time: UnixNano, body: &str, trace: u8, order: u8) -> Self {
        let mut terms = Vec::new();
        if trace != 0 {
            terms.push(trace_term(trace));
        }
        if order != 0 {
            terms.push(format!("order_id=ORD-{order}"));
        }
        Self::new(Signal::Logs, time, body.to_owned(), body == "error", terms)
    }

    pub(super) fn point(time: UnixNano, series: u8, value: f64) -> Self {
        Self::new(Signal::Metrics, time, format!("series_{series} {value}"), false, Vec::new())
    }

    pub(super) fn of_span(rows: &SpanRows<'_>, row: usize) -> Self {
        let mut terms: Vec<String> = rows.ids(row).map(str::to_owned).collect();
        terms.push(format!("trace_id={}", rows.trace_id(row)));
        let is_error = rows.status(row) == "error";
        Self::new(Signal::Traces, rows.start_time(row), rows.name(row).to_owned(), is_error, terms)
    }

    pub(super) fn of_log(rows: &LogRows<'_>, row: usize) -> Self {
        let mut terms: Vec<String> = rows.ids(row).map(str::to_owned).collect();
        terms.extend(rows.trace_id(row).map(|trace| format!("trace_id={trace}")));
        let is_error = rows.severity_number(row) >= 17;
        Self::new(Signal::Logs, rows.time(row), rows.body(row).to_owned(), is_error, terms)
    }

    pub(super) fn of_point(rows: &PointRows<'_>, row: usize) -> Self {
        let text = format!("{} {}", rows.name(row), rows.value(row));
        Self::new(Signal::Metrics, rows.time(row), text, false, Vec::new())
    }

    pub(super) fn signal(&self) -> Signal {
        Signal::ALL[self.signal]
    }

    pub(super) const fn time(&self) -> UnixNano {
        self.time
    }

    pub(super) fn terms(&self) -> &[String] {
        &self.terms
    }

    pub(super) fn carries(&self, term: &str) -> bool {
        self.terms.iter().any(|own| own == term)
    }

    pub(super) const fn trace(&self) -> Option<&String> {
        self.trace.as_ref()
    }

    /// Of points, what those that replace each other have in common.
    fn series(&self) -> (&str, UnixNano) {
        (self.text.split(' ').next().unwrap_or_default(), self.time)
    }

    /// Whether retention has to leave it.
    fn is_kept(&self, now: UnixNano) -> bool {
        let (age, errors_age) = match self.signal() {
            Signal::Traces => (8, 8),
            Signal::Logs => (5, 20),
            Signal::Metrics => return true,
        };
        let hours = if self.is_error { errors_age } else { age };
        self.time >= now.plus(-hours * HOUR)
    }
}

fn trace_term(trace: u8) -> String {
    format!("trace_id={}", format!("{trace:02x}").repeat(16))
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Acknowledged and not deleted.
    sent: u64,
    /// It cannot be there more often.
    most: u64,
}

/// The list.
#[derive(Clone, Debug, Default)]
pub(super) struct Naive {
    rows: BTreeMap<Row, Counts>,
}

impl Naive {
    /// Rows were acknowledged.
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            let counts = self.rows.entry(row).or_default();
            counts.sent += 1;
            counts.most += 1;
        }
    }

    /// A delete was acknowledged; the spans and log records that were visible and carry the id.
    pub(super) fn delete(&mut self, term: &str) -> [u64; 2] {
        let mut deleted = [0, 0];
        for (row, counts) in self.rows.iter_mut().filter(|(row, _)| row.carries(term)) {
            deleted[row.signal] += counts.most;
            *counts = Counts::default();
        }
        deleted
    }

    /// A delete was asked for and not acknowledged.
    pub(super) fn may_be_deleted(&mut self, term: &str) {
        self.rows.iter_mut().filter(|(row, _)| row.carries(term)).for_each(|(_, counts)| counts.sent = 0);
    }

    fn least(&self, row: &Row, counts: &Counts, now: UnixNano) -> u64 {
        if !row.is_kept(now) {
            return 0;
        }
        match row.signal() {
            Signal::Logs => counts.sent,
            Signal::Traces => counts.sent.min(1),
            Signal::Metrics => 0,
        }
    }

    /// Compares, and learns what is gone for good.
    pub(super) fn check(&mut self, found: &Visible, now: UnixNano) -> Result<(), String> {
        for (row, count) in found {
            let most = self.rows.get(row).map_or(0, |counts| counts.most);
            if *count > most {
                return Err(format!("{row:?} is there {count} times, {most} are possible"));
            }
        }
        for (row, counts) in &self.rows {
            let (count, least) = (found.get(row).copied().unwrap_or(0), self.least(row, counts, now));
            if count < least {
                return Err(format!("{row:?} is there {count} times, {least} were acknowledged"));
            }
            let is_like = |other: &&Row| other.signal() == Signal::Metrics && other.series() == row.series();
            if row.signal() == Signal::Metrics
                && counts.sent > 0
                && !found.keys().any(|other| is_like(&other))
            {
                return Err(format!("of {row:?} and what is at its place nothing is there"));
            }
        }
        for (row, counts) in &mut self.rows {
            counts.most = found.get(row).copied().unwrap_or(0);
        }
        Ok(())
    }

    /// Whether rows that were sent last are there: all, none, or an error. `None` when there are none.
    pub(super) fn is_done(&self, rows: &[Row], found: &Visible) -> Result<Option<bool>, String> {
        let mut sent = Visible::new();
        rows.iter().for_each(|row| *sent.entry(row.clone()).or_default() += 1);
        let mut all = None;
        for (row, sent) in &sent {
            let before = self.rows.get(row).map_or(0, |counts| counts.most);
            let count = found.get(row).copied().unwrap_or(0);
            let is_there = count == before + sent;
            if (!is_there && count != before) || all.is_some_and(|all| all != is_there) {
                return Err(format!("of a request a part is there: {row:?} {count} times, {before} before"));
            }
            all = Some(is_there);
        }
        Ok(all)
    }
}
