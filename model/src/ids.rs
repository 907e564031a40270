//! Id kinds: what counts as an identifier of a request, where it is found, and whether it joins.
//!
//! Owns: the rules (`ids.yaml`), their compilation, and finding ids in one record. Does not own: the
//! storage of what is found, the identity graph built from it.
//!
//! Invariant: rules run once, at ingest, on spans and log records alike. Matching is linear in the
//! record's bytes; what one record can yield is bounded by [`TERMS_MAX`] and [`VALUE_BYTES_MAX`].

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use regex_automata::meta::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::TraceId;
use crate::otlp::AnyValue;

/// The kind of W3C trace ids; always known, never configured.
pub const TRACE_ID: &str = "trace_id";
/// The kind of a Kafka record's coordinates, `topic/partition@offset`.
pub const KAFKA_RECORD: &str = "kafka_record";
/// Terms one record can yield; further ones are dropped.
pub const TERMS_MAX: usize = 64;
/// Longer values are no identifiers.
pub const VALUE_BYTES_MAX: usize = 256;

const DEFAULTS: &str = include_str!("ids.yaml");

/// One identifier of a known kind. Text form `kind=value`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdTerm {
    /// The id kind, for example `order_id`.
    pub kind: String,
    /// The identifier itself.
    pub value: String,
}

impl IdTerm {
    /// A term of `kind`.
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        Self { kind: kind.into(), value: value.into() }
    }

    /// The term of a trace.
    pub fn trace(id: TraceId) -> Self {
        Self::new(TRACE_ID, id.to_string())
    }

    /// The trace this term names, if it names one.
    pub fn trace_id(&self) -> Option<TraceId> {
        (self.kind == TRACE_ID).then(|| TraceId::from_hex(&self.value)).flatten()
    }
}

impl fmt::Display for IdTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.value)
    }
}

impl FromStr for IdTerm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() => Ok(Self::new(kind, value)),
            _ => Err(format!("`{text}` is no id term: write kind=value, as in order_id=ORD-4711")),
        }
    }
}

