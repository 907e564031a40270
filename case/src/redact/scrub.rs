//! Finding the values that rules name, and replacing them wherever they stand.
//!
//! Both walk the JSON of a part: objects under the keys of [`MAPS`] are maps that data fills, so that their
//! keys are text like their values; all other objects are ours. Times, ids of traces and spans, numbers and
//! words of closed sets ([`FIXED`]) are no text: they stay, but for an id that is a redacted value as a whole.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use serde_json::Value;

use super::pseudonym::Key;
use super::rules::Rules;

/// Objects whose keys come from data.
const MAPS: [&str; 6] = ["attributes", "resource", "labels", "annotations", "metric", "clock_offsets"];
/// Texts of our own that are read back: times, closed sets, samples.
const FIXED: [&str; 30] = [
    "kind",
    "status",
    "class",
    "certainty",
    "state",
    "health",
    "lang",
    "signal",
    "resultType",
    "start_time",
    "time",
    "first_time",
    "last_time",
    "from",
    "to",
    "made_at",
    "last_seen",
    "last_evaluation",
    "active_at",
    "fired_at",
    "produced_at",
    "seen_at",
    "trace_id",
    "span_id",
    "parent_span_id",
    "value",
    "values",
    "type",
    "unit",
    "marks",
];
/// Where an id stands as `kind=value`.
const TERMS: [&str; 7] = ["matched", "ids", "searched", "term", "text", "id", "example"];
/// Shorter values are looked for as whole words: inside of words they mean nothing.
const LONG_BYTES_MIN: usize = 6;
/// Characters of a trace id that stand for it in texts.
const SHORT_ID: usize = 8;

