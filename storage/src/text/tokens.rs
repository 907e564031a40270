//! Cutting text into tokens, for tantivy.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// Bytes of the longest token in the index.
pub(crate) const TOKEN_BYTES_MAX: usize = 64;

/// The byte that stands for a token character; `None` for what separates tokens.
pub(super) fn fold(char: char) -> Option<u8> {
    match char {
        '\u{212A}' => Some(b'k'),
        '\u{17F}' => Some(b's'),
        _ if char.is_ascii_alphanumeric() => Some(char.to_ascii_lowercase() as u8),
        _ => None,
    }
}

/// The tokenizer of the text index.
#[derive(Clone, Default)]
pub(super) struct TextTokenizer {
    token: Token,
}

/// The tokens of one text.
pub(super) struct TextTokens<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
    /// Whether a token was too long and its mark has not been given yet.
    owes_mark: bool,
}

impl Tokenizer for TextTokenizer {
    type TokenStream<'a> = TextTokens<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> TextTokens<'a> {
        self.token.reset();
        TextTokens { text, at: 0, token: &mut self.token, owes_mark: false }
    }
}

impl TokenStream for TextTokens<'_> {
    fn advance(&mut self) -> bool {
        self.token.text.clear();
        // A token that is reset stands before the first position.
        self.token.position = self.token.position.wrapping_add(1);
        for char in self.text[self.at..].chars() {
            self.at += char.len_utf8();
            match fold(char) {
                Some(byte) if self.token.text.len() < TOKEN_BYTES_MAX => {
                    self.token.text.push(char::from(byte));
                }
                Some(_) => self.owes_mark = true,
                None if self.token.text.is_empty() => {}
                None => return true,
            }
        }
        // The last token, then the mark.
        !self.token.text.is_empty() || std::mem::take(&mut self.owes_mark)
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
