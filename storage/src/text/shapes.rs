//! What lines have in common is indexed once: a line without its numbers is its *shape*, and most lines of a program have one
//! of few.
//!
//! ```text
//! line     Order 4711, 4712 took 12 ms      row's document     4711 4712 12 #B       tokens with a digit, and the shape's term
//! shape    order ? took ? ms                shape's document   order took ms         behind the documents of all rows
//!
//! shapes.bin   bytes 4 │ order ? took ? ms │ bytes 4 │ … │                           of each shape, in the order of their documents;
//! ```                                                                                bytes little-endian
//!
//! What stands between two numbers without a word belongs to the `?`, which is [`GAP`].
//!
//! Owns: which shapes there are, what stands in the documents, what a shape tells of its lines. Does not own: what a
//! token is (`tokens`).
//!
//! Invariants: every token of a line is in its row's document or in that of its shape, whose term is in its row's; a
//! line is its shape, upper and lower case the same, with some text in the place of each gap.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use xxhash_rust::xxh3::Xxh3Builder;

use super::tokens::{next_token, push_folded};

/// Shapes of one index; lines of further ones have their words in their own documents.
const SHAPES_MAX: usize = 65_536;
/// So many shapes are made whatever the lines are like.
const SHAPES_FREE: usize = 4_096;
/// With more, a new one is made only while there are so many lines for each.
const LINES_PER_SHAPE_MIN: usize = 4;
/// Bytes of the longest shape; a longer line has its words in its own document.
const SHAPE_BYTES_MAX: usize = 2_048;
/// What stands in a shape for numbers, and what is between them.
const GAP: char = '\0';
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
    /// By a hash that no sender knows.
    numbers: HashMap<String, u32, Xxh3Builder>,
    lines: usize,
    shapes_max: usize,
    shape: String,
    /// The token at hand.
    token: String,
}

impl Default for Shapes {
    fn default() -> Self {
        Self::with_max(SHAPES_MAX)
    }
}

impl Shapes {
    pub(super) fn with_max(shapes_max: usize) -> Self {
        let hasher = Xxh3Builder::new().with_seed(RandomState::new().hash_one(0));
        let (shape, token) = (String::new(), String::new());
        Self { numbers: HashMap::with_hasher(hasher), lines: 0, shapes_max, shape, token }
    }

    /// The document of a row with this text.
    pub(super) fn document(&mut self, text: &str) -> String {
        self.lines += 1;
        let (mut document, has_words) = self.take_apart(text);
        if !has_words {
            return document;
        }
        if self.shape.len() <= SHAPE_BYTES_MAX
            && let Some(number) = self.number()
        {
            document.push_str(&term(number));
            document.push(END);
        } else {
            document.push_str(&words(&self.shape));
        }
        document
    }

    /// Makes the shape of a line. Gives the tokens that are not in it, and whether it has others.
    fn take_apart(&mut self, text: &str) -> (String, bool) {
        self.shape.clear();
        let mut others = String::new();
        let Self { shape, token, .. } = self;
        let (mut at, mut gap, mut has_words) = (0, None, false);
        while let Some((raw, end)) = next_token(text, at) {
            shape.push_str(&text[at..end - raw.len()]);
            at = end;
            token.clear();
            let is_whole = push_folded(raw, token);
            if is_whole && !token.bytes().any(|byte| byte.is_ascii_digit()) {
                shape.push_str(token);
                (gap, has_words) = (None, true);
                continue;
            }
            others.push_str(token);
            others.push(END);
            if !is_whole {
                // The mark of an overlong token.
                others.push(END);
            }
            let from = *gap.get_or_insert(shape.len());
            shape.truncate(from);
            shape.push(GAP);
        }
        shape.push_str(&text[at..]);
        (others, has_words)
    }

    /// The number of the shape at hand.
    fn number(&mut self) -> Option<u32> {
        let known = self.numbers.len();
        if let Some(number) = self.numbers.get(&self.shape) {
            return Some(*number);
        }
        let has_room = known < self.shapes_max
            && (known < SHAPES_FREE || known.saturating_mul(LINES_PER_SHAPE_MIN) < self.lines);
        has_room.then(|| {
            self.numbers.insert(self.shape.clone(), known as u32);
            known as u32
        })
    }

