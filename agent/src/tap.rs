//! Looking at what passes: every record after the processors, live, for `silmari-agent tail`.
//!
//! Owns: who looks, what they asked for, and that nobody's slowness holds up the agent. Does not own: the
//! connection (`status::http`), what it looks like (`cli::tail`).
//!
//! ```text
//! finished request ─► does anybody look? (one load) ─► record as a JSON line ─► 256 lines a looker ─► HTTP body
//!                                                                └─ full: counted, {"dropped": 17} comes first
//! ```
//!
//! Invariants: without lookers nothing is decoded; at most [`LOOKERS_MAX`] look at a time; a looker holds
//! at most [`LINES_MAX`] lines of at most [`BODY_BYTES_MAX`] of text each.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Bytes;
use http_body::{Body, Frame};
use model::otlp::{self, AnyValue, LogRecordView, MetricView, SpanView, attributes, value};
use model::wire::Repeated;
use model::{Severity, Signal};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::status::lock;

/// Lookers at a time.
pub(crate) const LOOKERS_MAX: usize = 4;
/// Lines that wait for one looker.
const LINES_MAX: usize = 256;
/// Bytes shown of a body or an attribute.
const BODY_BYTES_MAX: usize = 16 << 10;

/// What a looker wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Only of this table: a `[files.NAME]` by its name, `otlp`, `syslog` and so on.
    pub(crate) source: Option<String>,
    /// Only records at least as grave.
    pub(crate) level: Option<Severity>,
}

#[derive(Debug)]
struct Looker {
    wanted: Wanted,
    lines: mpsc::Sender<Bytes>,
    dropped: Arc<AtomicU64>,
}

/// Where records pass.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    lookers: Mutex<Vec<Looker>>,
    count: AtomicUsize,
}

impl Tap {
    /// Whether nobody looks.
    pub(crate) fn is_idle(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Begins to look; `None` when too many do.
    pub(crate) fn look(&self, wanted: Wanted) -> Option<Lines> {
        let mut lookers = lock(&self.lookers);
        lookers.retain(|looker| !looker.lines.is_closed());
        if lookers.len() >= LOOKERS_MAX {
            return None;
        }
        let (lines, received) = mpsc::channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        lookers.push(Looker { wanted, lines, dropped: Arc::clone(&dropped) });
        self.count.store(lookers.len(), Relaxed);
        Some(Lines { received, dropped, after_drop: None })
    }

    /// Shows the records of a request: `sources` names the tables they came from and how many of each, in
    /// their order.
    pub(crate) fn show<'a>(
        &self,
        signal: Signal,
        request: &[u8],
        sources: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        if self.is_idle() {
            return;
        }
        let mut lookers = lock(&self.lookers);
        lookers.retain(|looker| !looker.lines.is_closed());
        self.count.store(lookers.len(), Relaxed);
        if lookers.is_empty() {
            return;
        }
        let mut sources = sources.into_iter();
        let (mut source, mut left) = ("", 0);
        each_item(request, |resource, item| {
            while left == 0 {
                let Some(next) = sources.next() else { break };
                (source, left) = next;
            }
            left = left.saturating_sub(1);
            let wants = |looker: &&Looker| looker.wanted.source.as_deref().is_none_or(|name| name == source);
            if !lookers.iter().any(|looker| wants(&looker)) {
                return;
            }
            let Some((level, line)) = shown(signal, source, resource, item) else { return };
            for looker in lookers.iter().filter(wants) {
                let is_grave_enough = looker.wanted.level.is_none_or(|least| level >= least.number());
                if is_grave_enough && looker.lines.try_send(line.clone()).is_err() {
                    looker.dropped.fetch_add(1, Relaxed);
                }
            }
        });
    }
}

/// The records of a request in protobuf as lines of JSON, as a looker would see them.
pub(crate) fn lines_of(signal: Signal, request: &[u8]) -> Vec<Bytes> {
    let mut lines = Vec::new();
    each_item(request, |resource, item| {
        lines.extend(shown(signal, "spool", resource, item).map(|(_, line)| line));
    });
    lines
}

