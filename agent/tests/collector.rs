//! A small OTLP/HTTP collector that keeps what it acknowledged, and can be told to refuse or be away, to
//! lose its answers, and to keep positions (`docs/formats/positions.md`) or not to know them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::otlp::{self, AnyValue, LogRecordView, MetricView, SpanView, attributes};
use model::positions::{self, StreamId};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One acknowledged record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) signal: String,
    /// Body of a log record, name of a span.
    pub(crate) text: String,
    pub(crate) severity_number: i32,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) trace_id: String,
}

impl Record {
    pub(crate) fn resource(&self, key: &str) -> &str {
        self.resource.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    pub(crate) fn attribute(&self, key: &str) -> &str {
        self.attributes.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }
}

/// What it answers next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    #[default]
    Take,
    Busy,
    Refuse,
    /// Refuses requests that hold a record with the text `poison`.
    RefusePoison,
    /// Takes all and says that one was rejected.
    RejectOne,
    /// Takes all, and answers as if it had not.
    TakeInSilence,
}

/// What a collector knows that keeps positions.
#[derive(Debug, Default)]
struct Kept {
    session: u64,
    committed: BTreeMap<StreamId, u64>,
    duplicates: usize,
    gaps: usize,
}

#[derive(Debug, Default)]
struct Seen {
    records: Vec<Record>,
    answer: Answer,
    requests: usize,
    agents: Vec<String>,
    kept: Option<Kept>,
}

/// A running collector. Dropping it ends it, so that its port is free again.
pub(crate) struct Collector {
    seen: Arc<Mutex<Seen>>,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = listener.local_addr().expect("address");
        let mut collector = Self { seen: Arc::default(), address, serving: None };
        collector.serve(listener);
        collector
    }

    /// One that keeps positions.
    pub(crate) async fn start_positioned() -> Self {
        let collector = Self::start().await;
        collector.seen.lock().expect("lock").kept = Some(Kept::default());
        collector
    }

    /// Changes what is committed, as a restored backup does.
    pub(crate) fn change_committed(&self, change: impl FnOnce(&mut BTreeMap<StreamId, u64>)) {
        change(&mut self.seen.lock().expect("lock").kept.as_mut().expect("positioned").committed);
    }

    /// Another process says hello with the same identity.
    pub(crate) fn fence(&self) {
        self.seen.lock().expect("lock").kept.as_mut().expect("positioned").session += 1;
    }

    /// Requests that were recognised as duplicates, and gaps.
    pub(crate) fn duplicates_and_gaps(&self) -> (usize, usize) {
        let seen = self.seen.lock().expect("lock");
        let kept = seen.kept.as_ref().expect("positioned");
        (kept.duplicates, kept.gaps)
    }

    fn serve(&mut self, listener: TcpListener) {
        let router = Router::new()
            .route("/v1/{signal}", post(export))
            .route("/v1/agent/hello", post(hello))
            .with_state(Arc::clone(&self.seen));
        self.serving = Some(tokio::spawn(async move { axum::serve(listener, router).await.expect("serve") }));
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the port and every connection.
    pub(crate) async fn go_away(&mut self) {
        let serving = self.serving.take().expect("was there");
        serving.abort();
        assert!(serving.await.is_err(), "ended by the abort");
    }

    /// Listens on the same port again.
    pub(crate) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the same port");
        self.serve(listener);
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.seen.lock().expect("lock").answer = answer;
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.seen.lock().expect("lock").records.clone()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.records().into_iter().map(|record| record.text).collect()
    }

    /// Requests that arrived, taken or not.
    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().expect("lock").requests
    }

    /// Values of the `silmari-agent` header.
    pub(crate) fn agents(&self) -> Vec<String> {
        self.seen.lock().expect("lock").agents.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

async fn hello(State(seen): State<Arc<Mutex<Seen>>>) -> Response {
    let mut seen = seen.lock().expect("lock");
    let Some(kept) = &mut seen.kept else { return StatusCode::NOT_FOUND.into_response() };
    kept.session += 1;
    let streams: Vec<_> = kept
        .committed
        .iter()
        .map(|(stream, committed)| serde_json::json!({"stream": stream.to_string(), "committed": committed}))
        .collect();
    axum::Json(serde_json::json!({"store": "s", "session": kept.session, "streams": streams})).into_response()
}

impl Kept {
    /// Whether a request is new; otherwise the answer.
    fn take(&mut self, headers: &HeaderMap, records: usize) -> Result<bool, Box<Response>> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("text"));
        let Some(value) = text(positions::POSITIONS_HEADER) else { return Ok(true) };
        let refuse = |reason: &str, committed: String| {
            let heads =
                [(positions::REFUSED_HEADER, reason), (positions::COMMITTED_HEADER, committed.as_str())];
            let heads = heads.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Err(Box::new((StatusCode::CONFLICT, heads).into_response()))
        };
        if text(positions::SESSION_HEADER) != Some(&self.session.to_string()) {
            return refuse("session", String::new());
        }
        let ranges = positions::decode(&STANDARD.decode(value).expect("base64")).expect("sound");
        positions::check(&ranges, records as u64).expect("ranges that fit the request");
        let told: Vec<_> =
            ranges.iter().map(|range| (range.stream, self.committed.get(&range.stream).copied())).collect();
        let told = STANDARD.encode(positions::encode_committed(&told));
        let is_duplicate = |range: &positions::Range| {
            self.committed.get(&range.stream).is_some_and(|committed| range.end <= *committed)
        };
        let fits = |range: &positions::Range| match self.committed.get(&range.stream) {
            Some(committed) => range.start == *committed,
            None => range.begins,
        };
        if ranges.iter().all(is_duplicate) {
            self.duplicates += 1;
            return Ok(false);
        }
        if !ranges.iter().all(fits) {
            self.gaps += 1;
            return refuse("gap", told);
        }
        self.committed.extend(ranges.iter().map(|range| (range.stream, range.end)));
        Ok(true)
    }

    fn answer(&self) -> String {
        let told: Vec<_> = self.committed.iter().map(|(stream, at)| (*stream, Some(*at))).collect();
        STANDARD.encode(positions::encode_committed(&told))
    }
}

