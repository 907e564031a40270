//! Writes an `ExportMetricsServiceRequest` of whole-number gauges and of their ends: bytes in, bytes out.

use super::logs::put_attribute;
use crate::UnixNano;
use crate::wire::{put_bytes, put_fixed64, put_message};

/// Collects gauges of one resource, one metric after the other.
#[derive(Debug)]
pub struct GaugesWriter {
    resource: Vec<u8>,
    metrics: Vec<u8>,
    points: usize,
}

/// One value of a gauge at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaugePoint<'a> {
    /// Attributes, which become labels.
    pub attributes: Vec<(&'a str, &'a str)>,
    /// When the value was true.
    pub time: UnixNano,
    /// The value.
    pub value: GaugeValue,
}

/// What a gauge shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaugeValue {
    /// A whole number.
    Whole(i64),
    /// The series has ended: Prometheus' stale marker.
    Stale,
}

/// The bits of the NaN that marks a series as ended, as Prometheus has it.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

impl GaugesWriter {
    /// A request for a resource with these string attributes.
    pub fn new<'k>(resource: impl IntoIterator<Item = (&'k str, &'k str)>) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in resource {
            put_attribute(&mut bytes, 1, key, value);
        }
        Self { resource: bytes, metrics: Vec::new(), points: 0 }
    }

    /// Appends a metric with its points; one without points is left out.
    pub fn push(&mut self, name: &str, unit: &str, points: &[GaugePoint<'_>]) {
        if points.is_empty() {
            return;
        }
        self.points += points.len();
        put_message(&mut self.metrics, 2, |metric| {
            put_bytes(metric, 1, name.as_bytes());
            put_bytes(metric, 3, unit.as_bytes());
            put_message(metric, 5, |gauge| {
                for point in points {
                    put_message(gauge, 1, |out| write_point(out, point));
                }
            });
        });
    }

    /// Points written so far.
    pub const fn points(&self) -> usize {
        self.points
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

fn write_point(out: &mut Vec<u8>, point: &GaugePoint<'_>) {
    put_fixed64(out, 3, point.time.0.max(0) as u64);
    match point.value {
        // sfixed64, as an integer value is.
        GaugeValue::Whole(value) => put_fixed64(out, 6, value as u64),
        GaugeValue::Stale => put_fixed64(out, 4, STALE_BITS),
    }
    for (key, value) in &point.attributes {
        put_attribute(out, 7, key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{self, AnyValue, metrics::MetricView};

    #[test]
    fn written_gauges_read_back_point_for_point() {
        let mut writer = GaugesWriter::new([("service.name", "kafka")]);
        let point = |partition, value| GaugePoint {
            attributes: vec![("partition", partition)],
            time: UnixNano(7),
            value: GaugeValue::Whole(value),
        };
        writer.push("kafka.partition.current_offset", "{offset}", &[point("0", 12), point("1", -1)]);
        writer.push("nothing", "", &[]);
        assert_eq!(writer.points(), 2);
        let request = writer.finish();

        let group = otlp::resources(&request).expect("message").next().expect("one").expect("well formed");
        assert_eq!(otlp::value::find(group.resource, "service.name"), Some(AnyValue::Str("kafka")));
        let scope = group.scopes().next().expect("one").expect("well formed");
        let metrics: Vec<_> = scope.items().collect();
        assert_eq!(metrics.len(), 1);
        let metric = MetricView::parse(metrics[0]).expect("well formed").expect("a gauge");
        assert_eq!(
            (metric.name, metric.unit, metric.points().count()),
            ("kafka.partition.current_offset", "{offset}", 2)
        );
        assert_eq!(otlp::metrics::prometheus_name(&metric), crate::kafka::PARTITION_OFFSET_METRIC);
    }
}
