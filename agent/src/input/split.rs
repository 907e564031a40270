//! Parts of a request that is too large to travel as one.
//!
//! ```text
//! request = group(resource, scope(leaf leaf leaf …) scope(leaf …)) group(…)
//! parts   = group(resource, scope(leaf leaf)) | group(resource, scope(leaf) scope(leaf)) | …
//! ```
//!
//! Every part repeats resource and scope. A leaf beyond [`LEAF_BYTES_MAX`] travels as nobody would take it:
//! a log record keeps the beginning of its text and says in [`TRUNCATED`] how large it was; a span or metric is
//! left out and counted. Invariant: leaves keep their order, none is doubled.

use model::Signal;
use model::otlp::AnyValue;
use model::otlp::logs::put_attribute;
use model::wire::{Fields, Value, put_bytes, put_message};

use super::otlp::resource::put_value;

/// Bytes of one span, record or metric.
const LEAF_BYTES_MAX: usize = 3 << 20;
/// Bytes that a record beyond it keeps of its text, and of each attribute.
const KEPT_BYTES_MAX: usize = 256 << 10;
/// Attribute of a shortened record: the bytes it had.
pub(crate) const TRUNCATED: &str = "silmari.truncated_bytes";

/// A request of its own.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) request: Vec<u8>,
    pub(crate) items: u64,
}

/// What became of a request.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) parts: Vec<Part>,
    /// Items that were left out.
    pub(crate) too_large: u64,
}

/// The part under way.
#[derive(Default)]
struct Builder {
    split: Split,
    bytes_max: usize,
    groups: Vec<u8>,
    group_head: Vec<u8>,
    scopes: Vec<u8>,
    scope_head: Vec<u8>,
    leaves: Vec<u8>,
    items: u64,
}

/// Splits a request that was found well formed into parts of about `bytes_max`.
pub(crate) fn split(request: &[u8], signal: Signal, bytes_max: usize) -> Split {
    let mut builder = Builder { bytes_max, ..Builder::default() };
    for group in messages(request, 1) {
        builder.group_head = others(group);
        for scope in messages(group, 2) {
            builder.scope_head = others(scope);
            for leaf in messages(scope, 2) {
                builder.push(leaf, signal);
            }
            builder.end_scope();
        }
        builder.end_group();
    }
    builder.end_part();
    builder.split
}

fn messages(bytes: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Fields::new(bytes).map_while(Result::ok).filter_map(move |field| match field {
        (found, Value::Bytes(bytes)) if found == number => Some(bytes),
        _ => None,
    })
}

/// All fields but the repeated field 2: the resource or scope, and its schema.
fn others(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in Fields::new(bytes).map_while(Result::ok).filter(|(number, _)| *number != 2) {
        put_value(&mut out, number, value);
    }
    out
}

impl Builder {
    fn push(&mut self, leaf: &[u8], signal: Signal) {
        let shortened = (leaf.len() > LEAF_BYTES_MAX).then(|| shorten(leaf, signal));
        let leaf = match &shortened {
            None => leaf,
            Some(Some(shortened)) => shortened,
            Some(None) => {
                self.split.too_large += 1;
                return;
            }
        };
        let heads = self.group_head.len() + self.scope_head.len();
        let bytes = self.groups.len() + self.scopes.len() + self.leaves.len() + heads;
        if self.items > 0 && bytes + leaf.len() > self.bytes_max {
            self.end_scope();
            self.end_group();
            self.end_part();
        }
        put_bytes(&mut self.leaves, 2, leaf);
        self.items += 1;
    }

    fn end_scope(&mut self) {
        if !self.leaves.is_empty() {
            let (head, leaves) = (&self.scope_head, std::mem::take(&mut self.leaves));
            put_message(&mut self.scopes, 2, |scope| {
                scope.extend_from_slice(head);
                scope.extend_from_slice(&leaves);
            });
        }
    }

    fn end_group(&mut self) {
        if !self.scopes.is_empty() {
            let (head, scopes) = (&self.group_head, std::mem::take(&mut self.scopes));
            put_message(&mut self.groups, 1, |group| {
                group.extend_from_slice(head);
                group.extend_from_slice(&scopes);
            });
        }
    }

