//! The client of the query API, for the terminal and the command line: over HTTP, or from a file.
//!
//! Owns: what can be asked. Does not own: how a question and its answer travel (`wire`), how the lines of a stream are
//! read (`lines`).

mod lines;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use model::{TimeRange, UnixNano};
use thiserror::Error;

use crate::boards::{BoardsAnswer, NamedBoard};
use crate::diff::JourneyDiff;
use crate::doctor::DoctorAnswer;
use crate::journey::{RowDetail, RowKey};
use crate::offline::Offline;
use crate::{
    AgentConfigAnswer, AgentsAnswer, AlertsAnswer, DeleteReceipt, DeleteRequest, DeletesAnswer, ErrorBody,
    IdGraph, IdKindsAnswer, InventoryAnswer, Journey, LogsAnswer, MetricsData, PushRequest, RollbackRequest,
    ServicesAnswer, SqlAnswer, SqlRequest, StageRow, StagesAnswer, WhereAnswer,
};

use lines::{JOURNEY_LINE_BYTES_MAX, LINE_BYTES_MAX, lines, tail_item};
pub use lines::{TailItem, tail_line};

/// Why a request has no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The server answered with an error.
    #[error("{}", .0.message)]
    Refused(Box<ErrorBody>),
    /// Nobody answered, or the connection broke.
    #[error("no answer from {url}: is `silmari serve` running there?")]
    Unreachable {
        /// Where the server was expected.
        url: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not what this version understands.
    #[error("the answer of {url} is not understood: {problem}")]
    Unreadable {
        /// What was asked.
        url: String,
        /// Why it is not understood.
        problem: String,
    },
}

/// What a journey is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared<'a> {
    /// The journey of this id.
    Id(&'a str),
    /// A typical trace: `route:/checkout p50`.
    Baseline(&'a str),
}

/// How long nothing may come of an answer: longer than a server lets a query run, or is silent while it is followed. A connection that is
/// closed in the very moment in which a request is handed to it loses the request without a word (hyper, issue 4122), as when a server is
/// started again.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// How long an answer may take of what a server may be told to let run for longer: SQL, deletes.
const LONG_ANSWER_MAX: Duration = Duration::from_secs(900);

/// Talks to one server, or reads one file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    /// For answers that take long.
    patient: reqwest::Client,
    offline: Option<Arc<dyn Offline>>,
}

impl Client {
    /// A client of the server at `base`, for example `http://127.0.0.1:3900`.
    pub fn new(base: &str) -> Self {
        Self::with_limits(base, SILENCE_MAX, LONG_ANSWER_MAX)
    }

    fn with_limits(base: &str, silence_max: Duration, long_answer_max: Duration) -> Self {
        let builder = || reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy();
        let [http, patient] = [builder().read_timeout(silence_max), builder().timeout(long_answer_max)]
            .map(|builder| builder.build().expect("a client without TLS has nothing that can fail"));
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        Self { base, http, patient, offline: None }
    }

