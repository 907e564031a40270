//! Writes `ExportMetricsServiceRequest` (opentelemetry-proto metrics.proto) metric by metric.
//!
//! One [`Metrics`] is one resource with one scope. All sums and histograms are cumulative. A point
//! without a value carries the flag "no recorded value", which ends a series at once.

use super::logs::put_attribute;
use crate::wire::{put_bytes, put_fixed64, put_message, put_u64, put_varint};
use crate::{SpanId, TraceId, UnixNano};

const CUMULATIVE: u64 = 2;
const NO_RECORDED_VALUE: u64 = 1;

/// A label set.
pub type Attributes = Vec<(String, String)>;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A cumulative sum that only grows.
    Counter,
}

/// Name, unit and sort of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its unit in UCUM, empty for none.
    pub unit: &'a str,
    /// What it is, empty for nothing.
    pub description: &'a str,
}

impl<'a> Head<'a> {
    /// One without a description.
    pub const fn new(name: &'a str, unit: &'a str) -> Self {
        Self { name, unit, description: "" }
    }
}

/// A histogram's numbers: `counts` has one more than `bounds`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Upper bounds, rising.
    pub bounds: Vec<f64>,
    /// Values in each bucket; the last one has no bound.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: f64,
}

/// One measurement behind a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// When it was measured.
    pub time: UnixNano,
    /// What was measured.
    pub value: f64,
    /// The trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
    /// What else is known of it.
    pub attributes: Attributes,
}

/// A request under way.
#[derive(Debug)]
pub struct Metrics {
    resource: Vec<u8>,
    metrics: Vec<u8>,
    count: u64,
    start: UnixNano,
    time: UnixNano,
}

