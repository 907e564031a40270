//! What an expression evaluates to: one value a step, for one or many series.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::TimeRange;
use storage::Reservation;

use super::source::labels_bytes;
use super::{Labels, Options, POINTS_MAX, PromqlError};

/// Bytes of a value that is made, and of what an operator makes of it.
const VALUE_BYTES: usize = 2 * size_of::<Option<f64>>();
/// Bytes of a sample of the answer: number and text, and both once more as JSON.
const ANSWER_SAMPLE_BYTES: usize = 96;

/// The instants at which an expression is evaluated, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) start: i64,
    pub(crate) step: i64,
    pub(crate) count: usize,
}

impl Steps {
    pub(crate) fn instant(time: i64) -> Self {
        Self { start: time, step: 1, count: 1 }
    }

    /// The steps of a range query.
    pub(crate) fn range(range: TimeRange, step: Duration) -> Result<Self, PromqlError> {
        let bad = |text: &str| Err(PromqlError::BadData(text.to_owned()));
        let (start, end) = (range.from.millis(), range.to.millis());
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step <= 0 {
            return bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            );
        }
        if end < start {
            return bad("end timestamp must not be before start time");
        }
        let points = end.saturating_sub(start) / step;
        if points > POINTS_MAX {
            return bad(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
                 resolution (?step=XX)",
            );
        }
        Ok(Self { start, step, count: usize::try_from(points).unwrap_or(0) + 1 })
    }

    pub(crate) fn end(&self) -> i64 {
        let last = i64::try_from(self.count).unwrap_or(i64::MAX).saturating_sub(1);
        self.start.saturating_add(self.step.saturating_mul(last))
    }

    pub(crate) fn times(self) -> impl Iterator<Item = i64> {
        let mut next = self.start;
        (0..self.count).map(move |_| {
            let time = next;
            next = next.saturating_add(self.step);
            time
        })
    }
}

/// One series of a result: a value, or none, at every step.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) labels: Arc<Labels>,
    pub(crate) values: Vec<Option<f64>>,
}

impl Row {
    pub(crate) fn new(labels: Labels, values: Vec<Option<f64>>) -> Self {
        Self { labels: Arc::new(labels), values }
    }

    pub(crate) fn has_values(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }
}

/// The value of an expression. Range vectors are arguments only, and never come here.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// One number a step.
    Scalar(Vec<f64>),
    /// Any number of series.
    Vector(Vec<Row>),
    /// A string literal.
    Text(String),
}

/// Joins rows whose labels have become equal.
///
/// # Errors
/// Two of them have a value at the same step.
pub(crate) fn merge(rows: Vec<Row>) -> Result<Vec<Row>, PromqlError> {
    let mut places: HashMap<Arc<Labels>, usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(place) = places.get(&row.labels).copied() else {
            places.insert(Arc::clone(&row.labels), merged.len());
            merged.push(row);
            continue;
        };
        for (have, add) in merged[place].values.iter_mut().zip(row.values) {
            match (&have, add) {
                (Some(_), Some(_)) => return Err(PromqlError::same_labelset()),
                (None, Some(_)) => *have = add,
                (_, None) => {}
            }
        }
    }
    Ok(merged)
}

/// Counts what a query reads and makes, and stops it at its limits.
pub(crate) struct Budget<'a> {
    options: &'a Options,
    held: Option<&'a Reservation>,
    samples: Cell<u64>,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(options: &'a Options, held: Option<&'a Reservation>) -> Self {
        Self { options, held, samples: Cell::new(0) }
    }

    /// Spends `samples` that are made, and memory for them.
    pub(crate) fn spend(&self, samples: usize) -> Result<(), PromqlError> {
        self.count(samples)?;
        self.hold(samples.saturating_mul(VALUE_BYTES))
    }

    /// Reserves memory for series of the answer: labels and number of samples.
    pub(crate) fn answer<'l>(
        &self,
        mut series: impl Iterator<Item = (&'l Labels, usize)>,
    ) -> Result<(), PromqlError> {
        series.try_for_each(|(labels, samples)| {
            self.hold(2 * labels_bytes(labels) + samples.saturating_mul(ANSWER_SAMPLE_BYTES))
        })
    }

    fn hold(&self, bytes: usize) -> Result<(), PromqlError> {
        self.held.map_or(Ok(()), |held| held.grow(bytes)).map_err(PromqlError::out_of_memory)
    }

    /// Counts `samples` that were read, their memory reserved; also the place where a query notices that it was
    /// cancelled.
    pub(crate) fn count(&self, samples: usize) -> Result<(), PromqlError> {
        let spent = self.samples.get().saturating_add(u64::try_from(samples).unwrap_or(u64::MAX));
        self.samples.set(spent);
        if spent > self.options.samples_max {
            return Err(PromqlError::Limit(format!(
                "query processing would load too many samples into memory in query execution (more than {})",
                self.options.samples_max
            )));
        }
        if self.options.cancelled.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(PromqlError::Cancelled);
        }
        Ok(())
    }

    pub(crate) fn series(&self, count: usize) -> Result<(), PromqlError> {
        if count > self.options.series_max {
            return Err(PromqlError::Limit(format!(
                "a selector finds {count} series, more than the {} that a query may read: add matchers",
                self.options.series_max
            )));
        }
        Ok(())
    }
}
