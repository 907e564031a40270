//! Hiding secrets in an export request, bytes to bytes.
//!
//! Owns: which fields hold text, and how lengths change around it. Does not own: what a secret is (`redact`).
//!
//! ```text
//! request ─► any literal, long number, key of a listed attribute?  no: as it is, one look at the bytes
//!                            │ yes
//!                            └─► fields, down to every text: changed ones written anew, the rest copied
//! ```
//!
//! Texts are bodies, names, messages, keys' values, whatever a field of a message may be that we do not know. Ids
//! and packed numbers are not looked at. Invariants: a request without secrets is not copied; the number of records
//! stays; what cannot be read is replaced by something else that cannot be read, so that nothing of it is kept.

use std::borrow::Cow;
use std::collections::HashSet;

use aho_corasick::AhoCorasick;

use crate::Signal;
use crate::pattern::Pattern;
use crate::redact::{RedactPreset, Redactor, mark};
use crate::wire::{Fields, Value, put_bytes};

/// Deeper values are not taken apart.
const DEPTH_MAX: usize = 64;
/// A message that nobody can read.
const UNREADABLE: &[u8] = &[0];

/// What is hidden in requests.
#[derive(Clone, Debug)]
pub struct Redaction {
    redactor: Option<Redactor>,
    /// Attributes that are hidden whatever their values are.
    attributes: HashSet<String>,
    attribute_literals: Option<AhoCorasick>,
}

/// A request without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The request.
    pub request: Vec<u8>,
    /// Values that were changed.
    pub values: u64,
}

/// What a length-delimited field holds.
#[derive(Clone, Copy, Debug)]
enum Part {
    Message(&'static Shape),
    /// A `KeyValue`.
    Pair,
    /// Ids and packed numbers.
    Numbers,
    /// Text, as every field that is not listed.
    Text,
}

#[derive(Debug)]
struct Shape(&'static [(u32, Part)]);

impl Shape {
    fn part(&self, number: u32) -> Part {
        self.0.iter().find(|(listed, _)| *listed == number).map_or(Part::Text, |(_, part)| *part)
    }
}

use Part::{Message, Numbers, Pair};

static VALUE: Shape = Shape(&[(5, Message(&ARRAY)), (6, Message(&PAIRS))]);
static ARRAY: Shape = Shape(&[(1, Message(&VALUE))]);
static PAIRS: Shape = Shape(&[(1, Pair)]);
static RESOURCE: Shape = Shape(&[(1, Pair)]);
static SCOPE: Shape = Shape(&[(3, Pair)]);
static EVENT: Shape = Shape(&[(3, Pair)]);
static LINK: Shape = Shape(&[(1, Numbers), (2, Numbers), (4, Pair)]);
static STATUS: Shape = Shape(&[]);
static SPAN: Shape = Shape(&[
    (1, Numbers),
    (2, Numbers),
    (4, Numbers),
    (9, Pair),
    (11, Message(&EVENT)),
    (13, Message(&LINK)),
    (15, Message(&STATUS)),
]);
static LOG: Shape = Shape(&[(5, Message(&VALUE)), (6, Pair), (9, Numbers), (10, Numbers)]);
static EXEMPLAR: Shape = Shape(&[(4, Numbers), (5, Numbers), (7, Pair)]);
static NUMBER: Shape = Shape(&[(5, Message(&EXEMPLAR)), (7, Pair)]);
static HISTOGRAM: Shape = Shape(&[(6, Numbers), (7, Numbers), (8, Message(&EXEMPLAR)), (9, Pair)]);
static EXPONENTIAL: Shape = Shape(&[(1, Pair), (8, Numbers), (9, Numbers), (11, Message(&EXEMPLAR))]);
static SUMMARY: Shape = Shape(&[(6, Numbers), (7, Pair)]);
static NUMBERS: Shape = Shape(&[(1, Message(&NUMBER))]);
static HISTOGRAMS: Shape = Shape(&[(1, Message(&HISTOGRAM))]);
static EXPONENTIALS: Shape = Shape(&[(1, Message(&EXPONENTIAL))]);
static SUMMARIES: Shape = Shape(&[(1, Message(&SUMMARY))]);
static METRIC: Shape = Shape(&[
    (5, Message(&NUMBERS)),
    (7, Message(&NUMBERS)),
    (9, Message(&HISTOGRAMS)),
    (10, Message(&EXPONENTIALS)),
    (11, Message(&SUMMARIES)),
    (12, Pair),
]);
static SPANS_OF_SCOPE: Shape = Shape(&[(1, Message(&SCOPE)), (2, Message(&SPAN))]);
static LOGS_OF_SCOPE: Shape = Shape(&[(1, Message(&SCOPE)), (2, Message(&LOG))]);
static METRICS_OF_SCOPE: Shape = Shape(&[(1, Message(&SCOPE)), (2, Message(&METRIC))]);
static SPANS_OF_RESOURCE: Shape = Shape(&[(1, Message(&RESOURCE)), (2, Message(&SPANS_OF_SCOPE))]);
static LOGS_OF_RESOURCE: Shape = Shape(&[(1, Message(&RESOURCE)), (2, Message(&LOGS_OF_SCOPE))]);
static METRICS_OF_RESOURCE: Shape = Shape(&[(1, Message(&RESOURCE)), (2, Message(&METRICS_OF_SCOPE))]);
static TRACES: Shape = Shape(&[(1, Message(&SPANS_OF_RESOURCE))]);
static LOGS: Shape = Shape(&[(1, Message(&LOGS_OF_RESOURCE))]);
static METRICS: Shape = Shape(&[(1, Message(&METRICS_OF_RESOURCE))]);

impl Redaction {
    /// `None` when there is nothing to hide.
    pub fn new(presets: &[RedactPreset], patterns: &[Pattern], attributes: &[String]) -> Option<Self> {
        let redactor = Redactor::new(presets, patterns);
        let attribute_literals = (!attributes.is_empty())
            .then(|| AhoCorasick::new(attributes).expect("the keys of a configuration file fit"));
        (redactor.is_some() || attribute_literals.is_some()).then(|| Self {
            redactor,
            attributes: attributes.iter().cloned().collect(),
            attribute_literals,
        })
    }

    /// The uncompressed request with its secrets replaced; `None` when it has none.
    pub fn request(&self, signal: Signal, request: &[u8]) -> Option<Redacted> {
        if !self.may_match(request) {
            return None;
        }
        let shape = match signal {
            Signal::Traces => &TRACES,
            Signal::Logs => &LOGS,
            Signal::Metrics => &METRICS,
        };
        let mut walk = Walk { redaction: self, values: 0, depth: 0 };
        // One that is no message at all is refused as a whole.
        let request = walk.message(shape, request).ok()??;
        Some(Redacted { request, values: walk.values })
    }

    fn may_match(&self, bytes: &[u8]) -> bool {
        self.redactor.as_ref().is_some_and(|redactor| redactor.may_match(bytes))
            || self.attribute_literals.as_ref().is_some_and(|keys| keys.is_match(bytes))
    }

    /// What an attribute of this name is, if its name alone says that it is to be hidden.
    fn kind_of_key(&self, key: &str) -> Option<String> {
        if self.attributes.contains(key) {
            return Some("attribute".to_owned());
        }
        self.redactor.as_ref()?.kind_of_key(key)
    }
}

struct Malformed;

/// What a field becomes, by its number and content; `None` when it stays.
type Change<'a, W> = dyn FnMut(&mut W, u32, &[u8]) -> Option<Vec<u8>> + 'a;

struct Walk<'a> {
    redaction: &'a Redaction,
    values: u64,
    depth: usize,
}

impl Walk<'_> {
    /// The message anew; `None` when it stays as it is.
    fn message(&mut self, shape: &Shape, bytes: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        if self.depth == DEPTH_MAX {
            return Err(Malformed);
        }
        self.depth += 1;
        let result = self.fields(bytes, &mut |walk, number, content| match shape.part(number) {
            Part::Numbers => None,
            Part::Text => walk.text(content),
            _ if !walk.redaction.may_match(content) => None,
            Part::Message(shape) => walk.message(shape, content).unwrap_or_else(|_| walk.unreadable()),
            Part::Pair => walk.pair(content).unwrap_or_else(|_| walk.unreadable()),
        });
        self.depth -= 1;
        result
    }

