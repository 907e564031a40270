//! Hiding secrets, in the agent's lines and in what the server receives: one look for all literals, then only the
//! patterns whose literals were found.
//!
//! What is found is replaced by `[redacted:KIND]`, so that a reader sees that there was something. In a JSON
//! line the replacement keeps the line JSON. Invariant: text without secrets is returned as it was, borrowed.

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;

/// Digits of a card number.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
const MARK: &str = "[redacted:";

/// A group of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedactPreset {
    /// `tokens` and `passwords`.
    Default,
    /// Access keys, bearer tokens, JSON web tokens, private keys.
    Tokens,
    /// The value of keys named like a password or a secret.
    Passwords,
    /// E-mail addresses.
    Email,
    /// Card numbers with a valid check digit (Luhn).
    Cards,
}

/// What a preset looks for.
#[derive(Clone, Copy, Debug)]
struct Known {
    preset: RedactPreset,
    kind: &'static str,
    /// One of them is in every text that the pattern matches; letters match whatever their case.
    literals: &'static [&'static str],
    pattern: &'static str,
}

const fn known(
    preset: RedactPreset,
    kind: &'static str,
    literals: &'static [&'static str],
    pattern: &'static str,
) -> Known {
    Known { preset, kind, literals, pattern }
}

const KNOWN: [Known; 12] = [
    known(
        RedactPreset::Tokens,
        "private_key",
        &["-----BEGIN"],
        r#"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^"]*?-----END [A-Z ]*PRIVATE KEY-----|[^"]*)"#,
    ),
    known(
        RedactPreset::Tokens,
        "jwt",
        &["eyJ"],
        r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*",
    ),
    known(
        RedactPreset::Tokens,
        "authorization",
        &["authorization"],
        r#"(?i)authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|digest|token|apikey)\s+)?([^\s"',;\[]+)"#,
    ),
    known(RedactPreset::Tokens, "token", &["bearer"], r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{16,})"),
    known(RedactPreset::Tokens, "aws_key", &["AKIA", "ASIA"], r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    known(
        RedactPreset::Tokens,
        "token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})",
    ),
    known(RedactPreset::Tokens, "token", &["xox"], r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    known(RedactPreset::Tokens, "token", &["k_live_"], r"\b[sr]k_live_[A-Za-z0-9]{10,}"),
    known(RedactPreset::Tokens, "token", &["AIza"], r"\bAIza[0-9A-Za-z_-]{35}"),
    known(
        RedactPreset::Passwords,
        "password",
        &["passw", "pwd", "secret", "apikey", "api_key", "api-key", "token"],
        r#"(?i)(?:passw(?:or)?d|pwd|secret|api[_-]?key|token)["']?\s*[:=]\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"'&,;})\]]+))"#,
    ),
    known(RedactPreset::Passwords, "password", &["://"], r#"://[^/\s:@"]*:([^/\s@"]+)@"#),
    known(
        RedactPreset::Email,
        "email",
        &["@"],
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
    ),
];

#[derive(Clone, Debug)]
struct Rule {
    kind: &'static str,
    pattern: Pattern,
}

/// What is hidden. Cheap to use, not to make.
#[derive(Clone, Debug)]
pub struct Redactor {
    rules: Vec<Rule>,
    literals: AhoCorasick,
    /// The rule of every literal.
    rule_of: Vec<usize>,
    custom: Vec<Pattern>,
    has_cards: bool,
}

impl Redactor {
    /// `None` when there is nothing to hide.
    pub fn new(presets: &[RedactPreset], custom: &[Pattern]) -> Option<Self> {
        let has = |wanted: RedactPreset| {
            let in_default = matches!(wanted, RedactPreset::Tokens | RedactPreset::Passwords);
            presets.contains(&wanted) || in_default && presets.contains(&RedactPreset::Default)
        };
        let chosen = KNOWN.iter().filter(|known| has(known.preset));
        let (mut rules, mut words, mut rule_of) = (Vec::new(), Vec::<&str>::new(), Vec::new());
        for known in chosen {
            words.extend(known.literals);
            rule_of.resize(words.len(), rules.len());
            let pattern = Pattern::new(known.pattern).expect("the presets are tested to compile");
            rules.push(Rule { kind: known.kind, pattern });
        }
        let literals = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&words)
            .expect("a few short words fit");
        let has_cards = has(RedactPreset::Cards);
        let has_any = !rules.is_empty() || !custom.is_empty() || has_cards;
        has_any.then(|| Self { rules, literals, rule_of, custom: custom.to_vec(), has_cards })
    }

    /// Whether bytes can hold a secret, told without looking at patterns: `false` means that no text in them has one.
    pub fn may_match(&self, bytes: &[u8]) -> bool {
        !self.custom.is_empty()
            || (!self.rules.is_empty() && self.literals.is_match(bytes))
            || (self.has_cards && has_long_number(bytes))
    }

    /// What the value of an attribute called `key` is, if its name alone says that it is a secret.
    pub fn kind_of_key(&self, key: &str) -> Option<String> {
        if self.rules.is_empty() || !self.literals.is_match(key) {
            return None;
        }
        let hidden = self.redact(Cow::Owned(format!("{key}={}", "x".repeat(20))));
        let kind = hidden.split_once(MARK)?.1;
        Some(kind.split(']').next().unwrap_or_default().to_owned())
    }

    /// The text with its secrets replaced.
    pub fn redact<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        let mut found = 0u64;
        if !self.rules.is_empty() {
            for literal in self.literals.find_overlapping_iter(&*text) {
                found |= 1 << self.rule_of[literal.pattern().as_usize()];
            }
        }
        let mut text = text;
        for (at, rule) in self.rules.iter().enumerate() {
            if found & 1 << at != 0 {
                text = replace(text, &rule.pattern, rule.kind);
            }
        }
        for pattern in &self.custom {
            text = replace(text, pattern, "custom");
        }
        if self.has_cards {
            text = replace_ranges(text, "card", |text, from| find_card(text.as_bytes(), from));
        }
        text
    }
}

/// What stands for a secret of this kind.
pub fn mark(kind: &str) -> String {
    format!("{MARK}{kind}]")
}

/// Whether there is a number as long as that of a card.
fn has_long_number(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let (end, digits) = number_at(bytes, at);
        if digits >= *CARD_DIGITS.start() {
            return true;
        }
        at = end;
    }
    false
}

