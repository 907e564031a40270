//! Journeys that are large or lead nowhere: one trace of very many spans, an id on very many traces, an id that
//! nothing carries.
//!
//! Invariant: the trace comes whole; the hub is cut, and the cut says so.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::{Clock, Signal, TimeRange, UnixNano};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use query::journey::{Limits, Request, find};
use query_api::Journey;
use storage::Store;

use super::{Case, RANGE, append};
use crate::heap::{self, Used};
use crate::request::Message;

/// Journeys of each sort.
const TIMES: usize = 20;
/// Children of a span of the large trace.
const FAN_OUT: usize = 10;
const TRACE: u128 = 0x1a56e;
const HUB: &str = "correlation_id=hub";

/// What is large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Spans of the large trace.
    pub(super) spans: usize,
    /// Traces of the hub.
    pub(super) traces: usize,
}

/// Adds a large trace and a hub, and seals them.
pub(super) async fn fill(
    store: &Arc<Store>,
    sizes: Sizes,
    records: usize,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let start = clock.now().minus(Duration::from_secs(600));
    let large = (0..sizes.spans).map(|number| large_span(number, start));
    let hub = (0..sizes.traces).map(|number| hub_span(number, start));
    let spans: Vec<Span> = large.chain(hub).collect();
    let messages: Vec<Message> = spans.chunks(records.max(1)).map(message).collect();
    append(store, &messages, clock).await?;
    store.seal().await.context("seal the large journeys")
}

/// Whether a store has the large trace.
pub(super) fn is_filled(store: &Store, clock: &dyn Clock) -> anyhow::Result<bool> {
    let id = format!("{TRACE:032x}");
    let request = Request { id: &id, range: TimeRange::last(RANGE, clock.now()), is_corrected: false };
    match find(&store.snapshot(), store.ids(), &request, &Limits { spans: 1, ..Limits::default() }) {
        Ok(_) => Ok(true),
        Err(query::journey::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error).context("look whether the large trace is there"),
    }
}

/// Looks for each of them.
pub(super) fn measure(store: &Store, sizes: Sizes, clock: &dyn Clock) -> anyhow::Result<Vec<Case>> {
    let limits = Limits { spans: Limits::default().spans.max(sizes.spans), ..Limits::default() };
    let preview = Limits { spans: 1_000, ..Limits::default() };
    let large = format!("{TRACE:032x}");
    let whole = |journey: Option<&Journey>| journey.is_some_and(|found| found.counts.spans == sizes.spans);
    let first = |journey: Option<&Journey>| journey.is_some_and(|found| found.counts.spans == 1_000);
    let cut = |journey: Option<&Journey>| {
        journey.is_some_and(|found| found.cuts.iter().any(|cut| cut.limit == "traces"))
    };
    Ok(vec![
        case("a large trace, its first 1,000 spans", store, &large, &preview, clock, &first)?,
        case("a large trace, whole", store, &large, &limits, clock, &whole)?,
        case("a hub", store, HUB, &limits, clock, &cut)?,
        case("an id that nothing carries", store, "order_id=none", &limits, clock, &|found| found.is_none())?,
    ])
}

/// Memory that finding the whole large trace takes.
pub(super) fn memory(store: &Store, sizes: Sizes, clock: &dyn Clock) -> anyhow::Result<Used> {
    let limits = Limits { spans: Limits::default().spans.max(sizes.spans), ..Limits::default() };
    let (id, snapshot) = (format!("{TRACE:032x}"), store.snapshot());
    let request = Request { id: &id, range: TimeRange::last(RANGE, clock.now()), is_corrected: false };
    let (found, used) = heap::used(|| find(&snapshot, store.ids(), &request, &limits));
    found.context("look for the large trace")?;
    Ok(used)
}

fn case(
    name: &'static str,
    store: &Store,
    id: &str,
    limits: &Limits,
    clock: &dyn Clock,
    is_right: &dyn Fn(Option<&Journey>) -> bool,
) -> anyhow::Result<Case> {
    let (mut durations, mut rows) = (Vec::new(), 0);
    for _ in 0..TIMES {
        let start = clock.monotonic();
        let request = Request { id, range: TimeRange::last(RANGE, clock.now()), is_corrected: false };
        let found = match find(&store.snapshot(), store.ids(), &request, limits) {
            Ok(journey) => Some(journey),
            Err(query::journey::Error::NotFound { .. }) => None,
            Err(error) => return Err(error).with_context(|| format!("look for {id}")),
        };
        durations.push(clock.monotonic().saturating_sub(start));
        ensure!(is_right(found.as_ref()), "{name}: {:?}", found.map(|found| (found.counts, found.cuts)));
        rows += found.map_or(0, |found| found.rows.len());
    }
    Ok(Case { name, latencies: durations.into(), rows })
}

fn large_span(number: usize, start: UnixNano) -> Span {
    let at = start.plus(number as i64 * 1_000);
    Span {
        trace_id: TRACE.to_be_bytes().to_vec(),
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        parent_span_id: match number {
            0 => Vec::new(),
            _ => ((number as u64 - 1) / FAN_OUT as u64 + 1).to_be_bytes().to_vec(),
        },
        name: format!("step {}", number % 50),
        start_time_unix_nano: at.0 as u64,
        end_time_unix_nano: at.0 as u64 + 1_000_000,
        attributes: attributes(number),
        ..Span::default()
    }
}

fn hub_span(number: usize, start: UnixNano) -> Span {
    let at = start.plus(number as i64 * 1_000_000);
    let mut attributes = attributes(number);
    attributes.push(attribute("correlation_id", "hub"));
    Span {
        trace_id: (TRACE + 1 + number as u128).to_be_bytes().to_vec(),
        span_id: (number as u64 + 1).to_be_bytes().to_vec(),
        name: "poll".to_owned(),
        start_time_unix_nano: at.0 as u64,
        end_time_unix_nano: at.0 as u64 + 1_000_000,
        attributes,
        ..Span::default()
    }
}

fn attributes(number: usize) -> Vec<KeyValue> {
    vec![
        attribute("http.request.method", "GET"),
        attribute("http.route", "/items/{sku}"),
        attribute("url.path", &format!("/items/{number}")),
        attribute("http.response.status_code", "200"),
        attribute("server.address", "stock.shop.internal"),
        attribute("thread.name", &format!("worker-{}", number % 16)),
    ]
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn message(spans: &[Span]) -> Message {
    let resource = Resource { attributes: vec![attribute("service.name", "stock")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
    let protobuf = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
    Message { signal: Signal::Traces, records: spans.len(), protobuf }
}
