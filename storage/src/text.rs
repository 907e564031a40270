//! The text index of a segment: which rows may contain a piece of text. Tantivy, a document a row and one for what many
//! lines have in common (`shapes`), or one for every [`ROWS_PER_DOCUMENT`] rows where texts repeat as a whole.
//!
//! Owns: what a token is, the index, [`TextHint`]. Does not own: whether a row matches a search. The index
//! only says which rows need not be read.
//!
//! ```text
//! body   acquirer Timeout: order_id=ORD-4711         search  "timeout: ord"
//! token  acquirer timeout order id ord 4711                   timeout  ends some token
//!                                                             ord      begins some token
//! ```
//!
//! A token is a longest run of ASCII letters and digits, in lower case; `K` (U+212A) counts as k and `ſ`
//! (U+017F) as s, because searches that ignore case say so. Every other character separates tokens. A row
//! with a token of more than [`TOKEN_BYTES_MAX`] bytes has the empty token besides, and may contain anything.
//!
//! Invariants: a row that contains the text of a hint, upper and lower case the same, is among the rows the index
//! gives for it; each row that it is sure of contains all of the text.

pub(crate) mod files;
mod index;
mod parts;
mod rows;
mod shapes;
mod tokens;
mod writer;

pub(crate) use index::{ROWS_PER_DOCUMENT, TextIndex, caught};
pub(crate) use rows::{Rows, TextRows};
pub(crate) use tokens::TOKEN_BYTES_MAX;
pub(crate) use writer::TextIndexWriter;

/// Bytes from which on a piece that is not a whole token is looked for.
const PART_BYTES_MIN: usize = 3;

/// Text that every wanted row contains, upper and lower case the same. Rows that do not contain it may be
/// left out of a scan, or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextHint {
    pieces: Vec<Piece>,
    /// Each a run of parts that follow one another, with anything between them; folded as the index folds.
    patterns: Vec<Vec<String>>,
}

/// A run of token characters in the text, and whether the text says where the token ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) token: String,
    pub(crate) is_start: bool,
    pub(crate) is_end: bool,
}

impl TextHint {
    /// Adds text that wanted rows contain.
    #[must_use]
    pub fn and(self, text: &str) -> Self {
        self.and_pattern(&[text])
    }

    /// Adds texts that wanted rows contain one behind the other, with anything between them.
    #[must_use]
    pub fn and_pattern(mut self, parts: &[impl AsRef<str>]) -> Self {
        let folded = |char| tokens::fold(char).map_or(char, char::from);
        let pattern = parts.iter().map(|part| part.as_ref().chars().map(folded).collect());
        self.patterns.push(pattern.collect());
        parts.iter().for_each(|part| self.add_pieces(part.as_ref()));
        self
    }

    fn add_pieces(&mut self, text: &str) {
        let chars = text.chars().count();
        let mut piece: Option<(usize, String)> = None;
        for (at, char) in text.chars().chain(['\0']).enumerate() {
            match (tokens::fold(char), &mut piece) {
                (Some(byte), Some((_, token))) => token.push(char::from(byte)),
                (Some(byte), None) => piece = Some((at, char::from(byte).to_string())),
                (None, _) => {
                    if let Some((start, token)) = piece.take() {
                        self.add(Piece { token, is_start: start > 0, is_end: at < chars });
                    }
                }
            }
        }
    }

    fn add(&mut self, piece: Piece) {
        let is_whole = piece.is_start && piece.is_end;
        let is_long = piece.token.len() >= PART_BYTES_MIN;
        if (is_whole || is_long) && piece.token.len() <= TOKEN_BYTES_MAX {
            self.pieces.push(piece);
        }
    }

    /// Whether it rules nothing out.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(crate) fn patterns(&self) -> &[Vec<String>] {
        &self.patterns
    }
}

#[cfg(test)]
mod tests;