    fn unreadable(&mut self) -> Option<Vec<u8>> {
        self.values += 1;
        Some(UNREADABLE.to_vec())
    }

    fn fields(&mut self, bytes: &[u8], change: &mut Change<'_, Self>) -> Result<Option<Vec<u8>>, Malformed> {
        let mut out: Option<Vec<u8>> = None;
        let mut copied = 0;
        let mut fields = Fields::new(bytes);
        loop {
            let start = fields.offset();
            let Some(field) = fields.next() else { break };
            let (number, value) = field.map_err(|_| Malformed)?;
            let Value::Bytes(content) = value else { continue };
            if let Some(new) = change(self, number, content) {
                let out = out.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
                out.extend_from_slice(&bytes[copied..start]);
                put_bytes(out, number, &new);
                copied = fields.offset();
            }
        }
        if let Some(out) = &mut out {
            out.extend_from_slice(&bytes[copied..]);
        }
        Ok(out)
    }

    fn text(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let redactor = self.redaction.redactor.as_ref()?;
        if bytes.is_empty() || !redactor.may_match(bytes) {
            return None;
        }
        let text = String::from_utf8_lossy(bytes);
        let hidden = redactor.redact(Cow::Borrowed(&*text));
        if *hidden == *text {
            return None;
        }
        self.values += 1;
        Some(hidden.into_owned().into_bytes())
    }

