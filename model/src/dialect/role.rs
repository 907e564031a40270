//! Which field of a structured line is its time, level, message, trace, span or service.
//!
//! Names are compared without case and without `_ - . @`, so `trace_id`, `traceId` and `trace.id` are
//! one name. Of several fields for one role the best known name wins; the others, and fields whose
//! value does not fit the role, stay attributes.

use super::ParsedLine;
use super::time::parse_time;
use crate::{Severity, SpanId, TraceId};

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
    holders: [Option<(u8, String, String)>; ROLES],
}

impl Roles {
    /// Takes a field: into its role, or into the attributes.
    pub(super) fn offer(&mut self, key: &str, value: &str, out: &mut ParsedLine) {
        let fitting = role_of(key).filter(|(role, _)| fits(*role, value));
        let Some((role, rank)) = fitting else {
            return out.push_attribute(key, value);
        };
        match &mut self.holders[role as usize] {
            Some((held, ..)) if *held <= rank => out.push_attribute(key, value),
            holder => {
                let loser = holder.replace((rank, key.to_owned(), value.to_owned()));
                if let Some((_, key, value)) = loser {
                    out.push_attribute(&key, &value);
                }
            }
        }
    }

    /// Writes the roles into the record; `false` when no message was among them.
    pub(super) fn settle(self, out: &mut ParsedLine) -> bool {
        let mut has_message = false;
        let [time, level, message, trace, span, parent, service] = self.holders;
        out.time = time.and_then(|(.., value)| parse_time(&value));
        if let Some((.., value)) = level {
            set_level(&value, out);
        }
        if let Some((.., value)) = message {
            out.set_body(&value);
            has_message = true;
        }
        let parent = parent.and_then(|(.., value)| parse_traceparent(&value));
        out.trace_id =
            trace.and_then(|(.., value)| TraceId::from_hex(&value)).or(parent.map(|(trace, _)| trace));
        out.span_id = span.and_then(|(.., value)| SpanId::from_hex(&value)).or(parent.map(|(_, span)| span));
        out.service = service.map(|(.., value)| value);
        has_message
    }
}

fn fits(role: Role, value: &str) -> bool {
    match role {
        Role::Time => parse_time(value).is_some(),
        Role::Level => !value.is_empty() && value.len() <= 64,
        Role::Message => true,
        Role::Trace => TraceId::from_hex(value).is_some(),
        Role::Span => SpanId::from_hex(value).is_some(),
        Role::TraceParent => parse_traceparent(value).is_some(),
        Role::Service => !value.is_empty() && value.len() <= super::KEY_BYTES_MAX,
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
