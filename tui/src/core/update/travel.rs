//! Going from view to view, and back. Nothing is asked here for views that are left.

use super::Turn;
use crate::core::range::Range;
use crate::core::state::{Place, Screen};

/// Places that are remembered.
const PLACES_MAX: usize = 50;

impl Turn<'_> {
    /// To a screen by its number.
    pub(super) fn show(&mut self, screen: Screen) {
        if screen == self.state.screen {
            return;
        }
        self.depart();
        self.state.depth = 0;
        self.arrive(screen);
    }

    /// To a screen from inside another one; `q` leads back.
    fn drill(&mut self, screen: Screen) {
        self.depart();
        self.state.depth += 1;
        self.arrive(screen);
    }

    /// To the journey of an id.
    pub(super) fn show_journey(&mut self, id: &str) {
        self.drill(Screen::Journey);
        if self.state.journey.id.as_deref() != Some(id) || self.state.journey.pane.answer.is_none() {
            self.state.journey.ask_for(id);
        }
        self.ask_what_is_due(false);
    }

    /// To the records that match a search.
    pub(super) fn show_logs(&mut self, query: &str) {
        if self.state.screen == Screen::Logs {
            self.remember();
            self.abort_screen();
        } else {
            self.drill(Screen::Logs);
            self.abort_screen();
        }
        query.clone_into(&mut self.state.logs.query);
        self.state.logs.reset();
        self.ask_what_is_due(false);
    }

    /// To a board.
    pub(super) fn show_board(&mut self, name: &str) {
        self.drill(Screen::Board);
        self.abort_screen();
        self.state.board.ask_for(name);
        self.ask_what_is_due(false);
    }

    /// All views turn to another time range.
    pub(super) fn set_range(&mut self, range: Range) {
        self.state.range = range;
        self.state.is_range_chosen = true;
        self.abort_screen();
        self.forget_answers();
        self.ask_what_is_due(true);
    }

    /// Answers about another range are not shown as if they were about this one.
    fn forget_answers(&mut self) {
        let state = &mut *self.state;
        state.services.pane.clear();
        state.doctor.pane.clear();
        state.journey.pane.clear();
        state.journey.visible.clear();
        state.journey.selected = 0;
        state.logs.reset();
        state.board.panels.iter_mut().for_each(crate::core::pane::Pane::clear);
    }

    /// Back to where one was.
    pub(super) fn back(&mut self) -> bool {
        let Some(place) = self.state.back.pop() else { return false };
        let here = self.state.place();
        self.state.forward.push(here);
        self.restore(place);
        true
    }

    /// To where one came back from.
    pub(super) fn forward(&mut self) -> bool {
        let Some(place) = self.state.forward.pop() else { return false };
        let here = self.state.place();
        self.state.back.push(here);
        self.restore(place);
        true
    }

    fn restore(&mut self, place: Place) {
        self.abort_screen();
        let state = &mut *self.state;
        state.screen = place.screen;
        state.depth = place.depth;
        let is_other_range = state.range != place.range;
        state.range = place.range;
        if state.journey.id != place.journey {
            match &place.journey {
                Some(id) => state.journey.ask_for(id),
                None => state.journey = crate::core::journey::JourneyScreen::default(),
            }
        }
        if state.logs.query != place.query {
            state.logs.query = place.query;
            state.logs.reset();
        }
        if state.board.name != place.board {
            state.board.ask_for(&place.board);
        }
        if is_other_range {
            self.forget_answers();
        }
        self.ask_what_is_due(false);
    }

    fn depart(&mut self) {
        self.remember();
        self.abort_screen();
    }

    fn remember(&mut self) {
        let here = self.state.place();
        self.state.back.push(here);
        self.state.forward.clear();
        if self.state.back.len() > PLACES_MAX {
            self.state.back.remove(0);
        }
    }

    fn arrive(&mut self, screen: Screen) {
        self.state.screen = screen;
        self.ask_what_is_due(false);
    }
}
