//! Compiled rules: finding the ids of one record.

use std::collections::HashMap;

use super::json_path::{JsonPaths, each_text};
use super::normalise::{Normalise, trace_hex};
use super::pattern::Pattern;
use super::source::{BODY_KEY_BYTES_MAX, EVERYWHERE, Place, RECORD, SLOTS_MAX, Source};
use super::{IdKind, IdTerm, IdTerms, LINK, TRACE_ID, glob};
use crate::otlp::AnyValue;
use crate::wire::Repeated;

/// Attributes that hold W3C Baggage as a list, `key=value,key=value;property`.
const BAGGAGE_LISTS: [&str; 3] = ["baggage", "http.request.header.baggage", "messaging.header.baggage"];
/// What stands before the name of a header in attribute keys (OpenTelemetry HTTP and RPC conventions).
const HEADER_PREFIXES: [&str; 8] = [
    "http.request.header.",
    "http.response.header.",
    "rpc.request.metadata.",
    "rpc.response.metadata.",
    "rpc.grpc.request.metadata.",
    "rpc.grpc.response.metadata.",
    "rpc.connect_rpc.request.metadata.",
    "rpc.connect_rpc.response.metadata.",
];
/// What stands before the name of a message's header.
const KAFKA_HEADER_PREFIXES: [&str; 2] = ["messaging.header.", "messaging.kafka.message.header."];
const KAFKA_KEY: &str = "messaging.kafka.message.key";
const KAFKA_TOPIC: &str = "messaging.destination.name";

/// One source of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdSource {
    /// The kind it stands under.
    pub kind: String,
    /// The source as written.
    pub text: String,
    /// The kind under which its values are recorded.
    recorded_as: String,
    steps: Vec<Normalise>,
}

/// Compiled rules.
#[derive(Debug)]
pub struct IdRules {
    kinds: Vec<IdKind>,
    sources: Vec<IdSource>,
    key_filter: KeyFilter,
    attributes: HashMap<String, Vec<Target>>,
    body_keys: HashMap<String, Vec<u16>>,
    json: JsonPaths,
    patterns: Vec<(u16, Pattern)>,
    templates: Vec<Template>,
    kafka_keys: Vec<(u16, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    places: u8,
    action: Action,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// The value is an id.
    Value(u16),
    /// The value of this source's key in a baggage list is an id.
    Baggage(u16),
    Slot {
        template: usize,
        slot: usize,
    },
    KafkaKey,
    KafkaTopic,
}

#[derive(Debug)]
struct Template {
    source: u16,
    /// Text before each slot; the last entry is the text after the last slot.
    text: Vec<String>,
}

/// Tells most keys that no rule wants from the rest without hashing their text.
#[derive(Debug, Default)]
struct KeyFilter([u64; 16]);

impl KeyFilter {
    fn place(key: &str) -> Option<(usize, u32)> {
        let (first, last) = (*key.as_bytes().first()?, *key.as_bytes().last()?);
        let hash = key.len().wrapping_mul(97) ^ usize::from(first).wrapping_mul(31) ^ usize::from(last) << 2;
        Some((hash / 64 % 16, (hash % 64) as u32))
    }

    fn add(&mut self, key: &str) {
        if let Some((word, bit)) = Self::place(key) {
            self.0[word] |= 1 << bit;
        }
    }

    fn may_hold(&self, key: &str) -> bool {
        Self::place(key).is_some_and(|(word, bit)| self.0[word] >> bit & 1 == 1)
    }
}

impl IdRules {
    /// Rules of kinds whose names and renames fit together; the error names the kind, the source and what
    /// is wrong with it.
    pub(super) fn compile(kinds: Vec<IdKind>) -> Result<Self, (usize, usize, String)> {
        let mut rules = Self {
            kinds,
            sources: Vec::new(),
            key_filter: KeyFilter::default(),
            attributes: HashMap::new(),
            body_keys: HashMap::new(),
            json: JsonPaths::default(),
            patterns: Vec::new(),
            templates: Vec::new(),
            kafka_keys: Vec::new(),
        };
        for at in 0..rules.kinds.len() {
            let (recorded_as, steps) = rules.resolve(at);
            for number in 0..rules.kinds[at].sources.len() {
                let text = rules.kinds[at].sources[number].clone();
                let source = u16::try_from(rules.sources.len()).unwrap_or(u16::MAX);
                rules.sources.push(IdSource {
                    kind: rules.kinds[at].kind.clone(),
                    text: text.clone(),
                    recorded_as: recorded_as.clone(),
                    steps: steps.clone(),
                });
                rules.add_source(source, &text).map_err(|problem| (at, number, problem))?;
            }
        }
        Ok(rules)
    }

