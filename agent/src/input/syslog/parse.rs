//! Syslog messages: RFC 5424, RFC 3164 and what programs make of them.
//!
//! ```text
//! 5424  <165>1 2026-11-21T10:41:58.1Z host app 712 ID47 [sd@1 k="v"] message
//! 3164  <34>Nov 21 10:41:58 host app[712]: message        (a host is missing on /dev/log)
//! ```
//!
//! Invariant: any bytes are a message; what has no form is its text, as it stands, with severity
//! "notice" as RFC 3164 4.3.3 says.

use model::dialect::parse_time;
use model::{Severity, UnixNano};

/// Attributes of structured data that are kept.
const PARAMS_MAX: usize = 64;
/// Facilities by number (RFC 5424, table 1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// A message's parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) facility: &'static str,
    /// OpenTelemetry's severity number and the syslog word.
    pub(crate) severity: (i32, &'static str),
    pub(crate) time: Option<UnixNano>,
    pub(crate) host: Option<String>,
    pub(crate) app: Option<String>,
    pub(crate) process_id: Option<String>,
    pub(crate) message_id: Option<String>,
    /// `syslog.ID.PARAM` of the structured data.
    pub(crate) params: Vec<(String, String)>,
    pub(crate) text: String,
}

/// OpenTelemetry's mapping of the severities (Logs Data Model, appendix B).
const fn severity(code: u8) -> (i32, &'static str) {
    match code {
        0 => (21, "emerg"),
        1 => (19, "alert"),
        2 => (18, "crit"),
        3 => (Severity::Error.number(), "err"),
        4 => (Severity::Warn.number(), "warning"),
        5 => (10, "notice"),
        6 => (Severity::Info.number(), "info"),
        _ => (Severity::Debug.number(), "debug"),
    }
}

/// The severity of a journal's or a message's priority, 0 to 7.
pub(crate) const fn of_priority(code: u8) -> (i32, &'static str) {
    severity(code)
}

/// Reads one message; `now` tells the year of times that have none.
pub(crate) fn parse(bytes: &[u8], now: UnixNano) -> Message {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r', '\0']);
    let mut message = Message { facility: FACILITIES[1], severity: severity(5), ..Message::default() };
    let rest = match priority(text) {
        Some((code, rest)) => {
            message.facility = FACILITIES.get(usize::from(code / 8)).copied().unwrap_or("unknown");
            message.severity = severity(code % 8);
            rest
        }
        None => text,
    };
    let is_5424 =
        rest.len() < text.len() && rest.strip_prefix("1 ").is_some_and(|rest| ietf(rest, &mut message));
    if !is_5424 {
        bsd(rest, now, &mut message);
    }
    message
}

fn priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let code = number.parse::<u8>().ok().filter(|code| is_number && *code <= 191)?;
    Some((code, rest))
}

fn ietf(rest: &str, message: &mut Message) -> bool {
    let mut fields = rest.splitn(6, ' ');
    let (Some(time), Some(host), Some(app), Some(process), Some(id), Some(rest)) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    let Some((params, text)) = structured_data(rest) else { return false };
    let given = |field: &str| (field != "-" && !field.is_empty()).then(|| field.to_owned());
    message.time = parse_time(time);
    (message.host, message.app) = (given(host), given(app));
    (message.process_id, message.message_id) = (given(process), given(id));
    message.params = params;
    let text = text.strip_prefix(' ').unwrap_or(text);
    text.strip_prefix('\u{feff}').unwrap_or(text).clone_into(&mut message.text);
    true
}

type Params = Vec<(String, String)>;

/// `-` or `[id name="value" …]…`, and what is behind.
fn structured_data(text: &str) -> Option<(Params, &str)> {
    if let Some(rest) = text.strip_prefix('-') {
        return (rest.is_empty() || rest.starts_with(' ')).then(|| (Params::new(), rest));
    }
    let (mut params, mut rest) = (Params::new(), text);
    while let Some(inner) = rest.strip_prefix('[') {
        let end = inner.find([' ', ']'])?;
        let id = &inner[..end];
        rest = &inner[end..];
        loop {
            rest = rest.trim_start_matches(' ');
            if let Some(after) = rest.strip_prefix(']') {
                rest = after;
                break;
            }
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if params.len() < PARAMS_MAX && !name.contains([' ', ']']) {
                params.push((format!("syslog.{id}.{name}"), value));
            }
            rest = after;
        }
    }
    (rest.len() < text.len()).then_some((params, rest))
}