/// Replaces what a pattern finds: its first group that took part, or all of it.
fn replace<'a>(text: Cow<'a, str>, pattern: &Pattern, kind: &str) -> Cow<'a, str> {
    let regex = pattern.regex();
    if !regex.is_match(&*text) {
        return text;
    }
    let mut captures = regex.create_captures();
    replace_ranges(text, kind, move |text, from| {
        let mut from = from;
        loop {
            regex.captures(regex_automata::Input::new(text).range(from..), &mut captures);
            let whole = captures.get_match()?;
            let group = (1..captures.group_len()).find_map(|group| captures.get_group(group));
            let range = group.map_or(whole.range(), |group| group.start..group.end);
            let is_hidden = text[range.clone()].starts_with(MARK);
            if !range.is_empty() && !is_hidden {
                return Some(range);
            }
            from = whole.end().max(from + 1);
            if from > text.len() || !text.is_char_boundary(from) {
                return None;
            }
        }
    })
}

/// Replaces every range that `next` finds, asked with the end of the one before.
fn replace_ranges<'a>(
    text: Cow<'a, str>,
    kind: &str,
    mut next: impl FnMut(&str, usize) -> Option<Range<usize>>,
) -> Cow<'a, str> {
    let Some(first) = next(&text, 0) else { return text };
    let is_json = text.trim_ascii_start().starts_with('{');
    let mut out = String::with_capacity(text.len() + 16);
    let (mut range, mut written) = (first, 0);
    loop {
        out.push_str(&text[written..range.start]);
        // A bare value of JSON, as in {"pwd":1234}, becomes a text.
        let before = text[..range.start].trim_ascii_end();
        let is_bare = is_json && before.ends_with(':') && before[..before.len() - 1].ends_with('"');
        let quote = if is_bare { "\"" } else { "" };
        out.push_str(quote);
        out.push_str(MARK);
        out.push_str(kind);
        out.push(']');
        out.push_str(quote);
        written = range.end;
        match next(&text, written) {
            Some(following) => range = following,
            None => break,
        }
    }
    out.push_str(&text[written..]);
    Cow::Owned(out)
}

/// A card number at or behind `from`: digits, at most one space or hyphen between two of them.
fn find_card(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    while at < text.len() {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let (end, digits) = number_at(text, at);
        let joins = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let is_free = !at.checked_sub(1).is_some_and(|before| joins(text[before]))
            && !text.get(end).is_some_and(|after| after.is_ascii_alphanumeric() || *after == b'_');
        let is_issued = matches!(text[at], b'2'..=b'6');
        if CARD_DIGITS.contains(&digits) && is_free && is_issued && is_luhn(&text[at..end]) {
            return Some(at..end);
        }
        at = end;
    }
    None
}

/// Where a number with separators ends, and how many digits it has.
fn number_at(text: &[u8], start: usize) -> (usize, usize) {
    let (mut at, mut digits) = (start, 0);
    while let Some(byte) = text.get(at) {
        if byte.is_ascii_digit() {
            digits += 1;
            at += 1;
        } else if matches!(byte, b' ' | b'-') && text.get(at + 1).is_some_and(u8::is_ascii_digit) {
            at += 1;
        } else {
            break;
        }
    }
    (at, digits)
}

/// ISO/IEC 7812-1, annex B.
fn is_luhn(number: &[u8]) -> bool {
    let digits = number.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}
