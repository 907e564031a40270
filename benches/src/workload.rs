//! A seeded microservice shop: traces over forty services and their log records; [`Shape`] says how many.
//!
//! ```text
//! order ─► one or more traces ─► spans ──► buffer of the span's service ──► Message when it is full
//!                                └► logs ─► the same for log records
//! ```
//!
//! As in real life a request carries the records of one service, so that a trace is spread over many requests.
//! Services, users and orders are drawn with skew: few have much.
//!
//! Owns: which records there are. Does not own: what one looks like on the wire (`records`).
//!
//! Invariant: equal arguments give equal bytes; lots never share an id.

mod records;

use std::collections::VecDeque;
use std::time::Duration;

use model::{Signal, UnixNano};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::request::Message;
use records::{SpanShape, TraceShape};

/// Services in the shop.
pub const SERVICES: usize = 40;
/// From the start of one trace to the start of the next.
const TRACE_INTERVAL: Duration = Duration::from_millis(2);
/// Orders that a further trace can belong to.
const RECENT_ORDERS: usize = 256;
/// Share of traces that begin an order; each has about three traces then.
const NEW_ORDER_SHARE: f64 = 0.35;
/// Traces of one order, well below what a journey follows (`max_fanout`).
const ORDER_TRACES_MAX: usize = 20;
/// Traces of each order of [`Shape::Orders`].
const ORDER_TRACES: usize = 4;
/// Spans of each of them.
const ORDER_TRACE_SPANS: usize = 15;
/// Orders of which the next trace of [`Shape::Orders`] may be.
const ORDERS_OPEN: usize = 4_096;

/// Which records there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Traces of about ten spans, a log record for each; few orders have most of the traces.
    Traces,
    /// Orders of 60 spans and 150 log records in four traces, which begin within about half a minute.
    Orders,
}

/// Where a workload begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// Seed of everything.
    pub seed: u64,
    /// Part of every id, so that two lots in one store have none in common.
    pub lot: u32,
    /// Start of the first trace.
    pub time: UnixNano,
    /// Records of a message.
    pub records: usize,
    /// What is made.
    pub signals: Vec<Signal>,
    /// How many of each belong together.
    pub shape: Shape,
}

/// What belongs to one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its order id.
    pub id: String,
    /// Its correlation id.
    pub correlation_id: String,
    /// Its traces.
    pub traces: usize,
    /// Its spans.
    pub spans: usize,
    /// Its log records.
    pub logs: usize,
}

/// Makes messages one after another.
#[derive(Debug)]
pub struct Workload {
    start: Start,
    rng: StdRng,
    time: UnixNano,
    orders: Vec<Order>,
    /// Orders of [`Shape::Orders`] that lack traces, by their place.
    open: Vec<usize>,
    offsets: i64,
    spans: Vec<Vec<Span>>,
    logs: Vec<Vec<LogRecord>>,
    ready: VecDeque<Message>,
}

impl Workload {
    /// A shop before its first purchase.
    pub fn new(start: Start) -> Self {
        Self {
            rng: StdRng::seed_from_u64(start.seed ^ u64::from(start.lot).rotate_left(32)),
            time: start.time,
            orders: Vec::new(),
            open: Vec::new(),
            offsets: i64::from(start.lot) << 40,
            spans: vec![Vec::new(); SERVICES],
            logs: vec![Vec::new(); SERVICES],
            ready: VecDeque::new(),
            start,
        }
    }

