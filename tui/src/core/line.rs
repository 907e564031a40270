//! A line of text with meaning instead of colour: what screens are made of, and plain output too.
//!
//! Invariant: text enters a line only through [`sanitize`], so no line can carry an escape sequence.
//! Widths are terminal columns, measured grapheme by grapheme.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use super::sanitize::sanitize;

/// What a piece of text means; the theme decides how that looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Role {
    /// Ordinary text.
    #[default]
    Text,
    /// Headings and values that matter.
    Strong,
    /// What may be overlooked.
    Dim,
    /// Names one can follow, the active tab.
    Accent,
    /// Well.
    Ok,
    /// Needs a look.
    Warn,
    /// Failed.
    Bad,
    /// Waiting time.
    Wait,
    /// Lines between panes.
    Rule,
    /// The n-th series of a chart.
    Series(u8),
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// What it means.
    pub(crate) role: Role,
    /// What it says; sanitized.
    pub(crate) text: String,
}

/// Pieces from left to right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    spans: Vec<Span>,
    width: usize,
}

/// Columns that `text` takes.
pub(crate) fn width_of(text: &str) -> usize {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.len();
    }
    text.graphemes(true).map(|grapheme| grapheme.width()).sum()
}

/// `text` in at most `width` columns; `…` stands for what is cut.
pub(crate) fn truncate(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used >= width {
            break;
        }
        out.push_str(grapheme);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

impl Line {
    /// An empty line.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A line of one piece.
    pub(crate) fn of(role: Role, text: &str) -> Self {
        Self::new().with(role, text)
    }

    /// Appends `text`.
    pub(crate) fn push(&mut self, role: Role, text: &str) {
        self.push_clean(role, sanitize(text).into_owned());
    }

    /// Appends `text` and returns the line.
    pub(crate) fn with(mut self, role: Role, text: &str) -> Self {
        self.push(role, text);
        self
    }

    /// Appends `text` in exactly `width` columns, at the left of them.
    pub(crate) fn cell(&mut self, role: Role, text: &str, width: usize) {
        let text = truncate(&sanitize(text), width);
        let rest = width.saturating_sub(width_of(&text));
        self.push_clean(role, text);
        self.gap(rest);
    }

    /// Appends `text` in exactly `width` columns, at the right of them.
    pub(crate) fn cell_right(&mut self, role: Role, text: &str, width: usize) {
        let text = truncate(&sanitize(text), width);
        self.gap(width.saturating_sub(width_of(&text)));
        self.push_clean(role, text);
    }

    /// Appends `columns` spaces.
    pub(crate) fn gap(&mut self, columns: usize) {
        if columns > 0 {
            self.push_clean(Role::Text, " ".repeat(columns));
        }
    }

    /// Appends spaces up to column `column`.
    pub(crate) fn pad_to(&mut self, column: usize) {
        self.gap(column.saturating_sub(self.width));
    }

    /// Appends the pieces of another line.
    pub(crate) fn append(&mut self, other: Self) {
        self.width += other.width;
        self.spans.extend(other.spans);
    }

    /// This line with `right` at the right end of `width` columns. What does not fit is cut from this
    /// line first.
    pub(crate) fn with_right(self, right: Self, width: usize) -> Self {
        let right = right.fit(width);
        let room = width - right.width;
        let mut line = self.fit(if right.width == 0 { room } else { room.saturating_sub(1) });
        line.pad_to(room);
        line.append(right);
        line
    }

    /// This line in at most `width` columns.
    pub(crate) fn fit(self, width: usize) -> Self {
        if self.width <= width {
            return self;
        }
        let mut out = Self::new();
        for span in self.spans {
            let room = width - out.width;
            if width_of(&span.text) > room || (room == 0 && width > 0) {
                out.push_clean(span.role, truncate(&span.text, room));
                break;
            }
            out.push_clean(span.role, span.text);
        }
        out
    }

    /// Columns it takes.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Its pieces.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Its text without meaning and without spaces at the end.
    pub(crate) fn plain(&self) -> String {
        let mut text: String = self.spans.iter().map(|span| span.text.as_str()).collect();
        text.truncate(text.trim_end().len());
        text
    }

    fn push_clean(&mut self, role: Role, text: String) {
        if text.is_empty() {
            return;
        }
        self.width += width_of(&text);
        match self.spans.last_mut() {
            Some(last) if last.role == role => last.text.push_str(&text),
            _ => self.spans.push(Span { role, text }),
        }
    }
}

/// A line across the screen, with `title` in it if there is one.
pub(crate) fn rule(width: usize) -> Line {
    Line::of(Role::Rule, &"─".repeat(width))
}

/// Breaks `text` into lines of at most `width` columns, at spaces where there are any, and at the
/// line breaks it has. At most `lines_max` lines.
pub(crate) fn wrap(text: &str, width: usize, lines_max: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if width == 0 {
        return lines;
    }
    for source in text.split('\n') {
        let clean = sanitize(source.trim_end_matches('\r'));
        let mut line = String::new();
        for word in clean.split_inclusive(' ') {
            let mut rest = word;
            if width_of(&line) + width_of(word.trim_end()) > width && !line.is_empty() {
                lines.push(trimmed(std::mem::take(&mut line)));
            }
            while width_of(rest.trim_end()) > width {
                let cut = prefix_of_width(rest, width);
                lines.push(rest[..cut].to_owned());
                rest = &rest[cut..];
                if lines.len() >= lines_max {
                    break;
                }
            }
            line.push_str(rest);
        }
        if !line.is_empty() || clean.is_empty() {
            lines.push(trimmed(line));
        }
        if lines.len() >= lines_max {
            lines.truncate(lines_max);
            break;
        }
    }
    lines
}

/// Spaces at the end would take columns that nobody sees.
fn trimmed(mut line: String) -> String {
    line.truncate(line.trim_end().len());
    line
}

/// Bytes of the longest prefix of at most `width` columns; at least one grapheme.
fn prefix_of_width(text: &str, width: usize) -> usize {
    let mut used = 0;
    let mut end = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        used += grapheme.width();
        if used > width && end > 0 {
            break;
        }
        end = at + grapheme.len();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_take_exactly_their_width_whatever_the_text() {
        for text in ["", "short", "a very long text", "東京都千代田区", "a\x1b[31m"] {
            let mut line = Line::new();
            line.cell(Role::Text, text, 7);
            line.cell_right(Role::Text, text, 7);
            assert_eq!(line.width(), 14, "{text}");
        }
    }

    #[test]
    fn the_right_side_stays_and_the_left_side_is_cut() {
        let line = Line::of(Role::Text, "left left left").with_right(Line::of(Role::Dim, "right"), 12);
        assert_eq!(line.plain(), "left … right");
        assert_eq!(Line::of(Role::Text, "left").with_right(Line::of(Role::Dim, "right"), 3).plain(), "ri…");
    }

    #[test]
    fn long_words_and_line_breaks_wrap() {
        assert_eq!(wrap("one two three\nfour", 8, 9), ["one two", "three", "four"]);
        assert_eq!(wrap("abcdefghij", 4, 9), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\nb\nc", 4, 2), ["a", "b"]);
        assert!(wrap("東京都", 1, 9).len() == 3, "a character wider than the line still advances");
    }
}