    /// A `KeyValue`: hidden as a whole when its key says so.
    fn pair(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let mut key = &[][..];
        for field in Fields::new(bytes) {
            match field.map_err(|_| Malformed)? {
                (1, value) => key = value.bytes(),
                _ => continue,
            }
        }
        let kind = self.redaction.kind_of_key(&String::from_utf8_lossy(key));
        self.fields(bytes, &mut |walk, number, content| match (number, &kind) {
            (1, _) => None,
            (2, Some(kind)) => {
                walk.values += 1;
                let mut value = Vec::new();
                put_bytes(&mut value, 1, mark(kind).as_bytes());
                Some(value)
            }
            (2, None) if !walk.redaction.may_match(content) => None,
            (2, None) => walk.message(&VALUE, content).unwrap_or_else(|_| walk.unreadable()),
            _ => walk.text(content),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TraceId;
    use crate::otlp::logs::{LogRecordParts, LogsWriter};
    use crate::otlp::{LogRecordView, attributes, count_items, resources};

    fn redaction() -> Redaction {
        let presets = [RedactPreset::Default, RedactPreset::Email, RedactPreset::Cards];
        let patterns = [Pattern::new(r"customer (\w+)").expect("a pattern")];
        Redaction::new(&presets, &patterns, &["user.name".to_owned()]).expect("something to hide")
    }

    fn only_presets() -> Redaction {
        Redaction::new(&[RedactPreset::Default, RedactPreset::Email], &[], &[]).expect("something to hide")
    }

    fn logs(bodies: &[&str], pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = LogsWriter::new([("service.name", "billing")]);
        for body in bodies {
            let trace_id = TraceId::from_bytes(&[0x40; 16]);
            let parts = LogRecordParts { body, trace_id, ..LogRecordParts::default() };
            writer.push(&parts, pairs.iter().copied());
        }
        writer.finish()
    }

    fn first(request: &[u8]) -> (String, Vec<(String, String)>, Option<TraceId>) {
        let resource = resources(request).expect("sound").next().expect("one").expect("sound");
        let scope = resource.scopes().next().expect("one").expect("sound");
        let record = LogRecordView::parse(scope.items().next().expect("one")).expect("sound");
        let body = record.body.as_str().unwrap_or_default().to_owned();
        let pairs = attributes(record.attributes);
        let pairs = pairs.map(|pair| (pair.key.to_owned(), pair.value.as_str().unwrap_or("").to_owned()));
        (body, pairs.collect(), record.trace_id)
    }

    #[test]
    fn secrets_in_bodies_and_attributes_are_replaced_and_the_rest_is_as_it_was() {
        let pairs = [
            ("order_id", "ORD-1"),
            ("user.name", "ann"),
            ("db.password", "hunter 2"),
            ("mail", "to ann@shop.example"),
        ];
        let body = "card 4111 1111 1111 1111 of customer ann, Bearer abcdefghijklmnopqrstu";
        let request = logs(&[body, "nothing here"], &pairs);
        let redacted = redaction().request(Signal::Logs, &request).expect("there are secrets");
        assert_eq!(count_items(&redacted.request), 2);
        let (body, pairs, trace) = first(&redacted.request);
        assert_eq!(body, "card [redacted:card] of customer [redacted:custom], Bearer [redacted:token]");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            pairs,
            [
                pair("order_id", "ORD-1"),
                pair("user.name", "[redacted:attribute]"),
                pair("db.password", "[redacted:password]"),
                pair("mail", "to [redacted:email]"),
            ]
        );
        assert_eq!(trace, TraceId::from_bytes(&[0x40; 16]), "an id is not looked at, although `@` is in it");
        assert_eq!(redacted.values, 7, "the attributes of both records");
    }

    #[test]
    fn a_request_without_secrets_is_not_copied() {
        let request = logs(&["GET /cart 200", "took 12 ms"], &[("order_id", "ORD-1")]);
        assert!(only_presets().request(Signal::Logs, &request).is_none());
        assert!(Redaction::new(&[], &[], &[]).is_none());
    }

    #[test]
    fn of_a_record_that_cannot_be_read_nothing_is_kept() {
        use crate::wire::put_message;
        let mut request = Vec::new();
        put_message(&mut request, 1, |resource| {
            put_message(resource, 2, |scope| {
                put_bytes(scope, 2, b"\x2a\x7fpassword=hunter2");
                put_message(scope, 2, |_| {});
            });
        });
        let redacted = only_presets().request(Signal::Logs, &request).expect("something to hide");
        assert!(!redacted.request.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(count_items(&redacted.request), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic_and_what_was_hidden_stays_hidden(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            body in "[a-z@. =0-9]{0,40}",
        ) {
            let redaction = redaction();
            for signal in Signal::ALL {
                redaction.request(signal, &bytes);
            }
            let request = logs(&[&body], &[("token", &body)]);
            if let Some(redacted) = redaction.request(Signal::Logs, &request) {
                prop_assert_eq!(count_items(&redacted.request), 1);
                let again = redaction.request(Signal::Logs, &redacted.request);
                let again = again.map_or(redacted.request.clone(), |again| again.request);
                prop_assert_eq!(again, redacted.request);
            }
        }
    }
}
