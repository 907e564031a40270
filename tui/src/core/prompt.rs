//! The one line of input at the bottom: command, id, search, range.

use model::UnixNano;

use super::key::Key;
use super::range::{PRESETS, Range};
use super::{command, range};

/// What is being typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PromptKind {
    /// A command.
    Command,
    /// An id.
    Id,
    /// A log search.
    Logs,
    /// Text to find in the journey.
    Find,
    /// A time range.
    Range,
}

impl PromptKind {
    /// What stands before the input.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Command => ":",
            Self::Id => "id ",
            Self::Logs => "/",
            Self::Find => "find ",
            Self::Range => "range ",
        }
    }

    /// What can be typed, shown while nothing is.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Command => "corr ORD-4711 · logs level>=error · range 1h · dash shop · q",
            Self::Id => "order number, correlation id, trace id, message key",
            Self::Logs => "service:billing level>=warn \"timed out\" -path:/health",
            Self::Find => "service, name or attribute",
            Self::Range => "5m 15m 1h 3h 12h 1d 7d (↑ ↓) · 10:00..10:20 · 10:00 +20m",
        }
    }
}

/// An open prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    /// What for.
    pub(crate) kind: PromptKind,
    /// What was typed.
    pub(crate) text: String,
    /// Where the cursor stands, in bytes, on a character boundary.
    pub(crate) cursor: usize,
    /// Why it was not accepted.
    pub(crate) problem: Option<String>,
    /// Position in the history, counted from the newest; `None` while typing something new.
    recalled: Option<usize>,
}

/// What came of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Still typing.
    Open,
    /// Given up.
    Closed,
    /// Finished.
    Entered(String),
}

/// Longer input is refused.
const TEXT_BYTES_MAX: usize = 4_096;

impl Prompt {
    /// A prompt with `text` already in it.
    pub(crate) fn new(kind: PromptKind, text: &str) -> Self {
        Self { kind, text: text.to_owned(), cursor: text.len(), problem: None, recalled: None }
    }

    /// Handles a key. `history` is what was entered before, oldest first.
    pub(crate) fn key(&mut self, key: Key, history: &[String]) -> Outcome {
        self.problem = None;
        match key {
            Key::Enter => return Outcome::Entered(self.text.clone()),
            Key::Esc => return Outcome::Closed,
            Key::Backspace if self.text.is_empty() => return Outcome::Closed,
            Key::Backspace => self.delete_before(),
            Key::Delete => self.delete_after(),
            Key::Ctrl('u') => drop(self.text.drain(..std::mem::take(&mut self.cursor))),
            Key::Ctrl('w') => self.delete_word(),
            Key::Left => self.cursor = self.before(),
            Key::Right => self.cursor = self.after(),
            Key::Home => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = self.text.len(),
            Key::Up => self.recall(true, history),
            Key::Down => self.recall(false, history),
            Key::Tab => self.complete(),
            Key::Char(char) => self.insert(char.encode_utf8(&mut [0; 4])),
            _ => {}
        }
        Outcome::Open
    }

    /// Inserts text at the cursor; line breaks become spaces.
    pub(crate) fn insert(&mut self, text: &str) {
        let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        if self.text.len() + text.len() <= TEXT_BYTES_MAX {
            self.text.insert_str(self.cursor, &text);
            self.cursor += text.len();
        }
    }

    /// What the input would mean, shown while typing.
    pub(crate) fn preview(&self, now: UnixNano) -> Option<Result<String, String>> {
        if self.kind != PromptKind::Range || self.text.trim().is_empty() {
            return None;
        }
        Some(Range::parse(&self.text, now).map(|chosen| {
            let bounds = chosen.at(now);
            format!("{} … {} UTC", range::clock(bounds.from), range::clock(bounds.to))
        }))
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |char| self.cursor + char.len_utf8())
    }

    fn delete_before(&mut self) {
        let from = self.before();
        self.text.drain(from..self.cursor);
        self.cursor = from;
    }

    fn delete_after(&mut self) {
        let to = self.after();
        self.text.drain(self.cursor..to);
    }

    fn delete_word(&mut self) {
        let kept = self.text[..self.cursor].trim_end();
        let from = kept.rfind(' ').map_or(0, |space| space + 1);
        self.text.drain(from..self.cursor);
        self.cursor = from;
    }

    fn recall(&mut self, is_older: bool, history: &[String]) {
        let presets: Vec<String> = PRESETS.iter().rev().map(|preset| (*preset).to_owned()).collect();
        let history = if self.kind == PromptKind::Range { &presets } else { history };
        let next = match (self.recalled, is_older) {
            (None, true) => Some(0),
            (Some(index), true) => Some((index + 1).min(history.len().saturating_sub(1))),
            (Some(index), false) => index.checked_sub(1),
            (None, false) => None,
        };
        let Some(text) = next.and_then(|index| history.len().checked_sub(index + 1)).map(|at| &history[at])
        else {
            if !is_older {
                self.recalled = None;
                self.replace("");
            }
            return;
        };
        self.recalled = next;
        self.replace(&text.clone());
    }

    fn complete(&mut self) {
        if self.kind == PromptKind::Command
            && let Some(completed) = command::complete(&self.text)
        {
            self.replace(&completed);
        }
    }

    fn replace(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.cursor = self.text.len();
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::parse;
    use super::*;

    fn typed(keys: &str) -> Prompt {
        let mut prompt = Prompt::new(PromptKind::Logs, "");
        for key in parse(keys) {
            prompt.key(key, &["older".to_owned(), "newer".to_owned()]);
        }
        prompt
    }

    #[test]
    fn editing_keeps_the_cursor_on_character_boundaries() {
        assert_eq!(typed("köl<left><left>x").text, "kxöl");
        assert_eq!(typed("köl<bs><bs>").text, "k");
        assert_eq!(typed("ab cd<c-w>e").text, "ab e");
        assert_eq!(typed("ab<home><del>").text, "b");
        assert_eq!(typed("ab<c-u>").text, "");
    }

    #[test]
    fn arrows_walk_through_what_was_entered_before() {
        assert_eq!(typed("<up>").text, "newer");
        assert_eq!(typed("<up><up><up>").text, "older");
        assert_eq!(typed("<up><down>").text, "");
    }

    #[test]
    fn pasted_line_breaks_become_spaces_and_endless_pastes_are_refused() {
        let mut prompt = Prompt::new(PromptKind::Id, "");
        prompt.insert("ORD-4711\n");
        assert_eq!(prompt.text, "ORD-4711 ");
        prompt.insert(&"x".repeat(1 << 20));
        assert_eq!(prompt.text, "ORD-4711 ");
    }
}
