//! `Metric` and its data points (opentelemetry-proto metrics.proto) as borrowed views, and the names
//! they get as Prometheus series.
//!
//! Name translation: OpenTelemetry "Prometheus and OpenMetrics Compatibility" — dots and other signs
//! become `_`, the unit is spelled out as a suffix, monotonic sums end in `_total`.

use super::exemplar::ExemplarView;
use super::value::text;
use crate::UnixNano;
use crate::wire::{Fields, Repeated, Value, WireError, check};

/// The kinds of metric, named as in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that goes up and down.
    Gauge,
    /// A sum; monotonic ones are counters.
    Sum,
    /// A histogram with explicit bounds.
    Histogram,
    /// A histogram with exponential buckets.
    ExponentialHistogram,
    /// Quantiles computed by the sender.
    Summary,
}

impl MetricKind {
    /// The lowercase name stored with each point.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::ExponentialHistogram => "exponential_histogram",
            Self::Summary => "summary",
        }
    }
}

/// One metric: a name, a unit and a list of data points of one kind.
#[derive(Clone, Copy, Debug)]
pub struct MetricView<'a> {
    /// OpenTelemetry name, for example `http.server.request.duration`.
    pub name: &'a str,
    /// UCUM unit, for example `s` or `{request}`.
    pub unit: &'a str,
    /// What is measured.
    pub description: &'a str,
    /// Which kind of points follow.
    pub kind: MetricKind,
    /// Sums only: never decreases.
    pub is_monotonic: bool,
    /// Sums and histograms: values since the last export instead of since the start.
    pub is_delta: bool,
    points: Repeated<'a>,
}

/// The data points of a metric, as an iterator of views.
pub type DataPoints<'a> = Repeated<'a>;

/// One data point.
#[derive(Clone, Copy, Debug)]
pub struct DataPointView<'a> {
    /// Attributes, see [`super::attributes`].
    pub attributes: Repeated<'a>,
    /// When the value was true.
    pub time: UnixNano,
    /// Since when the value has been counted; 0 when not set.
    pub start_time: UnixNano,
    /// The value.
    pub value: PointValue<'a>,
    /// Measurements it is made of, see [`DataPointView::exemplars`].
    exemplars: Repeated<'a>,
}

impl<'a> DataPointView<'a> {
    /// Measurements that it is made of, with the spans in which they were taken. Malformed ones are left out.
    pub fn exemplars(&self) -> impl Iterator<Item = ExemplarView<'a>> + use<'a> {
        self.exemplars.iter().filter_map(|bytes| ExemplarView::parse(bytes).ok().flatten())
    }
}

/// What a data point holds.
#[derive(Clone, Copy, Debug)]
pub enum PointValue<'a> {
    /// Gauge or sum.
    Number(f64),
    /// Explicit-bounds histogram; `counts` is packed fixed64, `bounds` packed doubles.
    Histogram {
        /// Number of observations.
        count: u64,
        /// Sum of observations, if recorded.
        sum: Option<f64>,
        /// Observations per bucket, packed.
        counts: &'a [u8],
        /// Upper bounds of all buckets but the last, packed.
        bounds: &'a [u8],
    },
    /// Exponential histogram, of which count and sum are read.
    ExponentialHistogram {
        /// Number of observations.
        count: u64,
        /// Sum of observations, if recorded.
        sum: Option<f64>,
    },
    /// Summary; `quantiles` are `ValueAtQuantile` messages.
    Summary {
        /// Number of observations.
        count: u64,
        /// Sum of observations.
        sum: f64,
        /// The quantiles.
        quantiles: Repeated<'a>,
    },
}

