//! What a request will cost when it is decoded, found on the wire before anything is built.
//!
//! A span of two bytes becomes a row of hundreds, and every row repeats what stands above it: limits on bytes alone do not bound memory. This walk counts records and rows and adds up
//! what each row will hold. It stops as soon as a limit is exceeded.

use model::Signal;
use model::otlp::value;
use model::wire::{Fields, Repeated, Value};
use storage::limits::{
    ATTRIBUTES_MAX, CHILDREN_MAX, EXEMPLARS_MAX, ROW_BYTES, SHARED_BYTES_MAX, VALUE_BYTES_MAX,
};

/// What the columns take however few rows there are.
const REQUEST_BYTES: usize = 8 << 10;
/// Beside its bytes on the wire, what a pair of a map takes: two offsets, and the digits of a number.
const PAIR_BYTES: usize = 32;
/// The fixed columns of an event and of an exemplar.
const CHILD_BYTES: usize = 48;
/// How much longer than on the wire a value that is no string may be as JSON: a control character is `\u0001`.
const JSON_GROWTH: usize = 6;

/// What a request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// Spans, log records or data points.
    pub(crate) records: usize,
    /// Bytes of the rows they become, estimated from above.
    pub(crate) bytes: usize,
}

/// Weighs an uncompressed request. Stops early above either limit; malformed parts weigh nothing, as
/// the decoder refuses them.
pub(crate) fn weigh(signal: Signal, request: &[u8], records_max: usize, bytes_max: usize) -> Weight {
    let mut weight = Weight { records: 0, bytes: REQUEST_BYTES };
    for group in Repeated::new(request, 1).iter() {
        let resource = Repeated::new(Repeated::new(group, 1).iter().last().unwrap_or_default(), 1);
        let above = match signal {
            Signal::Metrics => labels_bytes(resource),
            Signal::Traces | Signal::Logs => {
                let service = named_bytes(resource, "service.name");
                match pairs_bytes(resource.iter()) {
                    shared @ ..=SHARED_BYTES_MAX => {
                        weight.bytes = weight.bytes.saturating_add(shared);
                        service
                    }
                    own => own + service,
                }
            }
        };
        for scope in Repeated::new(group, 2).iter() {
            let scope_bytes = Repeated::new(scope, 1).iter().last().unwrap_or_default().len();
            for leaf in Repeated::new(scope, 2).iter() {
                match signal {
                    Signal::Traces => weight.add(1, 1, above + scope_bytes + leaf.len() + span_bytes(leaf)),
                    Signal::Logs => weight.add(1, 1, above + scope_bytes + leaf.len() + log_bytes(leaf)),
                    Signal::Metrics => weigh_metric(&mut weight, leaf, above),
                }
                if weight.records > records_max || weight.bytes > bytes_max {
                    return weight;
                }
            }
        }
    }
    weight
}

impl Weight {
    fn add(&mut self, records: usize, rows: usize, bytes_per_row: usize) {
        self.records += records;
        self.bytes = self.bytes.saturating_add(rows.saturating_mul(ROW_BYTES + bytes_per_row));
    }
}

/// What a span takes beside its bytes on the wire.
fn span_bytes(span: &[u8]) -> usize {
    let (mut bytes, mut pairs, mut events) = (0, 0, 0);
    for (number, field) in fields(span) {
        match number {
            9 if pairs < ATTRIBUTES_MAX => {
                pairs += 1;
                bytes += pair_growth(field);
            }
            11 if events < CHILDREN_MAX => {
                events += 1;
                bytes += child_growth(field, 3);
            }
            _ => {}
        }
    }
    bytes
}

/// What a log record takes beside its bytes on the wire.
fn log_bytes(record: &[u8]) -> usize {
    let (mut bytes, mut pairs) = (0, 0);
    for (number, field) in fields(record) {
        match number {
            6 if pairs < ATTRIBUTES_MAX => {
                pairs += 1;
                bytes += pair_growth(field);
            }
            5 => bytes += value_growth(field),
            _ => {}
        }
    }
    bytes
}

/// The length-delimited fields of a message.
fn fields(message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    Fields::new(message).map_while(Result::ok).filter_map(|(number, value)| match value {
        Value::Bytes(bytes) => Some((number, bytes)),
        _ => None,
    })
}

