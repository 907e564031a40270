//! What can happen ([`Msg`]) and what should be done about it ([`Effect`]).

use std::fmt;
use std::time::Duration;

use model::{IdTerm, TimeRange, UnixNano};
use query_api::boards::NamedBoard;
use query_api::client::TailItem;
use query_api::doctor::DoctorAnswer;
use query_api::journey::{RowDetail, RowKey};
use query_api::{AlertsAnswer, ClientError, Journey, LogsAnswer, MetricsData, ServicesAnswer, SqlAnswer};

use super::fleet::FleetAnswer;
use super::glyph;
use super::key::Key;
use super::line::{Line, Role, wrap};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Msg {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The terminal has a new size.
    Resize(u16, u16),
    /// Time has passed; it is now this late.
    Tick(UnixNano),
    /// A question is answered.
    Answered {
        /// Whose question it was.
        pane: PaneId,
        /// Which of its questions.
        generation: u64,
        /// The answer.
        result: Result<Answer, Failure>,
    },
    /// The live tail brought records.
    Tailed {
        /// Which tail.
        generation: u64,
        /// What it brought, oldest first.
        items: Vec<TailItem>,
    },
    /// The journey that is followed has changed.
    Followed {
        /// Which follower.
        generation: u64,
        /// The journey.
        journey: Box<Journey>,
    },
    /// The journey is not followed any more.
    FollowEnded {
        /// Which follower.
        generation: u64,
        /// Why; `None` when the server closed it.
        failure: Option<Failure>,
    },
    /// The live tail ended.
    TailEnded {
        /// Which tail.
        generation: u64,
        /// Why; `None` when the server closed it.
        failure: Option<Failure>,
    },
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Ask the server; an older question of the same pane is aborted.
    Ask {
        /// Who asks.
        pane: PaneId,
        /// The number of the question, unique.
        generation: u64,
        /// The question.
        ask: Ask,
    },
    /// Nobody waits for this pane's answer any more.
    Abort(PaneId),
    /// Put text on the clipboard.
    Copy(String),
    /// Hand the terminal back to the shell until it continues us.
    Suspend,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PaneId {
    /// The table of services.
    Services,
    /// Alert rules; also the block on the services screen.
    Alerts,
    /// The journey.
    Journey,
    /// The journey as it goes on.
    Follow,
    /// Log search: records, histogram and facets.
    Logs,
    /// The live tail of the log search.
    Tail,
    /// The board itself.
    Board,
    /// Agents and the instances of services.
    Fleet,
    /// Where ids are lost.
    Doctor,
    /// All attributes of one row of the journey.
    Row,
    /// A panel of the board, counted through all rows.
    Panel(usize),
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ask {
    /// Rate, errors, duration of all services.
    Services(TimeRange),
    /// All alert rules.
    Alerts,
    /// Agents and the instances of services.
    Fleet,
    /// Where ids are lost.
    Doctor(TimeRange),
    /// All attributes of one row of the journey.
    Row(RowKey),
    /// All that an id reaches; whether clocks are corrected.
    Journey(String, TimeRange, bool),
    /// All that an id reaches, again whenever that changes: since when, whether clocks are corrected.
    Follow(String, UnixNano, bool),
    /// The latest records that match.
    Logs {
        /// The search.
        query: String,
        /// When.
        range: TimeRange,
        /// Records at most.
        limit: usize,
    },
    /// Records that match, as they arrive.
    Tail(String),
    /// A board by name.
    Board(String),
    /// PromQL at one instant.
    Instant(String, UnixNano),
    /// PromQL over a range.
    Range(String, TimeRange, Duration),
    /// A SQL statement.
    Sql(String, usize),
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// To [`Ask::Services`].
    Services(Box<ServicesAnswer>),
    /// To [`Ask::Alerts`].
    Alerts(Box<AlertsAnswer>),
    /// To [`Ask::Fleet`].
    Fleet(Box<FleetAnswer>),
    /// To [`Ask::Doctor`].
    Doctor(Box<DoctorAnswer>),
    /// To [`Ask::Row`].
    Row(Box<RowDetail>),
    /// To [`Ask::Journey`].
    Journey(Box<Journey>),
    /// To [`Ask::Logs`].
    Logs(Box<LogsAnswer>),
    /// To [`Ask::Board`].
    Board(Box<NamedBoard>),
    /// To [`Ask::Instant`] and [`Ask::Range`].
    Metrics(MetricsData),
    /// To [`Ask::Sql`].
    Sql(Box<SqlAnswer>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) message: String,
    /// What to try.
    pub(crate) hint: Option<String>,
    /// The terms that were searched in vain.
    pub(crate) searched: Vec<IdTerm>,
    /// Where they were searched.
    pub(crate) range: Option<TimeRange>,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(body) => {
                Self { message: body.message, hint: body.hint, searched: body.searched, range: body.range }
            }
            other => Self { message: other.to_string(), hint: None, searched: Vec::new(), range: None },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// The whole story, for the middle of an empty pane.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.told().into_iter().map(|(role, text)| Line::of(role, &text)).collect()
    }

    /// The same, broken into lines of at most `width` columns.
    pub(crate) fn wrapped(&self, width: usize) -> Vec<Line> {
        const INDENT: &str = "    ";
        let mut lines = Vec::new();
        for (role, text) in self.told() {
            for (index, part) in wrap(&text, width.saturating_sub(INDENT.len()), 6).into_iter().enumerate() {
                let indent = if index == 0 { "" } else { INDENT };
                lines.push(Line::of(role, &format!("{indent}{part}")));
            }
        }
        lines
    }

    fn told(&self) -> Vec<(Role, String)> {
        let mut lines = vec![(Role::Bad, format!("{} {}", glyph::ERROR, self.message))];
        if !self.searched.is_empty() {
            let kinds: Vec<&str> = self.searched.iter().map(|term| term.kind.as_str()).collect();
            lines.push((Role::Text, format!("  searched as  {}", kinds.join(", "))));
        }
        if let Some(range) = self.range {
            let length = Duration::from_nanos(u64::try_from(range.nanos()).unwrap_or(0));
            let length = super::range::short(length);
            let text = format!("  searched in  {} … {}  ({length})", seconds(range.from), seconds(range.to));
            lines.push((Role::Text, text));
        }
        if let Some(hint) = &self.hint {
            lines.push((Role::Dim, format!("  {hint}")));
        }
        lines
    }
}

/// `2026-11-20T10:42:07Z`: nobody reads nanoseconds in a sentence.
fn seconds(time: UnixNano) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}
