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

/// What a byte is: of a character of its own whether it separates tokens, or of a longer character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Separator,
    Token,
    Wide,
}

/// The class of every byte: nearly all text is ASCII, and a character is looked at only where it is not.
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Wide; 256];
    let mut byte = 0;
    while byte < 128 {
        let is_token = (byte as u8).is_ascii_alphanumeric();
        classes[byte] = if is_token { Class::Token } else { Class::Separator };
        byte += 1;
    }
    classes
};

/// The first byte from `at` on of a character that belongs to a token, or that does not.
#[inline]
fn first(text: &str, at: usize, of_token: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = at;
    loop {
        let class = CLASSES[usize::from(*bytes.get(at)?)];
        if class == Class::Wide {
            let char = text[at..].chars().next()?;
            if fold(char).is_some() == of_token {
                return Some(at);
            }
            at += char.len_utf8();
        } else if (class == Class::Token) == of_token {
            return Some(at);
        } else {
            at += 1;
        }
    }
}

/// The next token in `text` from the byte `at` on, and the first byte behind it; `None` when there is none.
#[inline]
pub(super) fn next_token(text: &str, at: usize) -> Option<(&str, usize)> {
    let from = first(text, at, true)?;
    let end = first(text, from, false).unwrap_or(text.len());
    Some((&text[from..end], end))
}

/// Appends what the index has of a token, which is not more than [`TOKEN_BYTES_MAX`] bytes of it. Says whether that is all.
#[inline]
pub(super) fn push_folded(token: &str, to: &mut String) -> bool {
    if token.len() <= TOKEN_BYTES_MAX && token.is_ascii() {
        let from = to.len();
        to.push_str(token);
        to[from..].make_ascii_lowercase();
        return true;
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_are_the_longest_runs_of_token_characters_folded(
            text in "[aZ9 ./é\u{212A}\u{17F}\u{0}x]{0,90}|[a-c]{60,70}",
        ) {
            let mut expected: Vec<String> = Vec::new();
            let mut is_in_token = false;
            for char in text.chars() {
                if fold(char).is_some() && !is_in_token {
                    expected.push(String::new());
                }
                is_in_token = fold(char).is_some();
                expected.last_mut().into_iter().for_each(|token| token.extend(fold(char).map(char::from)));
            }
            let (mut at, mut found, mut between) = (0, Vec::new(), String::new());
            while let Some((token, end)) = next_token(&text, at) {
                between.push_str(&text[at..end - token.len()]);
                at = end;
                let mut folded = "before".to_owned();
                let is_all = push_folded(token, &mut folded);
                let whole: String = token.chars().filter_map(fold).map(char::from).collect();
                prop_assert_eq!(is_all, whole.len() <= TOKEN_BYTES_MAX);
                prop_assert_eq!(&folded["before".len()..], &whole[..whole.len().min(TOKEN_BYTES_MAX)]);
                found.push(whole);
            }
            between.push_str(&text[at..]);
            prop_assert_eq!(found, expected);
            prop_assert!(between.chars().all(|char| fold(char).is_none()));
        }
    }
}
