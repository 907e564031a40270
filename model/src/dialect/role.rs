//! Which field of a structured line is its time, level, message, trace, span or service.
//!
//! Names are compared without case and without `_ - . @`, so `trace_id`, `traceId` and `trace.id` are
//! one name. Of several fields for one role the best known name wins; the others, and fields whose
//! value does not fit the role, stay attributes.

use super::ParsedLine;
use super::attributes::Span;
use super::time::parse_time;
use crate::{Severity, SpanId, TraceId, UnixNano};

/// Parts of a record that a field may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    Level,
    Message,
    Trace,
    Span,
    TraceParent,
    Service,
}

const ROLES: usize = 7;

/// The role a field's name asks for, and its rank: 0 is the best known name.
pub(super) fn role_of(key: &str) -> Option<(Role, u8)> {
    let mut name = [0u8; 16];
    let mut len = 0;
    for byte in key.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b'@')) {
        *name.get_mut(len)? = byte.to_ascii_lowercase();
        len += 1;
    }
    Some(match &name[..len] {
        b"time" => (Role::Time, 0),
        b"timestamp" => (Role::Time, 1),
        b"ts" => (Role::Time, 2),
        b"t" => (Role::Time, 3),
        b"datetime" => (Role::Time, 4),
        b"level" => (Role::Level, 0),
        b"severity" => (Role::Level, 1),
        b"severitytext" => (Role::Level, 2),
        b"lvl" => (Role::Level, 3),
        b"loglevel" => (Role::Level, 4),
        b"levelname" => (Role::Level, 5),
        b"message" => (Role::Message, 0),
        b"msg" => (Role::Message, 1),
        b"body" => (Role::Message, 2),
        b"log" => (Role::Message, 3),
        b"traceid" => (Role::Trace, 0),
        b"oteltraceid" => (Role::Trace, 1),
        b"ddtraceid" => (Role::Trace, 2),
        b"xb3traceid" => (Role::Trace, 3),
        b"spanid" => (Role::Span, 0),
        b"otelspanid" => (Role::Span, 1),
        b"ddspanid" => (Role::Span, 2),
        b"xb3spanid" => (Role::Span, 3),
        b"traceparent" => (Role::TraceParent, 0),
        b"servicename" => (Role::Service, 0),
        b"service" => (Role::Service, 1),
        _ => return None,
    })
}

/// The fields that hold a role so far, while the fields of one line pass by.
#[derive(Debug, Default)]
pub(super) struct Roles {
    holders: [Option<Holder>; ROLES],
    /// What the fields that hold [`Role::Time`], [`Role::Trace`] and [`Role::Span`] say.
    time: Option<UnixNano>,
    trace: Option<TraceId>,
    span: Option<SpanId>,
}

/// A field that holds a role; its texts are kept in the buffer of the line's attributes.
#[derive(Clone, Copy, Debug)]
struct Holder {
    rank: u8,
    key: Span,
    value: Span,
}

impl Roles {
    /// Takes a field: into its role, or into the attributes.
    pub(super) fn offer(&mut self, key: &str, value: &str, out: &mut ParsedLine) {
        let Some((role, rank)) = role_of(key) else {
            return out.push_attribute(key, value);
        };
        let (mut time, mut trace, mut span) = (None, None, None);
        let is_fitting = match role {
            Role::Time => {
                time = parse_time(value);
                time.is_some()
            }
            Role::Trace => {
                trace = TraceId::from_hex(value);
                trace.is_some()
            }
            Role::Span => {
                span = SpanId::from_hex(value);
                span.is_some()
            }
            Role::Level => !value.is_empty() && value.len() <= 64,
            Role::Message => true,
            Role::TraceParent => parse_traceparent(value).is_some(),
            Role::Service => !value.is_empty() && value.len() <= super::KEY_BYTES_MAX,
        };
        if !is_fitting {
            return out.push_attribute(key, value);
        }
        let held = self.holders[role as usize];
        // A field that stands twice in a line counts as its last one.
        let is_again = held.is_some_and(|held| out.attributes.text_of(held.key) == key);
        if held.is_some_and(|held| held.rank <= rank) && !is_again {
            return out.push_attribute(key, value);
        }
        if let Some(held) = held.filter(|_| !is_again) {
            out.place_attribute(held.key, held.value);
        }
        let (key, value) = (out.attributes.keep(key), out.attributes.keep(value));
        self.holders[role as usize] = Some(Holder { rank, key, value });
        (self.time, self.trace, self.span) = (time.or(self.time), trace.or(self.trace), span.or(self.span));
    }

    /// Writes the roles into the record; `false` when no message was among them.
    pub(super) fn settle(self, out: &mut ParsedLine) -> bool {
        let [_, level, message, _, _, parent, service] = self.holders;
        out.time = self.time;
        // The record is written to while its own buffer is read: the attributes step aside.
        let attributes = std::mem::take(&mut out.attributes);
        let text = |holder: Holder| attributes.text_of(holder.value);
        if let Some(level) = level {
            set_level(text(level), out);
        }
        let cut_to = message.map(|message| out.fill_body(text(message)));
        let parent = parent.and_then(|parent| parse_traceparent(text(parent)));
        out.trace_id = self.trace.or(parent.map(|(trace, _)| trace));
        out.span_id = self.span.or(parent.map(|(_, span)| span));
        out.service.clear();
        if let Some(service) = service {
            out.service.push_str(text(service));
        }
        out.attributes = attributes;
        if cut_to == Some(true) {
            out.mark_cut("body");
        }
        message.is_some()
    }
}

fn set_level(value: &str, out: &mut ParsedLine) {
    match Severity::from_word(value).or_else(|| numbered_level(value)) {
        Some(severity) => out.set_level(severity, value),
        None => out.severity_text.push_str(value),
    }
}

/// Levels as pino and bunyan number them.
fn numbered_level(value: &str) -> Option<Severity> {
    Some(match value {
        "10" => Severity::Trace,
        "20" => Severity::Debug,
        "30" => Severity::Info,
        "40" => Severity::Warn,
        "50" => Severity::Error,
        "60" => Severity::Fatal,
        _ => return None,
    })
}

/// The ids of a W3C `traceparent`: `00-<trace id>-<span id>-<flags>`.
fn parse_traceparent(value: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = value.split('-');
    let version = parts.next()?;
    let trace = TraceId::from_hex(parts.next()?)?;
    let span = SpanId::from_hex(parts.next()?)?;
    (version.len() == 2 && parts.next().is_some_and(|flags| flags.len() == 2)).then_some((trace, span))
}