    /// Under which kind values of a kind are recorded, and what is done to them before.
    fn resolve(&self, at: usize) -> (String, Vec<Normalise>) {
        let mut kind = &self.kinds[at];
        let mut steps = kind.normalise.clone();
        // Renames were checked to have no cycle; the bound is for kinds that nobody checked.
        for _ in 0..self.kinds.len() {
            let Some(target) = &kind.recorded_as else { break };
            let Some(next) = self.kind(target) else {
                return (target.clone(), with_trace_form(steps, target));
            };
            steps.extend(&next.normalise);
            kind = next;
        }
        (kind.kind.clone(), steps)
    }

    fn add_source(&mut self, source: u16, text: &str) -> Result<(), String> {
        let value = Action::Value(source);
        match Source::parse(text)? {
            Source::Attribute { places, key } => self.add_key(key.to_owned(), places, value),
            Source::Header(name) => self.add_headers(&HEADER_PREFIXES, name, source),
            Source::KafkaHeader(name) => self.add_headers(&KAFKA_HEADER_PREFIXES, name, source),
            Source::Baggage(key) => {
                self.add_key(format!("baggage.{key}"), EVERYWHERE, value);
                for list in BAGGAGE_LISTS {
                    self.add_key(list.to_owned(), EVERYWHERE, Action::Baggage(source));
                }
            }
            Source::KafkaKey { topics: None } => self.add_key(KAFKA_KEY.to_owned(), EVERYWHERE, value),
            Source::KafkaKey { topics: Some(topics) } => {
                if self.kafka_keys.is_empty() {
                    self.add_key(KAFKA_KEY.to_owned(), RECORD, Action::KafkaKey);
                    self.add_key(KAFKA_TOPIC.to_owned(), RECORD, Action::KafkaTopic);
                }
                self.kafka_keys.push((source, topics.to_owned()));
            }
            Source::BodyKey(key) => self.body_keys.entry(key.to_owned()).or_default().push(source),
            Source::Json(path) => self.json.add(source, path)?,
            Source::Pattern(pattern) => self.patterns.push((source, Pattern::new(pattern)?)),
            Source::Template(pattern) => self.add_template(source, pattern)?,
        }
        Ok(())
    }

    fn add_key(&mut self, key: String, places: u8, action: Action) {
        self.key_filter.add(&key);
        self.attributes.entry(key).or_default().push(Target { places, action });
    }

    /// Header names are written small, and by some instrumentations with `_` for `-`.
    fn add_headers(&mut self, prefixes: &[&str], name: &str, source: u16) {
        let small = name.to_ascii_lowercase();
        let mut names = vec![small.replace('-', "_"), small, name.to_owned()];
        names.sort();
        names.dedup();
        for prefix in prefixes {
            for name in &names {
                self.add_key(format!("{prefix}{name}"), EVERYWHERE, Action::Value(source));
            }
        }
    }

    fn add_template(&mut self, source: u16, pattern: &str) -> Result<(), String> {
        let template = self.templates.len();
        let mut text = Vec::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            let (key, after) = after.split_once('}').ok_or("a { without its }")?;
            if key.is_empty() {
                return Err("{} names no attribute".to_owned());
            }
            let slot = Action::Slot { template, slot: text.len() };
            self.add_key(key.to_owned(), EVERYWHERE, slot);
            text.push(before.to_owned());
            rest = after;
        }
        if text.is_empty() || text.len() > SLOTS_MAX {
            return Err(format!("name one to {SLOTS_MAX} attributes as {{key}}"));
        }
        text.push(rest.to_owned());
        self.templates.push(Template { source, text });
        Ok(())
    }

    /// All configured kinds.
    pub fn kinds(&self) -> &[IdKind] {
        &self.kinds
    }

