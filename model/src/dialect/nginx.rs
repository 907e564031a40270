//! nginx' and Apache's combined access log, with pairs after it:
//!
//! ```text
//! 10.0.0.7 - ann [21/Nov/2026:10:41:58 +0000] "GET /cart?id=4 HTTP/1.1" 502 157 "-" "curl/8.5" request_time=0.012 trace_id="…"
//! address    user time                         request                   status bytes referer agent pairs
//! ```
//!
//! Field names follow OpenTelemetry's HTTP conventions. The body is `METHOD target status`; all other
//! parts are attributes, so the line can be put together again.

use super::ParsedLine;
use super::logfmt::{Pairs, unquote};
use super::role::{Role, Roles, role_of};
use super::time::access_log;
use crate::Severity;
use crate::vector::find_byte;

/// Whether a line has the shape of an access log, told from its punctuation.
pub(super) fn is_likely(line: &str) -> bool {
    let bytes = line.as_bytes();
    let mut from = 0;
    let close = loop {
        let Some(at) = find_byte(b']', &bytes[from..]) else { break None };
        if bytes[from + at..].starts_with(b"] \"") {
            break Some(from + at);
        }
        from += at + 1;
    };
    close.is_some_and(|close| memchr::memmem::find(&bytes[..close], b" [").is_some())
}

/// Reads a line; `false` when it is no access log.
pub(super) fn parse(line: &str, out: &mut ParsedLine) -> bool {
    parse_parts(line, out).is_some()
}

fn parse_parts(line: &str, out: &mut ParsedLine) -> Option<()> {
    let (identity, rest) = line.split_once(" [")?;
    let (time, rest) = rest.split_once("] \"")?;
    out.time = Some(access_log(time)?);
    let (request, rest) = unquote(rest);
    let (status, rest) = word(rest)?;
    let code: u16 = status.parse().ok().filter(|code| (100..1000).contains(code))?;
    let (bytes, rest) = word(rest).unwrap_or(("", rest));

    push_identity(identity, out)?;
    push_request(&request, code, line, out);
    out.push_attribute("http.response.status_code", status);
    push_known("http.response.body.size", bytes, out);
    set_level(code, out);
    let rest = push_quoted("http.request.header.referer", rest, out);
    let rest = push_quoted("user_agent.original", rest, out);
    let rest = push_quoted("http.request.header.x-forwarded-for", rest, out);
    push_pairs(rest, out);
    Some(())
}

/// `address ident user`; the last two are optional in the wild.
fn push_identity(identity: &str, out: &mut ParsedLine) -> Option<()> {
    let mut words = identity.split_ascii_whitespace();
    push_known("client.address", words.next()?, out);
    if let Some(user) = words.nth(1) {
        push_known("user.name", user, out);
    }
    Some(())
}

fn push_request(request: &str, code: u16, line: &str, out: &mut ParsedLine) {
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_method =
        !method.is_empty() && method.len() <= 16 && method.bytes().all(|byte| byte.is_ascii_uppercase());
    if !is_method || target.is_empty() {
        // Not HTTP at all: a TLS hello on a plain port, an empty request.
        return out.set_body(line);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    out.push_attribute("http.request.method", method);
    out.push_attribute("url.path", path);
    if !query.is_empty() {
        out.push_attribute("url.query", query);
    }
    if let Some(version) = words.next().and_then(|protocol| protocol.strip_prefix("HTTP/")) {
        out.push_attribute("network.protocol.version", version);
    }
    out.set_body(&format!("{method} {target} {code}"));
}

fn set_level(code: u16, out: &mut ParsedLine) {
    let severity = match code {
        500.. => Severity::Error,
        400..500 => Severity::Warn,
        _ => Severity::Info,
    };
    out.set_level(severity, severity.name());
}

/// Pairs after the known fields: ids and the service fill their roles, the others are attributes.
fn push_pairs(rest: &str, out: &mut ParsedLine) {
    let mut roles = Roles::default();
    for (key, value) in Pairs::new(rest) {
        let value = value.as_deref().unwrap_or("true");
        match role_of(key) {
            Some((Role::Trace | Role::Span | Role::TraceParent | Role::Service, _)) => {
                roles.offer(key, value, out)
            }
            _ => out.push_attribute(key, value),
        }
    }
    let (time, severity) = (out.time, out.severity_number);
    roles.settle(out);
    out.time = time;
    out.severity_number = severity;
}

/// Takes a quoted field, when one stands next.
fn push_quoted<'a>(key: &str, rest: &'a str, out: &mut ParsedLine) -> &'a str {
    match rest.trim_ascii_start().strip_prefix('"') {
        Some(quoted) => {
            let (value, rest) = unquote(quoted);
            push_known(key, &value, out);
            rest
        }
        None => rest,
    }
}

fn push_known(key: &str, value: &str, out: &mut ParsedLine) {
    if !value.is_empty() && value != "-" {
        out.push_attribute(key, value);
    }
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_start();
    let end = text.find(' ').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}
