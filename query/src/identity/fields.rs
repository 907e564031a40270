//! In which field of a record an id stands: the rules are run over the record again.
//!
//! What is stored of a record is what it was found in, but for attributes of scopes and links. An id that is
//! not found again has no field: it stood there, or the rules have changed since.

use std::collections::HashMap;

use model::IdRules;
use model::ids::{IdTerms, Place};
use model::otlp::AnyValue;

use crate::journey::records::{Attributes, LogRecord, SpanRecord};

/// Finds fields; kept between records.
pub(super) struct Fields<'a> {
    rules: &'a IdRules,
    terms: IdTerms,
    by_term: HashMap<String, usize>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(rules: &'a IdRules) -> Self {
        Self { rules, terms: IdTerms::default(), by_term: HashMap::new() }
    }

    pub(super) fn read_span(&mut self, span: &SpanRecord) {
        if span.ids.is_empty() {
            return;
        }
        self.terms.begin(Some(span.trace_id));
        self.look(Place::Resource, &span.resource);
        self.look(Place::Span, &span.attributes);
        span.events.iter().for_each(|event| self.look(Place::Event, &event.attributes));
        self.finish();
    }

    pub(super) fn read_log(&mut self, log: &LogRecord) {
        if log.ids.is_empty() {
            return;
        }
        self.terms.begin(log.trace_id);
        self.look(Place::Resource, &log.resource);
        self.look(Place::Log, &log.attributes);
        self.rules.on_body(&log.body, &mut self.terms);
        self.finish();
    }

    fn look(&mut self, place: Place, attributes: &Attributes) {
        for (key, value) in attributes {
            self.rules.on_attribute(place, key, &AnyValue::Str(value), &mut self.terms);
        }
    }

    fn finish(&mut self) {
        self.rules.finish(&mut self.terms);
        self.by_term.clear();
        self.by_term.extend(self.terms.with_sources().map(|(term, source)| (term.to_owned(), source)));
    }

    /// The source that finds `term` in the record that was read last; empty when none does.
    pub(super) fn of(&self, term: &str) -> &'a str {
        let source = self.by_term.get(term).and_then(|source| self.rules.sources().get(*source));
        source.map_or("", |source| source.text.as_str())
    }
}