    /// All sources of all kinds, in the order they are written.
    pub fn sources(&self) -> &[IdSource] {
        &self.sources
    }

    /// The rule of a kind; `None` for [`TRACE_ID`] and unknown kinds.
    pub fn kind(&self, name: &str) -> Option<&IdKind> {
        self.kinds.iter().find(|kind| kind.kind == name)
    }

    /// The rules with one source only, to see what it finds and costs on its own.
    pub fn only(&self, source: usize) -> Option<Self> {
        let source = self.sources.get(source)?;
        let mut kinds = self.kinds.clone();
        for kind in &mut kinds {
            let is_its_kind = kind.kind == source.kind;
            kind.sources = if is_its_kind { vec![source.text.clone()] } else { Vec::new() };
        }
        Self::compile(kinds).ok()
    }

    /// The term that `kind` and `value` mean: the kind under which values are recorded, and the value as it
    /// is recorded. `None` for unknown kinds and values that none can be.
    pub fn term(&self, kind: &str, value: &str) -> Option<IdTerm> {
        if kind == LINK {
            let term = IdTerm::new(LINK, value.to_ascii_lowercase());
            return term.link_target().map(|_| term);
        }
        let (kind, steps) = match self.kinds.iter().position(|known| known.kind == kind) {
            Some(at) => self.resolve(at),
            None if kind == TRACE_ID => (TRACE_ID.to_owned(), vec![Normalise::TraceId]),
            None => return None,
        };
        let mut value = value.trim().to_owned();
        let is_id = !value.is_empty() && steps.iter().all(|step| step.apply(&mut value));
        is_id.then(|| IdTerm::new(kind, value))
    }

    /// Every term that `text` can mean: `kind=value` means itself, a trace id in any form means a trace,
    /// and bare text is tried as a value of every kind.
    pub fn candidates(&self, text: &str) -> Vec<IdTerm> {
        let text = text.trim();
        if let Some(term) = text.split_once('=').and_then(|(kind, value)| self.term(kind, value)) {
            return vec![term];
        }
        let trace = trace_hex(text).map(|hex| IdTerm::new(TRACE_ID, hex));
        let kinds = self.kinds.iter().filter(|kind| kind.recorded_as.is_none());
        let terms = kinds.filter_map(|kind| self.term(&kind.kind, text));
        trace.into_iter().chain(terms).collect()
    }

    /// Looks at one attribute of a record, or of what stands around it.
    pub fn on_attribute(&self, place: Place, key: &str, value: &AnyValue<'_>, found: &mut IdTerms) {
        if !self.key_filter.may_hold(key) {
            return;
        }
        let Some(targets) = self.attributes.get(key) else { return };
        for target in targets.iter().filter(|target| target.places & place.bit() != 0) {
            self.each_value(value, found, &mut |text, found| match target.action {
                Action::Value(source) => self.push(source, text, found),
                Action::Baggage(source) => self.on_baggage(source, text, found),
                Action::Slot { template, slot } => found.fill(template, slot, text.trim()),
                Action::KafkaKey => replace(&mut found.kafka_key, text),
                Action::KafkaTopic => replace(&mut found.kafka_topic, text),
            });
        }
    }

    /// Calls `each` with every text of a value: an array has several, everything else one.
    fn each_value(
        &self,
        value: &AnyValue<'_>,
        found: &mut IdTerms,
        each: &mut dyn FnMut(&str, &mut IdTerms),
    ) {
        match value {
            // Attributes that come out of the store have arrays as their JSON text.
            AnyValue::Str(text) if text.starts_with("[\"") => {
                let mut scratch = std::mem::take(&mut found.scratch);
                each_text(text, &mut scratch, &mut |text| each(text, found));
                found.scratch = scratch;
            }
            AnyValue::Str(text) => each(text, found),
            AnyValue::Array(bytes) => {
                for item in Repeated::new(bytes, 1).iter() {
                    if let Ok(AnyValue::Str(text)) = AnyValue::parse(item) {
                        each(text, found);
                    }
                }
            }
            other => {
                let mut text = std::mem::take(&mut found.scratch);
                text.clear();
                other.push_text(&mut text);
                each(&text, found);
                found.scratch = text;
            }
        }
    }

