//! The one door for text from outside: control and escape sequences, bidirectional overrides and
//! invisible characters become visible and harmless.
//!
//! Invariant: what comes out has no character that moves a cursor, changes a colour, reorders its
//! neighbours or hides; and it is bounded by [`CHARS_MAX`].

use std::borrow::Cow;
use std::fmt::Write as _;

/// Longer text is cut here; no screen shows this much in one line.
pub(crate) const CHARS_MAX: usize = 4_096;
/// Marks on one character beyond these are dropped: a tower of them would draw over other rows.
const MARKS_MAX: usize = 3;

/// `text`, made safe to draw on one line.
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    let text = match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut marks = 0;
    for char in text.chars() {
        let is_mark = unicode_width::UnicodeWidthChar::width(char) == Some(0) && !is_hidden(char);
        marks = if is_mark { marks + 1 } else { 0 };
        if marks <= MARKS_MAX {
            push(char, &mut out);
        }
    }
    Cow::Owned(out)
}

/// Printable and one or two columns wide by itself.
fn is_plain(char: char) -> bool {
    matches!(char, ' '..='~')
        || (!char.is_control() && !is_hidden(char) && unicode_width::UnicodeWidthChar::width(char) != Some(0))
}

fn push(char: char, out: &mut String) {
    match char {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("  "),
        '\0'..='\x1f' => {
            out.push('^');
            out.push(char::from(char as u8 + b'@'));
        }
        '\x7f' => out.push_str("^?"),
        char if char.is_control() || is_hidden(char) => {
            // Writing to a string cannot fail.
            let _written = write!(out, "<U+{:04X}>", char as u32);
        }
        char => out.push(char),
    }
}

/// Characters that reorder or hide: bidirectional controls, zero-width spaces and joiners of words,
/// separators, annotations, tags, and private use, where fonts put anything.
fn is_hidden(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_become_visible_text() {
        assert_eq!(sanitize("\x1b]52;c;ZXZpbA==\x07 \x1b[2J"), "^[]52;c;ZXZpbA==^G ^[[2J");
        assert_eq!(sanitize("\u{9b}31m"), "<U+009B>31m");
        assert_eq!(sanitize("a\nb\tc\r\u{7f}"), "a\\nb  c\\r^?");
    }

    #[test]
    fn bidirectional_and_invisible_characters_are_named() {
        assert_eq!(sanitize("a\u{202e}b\u{200b}"), "a<U+202E>b<U+200B>");
        assert_eq!(sanitize("\u{2066}x\u{2069}"), "<U+2066>x<U+2069>");
    }

    #[test]
    fn ordinary_text_of_any_script_is_not_copied() {
        for text in ["plain", "köln", "東京", "실마리", "שלום"] {
            assert!(matches!(sanitize(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_tower_of_marks_is_cut_and_so_is_a_megabyte() {
        let tower = format!("a{}", "\u{301}".repeat(50));
        assert_eq!(sanitize(&tower).chars().count(), 1 + MARKS_MAX);
        assert_eq!(sanitize(&"x".repeat(1 << 20)).len(), CHARS_MAX);
    }
}
