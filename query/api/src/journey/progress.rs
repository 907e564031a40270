//! How far a journey is: running, done, stuck in a queue, silent.
//!
//! Owns: the rules of docs/reference/journeys.md ("How far it is"), and what passing time alone changes in a
//! journey. Both are pure, so that a screen that follows a journey asks nobody to know that time has passed.

use model::UnixNano;
use model::time::{SECOND, duration_text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Journey, RowKind, TimeClass};

/// A message that has waited this long is stuck.
pub const STUCK_AFTER_NANO: i64 = 10 * SECOND;
/// A journey of which a span is missing and of which nothing was heard for this long is silent.
pub const SILENT_AFTER_NANO: i64 = 10 * SECOND;
/// A journey of which nothing is missing is done when nothing was heard of it for this long: OpenTelemetry's SDKs
/// send spans every 5 seconds.
pub const SETTLED_AFTER_NANO: i64 = 6 * SECOND;

/// The states a journey can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgressState {
    /// Something of it happened a moment ago.
    Running,
    /// Every message was consumed, every span that others name was received, and it is quiet.
    Done,
    /// A message waits for its consumer longer than 10 seconds.
    Stuck,
    /// A span that others name was not received, and nothing was heard for 10 seconds.
    Silent,
}

/// How far a journey is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The state.
    pub state: ProgressState,
    /// Since when: the last record, or when the message was sent that is stuck.
    #[schemars(with = "String")]
    pub since: UnixNano,
    /// From then to when this was said.
    pub lasts_nano: i64,
    /// What it is about: the message that is stuck, the span that is missing; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
}

impl Progress {
    /// For people: `stuck in orders/3@88121 for 12s`.
    pub fn text(&self) -> String {
        // Nobody waits by the millisecond for what takes longer than ten seconds.
        let length = duration_text(self.lasts_nano / SECOND * SECOND).replace(".00s", "s");
        match self.state {
            ProgressState::Running => "running".to_owned(),
            ProgressState::Done => "done".to_owned(),
            ProgressState::Stuck => format!("stuck in {} for {length}", self.about),
            ProgressState::Silent => format!("silent for {length}: {}", self.about),
        }
    }
}

impl Journey {
    /// How far it is at `now`, as far as its rows tell.
    pub fn progress_at(&self, now: UnixNano) -> Progress {
        let mut last = self.start_time;
        let (mut open, mut missing) = (None, None);
        for row in &self.rows {
            match row.kind {
                RowKind::QueueWait if row.is_open => {
                    // The one that was sent first has waited longest.
                    let is_first = open.is_none_or(|(since, _)| row.start_time < since);
                    open = if is_first { Some((row.start_time, row.name.as_str())) } else { open };
                    last = last.max(row.start_time);
                }
                RowKind::Missing => missing = missing.or(Some(row)),
                _ => last = last.max(row.start_time.plus(row.duration_nano.max(0))),
            }
        }
        let progress = |state, since: UnixNano, about: &str| {
            let lasts_nano = now.since(since).max(0);
            Progress { state, since, lasts_nano, about: about.to_owned() }
        };
        let quiet = now.since(last);
        match (open, missing) {
            (Some((since, name)), _) if now.since(since) >= STUCK_AFTER_NANO => {
                progress(ProgressState::Stuck, since, name)
            }
            (None, Some(row)) if quiet >= SILENT_AFTER_NANO => {
                let span = row.span_id.map(|id| format!(" {id}")).unwrap_or_default();
                progress(ProgressState::Silent, last, &format!("{}{span}", row.name))
            }
            (None, None) if quiet >= SETTLED_AFTER_NANO => progress(ProgressState::Done, last, ""),
            _ => progress(ProgressState::Running, last, ""),
        }
    }

    /// Lets messages that nobody has consumed wait until `now`: all that time alone changes.
    pub fn advance(&mut self, now: UnixNano) {
        let end = self.start_time.plus(self.duration_nano);
        let more = now.since(end);
        let is_open = self.rows.iter().any(|row| row.is_open);
        if !is_open || more <= 0 {
            return;
        }
        for row in self.rows.iter_mut().filter(|row| row.is_open) {
            row.duration_nano = now.since(row.start_time).max(row.duration_nano);
        }
        // The path ends with the message that is waited for: what is added is its wait.
        let Some(segment) = self.critical_path.last_mut() else { return };
        let Some(row) = segment.row.and_then(|row| self.rows.get_mut(row)).filter(|row| row.is_open) else {
            return;
        };
        segment.duration_nano += more;
        row.critical_nano += more;
        self.duration_nano += more;
        let of_wait = |spent: &&mut super::TimeSpent| {
            spent.class == TimeClass::QueueWait && spent.label == segment.label
        };
        if let Some(spent) = self.time_spent.iter_mut().find(of_wait) {
            spent.duration_nano += more;
        }
        self.time_spent.sort_by_key(|spent| std::cmp::Reverse(spent.duration_nano));
        self.progress = Some(self.progress_at(now));
    }
}
