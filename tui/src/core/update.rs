//! What a message changes. The one place where state changes.
//!
//! A question is counted; its answer is taken only while the same pane still waits for that number, so
//! an answer that comes late, or after the view was left, changes nothing.

use model::UnixNano;
use query_api::client::TailItem;

use super::line::Role;
use super::msg::{Answer, Effect, Failure, Msg, PaneId};
use super::prompt::{Prompt, PromptKind};
use super::state::{Notice, Screen, State};

mod actions;
mod ask;
mod keys;
mod travel;

/// How long a notice stays.
const NOTICE_NANO: i64 = 6 * model::time::SECOND;

/// Changes `state` by what `msg` says and returns what is to be done.
pub(crate) fn update(state: &mut State, msg: Msg) -> Vec<Effect> {
    let mut turn = Turn { state, effects: Vec::new() };
    turn.message(msg);
    turn.ask_row();
    turn.effects
}

/// The first questions. Call it after the first frame is drawn.
pub(crate) fn start(state: &mut State) -> Vec<Effect> {
    let mut turn = Turn { state, effects: Vec::new() };
    turn.ask_what_is_due(true);
    turn.effects
}

/// One message being handled.
struct Turn<'a> {
    state: &'a mut State,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn message(&mut self, msg: Msg) {
        match msg {
            Msg::Key(key) => {
                self.state.is_dirty = true;
                self.key(key);
            }
            Msg::Paste(text) => self.paste(&text),
            Msg::Resize(width, height) => {
                self.state.size = super::layout::Size { width, height };
                self.state.is_dirty = true;
            }
            Msg::Tick(now) => self.tick(now),
            Msg::Answered { pane, generation, result } => self.answered(pane, generation, result),
            Msg::Tailed { generation, items } => self.tailed(generation, items),
            Msg::TailEnded { generation, failure } => self.tail_ended(generation, failure),
            Msg::Followed { generation, journey } => self.followed(generation, *journey),
            Msg::FollowEnded { generation, failure } => self.follow_ended(generation, failure),
        }
    }

    fn tick(&mut self, now: UnixNano) {
        let state = &mut *self.state;
        let is_first_of_second =
            now.0.div_euclid(model::time::SECOND) != state.now.0.div_euclid(model::time::SECOND);
        state.now = now;
        if state.notice.as_ref().is_some_and(|notice| notice.until <= now) {
            state.notice = None;
            state.is_leaving = false;
            state.is_dirty = true;
        }
        if is_first_of_second && state.paused_at.is_none() && state.screen == Screen::Journey {
            state.journey.advance(now);
        }
        // While paused nothing on the screen depends on the time.
        state.is_dirty |= is_first_of_second && state.paused_at.is_none();
        self.ask_what_is_due(false);
    }

    fn paste(&mut self, text: &str) {
        self.state.is_dirty = true;
        if self.state.prompt.is_none() {
            // An id is what people paste here.
            self.state.help = None;
            self.state.prompt = Some(Prompt::new(PromptKind::Id, ""));
        }
        if let Some(prompt) = &mut self.state.prompt {
            prompt.insert(text.trim());
        }
    }

    fn answered(&mut self, pane: PaneId, generation: u64, result: Result<Answer, Failure>) {
        if !self.accept(pane, generation) {
            return;
        }
        self.state.is_dirty = true;
        let now = self.state.now;
        match (pane, result) {
            (_, Err(failure)) => self.fail(pane, failure),
            (PaneId::Services, Ok(Answer::Services(answer))) => self.state.services.take(*answer, now),
            (PaneId::Alerts, Ok(Answer::Alerts(answer))) => self.take_alerts(*answer),
            (PaneId::Fleet, Ok(Answer::Fleet(answer))) => self.state.fleet.take(*answer, now),
            (PaneId::Doctor, Ok(Answer::Doctor(answer))) => self.state.doctor.take(*answer, now),
            (PaneId::Row, Ok(Answer::Row(answer))) => self.state.journey.detail.succeed(*answer, now),
            (PaneId::Journey, Ok(Answer::Journey(answer))) => {
                self.state.start_note = None;
                self.state.journey.take(*answer, now);
                self.follow_journey();
            }
            (PaneId::Logs, Ok(Answer::Logs(answer))) => self.state.logs.take(*answer, now),
            (PaneId::Board, Ok(Answer::Board(board))) => self.take_board(*board),
            (PaneId::Panel(index), Ok(answer)) => {
                if let Some(panel) = self.state.board.panels.get_mut(index) {
                    panel.succeed(answer, now);
                }
            }
            (pane, Ok(_)) => {
                let message = "the server answered another question than the one asked".to_owned();
                self.fail(pane, Failure { message, hint: None, searched: Vec::new(), range: None });
            }
        }
    }

    fn take_alerts(&mut self, answer: query_api::AlertsAnswer) {
        let active = super::alerts::active(&answer).len();
        self.state.services.alert = self.state.services.alert.min(active.saturating_sub(1));
        self.state.alerts.take(answer, self.state.now);
    }

    fn take_board(&mut self, board: query_api::boards::NamedBoard) {
        let is_first = self.state.board.pane.answer.is_none();
        let range = model::time::parse_duration(&board.board.range).ok();
        if let (true, false, Some(range)) = (is_first, self.state.is_range_chosen, range) {
            self.state.range = super::range::Range::Last(range);
        }
        self.state.board.take(board, self.state.now);
        self.ask_what_is_due(false);
    }

    fn tailed(&mut self, generation: u64, items: Vec<TailItem>) {
        if self.state.logs.tail == Some(generation) {
            let is_paused = self.state.paused_at.is_some();
            self.state.logs.tailed(items, is_paused);
            self.state.is_dirty |= self.state.screen == Screen::Logs;
        }
    }

    fn followed(&mut self, generation: u64, journey: query_api::Journey) {
        let state = &mut *self.state;
        if state.journey.follow == Some(generation) && state.paused_at.is_none() {
            state.journey.take(journey, state.now);
            state.is_dirty = true;
        }
    }

    fn follow_ended(&mut self, generation: u64, failure: Option<Failure>) {
        if self.state.journey.follow == Some(generation) {
            self.state.journey.follow = None;
            self.state.journey.has_lost_follow = true;
            if let Some(failure) = failure {
                self.state.journey.pane.fail(failure, self.state.now);
            }
            self.state.is_dirty = true;
        }
    }

    fn tail_ended(&mut self, generation: u64, failure: Option<Failure>) {
        if self.state.logs.tail == Some(generation) {
            let closed = || Failure {
                message: "the server closed the live tail".to_owned(),
                hint: None,
                searched: Vec::new(),
                range: None,
            };
            self.state.logs.tail = None;
            self.state.logs.tail_failure = Some(failure.unwrap_or_else(closed));
            self.state.is_dirty = true;
        }
    }

    fn notice(&mut self, role: Role, text: &str) {
        let until = self.state.now.plus(NOTICE_NANO);
        self.state.notice = Some(Notice { text: text.to_owned(), role, until });
    }
}
