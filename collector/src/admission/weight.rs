//! What a request will cost when it is decoded, found on the wire before anything is built.
//!
//! A span of two bytes becomes a row of hundreds, and every row repeats the attributes of its
//! resource: limits on bytes alone do not bound memory. This walk counts records and rows and adds up
//! what each row will hold. It stops as soon as a limit is exceeded.

use model::Signal;
use model::otlp::value;
use model::wire::{Fields, Repeated, Value};
use storage::limits::{ATTRIBUTES_MAX, ROW_BYTES, VALUE_BYTES_MAX};

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
    let mut weight = Weight::default();
    for group in Repeated::new(request, 1).iter() {
        let resource = Repeated::new(Repeated::new(group, 1).iter().last().unwrap_or_default(), 1);
        let above = match signal {
            Signal::Metrics => labels_bytes(resource),
            Signal::Traces | Signal::Logs => attributes_bytes(resource),
        };
        for scope in Repeated::new(group, 2).iter() {
            let scope_bytes = Repeated::new(scope, 1).iter().last().unwrap_or_default().len();
            for leaf in Repeated::new(scope, 2).iter() {
                match signal {
                    Signal::Metrics => weigh_metric(&mut weight, leaf, above),
                    Signal::Traces | Signal::Logs => weight.add(1, 1, above + scope_bytes + leaf.len()),
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

fn weigh_metric(weight: &mut Weight, metric: &[u8], above: usize) {
    let named: usize =
        [1, 3].into_iter().flat_map(|number| Repeated::new(metric, number).iter()).map(<[u8]>::len).sum();
    for (number, attributes) in [(5, 7), (7, 7), (9, 9), (10, 1), (11, 7)] {
        for points in Repeated::new(metric, number).iter() {
            for point in Repeated::new(points, 1).iter() {
                let rows = match number {
                    9 => 3 + explicit_bounds(point),
                    11 => 2 + Repeated::new(point, 6).iter().count(),
                    _ => 2,
                };
                let labels = attributes_bytes(Repeated::new(point, attributes));
                // Labels are copied on their way into a row.
                weight.add(1, rows, above + 2 * named + 2 * labels);
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

fn attributes_bytes(attributes: Repeated<'_>) -> usize {
    attributes.iter().take(ATTRIBUTES_MAX).map(|attribute| attribute.len().min(VALUE_BYTES_MAX) + 8).sum()
}

/// The attributes of a resource that every series of it carries.
fn labels_bytes(resource: Repeated<'_>) -> usize {
    ["service.name", "service.namespace", "service.instance.id"]
        .into_iter()
        .filter_map(|key| value::find(resource, key)?.as_str().map(str::len))
        .sum::<usize>()
        * 2
}

#[cfg(test)]
mod tests {
    use model::wire::{put_bytes, put_message};

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
    fn every_row_pays_for_the_attributes_of_its_resource() {
        let mut resource = Vec::new();
        put_message(&mut resource, 1, |attribute| {
            put_bytes(attribute, 1, b"k");
            put_message(attribute, 2, |any| put_bytes(any, 1, &[b'x'; 10_000]));
        });
        let weight = weigh(Signal::Logs, &request(&resource, 1_000), usize::MAX, usize::MAX);
        assert_eq!(weight.records, 1_000);
        assert!(weight.bytes > 10_000_000, "{weight:?}");
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
}
