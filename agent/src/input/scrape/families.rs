//! From the samples of a page to OTLP metrics: `_bucket`, `_sum` and `_count` become one point again.
//!
//! Invariant: what [`Families::write`] returns are the series it wrote; the ones of before that are not
//! among them are ended.

use std::collections::{BTreeMap, HashSet};

use model::UnixNano;
use model::otlp::points::Exemplar;

use super::text::{Page, Sample, Type};
use crate::input::points::{Attributes, Buckets, Head, Kind, Metrics};

/// Series of a page: name, type, labels.
pub(super) type Known = HashSet<(String, Type, Attributes)>;

/// A point that is put together from several samples.
#[derive(Clone, Debug, Default)]
struct Parts {
    value: Option<f64>,
    /// Upper bound and count up to it; quantile and value for a summary.
    steps: Vec<(f64, f64)>,
    sum: f64,
    count: Option<f64>,
    exemplars: Vec<Exemplar>,
}

/// The families of a page.
#[derive(Debug, Default)]
pub(super) struct Families<'a> {
    families: BTreeMap<&'a str, (Type, BTreeMap<Attributes, Parts>)>,
    help: BTreeMap<&'a str, &'a str>,
    /// Samples that are in it.
    pub(super) samples: u64,
    /// Samples left out because of the bound.
    pub(super) beyond: u64,
}

impl<'a> Families<'a> {
    /// Of at most `max_series` samples of a page that was read at `now`.
    pub(super) fn new(page: Option<&'a Page<'a>>, max_series: usize, now: UnixNano) -> Self {
        let mut families = Self::default();
        let Some(page) = page else { return families };
        families.help = page.help.iter().map(|(name, help)| (*name, *help)).collect();
        for sample in &page.samples {
            if families.samples >= max_series as u64 {
                families.beyond += 1;
                continue;
            }
            families.samples += 1;
            families.add(page, sample, now);
        }
        families
    }

    fn add(&mut self, page: &'a Page<'a>, sample: &'a Sample<'a>, now: UnixNano) {
        let (mut labels, value) = (sample.labels.clone(), sample.value);
        let (family, kind, part) = family_of(page, sample.name);
        let step = match (kind, part) {
            (Type::Histogram, "_bucket") => take(&mut labels, "le"),
            (Type::Summary, "") => take(&mut labels, "quantile"),
            _ => None,
        };
        let (_, points) = self.families.entry(family).or_insert_with(|| (kind, BTreeMap::new()));
        let parts = points.entry(labels).or_default();
        if let Some(exemplar) = &sample.exemplar {
            let time = if exemplar.time.0 == 0 { now } else { exemplar.time };
            parts.exemplars.push(Exemplar { time, ..exemplar.clone() });
        }
        match (part, step) {
            (_, Some(step)) => parts.steps.push((step, value)),
            ("_sum", None) => parts.sum = value,
            ("_count", None) => parts.count = Some(value),
            _ => parts.value = Some(value),
        }
    }

    /// Writes every family, and the end of the series in `before` that are no longer there.
    pub(super) fn write(&self, metrics: &mut Metrics, before: &Known) -> Known {
        let mut known = Known::new();
        for (name, (kind, points)) in &self.families {
            let keys = points.keys().map(|labels| ((*name).to_owned(), *kind, labels.clone()));
            known.extend(keys);
            let description = self.help.get(name).copied().unwrap_or_default();
            write_family(metrics, Head { name, unit: "", description }, *kind, points);
        }
        for (name, kind, labels) in before.difference(&known) {
            let (head, labels) = (Head::new(name, ""), labels.as_slice());
            match kind {
                Type::Histogram => metrics.histograms(head, [(labels, None)]),
                Type::Summary => metrics.summaries(head, [(labels, None)]),
                Type::Counter => metrics.numbers(head, Kind::Counter, [(labels, None)]),
                Type::Gauge | Type::Untyped => metrics.numbers(head, Kind::Gauge, [(labels, None)]),
            }
        }
        known
    }
}

/// The family a sample belongs to, its type, and which part of it the sample is.
fn family_of<'a>(page: &'a Page<'a>, name: &'a str) -> (&'a str, Type, &'static str) {
    if let Some(kind) = page.types.get(name) {
        return (name, *kind, "");
    }
    for part in ["_bucket", "_sum", "_count"] {
        if let Some(family) = name.strip_suffix(part)
            && let Some(kind @ (Type::Histogram | Type::Summary)) = page.types.get(family)
        {
            return (family, *kind, part);
        }
    }
    // OpenMetrics declares a counter without its `_total`.
    let is_total =
        name.strip_suffix("_total").and_then(|family| page.types.get(family)) == Some(&Type::Counter);
    (name, if is_total { Type::Counter } else { Type::Untyped }, "")
}

fn take(labels: &mut Attributes, key: &str) -> Option<f64> {
    let at = labels.iter().position(|(name, _)| name == key)?;
    let (_, value) = labels.remove(at);
    match value.as_str() {
        "+Inf" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

fn write_family(metrics: &mut Metrics, head: Head<'_>, kind: Type, points: &BTreeMap<Attributes, Parts>) {
    match kind {
        Type::Histogram => {
            let buckets: Vec<_> =
                points.iter().map(|(labels, parts)| (labels, buckets_of(parts), &parts.exemplars)).collect();
            let points = buckets
                .iter()
                .map(|(labels, buckets, exemplars)| (&labels[..], Some(buckets), &exemplars[..]));
            metrics.histograms_with(head, points);
        }
        Type::Summary => {
            let points = points.iter().map(|(labels, parts)| {
                let count = parts.count.unwrap_or_default().max(0.0) as u64;
                (&labels[..], Some((count, parts.sum, &parts.steps[..])))
            });
            metrics.summaries(head, points);
        }
        Type::Counter | Type::Gauge | Type::Untyped => {
            let kind = if kind == Type::Counter { Kind::Counter } else { Kind::Gauge };
            let points =
                points.iter().map(|(labels, parts)| (&labels[..], parts.value, &parts.exemplars[..]));
            metrics.numbers_with(head, kind, points);
        }
    }
}

/// Counts up to bounds become counts between them.
fn buckets_of(parts: &Parts) -> Buckets {
    let mut steps = parts.steps.clone();
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    steps.dedup_by(|one, other| one.0 == other.0);
    let whole = steps.iter().find(|(bound, _)| bound.is_infinite()).map(|(_, count)| *count);
    let whole = whole.or(parts.count).unwrap_or_default();
    steps.retain(|(bound, _)| bound.is_finite());
    let (mut counts, mut before) = (Vec::with_capacity(steps.len() + 1), 0.0);
    for count in steps.iter().map(|(_, count)| *count).chain([whole]) {
        counts.push((count - before).max(0.0) as u64);
        before = count.max(before);
    }
    Buckets { bounds: steps.into_iter().map(|(bound, _)| bound).collect(), counts, sum: parts.sum }
}