impl Serialize for IdTerm {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IdTerm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One id kind as written in `ids.yaml`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdKind {
    /// Name of the kind, `[a-z][a-z0-9_]*`.
    pub kind: String,
    /// Where its values stand: `attr:KEY`, `kv:KEY` (`KEY=value` in a body), `re:PATTERN` with one
    /// capture (bodies), `template:{KEY}…{KEY}` (several attributes of one record).
    pub sources: Vec<String>,
    /// Whether two records that share a value belong together. A kind that does not join can be
    /// searched for, but no journey grows through it.
    #[serde(default = "yes")]
    pub joins: bool,
    /// A value that hangs on more traces than this is shown and not followed.
    #[serde(default = "fanout_default")]
    pub max_fanout: usize,
}

fn yes() -> bool {
    true
}

fn fanout_default() -> usize {
    50
}

/// Why an `ids.yaml` cannot be used.
#[derive(Debug, Error)]
pub enum IdRulesError {
    /// The text is no YAML of the right shape; the message carries line and column.
    #[error("ids.yaml: {0}")]
    Syntax(String),
    /// A source that no rule understands.
    #[error("ids.yaml: kind `{kind}`: source `{source_text}`: {problem}")]
    Source {
        /// The kind the source stands under.
        kind: String,
        /// The source as written.
        source_text: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Two kinds of one name, or a name that is reserved or malformed.
    #[error("ids.yaml: kind `{kind}`: {problem}")]
    Kind {
        /// The kind's name.
        kind: String,
        /// What is wrong.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdsFile {
    kinds: Vec<IdKind>,
}

/// Compiled rules.
#[derive(Debug)]
pub struct IdRules {
    kinds: Vec<IdKind>,
    attributes: HashMap<String, Vec<Target>>,
    body_keys: HashMap<String, Vec<usize>>,
    patterns: Vec<(usize, Regex)>,
    templates: Vec<Template>,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Kind(usize),
    Slot { template: usize, slot: usize },
}

#[derive(Debug)]
struct Template {
    kind: usize,
    /// Text before each slot; the last entry is the text after the last slot.
    text: Vec<String>,
}

impl Default for IdRules {
    fn default() -> Self {
        Self::parse(DEFAULTS).expect("the built-in ids.yaml is tested")
    }
}

impl IdRules {
    /// The text of the built-in rules, to start a file of one's own from.
    pub const fn default_text() -> &'static str {
        DEFAULTS
    }

    /// Compiles the text of an `ids.yaml`.
    ///
    /// # Errors
    /// Unknown keys, sources and malformed patterns, each with its place.
    pub fn parse(text: &str) -> Result<Self, IdRulesError> {
        let file: IdsFile =
            serde_saphyr::from_str(text).map_err(|error| IdRulesError::Syntax(error.to_string()))?;
        let mut rules = Self {
            kinds: file.kinds,
            attributes: HashMap::new(),
            body_keys: HashMap::new(),
            patterns: Vec::new(),
            templates: Vec::new(),
        };
        for at in 0..rules.kinds.len() {
            rules.check_name(at)?;
            for source in rules.kinds[at].sources.clone() {
                rules.add_source(at, &source).map_err(|problem| IdRulesError::Source {
                    kind: rules.kinds[at].kind.clone(),
                    source_text: source.clone(),
                    problem,
                })?;
            }
        }
        Ok(rules)
    }

    fn check_name(&self, at: usize) -> Result<(), IdRulesError> {
        let kind = &self.kinds[at].kind;
        let fail = |problem| Err(IdRulesError::Kind { kind: kind.clone(), problem });
        if kind == TRACE_ID {
            return fail("trace ids are always known and need no rule");
        }
        if !kind.starts_with(|c: char| c.is_ascii_lowercase())
            || !kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            return fail("a kind is named with a-z, 0-9 and _, beginning with a letter");
        }
        if self.kinds[..at].iter().any(|earlier| earlier.kind == *kind) {
            return fail("this kind is already defined above");
        }
        Ok(())
    }

    fn add_source(&mut self, kind: usize, source: &str) -> Result<(), String> {
        let (form, rest) = source.split_once(':').unwrap_or(("", source));
        match form {
            "attr" => self.attributes.entry(rest.to_owned()).or_default().push(Target::Kind(kind)),
            "kv" => self.body_keys.entry(rest.to_owned()).or_default().push(kind),
            "re" => {
                let config = Regex::config().nfa_size_limit(Some(1 << 20)).hybrid_cache_capacity(1 << 18);
                let regex = Regex::builder().configure(config).build(rest).map_err(|e| e.to_string())?;
                if regex.group_info().group_len(regex_automata::PatternID::ZERO) > 2 {
                    return Err("use at most one (capture)".to_owned());
                }
                self.patterns.push((kind, regex));
            }
            "template" => self.add_template(kind, rest)?,
            _ => return Err("begin with attr:, kv:, re: or template:".to_owned()),
        }
        Ok(())
    }

    fn add_template(&mut self, kind: usize, pattern: &str) -> Result<(), String> {
        let template = self.templates.len();
        let mut text = Vec::new();
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once('{') {
            let (key, after) = after.split_once('}').ok_or("a { without its }")?;
            let slot = Target::Slot { template, slot: text.len() };
            self.attributes.entry(key.to_owned()).or_default().push(slot);
            text.push(before.to_owned());
            rest = after;
        }
        if text.is_empty() || text.len() > SLOTS_MAX {
            return Err(format!("name one to {SLOTS_MAX} attributes as {{key}}"));
        }
        text.push(rest.to_owned());
        self.templates.push(Template { kind, text });
        Ok(())
    }

    /// All configured kinds.
    pub fn kinds(&self) -> &[IdKind] {
        &self.kinds
    }

    /// The rule of a kind; `None` for [`TRACE_ID`] and unknown kinds.
    pub fn kind(&self, name: &str) -> Option<&IdKind> {
        self.kinds.iter().find(|kind| kind.kind == name)
    }

