//! What the query API answers from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Clock, IdRules};
use query_api::AlertsAnswer;
use storage::{Snapshot, Store};

use crate::boards::Boards;
use crate::fleet::{Fleet, NoFleet};
use crate::limits::{Cancel, Limits};
use crate::sql::{Runner, WorkerCommand, WorkerPool};

/// Gives the state of all alert rules.
type Alerts = Arc<dyn Fn() -> AlertsAnswer + Send + Sync>;
/// Gives the text of `/metrics`.
type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// A store, and what else the API shows.
#[derive(Clone)]
pub struct Engine {
    /// Where rows come from.
    pub store: Arc<Store>,
    /// The id kinds a search or a journey can name.
    pub ids: Arc<IdRules>,
    /// The time that `now` means.
    pub clock: Arc<dyn Clock>,
    /// What queries may cost.
    pub limits: Limits,
    pub(crate) sql: Runner,
    pub(crate) boards: Arc<Boards>,
    pub(crate) alerts: Alerts,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) metrics_text: MetricsText,
}

impl Engine {
    /// An engine over `store`, with the boards we ship, no alert rules and no metrics of its own.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        let ids = Arc::clone(store.ids());
        let (alerts_clock, fleet_clock) = (Arc::clone(&clock), Arc::clone(&clock));
        let no_alerts =
            move || AlertsAnswer { time: alerts_clock.now(), rules: Vec::new(), file_errors: Vec::new() };
        Self {
            store,
            ids,
            clock,
            limits: Limits::default(),
            sql: Runner::default(),
            boards: Arc::new(Boards::new(None)),
            alerts: Arc::new(no_alerts),
            fleet: Arc::new(NoFleet(fleet_clock)),
            metrics_text: Arc::new(String::new),
        }
    }

    /// Head and segments as they are now, for one query: the memory that it reserves is given back when its answer is
    /// written.
    pub(crate) fn snapshot(&self, query: &Cancel) -> Snapshot {
        let snapshot = self.store.snapshot();
        query.keep(snapshot.held());
        snapshot
    }

    /// Answers `/api/v1/alerts` with what `alerts` gives. It must not block for long.
    #[must_use]
    pub fn with_alerts(mut self, alerts: impl Fn() -> AlertsAnswer + Send + Sync + 'static) -> Self {
        self.alerts = Arc::new(alerts);
        self
    }

    /// Answers `/api/v1/agents` and `/api/v1/inventory` with what `fleet` knows.
    #[must_use]
    pub fn with_fleet(mut self, fleet: impl Fleet + 'static) -> Self {
        self.fleet = Arc::new(fleet);
        self
    }

    /// Answers `/metrics` with what `text` gives, in the Prometheus text format.
    #[must_use]
    pub fn with_metrics(mut self, text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics_text = Arc::new(text);
        self
    }

    /// Serves the boards of `folder` beside those we ship.
    #[must_use]
    pub fn with_boards(mut self, folder: Option<PathBuf>) -> Self {
        self.boards = Arc::new(Boards::new(folder));
        self
    }

    /// Runs SQL in worker processes instead of in threads of this one.
    #[must_use]
    pub fn with_sql_workers(mut self, command: WorkerCommand) -> Self {
        self.sql = Runner::Workers(WorkerPool::new(command));
        self
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("store", &self.store)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