    fn end_part(&mut self) {
        let items = std::mem::take(&mut self.items);
        if items > 0 {
            self.split.parts.push(Part { request: std::mem::take(&mut self.groups), items });
        }
    }
}

/// A log record (opentelemetry-proto logs.proto: body 5, attributes 6) that fits; `None` for other signals.
fn shorten(leaf: &[u8], signal: Signal) -> Option<Vec<u8>> {
    if signal != Signal::Logs {
        return None;
    }
    let mut out = Vec::new();
    for (number, value) in Fields::new(leaf).map_while(Result::ok) {
        match (number, value) {
            (5, Value::Bytes(body)) => {
                if let Ok(AnyValue::Str(text)) = AnyValue::parse(body) {
                    let kept = &text[..text.floor_char_boundary(KEPT_BYTES_MAX)];
                    put_message(&mut out, 5, |body| put_bytes(body, 1, kept.as_bytes()));
                }
            }
            (6, Value::Bytes(attribute)) if attribute.len() > KEPT_BYTES_MAX => {}
            (number, value) => put_value(&mut out, number, value),
        }
    }
    put_attribute(&mut out, 6, TRUNCATED, &leaf.len().to_string());
    (out.len() <= LEAF_BYTES_MAX).then_some(out)
}

#[cfg(test)]
mod tests {
    use model::otlp::logs::{LogRecordParts, LogsWriter};
    use model::otlp::{self, LogRecordView};

    use super::*;

    fn request(sizes: &[usize]) -> Vec<u8> {
        let mut request = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            let service = format!("s{}", at / 3);
            let mut writer = LogsWriter::new([("service.name", service.as_str())]);
            for copy in 0..2 {
                let body = format!("{at}.{copy}.{}", "x".repeat(*size));
                writer.push(&LogRecordParts { body: &body, ..Default::default() }, [("k", "v")]);
            }
            request.extend_from_slice(&writer.finish());
        }
        request
    }

    fn bodies(request: &[u8]) -> Vec<(String, String, usize)> {
        let mut found = Vec::new();
        for group in otlp::resources(request).expect("message") {
            let group = group.expect("whole");
            let mut service = String::new();
            otlp::value::find(group.resource, "service.name").expect("kept").push_text(&mut service);
            for scope in group.scopes() {
                for item in scope.expect("whole").items() {
                    let record = LogRecordView::parse(item).expect("record");
                    let mut body = String::new();
                    record.body.push_text(&mut body);
                    let short = body[..3].to_owned();
                    found.push((service.clone(), short, otlp::attributes(record.attributes).count()));
                }
            }
        }
        found
    }

    #[test]
    fn parts_hold_every_record_once_in_order_with_its_resource() {
        let request = request(&[500, 10, 900, 10, 10, 2_000, 5]);
        let split = split(&request, Signal::Logs, 1_500);
        assert!(split.parts.len() > 3);
        let all: Vec<_> = split.parts.iter().flat_map(|part| bodies(&part.request)).collect();
        assert_eq!(all, bodies(&request));
        for part in &split.parts {
            assert_eq!(part.items as usize, otlp::count_items(&part.request));
            assert!(part.items == 1 || part.request.len() < 1_700, "{}", part.request.len());
        }
    }

    #[test]
    fn a_record_that_nobody_would_take_is_shortened_and_says_so() {
        let mut request = request(&[10]);
        request.extend(self::request(&[4 << 20]));
        let shortened = split(&request, Signal::Logs, 1 << 20);
        let all: Vec<_> = shortened.parts.iter().flat_map(|part| bodies(&part.request)).collect();
        assert_eq!(all.iter().map(|(_, _, attributes)| *attributes).collect::<Vec<_>>(), [1, 1, 2, 2]);
        assert!(shortened.parts.iter().all(|part| part.request.len() < 1 << 20) && shortened.too_large == 0);
        let left_out = split(&request, Signal::Traces, 1 << 20);
        assert_eq!((left_out.too_large, left_out.parts.len()), (2, 1));
    }
}
