//! Rows of the `points` table: one row a sample of a Prometheus series.
//!
//! A histogram's data point becomes its `_bucket`, `_sum` and `_count` samples, a summary's its
//! quantiles, `_sum` and `_count`. Of exponential histograms `_sum` and `_count` are kept. The exemplars of a data
//! point stand with its first sample, those of a histogram with the bucket they fell into.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, ListBuilder, RecordBatch, StructBuilder, UInt64Array};
use model::Signal;
use model::UnixNano;
use model::ids::IdTerms;
use model::otlp::metrics::{DataPointView, PointValue, packed, prometheus_name, push_sanitised, quantile};
use model::otlp::{ExemplarView, MetricView, ResourceGroup, attributes, value};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::{self, Block, Pairs, Texts};
use super::{ATTRIBUTES_MAX, Context, FUTURE_NANO_MAX, Outcome, RowBuilder};
use crate::limits::EXEMPLARS_MAX;

/// About what a data point takes on the wire, and how many labels it has with those of its resource. Room is made for as many; what is not
/// used is given back.
const POINT_BYTES: usize = 96;
const LABELS: usize = 6;
/// One of the short texts of a row takes such a share of that.
const TEXTS_SHARE: usize = 8;

pub(super) struct PointBuilder {
    time: Vec<i64>,
    service: Texts,
    metric: Texts,
    name: Texts,
    kind: Texts,
    unit: Texts,
    labels: Pairs,
    series_id: Vec<u64>,
    value: Vec<f64>,
    exemplars: ListBuilder<StructBuilder>,
    /// Labels that all points of the resource have.
    resource: Labels,
    /// Labels of the point under way, and the same as they are appended.
    own: Labels,
    block: Block,
    hashed: Vec<u8>,
    scratch: String,
}

impl Default for PointBuilder {
    fn default() -> Self {
        Self {
            time: Vec::new(),
            service: Texts::default(),
            metric: Texts::default(),
            name: Texts::default(),
            kind: Texts::default(),
            unit: Texts::default(),
            labels: Pairs::default(),
            series_id: Vec::new(),
            value: Vec::new(),
            exemplars: columns::exemplar_list(),
            resource: Labels::default(),
            own: Labels::default(),
            block: Block::default(),
            hashed: Vec::new(),
            scratch: String::new(),
        }
    }
}

/// What the samples of one data point share.
struct Series<'a> {
    service: &'a str,
    metric: &'a MetricView<'a>,
    name: &'a str,
    time: i64,
}

/// Labels in buffers that are kept from point to point, in the order of their keys.
#[derive(Default)]
struct Labels {
    text: String,
    /// Where in the text keys and values begin, and values end.
    places: Vec<(usize, usize, usize)>,
}

impl Labels {
    /// Adds a label unless it is empty or its key is there already.
    fn push(&mut self, write_key: impl FnOnce(&mut String), write_value: impl FnOnce(&mut String)) {
        let key = self.text.len();
        write_key(&mut self.text);
        let value = self.text.len();
        write_value(&mut self.text);
        let end = self.text.len();
        let found =
            self.places.binary_search_by(|place| self.text[place.0..place.1].cmp(&self.text[key..value]));
        match found {
            Err(at) if value < end => self.places.insert(at, (key, value, end)),
            _ => self.text.truncate(key),
        }
    }

    fn push_text(&mut self, key: &str, value: &str) {
        self.push(|out| out.push_str(key), |out| out.push_str(value));
    }

    fn copy_from(&mut self, other: &Self) {
        self.text.clear();
        self.text.push_str(&other.text);
        self.places.clear();
        self.places.extend_from_slice(&other.places);
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places.iter().map(|(key, value, end)| (&self.text[*key..*value], &self.text[*value..*end]))
    }
}

impl RowBuilder for PointBuilder {
    fn reserve(&mut self, leaves: usize, bytes: usize) {
        let rows = leaves.max(bytes / POINT_BYTES);
        self.time.reserve(rows);
        self.series_id.reserve(rows);
        self.value.reserve(rows);
        for texts in [&mut self.service, &mut self.metric, &mut self.name, &mut self.kind, &mut self.unit] {
            texts.reserve(rows, bytes / TEXTS_SHARE);
        }
        self.labels.reserve(rows, rows * LABELS, bytes / 2);
    }

