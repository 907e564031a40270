//! A journey to compare with: the trace at a percentile of a route's durations.
//!
//! ```text
//! route:/checkout p50      spans whose `http.route`, `url.path` or name is /checkout, one a trace (the longest);
//!                          of those the one at the percentile
//! ```
//!
//! Invariant: what is chosen depends on the rows alone: equal durations are told apart by their trace id.

use std::collections::HashMap;
use std::ops::ControlFlow;

use arrow::array::{AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use model::{Signal, TimeRange, TraceId};
use storage::{ScanOrder, ScanStats, Snapshot};
use thiserror::Error;

use crate::limits::Cancel;

/// Traces that are looked at, the newest.
const TRACES_MAX: usize = 100_000;
const COLUMNS: [&str; 4] = ["trace_id", "name", "duration_nano", "attributes"];
const ROUTES: [&str; 4] = ["http.route", "url.path", "http.target", "rpc.method"];

/// Which journey to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baseline {
    route: String,
    /// 0 to 100.
    percentile: u8,
}

/// Why there is no baseline.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BaselineError {
    /// It cannot be read.
    #[error("`{0}` is no baseline: write route:/checkout p50")]
    Unreadable(String),
    /// No span has that route.
    #[error("no span of route `{route}` from {} to {}", .range.from, .range.to)]
    NotFound {
        /// What was looked for.
        route: String,
        /// Where.
        range: TimeRange,
    },
}

/// The trace that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its id.
    pub trace_id: TraceId,
    /// How it was chosen: `p50 of 312 traces of route /checkout`.
    pub text: String,
}

impl std::str::FromStr for Baseline {
    type Err = BaselineError;

    fn from_str(text: &str) -> Result<Self, BaselineError> {
        let wrong = || BaselineError::Unreadable(text.to_owned());
        let mut words = text.split_whitespace();
        let route =
            words.next().and_then(|word| word.strip_prefix("route:")).filter(|route| !route.is_empty());
        let route = route.ok_or_else(wrong)?.to_owned();
        let percentile = match words.next() {
            None => 50,
            Some(word) => word.strip_prefix('p').and_then(|number| number.parse().ok()).ok_or_else(wrong)?,
        };
        match words.next().is_none() && percentile <= 100 {
            true => Ok(Self { route, percentile }),
            false => Err(wrong()),
        }
    }
}

impl Baseline {
    /// Finds the trace. Blocking: call off the async threads.
    ///
    /// # Errors
    /// [`BaselineError::NotFound`], or the store's error when it cannot be read.
    pub fn choose(
        &self,
        snapshot: &Snapshot,
        range: TimeRange,
        cancel: &Cancel,
    ) -> Result<Result<Chosen, BaselineError>, storage::Error> {
        let mut longest: HashMap<TraceId, i64> = HashMap::new();
        let mut stats = ScanStats::default();
        let mut look = |batch: &RecordBatch| {
            self.look(batch, &mut longest);
            if longest.len() < TRACES_MAX { cancel.flow() } else { ControlFlow::Break(()) }
        };
        snapshot.scan(Signal::Traces, &range, &COLUMNS, ScanOrder::Newest, &mut stats, &mut look)?;
        let mut traces: Vec<(i64, TraceId)> =
            longest.into_iter().map(|(trace, nanos)| (nanos, trace)).collect();
        traces.sort_unstable();
        if traces.is_empty() {
            return Ok(Err(BaselineError::NotFound { route: self.route.clone(), range }));
        }
        let at = (traces.len() - 1) * usize::from(self.percentile) / 100;
        let newest = if traces.len() < TRACES_MAX { "" } else { "the newest " };
        let text = format!("p{} of {newest}{} traces of route {}", self.percentile, traces.len(), self.route);
        Ok(Ok(Chosen { trace_id: traces[at].1, text }))
    }

    fn look(&self, batch: &RecordBatch, longest: &mut HashMap<TraceId, i64>) {
        let column =
            |name: &str| batch.column_by_name(name).expect("the scan gives the columns it is asked for");
        let traces = column("trace_id").as_fixed_size_binary();
        let names: &StringArray = column("name").as_string();
        let durations = column("duration_nano").as_primitive::<Int64Type>();
        let attributes = column("attributes").as_map();
        let keys: &StringArray = attributes.keys().as_string();
        let values: &StringArray = attributes.values().as_string();
        for row in 0..batch.num_rows() {
            let offsets = attributes.offsets();
            let mut pairs = (offsets[row] as usize..offsets[row + 1] as usize)
                .map(|at| (keys.value(at), values.value(at)));
            let is_named = |name: &str| {
                name == self.route || name.split_once(' ').is_some_and(|(_, path)| path == self.route)
            };
            let is_it = is_named(names.value(row))
                || pairs.any(|(key, value)| value == self.route && ROUTES.contains(&key));
            if let Some(trace) = is_it.then(|| TraceId::from_bytes(traces.value(row))).flatten() {
                let longest = longest.entry(trace).or_default();
                *longest = durations.value(row).max(*longest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_a_route_and_a_percentile() {
        let is = |route: &str, percentile| Ok(Baseline { route: route.to_owned(), percentile });
        assert_eq!("route:/checkout p95".parse(), is("/checkout", 95));
        assert_eq!(" route:/checkout ".parse(), is("/checkout", 50));
        for text in
            ["", "/checkout", "route:", "route:/a 95", "route:/a p101", "route:/a p50 more", "route:/a p"]
        {
            assert_eq!(text.parse::<Baseline>(), Err(BaselineError::Unreadable(text.to_owned())));
        }
    }
}
