//! In which field of a record an id stands: the rules are run over the record again.
//!
//! What is stored of a record is what it was found in, but for attributes of scopes and links. An id that is
//! not found again has no field: it stood there, or the rules have changed since. Where it stands in several
//! fields the surest one is told: attributes and headers, then the body, then baggage.

use std::collections::HashMap;

use model::IdRules;
use model::ids::{IdTerms, Place};
use model::otlp::AnyValue;
use query_api::Attributes;

use crate::journey::records::{LogRecord, SpanRecord};

/// Finds fields; kept between records.
pub(crate) struct Fields<'a> {
    rules: &'a IdRules,
    terms: IdTerms,
    by_term: HashMap<String, usize>,
    /// By the kind under which values are recorded: the attributes that hold them as they are, each with its source.
    plain: HashMap<&'a str, Vec<(&'a str, &'a str)>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(rules: &'a IdRules) -> Self {
        let mut plain: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
        for source in rules.sources() {
            if let Some(key) = source.text.strip_prefix("attr:") {
                plain.entry(recorded_as(rules, &source.kind)).or_default().push((key, &source.text));
            }
        }
        Self { rules, terms: IdTerms::default(), by_term: HashMap::new(), plain }
    }

    /// The source of an id that stands as it is in an attribute of the record: most do, and to look there costs
    /// a fraction of running the rules.
    pub(crate) fn plain(&self, attributes: &Attributes, term: &str) -> Option<&'a str> {
        let (kind, value) = term.split_once('=')?;
        let holds = |(key, _): &&(&str, &str)| attributes.text(key) == Some(value);
        self.plain.get(kind)?.iter().find(holds).map(|(_, source)| *source)
    }

    pub(crate) fn read_span(&mut self, span: &SpanRecord) {
        if span.ids.is_empty() {
            return;
        }
        self.terms.begin(Some(span.trace_id));
        for is_baggage in [false, true] {
            self.look(Place::Resource, &span.resource, is_baggage);
            self.look(Place::Span, &span.attributes, is_baggage);
            span.events.iter().for_each(|event| self.look(Place::Event, &event.attributes, is_baggage));
        }
        self.finish();
    }

    pub(crate) fn read_log(&mut self, log: &LogRecord) {
        if log.ids.is_empty() {
            return;
        }
        self.terms.begin(log.trace_id);
        self.look(Place::Resource, &log.resource, false);
        self.look(Place::Log, &log.attributes, false);
        self.rules.on_body(&log.body, &mut self.terms);
        self.look(Place::Resource, &log.resource, true);
        self.look(Place::Log, &log.attributes, true);
        self.finish();
    }

    fn look(&mut self, place: Place, attributes: &Attributes, is_baggage: bool) {
        for (key, value) in attributes.iter().filter(|(key, _)| names_baggage(key) == is_baggage) {
            self.rules.on_attribute(place, key, &AnyValue::Str(value), &mut self.terms);
        }
    }

    fn finish(&mut self) {
        self.rules.finish(&mut self.terms);
        self.by_term.clear();
        self.by_term.extend(self.terms.with_sources().map(|(term, source)| (term.to_owned(), source)));
    }

    /// The source that finds `term` in the record that was read last; empty when none does.
    pub(crate) fn of(&self, term: &str) -> &'a str {
        let source = self.by_term.get(term).and_then(|source| self.rules.sources().get(*source));
        source.map_or("", |source| source.text.as_str())
    }
}

/// The kind under which values of `kind` are recorded.
fn recorded_as<'a>(rules: &'a IdRules, kind: &'a str) -> &'a str {
    let mut recorded = kind;
    // Renames have no cycle; the bound is for rules that nobody checked.
    for _ in rules.kinds() {
        match rules.kind(recorded).and_then(|kind| kind.recorded_as.as_deref()) {
            Some(next) => recorded = next,
            None => break,
        }
    }
    recorded
}

/// Whether an attribute holds baggage: one entry (`baggage.order.id`) or the list of a header.
fn names_baggage(key: &str) -> bool {
    key == "baggage" || key.starts_with("baggage.") || key.ends_with(".baggage")
}
