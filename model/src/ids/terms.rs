//! The terms found in one record.

use crate::TraceId;

use super::{Normalise, TERMS_MAX, TRACE_ID, VALUE_BYTES_MAX};

/// The terms found in one record. Kept and begun anew with each record, so that a record allocates
/// nothing once the buffers are large enough.
#[derive(Debug, Default)]
pub struct IdTerms {
    text: String,
    ends: Vec<usize>,
    sources: Vec<u16>,
    own_trace: Option<TraceId>,
    pub(super) slots: Vec<Vec<String>>,
    pub(super) kafka_key: String,
    pub(super) kafka_topic: String,
    /// For texts of values that are none in the record.
    pub(super) scratch: String,
    value: String,
}

impl IdTerms {
    /// Forgets everything, for the next record. The trace that the record belongs to is no id to be found
    /// in it.
    pub fn begin(&mut self, own_trace: Option<TraceId>) {
        self.text.clear();
        self.ends.clear();
        self.sources.clear();
        self.own_trace = own_trace;
        self.slots.iter_mut().flatten().for_each(String::clear);
        self.kafka_key.clear();
        self.kafka_topic.clear();
    }

    /// Whether nothing was found since [`IdTerms::begin`], no term and no part of one.
    pub fn is_untouched(&self) -> bool {
        self.ends.is_empty()
            && self.slots.iter().flatten().all(String::is_empty)
            && self.kafka_key.is_empty()
            && self.kafka_topic.is_empty()
    }

    /// Whether no further term is taken.
    pub(super) fn is_full(&self) -> bool {
        self.ends.len() >= TERMS_MAX
    }

    /// Adds `kind=value` unless it is there already, empty, too long, the record's own trace, or one too
    /// many.
    pub(super) fn push(&mut self, kind: &str, value: &str, steps: &[Normalise], source: u16) {
        let value = value.trim();
        if value.is_empty() || value.len() > VALUE_BYTES_MAX || self.is_full() {
            return;
        }
        let mut text = std::mem::take(&mut self.value);
        text.clear();
        text.push_str(value);
        if steps.iter().all(|step| step.apply(&mut text)) && !self.is_own(kind, &text) {
            self.add(kind, &text, source);
        }
        self.value = text;
    }

    fn is_own(&self, kind: &str, value: &str) -> bool {
        self.own_trace.is_some() && kind == TRACE_ID && TraceId::from_hex(value) == self.own_trace
    }

    fn add(&mut self, kind: &str, value: &str, source: u16) {
        let start = self.text.len();
        self.text.push_str(kind);
        self.text.push('=');
        self.text.push_str(value);
        let is_known = self.iter().any(|known| known == &self.text[start..]);
        if is_known {
            self.text.truncate(start);
        } else {
            self.ends.push(self.text.len());
            self.sources.push(source);
        }
    }

    pub(super) fn fill(&mut self, template: usize, slot: usize, value: &str) {
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

    /// The terms, each with the source where it was found first, as an index into
    /// [`super::IdRules::sources`].
    pub fn with_sources(&self) -> impl Iterator<Item = (&str, usize)> {
        self.iter().zip(self.sources.iter().map(|source| usize::from(*source)))
    }
}