    /// The next message that is full.
    pub fn next_message(&mut self) -> Message {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return message;
            }
            self.trace(true);
        }
    }

    /// At least `spans` spans and their log records as messages, all orders, and the time after the last trace.
    pub fn complete(mut self, spans: usize) -> (Vec<Message>, Vec<Order>, UnixNano) {
        let mut made = 0;
        while made < spans || !self.open.is_empty() {
            let begun = self.orders.len() * ORDER_TRACES * ORDER_TRACE_SPANS;
            made += self.trace(begun < spans);
        }
        for service in 0..SERVICES {
            self.flush(service);
        }
        (self.ready.into(), self.orders, self.time)
    }

    /// Adds one trace, of an order that was begun unless one more `may_begin`; returns the number of its spans.
    fn trace(&mut self, may_begin: bool) -> usize {
        let at = match self.start.shape {
            Shape::Traces => self.order(),
            Shape::Orders => self.open_order(may_begin),
        };
        let (spans, logs) = match self.start.shape {
            Shape::Traces => (self.rng.random_range(8..=12), [1, 1]),
            // 38 and 37 log records in turn.
            Shape::Orders if self.orders[at].traces.is_multiple_of(2) => (ORDER_TRACE_SPANS, [3, 2]),
            Shape::Orders => (ORDER_TRACE_SPANS, [2, 3]),
        };
        let shape = TraceShape::draw(&mut self.rng, self.time, spans);
        self.time = self.time.plus(TRACE_INTERVAL.as_nanos() as i64);
        let order = &mut self.orders[at];
        order.traces += 1;
        order.spans += spans;
        let order = order.clone();
        for (number, span) in shape.spans.iter().enumerate() {
            self.orders[at].logs += logs[number % 2];
            self.record(&order, &shape, span, logs[number % 2]);
        }
        spans
    }

    /// The order that the next trace belongs to: a new one, or a recent one, rather a younger one.
    fn order(&mut self) -> usize {
        let recent = self.orders.len().min(RECENT_ORDERS);
        if recent > 0 && !self.rng.random_bool(NEW_ORDER_SHARE) {
            let at = self.orders.len() - 1 - skewed(&mut self.rng, recent, 2.0);
            if self.orders[at].traces < ORDER_TRACES_MAX {
                return at;
            }
        }
        self.begin()
    }

    /// One of the orders that lack traces.
    fn open_order(&mut self, may_begin: bool) -> usize {
        if may_begin && self.open.len() < ORDERS_OPEN {
            let at = self.begin();
            self.open.push(at);
        }
        let which = self.rng.random_range(0..self.open.len());
        let at = self.open[which];
        if self.orders[at].traces + 1 == ORDER_TRACES {
            self.open.swap_remove(which);
        }
        at
    }

    fn begin(&mut self) -> usize {
        let (lot, number) = (self.start.lot, self.orders.len());
        self.orders.push(Order {
            id: format!("ORD-{lot}{number:08}"),
            correlation_id: records::uuid(&mut self.rng),
            traces: 0,
            spans: 0,
            logs: 0,
        });
        number
    }

    fn record(&mut self, order: &Order, trace: &TraceShape, span: &SpanShape, logs: usize) {
        self.offsets += 1;
        let made = records::span(&mut self.rng, order, trace, span, self.offsets);
        if self.start.signals.contains(&Signal::Traces) {
            self.spans[span.service].push(made);
        }
        if self.start.signals.contains(&Signal::Logs) {
            for _ in 0..logs {
                let log = records::log(&mut self.rng, order, trace, span);
                self.logs[span.service].push(log);
            }
        }
        let records = self.start.records;
        if self.spans[span.service].len() >= records || self.logs[span.service].len() >= records {
            self.flush(span.service);
        }
    }

    fn flush(&mut self, service: usize) {
        let spans = std::mem::take(&mut self.spans[service]);
        if !spans.is_empty() {
            self.ready.push_back(records::traces_message(service, spans));
        }
        let logs = std::mem::take(&mut self.logs[service]);
        if !logs.is_empty() {
            self.ready.push_back(records::logs_message(service, logs));
        }
    }
}

/// A number below `count`; the larger `power`, the more often a small one.
fn skewed(rng: &mut StdRng, count: usize, power: f64) -> usize {
    let share: f64 = rng.random();
    ((share.powf(power) * count as f64) as usize).min(count - 1)
}

#[cfg(test)]
mod tests;