    /// Every term that `text` can mean: `kind=value` means itself, 32 hex digits mean a trace, and
    /// bare text is tried as a value of every kind.
    pub fn candidates(&self, text: &str) -> Vec<IdTerm> {
        let text = text.trim();
        if let Ok(term) = text.parse::<IdTerm>()
            && (term.kind == TRACE_ID || self.kind(&term.kind).is_some())
        {
            return vec![term];
        }
        let trace = TraceId::from_hex(text).map(IdTerm::trace);
        let kinds = self.kinds.iter().map(|kind| IdTerm::new(&kind.kind, text));
        trace.into_iter().chain(kinds).collect()
    }

    /// Looks at one attribute of a record, its resource, an event or a link.
    pub fn on_attribute(&self, key: &str, value: &AnyValue<'_>, found: &mut IdTerms) {
        let Some(targets) = self.attributes.get(key) else { return };
        let mut text = std::mem::take(&mut found.scratch);
        text.clear();
        value.push_text(&mut text);
        for target in targets {
            match *target {
                Target::Kind(kind) => found.push(&self.kinds[kind].kind, &text),
                Target::Slot { template, slot } => found.fill(template, slot, text.trim()),
            }
        }
        found.scratch = text;
    }

    /// Looks at the text of a log body.
    pub fn on_body(&self, body: &str, found: &mut IdTerms) {
        if !self.body_keys.is_empty() {
            self.scan_keys(body, found);
        }
        for (kind, regex) in &self.patterns {
            let has_group = regex.group_info().group_len(regex_automata::PatternID::ZERO) == 2;
            if has_group {
                for captures in regex.captures_iter(body) {
                    if let Some(span) = captures.get_group(1) {
                        found.push(&self.kinds[*kind].kind, &body[span.range()]);
                    }
                }
            } else {
                for span in regex.find_iter(body) {
                    found.push(&self.kinds[*kind].kind, &body[span.range()]);
                }
            }
        }
    }

    fn scan_keys(&self, body: &str, found: &mut IdTerms) {
        let bytes = body.as_bytes();
        for at in memchr::memchr_iter(b'=', bytes) {
            let is_key = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            let key_len = bytes[..at].iter().rev().take_while(|b| is_key(b)).take(64).count();
            let Some(kinds) = self.body_keys.get(&body[at - key_len..at]) else { continue };
            let rest = &body[at + 1..];
            let value = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or_default(),
                None => {
                    let end = rest
                        .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | ']' | '}' | '"'));
                    &rest[..end.unwrap_or(rest.len())]
                }
            };
            for kind in kinds {
                found.push(&self.kinds[*kind].kind, value);
            }
        }
    }

    /// Completes a record: templates whose attributes were all seen become terms.
    pub fn finish(&self, found: &mut IdTerms) {
        for (at, template) in self.templates.iter().enumerate() {
            let slots = template.text.len() - 1;
            let Some(values) = found.slots.get(at).filter(|values| values.len() == slots) else { continue };
            if values.iter().any(String::is_empty) {
                continue;
            }
            let mut text = String::new();
            for (before, value) in template.text.iter().zip(values) {
                text.push_str(before);
                text.push_str(value);
            }
            text.push_str(&template.text[slots]);
            found.push(&self.kinds[template.kind].kind, &text);
        }
    }
}

const SLOTS_MAX: usize = 8;

/// The terms found in one record. Kept and cleared between records, so that it allocates rarely.
#[derive(Debug, Default)]
pub struct IdTerms {
    text: String,
    ends: Vec<usize>,
    slots: Vec<Vec<String>>,
    scratch: String,
}