    fn push(&self, source: u16, value: &str, found: &mut IdTerms) {
        let IdSource { recorded_as, steps, .. } = &self.sources[usize::from(source)];
        found.push(recorded_as, value, steps, source);
    }

    /// W3C Baggage: `key=value;property,key=value`, values percent-encoded.
    fn on_baggage(&self, source: u16, list: &str, found: &mut IdTerms) {
        let Some(wanted) = self.sources[usize::from(source)].text.strip_prefix("baggage:") else { return };
        for member in list.split(',') {
            let pair = member.split(';').next().unwrap_or_default();
            let Some((key, value)) = pair.split_once('=') else { continue };
            if key.trim() != wanted {
                continue;
            }
            if !value.contains('%') {
                self.push(source, value, found);
                continue;
            }
            let mut text = std::mem::take(&mut found.scratch);
            percent_decode(value.trim(), &mut text);
            self.push(source, &text, found);
            found.scratch = text;
        }
    }

    /// Looks at the text of a log body.
    pub fn on_body(&self, body: &str, found: &mut IdTerms) {
        if !self.body_keys.is_empty() {
            self.scan_keys(body, found);
        }
        let mut scratch = std::mem::take(&mut found.scratch);
        self.json.scan(body, &mut scratch, &mut |source, value| self.push(source, value, found));
        found.scratch = scratch;
        for (source, pattern) in &self.patterns {
            pattern.each(body, &mut |value| {
                self.push(*source, value, found);
                !found.is_full()
            });
        }
    }

    fn scan_keys(&self, body: &str, found: &mut IdTerms) {
        let bytes = body.as_bytes();
        for at in memchr::memchr_iter(b'=', bytes) {
            let is_key = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            let before = bytes[..at].iter().rev().take(BODY_KEY_BYTES_MAX + 1);
            let key_len = before.take_while(|b| is_key(b)).count();
            let Some(sources) = self.body_keys.get(&body[at - key_len..at]) else { continue };
            let rest = &body[at + 1..];
            let value = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or_default(),
                None => {
                    let end = rest
                        .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | ']' | '}' | '"'));
                    &rest[..end.unwrap_or(rest.len())]
                }
            };
            for source in sources {
                self.push(*source, value, found);
            }
        }
    }

    /// Completes a record: what needs several of its attributes is decided here.
    pub fn finish(&self, found: &mut IdTerms) {
        let mut text = std::mem::take(&mut found.scratch);
        for (at, template) in self.templates.iter().enumerate() {
            let slots = template.text.len() - 1;
            let Some(values) = found.slots.get(at).filter(|values| values.len() == slots) else { continue };
            if values.iter().any(String::is_empty) {
                continue;
            }
            text.clear();
            for (before, value) in template.text.iter().zip(values) {
                text.push_str(before);
                text.push_str(value);
            }
            text.push_str(&template.text[slots]);
            self.push(template.source, &text, found);
        }
        found.scratch = text;
        if !found.kafka_key.is_empty() && !self.kafka_keys.is_empty() {
            let key = std::mem::take(&mut found.kafka_key);
            for (source, topics) in &self.kafka_keys {
                if glob::is_match(topics, &found.kafka_topic) {
                    self.push(*source, &key, found);
                }
            }
            found.kafka_key = key;
        }
    }
}

/// Whatever is recorded as a trace id is one.
fn with_trace_form(mut steps: Vec<Normalise>, kind: &str) -> Vec<Normalise> {
    if kind == TRACE_ID {
        steps.push(Normalise::TraceId);
    }
    steps
}

fn replace(text: &mut String, with: &str) {
    text.clear();
    text.push_str(with.trim());
}

/// Writes what `%XX` stand for; the first one that is malformed or no UTF-8 keeps the text as it is.
fn percent_decode(value: &str, out: &mut String) {
    out.clear();
    let mut bytes = value.bytes();
    let mut decoded = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let Some((high, low)) = digit(bytes.next()).zip(digit(bytes.next())) else {
            return out.push_str(value);
        };
        decoded.push((high << 4 | low) as u8);
    }
    out.push_str(std::str::from_utf8(&decoded).unwrap_or(value));
}
