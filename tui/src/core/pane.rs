//! What is known about one question: the latest answer, its age, and whether another is under way.

use model::UnixNano;

use super::format;
use super::glyph;
use super::line::{Line, Role};
use super::msg::Failure;

/// One question that is asked again and again.
#[derive(Clone, Debug)]
pub(crate) struct Pane<T> {
    /// The latest good answer.
    pub(crate) answer: Option<T>,
    /// When that answer came.
    pub(crate) answered_at: Option<UnixNano>,
    /// Why the latest question has none.
    pub(crate) failure: Option<Failure>,
    /// When the latest question failed.
    pub(crate) failed_at: Option<UnixNano>,
    /// The question under way: its generation and when it was asked.
    pub(crate) asked: Option<(u64, UnixNano)>,
}

impl<T> Default for Pane<T> {
    fn default() -> Self {
        Self { answer: None, answered_at: None, failure: None, failed_at: None, asked: None }
    }
}

/// A request quicker than this is not worth a sign.
const SIGN_AFTER_NANO: i64 = 1_000_000_000;

impl<T> Pane<T> {
    /// A question was asked.
    pub(crate) fn ask(&mut self, generation: u64, now: UnixNano) {
        self.asked = Some((generation, now));
    }

    /// Whether `generation` is the question under way; if so it is now answered.
    pub(crate) fn accept(&mut self, generation: u64) -> bool {
        let is_current = self.asked.is_some_and(|(asked, _)| asked == generation);
        if is_current {
            self.asked = None;
        }
        is_current
    }

    /// Keeps an accepted answer.
    pub(crate) fn succeed(&mut self, answer: T, now: UnixNano) {
        self.answer = Some(answer);
        self.answered_at = Some(now);
        self.failure = None;
    }

    /// Keeps why there is no answer; the answer before stays and grows old.
    pub(crate) fn fail(&mut self, failure: Failure, now: UnixNano) {
        self.failure = Some(failure);
        self.failed_at = Some(now);
    }

    /// Forgets everything, as for a new subject.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether it is time to ask again.
    pub(crate) fn is_due(&self, every_nano: i64, now: UnixNano) -> bool {
        let latest = self.answered_at.max(self.failed_at);
        self.asked.is_none() && latest.is_none_or(|latest| now.since(latest) >= every_nano)
    }

    /// For the pane's title: a request under way, the answer's age, or what went wrong.
    pub(crate) fn status(&self, now: UnixNano) -> Line {
        let asking =
            self.asked.is_some_and(|(_, at)| self.answer.is_none() || now.since(at) >= SIGN_AFTER_NANO);
        let mut line = Line::new();
        if let Some(failure) = &self.failure {
            line.push(Role::Bad, &format!("{} {}", glyph::ERROR, failure.message));
            if self.answer.is_some() {
                line.push(Role::Dim, " ·");
            }
            line.gap(1);
        }
        if asking {
            line.push(Role::Accent, glyph::ASKING);
            line.gap(1);
        }
        match self.answered_at {
            Some(at) => line.push(Role::Dim, &format!("{} ago", format::elapsed(now.since(at)))),
            None if asking => line.push(Role::Dim, "asking"),
            None => {}
        }
        line
    }

    /// What to say in the place of an answer that is not there.
    pub(crate) fn absence(&self) -> Vec<Line> {
        match &self.failure {
            Some(failure) if self.answer.is_none() => failure.lines(),
            _ => vec![Line::of(Role::Dim, "asking the server …")],
        }
    }
}
