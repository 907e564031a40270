//! What each action does, screen by screen.

use query_api::{JourneyRow, RowKind};

use super::Turn;
use crate::core::alerts;
use crate::core::fleet;
use crate::core::journey::JourneyScreen;
use crate::core::keymap::Action;
use crate::core::line::Role;
use crate::core::logs;
use crate::core::msg::Effect;
use crate::core::prompt::PromptKind;
use crate::core::range::Range;
use crate::core::services::Block;
use crate::core::state::Screen;

/// Conditions of a search that is made from a journey.
const TERMS_MAX: usize = 50;

impl Turn<'_> {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Show(screen) => self.show(screen),
            Action::Command => self.open_prompt(PromptKind::Command, ""),
            Action::AskId => self.open_prompt(PromptKind::Id, ""),
            Action::PickRange => self.open_prompt(PromptKind::Range, ""),
            Action::Search => self.search(),
            Action::SearchNext => self.find(true),
            Action::SearchBefore => self.find(false),
            Action::Enter => self.enter(),
            Action::Related => self.related(),
            Action::Escape => self.escape(),
            Action::Leave => self.leave(),
            Action::Quit => self.state.is_running = false,
            Action::Help => self.state.help = Some(0),
            Action::Suspend => self.effects.push(Effect::Suspend),
            Action::Pause => self.pause(),
            Action::Refresh => self.refresh(),
            Action::Earlier | Action::Later => {
                let range = self.state.range.shifted(self.state.shown_now(), action == Action::Later);
                self.set_range(range);
            }
            Action::Up => self.move_by(-1),
            Action::Down => self.move_by(1),
            Action::PageUp => self.move_by(-self.page()),
            Action::PageDown => self.move_by(self.page()),
            Action::Top => self.move_by(isize::MIN / 2),
            Action::Follow => self.follow(),
            Action::NextPane => self.next_pane(1),
            Action::PreviousPane => self.next_pane(-1),
            Action::Maximise => self.state.board.is_maximised ^= true,
            Action::Fold => self.state.journey.fold(true),
            Action::Unfold => self.state.journey.fold(false),
            Action::ZeroHere => self.state.journey.toggle_zero(),
            Action::JourneyLogs => self.journey_logs(),
            Action::Include | Action::Exclude => self.filter(action == Action::Include),
            Action::NextError | Action::PreviousError => self.next_error(action),
            Action::NextCritical | Action::PreviousCritical => {
                let is_forward = action == Action::NextCritical;
                if !self.state.journey.move_to(is_forward, |row| row.critical_nano > 0) {
                    self.nothing(action);
                }
            }
            Action::CorrectClocks => {
                self.state.journey.is_corrected ^= true;
                let agree = self.state.journey.journey().is_some_and(|journey| journey.clock_skew_nano == 0);
                let text = match (self.state.journey.is_corrected, agree) {
                    (true, true) => "clocks agree: nothing to correct",
                    (true, false) => "times corrected for clocks that are off",
                    (false, _) => "times as they were recorded",
                };
                self.notice(Role::Dim, text);
                self.refresh();
            }
            Action::Back | Action::Forward => self.go(action),
            Action::CopyCommand => self.copy(action, self.state.cli_command()),
            Action::CopyId => self.copy(action, self.selected_id()),
        }
    }

    fn page(&self) -> isize {
        isize::try_from(self.state.size.page()).unwrap_or(1)
    }

    fn go(&mut self, action: Action) {
        let has_gone = if action == Action::Back { self.back() } else { self.forward() };
        if !has_gone {
            self.nothing(action);
        }
    }

    fn search(&mut self) {
        if self.state.screen == Screen::Journey {
            self.open_prompt(PromptKind::Find, "");
        } else {
            let query = self.state.logs.query.clone();
            self.open_prompt(PromptKind::Logs, &query);
        }
    }

    fn refresh(&mut self) {
        self.abort_screen();
        self.ask_what_is_due(true);
    }

    fn pause(&mut self) {
        if self.state.paused_at.take().is_some() {
            self.state.logs.release();
            if self.state.screen == Screen::Journey {
                // What came meanwhile was not taken.
                self.refresh();
            }
            self.ask_what_is_due(false);
        } else {
            self.state.paused_at = Some(self.state.now);
        }
    }

    fn move_by(&mut self, steps: isize) {
        let state = &mut *self.state;
        match state.screen {
            Screen::Services => {
                let alerts =
                    state.alerts.pane.answer.as_ref().map_or(0, |answer| alerts::active(answer).len());
                state.services.move_by(steps, alerts);
            }
            Screen::Journey => state.journey.move_by(steps),
            Screen::Logs => state.logs.move_by(steps),
            Screen::Alerts => state.alerts.move_by(steps),
            Screen::Fleet => state.fleet.move_by(steps),
            Screen::Doctor => state.doctor.move_by(steps),
            Screen::Board => state.board.scroll = crate::core::list::moved(state.board.scroll, steps, 100),
        }
    }

    fn follow(&mut self) {
        if self.state.screen == Screen::Logs && !self.state.logs.is_in_facets {
            self.state.logs.follow();
        } else {
            self.move_by(isize::MAX / 2);
        }
    }

    fn next_pane(&mut self, steps: isize) {
        let state = &mut *self.state;
        match state.screen {
            Screen::Services => state.services.block = state.services.block.moved(steps),
            Screen::Logs => {
                state.logs.is_in_facets = !state.logs.is_in_facets && !state.logs.facet_values().is_empty()
            }
            Screen::Board => state.board.move_focus(steps, state.size.tier()),
            Screen::Fleet => state.fleet.next_block(),
            Screen::Journey | Screen::Alerts | Screen::Doctor => {}
        }
    }

    fn enter(&mut self) {
        match self.state.screen {
            Screen::Services => self.enter_block(),
            Screen::Journey => self.state.journey.is_detailed ^= true,
            Screen::Logs if self.state.logs.is_in_facets => self.filter(true),
            Screen::Logs => self.state.logs.is_open ^= true,
            Screen::Alerts => self.evidence(),
            Screen::Fleet => self.enter_fleet(),
            Screen::Doctor => self.enter_finding(),
            Screen::Board => self.enter_panel(),
        }
    }

    fn enter_block(&mut self) {
        let services = &self.state.services;
        let query = match services.block {
            Block::Services => services.selected().map(|row| logs::term("service", &row.service)),
            Block::Queues => {
                services.selected_queue().map(|queue| queue.consumers.as_slice()).and_then(consumers)
            }
            Block::Alerts => {
                let row = services.alert;
                self.show(Screen::Alerts);
                self.state.alerts.selected = row;
                return;
            }
        };
        match query {
            Some(query) => self.show_logs(&query),
            None => self.nothing(Action::Enter),
        }
    }

    /// The logs of the selected service, or of what the selected agent ships from its host.
    fn enter_fleet(&mut self) {
        let fleet = &self.state.fleet;
        let query = match fleet.block {
            fleet::Block::Agents => fleet.agent().map(|agent| logs::term("host.name", &agent.instance)),
            fleet::Block::Instances => fleet.service().map(|service| logs::term("service", &service)),
        };
        match query {
            Some(query) => self.show_logs(&query),
            None => self.nothing(Action::Enter),
        }
    }

    /// The journey of a request that the finding is about, or the logs of its service.
    fn enter_finding(&mut self) {
        match self.state.doctor.finding().and_then(|finding| finding.example.clone()) {
            Some(id) => self.show_journey(&id),
            None => self.related(),
        }
    }

    /// The logs of an alert's service, from a little before the alert until now.
    fn evidence(&mut self) {
        let now = self.state.shown_now();
        let Some(row) = self.state.alerts.row() else { return self.nothing(Action::Enter) };
        let Some(service) = row.service() else { return self.nothing(Action::Related) };
        let query = format!("{} level>=warn", logs::term("service", service));
        let window = row.window(now);
        self.show_logs(&query);
        if let Some(window) = window.filter(|window| window.from < self.state.shown_range().from) {
            self.set_range(Range::Between(window));
        }
    }

    fn enter_panel(&mut self) {
        let query = self.state.board.focused().and_then(|panel| panel.logs.clone());
        match query {
            Some(query) => self.show_logs(&query),
            None => self.state.board.is_maximised ^= true,
        }
    }

    fn related(&mut self) {
        let (journey, query) = match self.state.screen {
            Screen::Logs => (self.state.logs.record().and_then(logs::best_id), None),
            Screen::Journey => {
                (None, self.state.journey.row().map(|row| logs::term("service", service_of(row))))
            }
            Screen::Alerts => (self.state.alerts.row().and_then(|row| row.journey()), None),
            Screen::Doctor => {
                (None, self.state.doctor.finding().map(|finding| logs::term("service", &finding.service)))
            }
            Screen::Services | Screen::Board | Screen::Fleet => (None, None),
        };
        match (journey, query) {
            (Some(id), _) => self.show_journey(&id),
            (None, Some(query)) => self.show_logs(&query),
            (None, None) => self.nothing(Action::Related),
        }
    }

    fn journey_logs(&mut self) {
        let Some(journey) = self.state.journey.journey() else { return self.nothing(Action::JourneyLogs) };
        let matched = journey.matched.iter().map(|term| logs::term(&term.kind, &term.value));
        let traces = journey.traces.iter().map(|trace| logs::term("trace_id", &trace.trace_id.to_string()));
        let mut terms: Vec<String> = matched.chain(traces).take(TERMS_MAX).collect();
        terms.sort();
        terms.dedup();
        let query = terms.join(" OR ");
        self.show_logs(&query);
    }

    fn filter(&mut self, is_wanted: bool) {
        let Some(term) = self.state.logs.term() else { return self.nothing(Action::Include) };
        let term = if is_wanted { term } else { format!("-{term}") };
        let was_in_facets = self.state.logs.is_in_facets;
        let facet = self.state.logs.facet;
        let query = logs::toggled(&self.state.logs.query, &term);
        self.show_logs(&query);
        self.state.logs.is_in_facets = was_in_facets;
        self.state.logs.facet = facet;
    }

    fn next_error(&mut self, action: Action) {
        let is_forward = action == Action::NextError;
        let is_found = match self.state.screen {
            Screen::Journey => self.state.journey.move_to(is_forward, JourneyScreen::is_error),
            Screen::Logs => self.state.logs.move_to_error(is_forward),
            Screen::Alerts => self.state.alerts.move_to_firing(is_forward),
            Screen::Fleet => self.state.fleet.move_to_trouble(is_forward),
            Screen::Doctor => self.state.doctor.move_to_bad(is_forward),
            Screen::Services | Screen::Board => false,
        };
        if !is_found {
            self.nothing(action);
        }
    }

    fn selected_id(&self) -> Option<String> {
        match self.state.screen {
            Screen::Journey => {
                let row = self.state.journey.row();
                row.and_then(|row| row.trace_id)
                    .map(|id| id.to_string())
                    .or_else(|| self.state.journey.id.clone())
            }
            Screen::Logs => self.state.logs.record().and_then(logs::best_id),
            Screen::Alerts => self.state.alerts.row().and_then(|row| row.journey()),
            Screen::Fleet => self.state.fleet.agent().map(|agent| agent.agent_id.clone()),
            Screen::Doctor => self.state.doctor.finding().and_then(|finding| finding.example.clone()),
            Screen::Services | Screen::Board => None,
        }
    }

    fn copy(&mut self, action: Action, text: Option<String>) {
        match text {
            Some(text) => {
                self.notice(Role::Ok, &format!("copied: {text}"));
                self.effects.push(Effect::Copy(text));
            }
            None => self.nothing(action),
        }
    }
}

/// The service that a row of a journey is about; of a wait in a queue the one that took the message, else its sender.
fn service_of(row: &JourneyRow) -> &str {
    let known = |key| row.attributes.text(key);
    match row.kind {
        RowKind::QueueWait => known("consumer.service").or(known("producer.service")).unwrap_or(&row.service),
        _ => &row.service,
    }
}

/// The records of all services that read a queue.
fn consumers(consumers: &[String]) -> Option<String> {
    let terms: Vec<String> = consumers.iter().map(|consumer| logs::term("service", consumer)).collect();
    (!terms.is_empty()).then(|| terms.join(" OR "))
}
