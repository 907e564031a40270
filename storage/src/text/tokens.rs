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

/// The next token in `text` from the byte `at` on, and the first byte behind it; `None` when there is none.
pub(super) fn next_token(text: &str, at: usize) -> Option<(&str, usize)> {
    let from = at + text[at..].find(|char| fold(char).is_some())?;
    let bytes = text[from..].find(|char| fold(char).is_none()).unwrap_or(text.len() - from);
    Some((&text[from..from + bytes], from + bytes))
}

/// Appends what the index has of a token, which is not more than [`TOKEN_BYTES_MAX`] bytes of it. Says whether that is all.
pub(super) fn push_folded(token: &str, to: &mut String) -> bool {
    let mut bytes = token.chars().filter_map(fold);
    to.extend(bytes.by_ref().take(TOKEN_BYTES_MAX).map(char::from));
    bytes.next().is_none()
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
        // The last token, then the mark.
        let Some((token, end)) = next_token(self.text, self.at) else {
            self.at = self.text.len();
            return std::mem::take(&mut self.owes_mark);
        };
        self.at = end;
        self.owes_mark |= !push_folded(token, &mut self.token.text);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