impl Metrics {
    /// For a resource with these attributes; sums began at `start`, all points are of `time`.
    pub fn new<'k>(
        resource: impl IntoIterator<Item = (&'k str, &'k str)>,
        start: UnixNano,
        time: UnixNano,
    ) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in resource {
            put_attribute(&mut bytes, 1, key, value);
        }
        Self { resource: bytes, metrics: Vec::new(), count: 0, start, time }
    }

    /// Metrics written so far.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Appends a metric of numbers; `None` ends the series.
    pub fn numbers<'a>(
        &mut self,
        head: Head<'_>,
        kind: Kind,
        points: impl IntoIterator<Item = (&'a [(String, String)], Option<f64>)>,
    ) {
        let none: &[Exemplar] = &[];
        self.numbers_with(
            head,
            kind,
            points.into_iter().map(|(attributes, value)| (attributes, value, none)),
        );
    }

    /// As [`Metrics::numbers`], with measurements behind each point.
    pub fn numbers_with<'a>(
        &mut self,
        head: Head<'_>,
        kind: Kind,
        points: impl IntoIterator<Item = (&'a [(String, String)], Option<f64>, &'a [Exemplar])>,
    ) {
        let (start, time) = (self.start, self.time);
        let body = |out: &mut Vec<u8>| {
            for (attributes, value, exemplars) in points {
                put_message(out, 1, |point| {
                    if kind != Kind::Gauge {
                        put_time(point, 2, start);
                    }
                    put_time(point, 3, time);
                    match value {
                        Some(value) => put_fixed64(point, 4, value.to_bits()),
                        None => put_u64(point, 8, NO_RECORDED_VALUE),
                    }
                    put_attributes(point, 7, attributes);
                    put_exemplars(point, 5, exemplars);
                });
            }
            if kind != Kind::Gauge {
                put_u64(out, 2, CUMULATIVE);
            }
            if kind == Kind::Counter {
                put_u64(out, 3, 1);
            }
        };
        self.metric(head, if kind == Kind::Gauge { 5 } else { 7 }, body);
    }

    /// Appends a metric of one number without attributes.
    pub fn number(&mut self, head: Head<'_>, kind: Kind, value: f64) {
        self.numbers(head, kind, [(&[][..], Some(value))]);
    }

    /// Appends a cumulative histogram; `None` ends the series.
    pub fn histograms<'a>(
        &mut self,
        head: Head<'_>,
        points: impl IntoIterator<Item = (&'a [(String, String)], Option<&'a Buckets>)>,
    ) {
        let none: &[Exemplar] = &[];
        self.histograms_with(
            head,
            points.into_iter().map(|(attributes, buckets)| (attributes, buckets, none)),
        );
    }

    /// As [`Metrics::histograms`], with measurements behind each point.
    pub fn histograms_with<'a>(
        &mut self,
        head: Head<'_>,
        points: impl IntoIterator<Item = (&'a [(String, String)], Option<&'a Buckets>, &'a [Exemplar])>,
    ) {
        let (start, time) = (self.start, self.time);
        self.metric(head, 9, |out| {
            for (attributes, buckets, exemplars) in points {
                put_message(out, 1, |point| {
                    put_time(point, 2, start);
                    put_time(point, 3, time);
                    match buckets {
                        Some(buckets) => put_buckets(point, buckets),
                        None => put_u64(point, 10, NO_RECORDED_VALUE),
                    }
                    put_attributes(point, 9, attributes);
                    put_exemplars(point, 8, exemplars);
                });
            }
            put_u64(out, 2, CUMULATIVE);
        });
    }

    /// Appends a summary: count, sum, quantiles; `None` ends the series.
    pub fn summaries<'a>(
        &mut self,
        head: Head<'_>,
        points: impl IntoIterator<Item = (&'a [(String, String)], Option<(u64, f64, &'a [(f64, f64)])>)>,
    ) {
        let (start, time) = (self.start, self.time);
        self.metric(head, 11, |out| {
            for (attributes, values) in points {
                put_message(out, 1, |point| {
                    put_time(point, 2, start);
                    put_time(point, 3, time);
                    match values {
                        Some((count, sum, quantiles)) => {
                            put_fixed64(point, 4, count);
                            put_fixed64(point, 5, sum.to_bits());
                            for (quantile, value) in quantiles {
                                put_message(point, 6, |out| {
                                    put_fixed64(out, 1, quantile.to_bits());
                                    put_fixed64(out, 2, value.to_bits());
                                });
                            }
                        }
                        None => put_u64(point, 8, NO_RECORDED_VALUE),
                    }
                    put_attributes(point, 7, attributes);
                });
            }
        });
    }

    fn metric(&mut self, head: Head<'_>, field: u32, body: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        put_message(&mut self.metrics, 2, |metric| {
            put_bytes(metric, 1, head.name.as_bytes());
            if !head.description.is_empty() {
                put_bytes(metric, 2, head.description.as_bytes());
            }
            if !head.unit.is_empty() {
                put_bytes(metric, 3, head.unit.as_bytes());
            }
            put_message(metric, field, body);
        });
    }

    /// The finished request.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.metrics.len() + self.resource.len() + 32);
        put_message(&mut out, 1, |group| {
            put_bytes(group, 1, &self.resource);
            put_bytes(group, 2, &self.metrics);
        });
        out
    }
}

fn put_buckets(point: &mut Vec<u8>, buckets: &Buckets) {
    put_fixed64(point, 4, buckets.counts.iter().sum());
    put_fixed64(point, 5, buckets.sum.to_bits());
    put_packed(point, 6, buckets.counts.iter().copied());
    put_packed(point, 7, buckets.bounds.iter().map(|bound| bound.to_bits()));
}

fn put_exemplars(point: &mut Vec<u8>, number: u32, exemplars: &[Exemplar]) {
    for exemplar in exemplars {
        put_message(point, number, |out| {
            put_time(out, 2, exemplar.time);
            put_fixed64(out, 3, exemplar.value.to_bits());
            if let Some(span_id) = exemplar.span_id {
                put_bytes(out, 4, span_id.as_bytes());
            }
            if let Some(trace_id) = exemplar.trace_id {
                put_bytes(out, 5, trace_id.as_bytes());
            }
            put_attributes(out, 7, &exemplar.attributes);
        });
    }
}

fn put_packed(out: &mut Vec<u8>, number: u32, values: impl ExactSizeIterator<Item = u64>) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, values.len() as u64 * 8);
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_time(out: &mut Vec<u8>, number: u32, time: UnixNano) {
    put_fixed64(out, number, u64::try_from(time.0).unwrap_or(0));
}

fn put_attributes(out: &mut Vec<u8>, number: u32, attributes: &[(String, String)]) {
    for (key, value) in attributes {
        put_attribute(out, number, key, value);
    }
}