/// What an event or exemplar, with its attributes in the field `attributes`, takes beside its bytes on the wire.
fn child_growth(child: &[u8], attributes: u32) -> usize {
    let pairs = Repeated::new(child, attributes).iter().take(ATTRIBUTES_MAX);
    CHILD_BYTES + pairs.map(pair_growth).sum::<usize>()
}

/// What an attribute takes beside its bytes on the wire.
fn pair_growth(attribute: &[u8]) -> usize {
    PAIR_BYTES
        + fields(attribute)
            .map(|(number, field)| if number == 2 { value_growth(field) } else { 0 })
            .sum::<usize>()
}

/// What a value takes as JSON beside its bytes on the wire; numbers are in [`PAIR_BYTES`].
fn value_growth(value: &[u8]) -> usize {
    let nested = fields(value).filter(|(number, _)| (5..=7).contains(number));
    nested.map(|(_, field)| (field.len() * JSON_GROWTH).min(VALUE_BYTES_MAX)).max().unwrap_or(0)
}

fn weigh_metric(weight: &mut Weight, metric: &[u8], above: usize) {
    let named: usize =
        [1, 3].into_iter().flat_map(|number| Repeated::new(metric, number).iter()).map(<[u8]>::len).sum();
    for (number, attributes, exemplars) in [(5, 7, 5), (7, 7, 5), (9, 9, 8), (10, 1, 11), (11, 7, 0)] {
        for points in Repeated::new(metric, number).iter() {
            for point in Repeated::new(points, 1).iter() {
                let rows = match number {
                    9 => 3 + explicit_bounds(point),
                    10 => 2,
                    11 => 2 + Repeated::new(point, 6).iter().count(),
                    _ => 1,
                };
                let labels = pairs_bytes(Repeated::new(point, attributes).iter());
                weight.add(1, rows, above + 2 * named + labels);
                // Each stands with one sample.
                let kept = Repeated::new(point, exemplars).iter().take(EXEMPLARS_MAX);
                let kept = kept.map(|exemplar| exemplar.len() + child_growth(exemplar, 7));
                weight.bytes = weight.bytes.saturating_add(kept.sum::<usize>());
            }
        }
    }
}

fn explicit_bounds(point: &[u8]) -> usize {
    Fields::new(point)
        .map_while(Result::ok)
        .map(|field| match field {
            (7, Value::Bytes(packed)) => packed.len() / 8,
            (7, _) => 1,
            _ => 0,
        })
        .sum()
}

/// Attributes as a row has them.
fn pairs_bytes<'a>(attributes: impl Iterator<Item = &'a [u8]>) -> usize {
    attributes
        .take(ATTRIBUTES_MAX)
        .map(|attribute| attribute.len().min(VALUE_BYTES_MAX) + pair_growth(attribute))
        .sum()
}

/// The attributes of a resource that every series of it carries: the service as a column and in two labels.
fn labels_bytes(resource: Repeated<'_>) -> usize {
    let named = |key: &str| named_bytes(resource, key);
    3 * named("service.name")
        + named("service.namespace")
        + named("service.instance.id").max(named("host.name"))
        + 4 * PAIR_BYTES
}

