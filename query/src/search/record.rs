//! What a search can look at in one row, the same for log records and spans.

use model::{Severity, SpanId, TraceId};
use storage::rows::{LogRows, SpanRows};

/// One row. Looking at it allocates nothing.
pub(super) trait Record {
    fn text(&self) -> &str;
    fn service(&self) -> &str;
    /// 1–24; `None` when the record says nothing about it.
    fn severity(&self) -> Option<i32>;
    fn trace_id(&self) -> Option<TraceId>;
    fn span_id(&self) -> Option<SpanId>;
    /// `None` for rows without the column.
    fn kind(&self) -> Option<&str>;
    /// `None` for rows without the column.
    fn status(&self) -> Option<&str>;
    /// `None` for rows without the column.
    fn duration_nano(&self) -> Option<i64>;
    fn ids(&self) -> impl Iterator<Item = &str>;
    fn attributes(&self) -> impl Iterator<Item = (&str, &str)>;
    fn resource_attributes(&self) -> impl Iterator<Item = (&str, &str)>;
}

/// The severity a record has: its number, else what its level's word means.
pub(crate) fn severity_of(number: i32, text: &str) -> Option<i32> {
    match Severity::from_number(number) {
        Some(_) => Some(number),
        None => Severity::from_word(text.trim()).map(Severity::number),
    }
}

/// A row of `logs`.
pub(super) struct LogRow<'r, 'a>(pub(super) &'r LogRows<'a>, pub(super) usize);

impl Record for LogRow<'_, '_> {
    fn text(&self) -> &str {
        self.0.body(self.1)
    }

    fn service(&self) -> &str {
        self.0.service(self.1)
    }

    fn severity(&self) -> Option<i32> {
        severity_of(self.0.severity_number(self.1), self.0.severity_text(self.1))
    }

    fn trace_id(&self) -> Option<TraceId> {
        self.0.trace_id(self.1)
    }

    fn span_id(&self) -> Option<SpanId> {
        self.0.span_id(self.1)
    }

    fn kind(&self) -> Option<&str> {
        None
    }

    fn status(&self) -> Option<&str> {
        None
    }

    fn duration_nano(&self) -> Option<i64> {
        None
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.ids(self.1)
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.attributes(self.1)
    }

    fn resource_attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.resource_attributes(self.1)
    }
}

/// A row of `spans`.
pub(super) struct SpanRow<'r, 'a>(pub(super) &'r SpanRows<'a>, pub(super) usize);

impl Record for SpanRow<'_, '_> {
    fn text(&self) -> &str {
        self.0.name(self.1)
    }

    fn service(&self) -> &str {
        self.0.service(self.1)
    }

    fn severity(&self) -> Option<i32> {
        None
    }

    fn trace_id(&self) -> Option<TraceId> {
        Some(self.0.trace_id(self.1))
    }

    fn span_id(&self) -> Option<SpanId> {
        Some(self.0.span_id(self.1))
    }

    fn kind(&self) -> Option<&str> {
        Some(self.0.kind(self.1))
    }

    fn status(&self) -> Option<&str> {
        Some(self.0.status(self.1))
    }

    fn duration_nano(&self) -> Option<i64> {
        Some(self.0.duration_nano(self.1))
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.ids(self.1)
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.attributes(self.1)
    }

    fn resource_attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.resource_attributes(self.1)
    }
}
