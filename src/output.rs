//! Standard output: text or JSON, and a reader that has gone away is no failure.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::exit::Failure;

/// Columns to write for: the terminal's, else `COLUMNS`, else 120.
pub(crate) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    tui::terminal_width().or(columns).unwrap_or(120).clamp(40, 400)
}

/// Whether glyphs beyond ASCII can be shown.
pub(crate) fn is_ascii() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    io::stdout().is_terminal()
        && locale.is_some_and(|locale| !locale.to_lowercase().replace('-', "").contains("utf8"))
}

/// Writes text to standard output.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    ignore_closed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line =
        serde_json::to_string_pretty(value).map_err(|error| Failure::runtime(error.to_string()))?;
    line.push('\n');
    text(&line)
}

/// Writes a value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_string(value).map_err(|error| Failure::runtime(error.to_string()))?;
    line.push('\n');
    text(&line)
}

/// Writes a remark to standard error.
pub(crate) fn remark(remark: &str) {
    // When standard error is gone there is nobody left to tell.
    drop(writeln!(io::stderr(), "{remark}"));
}

/// Writes over the last line of standard error; an empty text leaves it blank. For terminals only.
pub(crate) fn progress(text: &str) {
    let mut error = io::stderr();
    // When standard error is gone there is nobody left to tell.
    drop(write!(error, "\r\x1b[K{text}").and_then(|()| error.flush()));
}

/// Text from outside without the signs that a terminal acts on.
pub(crate) fn clean(text: &str) -> String {
    let is_acted_on = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_acted_on(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The signs of our own drawings in ASCII; others as `?`.
pub(crate) fn ascii(text: &str) -> String {
    let plain = |c: char| match c {
        '├' | '└' => '+',
        '─' | '—' => '-',
        '│' => '|',
        '·' => '.',
        '×' => 'x',
        c if c.is_ascii() => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

fn ignore_closed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        // The reader of a pipe has seen enough: `silmari logs … | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
