//! What lines have in common is indexed once: the words of a line, in which nothing is a number, are its *shape*, and most
//! lines of a program have one of few.
//!
//! ```text
//! line     order 4711 took 12 ms          row's document     4711 12 #B          tokens with a digit, and the shape's term
//! shape    order took ms                  shape's document   order took ms       behind the documents of all rows
//! ```
//!
//! Owns: which shapes there are, and what stands in the documents. Does not own: what a token is (`tokens`).
//!
//! Invariant: every token of a line is in its row's document or in that of its shape, whose term is in its row's.

use std::collections::HashMap;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use super::tokens::TextTokenizer;

/// Shapes of one index; lines of further ones have their words in their own documents.
const SHAPES_MAX: usize = 65_536;
/// So many shapes are made whatever the lines are like.
const SHAPES_FREE: usize = 4_096;
/// With more, a new one is made only while there are so many lines for each.
const LINES_PER_SHAPE_MIN: usize = 4;
/// What the term of a shape begins with: no token has it.
const SIGN: char = '#';
/// What every token in a document ends with.
const END: char = '\n';

/// The term of a shape. Its letters are in upper case, so that no piece of a token is found in it.
pub(super) fn term(number: u32) -> String {
    let mut term = String::from(SIGN);
    let mut left = number;
    loop {
        term.push(char::from(b'A' + (left % 16) as u8));
        left /= 16;
        if left == 0 {
            return term;
        }
    }
}

/// Takes lines apart.
pub(super) struct Shapes {
    numbers: HashMap<String, u32>,
    lines: usize,
    shapes_max: usize,
    tokenizer: TextTokenizer,
    words: String,
}

impl Default for Shapes {
    fn default() -> Self {
        Self::with_max(SHAPES_MAX)
    }
}

impl Shapes {
    pub(super) fn with_max(shapes_max: usize) -> Self {
        let (numbers, tokenizer, words) = (HashMap::new(), TextTokenizer::default(), String::new());
        Self { numbers, lines: 0, shapes_max, tokenizer, words }
    }

    /// The document of a row with this text.
    pub(super) fn document(&mut self, text: &str) -> String {
        self.lines += 1;
        self.words.clear();
        let mut document = String::new();
        let mut tokens = self.tokenizer.token_stream(text);
        while tokens.advance() {
            let token = &tokens.token().text;
            // The mark of an overlong token, which is empty, belongs to the row.
            let is_word = !token.is_empty() && !token.bytes().any(|byte| byte.is_ascii_digit());
            let to = if is_word { &mut self.words } else { &mut document };
            to.push_str(token);
            to.push(END);
        }
        if self.words.is_empty() {
            return document;
        }
        match self.number() {
            Some(number) => {
                document.push_str(&term(number));
                document.push(END);
            }
            None => document.push_str(&self.words),
        }
        document
    }

    /// The number of the shape with these words.
    fn number(&mut self) -> Option<u32> {
        let known = self.numbers.len();
        if let Some(number) = self.numbers.get(&self.words) {
            return Some(*number);
        }
        let has_room = known < self.shapes_max
            && (known < SHAPES_FREE || known.saturating_mul(LINES_PER_SHAPE_MIN) < self.lines);
        has_room.then(|| {
            self.numbers.insert(self.words.clone(), known as u32);
            known as u32
        })
    }

    /// The documents of the shapes, in the order of their numbers.
    pub(super) fn into_documents(self) -> Vec<String> {
        let mut shapes: Vec<(u32, String)> =
            self.numbers.into_iter().map(|(words, number)| (number, words)).collect();
        shapes.sort_unstable();
        shapes.into_iter().map(|(_, words)| words).collect()
    }
}

/// The tokenizer of documents that were put together here.
#[derive(Clone, Default)]
pub(super) struct DocumentTokenizer {
    token: Token,
}

/// The tokens of one document.
pub(super) struct DocumentTokens<'a> {
    left: &'a str,
    token: &'a mut Token,
}

impl Tokenizer for DocumentTokenizer {
    type TokenStream<'a> = DocumentTokens<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> DocumentTokens<'a> {
        self.token.reset();
        DocumentTokens { left: text, token: &mut self.token }
    }
}

impl TokenStream for DocumentTokens<'_> {
    fn advance(&mut self) -> bool {
        let Some((token, rest)) = self.left.split_once(END) else { return false };
        self.left = rest;
        self.token.text.clear();
        self.token.text.push_str(token);
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_its_numbers_and_its_shape() {
        let mut shapes = Shapes::with_max(2);
        assert_eq!(shapes.document("Order 4711 took 12 ms"), "4711\n12\n#A\n");
        assert_eq!(shapes.document("order 4712 took 9 ms!"), "4712\n9\n#A\n");
        assert_eq!(shapes.document("a9 of b"), "a9\n#B\n");
        assert_eq!(shapes.document("too many"), "too\nmany\n");
        assert_eq!(shapes.document("17"), "17\n");
        assert_eq!(shapes.document("..."), "");
        assert_eq!(
            shapes.document(&"x".repeat(70)),
            format!("\n{}\n", "x".repeat(64)),
            "the mark, and what fits"
        );
        assert_eq!(shapes.into_documents(), ["order\ntook\nms\n", "of\nb\n"]);
    }

    #[test]
    fn terms_of_shapes_are_like_no_token() {
        assert_eq!([0, 15, 16, 65_535].map(term), ["#A", "#P", "#AB", "#PPPP"]);
    }

    #[test]
    fn lines_that_are_all_different_have_few_shapes() {
        let mut shapes = Shapes::default();
        let word = |mut number: usize| -> String {
            let mut word = String::new();
            while number > 0 {
                word.push(char::from(b'a' + (number % 26) as u8));
                number /= 26;
            }
            word
        };
        (1..=20_000).for_each(|line| drop(shapes.document(&word(line))));
        assert!(shapes.into_documents().len() <= 5_000);
    }
}
