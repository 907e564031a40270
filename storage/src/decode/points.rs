//! Rows of the `points` table: one row a sample of a Prometheus series.
//!
//! A histogram's data point becomes its `_bucket`, `_sum` and `_count` samples, a summary's its
//! quantiles, `_sum` and `_count`. Of exponential histograms `_sum` and `_count` are kept.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder, UInt64Builder,
};
use model::Signal;
use model::ids::IdTerms;
use model::otlp::metrics::{DataPointView, PointValue, packed, prometheus_name, quantile, sanitise};
use model::otlp::{MetricView, attributes, value};
use xxhash_rust::xxh3::Xxh3;

use super::columns::{self, TextMapBuilder};
use super::{ATTRIBUTES_MAX, Context, FUTURE_NANO_MAX, Outcome, RowBuilder};

pub(super) struct PointBuilder {
    time: TimestampNanosecondBuilder,
    service: StringBuilder,
    metric: StringBuilder,
    name: StringBuilder,
    kind: StringBuilder,
    unit: StringBuilder,
    labels: TextMapBuilder,
    series_id: UInt64Builder,
    value: Float64Builder,
}

impl Default for PointBuilder {
    fn default() -> Self {
        Self {
            time: columns::timestamps(),
            service: StringBuilder::new(),
            metric: StringBuilder::new(),
            name: StringBuilder::new(),
            kind: StringBuilder::new(),
            unit: StringBuilder::new(),
            labels: columns::text_map(),
            series_id: UInt64Builder::new(),
            value: Float64Builder::new(),
        }
    }
}

/// What the samples of one data point share.
struct Series<'a> {
    service: &'a str,
    metric: &'a MetricView<'a>,
    name: String,
    time: i64,
    labels: Vec<(String, String)>,
}

impl RowBuilder for PointBuilder {
    fn push(&mut self, context: &Context<'_>, _: &mut IdTerms, leaf: &[u8]) -> Outcome {
        let metric = match MetricView::parse(leaf) {
            Ok(Some(metric)) => metric,
            Ok(None) => return Outcome::rejected("a metric has no data of a kind that is known"),
            Err(error) => return Outcome::rejected(format!("a metric is malformed: {error}")),
        };
        let resource = resource_labels(context);
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
                    self.append_point(context, &metric, &resource, &point);
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
            Arc::new(self.time.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.metric.finish()),
            Arc::new(self.name.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.unit.finish()),
            Arc::new(self.labels.finish()),
            Arc::new(self.series_id.finish()),
            Arc::new(self.value.finish()),
        ];
        columns::batch(Signal::Metrics, columns)
    }
}

impl PointBuilder {
    fn append_point(
        &mut self,
        context: &Context<'_>,
        metric: &MetricView<'_>,
        resource: &[(String, String)],
        point: &DataPointView<'_>,
    ) {
        let mut labels = resource.to_vec();
        for attribute in attributes(point.attributes).take(ATTRIBUTES_MAX) {
            let mut text = String::new();
            attribute.value.push_text(&mut text);
            let key = sanitise(attribute.key);
            if !text.is_empty() && !labels.iter().any(|(known, _)| *known == key) {
                labels.push((key, text));
            }
        }
        labels.sort();
        let series = Series {
            service: context.service,
            metric,
            name: prometheus_name(metric),
            time: if point.time.0 > 0 { point.time.0 } else { context.received_at.0 },
            labels,
        };
        match point.value {
            PointValue::Number(number) => self.append(&series, "", None, number),
            PointValue::Histogram { count, sum, counts, bounds } => {
                self.append_buckets(&series, counts, bounds, count);
                self.append_totals(&series, count, sum);
            }
            PointValue::ExponentialHistogram { count, sum } => self.append_totals(&series, count, sum),
            PointValue::Summary { count, sum, quantiles } => {
                for (at, number) in quantiles.iter().map(quantile) {
                    self.append(&series, "", Some(("quantile", &at.to_string())), number);
                }
                self.append_totals(&series, count, Some(sum));
            }
        }
    }

    fn append_buckets(&mut self, series: &Series<'_>, counts: &[u8], bounds: &[u8], count: u64) {
        let mut below = 0u64;
        for (bound, inside) in packed(bounds).zip(packed(counts)) {
            below = below.saturating_add(inside);
            let bound = f64::from_bits(bound).to_string();
            self.append(series, "_bucket", Some(("le", &bound)), below as f64);
        }
        self.append(series, "_bucket", Some(("le", "+Inf")), count as f64);
    }

    fn append_totals(&mut self, series: &Series<'_>, count: u64, sum: Option<f64>) {
        self.append(series, "_count", None, count as f64);
        if let Some(sum) = sum {
            self.append(series, "_sum", None, sum);
        }
    }

    fn append(&mut self, series: &Series<'_>, suffix: &str, label: Option<(&str, &str)>, number: f64) {
        let mut hash = Xxh3::new();
        hash.update(series.name.as_bytes());
        hash.update(suffix.as_bytes());
        let own = series.labels.iter().map(|(key, text)| (key.as_str(), text.as_str()));
        for (key, text) in own.chain(label) {
            hash.update(&[0]);
            hash.update(key.as_bytes());
            hash.update(&[1]);
            hash.update(text.as_bytes());
            self.labels.keys().append_value(key);
            self.labels.values().append_value(text);
        }
        self.labels.append(true).expect("keys and values are appended in pairs");
        self.time.append_value(series.time);
        self.service.append_value(series.service);
        self.metric.append_value(series.metric.name);
        self.name.append_value(format!("{}{suffix}", series.name));
        self.kind.append_value(series.metric.kind.name());
        self.unit.append_value(series.metric.unit);
        self.series_id.append_value(hash.digest());
        self.value.append_value(number);
    }
}

/// `job`, `instance` and `service_name`, as Prometheus' OTLP receiver and users' habits have them; `instance` is the host's
/// name where there is no `service.instance.id`.
fn resource_labels(context: &Context<'_>) -> Vec<(String, String)> {
    let text = |key: &str| {
        let mut text = String::new();
        if let Some(found) = value::find(context.resource.resource, key) {
            found.push_text(&mut text);
        }
        text
    };
    let namespace = text("service.namespace");
    let job = if namespace.is_empty() {
        context.service.to_owned()
    } else {
        format!("{namespace}/{}", context.service)
    };
    let mut labels = vec![("job".to_owned(), job), ("service_name".to_owned(), context.service.to_owned())];
    // Without an id of its own a service is told apart by its host: the same series of two hosts is none.
    let instance = Some(text("service.instance.id")).filter(|id| !id.is_empty());
    let instance = instance.unwrap_or_else(|| text("host.name"));
    if !instance.is_empty() {
        labels.push(("instance".to_owned(), instance));
    }
    labels
}
