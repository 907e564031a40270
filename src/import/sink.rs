//! Where requests go: a server over OTLP/HTTP, or a store in a folder.
//!
//! Invariant: an overloaded server or a full head is waited for, not given up on, until it has refused for
//! [`PATIENCE`] without a break.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::otlp::{self, MetricView};
use model::wire::Fields;
use model::{Clock, IdRules, Signal, SystemClock};
use storage::{Compression, DecodeError, ErrorKind, Frame, Store};

use super::source::Request;
use crate::exit::Failure;

/// How long a refusal that can pass is waited out.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_SERVER: &str = "http://127.0.0.1:4318";

/// What became of a line.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The signal of a request that was taken.
    pub(super) signal: Option<Signal>,
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    pub(super) is_bad: bool,
    /// Each with its place.
    pub(super) problems: Vec<String>,
}

impl Outcome {
    pub(super) fn bad(problem: String) -> Self {
        Self { is_bad: true, problems: vec![problem], ..Self::default() }
    }
}

/// Where requests go.
#[derive(Debug)]
pub(super) enum Sink {
    Server { client: reqwest::Client, url: String },
    Folder { store: Arc<Store>, clock: Arc<dyn Clock> },
}

/// One attempt at a request.
enum Attempt {
    /// Taken, but for so many records, with the reason.
    Taken(u64, Option<String>),
    /// Refused for good.
    Refused(String),
    Again(String),
}

impl Sink {
    pub(super) fn server(url: Option<&str>) -> Result<Self, Failure> {
        let url = url.unwrap_or(DEFAULT_SERVER).trim_end_matches('/').to_owned();
        let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build();
        let client = client.map_err(|error| Failure::runtime(format!("the HTTP client: {error}")))?;
        Ok(Self::Server { client, url })
    }

    pub(super) async fn folder(folder: &Path, ids: Option<&Path>) -> Result<Self, Failure> {
        let ids = match ids {
            None => IdRules::default(),
            Some(file) => {
                let named = |error: String| Failure::usage(format!("{}: {error}", file.display()));
                let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
                IdRules::parse(&text).map_err(|error| named(error.to_string()))?
            }
        };
        let clock = SystemClock::shared();
        let store = Store::open(storage::Settings::new(folder), Arc::new(ids), Arc::clone(&clock)).await;
        let store = store.map_err(|error| match error.kind() {
            ErrorKind::FixInput => {
                Failure::usage(format!("{error}; or import into the server that runs, with --to"))
            }
            _ => Failure::runtime(error.to_string()),
        })?;
        Ok(Self::Folder { store, clock })
    }

    /// Hands over one request; waits while it is refused for a reason that can pass.
    pub(super) async fn send(&self, request: Request) -> Result<Outcome, Failure> {
        let problems: Vec<String> =
            request.read.problems.iter().map(|problem| request.problem(problem)).collect();
        let signal = request.read.signal;
        let records = count_records(signal, &request.read.request);
        let mut outcome = Outcome {
            signal: Some(signal),
            rejected: request.read.rejected as u64,
            problems,
            ..Outcome::default()
        };
        if records == 0 {
            return Ok(outcome);
        }
        let at = format!("{}:{}", request.file, request.line);
        let payload = zstd::bulk::compress(&request.read.request, 1);
        let payload =
            Bytes::from(payload.map_err(|error| Failure::runtime(format!("compressing: {error}")))?);
        let plain = Bytes::from(request.read.request);
        let mut waited = Duration::ZERO;
        loop {
            let attempt = match self {
                Self::Server { client, url } => post(client, url, signal, payload.clone()).await?,
                Self::Folder { store, clock } => {
                    append(store, clock, signal, payload.clone(), plain.clone()).await?
                }
            };
            match attempt {
                Attempt::Taken(rejected, reason) => {
                    outcome.accepted = records.saturating_sub(rejected);
                    outcome.rejected += rejected;
                    outcome.problems.extend(reason.map(|reason| format!("{at}:1: {reason}")));
                    return Ok(outcome);
                }
                Attempt::Refused(reason) => return Ok(Outcome::bad(format!("{at}:1: {reason}"))),
                Attempt::Again(reason) if waited >= PATIENCE => {
                    let message = format!("{at}: refused for {PATIENCE:?}: {reason}");
                    return Err(Failure::runtime(message));
                }
                Attempt::Again(_) => {
                    tokio::time::sleep(PAUSE).await;
                    waited += PAUSE;
                }
            }
        }
    }