/// The values that rules name, each with the first rule that did.
pub(super) struct Finder<'a> {
    rules: &'a Rules,
    found: BTreeMap<String, String>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(rules: &'a Rules) -> Self {
        Self { rules, found: BTreeMap::new() }
    }

    pub(super) fn into_found(self) -> BTreeMap<String, String> {
        self.found
    }

    /// Looks through a part.
    pub(super) fn look(&mut self, value: &Value) {
        self.walk("", value, false);
    }

    fn walk(&mut self, key: &str, value: &Value, in_map: bool) {
        match value {
            Value::String(text) => self.text(key, text, in_map),
            Value::Array(items) => items.iter().for_each(|item| self.walk(key, item, in_map)),
            Value::Object(fields) => {
                let is_map = MAPS.contains(&key);
                for (key, value) in fields {
                    if is_map {
                        self.patterns(key);
                    }
                    self.walk(key, value, is_map);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, key: &str, text: &str, in_map: bool) {
        if in_map && let Some(rule) = self.rules.attribute(key) {
            let rule = format!("attribute {rule}");
            self.add(text, &rule);
            self.add_inner(text, &rule);
        }
        if !in_map
            && TERMS.contains(&key)
            && let Some((kind, value)) = text.split_once('=')
            && self.rules.is_redacted_kind(kind)
        {
            self.add(value, &format!("id kind {kind}"));
        }
        if in_map || !FIXED.contains(&key) {
            self.patterns(text);
        }
    }

    fn patterns(&mut self, text: &str) {
        let rules = self.rules;
        for (name, pattern) in &rules.patterns {
            pattern.each(text, &mut |value| self.add(value, &format!("pattern {name}")));
        }
    }

    fn add(&mut self, value: &str, rule: &str) {
        let value = value.trim();
        if !value.is_empty() {
            self.found.entry(value.to_ascii_lowercase()).or_insert_with(|| rule.to_owned());
        }
    }

    /// What a value is made of: the items of an array, the values of a cookie.
    fn add_inner(&mut self, text: &str, rule: &str) {
        if let Ok(items) = serde_json::from_str::<Vec<String>>(text) {
            items.iter().for_each(|item| self.add(item, rule));
        }
        for part in text.split([';', ',', '&', ' ']) {
            if let Some((_, value)) = part.split_once('=')
                && value.len() >= LONG_BYTES_MIN
            {
                self.add(value, rule);
            }
        }
    }
}

/// Replaces values by pseudonyms.
pub(super) struct Scrubber<'a> {
    rules: &'a Rules,
    key: &'a Key,
    /// By value, small: its pseudonym and the rule.
    known: BTreeMap<String, (String, String)>,
    /// Finds the forms of long values.
    long: Option<AhoCorasick>,
    /// By form: pseudonym and rule.
    forms: Vec<(String, String)>,
    /// Values that are looked for as whole words.
    short: BTreeSet<String>,
}

impl<'a> Scrubber<'a> {
    pub(super) fn new(rules: &'a Rules, found: BTreeMap<String, String>, key: &'a Key) -> Self {
        let mut known = BTreeMap::new();
        let (mut needles, mut forms, mut short) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (value, rule) in found {
            let pseudonym = key.pseudonym(&value);
            if value.len() >= LONG_BYTES_MIN {
                for form in written_forms(&value) {
                    needles.push(form);
                    forms.push((pseudonym.clone(), rule.clone()));
                }
            } else {
                short.insert(value.clone());
            }
            if value.len() == 32 && pseudonym.len() == 32 {
                // Texts name a trace by the beginning of its id.
                short.insert(value[..SHORT_ID].to_owned());
                known.insert(value[..SHORT_ID].to_owned(), (pseudonym[..SHORT_ID].to_owned(), rule.clone()));
            }
            known.insert(value, (pseudonym, rule));
        }
        let mut builder = AhoCorasickBuilder::new();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::LeftmostLongest);
        let long = if needles.is_empty() { None } else { builder.build(&needles).ok() };
        assert!(long.is_some() || needles.is_empty(), "values are bounded by the size of a case");
        Self { rules, key, known, long, forms, short }
    }

    /// Different values that are replaced.
    pub(super) fn values(&self) -> usize {
        self.known.len()
    }

    /// The rules that found some, each with how many values.
    pub(super) fn rules(&self) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, rule) in self.known.values() {
            *counts.entry(rule).or_default() += 1;
        }
        counts.into_iter().map(|(rule, count)| format!("{rule}: {count}")).collect()
    }

    /// Replaces everything in a part.
    pub(super) fn scrub(&self, value: &mut Value) {
        self.walk("", value, false);
    }

    fn walk(&self, key: &str, value: &mut Value, in_map: bool) {
        match value {
            Value::String(text) => *text = self.replaced(key, text, in_map),
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(key, item, in_map)),
            Value::Object(fields) => {
                if MAPS.contains(&key) {
                    let mut scrubbed = serde_json::Map::new();
                    for (key, mut value) in std::mem::take(fields) {
                        self.walk(&key, &mut value, true);
                        scrubbed.insert(self.text(&key), value);
                    }
                    *fields = scrubbed;
                } else {
                    fields.iter_mut().for_each(|(key, value)| self.walk(key, value, false));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn replaced(&self, key: &str, text: &str, in_map: bool) -> String {
        if in_map && self.rules.attribute(key).is_some() && !text.trim().is_empty() {
            return self.key.pseudonym(text.trim());
        }
        let small = text.trim().to_ascii_lowercase();
        if let Some((pseudonym, _)) = self.known.get(&small) {
            let is_id = ["trace_id", "span_id", "parent_span_id"].contains(&key);
            if in_map || is_id || !FIXED.contains(&key) {
                return pseudonym.clone();
            }
        }
        if !in_map && FIXED.contains(&key) { text.to_owned() } else { self.text(text) }
    }

    /// A text without the values.
    fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for found in self.long.iter().flat_map(|long| long.find_iter(text)) {
            self.push_words(&text[from..found.start()], &mut out);
            out.push_str(&self.forms[found.pattern().as_usize()].0);
            from = found.end();
        }
        self.push_words(&text[from..], &mut out);
        out
    }

    /// Copies text, short values that are whole words replaced.
    fn push_words(&self, text: &str, out: &mut String) {
        if self.short.is_empty() {
            out.push_str(text);
            return;
        }
        for word in text.split_inclusive(|c: char| !is_word(c)) {
            let end =
                word.len() - word.chars().next_back().filter(|c| !is_word(*c)).map_or(0, char::len_utf8);
            let (word, after) = word.split_at(end);
            let small = word.to_ascii_lowercase();
            match self.known.get(&small).filter(|_| self.short.contains(&small)) {
                Some((pseudonym, _)) => out.push_str(pseudonym),
                None => out.push_str(word),
            }
            out.push_str(after);
        }
    }

    /// The rule of a value that still stands in a part.
    pub(super) fn left(&self, value: &Value) -> Option<String> {
        self.left_in("", value, false)
    }

    fn left_in(&self, key: &str, value: &Value, in_map: bool) -> Option<String> {
        match value {
            Value::String(text) if in_map || !FIXED.contains(&key) => self.left_in_text(text),
            Value::Array(items) => items.iter().find_map(|item| self.left_in(key, item, in_map)),
            Value::Object(fields) => {
                let is_map = MAPS.contains(&key);
                fields.iter().find_map(|(key, value)| {
                    let of_key = if is_map { self.left_in_text(key) } else { None };
                    of_key.or_else(|| self.left_in(key, value, is_map))
                })
            }
            _ => None,
        }
    }

    fn left_in_text(&self, text: &str) -> Option<String> {
        let found = self.long.as_ref()?.find(text)?;
        Some(self.forms[found.pattern().as_usize()].1.clone())
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The ways a value is written in texts: as it is, percent-encoded, escaped as in JSON.
fn written_forms(value: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([value.to_owned()]);
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            model::id::push_hex(&[byte], &mut encoded);
        }
    }
    forms.insert(encoded.replace("%20", "+"));
    forms.insert(encoded);
    if let Ok(escaped) = serde_json::to_string(value) {
        forms.insert(escaped.trim_matches('"').to_owned());
    }
    forms
}
