//! OTLP export requests as bytes: the shape that the three signals share, and views of its leaves.
//!
//! Source: opentelemetry-proto v1. All three requests nest alike, with the same field numbers, so one
//! walk serves them all and only the leaf differs:
//!
//! ```text
//! Export{Trace,Logs,Metrics}ServiceRequest
//!   1: Resource{Spans,Logs,Metrics}      -> ResourceGroup
//!        1: Resource { 1: attributes }
//!        2: Scope{Spans,Logs,Metrics}    -> ScopeGroup
//!             1: InstrumentationScope { 1: name 2: version 3: attributes }
//!             2: Span | LogRecord | Metric   -> SpanView | LogRecordView | MetricView
//! ```
//!
//! Invariant: views borrow; nothing is allocated per record. A leaf that is malformed is an error of
//! that leaf alone; the ones beside it are still read.

pub mod exemplar;
pub mod gauges;
pub mod json;
pub mod logs;
pub mod metrics;
pub mod points;
pub mod redact;
pub mod rpc;
pub mod traces;
pub mod value;

pub use exemplar::ExemplarView;
pub use logs::LogRecordView;
pub use metrics::{DataPoints, MetricView};
pub use traces::{EventView, LinkView, SpanView};
pub use value::{AnyValue, KeyValue, attributes};

use crate::wire::{self, Fields, Repeated, WireError};

/// The records of one resource.
#[derive(Clone, Copy, Debug)]
pub struct ResourceGroup<'a> {
    /// Attributes of the resource, see [`attributes`].
    pub resource: Repeated<'a>,
    body: &'a [u8],
}

/// The records of one instrumentation scope.
#[derive(Clone, Copy, Debug)]
pub struct ScopeGroup<'a> {
    /// Name of the scope, empty when it has none.
    pub name: &'a str,
    /// Version of the scope, empty when it has none.
    pub version: &'a str,
    /// Attributes of the scope.
    pub attributes: Repeated<'a>,
    items: Repeated<'a>,
}

/// The resources of an export request of any signal.
///
/// # Errors
/// When the request itself is no protobuf message.
pub fn resources(
    request: &[u8],
) -> Result<impl Iterator<Item = Result<ResourceGroup<'_>, WireError>>, WireError> {
    wire::check(request)?;
    Ok(Repeated::new(request, 1).iter().map(ResourceGroup::parse))
}

impl<'a> ResourceGroup<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        wire::check(body)?;
        let resource = Repeated::new(body, 1).iter().last().unwrap_or_default();
        wire::check(resource)?;
        Ok(Self { resource: Repeated::new(resource, 1), body })
    }

    /// The scopes below this resource.
    pub fn scopes(&self) -> impl Iterator<Item = Result<ScopeGroup<'a>, WireError>> + use<'a> {
        Repeated::new(self.body, 2).iter().map(ScopeGroup::parse)
    }
}

impl<'a> ScopeGroup<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        wire::check(body)?;
        let scope = Repeated::new(body, 1).iter().last().unwrap_or_default();
        let attributes = Repeated::new(scope, 3);
        let mut group = Self { name: "", version: "", attributes, items: Repeated::new(body, 2) };
        for field in Fields::new(scope) {
            match field? {
                (1, value) => group.name = value::text(value.bytes()),
                (2, value) => group.version = value::text(value.bytes()),
                _ => {}
            }
        }
        Ok(group)
    }

    /// The leaves: spans, log records or metrics, still as bytes.
    pub fn items(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.items.iter()
    }
}

/// How many leaves a request holds, counted on the wire before anything is decoded: spans, log
/// records, or metrics. Malformed groups count nothing.
pub fn count_items(request: &[u8]) -> usize {
    Repeated::new(request, 1)
        .iter()
        .flat_map(|resource| Repeated::new(resource, 2).iter())
        .map(|scope| Repeated::new(scope, 2).iter().count())
        .sum()
}
