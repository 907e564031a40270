//! Hiding secrets, in the agent's lines and in what the server receives: one look for all literals, then only the
//! patterns whose literals were found. And finding values, in a case that leaves the house.
//!
//! ```text
//! known  what counts as a secret, for both ─┬─► Redactor      text ─► the text without secrets
//! card   numbers with a check digit ────────┴─► ValuePattern  text ─► the values in it
//! ```
//!
//! Owns: what is known as a secret, and the search. Does not own: where texts are (`otlp::redact`, the agent, `case`).
//!
//! What a [`Redactor`] finds is replaced by `[redacted:KIND]`, so that a reader sees that there was something. In a JSON
//! line the replacement keeps the line JSON. Invariant: text without secrets is returned as it was, borrowed.

mod card;
pub mod known;
mod value;

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;
use card::{find_card, has_long_number};
use known::HIDDEN;
pub use value::ValuePattern;

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
        let chosen = HIDDEN.iter().filter(|known| has(known.preset));
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