/// Text up to the closing quote, with `\"`, `\\` and `\]` undone.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                escaped @ ('"' | '\\' | ']') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            _ => value.push(c),
        }
    }
    None
}

/// What stands in front is taken as long as it is understood.
fn bsd(text: &str, now: UnixNano, message: &mut Message) {
    let mut rest = text;
    if let Some((time, after)) = bsd_time(rest, now) {
        message.time = Some(time);
        rest = after.trim_start_matches(' ');
        // A host stands before the tag; local programs leave it out.
        if let Some((word, after)) = rest.split_once(' ')
            && !word.ends_with(':')
            && !word.contains('[')
            && is_host(word)
            && tag(after).is_some()
        {
            message.host = Some(word.to_owned());
            rest = after;
        }
    }
    if let Some((app, process_id, after)) = tag(rest) {
        message.app = Some(app.to_owned());
        message.process_id = process_id.map(str::to_owned);
        rest = after;
    }
    rest.clone_into(&mut message.text);
}

fn is_host(word: &str) -> bool {
    !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'))
}

/// `app: `, `app[712]: `.
fn tag(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find([':', '[', ' ']).filter(|end| (1..=64).contains(end))?;
    let app = &text[..end];
    let is_name = app.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'@' | b'(' | b')')
    });
    if !is_name {
        return None;
    }
    let rest = &text[end..];
    let (process_id, rest) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (id, after) = inner.split_once(']')?;
            (Some(id), after)
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix(':')?;
    Some((app, process_id.filter(|id| !id.is_empty()), rest.strip_prefix(' ').unwrap_or(rest)))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Nov 21 10:41:58` in UTC, or RFC 3339 as rsyslog writes it.
fn bsd_time(text: &str, now: UnixNano) -> Option<(UnixNano, &str)> {
    if text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        let (word, rest) = text.split_once(' ')?;
        return word.contains('T').then(|| parse_time(word)).flatten().map(|time| (time, rest));
    }
    let stamp = text.get(..15)?;
    let month = MONTHS.iter().position(|month| stamp.starts_with(month))? + 1;
    let day: u8 = stamp.get(4..6)?.trim_start().parse().ok()?;
    let clock = stamp.get(7..15)?;
    let is_clock = clock.bytes().enumerate().all(|(at, byte)| match at {
        2 | 5 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    if !is_clock || stamp.as_bytes()[3] != b' ' || stamp.as_bytes()[6] != b' ' {
        return None;
    }
    // The year is the one that puts the time nearest before tomorrow.
    let year: i32 = now.to_string().get(..4)?.parse().ok()?;
    let in_year = |year: i32| parse_time(&format!("{year:04}-{month:02}-{day:02}T{clock}Z"));
    let day_ahead = 86_400 * model::time::SECOND;
    let time = in_year(year).filter(|time| time.since(now) <= day_ahead).or_else(|| in_year(year - 1))?;
    Some((time, &text[15..]))
}

/// How the messages of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message of so many bytes from an offset on.
    Message { start: usize, len: usize, used: usize },
    /// More bytes are needed.
    Incomplete,
}

/// The first message of a TCP stream: octet-counted (`83 <34>…`, RFC 6587 3.4.1) or one a line.
/// One longer than `bytes_max` is cut into pieces.
pub(crate) fn frame(bytes: &[u8], bytes_max: usize) -> Frame {
    if let Some(space) = bytes.iter().take(8).position(|byte| *byte == b' ')
        && let Some(len) = counted(&bytes[..space], bytes_max)
        && bytes.get(space + 1).is_none_or(|byte| *byte == b'<')
    {
        let used = space + 1 + len;
        return if bytes.len() >= used {
            Frame::Message { start: space + 1, len, used }
        } else {
            Frame::Incomplete
        };
    }
    let is_number = !bytes.is_empty() && bytes.len() < 8 && bytes.iter().all(u8::is_ascii_digit);
    match memchr::memchr(b'\n', bytes) {
        Some(len) => Frame::Message { start: 0, len, used: len + 1 },
        None if bytes.len() >= bytes_max && !is_number => {
            Frame::Message { start: 0, len: bytes_max, used: bytes_max }
        }
        None => Frame::Incomplete,
    }
}

fn counted(digits: &[u8], bytes_max: usize) -> Option<usize> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('0'))?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<usize>().ok().filter(|len| is_number && *len <= bytes_max)
}
