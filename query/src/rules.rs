//! Alert rules: evaluated on schedule, remembered over restarts, delivered at least once.
//!
//! Owns: the state machine of alerts, templates, the state file, receivers. Does not own: the format of
//! rule files (`dashboards::rule`), how expressions are evaluated (`promql`, `search`), the HTTP surface.
//!
//! ```text
//!             files ─► reload ┐                    ┌─► state file (fsync, rename)
//!                             ▼                    │ first
//! tick ─► evaluate(now) on a fresh snapshot ─► notices ─► then: one queue a receiver ─► webhook, Alertmanager
//!                             │
//!                             ├─► status(): what `/api/v1/alerts` answers
//!                             └─► series `ALERTS`, `ALERTS_FOR_STATE` ─► the store
//! ```
//!
//! Invariants: an alert never fires before its expression has held for as long as `for` demands; the
//! state, with every notice not yet delivered, is on disk before any of them is sent, so that a crash at
//! any point loses no firing and no resolved notice and repeats each at most once; queues are bounded,
//! and what they drop is counted and shown; a broken file leaves its old rules in force.

mod active;
mod engine;
mod eval;
mod notice;
mod notify;
mod outbox;
mod persist;
mod series;
mod service;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::TimeRange;

use crate::promql::SeriesSource;

pub use engine::{Engine, SourceFile};
pub use notice::Notice;
pub use notify::{Receiver, ReceiverKind};
pub use persist::State;
#[cfg(test)]
pub(crate) use series::AlertSeries;
pub use series::{ALERT_STATE, ALERTS, ALERTS_FOR_STATE};
pub use service::{Handle, ReceiverStatus, Service, ServiceError};

/// Labels and how many records carry them.
pub type Counts = Vec<(BTreeMap<String, String>, u64)>;

/// Counts log records, for rules with `lang: logs`.
pub trait LogCounter {
    /// How many records within `range` the search finds, for each combination of the values of `by`; one
    /// count without labels when `by` is empty.
    ///
    /// # Errors
    /// Says what is wrong with the search, or why records cannot be read.
    fn count(&self, search: &str, by: &[String], range: TimeRange) -> Result<Counts, String>;
}

/// What rules are evaluated on: a fresh snapshot for every call.
pub trait EvalSource: Send + Sync {
    /// Series for PromQL.
    fn series(&self) -> Box<dyn SeriesSource>;

    /// Log records.
    fn logs(&self) -> Box<dyn LogCounter>;
}

/// Where the series of alerts go.
pub trait SeriesSink: Send + Sync {
    /// Stores an `ExportMetricsServiceRequest`; done when it is durable.
    ///
    /// # Errors
    /// Says why it was not stored.
    fn write(&self, request: Vec<u8>) -> BoxFuture<'_, Result<(), String>>;
}

/// How rules are evaluated and delivered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Rule files, and folders of which every `*.yaml` and `*.yml` is one.
    pub files: Vec<PathBuf>,
    /// Where state is kept over restarts; `None` keeps none.
    pub state_file: Option<PathBuf>,
    /// How often groups are evaluated that do not say.
    pub interval: Duration,
    /// How often files are looked at for changes.
    pub reload_interval: Duration,
    /// How long the evaluation of one tick may take before its queries are cancelled.
    pub evaluation_timeout: Duration,
    /// How long the engine may have been away and pending alerts still keep the time they have held.
    pub outage_tolerance: Duration,
    /// Where people reach this server, for links in notifications.
    pub external_url: String,
    /// Who is told.
    pub receivers: Vec<Receiver>,
    /// Whether a text is a search.
    pub check_search: fn(&str) -> Result<(), String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            state_file: None,
            interval: Duration::from_secs(15),
            reload_interval: Duration::from_secs(5),
            evaluation_timeout: Duration::from_secs(30),
            outage_tolerance: Duration::from_secs(3600),
            external_url: "http://127.0.0.1:3900".to_owned(),
            receivers: Vec::new(),
            check_search: |text| crate::search::parse(text).map(drop).map_err(|error| error.to_string()),
        }
    }
}

/// Set to end the queries of a tick.
pub(crate) type Cancel = Arc<AtomicBool>;
