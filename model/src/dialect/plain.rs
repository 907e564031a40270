//! Plain text lines. What stands in front is taken as long as it is understood; the rest is the body:
//!
//! ```text
//! 2026-11-21 10:41:58,104 WARN [billing] [request_id=7f3a trace_id=4bf9…] acquirer is slow
//! time                    level service  pairs                            body
//! ```

use super::logfmt::{Pairs, is_key};
use super::role::{Role, Roles, role_of};
use super::{ParsedLine, time};
use crate::vector::find_id_name;
use crate::{Severity, SpanId, TraceId};

/// Words searched for a level that does not stand right behind the time.
const LEVEL_WORDS: usize = 6;

/// Reads a line; always succeeds.
pub(super) fn parse(line: &str, out: &mut ParsedLine) {
    let mut roles = Roles::default();
    let rest = take_time(line.trim_ascii_start(), out);
    let rest = take_prefix(rest, &mut roles, out);
    let (time, severity, text) = (out.time, out.severity_number, std::mem::take(&mut out.severity_text));
    let service = std::mem::take(&mut out.service);
    roles.settle(out);
    (out.time, out.severity_number, out.severity_text) = (time, severity, text);
    if !service.is_empty() {
        out.service = service;
    }
    if out.severity_number == 0 {
        find_level(rest, out);
    }
    let (trace_id, span_id) = ids_in_text(rest);
    out.trace_id = out.trace_id.or(trace_id);
    out.span_id = out.span_id.or(span_id);
    out.is_searched = true;
    out.set_body(if rest.is_empty() { line } else { rest });
}

fn take_time<'a>(line: &'a str, out: &mut ParsedLine) -> &'a str {
    let bracket = usize::from(line.starts_with('['));
    let inner = &line[bracket..];
    let found = time::leading(inner).or_else(|| leading_unix(inner));
    let Some((time, len)) = found else {
        return line;
    };
    let rest = &inner[len..];
    if bracket == 0 {
        out.time = Some(time);
        return rest;
    }
    match rest.strip_prefix(']') {
        Some(rest) => {
            out.time = Some(time);
            rest
        }
        None => line,
    }
}

/// A Unix time of ten digits or more with a space behind it.
fn leading_unix(text: &str) -> Option<(crate::UnixNano, usize)> {
    let end = text.find(' ')?;
    let number = &text[..end];
    (number.len() >= 10).then(|| time::parse_unix(number))?.map(|time| (time, end))
}

/// Takes level, `[service]` and `[key=value …]` parts while they are understood.
fn take_prefix<'a>(mut rest: &'a str, roles: &mut Roles, out: &mut ParsedLine) -> &'a str {
    loop {
        rest = rest.trim_ascii_start();
        let taken = match rest.strip_prefix('[') {
            Some(inner) => take_bracket(inner, roles, out),
            None => take_level(rest, out),
        };
        match taken {
            Some(after) => rest = after,
            None => break,
        }
    }
    match rest.as_bytes() {
        [b'-' | b':' | b'|', b' ', ..] => rest[2..].trim_ascii_start(),
        _ => rest,
    }
}

fn take_level<'a>(rest: &'a str, out: &mut ParsedLine) -> Option<&'a str> {
    if out.severity_number != 0 {
        return None;
    }
    let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
    let word = rest[..end].trim_matches(['<', '>']);
    let bare = word.trim_end_matches(':');
    let severity = Severity::from_word(bare)?;
    let is_told = bare.len() >= 3 && (is_upper(bare) || bare.len() < word.len() || out.time.is_some());
    is_told.then(|| out.set_level(severity, bare))?;
    Some(&rest[end..])
}

fn take_bracket<'a>(inner: &'a str, roles: &mut Roles, out: &mut ParsedLine) -> Option<&'a str> {
    let (content, after) = inner.split_once(']')?;
    let content = content.trim_ascii();
    if out.severity_number == 0
        && content.len() >= 3
        && let Some(severity) = Severity::from_word(content)
    {
        out.set_level(severity, content);
    } else if Pairs::new(content).all(|(key, value)| value.is_some() && is_key(key)) && !content.is_empty() {
        for (key, value) in Pairs::new(content) {
            push_pair(key, value.as_deref().unwrap_or_default(), roles, out);
        }
    } else if out.service.is_empty() && is_service_name(content) {
        out.service.push_str(content);
    } else {
        return None;
    }
    Some(after)
}

fn push_pair(key: &str, value: &str, roles: &mut Roles, out: &mut ParsedLine) {
    match role_of(key) {
        Some((Role::Time | Role::Level | Role::Message, _)) | None => out.push_attribute(key, value),
        Some(_) => roles.offer(key, value, out),
    }
}

/// Names that a deployment uses for services; not thread names (`main`, `worker-3`), not numbers.
fn is_service_name(word: &str) -> bool {
    let is_word = word.len() <= 64
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    let numbered =
        word.rsplit_once('-').is_some_and(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
    is_word && !numbered && word != "main"
}

/// A level in capitals or brackets among the first words; it stays in the body.
fn find_level(rest: &str, out: &mut ParsedLine) {
    let words = rest.split(|c: char| c.is_ascii_whitespace() || matches!(c, ':' | '|' | '.'));
    for word in words.filter(|word| !word.is_empty()).take(LEVEL_WORDS) {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_told = bare.len() >= 3 && is_upper(bare);
        if is_told && let Some(severity) = Severity::from_word(bare) {
            return out.set_level(severity, bare);
        }
    }
}

fn is_upper(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// See [`super::ids_in_text`].
pub(super) fn ids_in_text(text: &str) -> (Option<TraceId>, Option<SpanId>) {
    let (mut trace, mut span) = (None, None);
    let mut from = 0;
    while let Some(at) = find_id_name(text.as_bytes(), from) {
        from = at + 1;
        if trace.is_none()
            && let Some(hex) = named_hex(text, at, "trace")
        {
            trace = TraceId::from_hex(hex);
        } else if span.is_none()
            && let Some(hex) = named_hex(text, at, "span")
        {
            span = SpanId::from_hex(hex);
        }
        if trace.is_some() && span.is_some() {
            break;
        }
    }
    (trace, span)
}

/// The hex digits behind `NAME_id=` in any of its spellings, with the name at `at`.
fn named_hex<'a>(text: &'a str, at: usize, name: &str) -> Option<&'a str> {
    let end = at + name.len();
    text.get(at..end).filter(|found| found.eq_ignore_ascii_case(name))?;
    let after = &text[end..];
    let after = after.strip_prefix(['_', '.', '-', ' ']).unwrap_or(after);
    let after = after.get(..2).filter(|id| id.eq_ignore_ascii_case("id")).map(|_| &after[2..])?;
    let value = after.trim_start_matches(['"', '=', ':', ' ', '\'']);
    if value.len() == after.len() {
        return None;
    }
    let end = value.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(value.len());
    matches!(end, 16 | 32).then(|| &value[..end])
}