impl<'a> MetricView<'a> {
    /// Reads a `Metric` message. `None` when it has no known kind of points.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, WireError> {
        let (mut name, mut unit, mut description, mut body) = ("", "", "", None);
        for field in Fields::new(bytes) {
            match field? {
                (1, value) => name = text(value.bytes()),
                (2, value) => description = text(value.bytes()),
                (3, value) => unit = text(value.bytes()),
                (5, value) => body = Some((MetricKind::Gauge, value.bytes())),
                (7, value) => body = Some((MetricKind::Sum, value.bytes())),
                (9, value) => body = Some((MetricKind::Histogram, value.bytes())),
                (10, value) => body = Some((MetricKind::ExponentialHistogram, value.bytes())),
                (11, value) => body = Some((MetricKind::Summary, value.bytes())),
                _ => {}
            }
        }
        let Some((kind, body)) = body else { return Ok(None) };
        let (mut is_delta, mut is_monotonic) = (false, false);
        for field in Fields::new(body) {
            match field? {
                (1, value) => check(value.bytes())?,
                (2, value) if kind != MetricKind::Gauge => is_delta = value.integer() == 1,
                (3, value) => is_monotonic = value.integer() != 0,
                _ => {}
            }
        }
        let points = Repeated::new(body, 1);
        Ok(Some(Self { name, unit, description, kind, is_monotonic, is_delta, points }))
    }

    /// The data points. Malformed ones, and those flagged "no recorded value", are `Err` and `None`.
    pub fn points(&self) -> impl Iterator<Item = Result<Option<DataPointView<'a>>, WireError>> + use<'a> {
        let kind = self.kind;
        self.points.iter().map(move |bytes| match kind {
            MetricKind::Gauge | MetricKind::Sum => parse_number(bytes),
            MetricKind::Histogram => parse_histogram(bytes),
            MetricKind::ExponentialHistogram => parse_exponential(bytes),
            MetricKind::Summary => parse_summary(bytes),
        })
    }
}

const NO_RECORDED_VALUE: u64 = 1;

pub(super) fn double(value: Value<'_>) -> f64 {
    f64::from_bits(value.integer())
}

fn parse_number(bytes: &[u8]) -> Result<Option<DataPointView<'_>>, WireError> {
    let (mut time, mut start, mut number, mut flags) = (0, 0, None, 0);
    for field in Fields::new(bytes) {
        match field? {
            (2, value) => start = value.integer(),
            (3, value) => time = value.integer(),
            (4, value) => number = Some(double(value)),
            (6, value) => number = Some(value.integer() as i64 as f64),
            (8, value) => flags = value.integer(),
            _ => {}
        }
    }
    let number = number.filter(|_| flags & NO_RECORDED_VALUE == 0);
    let (attributes, exemplars) = (Repeated::new(bytes, 7), Repeated::new(bytes, 5));
    Ok(number.map(|number| point(attributes, exemplars, (time, start), PointValue::Number(number))))
}

fn parse_histogram(bytes: &[u8]) -> Result<Option<DataPointView<'_>>, WireError> {
    let (mut time, mut start, mut count, mut sum, mut flags) = (0, 0, 0, None, 0);
    let (mut counts, mut bounds): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::new(bytes) {
        match field? {
            (2, value) => start = value.integer(),
            (3, value) => time = value.integer(),
            (4, value) => count = value.integer(),
            (5, value) => sum = Some(double(value)),
            (6, value) => counts = value.bytes(),
            (7, value) => bounds = value.bytes(),
            (10, value) => flags = value.integer(),
            _ => {}
        }
    }
    if flags & NO_RECORDED_VALUE != 0 {
        return Ok(None);
    }
    let value = PointValue::Histogram { count, sum, counts, bounds };
    Ok(Some(point(Repeated::new(bytes, 9), Repeated::new(bytes, 8), (time, start), value)))
}

fn parse_exponential(bytes: &[u8]) -> Result<Option<DataPointView<'_>>, WireError> {
    let (mut time, mut start, mut count, mut sum, mut flags) = (0, 0, 0, None, 0);
    for field in Fields::new(bytes) {
        match field? {
            (2, value) => start = value.integer(),
            (3, value) => time = value.integer(),
            (4, value) => count = value.integer(),
            (5, value) => sum = Some(double(value)),
            (10, value) => flags = value.integer(),
            _ => {}
        }
    }
    if flags & NO_RECORDED_VALUE != 0 {
        return Ok(None);
    }
    let value = PointValue::ExponentialHistogram { count, sum };
    Ok(Some(point(Repeated::new(bytes, 1), Repeated::new(bytes, 11), (time, start), value)))
}

fn parse_summary(bytes: &[u8]) -> Result<Option<DataPointView<'_>>, WireError> {
    let (mut time, mut start, mut count, mut sum, mut flags) = (0, 0, 0, 0.0, 0);
    for field in Fields::new(bytes) {
        match field? {
            (2, value) => start = value.integer(),
            (3, value) => time = value.integer(),
            (4, value) => count = value.integer(),
            (5, value) => sum = double(value),
            (8, value) => flags = value.integer(),
            _ => {}
        }
    }
    if flags & NO_RECORDED_VALUE != 0 {
        return Ok(None);
    }
    let value = PointValue::Summary { count, sum, quantiles: Repeated::new(bytes, 6) };
    Ok(Some(point(Repeated::new(bytes, 7), Repeated::new(&[], 1), (time, start), value)))
}

