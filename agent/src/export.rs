//! Sending: OTLP/HTTP to the collector, again and again until it is taken or refused for good.
//!
//! Owns: the HTTP client, which answers mean "again", the loops that empty file batches and the spool.
//! Does not own: what is in a request.
//!
//! | answer | meaning |
//! |---|---|
//! | 2xx | taken; `partial_success` counts what was rejected, and is never sent again |
//! | 408 429 502 503 504, no connection, timeout | again, after `Retry-After` or a back-off 250 ms → 30 s with jitter |
//! | 3xx 401 403 404 405 | again likewise: the fault lies in an address or a credential, not in the data |
//! | everything else | refused for good: counted, logged, left out |

mod answer;
mod backoff;
pub(crate) mod files;
pub(crate) mod spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::Signal;
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use crate::config::{CollectorSettings, Compression};
use crate::queue::Encoding;
use crate::status::Shared;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Idle connections are dropped after this, before most servers and proxies do.
const IDLE: Duration = Duration::from_secs(30);

/// One request, ready to send.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) signal: Signal,
    pub(crate) encoding: Encoding,
    /// Compressed as the configuration says.
    pub(crate) body: Bytes,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Taken, but for so many records.
    Accepted { rejected: u64 },
    /// Refused for good.
    Refused,
    /// Shutdown came first.
    GivenUp,
}

enum Attempt {
    Accepted { rejected: u64, message: String },
    Refused(String),
    Again { reason: String, after: Option<Duration> },
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
    client: Client<HttpConnector, Full<Bytes>>,
    endpoints: Vec<String>,
    current: AtomicUsize,
    compression: Compression,
    timeout: Duration,
    shared: Arc<Shared>,
    stop: Stop,
}

impl Exporter {
    pub(crate) fn new(settings: &CollectorSettings, shared: Arc<Shared>, stop: Stop) -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.timeout.min(Duration::from_secs(5))));
        connector.set_nodelay(true);
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
            shared,
            stop,
        })
    }

    /// Compresses a request as the configuration says; off the network's threads.
    pub(crate) fn compress(&self, body: Bytes) -> std::io::Result<Bytes> {
        compress(self.compression, body)
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

    /// Sends until the collector takes or refuses it, or shutdown.
    pub(crate) async fn deliver(&self, request: &Outgoing) -> Delivery {
        let mut backoff = Backoff::default();
        loop {
            let attempt = tokio::select! {
                attempt = self.attempt(request) => attempt,
                () = self.stop.deadline.cancelled() => return Delivery::GivenUp,
            };
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
                Attempt::Again { reason, after } => (reason, after),
            };
            if self.stop.shutdown.is_cancelled() {
                return Delivery::GivenUp;
            }
            let wait = backoff.next(after);
            if self.shared.collector_failed(&reason) == 1 {
                tracing::warn!(%reason, ?wait, "the collector does not take data; trying on");
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.shutdown.cancelled() => return Delivery::GivenUp,
            }
        }
    }

    async fn attempt(&self, request: &Outgoing) -> Attempt {
        let current = self.current.load(Relaxed);
        let endpoint = &self.endpoints[current % self.endpoints.len()];
        let attempt = match tokio::time::timeout(self.timeout, self.send(endpoint, request)).await {
            Ok(Ok(response)) => answer::judge(endpoint, request.encoding, response),
            Ok(Err(reason)) => Attempt::Again { reason: format!("{endpoint}: {reason}"), after: None },
            Err(_) => Attempt::Again {
                reason: format!("{endpoint}: no answer within {:?}", self.timeout),
                after: None,
            },
        };
        if matches!(attempt, Attempt::Again { .. }) {
            self.current.store(current.wrapping_add(1), Relaxed);
        }
        attempt
    }

    async fn send(&self, endpoint: &str, request: &Outgoing) -> Result<Response<Bytes>, String> {
        let mut builder = Request::post(format!("{endpoint}/v1/{}", request.signal))
            .header(CONTENT_TYPE, request.encoding.content_type())
            .header(ACCEPT, request.encoding.content_type())
            .header(USER_AGENT, concat!("silmari-agent/", env!("CARGO_PKG_VERSION")))
            .header("silmari-agent", &self.shared.agent_id);
        if let Some(name) = content_encoding(self.compression) {
            builder = builder.header(CONTENT_ENCODING, name);
        }
        let body = Full::new(request.body.clone());
        let outgoing = builder.body(body).map_err(|error| error.to_string())?;
        let response = self.client.request(outgoing).await.map_err(|error| whole_text(&error))?;
        let (parts, body) = response.into_parts();
        let bytes = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
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

fn compress(compression: Compression, body: Bytes) -> std::io::Result<Bytes> {
    use std::io::Write as _;

    Ok(match compression {
        Compression::Zstd => zstd::encode_all(body.as_ref(), 1)?.into(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body)?;
            encoder.finish()?.into()
        }
        Compression::None => body,
    })
}

/// An error with its causes on one line.
fn whole_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
