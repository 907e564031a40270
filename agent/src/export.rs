//! Sending: OTLP/HTTP to the collector, again and again until it is taken or refused for good.
//!
//! Owns: the HTTP client, which answers mean "again", the loops that empty file batches and the spool.
//! Does not own: what is in a request.
//!
//! | answer | meaning |
//! |---|---|
//! | 2xx | taken; `partial_success` counts what was rejected, and is never sent again |
//! | 409 with `silmari-refused` | positions: hello again, or the source is read again (`session`) |
//! | 408 429 502 503 504, no connection, timeout | again, after `Retry-After` or a back-off 250 ms → 30 s with jitter |
//! | 3xx 401 403 404 405 | again likewise: the fault lies in an address or a credential, not in the data |
//! | everything else | refused for good: counted, logged, left out |

mod answer;
mod backoff;
pub(crate) mod breaker;
pub(crate) mod connect;
pub(crate) mod files;
pub(crate) mod pack;
pub(crate) mod session;
pub(crate) mod spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::Signal;
use model::positions::{AGENT_HEADER, BATCH_HEADER, POSITIONS_HEADER, Range, SESSION_HEADER};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use self::connect::Connector;
use self::session::{Committed, Heads, PositionRefusal, Sessions, Told};
use crate::config::{CollectorSettings, Compression};
use crate::queue::Encoding;
use crate::status::Shared;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer to hello: room for as many streams as an agent may have.
const WELCOME_BYTES_MAX: usize = 8 << 20;
/// Idle connections are dropped after this, before most servers and proxies do.
const IDLE: Duration = Duration::from_secs(30);
/// Pause before a source is read again.
const GAP_PAUSE: Duration = Duration::from_millis(20);
/// Pause before an agent that was fenced says hello again.
const FENCED_PAUSE: Duration = Duration::from_secs(2);

/// One request, ready to send.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) signal: Signal,
    pub(crate) encoding: Encoding,
    pub(crate) body: Bytes,
    /// How the body is compressed.
    pub(crate) compression: Compression,
    /// Where the records stood, in their order; empty for what cannot be positioned.
    pub(crate) ranges: Vec<Range>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Taken, but for so many records.
    Accepted { rejected: u64 },
    /// Refused for good.
    Refused,
    /// Streams of the request have to be read again from these positions.
    Gap(Told),
    /// Shutdown came first.
    GivenUp,
}

enum Attempt {
    Accepted { rejected: u64, message: String },
    Refused(String),
    Again { reason: String, after: Option<Duration> },
    Gap(Told),
}

/// When to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Finish what works; do not wait for a collector that is away.
    pub(crate) shutdown: CancellationToken,
    /// Drop everything.
    pub(crate) deadline: CancellationToken,
}

/// The way to the collector.
#[derive(Debug)]
pub(crate) struct Exporter {
    client: Client<Connector, Full<Bytes>>,
    endpoints: Vec<String>,
    current: AtomicUsize,
    compression: Compression,
    timeout: Duration,
    sessions: Sessions,
    /// What was committed at the first hello of this run.
    first_hello: OnceCell<Committed>,
    hello_turn: tokio::sync::Mutex<()>,
    shared: Arc<Shared>,
    stop: Stop,
}

impl Exporter {
    pub(crate) fn new(
        settings: &CollectorSettings,
        connector: Connector,
        shared: Arc<Shared>,
        stop: Stop,
    ) -> Arc<Self> {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Arc::new(Self {
            client,
            endpoints: settings.endpoints.clone(),
            current: AtomicUsize::new(0),
            compression: settings.compression,
            timeout: settings.timeout,
            sessions: Sessions::new(settings.endpoints.len()),
            first_hello: OnceCell::new(),
            hello_turn: tokio::sync::Mutex::new(()),
            shared,
            stop,
        })
    }

