//! Series of a store's snapshot: the rows of the `points` table, grouped by series.
//!
//! Rows are filtered while they are read: a series' labels are looked at once, then its `series_id` says
//! whether it is wanted. Samples of one millisecond are one sample, the one read last.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, MapArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, TimestampNanosecondType, UInt64Type};
use model::{Signal, TimeRange, UnixNano};
use storage::{OutOfMemory, Reservation, ScanOrder, ScanStats, Snapshot};

use super::source::{labels_bytes, passes};
use super::{Labels, METRIC_NAME, Matcher, Options, PromqlError, RawSeries, SeriesSource};

/// A snapshot, and how much of it one selector may read.
#[derive(Clone, Debug)]
pub struct SnapshotSource {
    snapshot: Snapshot,
    series_max: usize,
    samples_max: u64,
}

impl SnapshotSource {
    /// Series of `snapshot`, as many as `options` allow.
    pub fn new(snapshot: Snapshot, options: &Options) -> Self {
        Self { snapshot, series_max: options.series_max, samples_max: options.samples_max }
    }
}

/// Bytes of a sample, and what a list that grows has to spare.
const SAMPLE_BYTES: usize = 24;
/// Bytes that are remembered of a series beside its labels, also when it does not match.
const SERIES_BYTES: usize = 64;

const COLUMNS: &[&str] = &["time", "name", "labels", "series_id", "value"];

/// The columns of a batch that a selector needs.
struct Rows<'a> {
    times: &'a [i64],
    names: &'a StringArray,
    labels: &'a MapArray,
    series_ids: &'a [u64],
    values: &'a Float64Array,
}

impl<'a> Rows<'a> {
    /// `None` for a batch that lacks a column: one that the store did not make.
    fn new(batch: &'a RecordBatch) -> Option<Self> {
        Some(Self {
            times: batch.column_by_name("time")?.as_primitive_opt::<TimestampNanosecondType>()?.values(),
            names: batch.column_by_name("name")?.as_string_opt()?,
            labels: batch.column_by_name("labels")?.as_map_opt()?,
            series_ids: batch.column_by_name("series_id")?.as_primitive_opt::<UInt64Type>()?.values(),
            values: batch.column_by_name("value")?.as_primitive_opt::<Float64Type>()?,
        })
    }

    fn labels(&self, row: usize) -> Labels {
        let (keys, values): (&StringArray, &StringArray) =
            (self.labels.keys().as_string(), self.labels.values().as_string());
        let offsets = self.labels.value_offsets();
        let pairs = (offsets[row] as usize)..(offsets[row + 1] as usize);
        let mut labels: Labels = pairs
            .filter(|at| values.is_valid(*at) && !values.value(*at).is_empty())
            .map(|at| (keys.value(at).to_owned(), values.value(at).to_owned()))
            .collect();
        labels.insert(METRIC_NAME.to_owned(), self.names.value(row).to_owned());
        labels
    }
}

/// What one selector has found so far.
struct Found<'m> {
    matchers: &'m [Matcher],
    /// The place of a series in `series`, or none where it does not match.
    places: HashMap<u64, Option<usize>>,
    series: Vec<RawSeries>,
    samples: u64,
    held: &'m Reservation,
    /// Bytes of the labels of `series`.
    labels_bytes: usize,
    /// Bytes reserved for all.
    reserved: usize,
}

impl Found<'_> {
    fn add(&mut self, rows: &Rows<'_>, row: usize) {
        let place = *self.places.entry(rows.series_ids[row]).or_insert_with(|| {
            let labels = rows.labels(row);
            passes(&labels, self.matchers).then(|| {
                self.labels_bytes += labels_bytes(&labels);
                self.series.push(RawSeries { labels: Arc::new(labels), samples: Vec::new() });
                self.series.len() - 1
            })
        });
        if let Some(place) = place {
            self.series[place].samples.push((UnixNano(rows.times[row]).millis(), rows.values.value(row)));
            self.samples += 1;
        }
    }

    /// Reserves memory for what came since it was called last.
    fn reserve(&mut self) -> Result<(), OutOfMemory> {
        let samples = usize::try_from(self.samples).unwrap_or(usize::MAX).saturating_mul(SAMPLE_BYTES);
        let bytes =
            samples.saturating_add(self.places.len() * SERIES_BYTES).saturating_add(self.labels_bytes);
        self.held.grow(bytes.saturating_sub(self.reserved))?;
        self.reserved = bytes;
        Ok(())
    }

    /// Puts samples in order of time, each time once, and joins series of equal labels.
    fn finish(mut self) -> Vec<RawSeries> {
        for series in &mut self.series {
            put_in_order(&mut series.samples);
        }
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.series.dedup_by(|next, kept| {
            let is_same = next.labels == kept.labels;
            if is_same {
                kept.samples.append(&mut next.samples);
                put_in_order(&mut kept.samples);
            }
            is_same
        });
        self.series
    }
}

