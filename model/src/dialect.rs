//! Log dialects: one line of text, or one JSON object, into the parts of a log record.
//!
//! Owns: which text is a time, a level, a message, a trace id, and the names the other fields get.
//! Does not own: how lines are found in a file (agent), how records are stored (storage), id rules
//! (`ids`, applied once at ingest).
//!
//! Invariants: parsing never fails and never panics — what no dialect understands is the body, as it
//! stands; a field that loses its role (two messages, an impossible level) becomes an attribute, so
//! nothing of a line is dropped without the marker attributes below saying so.
//!
//! ```text
//! line ─► auto ─┬─ starts with `{` ───────────────► json   ┐
//!               ├─ addr - user [time] "request" …─► nginx  ├─► roles (time, level, message, ids,
//!               ├─ key=value key=value, level/msg ► logfmt ┘         service) + attributes
//!               └─ everything else ───────────────► plain: [time] [level] [service] [key=value …] body
//! ```

mod attributes;
mod json;
mod logfmt;
mod nginx;
mod plain;
mod role;
mod scan;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::attributes::Span;
use crate::text::nearest;
use crate::{Severity, SpanId, TraceId, UnixNano};

pub use attributes::Attributes;
pub use json::parse_json_object;
pub use time::parse_time;

/// Attributes kept of one record; more are counted in [`DROPPED_ATTRIBUTES`].
pub const ATTRIBUTES_MAX: usize = 128;
/// Bytes kept of one attribute value; the keys of longer ones are listed in [`CUT_VALUES`].
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Bytes kept of a body.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Longest attribute name; an attribute with a longer one counts as dropped.
pub const KEY_BYTES_MAX: usize = 256;
/// Depth to which JSON objects are flattened; deeper ones are kept as JSON text.
pub const DEPTH_MAX: usize = 32;
/// Marker attribute: how many attributes were left out.
pub const DROPPED_ATTRIBUTES: &str = "silmari.dropped_attributes";
/// Marker attribute: which values, or the body, were cut, separated by commas.
pub const CUT_VALUES: &str = "silmari.cut_values";

/// How a line is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Decided line by line.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// `key=value key="quoted value"`.
    Logfmt,
    /// nginx' and Apache's combined access log, with `key=value` pairs after it.
    Nginx,
    /// Text with an optional time, level, `[service]` and `[key=value …]` in front.
    Plain,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 5] = [Self::Auto, Self::Json, Self::Logfmt, Self::Nginx, Self::Plain];

    /// The name in configuration: `auto`, `json`, `logfmt`, `nginx`, `plain`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
            Self::Nginx => "nginx",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|dialect| dialect.name() == text).ok_or_else(|| {
            let hint =
                nearest(text, names).map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
            format!("`{text}` is no dialect: use {}{hint}", names.join(", "))
        })
    }
}

/// The parts of one record. Reused from line to line: [`parse_line`] clears it first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedLine {
    /// When the line says it was written.
    pub time: Option<UnixNano>,
    /// 1–24 as OpenTelemetry numbers them; 0 when the line names no level.
    pub severity_number: i32,
    /// The level as the line writes it.
    pub severity_text: String,
    /// The message.
    pub body: String,
    /// The trace the line names.
    pub trace_id: Option<TraceId>,
    /// The span the line names.
    pub span_id: Option<SpanId>,
    /// The service the line names; empty when it names none.
    pub service: String,
    /// Whether the body was looked through for ids: it names no others than these.
    pub is_searched: bool,
    /// Everything else, in order of the line, values as text.
    pub attributes: Attributes,
}

impl ParsedLine {
    /// Empties every part and keeps the memory.
    pub fn clear(&mut self) {
        self.time = None;
        self.severity_number = 0;
        self.severity_text.clear();
        self.body.clear();
        self.trace_id = None;
        self.span_id = None;
        self.is_searched = false;
        self.service.clear();
        self.attributes.clear();
    }

