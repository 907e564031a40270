//! logfmt: `key=value key="quoted \" value" flag`. A word without `=` is a flag with the value `true`.

use std::borrow::Cow;

use super::ParsedLine;
use super::role::{Role, Roles, role_of};

/// Which lines count as logfmt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accept {
    /// Those with at least one pair.
    Any,
    /// Those that begin with a pair and have two or more, one of them a time, level or message.
    OnlyLikely,
}

/// Reads a line; `false` when it is not logfmt.
pub(super) fn parse(line: &str, out: &mut ParsedLine, accept: Accept) -> bool {
    if accept == Accept::OnlyLikely && !is_likely(line) {
        return false;
    }
    let mut roles = Roles::default();
    let mut pairs = 0;
    for (key, value) in Pairs::new(line) {
        pairs += usize::from(value.is_some());
        roles.offer(key, value.as_deref().unwrap_or("true"), out);
    }
    if pairs == 0 {
        return false;
    }
    if !roles.settle(out) {
        out.set_body(line);
    }
    true
}

fn is_likely(line: &str) -> bool {
    if !line.trim_ascii_start().bytes().next().is_some_and(is_key_start) {
        return false;
    }
    let (mut pairs, mut has_role) = (0, false);
    for (at, (key, value)) in Pairs::new(line).enumerate() {
        let is_pair = value.is_some() && is_key(key);
        if at == 0 && !is_pair {
            return false;
        }
        pairs += usize::from(is_pair);
        has_role |= is_pair && matches!(role_of(key), Some((Role::Time | Role::Level | Role::Message, _)));
        if pairs >= 2 && has_role {
            return true;
        }
    }
    false
}

/// Whether a word may stand before `=` as a field's name.
pub(super) fn is_key(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_some_and(is_key_start)
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'@' | b'/'))
}

const fn is_key_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'@')
}

/// The words of a line: a key, and its value when `=` follows.
#[derive(Clone, Debug)]
pub(super) struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Pairs<'a> {
    /// The words of `text`.
    pub(super) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, Option<Cow<'a, str>>);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.trim_ascii_start();
        let is_end = |byte: &u8| *byte == b'=' || byte.is_ascii_whitespace();
        let end = text.as_bytes().iter().position(is_end).unwrap_or(text.len());
        if text.is_empty() {
            return None;
        }
        let key = &text[..end];
        let Some(after) = text[end..].strip_prefix('=') else {
            self.rest = &text[end..];
            return Some((key, None));
        };
        let (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = after.bytes().position(|byte| byte.is_ascii_whitespace()).unwrap_or(after.len());
                (Cow::Borrowed(&after[..end]), &after[end..])
            }
        };
        self.rest = rest;
        Some((key, Some(value)))
    }
}

/// The text up to the closing quote with its escapes resolved, and what follows the quote. A quote
/// that is never closed takes the rest.
pub(super) fn unquote(text: &str) -> (Cow<'_, str>, &str) {
    let mut value = String::new();
    let mut copied = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if copied == 0 && value.is_empty() => return (Cow::Borrowed(&text[..at]), &text[at + 1..]),
            '"' => {
                value.push_str(&text[copied..at]);
                return (Cow::Owned(value), &text[at + 1..]);
            }
            '\\' => {
                value.push_str(&text[copied..at]);
                let Some((at, escaped)) = chars.next() else {
                    value.push('\\');
                    return (Cow::Owned(value), "");
                };
                match escaped {
                    'n' => value.push('\n'),
                    't' => value.push('\t'),
                    'r' => value.push('\r'),
                    '"' | '\\' | '/' => value.push(escaped),
                    other => {
                        value.push('\\');
                        value.push(other);
                    }
                }
                copied = at + escaped.len_utf8();
            }
            _ => {}
        }
    }
    value.push_str(&text[copied..]);
    (Cow::Owned(value), "")
}
