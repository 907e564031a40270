//! Which keys do what. One table feeds the dispatcher, the hints at the bottom and the help.
//!
//! Rules: Ctrl-C always quits; Ctrl-A, B, S, Q, H, I, M and `[` with Control belong to others; keys are
//! the characters produced, never Shift with a digit.

use super::key::{self, Key};
use super::state::Screen;

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Show a screen.
    Show(Screen),
    /// Open the command line.
    Command,
    /// Ask for an id and show its journey.
    AskId,
    /// Type a search: log query, or text in the journey.
    Search,
    /// The next place that the search found.
    SearchNext,
    /// The one before.
    SearchBefore,
    /// Go into the selected thing.
    Enter,
    /// Close one thing.
    Escape,
    /// Leave the view; at the root, quit.
    Leave,
    /// Quit at once.
    Quit,
    /// To where one was before.
    Back,
    /// To where one was before going back.
    Forward,
    /// Choose the time range.
    PickRange,
    /// Half a range earlier.
    Earlier,
    /// Half a range later.
    Later,
    /// Stop or continue the flow of data.
    Pause,
    /// Follow the newest.
    Follow,
    /// To the first row.
    Top,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The next error.
    NextError,
    /// The error before.
    PreviousError,
    /// The next row of the critical path.
    NextCritical,
    /// The row of the critical path before.
    PreviousCritical,
    /// Times corrected for clocks that are off, or as they were recorded.
    CorrectClocks,
    /// Count time from the selected row.
    ZeroHere,
    /// Ask again now.
    Refresh,
    /// The focused panel alone.
    Maximise,
    /// The next pane.
    NextPane,
    /// The pane before.
    PreviousPane,
    /// Fold the selected trace.
    Fold,
    /// Unfold it.
    Unfold,
    /// Logs of this journey.
    JourneyLogs,
    /// What belongs to the selected thing: the journey of a log record, the logs of a span.
    Related,
    /// Only what has the selected value.
    Include,
    /// Only what has it not.
    Exclude,
    /// Copy the command that shows the same.
    CopyCommand,
    /// Copy the selected id.
    CopyId,
    /// Show the keys.
    Help,
    /// Hand the terminal back to the shell.
    Suspend,
}

/// One line of the keymap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    /// Keys in the text form of [`key::parse`].
    pub(crate) keys: &'static str,
    /// Where it holds; `None` is everywhere.
    pub(crate) screen: Option<Screen>,
    /// What it does.
    pub(crate) action: Action,
    /// For the help.
    pub(crate) help: &'static str,
    /// A word for the hint line, empty for no hint.
    pub(crate) hint: &'static str,
}

const fn all(keys: &'static str, action: Action, help: &'static str) -> Binding {
    Binding { keys, screen: None, action, help, hint: "" }
}

const fn on(
    screen: Screen,
    keys: &'static str,
    action: Action,
    help: &'static str,
    hint: &'static str,
) -> Binding {
    Binding { keys, screen: Some(screen), action, help, hint }
}