impl IdTerms {
    /// Forgets everything, for the next record.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.slots.iter_mut().flatten().for_each(String::clear);
    }

    /// Adds `kind=value` unless it is there already, empty, too long, or one too many.
    pub fn push(&mut self, kind: &str, value: &str) {
        let value = value.trim();
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || self.ends.len() >= TERMS_MAX {
            return;
        }
        let start = self.text.len();
        self.text.push_str(kind);
        self.text.push('=');
        self.text.push_str(value);
        let is_known = self.iter().any(|known| known == &self.text[start..]);
        if is_known {
            self.text.truncate(start);
        } else {
            self.ends.push(self.text.len());
        }
    }

    fn fill(&mut self, template: usize, slot: usize, value: &str) {
        if self.slots.len() <= template {
            self.slots.resize_with(template + 1, Vec::new);
        }
        let values = &mut self.slots[template];
        if values.len() <= slot {
            values.resize_with(slot + 1, String::new);
        }
        values[slot].clear();
        values[slot].push_str(value);
    }

    /// The terms as `kind=value`, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().scan(0, |start, end| {
            let term = &self.text[*start..*end];
            *start = *end;
            Some(term)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rules: &IdRules, attributes: &[(&str, &str)], body: &str) -> Vec<String> {
        let mut terms = IdTerms::default();
        for (key, value) in attributes {
            rules.on_attribute(key, &AnyValue::Str(value), &mut terms);
        }
        rules.on_body(body, &mut terms);
        rules.finish(&mut terms);
        terms.iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_built_in_rules_find_correlation_ids_and_order_ids() {
        let rules = IdRules::default();
        let attributes = [("correlation_id", " c-1 "), ("order.id", "ORD-4711")];
        assert_eq!(found(&rules, &attributes, ""), ["correlation_id=c-1", "order_id=ORD-4711"]);
    }

    #[test]
    fn keys_in_a_body_are_found_with_and_without_quotes() {
        let rules = IdRules::default();
        let body = "retry order_id=ORD-1, correlation_id=\"c 2\" other=3";
        assert_eq!(found(&rules, &[], body), ["order_id=ORD-1", "correlation_id=c 2"]);
    }

    #[test]
    fn a_template_needs_every_attribute_of_one_record() {
        let rules = IdRules::default();
        let topic = ("messaging.destination.name", "orders");
        let partition = ("messaging.destination.partition.id", "3");
        let offset = ("messaging.kafka.offset", "88121");
        assert_eq!(found(&rules, &[topic, partition, offset], ""), ["kafka_record=orders/3@88121"]);

        let mut terms = IdTerms::default();
        rules.on_attribute(topic.0, &AnyValue::Str(topic.1), &mut terms);
        terms.clear();
        rules.on_attribute(partition.0, &AnyValue::Str("3"), &mut terms);
        rules.on_attribute(offset.0, &AnyValue::Int(88121), &mut terms);
        rules.finish(&mut terms);
        assert_eq!(terms.iter().count(), 0, "the topic of the record before must not leak in");
    }

    #[test]
    fn a_pattern_takes_its_capture_and_a_value_is_kept_once() {
        let rules =
            IdRules::parse("kinds: [{kind: order_id, sources: ['re:order (ORD-[0-9]+)']}]").expect("valid");
        assert_eq!(found(&rules, &[], "order ORD-7 again order ORD-7"), ["order_id=ORD-7"]);
    }

    #[test]
    fn mistakes_in_the_file_are_named_with_what_would_be_right() {
        for (text, part) in [
            ("kinds: [{kind: a, sources: ['header:x']}]", "begin with attr:"),
            ("kinds: [{kind: trace_id, sources: []}]", "always known"),
            ("kinds: [{kind: a, sources: []}, {kind: a, sources: []}]", "already defined"),
            ("kinds: [{kind: a, source: []}]", "source"),
            ("kinds: [{kind: a, sources: ['re:(a)(b)']}]", "one (capture)"),
        ] {
            let error = IdRules::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn bare_text_is_tried_as_every_kind_and_hex_as_a_trace_too() {
        let rules = IdRules::default();
        let trace = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(rules.candidates(trace)[0], IdTerm::new(TRACE_ID, trace));
        assert_eq!(rules.candidates("order_id=ORD-1"), [IdTerm::new("order_id", "ORD-1")]);
        assert_eq!(rules.candidates("ORD-1").len(), rules.kinds().len());
    }
}
