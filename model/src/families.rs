//! A program's own numbers, said once and shown twice: on its `/metrics` page in Prometheus' text format, and as
//! OTLP metrics that go the way of all others.
//!
//! ```text
//! # HELP silmari_segments Live segments.
//! # TYPE silmari_segments gauge
//! silmari_segments 12
//! ```
//!
//! Invariant: both say the same; a counter's name ends in `_total`.

use std::fmt::Write as _;

use crate::UnixNano;
pub use crate::otlp::points::{Attributes, Kind};
use crate::otlp::points::{Head, Metrics};

/// One metric with its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its Prometheus name.
    pub name: String,
    /// Whether it only grows.
    pub kind: Kind,
    /// A sentence.
    pub help: String,
    /// Labels and value of each series.
    pub samples: Vec<(Attributes, f64)>,
}

impl Family {
    /// Adds a series.
    pub fn sample<const N: usize>(&mut self, labels: [(&str, &str); N], value: f64) -> &mut Self {
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        self.samples.push((labels, value));
        self
    }
}

/// Metrics in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Families {
    families: Vec<Family>,
}

impl Families {
    /// Adds a metric without series.
    pub fn add(&mut self, kind: Kind, name: impl Into<String>, help: impl Into<String>) -> &mut Family {
        self.families.push(Family { name: name.into(), kind, help: help.into(), samples: Vec::new() });
        self.families.last_mut().expect("one was added")
    }

    /// Adds a gauge of one series without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.add(Kind::Gauge, name, help).sample([], value);
    }

    /// Adds a counter of one series without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.add(Kind::Counter, name, help).sample([], value);
    }

    /// The metrics.
    pub fn all(&self) -> &[Family] {
        &self.families
    }

    /// Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for family in &self.families {
            let (name, kind) = (&family.name, if family.kind == Kind::Counter { "counter" } else { "gauge" });
            if !family.help.is_empty() {
                writeln!(out, "# HELP {name} {}", family.help).unwrap_or_default();
            }
            writeln!(out, "# TYPE {name} {kind}").unwrap_or_default();
            for (labels, value) in &family.samples {
                out.push_str(name);
                for (at, (key, value)) in labels.iter().enumerate() {
                    let open = if at == 0 { '{' } else { ',' };
                    write!(out, "{open}{key}=\"{}\"", quoted(value)).unwrap_or_default();
                }
                let close = if labels.is_empty() { "" } else { "}" };
                writeln!(out, "{close} {value}").unwrap_or_default();
            }
        }
        out
    }

    /// An OTLP request of one resource; sums began at `start`, all points are of `time`.
    pub fn request(&self, resource: &[(&str, &str)], start: UnixNano, time: UnixNano) -> Vec<u8> {
        let mut metrics = Metrics::new(resource.iter().copied(), start, time);
        for family in self.families.iter().filter(|family| !family.samples.is_empty()) {
            let head = Head { name: &family.name, unit: "", description: &family.help };
            let points = family.samples.iter().map(|(labels, value)| (&labels[..], Some(*value)));
            metrics.numbers(head, family.kind, points);
        }
        metrics.finish()
    }

    /// How many series there are.
    pub fn series(&self) -> usize {
        self.families.iter().map(|family| family.samples.len()).sum()
    }
}

/// A label value as the text format quotes it.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::{self, MetricView};

    fn families() -> Families {
        let mut families = Families::default();
        families.gauge("segments", "Live segments.", 12.0);
        families
            .add(Kind::Counter, "drops_total", "")
            .sample([("reason", "a\"b\\c\nd")], 3.5)
            .sample([("reason", "x"), ("signal", "logs")], 18_446_744_073_709.0);
        families.add(Kind::Gauge, "empty", "Nothing yet.");
        families
    }

    #[test]
    fn the_page_has_help_type_and_quoted_labels() {
        let expected = "# HELP segments Live segments.\n# TYPE segments gauge\nsegments 12\n\
                        # TYPE drops_total counter\ndrops_total{reason=\"a\\\"b\\\\c\\nd\"} 3.5\n\
                        drops_total{reason=\"x\",signal=\"logs\"} 18446744073709\n\
                        # HELP empty Nothing yet.\n# TYPE empty gauge\n";
        assert_eq!(families().text(), expected);
    }

    #[test]
    fn the_request_has_the_same_metrics_without_empty_ones() {
        let request = families().request(&[("service.name", "x")], UnixNano(1), UnixNano(2));
        let mut found = Vec::new();
        for group in otlp::resources(&request).expect("a message") {
            for scope in group.expect("whole").scopes() {
                for item in scope.expect("whole").items() {
                    let view = MetricView::parse(item).expect("well formed").expect("of a known kind");
                    found.push((view.name.to_owned(), view.is_monotonic, view.points().count()));
                }
            }
        }
        assert_eq!(found, [("segments".to_owned(), false, 1), ("drops_total".to_owned(), true, 2)]);
    }
}