    /// After a failure of this host (its disk, its memory): says so and waits. `false` when shutdown
    /// comes first.
    async fn pause(&self, problem: &str, error: &std::io::Error, backoff: &mut Backoff) -> bool {
        let wait = backoff.next(None);
        tracing::error!(%error, ?wait, "{problem}; trying on");
        tokio::select! {
            biased;
            () = self.stop.shutdown.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Streams that the store may forget at the next hello.
    pub(crate) const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Whether the endpoint in use keeps positions.
    pub(crate) fn keeps_positions(&self) -> bool {
        matches!(self.sessions.heads(self.current(), &[]), Heads::Positioned { .. })
    }

    /// What the store had committed when this run first said hello; empty where no positions are kept.
    /// Asks until it is answered; `None` when shutdown came first.
    pub(crate) async fn greeted(&self) -> Option<&Committed> {
        self.first_hello.get_or_try_init(|| self.greet()).await.ok()
    }

    async fn greet(&self) -> Result<Committed, ()> {
        let mut backoff = Backoff::default();
        loop {
            let at = self.current();
            let hello = tokio::select! {
                hello = self.say_hello(at) => hello,
                () = self.stop.deadline.cancelled() => return Err(()),
            };
            match hello {
                Ok(committed) => {
                    self.shared.breaker.answered();
                    return Ok(committed);
                }
                Err((reason, after)) => {
                    self.rotate(at);
                    if !self.retry(&reason, after, &mut backoff).await {
                        return Err(());
                    }
                }
            }
        }
    }

    /// Sends until the collector takes or refuses it, or shutdown.
    pub(crate) async fn deliver(&self, request: &Outgoing) -> Delivery {
        let mut backoff = Backoff::default();
        loop {
            let attempt = tokio::select! {
                attempt = self.attempt(request) => attempt,
                () = self.stop.deadline.cancelled() => return Delivery::GivenUp,
            };
            if !matches!(attempt, Attempt::Again { .. }) {
                self.shared.breaker.answered();
            }
            let (reason, after) = match attempt {
                Attempt::Accepted { rejected, message } => {
                    self.shared.collector_answered();
                    if rejected > 0 || !message.is_empty() {
                        tracing::warn!(rejected, %message, "the collector took a request in part");
                    }
                    return Delivery::Accepted { rejected };
                }
                Attempt::Refused(reason) => {
                    self.shared.collector_failed(&reason);
                    tracing::error!(%reason, signal = %request.signal, "the collector refused a request for good");
                    return Delivery::Refused;
                }
                Attempt::Gap(told) => {
                    // A store that answers so again and again is not asked in a tight loop.
                    tokio::time::sleep(GAP_PAUSE).await;
                    return Delivery::Gap(told);
                }
                Attempt::Again { reason, after } => (reason, after),
            };
            if !self.retry(&reason, after, &mut backoff).await {
                return Delivery::GivenUp;
            }
        }
    }

    /// Notes a failure and waits; `false` at shutdown, which does not wait for a collector that is away.
    async fn retry(&self, reason: &str, after: Option<Duration>, backoff: &mut Backoff) -> bool {
        let wait = backoff.next(after);
        self.shared.breaker.failed();
        if self.shared.collector_failed(reason) == 1 {
            tracing::warn!(%reason, ?wait, "the collector does not take data; trying on");
        }
        tokio::select! {
            biased;
            () = self.stop.shutdown.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    fn current(&self) -> usize {
        self.current.load(Relaxed) % self.endpoints.len()
    }

    /// The next endpoint is to be tried after a failure of this one.
    fn rotate(&self, at: usize) {
        self.current.store((at + 1) % self.endpoints.len(), Relaxed);
    }

    async fn attempt(&self, request: &Outgoing) -> Attempt {
        let _turn = self.shared.breaker.turn().await;
        let at = self.current();
        let mut heads = Heads::Plain;
        if !request.ranges.is_empty() {
            heads = self.sessions.heads(at, &request.ranges);
            if heads == Heads::HelloFirst {
                if let Err((reason, after)) = self.hello_again(at).await {
                    self.rotate(at);
                    return Attempt::Again { reason, after };
                }
                heads = self.sessions.heads(at, &request.ranges);
            }
        }
        let attempt = match self.send(at, request, &heads).await {
            Ok(response) => self.judge(at, request, &heads, response),
            Err(reason) => Attempt::Again { reason, after: None },
        };
        if matches!(attempt, Attempt::Again { .. }) {
            self.rotate(at);
        }
        attempt
    }

    fn judge(&self, at: usize, request: &Outgoing, heads: &Heads, response: Response<Bytes>) -> Attempt {
        let endpoint = &self.endpoints[at];
        if response.status() == StatusCode::CONFLICT
            && let Heads::Positioned { session, .. } = heads
            && let Some(refusal) = self.sessions.refused(at, *session, &response)
        {
            return self.position_refused(endpoint, refusal);
        }
        self.shared.duplicates.fetch_add(session::known(response.headers()), Relaxed);
        if response.status().is_success()
            && matches!(heads, Heads::Positioned { .. })
            && !self.sessions.answered(at, &response)
        {
            let why = format!("{endpoint} took a positioned request and said nothing of its positions");
            self.shared.delivers_at_least_once(&why);
        }
        answer::judge(endpoint, request.encoding, response)
    }

    fn position_refused(&self, endpoint: &str, refusal: PositionRefusal) -> Attempt {
        match refusal {
            PositionRefusal::Gap(told) => {
                self.shared.gap_detected();
                Attempt::Gap(told)
            }
            PositionRefusal::Fenced => {
                let reason = format!(
                    "{endpoint}: another agent uses the identity {}: give each its own data directory",
                    self.shared.agent_id
                );
                self.shared.fenced();
                tracing::error!(%reason, "this agent was fenced");
                Attempt::Again { reason, after: Some(FENCED_PAUSE) }
            }
            PositionRefusal::SessionUnknown => {
                Attempt::Again { reason: format!("{endpoint}: the session is not known there"), after: None }
            }
            PositionRefusal::Streams => {
                let reason =
                    format!("{endpoint}: too many streams; those of closed files are to be forgotten");
                Attempt::Again { reason, after: None }
            }
        }
    }

    /// Hello, unless another part of the agent said it meanwhile.
    async fn hello_again(&self, at: usize) -> Result<(), (String, Option<Duration>)> {
        let _turn = self.hello_turn.lock().await;
        match self.sessions.heads(at, &[]) {
            Heads::HelloFirst => self.say_hello(at).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Opens a session at an endpoint, or learns that it does not know positions.
    async fn say_hello(&self, at: usize) -> Result<Committed, (String, Option<Duration>)> {
        let endpoint = &self.endpoints[at];
        let hello = self.sessions.hello(&self.shared.agent_id, &self.shared.instance);
        let body = serde_json::to_vec(&hello).map_err(|error| (error.to_string(), None))?;
        let request = Request::post(format!("{endpoint}/v1/agent/hello"))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json");
        let answer = self.exchange(endpoint, request, body.into(), WELCOME_BYTES_MAX).await;
        let answer = answer.map_err(|reason| (reason, None))?;
        match answer.status().as_u16() {
            200..=299 => match self.sessions.welcome(at, answer.body()) {
                Some((session, committed)) => {
                    tracing::info!(
                        endpoint,
                        session,
                        streams = committed.len(),
                        "the collector keeps positions"
                    );
                    self.shared.delivers_exactly_once(session);
                    return Ok(committed);
                }
                None => self.is_plain(at),
            },
            300..=399 | 401 | 403 | 408 | 429 | 500 | 502 | 503 | 504 => {
                let reason = format!("{endpoint}: hello: {}", answer.status());
                return Err((reason, answer::retry_after(&answer)));
            }
            _ => self.is_plain(at),
        }
        Ok(Committed::new())
    }

    fn is_plain(&self, at: usize) {
        self.sessions.is_plain(at);
        let why = format!("{} does not know positions", self.endpoints[at]);
        tracing::warn!(%why, "delivering at least once");
        self.shared.delivers_at_least_once(&why);
    }

    async fn send(&self, at: usize, request: &Outgoing, heads: &Heads) -> Result<Response<Bytes>, String> {
        let endpoint = &self.endpoints[at];
        let mut builder = Request::post(format!("{endpoint}/v1/{}", request.signal))
            .header(CONTENT_TYPE, request.encoding.content_type())
            .header(ACCEPT, request.encoding.content_type());
        if let Some(name) = content_encoding(request.compression) {
            builder = builder.header(CONTENT_ENCODING, name);
        }
        if let Heads::Positioned { session, batch, positions } = heads {
            builder = builder
                .header(SESSION_HEADER, *session)
                .header(BATCH_HEADER, *batch)
                .header(POSITIONS_HEADER, positions);
        }
        self.exchange(endpoint, builder, request.body.clone(), ANSWER_BYTES_MAX).await
    }

    /// One request and its answer, within the time a request may take.
    async fn exchange(
        &self,
        endpoint: &str,
        builder: http::request::Builder,
        body: Bytes,
        answer_bytes_max: usize,
    ) -> Result<Response<Bytes>, String> {
        let outgoing = builder
            .header(USER_AGENT, concat!("silmari-agent/", env!("CARGO_PKG_VERSION")))
            .header(AGENT_HEADER, &self.shared.agent_id)
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(self.timeout, self.round_trip(outgoing, answer_bytes_max)).await {
            Ok(answer) => answer.map_err(|reason| format!("{endpoint}: {reason}")),
            Err(_) => Err(format!("{endpoint}: no answer within {:?}", self.timeout)),
        }
    }

    async fn round_trip(
        &self,
        outgoing: Request<Full<Bytes>>,
        answer_bytes_max: usize,
    ) -> Result<Response<Bytes>, String> {
        let response = self.client.request(outgoing).await.map_err(|error| whole_text(&error))?;
        let (parts, body) = response.into_parts();
        let bytes = match Limited::new(body, answer_bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            // The status counts; the text was only for people.
            Err(_) if parts.status != StatusCode::OK => Bytes::new(),
            Err(error) => return Err(format!("the answer broke off: {error}")),
        };
        Ok(Response::from_parts(parts, bytes))
    }
}

const fn content_encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::Zstd => Some("zstd"),
        Compression::Gzip => Some("gzip"),
        Compression::None => None,
    }
}

/// An error with its causes on one line.
pub(crate) fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
