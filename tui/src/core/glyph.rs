//! The glyphs of the chrome, and the ASCII twin of every one of them.
//!
//! Invariant: a twin takes as many columns as its glyph, so ASCII is a last pass over finished lines.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// A span on the timeline.
pub(crate) const SPAN: &str = "●";
/// A log record.
pub(crate) const LOG: &str = "≡";
/// A measurement of a metric.
pub(crate) const EXEMPLAR: &str = "◆";
/// The same on the time axis.
pub(crate) const EXEMPLAR_MARK: char = '◆';
/// An error.
pub(crate) const ERROR: &str = "✖";
/// A queue wait.
pub(crate) const WAIT: &str = "╌";
/// A row on the critical path.
pub(crate) const CRITICAL: &str = "┃";
/// The selected row.
pub(crate) const SELECTED: &str = "▸";
/// A request under way.
pub(crate) const ASKING: &str = "⟳";
/// Heights of a sparkline, lowest first.
pub(crate) const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The ASCII twin of one character that takes one column.
fn twin(char: char) -> char {
    match char {
        ' '..='~' => char,
        '●' => 'o',
        '≡' => '=',
        '◆' => '*',
        '✖' => 'x',
        '╌' | '─' | '┈' => '-',
        '▸' | '→' => '>',
        '▾' => 'v',
        '◂' | '←' => '<',
        '▲' | '↑' => '^',
        '▼' | '↓' => 'v',
        '⟳' => '~',
        '·' | '…' | '▁' => '.',
        '▂' => ',',
        '▃' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' => '*',
        '▇' => '%',
        '█' => '#',
        '▒' => ':',
        '▌' => '[',
        '▐' => ']',
        '░' => '.',
        '│' | '┃' => '|',
        '┤' | '┬' | '┼' | '┴' | '├' | '┐' | '└' | '┘' | '┌' => '+',
        '±' => '~',
        '≥' => '>',
        '×' => 'x',
        'µ' => 'u',
        '–' => '-',
        '\u{2800}' => ' ',
        '\u{2801}'..='\u{28ff}' => braille_twin(char as u32 - 0x2800),
        _ => '?',
    }
}

/// Dots of the upper half, the lower half, or both.
fn braille_twin(dots: u32) -> char {
    // Bits 0,1,3,4 are the two upper rows; 2,5,6,7 the two lower ones.
    match (dots & 0b0001_1011 != 0, dots & 0b1110_0100 != 0) {
        (true, true) => '|',
        (true, false) => '\'',
        _ => '.',
    }
}

/// `text` with every character replaced by its twin, column for column.
pub(crate) fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for grapheme in text.graphemes(true) {
        let mut chars = grapheme.chars();
        match (chars.next(), grapheme.width()) {
            (Some(char), 1) => out.push(if chars.next().is_none() { twin(char) } else { '?' }),
            (_, width) => out.extend(std::iter::repeat_n('?', width)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_glyph_of_the_chrome_has_a_twin_of_its_own_width() {
        let chrome = "●≡◆✖╌─▸▾◂▲▼⟳·…▁▂▃▄▅▆▇█▒▌▐░│┤┬┼┴├±≥×µ→←";
        let ascii = ascii(chrome);
        assert_eq!(ascii.len(), chrome.chars().count());
        assert!(!ascii.contains('?'), "{ascii}");
    }

    #[test]
    fn foreign_text_keeps_its_columns() {
        assert_eq!(ascii("東a"), "??a");
        assert_eq!(ascii("⠉⣀⣿"), "'.|");
    }
}