    /// A client that asks no server: `offline` answers what it holds, everything else is refused.
    pub fn offline(offline: Arc<dyn Offline>) -> Self {
        let base = offline.name().to_owned();
        let http = reqwest::Client::new();
        Self { base, http: http.clone(), patient: http, offline: Some(offline) }
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Everything that `id` reaches within `range`.
    ///
    /// # Errors
    /// `Refused` with code `not_found` when nothing carries the id.
    pub async fn journey(&self, id: &str, range: TimeRange) -> Result<Journey, ClientError> {
        self.journey_with(id, range, false, &[]).await
    }

    /// As [`Client::journey`], with times corrected for clocks that are off when `is_corrected`. `limits` are the
    /// parameters `hops`, `degree`, `traces`, `spans` and `logs`.
    ///
    /// # Errors
    /// `Refused` with code `not_found` when nothing carries the id.
    pub async fn journey_with(
        &self,
        id: &str,
        range: TimeRange,
        is_corrected: bool,
        limits: &[(&str, usize)],
    ) -> Result<Journey, ClientError> {
        let mut parameters = vec![("id", id.to_owned()), ("correct_clocks", is_corrected.to_string())];
        parameters.extend(limits.iter().map(|(name, value)| (*name, value.to_string())));
        self.get("/api/v1/journey", &parameters, Some(range)).await
    }

    /// One recorded row of a journey with all its attributes.
    ///
    /// # Errors
    /// `Refused` with code `not_found` when there is no such row any more.
    pub async fn journey_row(&self, key: &RowKey) -> Result<RowDetail, ClientError> {
        self.get("/api/v1/journey/row", &key.parameters(), None).await
    }

    /// The journey, and again whenever records arrive that change it. Dropping the stream ends it. `limits` as for
    /// [`Client::journey_with`].
    ///
    /// # Errors
    /// `Refused` with code `not_found` when nothing carries the id.
    pub async fn follow_journey(
        &self,
        id: &str,
        from: UnixNano,
        is_corrected: bool,
        limits: &[(&str, usize)],
    ) -> Result<impl Stream<Item = Result<Journey, ClientError>> + Send + use<>, ClientError> {
        self.online("following")?;
        let url = format!("{}/api/v1/journey/follow", self.base);
        let parameters = [("id", id.to_owned()), ("from", from.to_string())];
        let request =
            self.http.get(&url).query(&parameters).query(&[("correct_clocks", is_corrected)]).query(limits);
        let response = self.send(request, &url).await?;
        let parse = |line: &[u8]| serde_json::from_slice(line).map_err(|error| error.to_string());
        Ok(lines(Box::pin(response.bytes_stream()), url, JOURNEY_LINE_BYTES_MAX, parse))
    }

    /// What differs in the journey of `b`, compared with that of the id or the baseline.
    ///
    /// # Errors
    /// `Refused` with code `not_found` when nothing carries an id, `bad_query` when the baseline cannot be read.
    pub async fn journey_diff(
        &self,
        a: Compared<'_>,
        b: &str,
        range: TimeRange,
    ) -> Result<JourneyDiff, ClientError> {
        let a = match a {
            Compared::Id(id) => ("a", id.to_owned()),
            Compared::Baseline(text) => ("baseline", text.to_owned()),
        };
        self.get("/api/v1/journey/diff", &[a, ("b", b.to_owned())], Some(range)).await
    }

    /// The id kinds and how many values of each were found within `range`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ids(&self, range: TimeRange) -> Result<IdKindsAnswer, ClientError> {
        self.get("/api/v1/ids", &[], Some(range)).await
    }

    /// What `id` hangs together with. `limits` are the parameters `hops`, `degree`, `nodes` and `rows`.
    ///
    /// # Errors
    /// `Refused` with code `not_found` when nothing carries the id.
    pub async fn id_graph(
        &self,
        id: &str,
        range: TimeRange,
        limits: &[(&str, usize)],
    ) -> Result<IdGraph, ClientError> {
        let mut parameters = vec![("id", id.to_owned())];
        parameters.extend(limits.iter().map(|(name, value)| (*name, value.to_string())));
        self.get("/api/v1/ids/graph", &parameters, Some(range)).await
    }

    /// The messages `id` travelled in, and how far each consumer group is with them.
    ///
    /// # Errors
    /// `Refused` with code `not_found` when nothing carries the id.
    pub async fn whereabouts(&self, id: &str, range: TimeRange) -> Result<WhereAnswer, ClientError> {
        self.get("/api/v1/where", &[("id", id.to_owned())], Some(range)).await
    }

    /// The latest `limit` log records that match `query`.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` and the column when the search cannot be read.
    pub async fn logs(&self, query: &str, range: TimeRange, limit: usize) -> Result<LogsAnswer, ClientError> {
        let parameters = [("query", query.to_owned()), ("limit", limit.to_string())];
        self.get("/api/v1/logs", &parameters, Some(range)).await
    }

    /// Log records that match `query`, as they arrive. Dropping the stream ends it.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` when the search cannot be read.
    pub async fn tail(
        &self,
        query: &str,
    ) -> Result<impl Stream<Item = Result<TailItem, ClientError>> + Send + use<>, ClientError> {
        self.online("a live tail")?;
        let url = format!("{}/api/v1/logs/tail", self.base);
        let response = self.send(self.http.get(&url).query(&[("query", query)]), &url).await?;
        Ok(lines(Box::pin(response.bytes_stream()), url, LINE_BYTES_MAX, tail_item))
    }