async fn export(
    State(seen): State<Arc<Mutex<Seen>>>,
    Path(signal): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut seen = seen.lock().expect("lock");
    seen.requests += 1;
    seen.agents.push(headers.get("silmari-agent").expect("header").to_str().expect("text").to_owned());
    let body = match headers.get("content-encoding").map(|value| value.to_str().expect("text")) {
        Some("zstd") => zstd::decode_all(body.as_ref()).expect("zstd"),
        Some(other) => panic!("unexpected encoding {other}"),
        None => body.to_vec(),
    };
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let records = decode(&signal, &body);
    let is_poisoned = records.iter().any(|record| record.text == "poison");
    match seen.answer {
        Answer::Busy => return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response(),
        Answer::Refuse => return StatusCode::BAD_REQUEST.into_response(),
        Answer::RefusePoison if is_poisoned => return StatusCode::BAD_REQUEST.into_response(),
        _ => {}
    }
    let is_new = match seen.kept.as_mut().map(|kept| kept.take(&headers, records.len())) {
        Some(Err(refusal)) => return *refusal,
        Some(Ok(is_new)) => is_new,
        None => true,
    };
    let known = if is_new { 0 } else { records.len() };
    if is_new {
        seen.records.extend(records);
    }
    if seen.answer == Answer::TakeInSilence {
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response();
    }
    let mut answer = Vec::new();
    if seen.answer == Answer::RejectOne {
        model::wire::put_message(&mut answer, 1, |partial| model::wire::put_u64(partial, 1, 1));
    }
    let mut response = ([("content-type", "application/x-protobuf")], answer).into_response();
    if let Some(kept) = &seen.kept {
        let told = kept.answer().parse().expect("a header");
        response.headers_mut().insert(positions::COMMITTED_HEADER, told);
        response.headers_mut().insert(positions::KNOWN_HEADER, known.into());
    }
    response
}

fn decode(signal: &str, request: &[u8]) -> Vec<Record> {
    let pairs =
        |repeated| attributes(repeated).map(|kv| (kv.key.to_owned(), text(kv.value))).collect::<Vec<_>>();
    let mut records = Vec::new();
    for group in otlp::resources(request).expect("message") {
        let group = group.expect("whole");
        for scope in group.scopes() {
            for item in scope.expect("whole").items() {
                let mut record = Record { signal: signal.to_owned(), ..Record::default() };
                record.resource = pairs(group.resource);
                if signal == "traces" {
                    let span = SpanView::parse(item).expect("span");
                    record.text = span.name.to_owned();
                } else if signal == "metrics" {
                    let metric = MetricView::parse(item).expect("whole").expect("a known kind");
                    record.text = metric.name.to_owned();
                } else {
                    let log = LogRecordView::parse(item).expect("record");
                    record.text = text(log.body);
                    record.severity_number = log.severity_number;
                    record.attributes = pairs(log.attributes);
                    record.trace_id = log.trace_id.map(|id| id.to_string()).unwrap_or_default();
                }
                records.push(record);
            }
        }
    }
    records
}

fn text(value: AnyValue<'_>) -> String {
    let mut out = String::new();
    value.push_text(&mut out);
    out
}
