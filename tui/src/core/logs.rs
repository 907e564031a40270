//! Logs: a search, what it found, and what has arrived since.
//!
//! Records come twice: once from the search, then from the live tail. Both end up in one list in order
//! of time. Following is a property of the view: it stops when the selection moves up, and data goes
//! on arriving. Pausing holds records back, counted and bounded.
//!
//! Invariants: at most [`RECORDS_MAX`] records are kept and as many held back; what is dropped is
//! counted in `skipped`.

use std::collections::VecDeque;

use model::{Severity, UnixNano};
use query_api::client::TailItem;
use query_api::{Cut, Facet, LogBucket, LogRecord, LogsAnswer, QueryStats};

use super::list;
use super::msg::Failure;
use super::pane::Pane;

pub(crate) mod lines;

/// Records kept in the list.
pub(crate) const RECORDS_MAX: usize = 5_000;
/// Records a search asks for.
pub(crate) const SEARCH_LIMIT: usize = 500;
/// How far back a late record is sorted in.
const LATE_MAX: usize = 256;

/// What a search says beside its records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Records that match.
    pub(crate) matched: u64,
    /// Over time.
    pub(crate) histogram: Vec<LogBucket>,
    /// Values of fields.
    pub(crate) facets: Vec<Facet>,
    /// What was left out.
    pub(crate) cuts: Vec<Cut>,
    /// What it cost.
    pub(crate) stats: QueryStats,
}

/// State of the screen.
#[derive(Clone, Debug)]
pub(crate) struct LogsScreen {
    /// The search.
    pub(crate) query: String,
    /// What the search said.
    pub(crate) pane: Pane<Summary>,
    /// Oldest first.
    pub(crate) records: VecDeque<LogRecord>,
    /// What arrived during a pause.
    pub(crate) held: VecDeque<LogRecord>,
    /// Records that arrived since following stopped or the pause began.
    pub(crate) new: u64,
    /// Records that never arrived because the reader was slow, or were dropped here.
    pub(crate) skipped: u64,
    /// The selected record.
    pub(crate) selected: usize,
    /// The selection stays on the newest record.
    pub(crate) is_following: bool,
    /// The selected record shows everything it has.
    pub(crate) is_open: bool,
    /// Keys go to the facets.
    pub(crate) is_in_facets: bool,
    /// The selected facet value.
    pub(crate) facet: usize,
    /// The tail that runs.
    pub(crate) tail: Option<u64>,
    /// Why no tail runs though one should.
    pub(crate) tail_failure: Option<Failure>,
    /// The question under way only wants the summary.
    pub(crate) is_summary_only: bool,
}

impl Default for LogsScreen {
    fn default() -> Self {
        Self {
            query: String::new(),
            pane: Pane::default(),
            records: VecDeque::new(),
            held: VecDeque::new(),
            new: 0,
            skipped: 0,
            selected: 0,
            is_following: true,
            is_open: false,
            is_in_facets: false,
            facet: 0,
            tail: None,
            tail_failure: None,
            is_summary_only: false,
        }
    }
}

impl LogsScreen {
    /// Forgets what was found, for a new search or range.
    pub(crate) fn reset(&mut self) {
        let query = std::mem::take(&mut self.query);
        *self = Self { query, ..Self::default() };
    }

    /// Takes the answer of a search.
    pub(crate) fn take(&mut self, answer: LogsAnswer, now: UnixNano) {
        let LogsAnswer { records, matched, histogram, facets, cuts, stats, range: _ } = answer;
        if !self.is_summary_only {
            let arrived = std::mem::replace(&mut self.records, records.into());
            for record in arrived {
                if !self.has_recently(&record) {
                    self.insert(record);
                }
            }
            self.settle();
        }
        self.pane.succeed(Summary { matched, histogram, facets, cuts, stats }, now);
        self.facet = self.facet.min(self.facet_values().len().saturating_sub(1));
    }

    /// Takes what the tail brought.
    pub(crate) fn tailed(&mut self, items: Vec<TailItem>, is_paused: bool) {
        for item in items {
            match item {
                TailItem::Skipped(number) => self.skipped = self.skipped.saturating_add(number),
                TailItem::Record(record) if is_paused => self.hold(*record),
                TailItem::Record(record) => {
                    if !self.has_recently(&record) {
                        self.new += u64::from(!self.is_following);
                        self.insert(*record);
                    }
                }
            }
        }
        self.settle();
    }

    /// Shows what arrived during a pause.
    pub(crate) fn release(&mut self) {
        for record in std::mem::take(&mut self.held) {
            self.insert(record);
        }
        if self.is_following {
            self.new = 0;
        }
        self.settle();
    }

    /// Goes to the newest record and stays there.
    pub(crate) fn follow(&mut self) {
        self.is_following = true;
        self.new = 0;
        self.settle();
    }

