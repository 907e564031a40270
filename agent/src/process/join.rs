//! Joining lines to records: stack traces, tracebacks, panics, indented text, a pattern of one's own.
//!
//! A [`Joiner`] belongs to a logical stream, not to a file, so that a record may begin in one file and end
//! in the one that follows it. It knows nothing of files: every line comes with an origin of the caller's
//! choice, and the record carries the origin of its first line: while it is open, a position must not move
//! beyond that.
//!
//! ```text
//! line  push ─► begins a record? ── yes ─► emit what is open, open this one
//!                               └─ no ──► append to what is open
//! no line for the timeout ─► settle ─► emit what is open
//! ```
//!
//! Bounds: a record ends at 256 KiB or 1000 lines; what follows begins another.

use std::time::Duration;

use regex_automata::meta::Regex;

use crate::config::process::{JOINED_LINES_MAX, Multiline};

/// Longest record of joined lines, in bytes.
pub(crate) const JOINED_BYTES_MAX: usize = 256 * 1024;
/// Room that a stream without an open record keeps.
const KEPT_BYTES: usize = 16 * 1024;

/// A finished record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined<'a, T> {
    /// Its lines, with line feeds between them.
    pub(crate) bytes: &'a [u8],
    /// How many lines it is made of.
    pub(crate) lines: u64,
    /// Where its first line is from.
    pub(crate) origin: &'a T,
}

/// Joins the lines of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Joiner<T> {
    kind: Kind,
    timeout: Duration,
    bytes: Vec<u8>,
    open: Option<Open<T>>,
}

#[derive(Clone, Debug)]
struct Open<T> {
    origin: T,
    lines: u64,
    last: Duration,
    /// What the lines so far lead the preset to expect.
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Kind {
    Java,
    Python,
    Go,
    Indent,
    Start(Regex),
}

/// Where in a trace the last line was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// An ordinary line.
    #[default]
    Text,
    /// Within a trace.
    Trace,
    /// Behind the last line of a trace, which another may follow.
    Ended,
}

impl<T> Joiner<T> {
    /// A joiner as configured; `None` when every line is a record.
    pub(crate) fn new(settings: &Multiline) -> Option<Self> {
        let kind = match settings {
            Multiline::None => return None,
            Multiline::Java => Kind::Java,
            Multiline::Python => Kind::Python,
            Multiline::Go => Kind::Go,
            Multiline::Indent => Kind::Indent,
            Multiline::Start(custom) => Kind::Start(custom.start.regex().clone()),
        };
        Some(Self { kind, timeout: settings.timeout(), bytes: Vec::new(), open: None })
    }

    /// Takes a line; `emit` gets the record that it ends, if it does.
    pub(crate) fn push(
        &mut self,
        line: &[u8],
        origin: T,
        now: Duration,
        emit: &mut dyn FnMut(Joined<'_, T>),
    ) {
        if let Some(open) = &mut self.open {
            let has_room =
                self.bytes.len() + 1 + line.len() <= JOINED_BYTES_MAX && open.lines < JOINED_LINES_MAX as u64;
            if let Some(stage) = self.kind.continues(open.stage, line)
                && has_room
            {
                self.bytes.push(b'\n');
                self.bytes.extend_from_slice(line);
                open.lines += 1;
                open.last = now;
                open.stage = stage;
                return;
            }
        }
        self.flush(emit);
        self.bytes.extend_from_slice(line);
        self.open = Some(Open { origin, lines: 1, last: now, stage: self.kind.first(line) });
    }

    /// Ends the open record when no line came for the timeout; whether it did.
    pub(crate) fn settle(&mut self, now: Duration, emit: &mut dyn FnMut(Joined<'_, T>)) -> bool {
        let is_due = self.open.as_ref().is_some_and(|open| now.saturating_sub(open.last) >= self.timeout);
        if is_due {
            self.flush(emit);
        }
        is_due
    }

    /// Ends the open record.
    pub(crate) fn flush(&mut self, emit: &mut dyn FnMut(Joined<'_, T>)) {
        if let Some(open) = self.open.take() {
            let kept = self.bytes.trim_ascii_end().len();
            emit(Joined { bytes: &self.bytes[..kept], lines: open.lines, origin: &open.origin });
            self.bytes.clear();
            // One large record is no reason for its stream to keep the room.
            self.bytes.shrink_to(KEPT_BYTES);
        }
    }

    /// Bytes of the open record.
    pub(crate) fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |_| self.bytes.len())
    }

    /// Forgets the open record; how many lines it had.
    pub(crate) fn clear(&mut self) -> u64 {
        self.bytes.clear();
        self.open.take().map_or(0, |open| open.lines)
    }
}

impl Kind {
    /// The stage after the first line of a record.
    fn first(&self, line: &[u8]) -> Stage {
        match self {
            Self::Python if is_traceback(line) => Stage::Trace,
            Self::Go if line.starts_with(b"panic:") || line.starts_with(b"fatal error:") => Stage::Trace,
            _ => Stage::Text,
        }
    }

