//! Prometheus' text format 0.0.4 and OpenMetrics 1.0: samples, the types of their families, and exemplars.
//!
//! ```text
//! # TYPE http_requests_total counter
//! http_requests_total{method="post",code="200"} 1027 1395066363000
//! lat_bucket{le="0.5"} 17 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.31 1520879607.789      OpenMetrics
//! ```
//!
//! Invariant: a line that is not understood is counted and never takes its neighbours along. The time a sample
//! may carry is left out: a page is of the moment it was read at. An exemplar keeps its own.

use std::collections::HashMap;

use model::UnixNano;
use model::otlp::points::Exemplar;
use model::time::SECOND;

use crate::input::points::Attributes;

/// Labels of a sample that are kept.
const LABELS_MAX: usize = 64;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) labels: Attributes,
    pub(super) value: f64,
    pub(super) exemplar: Option<Exemplar>,
}

/// A page.
#[derive(Clone, Debug, Default)]
pub(super) struct Page<'a> {
    pub(super) types: HashMap<&'a str, Type>,
    pub(super) help: HashMap<&'a str, &'a str>,
    pub(super) samples: Vec<Sample<'a>>,
    /// Lines that are not understood.
    pub(super) malformed: u64,
}

/// Reads a page.
pub(super) fn parse(text: &str) -> Page<'_> {
    let mut page = Page::default();
    for line in text.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix('#') {
            read_comment(comment.trim_start(), &mut page);
        } else if !line.is_empty() {
            match sample(line) {
                Some(sample) => page.samples.push(sample),
                None => page.malformed += 1,
            }
        }
    }
    page
}

fn read_comment<'a>(comment: &'a str, page: &mut Page<'a>) {
    let mut words = comment.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("TYPE"), Some(name), Some(kind)) => {
            let kind = match kind.trim() {
                "counter" => Type::Counter,
                "gauge" => Type::Gauge,
                "histogram" => Type::Histogram,
                "summary" => Type::Summary,
                _ => Type::Untyped,
            };
            page.types.insert(name, kind);
        }
        (Some("HELP"), Some(name), Some(help)) => drop(page.help.insert(name, help)),
        _ => {}
    }
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let name = &line[..end];
    let mut rest = line[end..].trim_start();
    if !is_name(name) {
        return None;
    }
    let mut labels = Attributes::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = read_labels(inner, &mut labels)?;
    }
    let mut words = rest.split_ascii_whitespace();
    let value = match words.next()? {
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" | "Nan" => f64::NAN,
        number => {
            number.parse().ok().filter(|_| number.starts_with(|c: char| "+-.0123456789".contains(c)))?
        }
    };
    // A time, and behind `#` an exemplar of OpenMetrics. One that is not understood is left out, its sample stays.
    let has_time = words.next().is_none_or(|word| word.starts_with('#') || word.parse::<f64>().is_ok());
    let exemplar = rest.split_once(" # ").and_then(|(_, exemplar)| exemplar_of(exemplar));
    has_time.then_some(Sample { name, labels, value, exemplar })
}

/// `{trace_id="…",span_id="…"} 0.31 1520879607.789`; the time may be missing.
fn exemplar_of(text: &str) -> Option<Exemplar> {
    let mut labels = Attributes::new();
    let rest = read_labels(text.trim_start().strip_prefix('{')?, &mut labels)?;
    let mut words = rest.split_ascii_whitespace();
    let value: f64 = words.next()?.parse().ok()?;
    let seconds: f64 = words.next().map_or(Some(0.0), |word| word.parse().ok())?;
    let mut named = |names: [&str; 2]| {
        let at = labels.iter().position(|(key, _)| names.contains(&key.as_str()))?;
        Some(labels.remove(at).1)
    };
    let trace_id = named(["trace_id", "traceID"]).and_then(|id| id.parse().ok());
    let span_id = named(["span_id", "spanID"]).and_then(|id| id.parse().ok());
    let time = UnixNano((seconds * SECOND as f64) as i64);
    Some(Exemplar { time, value, trace_id, span_id, attributes: labels })
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':');
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// Labels up to the closing brace; what is behind it.
fn read_labels<'a>(mut rest: &'a str, labels: &mut Attributes) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(after) = rest.strip_prefix('}') {
            labels.sort();
            return Some(after);
        }
        let (key, after) = rest.split_once('=')?;
        let key = key.trim();
        let inner = after.trim_start().strip_prefix('"')?;
        let (value, after) = quoted(inner)?;
        if !is_name(key) || labels.len() >= LABELS_MAX {
            return None;
        }
        labels.push((key.to_owned(), value));
        rest = after;
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            _ => value.push(c),
        }
    }
    None
}