fn point<'a>(
    attributes: Repeated<'a>,
    exemplars: Repeated<'a>,
    (time, start): (u64, u64),
    value: PointValue<'a>,
) -> DataPointView<'a> {
    let (time, start_time) = (UnixNano::from_u64(time), UnixNano::from_u64(start));
    DataPointView { attributes, time, start_time, value, exemplars }
}

/// The quantile and value of a `ValueAtQuantile` message.
pub fn quantile(bytes: &[u8]) -> (f64, f64) {
    Fields::new(bytes).map_while(Result::ok).fold((0.0, 0.0), |found, field| match field {
        (1, value) => (double(value), found.1),
        (2, value) => (found.0, double(value)),
        _ => found,
    })
}

/// The numbers of a packed fixed64 field, as bits.
pub fn packed(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default()))
}

/// The Prometheus name of a metric, without the suffixes of histogram series.
pub fn prometheus_name(metric: &MetricView<'_>) -> String {
    let mut name = sanitise(metric.name);
    if metric.kind != MetricKind::Sum || metric.is_monotonic || !metric.unit.is_empty() {
        push_unit(&mut name, metric.unit, metric.kind);
    }
    if metric.kind == MetricKind::Sum && metric.is_monotonic && !name.ends_with("_total") {
        name.push_str("_total");
    }
    name
}

/// A label name Prometheus accepts: everything but ASCII letters, digits and `_` becomes `_`.
pub fn sanitise(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 1);
    push_sanitised(name, &mut out);
    out
}

/// Appends what [`sanitise`] makes of a name.
pub fn push_sanitised(name: &str, out: &mut String) {
    let start = out.len();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    let mut was_underscore = out.len() > start;
    let mut left = name;
    while !left.is_empty() {
        let word = left.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b':').count();
        out.push_str(&left[..word]);
        was_underscore &= word == 0;
        left = &left[word..];
        if let Some(other) = left.chars().next() {
            if !was_underscore {
                out.push('_');
            }
            was_underscore = true;
            left = &left[other.len_utf8()..];
        }
    }
}

fn push_unit(name: &mut String, unit: &str, kind: MetricKind) {
    let (main, per) = unit.split_once('/').map_or((unit, None), |(main, per)| (main, Some(per)));
    let word = unit_word(main);
    let ratio = main == "1" && kind == MetricKind::Gauge;
    let word = if ratio { "ratio" } else { word };
    if !word.is_empty() && !name.ends_with(word) {
        name.push('_');
        name.push_str(&sanitise(word));
    }
    if let Some(per) = per.map(per_word).filter(|per| !per.is_empty()) {
        name.push_str("_per_");
        name.push_str(&sanitise(per));
    }
}

fn unit_word(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        "1" => "",
        annotated if annotated.starts_with('{') => "",
        other => other,
    }
}

fn per_word(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" | "min" => "minute",
        "h" => "hour",
        "d" => "day",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_name(name: &str, unit: &str, kind: MetricKind, is_monotonic: bool, expected: &str) {
        let metric = MetricView {
            name,
            unit,
            description: "",
            kind,
            is_monotonic,
            is_delta: false,
            points: Repeated::new(&[], 1),
        };
        assert_eq!(prometheus_name(&metric), expected);
    }

    #[test]
    fn names_follow_the_prometheus_compatibility_specification() {
        check_name(
            "http.server.request.duration",
            "s",
            MetricKind::Histogram,
            false,
            "http_server_request_duration_seconds",
        );
        check_name("shop.orders", "{order}", MetricKind::Sum, true, "shop_orders_total");
        check_name("process.memory.usage", "By", MetricKind::Sum, false, "process_memory_usage_bytes");
        check_name("system.cpu.utilization", "1", MetricKind::Gauge, false, "system_cpu_utilization_ratio");
        check_name("disk.io", "By/s", MetricKind::Gauge, false, "disk_io_bytes_per_second");
        check_name("9lives", "", MetricKind::Gauge, false, "_9lives");
        check_name("größe..der:dinge_", "", MetricKind::Gauge, false, "gr_e_der:dinge_");
        check_name("__a", "", MetricKind::Gauge, false, "_a");
    }
}