fn each_item(request: &[u8], mut see: impl FnMut(Repeated<'_>, &[u8])) {
    let Ok(groups) = otlp::resources(request) else { return };
    for group in groups.filter_map(Result::ok) {
        for scope in group.scopes().filter_map(Result::ok) {
            for item in scope.items() {
                see(group.resource, item);
            }
        }
    }
}

/// Severity number and JSON line of a span, record or metric; `None` for what cannot be read.
fn shown(signal: Signal, source: &str, resource: Repeated<'_>, item: &[u8]) -> Option<(i32, Bytes)> {
    let service = value::find(resource, "service.name").map(text).unwrap_or_default();
    let mut line = json!({ "source": source, "signal": signal, "service": service });
    let fields = line.as_object_mut()?;
    let mut level = 0;
    match signal {
        Signal::Logs => {
            let record = LogRecordView::parse(item).ok()?;
            level = record.severity_number;
            let time = if record.time.0 == 0 { record.observed_time } else { record.time };
            fields.insert("time".to_owned(), json!(time));
            let name = Severity::from_number(level).map_or(record.severity_text, |level| level.name());
            fields.insert("level".to_owned(), json!(name));
            fields.insert("body".to_owned(), json!(text(record.body)));
            fields.extend(record.trace_id.map(|id| ("trace_id".to_owned(), json!(id.to_string()))));
            fields.insert("attributes".to_owned(), pairs(record.attributes));
        }
        Signal::Traces => {
            let span = SpanView::parse(item).ok()?;
            fields.insert("time".to_owned(), json!(span.start_time));
            fields.insert("body".to_owned(), json!(span.name));
            let took = span.end_time.0.saturating_sub(span.start_time.0);
            fields.insert("duration_nano".to_owned(), json!(took));
            fields.extend(span.trace_id.map(|id| ("trace_id".to_owned(), json!(id.to_string()))));
            fields.insert("attributes".to_owned(), pairs(span.attributes));
        }
        Signal::Metrics => {
            let metric = MetricView::parse(item).ok()??;
            fields.insert("body".to_owned(), json!(metric.name));
        }
    }
    let mut bytes = line.to_string().into_bytes();
    bytes.push(b'\n');
    Some((level, bytes.into()))
}

fn pairs(repeated: Repeated<'_>) -> Value {
    let pairs = attributes(repeated).map(|pair| (pair.key.to_owned(), Value::String(text(pair.value))));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn text(value: AnyValue<'_>) -> String {
    let mut out = String::new();
    value.push_text(&mut out);
    if out.len() > BODY_BYTES_MAX {
        out.truncate(out.floor_char_boundary(BODY_BYTES_MAX));
        out.push('…');
    }
    out
}

/// The lines of one looker, as the body of an answer that ends with the agent.
pub(crate) struct Lines {
    received: mpsc::Receiver<Bytes>,
    dropped: Arc<AtomicU64>,
    /// A line that waits behind the count of dropped ones.
    after_drop: Option<Bytes>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    fn poll_line(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(line) = self.after_drop.take() {
            return Poll::Ready(Some(line));
        }
        let received = self.received.poll_recv(context);
        let dropped = if received.is_ready() { self.dropped.swap(0, Relaxed) } else { 0 };
        match received {
            Poll::Ready(Some(line)) if dropped > 0 => {
                self.after_drop = Some(line);
                Poll::Ready(Some(format!("{{\"dropped\":{dropped}}}\n").into()))
            }
            other => other,
        }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.poll_line(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[cfg(test)]
mod tests {
    use model::otlp::logs::{LogRecordParts, LogsWriter};

    use super::*;

    fn request(records: &[(i32, &str)]) -> Vec<u8> {
        let mut writer = LogsWriter::new([("service.name", "billing")]);
        for (severity_number, body) in records {
            let parts = LogRecordParts { severity_number: *severity_number, body, ..Default::default() };
            writer.push(&parts, [("k", "v")]);
        }
        writer.finish().to_vec()
    }

    async fn next(lines: &mut Lines) -> Value {
        let line = std::future::poll_fn(|context| lines.poll_line(context)).await.expect("a line");
        serde_json::from_slice(&line).expect("JSON")
    }

    #[tokio::test]
    async fn a_looker_sees_what_it_asked_for_and_nothing_else() {
        let tap = Tap::default();
        let wanted = Wanted { source: Some("b".to_owned()), level: Some(Severity::Warn) };
        let mut lines = tap.look(wanted).expect("room");
        let records = [(17, "of a"), (9, "not grave"), (13, "seen"), (0, "no level"), (21, "seen too")];
        tap.show(Signal::Logs, &request(&records), [("a", 1), ("", 0), ("b", 4)]);
        let first = next(&mut lines).await;
        assert_eq!(
            (&first["body"], &first["source"], &first["service"], &first["level"], &first["attributes"]["k"]),
            (&json!("seen"), &json!("b"), &json!("billing"), &json!("WARN"), &json!("v"))
        );
        assert_eq!(next(&mut lines).await["body"], "seen too");
    }

    #[tokio::test]
    async fn a_slow_looker_misses_lines_and_learns_how_many() {
        let tap = Tap::default();
        let mut lines = tap.look(Wanted::default()).expect("room");
        let many: Vec<(i32, &str)> = vec![(9, "x"); LINES_MAX + 17];
        tap.show(Signal::Logs, &request(&many), [("a", u64::MAX)]);
        assert_eq!(next(&mut lines).await, json!({ "dropped": 17 }));
        for _ in 0..LINES_MAX {
            assert_eq!(next(&mut lines).await["body"], "x");
        }
        tap.show(Signal::Logs, &request(&[(9, "again")]), [("a", 1)]);
        assert_eq!(next(&mut lines).await["body"], "again");
    }

    #[test]
    fn too_many_lookers_are_sent_away_and_gone_ones_make_room() {
        let tap = Tap::default();
        let mut looking: Vec<_> =
            (0..LOOKERS_MAX).map(|_| tap.look(Wanted::default()).expect("room")).collect();
        assert!(tap.look(Wanted::default()).is_none());
        looking.pop();
        assert!(tap.look(Wanted::default()).is_some());
        drop(looking);
        tap.show(Signal::Logs, &request(&[(9, "unseen")]), []);
        assert!(tap.is_idle());
    }
}