    fn begin_resource(&mut self, service: &str, resource: ResourceGroup<'_>) {
        self.resource = resource_labels(service, resource);
    }

    fn push(&mut self, context: &Context<'_>, _: &mut IdTerms, leaf: &[u8]) -> Outcome {
        let metric = match MetricView::parse(leaf) {
            Ok(Some(metric)) => metric,
            Ok(None) => return Outcome::rejected("a metric has no data of a kind that is known"),
            Err(error) => return Outcome::rejected(format!("a metric is malformed: {error}")),
        };
        let name = prometheus_name(&metric);
        let mut outcome = Outcome::default();
        for point in metric.points() {
            outcome.add(match point {
                Ok(Some(_)) if metric.is_delta => Outcome::rejected(format!(
                    "metric `{}` has delta temporality: set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative",
                    metric.name
                )),
                Ok(Some(point)) if point.time.since(context.received_at) > FUTURE_NANO_MAX => {
                    Outcome::rejected(format!("a data point of metric `{}` lies in the future", metric.name))
                }
                Ok(Some(point)) => {
                    let time = if point.time.0 > 0 { point.time.0 } else { context.received_at.0 };
                    let series = Series { service: context.service, metric: &metric, name: &name, time };
                    self.append_point(&series, &point);
                    Outcome::ACCEPTED
                }
                Ok(None) => Outcome::ACCEPTED,
                Err(error) => Outcome::rejected(format!("a data point of metric `{}` is malformed: {error}", metric.name)),
            });
        }
        outcome
    }

    fn finish(mut self: Box<Self>) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            columns::times(self.time),
            self.service.finish(),
            self.metric.finish(),
            self.name.finish(),
            self.kind.finish(),
            self.unit.finish(),
            self.labels.finish(),
            Arc::new(UInt64Array::from(self.series_id)),
            Arc::new(Float64Array::from(self.value)),
            Arc::new(self.exemplars.finish()),
        ];
        columns::batch(Signal::Metrics, columns)
    }
}

impl PointBuilder {
    fn append_point(&mut self, series: &Series<'_>, point: &DataPointView<'_>) {
        self.own.copy_from(&self.resource);
        for attribute in attributes(point.attributes).take(ATTRIBUTES_MAX) {
            self.own.push(|out| push_sanitised(attribute.key, out), |out| attribute.value.push_text(out));
        }
        self.block.clear();
        self.own.iter().for_each(|(key, value)| self.block.push_text(key, value));
        let mut exemplars = kept_exemplars(series, point);
        match point.value {
            PointValue::Number(number) => {
                self.push_exemplars(&mut exemplars, f64::NEG_INFINITY, f64::INFINITY);
                self.append(series, "", None, number);
            }
            PointValue::Histogram { count, sum, counts, bounds } => {
                self.append_buckets(series, (counts, bounds), count, exemplars);
                self.append_totals(series, count, sum);
            }
            PointValue::ExponentialHistogram { count, sum } => {
                self.push_exemplars(&mut exemplars, f64::NEG_INFINITY, f64::INFINITY);
                self.append_totals(series, count, sum);
            }
            PointValue::Summary { count, sum, quantiles } => {
                for (at, number) in quantiles.iter().map(quantile) {
                    self.append(series, "", Some(("quantile", &written(at))), number);
                }
                self.append_totals(series, count, Some(sum));
            }
        }
    }

    fn append_buckets(
        &mut self,
        series: &Series<'_>,
        (counts, bounds): (&[u8], &[u8]),
        count: u64,
        mut exemplars: Vec<ExemplarView<'_>>,
    ) {
        let (mut below, mut lower) = (0u64, f64::NEG_INFINITY);
        for (bound, inside) in packed(bounds).zip(packed(counts)) {
            below = below.saturating_add(inside);
            let upper = f64::from_bits(bound);
            self.push_exemplars(&mut exemplars, lower, upper);
            self.append(series, "_bucket", Some(("le", &written(upper))), below as f64);
            lower = upper;
        }
        self.push_exemplars(&mut exemplars, lower, f64::INFINITY);
        self.append(series, "_bucket", Some(("le", "+Inf")), count as f64);
    }

