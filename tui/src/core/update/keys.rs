//! From keys to actions: the help and the prompt take keys first, then chords go through the keymap.

use super::Turn;
use crate::core::command::{self, Command};
use crate::core::key::Key;
use crate::core::keymap::{self, Action, Lookup};
use crate::core::line::Role;
use crate::core::prompt::{Outcome, Prompt, PromptKind};
use crate::core::range::Range;

/// Entries of the input history that are kept.
const HISTORY_MAX: usize = 100;

impl Turn<'_> {
    pub(super) fn key(&mut self, key: Key) {
        if key == Key::Ctrl('c') {
            self.state.is_running = false;
        } else if self.state.prompt.is_some() {
            self.prompt_key(key);
        } else if self.state.help.is_some() {
            self.help_key(key);
        } else {
            self.chord_key(key);
        }
    }

    fn chord_key(&mut self, key: Key) {
        self.state.chord.push(key);
        match keymap::lookup(self.state.screen, &self.state.chord) {
            Lookup::Prefix => {}
            Lookup::Action(action) => {
                self.state.chord.clear();
                self.act(action);
            }
            Lookup::None => {
                let was_chord = self.state.chord.len() > 1;
                self.state.chord.clear();
                // The second key of a chord that does not exist is a key of its own.
                if was_chord && key != Key::Esc {
                    self.chord_key(key);
                }
            }
        }
        let is_asking_to_leave =
            self.state.notice.as_ref().is_some_and(|notice| notice.text.starts_with("q again"));
        self.state.is_leaving &= is_asking_to_leave && key == Key::Char('q');
    }

    fn help_key(&mut self, key: Key) {
        let top = self.state.help.unwrap_or(0);
        let page = self.state.size.page();
        let lines = keymap::of_screen(self.state.screen).count() + 4;
        self.state.help = match key {
            Key::Char('j') | Key::Down => Some((top + 1).min(lines)),
            Key::Char('k') | Key::Up => Some(top.saturating_sub(1)),
            Key::Char('d' | ' ') | Key::PageDown => Some((top + page).min(lines)),
            Key::Char('u') | Key::PageUp => Some(top.saturating_sub(page)),
            _ => None,
        };
    }

    fn prompt_key(&mut self, key: Key) {
        let Some(mut prompt) = self.state.prompt.take() else { return };
        match prompt.key(key, &self.state.history) {
            Outcome::Open => self.state.prompt = Some(prompt),
            Outcome::Closed => {}
            Outcome::Entered(text) => {
                if let Err(problem) = self.entered(prompt.kind, &text) {
                    prompt.problem = Some(problem);
                    self.state.prompt = Some(prompt);
                    return;
                }
                if !text.trim().is_empty() && self.state.history.last() != Some(&text) {
                    self.state.history.push(text);
                    let excess = self.state.history.len().saturating_sub(HISTORY_MAX);
                    self.state.history.drain(..excess);
                }
            }
        }
    }

    fn entered(&mut self, kind: PromptKind, text: &str) -> Result<(), String> {
        match kind {
            PromptKind::Command => self.command(command::parse(text, self.state.now)?),
            PromptKind::Id if text.trim().is_empty() => return Err("type an id".to_owned()),
            PromptKind::Id => self.show_journey(text.trim()),
            PromptKind::Logs => self.show_logs(text.trim()),
            PromptKind::Range => self.set_range(Range::parse(text, self.state.now)?),
            PromptKind::Find => {
                text.trim().clone_into(&mut self.state.journey.find);
                self.find(true);
            }
        }
        Ok(())
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Show(screen) => self.show(screen),
            Command::Journey(id) => self.show_journey(&id),
            Command::Logs(query) => self.show_logs(&query),
            Command::Range(range) => self.set_range(range),
            Command::Board(name) => self.show_board(&name),
            Command::Help => self.state.help = Some(0),
            Command::Quit => self.state.is_running = false,
        }
    }

    pub(super) fn open_prompt(&mut self, kind: PromptKind, text: &str) {
        self.state.notice = None;
        self.state.prompt = Some(Prompt::new(kind, text));
    }

    /// Leaves the view, or quits when asked twice at the root.
    pub(super) fn leave(&mut self) {
        if self.state.depth > 0 && self.back() {
            return;
        }
        if self.state.is_leaving {
            self.state.is_running = false;
            return;
        }
        self.notice(Role::Strong, "q again quits");
        self.state.is_leaving = true;
    }

    pub(super) fn find(&mut self, is_forward: bool) {
        let find = self.state.journey.find.clone();
        if find.is_empty() {
            return self.notice(Role::Dim, "nothing is looked for: / finds text in the rows");
        }
        let is_found = crate::core::journey::JourneyScreen::is_found;
        if !self.state.journey.move_to(is_forward, |row| is_found(row, &find)) {
            self.notice(Role::Warn, &format!("`{find}` is in no row"));
        }
    }

    /// Closes one thing: the record, the facets, the details, the maximised panel.
    pub(super) fn escape(&mut self) {
        use crate::core::state::Screen;
        self.state.notice = None;
        let state = &mut *self.state;
        match state.screen {
            Screen::Journey => state.journey.is_detailed = false,
            Screen::Logs if state.logs.is_open => state.logs.is_open = false,
            Screen::Logs => state.logs.is_in_facets = false,
            Screen::Board => state.board.is_maximised = false,
            Screen::Services | Screen::Alerts | Screen::Fleet | Screen::Doctor => {}
        }
    }

    /// A message at the bottom when an action finds nothing to act on.
    pub(super) fn nothing(&mut self, action: Action) {
        let text = match action {
            Action::NextError | Action::PreviousError => "no errors here",
            Action::Back => "nothing to go back to",
            Action::Forward => "nothing to go forward to",
            Action::CopyId => "no id here",
            Action::CopyCommand => "no command shows this",
            Action::Related => "nothing related to this row",
            _ => "nothing here",
        };
        self.notice(Role::Dim, text);
    }
}