/// Every binding: those of a screen before those of everywhere, each in the order of the help.
pub(crate) const BINDINGS: &[Binding] = &[
    on(Screen::Services, "<cr>", Action::Enter, "logs of the service, evidence of the alert", "logs"),
    on(Screen::Services, "<tab>", Action::NextPane, "services, queues, alerts", "pane"),
    on(Screen::Services, "<s-tab>", Action::PreviousPane, "the block before", ""),
    on(Screen::Journey, "<cr>", Action::Enter, "all details of the row, or less of them", "detail"),
    on(Screen::Journey, "e", Action::NextError, "next error", "error"),
    on(Screen::Journey, "E", Action::PreviousError, "previous error", ""),
    on(Screen::Journey, "p", Action::NextCritical, "next row of the critical path", "path"),
    on(Screen::Journey, "P", Action::PreviousCritical, "row of the critical path before", ""),
    on(Screen::Journey, "K", Action::CorrectClocks, "correct clocks that are off, or not", ""),
    on(Screen::Journey, "-", Action::Fold, "fold the trace", "fold"),
    on(Screen::Journey, "+", Action::Unfold, "unfold the trace", ""),
    on(Screen::Journey, "a", Action::ZeroHere, "count time from this row; again: from the start", "zero"),
    on(Screen::Journey, "L", Action::JourneyLogs, "log records of this journey", "logs"),
    on(Screen::Journey, "o", Action::Related, "logs of the service of this row", ""),
    on(Screen::Journey, "/", Action::Search, "find text in the rows", "find"),
    on(Screen::Journey, "n", Action::SearchNext, "next place found", ""),
    on(Screen::Journey, "N", Action::SearchBefore, "place found before", ""),
    on(Screen::Logs, "/", Action::Search, "edit the search", "search"),
    on(Screen::Logs, "<cr>", Action::Enter, "open the record; on a facet: only that value", "open"),
    on(Screen::Logs, "o", Action::Related, "journey of the record's best id", "journey"),
    on(Screen::Logs, "G", Action::Follow, "follow the newest", "follow"),
    on(Screen::Logs, "<tab>", Action::NextPane, "between facets and records", "facets"),
    on(Screen::Logs, "<s-tab>", Action::PreviousPane, "between facets and records", ""),
    on(Screen::Logs, "f", Action::Include, "only records with this service, or facet value", "only"),
    on(Screen::Logs, "F", Action::Exclude, "without them", "without"),
    on(Screen::Logs, "e", Action::NextError, "next error", ""),
    on(Screen::Logs, "E", Action::PreviousError, "previous error", ""),
    on(Screen::Alerts, "<cr>", Action::Enter, "logs of the alert's service in its time", "evidence"),
    on(Screen::Alerts, "o", Action::Related, "journey that the alert names", ""),
    on(Screen::Alerts, "e", Action::NextError, "next alert that fires", ""),
    on(Screen::Alerts, "E", Action::PreviousError, "previous alert that fires", ""),
    on(Screen::Board, "<tab>", Action::NextPane, "next panel", "panel"),
    on(Screen::Board, "<s-tab>", Action::PreviousPane, "panel before", ""),
    on(Screen::Board, "m", Action::Maximise, "the panel alone, or all of them", "maximise"),
    on(Screen::Board, "<cr>", Action::Enter, "open the panel", ""),
    on(Screen::Fleet, "<cr>", Action::Enter, "logs of the service, or from the agent's host", "logs"),
    on(Screen::Fleet, "<tab>", Action::NextPane, "agents, instances of services", "pane"),
    on(Screen::Fleet, "<s-tab>", Action::PreviousPane, "the block before", ""),
    on(Screen::Fleet, "e", Action::NextError, "next that is not up", "down"),
    on(Screen::Fleet, "E", Action::PreviousError, "the one before that is not up", ""),
    on(
        Screen::Doctor,
        "<cr>",
        Action::Enter,
        "journey of an affected request, or logs of the service",
        "example",
    ),
    on(Screen::Doctor, "o", Action::Related, "logs of the service", "logs"),
    on(Screen::Doctor, "e", Action::NextError, "next bad finding", "bad"),
    on(Screen::Doctor, "E", Action::PreviousError, "bad finding before", ""),
    all("1", Action::Show(Screen::Services), "services: rate, errors, duration; queues; alerts"),
    all("2", Action::Show(Screen::Journey), "journey: everything one id reaches"),
    all("3", Action::Show(Screen::Logs), "logs, live"),
    all("7", Action::Show(Screen::Alerts), "alerts"),
    all("8", Action::Show(Screen::Board), "board"),
    all("9", Action::Show(Screen::Fleet), "fleet: agents, instances of services"),
    all("0", Action::Show(Screen::Doctor), "doctor: where ids are lost, and how to mend that"),
    all("c", Action::AskId, "type an id, see its journey"),
    all(":", Action::Command, "command line; Tab completes"),
    all("t", Action::PickRange, "time range"),
    all(",", Action::Earlier, "half a range earlier"),
    all(".", Action::Later, "half a range later"),
    all("<space>", Action::Pause, "pause, resume"),
    all("r", Action::Refresh, "ask again now"),
    all("j", Action::Down, "down"),
    all("k", Action::Up, "up"),
    all("<down>", Action::Down, ""),
    all("<up>", Action::Up, ""),
    all("d", Action::PageDown, "page down"),
    all("u", Action::PageUp, "page up"),
    all("<pagedown>", Action::PageDown, ""),
    all("<pageup>", Action::PageUp, ""),
    all("gg", Action::Top, "first row"),
    all("G", Action::Follow, "last row"),
    all("<home>", Action::Top, ""),
    all("<end>", Action::Follow, ""),
    all("[", Action::Back, "back"),
    all("]", Action::Forward, "forward"),
    all("yc", Action::CopyCommand, "copy the command that shows the same"),
    all("yi", Action::CopyId, "copy the selected id"),
    all("?", Action::Help, "these keys"),
    all("<esc>", Action::Escape, "close one thing"),
    all("q", Action::Leave, "leave the view; twice at the root quits"),
    all("<c-c>", Action::Quit, "quit at once"),
    all("<c-z>", Action::Suspend, "back to the shell; fg continues"),
];