/// Bytes of an attribute, whose text no limit cuts.
fn named_bytes(resource: Repeated<'_>, key: &str) -> usize {
    let mut text = String::new();
    if let Some(value) = value::find(resource, key) {
        value.push_text(&mut text);
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::wire::{put_bytes, put_fixed64, put_message};
    use model::{IdRules, SystemClock};
    use storage::{Compression, Frame, Settings, Store};

    use super::*;

    fn request(resource: &[u8], leaves: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, 1, |group| {
            put_bytes(group, 1, resource);
            put_message(group, 2, |scope| (0..leaves).for_each(|_| put_bytes(scope, 2, b"")));
        });
        out
    }

    #[test]
    fn every_row_pays_for_the_attributes_of_a_large_resource_and_all_together_for_those_of_a_small_one() {
        let of = |bytes: usize| {
            let mut resource = Vec::new();
            put_message(&mut resource, 1, |attribute| {
                put_bytes(attribute, 1, b"k");
                put_message(attribute, 2, |any| put_bytes(any, 1, &vec![b'x'; bytes]));
            });
            weigh(Signal::Logs, &request(&resource, 1_000), usize::MAX, usize::MAX)
        };
        let (large, small) = (of(10_000), of(3_000));
        assert_eq!((large.records, small.records), (1_000, 1_000));
        assert!(large.bytes > 10_000_000, "{large:?}");
        assert!((1_000 * ROW_BYTES..1_000_000).contains(&small.bytes), "{small:?}");
    }

    #[test]
    fn counting_stops_at_the_limit() {
        let weight = weigh(Signal::Traces, &request(b"", 1_000), 10, usize::MAX);
        assert_eq!(weight.records, 11);
    }

    #[test]
    fn a_histogram_weighs_by_its_buckets() {
        let of = |bounds: usize| {
            let mut metric = Vec::new();
            put_message(&mut metric, 9, |histogram| {
                put_message(histogram, 1, |point| put_bytes(point, 7, &vec![0; bounds * 8]));
            });
            let mut weight = Weight::default();
            weigh_metric(&mut weight, &metric, 0);
            weight
        };
        assert_eq!(of(1_000).records, 1);
        assert!(of(1_000).bytes > 1_000 * ROW_BYTES);
        assert!(of(10).bytes < 20 * ROW_BYTES);
    }

    fn text(key: &str, value: &str) -> Vec<u8> {
        let mut attribute = Vec::new();
        put_bytes(&mut attribute, 1, key.as_bytes());
        put_message(&mut attribute, 2, |any| put_bytes(any, 1, value.as_bytes()));
        attribute
    }

    /// A resource with one attribute and so many leaves.
    fn of_leaves(resource: &[u8], leaf: &[u8], count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, 1, |group| {
            put_message(group, 1, |to| put_bytes(to, 1, resource));
            put_message(group, 2, |scope| (0..count).for_each(|_| put_bytes(scope, 2, leaf)));
        });
        out
    }

    fn span_with(children: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut span = Vec::new();
        put_bytes(&mut span, 1, &[7; 16]);
        put_bytes(&mut span, 2, &[7; 8]);
        children(&mut span);
        span
    }

    fn number_point(children: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut metric = Vec::new();
        put_bytes(&mut metric, 1, b"m");
        put_message(&mut metric, 5, |gauge| {
            put_message(gauge, 1, |point| {
                put_fixed64(point, 4, 1.0_f64.to_bits());
                children(point);
            });
        });
        metric
    }

    fn nested(number: u32, inside: &[u8]) -> Vec<u8> {
        let mut attribute = Vec::new();
        put_message(&mut attribute, 2, |any| put_bytes(any, number, inside));
        attribute
    }

    /// Requests that become as much larger as their kind can.
    fn hostile() -> Vec<(&'static str, Signal, Vec<u8>)> {
        let (short, long) = (text("k", "v"), "x".repeat(100_000));
        let spans = |leaf: Vec<u8>| of_leaves(&short, &leaf, 40);
        let logs = spans;
        let points = spans;
        let double = {
            let mut attribute = Vec::new();
            put_message(&mut attribute, 2, |any| put_fixed64(any, 4, f64::MIN_POSITIVE.to_bits()));
            attribute
        };
        let mut controls = Vec::new();
        put_bytes(&mut controls, 1, &[]);
        put_message(&mut controls, 1, |any| put_bytes(any, 1, &[1; 5_000]));
        let exemplar = |attributes: usize| {
            let mut exemplar = Vec::new();
            put_fixed64(&mut exemplar, 3, 1.0_f64.to_bits());
            (0..attributes).for_each(|_| put_bytes(&mut exemplar, 7, b""));
            exemplar
        };
        let many = |number: u32, child: &[u8], count: usize| {
            let child = child.to_vec();
            move |to: &mut Vec<u8>| (0..count).for_each(|_| put_bytes(to, number, &child))
        };
        let event_of_pairs = [26, 0].repeat(128);
        let mut bounds = Vec::new();
        put_bytes(&mut bounds, 1, b"m");
        put_message(&mut bounds, 9, |histogram| {
            put_message(histogram, 1, |point| {
                let packed: Vec<u8> = [1.0_f64, f64::MIN_POSITIVE]
                    .repeat(50)
                    .iter()
                    .flat_map(|bound| bound.to_le_bytes())
                    .collect();
                put_bytes(point, 7, &packed);
                put_bytes(point, 6, &vec![0; packed.len() + 8]);
                (0..32).for_each(|_| put_bytes(point, 8, &exemplar(128)));
            });
        });
        let ids = (0..60).map(|at| format!("0190d3f4-0000-7000-8000-{at:012} ")).collect::<String>();
        let mut body = Vec::new();
        put_message(&mut body, 5, |any| put_bytes(any, 1, ids.as_bytes()));
        let mut json = Vec::new();
        put_message(&mut json, 5, |any| put_bytes(any, 5, &controls));
        vec![
            ("spans of nothing", Signal::Traces, spans(span_with(|_| {}))),
            ("empty attributes", Signal::Traces, spans(span_with(many(9, b"", 128)))),
            ("numbers with an exponent", Signal::Traces, spans(span_with(many(9, &double, 128)))),
            (
                "arrays of control characters",
                Signal::Traces,
                spans(span_with(many(9, &nested(5, &controls), 20))),
            ),
            (
                "lists of empty pairs",
                Signal::Traces,
                spans(span_with(many(9, &nested(6, &[10, 0].repeat(2_000)), 20))),
            ),
            ("bytes", Signal::Traces, spans(span_with(many(9, &nested(7, &[255; 2_000]), 20)))),
            ("empty events", Signal::Traces, spans(span_with(many(11, b"", 128)))),
            ("events of empty attributes", Signal::Traces, spans(span_with(many(11, &event_of_pairs, 128)))),
            (
                "a long service",
                Signal::Traces,
                of_leaves(&text("service.name", &long), &span_with(|_| {}), 20),
            ),
            ("records of nothing", Signal::Logs, logs(Vec::new())),
            ("bodies of ids", Signal::Logs, logs(body)),
            ("bodies of control characters", Signal::Logs, logs(json)),
            ("points of nothing", Signal::Metrics, points(number_point(|_| {}))),
            (
                "points of a long host",
                Signal::Metrics,
                of_leaves(&text("host.name", &long), &number_point(|_| {}), 20),
            ),
            (
                "points of a long service",
                Signal::Metrics,
                of_leaves(&text("service.name", &long), &number_point(|_| {}), 20),
            ),
            ("labels of one letter", Signal::Metrics, points(number_point(many(7, &text("k", "v"), 128)))),
            ("exemplars", Signal::Metrics, points(number_point(many(5, &exemplar(0), 32)))),
            (
                "exemplars of empty attributes",
                Signal::Metrics,
                points(number_point(many(5, &exemplar(128), 32))),
            ),
            ("bounds that do not rise", Signal::Metrics, points(bounds)),
        ]
    }

    #[tokio::test]
    async fn no_request_takes_more_in_the_head_than_it_weighs() {
        for (shape, signal, payload) in hostile() {
            let dir = tempfile::tempdir().expect("a folder");
            let settings =
                Settings { seal_rows: usize::MAX, disk_free_bytes_min: Some(0), ..Settings::new(dir.path()) };
            let store = Store::open(settings, Arc::new(IdRules::default()), SystemClock::shared())
                .await
                .expect("opens");
            let received_at = SystemClock::shared().now();
            let batch = store.decode(signal, &payload, received_at).expect("decodable");
            assert!(batch.rows() >= 20, "{shape}: {} rows, {:?}", batch.rows(), batch.rejection);
            let weight = weigh(signal, &payload, usize::MAX, usize::MAX);
            let frame = Frame {
                signal,
                compression: Compression::Identity,
                received_at,
                payload: payload.clone().into(),
            };
            store.append(frame, batch).await.expect("durable");
            let held = usize::try_from(store.stats().head_bytes).expect("fits");
            assert!(
                held <= weight.bytes,
                "{shape}: {held} bytes of {}, {} were weighed",
                payload.len(),
                weight.bytes
            );
        }
    }
}
