//! Level and trace id of records whose dialect found none, from the first bytes of their body.

use model::Severity;
use model::dialect::{ParsedLine, ids_in_text};

/// Bytes of a body that are looked at.
const LOOKED_AT: usize = 256;

/// Fills in level and trace where they are missing and the body names them.
pub(crate) fn sniff(parsed: &mut ParsedLine) {
    if parsed.severity_number != 0 && parsed.trace_id.is_some() {
        return;
    }
    let head = &parsed.body[..parsed.body.floor_char_boundary(LOOKED_AT)];
    let level = if parsed.severity_number == 0 { level_in(head) } else { None };
    if parsed.trace_id.is_none()
        && !parsed.is_searched
        && memchr::memchr2(b'r', b'R', head.as_bytes()).is_some()
    {
        let (trace_id, span_id) = ids_in_text(head);
        parsed.trace_id = trace_id;
        parsed.span_id = parsed.span_id.or(span_id);
    }
    if let Some((severity, at, len)) = level {
        parsed.severity_number = severity.number();
        parsed.severity_text = parsed.body[at..at + len].to_owned();
    }
}

/// The first word that can only be a level: klog's `E1121 10:41`, `level=warn`, `[error]`, `ERROR`.
fn level_in(head: &str) -> Option<(Severity, usize, usize)> {
    if let Some(severity) = klog(head.as_bytes()) {
        return Some((severity, 0, 1));
    }
    let bytes = head.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let len = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let word = &head[at..at + len];
        if (3..=11).contains(&len)
            && is_told(bytes, at, len)
            && let Some(severity) = Severity::from_word(word)
        {
            return Some((severity, at, len));
        }
        at += len;
    }
    None
}

/// In capitals, in brackets, or behind `level` and a sign.
fn is_told(bytes: &[u8], at: usize, len: usize) -> bool {
    let word = &bytes[at..at + len];
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let after = bytes.get(at + len).copied();
    let is_bracketed = matches!(
        (before, after),
        (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')) | (Some(b'('), Some(b')'))
    );
    let is_alone =
        !matches!(before, Some(b'_' | b'-' | b'.' | b'/')) && !matches!(after, Some(b'_' | b'-' | b'/'));
    let named = bytes[..at].trim_ascii_end();
    let named = named.strip_suffix(b"\"").unwrap_or(named).trim_ascii_end();
    let named = named.strip_suffix(b"=").or_else(|| named.strip_suffix(b":"));
    let is_named = named.is_some_and(|named| {
        let named = named.strip_suffix(b"\"").unwrap_or(named);
        [&b"level"[..], b"lvl", b"severity"]
            .iter()
            .any(|key| named.len() >= key.len() && named[named.len() - key.len()..].eq_ignore_ascii_case(key))
    });
    is_bracketed || is_named || is_alone && word.iter().all(u8::is_ascii_uppercase)
}

/// `E1121 10:41:58.104 …` of glog and klog.
fn klog(bytes: &[u8]) -> Option<Severity> {
    let severity = match bytes.first()? {
        b'I' => Severity::Info,
        b'W' => Severity::Warn,
        b'E' => Severity::Error,
        b'F' => Severity::Fatal,
        _ => return None,
    };
    let is_date = bytes.get(1..5)?.iter().all(u8::is_ascii_digit) && bytes.get(5) == Some(&b' ');
    is_date.then_some(severity)
}