    /// The next stage, if the line continues the open record.
    fn continues(&self, stage: Stage, line: &[u8]) -> Option<Stage> {
        match self {
            Self::Java => java(stage, line),
            Self::Python => python(stage, line),
            Self::Go => go(stage, line),
            Self::Indent => (is_indented(line) && !line.trim_ascii().is_empty()).then_some(stage),
            Self::Start(start) => (!start.is_match(line)).then_some(stage),
        }
    }
}

/// Frames are indented; the exception follows the line that logs it, its causes follow the frames.
fn java(stage: Stage, line: &[u8]) -> Option<Stage> {
    let is_frame = is_indented(line) && !line.trim_ascii().is_empty();
    let is_cause = line.starts_with(b"Caused by: ") || line.starts_with(b"Suppressed: ");
    if is_frame || is_cause {
        return Some(Stage::Trace);
    }
    (stage == Stage::Text && is_exception(line)).then_some(Stage::Trace)
}

/// `com.shop.TimeoutException: no answer`: a name with dots that ends like an exception.
fn is_exception(line: &[u8]) -> bool {
    let end = line.iter().position(|byte| matches!(byte, b':' | b' ')).unwrap_or(line.len());
    let name = &line[..end];
    let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$'));
    let ends = [&b"Exception"[..], b"Error", b"Throwable"].iter().any(|suffix| name.ends_with(suffix));
    is_name && name.contains(&b'.') && ends && line.get(end).is_none_or(|byte| *byte == b':')
}

fn is_traceback(line: &[u8]) -> bool {
    line.starts_with(b"Traceback (most recent call last)")
}

/// A traceback follows the line that logs it; it ends with the first line that is not indented, and may
/// be the cause of another.
fn python(stage: Stage, line: &[u8]) -> Option<Stage> {
    let is_blank = line.trim_ascii().is_empty();
    match stage {
        Stage::Text => is_traceback(line).then_some(Stage::Trace),
        Stage::Trace if is_indented(line) || is_blank => Some(Stage::Trace),
        Stage::Trace => Some(Stage::Ended),
        Stage::Ended if is_traceback(line) => Some(Stage::Trace),
        Stage::Ended => {
            let is_bridge = line.starts_with(b"During handling of the above exception")
                || line.starts_with(b"The above exception was the direct cause");
            (is_blank || is_bridge).then_some(Stage::Ended)
        }
    }
}

/// A panic goes on over blank lines, `goroutine 1 [running]:`, calls and their places.
fn go(stage: Stage, line: &[u8]) -> Option<Stage> {
    if stage == Stage::Text {
        return None;
    }
    let begins = |words: &[&[u8]]| words.iter().any(|word| line.starts_with(word));
    let is_call = line.ends_with(b")")
        && memchr::memmem::find(line, b"(").is_some_and(|at| at > 0)
        && memchr::memchr(b'.', line).is_some()
        && !line.contains(&b' ');
    let goes_on = line.trim_ascii().is_empty()
        || is_indented(line)
        || is_call
        || begins(&[b"goroutine ", b"[signal ", b"created by ", b"exit status ", b"runtime ", b"panic:"]);
    goes_on.then_some(Stage::Trace)
}

fn is_indented(line: &[u8]) -> bool {
    line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'))
}
