//! Where samples come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::UnixNano;
use storage::Reservation;

use super::{METRIC_NAME, Matcher, PromqlError};

/// A series' labels, `__name__` among them; no label is empty.
pub type Labels = BTreeMap<String, String>;

pub use model::otlp::gauges::STALE_BITS;

/// Bytes of a pair of labels beside its texts.
const PAIR_BYTES: usize = 80;

/// The samples of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct RawSeries {
    /// Its labels.
    pub labels: Arc<Labels>,
    /// Unix milliseconds and value; times strictly increase.
    pub samples: Vec<(i64, f64)>,
}

/// Answers a selector.
pub trait SeriesSource {
    /// Every series that passes all `matchers` and has a sample in `from..=to`, with those samples. No
    /// two series have the same labels.
    ///
    /// # Errors
    /// [`PromqlError::Source`] when samples cannot be read, [`PromqlError::Limit`] when there are too many.
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixNano,
        to: UnixNano,
    ) -> Result<Vec<RawSeries>, PromqlError>;

    /// Where memory is reserved for what is made of the samples; the source reserves for those that it gives. `None`:
    /// nobody counts.
    fn held(&self) -> Option<&Reservation> {
        None
    }
}

/// Bytes of labels, roughly.
pub(crate) fn labels_bytes(labels: &Labels) -> usize {
    labels.iter().map(|(key, value)| key.len() + value.len() + PAIR_BYTES).sum()
}

/// Whether all `matchers` pass.
pub(crate) fn passes(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| matcher.is_match(labels.get(&matcher.name).map_or("", String::as_str)))
}

/// Series in memory: what tests and rule tests evaluate on.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
}

impl MemorySource {
    /// Adds samples to the series of these labels; a sample of the same millisecond is replaced.
    pub fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        self.series.entry(labels).or_default().extend(samples);
    }

    /// Adds one sample of metric `name`.
    pub fn add_sample(&mut self, name: &str, labels: &[(&str, &str)], time: UnixNano, value: f64) {
        let mut all: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        all.insert(METRIC_NAME.to_owned(), name.to_owned());
        self.add(all, [(time.millis(), value)]);
    }
}

impl SeriesSource for MemorySource {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixNano,
        to: UnixNano,
    ) -> Result<Vec<RawSeries>, PromqlError> {
        if from > to {
            return Ok(Vec::new());
        }
        let found = self.series.iter().filter(|(labels, _)| passes(labels, matchers));
        let series = found.map(|(labels, samples)| RawSeries {
            labels: Arc::new(labels.clone()),
            samples: samples
                .range(from.millis()..=to.millis())
                .map(|(time, value)| (*time, *value))
                .collect(),
        });
        Ok(series.filter(|series| !series.samples.is_empty()).collect())
    }
}