fn put_in_order(samples: &mut Vec<(i64, f64)>) {
    if samples.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return;
    }
    samples.sort_by_key(|(time, _)| *time);
    samples.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 = next.1;
        }
        is_same
    });
}

impl SeriesSource for SnapshotSource {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixNano,
        to: UnixNano,
    ) -> Result<Vec<RawSeries>, PromqlError> {
        let mut found = Found {
            matchers,
            places: HashMap::new(),
            series: Vec::new(),
            samples: 0,
            held: self.snapshot.held(),
            labels_bytes: 0,
            reserved: 0,
        };
        let (mut is_foreign, mut refusal) = (false, None);
        let mut visit = |batch: &RecordBatch| {
            let Some(rows) = Rows::new(batch) else {
                is_foreign = true;
                return ControlFlow::Break(());
            };
            for row in 0..batch.num_rows() {
                found.add(&rows, row);
                if found.samples > self.samples_max || found.series.len() > self.series_max {
                    return ControlFlow::Break(());
                }
            }
            refusal = found.reserve().err();
            if refusal.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let range = TimeRange { from, to };
        let mut stats = ScanStats::default();
        self.snapshot
            .scan(Signal::Metrics, &range, COLUMNS, ScanOrder::Any, &mut stats, &mut visit)
            .map_err(|error| PromqlError::Source(error.to_string()))?;
        if is_foreign {
            return Err(PromqlError::Source("a part of the store lacks a column of `points`".to_owned()));
        }
        if found.samples > self.samples_max || found.series.len() > self.series_max {
            return Err(PromqlError::Limit(format!(
                "query processing would load too many samples into memory in query execution (a selector \
                 finds more than {} samples or {} series): add matchers or shorten the range",
                self.samples_max, self.series_max
            )));
        }
        match refusal {
            Some(refusal) => Err(PromqlError::out_of_memory(refusal)),
            None => Ok(found.finish()),
        }
    }

    fn held(&self) -> Option<&Reservation> {
        Some(self.snapshot.held())
    }
}

#[cfg(test)]
mod tests {
    use query_api::MetricsData;

    use super::*;
    use crate::promql;
    use crate::testing::{NOW, SECOND, TestStore};

    async fn store() -> TestStore {
        let store = TestStore::open().await;
        for second in (0..=60).step_by(10) {
            store.counter("billing", "requests", (second - 60) * SECOND, second * 2).await;
            store.counter("cart", "requests", (second - 60) * SECOND, second).await;
        }
        store
    }

    #[tokio::test]
    async fn series_of_a_store_are_selected_by_label_and_have_a_rate() {
        let store = store().await;
        let options = Options::default();
        let source = SnapshotSource::new(store.store.snapshot(), &options);
        let ask = |expr: &str| promql::instant(&source, expr, NOW, &options);
        let answer = ask("sum by (service_name) (rate({__name__=~'requests.*',service_name=~'bill.*'}[1m]))");
        let Ok(MetricsData::Vector(series)) = answer else { panic!("{answer:?}") };
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].metric["service_name"], "billing");
        let rate = series[0].value.as_ref().expect("a vector has values").number();
        assert!((rate - 2.0).abs() < 1e-9, "{rate}");
        let all = ask("count({__name__=~'requests.*'})");
        let Ok(MetricsData::Vector(series)) = all else { panic!("{all:?}") };
        assert_eq!(series[0].value.as_ref().map(|sample| sample.1.as_str()), Some("2"));
    }

    #[tokio::test]
    async fn a_store_with_more_series_than_allowed_is_a_limit() {
        let store = store().await;
        let options = Options { series_max: 1, ..Options::default() };
        let source = SnapshotSource::new(store.store.snapshot(), &options);
        let answer = promql::instant(&source, "{service_name!=''}", NOW, &options);
        assert!(matches!(answer, Err(PromqlError::Limit(_))), "{answer:?}");
    }

    #[test]
    fn samples_are_put_in_order_and_each_millisecond_once() {
        let mut samples = vec![(2, 2.0), (1, 1.0), (2, 3.0)];
        put_in_order(&mut samples);
        assert_eq!(samples, [(1, 1.0), (2, 3.0)]);
    }
}
