//! Asking: which questions a screen needs, when they are asked again, and giving them up.

use super::Turn;
use crate::core::board;
use crate::core::logs::SEARCH_LIMIT;
use crate::core::msg::{Ask, Effect, Failure, PaneId};
use crate::core::pane::Pane;
use crate::core::range::Range;
use crate::core::state::Screen;
use model::time::SECOND;

/// How often a screen asks again while it is live.
const REFRESH_NANO: i64 = 5 * SECOND;
/// How often alerts are asked for the header of other screens.
const ALERTS_ELSEWHERE_NANO: i64 = 15 * SECOND;
/// How often the doctor is asked: it reads much.
const DOCTOR_NANO: i64 = 60 * SECOND;
/// Never again by itself.
const NEVER: i64 = i64::MAX;

impl Turn<'_> {
    /// Asks all questions of the screen whose time has come. `is_forced` asks all of them.
    pub(super) fn ask_what_is_due(&mut self, is_forced: bool) {
        let is_live = self.state.paused_at.is_none();
        let every = |nanos: i64| match (is_forced, is_live) {
            (true, _) => 0,
            (false, true) => nanos,
            (false, false) => NEVER,
        };
        let now = self.state.now;
        let screen = self.state.screen;
        let alerts_every = if matches!(screen, Screen::Services | Screen::Alerts) {
            REFRESH_NANO
        } else {
            ALERTS_ELSEWHERE_NANO
        };
        if self.state.alerts.pane.is_due(every(alerts_every), now) {
            self.ask(PaneId::Alerts, Ask::Alerts);
        }
        match screen {
            Screen::Services if self.state.services.pane.is_due(every(self.fixed_or(REFRESH_NANO)), now) => {
                self.ask(PaneId::Services, Ask::Services(self.state.shown_range()));
            }
            Screen::Journey => {
                self.ask_journey(every(self.journey_every()));
                // A lost follower begins again when the journey was answered again.
                if !self.state.journey.has_lost_follow {
                    self.follow_journey();
                }
            }
            Screen::Logs => self.ask_logs(every(self.fixed_or(REFRESH_NANO)), is_forced),
            Screen::Board => self.ask_board(every(self.fixed_or(self.state.board.refresh_nano())), is_forced),
            Screen::Fleet if self.state.fleet.pane.is_due(every(REFRESH_NANO), now) => {
                self.ask(PaneId::Fleet, Ask::Fleet);
            }
            Screen::Doctor if self.state.doctor.pane.is_due(every(self.fixed_or(DOCTOR_NANO)), now) => {
                self.ask(PaneId::Doctor, Ask::Doctor(self.state.shown_range()));
            }
            Screen::Services | Screen::Alerts | Screen::Fleet | Screen::Doctor => {}
        }
    }

    /// Asks for all attributes of the selected row when its details show and the journey has but a few of them.
    pub(super) fn ask_row(&mut self) {
        let journey = &mut self.state.journey;
        let is_wanted = self.state.screen == Screen::Journey && journey.is_detailed;
        let Some(key) = journey.brief_key().filter(|_| is_wanted) else { return };
        if journey.detail_of.as_ref() != Some(&key) {
            journey.detail.clear();
            journey.detail_of = Some(key.clone());
            self.ask(PaneId::Row, Ask::Row(key));
        }
    }

    /// `nanos`, or never when the range does not move.
    fn fixed_or(&self, nanos: i64) -> i64 {
        if matches!(self.state.range, Range::Between(_)) { NEVER } else { nanos }
    }

    /// A journey is asked again while nothing was found, and when it should be followed and is not.
    fn journey_every(&self) -> i64 {
        let journey = &self.state.journey;
        let is_lost = journey.has_lost_follow && journey.follow.is_none();
        if is_lost || journey.pane.failure.is_some() { self.fixed_or(REFRESH_NANO) } else { NEVER }
    }

    /// Follows the journey that shows, unless its range ends in the past.
    pub(super) fn follow_journey(&mut self) {
        let is_wanted = matches!(self.state.range, Range::Last(_))
            && self.state.paused_at.is_none()
            && self.state.screen == Screen::Journey
            && self.state.journey.pane.answer.is_some()
            && self.state.journey.follow.is_none();
        let Some(id) = self.state.journey.id.clone().filter(|_| is_wanted) else { return };
        let generation = self.generation();
        let from = self.state.shown_range().from;
        let ask = Ask::Follow(id, from, self.state.journey.is_corrected);
        self.state.journey.follow = Some(generation);
        self.state.journey.has_lost_follow = false;
        self.effects.push(Effect::Ask { pane: PaneId::Follow, generation, ask });
    }

    /// Follows no longer.
    pub(super) fn end_follow(&mut self) {
        self.state.journey.has_lost_follow = false;
        if self.state.journey.follow.take().is_some() {
            self.effects.push(Effect::Abort(PaneId::Follow));
        }
    }

    fn ask_journey(&mut self, every: i64) {
        let Some(id) = self.state.journey.id.clone() else { return };
        if self.state.journey.pane.is_due(every, self.state.now) {
            let is_corrected = self.state.journey.is_corrected;
            self.ask(PaneId::Journey, Ask::Journey(id, self.state.shown_range(), is_corrected));
        }
    }

    fn ask_logs(&mut self, every: i64, is_forced: bool) {
        let now = self.state.now;
        let logs = &mut self.state.logs;
        if logs.pane.is_due(every, now) {
            // Once records are there, the tail brings the others; only the counts are asked again.
            logs.is_summary_only = !is_forced && logs.pane.answer.is_some() && logs.tail.is_some();
            let limit = if logs.is_summary_only { 1 } else { SEARCH_LIMIT };
            let query = logs.query.clone();
            self.ask(PaneId::Logs, Ask::Logs { query, range: self.state.shown_range(), limit });
        }
        let is_tail_wanted = matches!(self.state.range, Range::Last(_))
            && self.state.logs.tail.is_none()
            && (is_forced || self.state.logs.tail_failure.is_none());
        if is_tail_wanted {
            let generation = self.generation();
            self.state.logs.tail = Some(generation);
            self.state.logs.tail_failure = None;
            let ask = Ask::Tail(self.state.logs.query.clone());
            self.effects.push(Effect::Ask { pane: PaneId::Tail, generation, ask });
        }
    }

    fn ask_board(&mut self, every: i64, is_forced: bool) {
        let now = self.state.now;
        let board_every = if is_forced || self.state.board.pane.failure.is_some() { every } else { NEVER };
        if self.state.board.pane.is_due(board_every, now) {
            self.ask(PaneId::Board, Ask::Board(self.state.board.name.clone()));
        }
        let range = self.state.shown_range();
        for index in 0..self.state.board.panels.len() {
            if !self.state.board.panels[index].is_due(every, now) {
                continue;
            }
            let question = self.state.board.panel(index).and_then(|panel| board::question(panel, range));
            if let Some(ask) = question {
                self.ask(PaneId::Panel(index), ask);
            }
        }
    }

    /// Asks, in the place of what the pane asked before.
    fn ask(&mut self, pane: PaneId, ask: Ask) {
        let generation = self.generation();
        let now = self.state.now;
        self.with_pane(pane, Asked { generation, now });
        self.effects.push(Effect::Ask { pane, generation, ask });
        self.state.is_dirty = true;
    }

    /// Gives up what the screen waits for.
    pub(super) fn abort_screen(&mut self) {
        let panes: Vec<PaneId> = match self.state.screen {
            Screen::Services => vec![PaneId::Services],
            Screen::Journey => vec![PaneId::Journey, PaneId::Row],
            Screen::Logs => vec![PaneId::Logs],
            Screen::Alerts => vec![],
            Screen::Fleet => vec![PaneId::Fleet],
            Screen::Doctor => vec![PaneId::Doctor],
            Screen::Board => {
                let panels = (0..self.state.board.panels.len()).map(PaneId::Panel);
                std::iter::once(PaneId::Board).chain(panels).collect()
            }
        };
        for pane in panes {
            if self.with_pane(pane, Forget) {
                self.effects.push(Effect::Abort(pane));
            }
        }
        if self.state.screen == Screen::Logs {
            self.end_tail();
        }
        self.end_follow();
    }

    /// Ends the live tail, if one runs. The list has a hole after that, so it is searched again.
    pub(super) fn end_tail(&mut self) {
        if self.state.logs.tail.take().is_some() {
            self.effects.push(Effect::Abort(PaneId::Tail));
        }
        self.state.logs.tail_failure = None;
        self.state.logs.is_summary_only = false;
    }

    /// Whether `generation` is what the pane waits for.
    pub(super) fn accept(&mut self, pane: PaneId, generation: u64) -> bool {
        self.with_pane(pane, Accept { generation })
    }

    /// The pane's question failed.
    pub(super) fn fail(&mut self, pane: PaneId, failure: Failure) {
        let now = self.state.now;
        self.with_pane(pane, Fail { failure, now });
    }

    fn generation(&mut self) -> u64 {
        self.state.next_generation += 1;
        self.state.next_generation
    }

    /// Does `to` to the pane, whatever its answers are. `false` when there is no such pane.
    fn with_pane(&mut self, pane: PaneId, to: impl PaneDeed) -> bool {
        match pane {
            PaneId::Services => to.done(&mut self.state.services.pane),
            PaneId::Alerts => to.done(&mut self.state.alerts.pane),
            PaneId::Fleet => to.done(&mut self.state.fleet.pane),
            PaneId::Doctor => to.done(&mut self.state.doctor.pane),
            PaneId::Row => to.done(&mut self.state.journey.detail),
            PaneId::Journey => to.done(&mut self.state.journey.pane),
            PaneId::Logs => to.done(&mut self.state.logs.pane),
            PaneId::Board => to.done(&mut self.state.board.pane),
            PaneId::Panel(index) => self.state.board.panels.get_mut(index).is_some_and(|pane| to.done(pane)),
            PaneId::Tail | PaneId::Follow => false,
        }
    }
}

/// Something that can be done to a pane of any answer.
trait PaneDeed {
    fn done<T>(self, pane: &mut Pane<T>) -> bool;
}

struct Asked {
    generation: u64,
    now: model::UnixNano,
}

impl PaneDeed for Asked {
    fn done<T>(self, pane: &mut Pane<T>) -> bool {
        pane.ask(self.generation, self.now);
        true
    }
}

struct Accept {
    generation: u64,
}

impl PaneDeed for Accept {
    fn done<T>(self, pane: &mut Pane<T>) -> bool {
        pane.accept(self.generation)
    }
}

struct Forget;

impl PaneDeed for Forget {
    fn done<T>(self, pane: &mut Pane<T>) -> bool {
        pane.asked.take().is_some()
    }
}

struct Fail {
    failure: Failure,
    now: model::UnixNano,
}

impl PaneDeed for Fail {
    fn done<T>(self, pane: &mut Pane<T>) -> bool {
        pane.fail(self.failure, self.now);
        true
    }
}