    /// The value of the attribute `key`.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key)
    }

    /// The service the line names.
    pub fn named_service(&self) -> Option<&str> {
        Some(self.service.as_str()).filter(|name| !name.is_empty())
    }

    fn set_level(&mut self, severity: Severity, text: &str) {
        self.severity_number = severity.number();
        self.severity_text.clear();
        self.severity_text.push_str(text);
    }

    /// Sets the body, cut at [`BODY_BYTES_MAX`] with a marker.
    fn set_body(&mut self, text: &str) {
        if self.fill_body(text) {
            self.mark_cut("body");
        }
    }

    /// Sets the body without a marker; whether it was cut.
    fn fill_body(&mut self, text: &str) -> bool {
        let kept = cut(text, BODY_BYTES_MAX);
        self.body.clear();
        self.body.push_str(kept);
        kept.len() < text.len()
    }

    /// Adds an attribute within the limits.
    fn push_attribute(&mut self, key: &str, value: &str) {
        if !self.has_room_for(key) {
            return self.mark_dropped();
        }
        let kept = cut(value, VALUE_BYTES_MAX);
        let (name, text) = (self.attributes.keep(key), self.attributes.keep(kept));
        self.attributes.place(name, text);
        if kept.len() < value.len() {
            self.mark_cut(key);
        }
    }

    /// Makes a field that did not get its role an attribute, within the limits.
    fn place_attribute(&mut self, key: Span, value: Span) {
        let text = self.attributes.text_of(key);
        if !self.has_room_for(text) {
            return self.mark_dropped();
        }
        if self.attributes.text_of(value).len() > VALUE_BYTES_MAX {
            let (key, value) = (text.to_owned(), self.attributes.text_of(value).to_owned());
            return self.push_attribute(&key, &value);
        }
        self.attributes.place(key, value);
    }

    const fn has_room_for(&self, key: &str) -> bool {
        self.attributes.len() < ATTRIBUTES_MAX && key.len() <= KEY_BYTES_MAX
    }

    fn mark_dropped(&mut self) {
        let count =
            self.attributes.get(DROPPED_ATTRIBUTES).and_then(|count| count.parse().ok()).unwrap_or(0u64);
        self.attributes.set(DROPPED_ATTRIBUTES, &(count + 1).to_string());
    }

    fn mark_cut(&mut self, key: &str) {
        let keys = match self.attributes.get(CUT_VALUES) {
            Some(keys) => format!("{keys},{key}"),
            None => key.to_owned(),
        };
        self.attributes.set(CUT_VALUES, &keys);
    }
}

/// Reads one line, without its line end, into `out`.
pub fn parse_line(dialect: Dialect, line: &str, out: &mut ParsedLine) {
    out.clear();
    let understood = match dialect {
        Dialect::Json => json::parse(line, out),
        Dialect::Logfmt => logfmt::parse(line, out, logfmt::Accept::Any),
        Dialect::Nginx => nginx::parse(line, out),
        Dialect::Plain => false,
        Dialect::Auto => parse_auto(line, out),
    };
    if understood {
        return;
    }
    out.clear();
    match dialect {
        Dialect::Auto | Dialect::Plain => plain::parse(line, out),
        _ => out.set_body(line),
    }
}

/// The trace and span id that a text names as `trace_id=…`, `traceId: …`, `"span.id":"…"`, if any.
pub fn ids_in_text(text: &str) -> (Option<TraceId>, Option<SpanId>) {
    plain::ids_in_text(text)
}

fn parse_auto(line: &str, out: &mut ParsedLine) -> bool {
    let first = line.trim_ascii_start().as_bytes().first().copied();
    match first {
        Some(b'{') if json::parse(line, out) => true,
        Some(_) if nginx::is_likely(line) && nginx::parse(line, out) => true,
        _ => {
            out.clear();
            logfmt::parse(line, out, logfmt::Accept::OnlyLikely)
        }
    }
}

/// The longest beginning of `text` of at most `bytes` bytes that ends between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