    /// Moves the exemplars above `lower` and up to `upper` to the sample that follows. Each stands with one sample only, even
    /// where bounds that do not rise make it fall into several buckets.
    fn push_exemplars(&mut self, exemplars: &mut Vec<ExemplarView<'_>>, lower: f64, upper: f64) {
        let Self { exemplars: column, scratch, .. } = self;
        exemplars.retain(|exemplar| {
            let value = exemplar.value;
            let is_here = (value > lower || lower == f64::NEG_INFINITY) && value <= upper;
            if is_here {
                columns::append_exemplar(column, exemplar, scratch);
            }
            !is_here
        });
    }

    fn append_totals(&mut self, series: &Series<'_>, count: u64, sum: Option<f64>) {
        self.append(series, "_count", None, count as f64);
        if let Some(sum) = sum {
            self.append(series, "_sum", None, sum);
        }
    }

    fn append(&mut self, series: &Series<'_>, suffix: &str, label: Option<(&str, &str)>, number: f64) {
        let series_id = self.series_id(series.name, suffix, label);
        self.labels.push_block(&self.block);
        if let Some((key, text)) = label {
            self.labels.push_text(key, text);
        }
        self.labels.end();
        self.time.push(series.time);
        self.service.push(series.service);
        self.metric.push(series.metric.name);
        self.name.push_with(usize::MAX, |out| {
            out.push_str(series.name);
            out.push_str(suffix);
        });
        self.kind.push(series.metric.kind.name());
        self.unit.push(series.metric.unit);
        self.series_id.push(series_id);
        self.value.push(number);
        self.exemplars.append(true);
    }

    /// Hash of name and labels.
    fn series_id(&mut self, name: &str, suffix: &str, label: Option<(&str, &str)>) -> u64 {
        let hashed = &mut self.hashed;
        hashed.clear();
        hashed.extend_from_slice(name.as_bytes());
        hashed.extend_from_slice(suffix.as_bytes());
        for (key, text) in self.own.iter().chain(label) {
            hashed.push(0);
            hashed.extend_from_slice(key.as_bytes());
            hashed.push(1);
            hashed.extend_from_slice(text.as_bytes());
        }
        xxh3_64(hashed)
    }
}

/// A number as a label has it.
fn written(number: f64) -> String {
    let mut text = String::new();
    value::push_double(number, &mut text);
    text
}

/// The first exemplars of a data point. One without a time, or whose time is past belief, has that of the point.
fn kept_exemplars<'a>(series: &Series<'_>, point: &DataPointView<'a>) -> Vec<ExemplarView<'a>> {
    let kept = point.exemplars().filter(|exemplar| !exemplar.value.is_nan()).take(EXEMPLARS_MAX);
    let timed =
        kept.map(|exemplar| match exemplar.time.0 > 0 && exemplar.time.0 - series.time <= FUTURE_NANO_MAX {
            true => exemplar,
            false => ExemplarView { time: UnixNano(series.time), ..exemplar },
        });
    timed.collect()
}

/// `job`, `instance` and `service_name`, as Prometheus' OTLP receiver and users' habits have them; `instance` is the host's
/// name where there is no `service.instance.id`.
fn resource_labels(service: &str, resource: ResourceGroup<'_>) -> Labels {
    let text = |key: &str| {
        let mut text = String::new();
        if let Some(found) = value::find(resource.resource, key) {
            found.push_text(&mut text);
        }
        text
    };
    let mut labels = Labels::default();
    match text("service.namespace") {
        namespace if namespace.is_empty() => labels.push_text("job", service),
        namespace => labels.push_text("job", &format!("{namespace}/{service}")),
    }
    labels.push_text("service_name", service);
    // Without an id of its own a service is told apart by its host: the same series of two hosts is none.
    let instance = Some(text("service.instance.id")).filter(|id| !id.is_empty());
    labels.push_text("instance", &instance.unwrap_or_else(|| text("host.name")));
    labels
}