    /// Moves the selection among records or facet values. Moving up ends following, reaching the
    /// newest record resumes it.
    pub(crate) fn move_by(&mut self, steps: isize) {
        if self.is_in_facets {
            self.facet = list::moved(self.facet, steps, self.facet_values().len());
            return;
        }
        self.select(list::moved(self.selected, steps, self.records.len()));
    }

    /// Moves to the next record of severity ERROR or above, around the end.
    pub(crate) fn move_to_error(&mut self, is_forward: bool) -> bool {
        let is_error = |record: &LogRecord| record.severity_number >= Severity::Error.number();
        let errors: Vec<usize> = self
            .records
            .iter()
            .enumerate()
            .filter(|(_, record)| is_error(record))
            .map(|(at, _)| at)
            .collect();
        let next = list::next_of(&errors, self.selected, is_forward);
        if let Some(next) = next {
            self.select(next);
        }
        next.is_some()
    }

    fn select(&mut self, index: usize) {
        self.selected = index;
        self.is_following = index + 1 >= self.records.len();
        if self.is_following {
            self.new = 0;
        }
    }

    /// The selected record.
    pub(crate) fn record(&self) -> Option<&LogRecord> {
        self.records.get(self.selected)
    }

    /// Facet values in the order they are drawn: field, value, count.
    pub(crate) fn facet_values(&self) -> Vec<(&str, &str, u64)> {
        let facets = self.pane.answer.iter().flat_map(|summary| &summary.facets);
        facets
            .flat_map(|facet| {
                let values = facet.values.iter().take(lines::FACET_VALUES_MAX);
                values.map(|value| (facet.field.as_str(), value.value.as_str(), value.count))
            })
            .collect()
    }

    /// The search term of the selected facet value, or of the selected record's service.
    pub(crate) fn term(&self) -> Option<String> {
        if self.is_in_facets {
            let (field, value, _) = *self.facet_values().get(self.facet)?;
            return Some(term(field, value));
        }
        Some(term("service", &self.record()?.service))
    }

    fn hold(&mut self, record: LogRecord) {
        self.new += 1;
        if self.held.len() == RECORDS_MAX {
            self.held.pop_front();
            self.skipped = self.skipped.saturating_add(1);
        }
        self.held.push_back(record);
    }

    fn insert(&mut self, record: LogRecord) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
            self.selected = self.selected.saturating_sub(1);
        }
        let late =
            self.records.iter().rev().take(LATE_MAX).take_while(|other| other.time > record.time).count();
        let at = self.records.len() - late;
        if !self.is_following && at <= self.selected && !self.records.is_empty() {
            self.selected += 1;
        }
        self.records.insert(at, record);
    }

    /// The search and the tail overlap; a record that came from both is one record.
    fn has_recently(&self, record: &LogRecord) -> bool {
        self.records.iter().rev().take_while(|other| other.time >= record.time).any(|other| other == record)
    }

    fn settle(&mut self) {
        let last = self.records.len().saturating_sub(1);
        self.selected = if self.is_following { last } else { self.selected.min(last) };
    }
}

/// `field:value`, quoted when the value is more than a word.
pub(crate) fn term(field: &str, value: &str) -> String {
    let is_word =
        !value.is_empty() && value.chars().all(|char| char.is_alphanumeric() || "-_./".contains(char));
    if is_word {
        return format!("{field}:{value}");
    }
    format!("{field}:\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
}

/// `query` with `term` added, or without it when it was there already.
pub(crate) fn toggled(query: &str, term: &str) -> String {
    let padded = format!(" {query} ");
    let wanted = format!(" {term} ");
    match padded.find(&wanted) {
        Some(at) => format!("{} {}", &padded[..at], &padded[at + wanted.len()..]).trim().to_owned(),
        None => format!("{query} {term}").trim().to_owned(),
    }
}

/// The id of a record that leads furthest: a business id, then a correlation id, then the trace.
pub(crate) fn best_id(record: &LogRecord) -> Option<String> {
    const BEST: [&str; 4] = ["order_id", "correlation_id", "trace_id", "message_id"];
    let named = BEST.iter().find_map(|kind| record.ids.iter().find(|term| term.kind == *kind));
    let business = record.ids.iter().find(|term| !BEST.contains(&term.kind.as_str()));
    let best = match named {
        Some(term) if matches!(term.kind.as_str(), "order_id" | "correlation_id") => Some(term),
        named => business.or(named),
    };
    best.map(ToString::to_string).or_else(|| record.trace_id.map(|id| format!("trace_id={id}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_added_once_and_taken_away_the_second_time() {
        assert_eq!(toggled("level>=warn", "service:billing"), "level>=warn service:billing");
        assert_eq!(toggled("a service:billing b", "service:billing"), "a b");
        assert_eq!(toggled("", "x:y"), "x:y");
        assert_eq!(term("path", "a \"b\""), r#"path:"a \"b\"""#);
    }
}