    /// Rate, errors and duration of all services within `range`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn services(&self, range: TimeRange) -> Result<ServicesAnswer, ClientError> {
        self.get("/api/v1/services", &[], Some(range)).await
    }

    /// Where records of `range` cannot be joined, and how to mend each place; of one service, if it is named.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn doctor(&self, service: Option<&str>, range: TimeRange) -> Result<DoctorAnswer, ClientError> {
        let parameters: Vec<_> = service.map(|service| ("service", service.to_owned())).into_iter().collect();
        self.get("/api/v1/doctor", &parameters, Some(range)).await
    }

    /// Every agent that sends signs of life.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn agents(&self) -> Result<AgentsAnswer, ClientError> {
        self.get("/api/v1/agents", &[], None).await
    }

    /// The instances of services, as their telemetry shows them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn inventory(&self) -> Result<InventoryAnswer, ClientError> {
        self.get("/api/v1/inventory", &[], None).await
    }

    /// The configurations that are handed out to agents, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn agent_stages(&self) -> Result<StagesAnswer, ClientError> {
        self.get("/api/v1/agents/stages", &[], None).await
    }

    /// Hands out a configuration to agents, or says how far it would reach.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` when the configuration or the percentage is wrong.
    pub async fn push_agents(&self, request: &PushRequest) -> Result<StageRow, ClientError> {
        self.post("/api/v1/agents/push", request).await
    }

    /// Takes back a configuration that was handed out.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` when there is none.
    pub async fn rollback_agents(&self, request: &RollbackRequest) -> Result<StageRow, ClientError> {
        self.post("/api/v1/agents/rollback", request).await
    }

    /// What an agent runs with; `agent` is its name or its id.
    ///
    /// # Errors
    /// `Refused` with code `not_found` when there is no such agent.
    pub async fn agent_config(&self, agent: &str) -> Result<AgentConfigAnswer, ClientError> {
        self.get("/api/v1/agents/config", &[("agent", agent.to_owned())], None).await
    }

    /// All alert rules with their state.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn alerts(&self) -> Result<AlertsAnswer, ClientError> {
        self.get("/api/v1/alerts", &[], None).await
    }

    /// All boards.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn boards(&self) -> Result<BoardsAnswer, ClientError> {
        self.get("/api/v1/boards", &[], None).await
    }

    /// One board.
    ///
    /// # Errors
    /// `Refused` with code `not_found` for an unknown name.
    pub async fn board(&self, name: &str) -> Result<NamedBoard, ClientError> {
        self.get(&format!("/api/v1/boards/{name}"), &[], None).await
    }

    /// A PromQL expression at one instant.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` when the expression cannot be read or evaluated.
    pub async fn metrics_instant(&self, promql: &str, time: UnixNano) -> Result<MetricsData, ClientError> {
        let parameters = [("query", promql.to_owned()), ("time", time.to_string())];
        self.prometheus("query", &parameters).await
    }

    /// A PromQL expression at every `step` of a range.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` when the expression cannot be read or evaluated.
    pub async fn metrics_range(
        &self,
        promql: &str,
        range: TimeRange,
        step: Duration,
    ) -> Result<MetricsData, ClientError> {
        let parameters = [
            ("query", promql.to_owned()),
            ("start", range.from.to_string()),
            ("end", range.to.to_string()),
            ("step", step.as_secs_f64().to_string()),
        ];
        self.prometheus("query_range", &parameters).await
    }

    /// One SQL statement.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` or `limit`.
    pub async fn sql(&self, request: &SqlRequest) -> Result<SqlAnswer, ClientError> {
        self.online("SQL")?;
        self.post("/api/v1/sql", request).await
    }

    /// Deletes, or counts, the rows that carry an id.
    ///
    /// # Errors
    /// `Refused` with code `bad_query` when the id is of no known kind.
    pub async fn delete(&self, request: &DeleteRequest) -> Result<DeleteReceipt, ClientError> {
        self.online("deletes")?;
        self.post("/api/v1/delete", request).await
    }

    /// Receipts of all deletes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn deletes(&self) -> Result<DeletesAnswer, ClientError> {
        self.get("/api/v1/deletes", &[], None).await
    }

    /// Whether the server is up and has replayed its WAL.
    pub async fn is_ready(&self) -> bool {
        if self.offline.is_some() {
            return true;
        }
        let url = format!("{}/ready", self.base);
        matches!(self.http.get(url).send().await, Ok(response) if response.status().is_success())
    }
}