    /// Seals what a folder got.
    pub(super) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Server { .. } => Ok(()),
            Self::Folder { store, .. } => store.close().await.map_err(|error| {
                Failure::runtime(format!("sealing at the end: {error}; nothing is lost, the wal holds it"))
            }),
        }
    }
}

/// Spans, log records or data points.
fn count_records(signal: Signal, request: &[u8]) -> u64 {
    if signal != Signal::Metrics {
        return otlp::count_items(request) as u64;
    }
    let resources = otlp::resources(request).into_iter().flatten().filter_map(Result::ok);
    let mut points = 0;
    for resource in resources {
        for scope in resource.scopes().filter_map(Result::ok) {
            let metrics = scope.items().filter_map(|item| MetricView::parse(item).ok().flatten());
            points += metrics.map(|metric| metric.points().count() as u64).sum::<u64>();
        }
    }
    points
}

async fn post(
    client: &reqwest::Client,
    url: &str,
    signal: Signal,
    payload: Bytes,
) -> Result<Attempt, Failure> {
    let sent = client
        .post(format!("{url}/v1/{signal}"))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "zstd")
        .body(payload)
        .send()
        .await;
    let response = match sent {
        Ok(response) => response,
        Err(error) if error.is_connect() => {
            return Err(Failure::unreachable(format!(
                "no server answers at {url}: start one with `silmari serve --data-dir DIR`, name another with --to, \
                 or write into a folder with --data-dir"
            )));
        }
        Err(error) => return Ok(Attempt::Again(error.to_string())),
    };
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    Ok(match status.as_u16() {
        200..=299 => partial_success(&body),
        408 | 429 | 502..=504 => Attempt::Again(format!("{status}")),
        400 | 413 | 415 | 422 => {
            Attempt::Refused(format!("the server says {status}: {}", status_message(&body)))
        }
        _ => {
            let message = status_message(&body);
            return Err(Failure::runtime(format!("{url} is no OTLP/HTTP receiver: {status} {message}")));
        }
    })
}

/// `ExportXServiceResponse { 1: partial_success { 1: rejected, 2: error_message } }`.
fn partial_success(body: &[u8]) -> Attempt {
    let (mut rejected, mut reason) = (0, None);
    let parts = Fields::new(body).filter_map(Result::ok).filter(|(number, _)| *number == 1);
    for (_, part) in parts {
        for (number, value) in Fields::new(part.bytes()).filter_map(Result::ok) {
            match number {
                1 => rejected = value.integer(),
                2 => reason = Some(printable(value.bytes())).filter(|text| !text.is_empty()),
                _ => {}
            }
        }
    }
    Attempt::Taken(rejected, reason)
}

/// `google.rpc.Status { 2: message }`, else the text itself.
fn status_message(body: &[u8]) -> String {
    let message = Fields::new(body).filter_map(Result::ok).find(|(number, _)| *number == 2);
    message.map_or_else(|| printable(body), |(_, value)| printable(value.bytes()))
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn append(
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    signal: Signal,
    payload: Bytes,
    plain: Bytes,
) -> Result<Attempt, Failure> {
    let received_at = clock.now();
    let decoding = {
        let store = Arc::clone(store);
        tokio::task::spawn_blocking(move || store.decode(signal, &plain, received_at))
    };
    let decoded = decoding.await.map_err(|error| Failure::runtime(format!("decoding: {error}")))?;
    let batch = match decoded {
        Ok(batch) => batch,
        Err(error @ (DecodeError::Malformed(_) | DecodeError::TooManyRecords { .. })) => {
            return Ok(Attempt::Refused(error.to_string()));
        }
    };
    let taken = Attempt::Taken(batch.rejected as u64, batch.rejection.clone());
    if batch.rows() == 0 {
        return Ok(taken);
    }
    let frame = Frame { signal, compression: Compression::Zstd, received_at, payload };
    match store.append(frame, batch).await {
        Ok(_) => Ok(taken),
        Err(error) => match error.kind() {
            ErrorKind::Retry => Ok(Attempt::Again(error.to_string())),
            ErrorKind::FixInput => Ok(Attempt::Refused(error.to_string())),
            _ => Err(Failure::runtime(error.to_string())),
        },
    }
}