    /// The shapes in the order of their numbers.
    pub(super) fn into_shapes(self) -> Vec<String> {
        let mut shapes: Vec<(u32, String)> =
            self.numbers.into_iter().map(|(shape, number)| (number, shape)).collect();
        shapes.sort_unstable();
        shapes.into_iter().map(|(_, shape)| shape).collect()
    }
}

/// The document of a shape: its words.
pub(super) fn words(shape: &str) -> String {
    let (mut words, mut at) = (String::new(), 0);
    while let Some((word, end)) = next_token(shape, at) {
        words.push_str(word);
        words.push(END);
        at = end;
    }
    words
}

/// The file with the shapes of an index.
pub(super) const FILE: &str = "shapes.bin";

/// Writes shapes behind others.
pub(super) fn store(shapes: &[String], file: &mut impl Write) -> io::Result<()> {
    for shape in shapes {
        // A shape has a few thousand bytes at most.
        file.write_all(&(shape.len() as u32).to_le_bytes())?;
        file.write_all(shape.as_bytes())?;
    }
    Ok(())
}

/// The shapes in the bytes of a file, as they were stored; what is behind a length that cannot be is left out.
pub(super) fn stored(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (shape, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(shape)
    })
}

/// Whether every line of the shape contains the pattern: its parts, one behind the other. Parts are folded as shapes
/// are; `false` says nothing.
pub(super) fn has(shape: &str, pattern: &[String]) -> bool {
    let mut left = shape;
    pattern.iter().all(|part| {
        let found = left.find(&**part).filter(|_| !part.contains(GAP));
        found.inspect(|at| left = &left[at + part.len()..]).is_some()
    })
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
        assert_eq!(shapes.document("order 4712 took 9, 10, -11 ms"), "4712\n9\n10\n11\n#A\n");
        assert_eq!(shapes.document("a9 of b"), "a9\n#B\n");
        assert_eq!(shapes.document("too many"), "too\nmany\n");
        assert_eq!(shapes.document("17"), "17\n");
        assert_eq!(shapes.document("..."), "");
        assert_eq!(
            shapes.document(&"x".repeat(70)),
            format!("{}\n\n", "x".repeat(64)),
            "what fits, and the mark"
        );
        assert_eq!(shapes.into_shapes(), ["order \0 took \0 ms", "\0 of b"]);
    }

    #[test]
    fn a_shape_knows_what_all_its_lines_contain() {
        let shape = "order \0 took \0 ms, done";
        assert_eq!(words(shape), "order\ntook\nms\ndone\n");
        let has =
            |parts: &[&str]| has(shape, &parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert!(has(&[" ms, d"]) && has(&["order", "took ", "do"]) && has(&["", ""]));
        assert!(!has(&["took", "order"]) && !has(&["order took"]) && !has(&["\0"]) && !has(&["m", "ms"]));
    }

    #[test]
    fn stored_shapes_read_back_and_end_where_they_are_damaged() {
        let shapes = ["order \0 took \0 ms", "", "\u{df}"].map(str::to_owned);
        let mut bytes = Vec::new();
        store(&shapes, &mut bytes).expect("in memory");
        store(&shapes[..1], &mut bytes).expect("in memory");
        let read = |bytes: &[u8]| -> Vec<String> {
            stored(bytes).map(|shape| String::from_utf8_lossy(shape).into_owned()).collect()
        };
        assert_eq!(read(&bytes), [&shapes[..], &shapes[..1]].concat());
        for end in 0..bytes.len() {
            assert!(
                shapes
                    .iter()
                    .chain(&shapes[..1])
                    .cloned()
                    .collect::<Vec<_>>()
                    .starts_with(&read(&bytes[..end]))
            );
        }
        let mut damaged = bytes.clone();
        damaged[3] = 0xff;
        assert_eq!(read(&damaged), Vec::<String>::new());
        bytes[4] = 0xff;
        assert_eq!(read(&bytes)[1..], [&shapes[1..], &shapes[..1]].concat(), "the others are as they were");
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
        assert!(shapes.into_shapes().len() <= 5_000);
    }
}