/// What keys typed so far mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Nothing begins so.
    None,
    /// More keys are needed.
    Prefix,
    /// This.
    Action(Action),
}

/// The meaning of `typed` on `screen`.
pub(crate) fn lookup(screen: Screen, typed: &[Key]) -> Lookup {
    let mut result = Lookup::None;
    for binding in of_screen(screen) {
        let keys = key::parse(binding.keys);
        if keys == typed {
            return Lookup::Action(binding.action);
        }
        if keys.starts_with(typed) {
            result = Lookup::Prefix;
        }
    }
    result
}

/// Bindings that hold on `screen`, its own first.
pub(crate) fn of_screen(screen: Screen) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.screen.is_none_or(|only| only == screen))
}

/// Bindings that go on after `typed`, for the hint line.
pub(crate) fn continuing(
    screen: Screen,
    typed: &[Key],
) -> impl Iterator<Item = (&'static Binding, Vec<Key>)> {
    of_screen(screen).filter_map(move |binding| {
        let keys = key::parse(binding.keys);
        (keys.len() > typed.len() && keys.starts_with(typed)).then(|| (binding, keys[typed.len()..].to_vec()))
    })
}

/// Keys as the help writes them: `g g`, `Enter`.
pub(crate) fn keys_text(keys: &str) -> String {
    key::parse(keys).iter().map(Key::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_binding_is_hidden_by_another_of_the_same_scope() {
        for (index, one) in BINDINGS.iter().enumerate() {
            for other in &BINDINGS[index + 1..] {
                let clash = one.screen == other.screen
                    && (key::parse(one.keys).starts_with(&key::parse(other.keys))
                        || key::parse(other.keys).starts_with(&key::parse(one.keys)));
                assert!(!clash, "{} and {}", one.keys, other.keys);
            }
        }
    }

    #[test]
    fn keys_that_terminals_multiplexers_and_shells_own_are_left_alone() {
        for binding in BINDINGS {
            for key in key::parse(binding.keys) {
                assert!(
                    !matches!(key, Key::Ctrl('a' | 'b' | 's' | 'q' | 'h' | 'i' | 'm' | '[')),
                    "{}",
                    binding.keys
                );
            }
        }
    }

    #[test]
    fn a_chord_needs_its_second_key_and_a_screen_goes_before_everywhere() {
        let keys = key::parse("gg");
        assert_eq!(lookup(Screen::Logs, &keys[..1]), Lookup::Prefix);
        assert_eq!(lookup(Screen::Logs, &keys), Lookup::Action(Action::Top));
        assert_eq!(lookup(Screen::Logs, &key::parse("gx")), Lookup::None);
        assert_eq!(lookup(Screen::Logs, &key::parse("o")), Lookup::Action(Action::Related));
        assert_eq!(lookup(Screen::Board, &key::parse("o")), Lookup::None);
    }
}
