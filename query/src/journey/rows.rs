//! The timeline's rows, in drawing order.
//!
//! ```text
//! depth 0   queue wait          messages that a trace consumed, and pauses before its try, stand above its heading
//! depth 0   ▾ trace
//! depth 1     span
//! depth 2       event, log record, queue wait, span …    by time within their parent
//! depth 1     missing span
//! depth 0   log record without a trace, or inferred row below no span, by time between the traces
//! ```
//!
//! Invariants: each span, log record and exemplar is one row; every child stands below its parent, one
//! deeper; the drawing walks a stack of its own, so that a long chain of spans is only long.

use std::collections::{BTreeMap, HashMap};
use std::mem::take;

use model::{Severity, SpanId, TraceId, UnixNano};
use query_api::journey::{METRIC_NAME, METRIC_SERIES, METRIC_UNIT, METRIC_VALUE};
use query_api::text::Texts;
use query_api::{
    Attributes, Certainty, Evidence, EvidenceKind, JourneyRow, JourneyTrace, RowKind, RowMark, SpanLink, Text,
};

use super::evidence::{self, Witness};
use super::exemplars::ExemplarRecord;
use super::forest::{Forest, Node};
use super::infer;
use super::layout::{Items, What};
use super::marks;
use super::messages::{Messages, Wait};
use super::outcome::{is_error_log, stem};
use super::records::{EventRecord, LogRecord, SpanRecord};
use super::retries::Retry;
use super::shares::Shares;
use super::traces::Traces;

/// What the rows are made of.
pub(crate) struct Material<'a> {
    pub(crate) spans: Vec<SpanRecord>,
    pub(crate) logs: Vec<LogRecord>,
    pub(crate) exemplars: Vec<ExemplarRecord>,
    pub(crate) forest: &'a Forest,
    pub(crate) messages: &'a Messages,
    pub(crate) retries: &'a [Retry],
    pub(crate) traces: &'a Traces,
    /// The headings, in the order of `traces`.
    pub(crate) headings: &'a [JourneyTrace],
    pub(crate) shares: &'a Shares,
    pub(crate) witness: Witness<'a>,
    /// Evidence from links, by span.
    pub(crate) links: HashMap<usize, Vec<Evidence>>,
    /// By wait.
    pub(crate) wait_facts: Vec<WaitFacts>,
    /// By retry.
    pub(crate) pause_facts: Vec<PauseFacts>,
    /// Services whose times were corrected.
    pub(crate) corrected: &'a BTreeMap<String, i64>,
    pub(crate) events_max: usize,
}

/// What is said of a wait; collected before the spans' texts move into their rows.
pub(crate) struct WaitFacts {
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) attributes: Attributes,
}

impl WaitFacts {
    pub(crate) fn new(wait: &Wait, spans: &[SpanRecord]) -> Self {
        let mut attributes = Attributes::new();
        let mut set = |key: &str, value: &str| {
            if !value.is_empty() {
                attributes.insert(key, value);
            }
        };
        set("producer.service", &spans[wait.producer].service);
        set("messaging.consumer.group.name", &wait.group);
        if let Some(consumer) = wait.consumer.map(|at| &spans[at]) {
            set("consumer.service", &consumer.service);
            set("consumer.trace_id", &consumer.trace_id.to_string());
            set("consumer.span_id", &consumer.span_id.to_string());
        }
        Self { evidence: evidence::of_wait(wait, spans), attributes }
    }
}

/// What is said of the pause before a try.
pub(crate) struct PauseFacts {
    service: Text,
    /// What is tried, without the number of the attempt.
    name: Text,
    text: Text,
    start: UnixNano,
    duration_nano: i64,
}

impl PauseFacts {
    pub(crate) fn new(retry: &Retry, spans: &[SpanRecord]) -> Self {
        let (failed, again) = (&spans[retry.failed], &spans[retry.again]);
        let name = Text::from(stem(&failed.name));
        let text = match failed.name == again.name {
            true => format!("{name} failed and was tried again").into(),
            false => format!("{} failed, {} follows", failed.name, again.name).into(),
        };
        let duration_nano = retry.back_off_nano(spans);
        Self { service: again.service.clone(), name, text, start: failed.end(), duration_nano }
    }
}

/// The rows, and where spans and log records stand among them.
pub(crate) struct Drawing {
    pub(crate) rows: Vec<JourneyRow>,
    pub(crate) row_of_span: Vec<usize>,
    pub(crate) row_of_log: Vec<usize>,
    pub(crate) row_of_wait: Vec<usize>,
    pub(crate) row_of_retry: Vec<usize>,
    /// Events beyond the limit.
    pub(crate) events_left_out: usize,
}

/// Draws the timeline.
pub(crate) fn draw(material: Material<'_>) -> Drawing {
    let (items, events_left_out) = Items::new(&material);
    let drawing = Drawing {
        rows: Vec::with_capacity(items.sorted.len() + material.headings.len()),
        row_of_span: vec![usize::MAX; material.spans.len()],
        row_of_log: vec![usize::MAX; material.logs.len()],
        row_of_wait: vec![usize::MAX; material.messages.waits.len()],
        row_of_retry: vec![usize::MAX; material.retries.len()],
        events_left_out,
    };
    let mut is_retry = vec![false; material.spans.len()];
    material.retries.iter().for_each(|retry| is_retry[retry.again] = true);
    let mut painter = Painter { material, drawing, is_retry, texts: Texts::default() };
    painter.paint(&items);
    painter.drawing
}

struct Painter<'a> {
    material: Material<'a>,
    drawing: Drawing,
    /// By span: whether it follows a try that failed.
    is_retry: Vec<bool>,
    texts: Texts,
}

impl Painter<'_> {
    fn paint(&mut self, items: &Items) {
        let mut beside = items.beside.iter().copied().peekable();
        for trace in self.material.traces.drawing_order() {
            let start = self.material.traces.all[trace].start;
            while let Some(log) = beside.next_if(|log| self.material.logs[*log as usize].time <= start) {
                self.log(log, 0);
            }
            for wait in &items.above[trace] {
                self.wait(*wait, 0);
            }
            for retry in &items.pauses_above[trace] {
                self.pause(*retry, 0);
            }
            let id = self.material.traces.all[trace].id;
            if infer::is_made(id) {
                self.tree(items, trace, 0);
            } else {
                self.heading(trace);
                self.tree(items, trace, 1);
            }
        }
        beside.for_each(|log| self.log(log, 0));
    }

    /// Everything below the heading of a trace, from a depth on.
    fn tree(&mut self, items: &Items, trace: usize, top: usize) {
        let mut stack = vec![items.below(trace)];
        while let Some(range) = stack.last_mut() {
            let Some(at) = range.next() else {
                stack.pop();
                continue;
            };
            let depth = u16::try_from(stack.len() - 1 + top).unwrap_or(u16::MAX);
            match items.sorted[at].what {
                What::Event { span, number } => self.event(span, number, depth),
                What::Log(log) => self.log(log, depth),
                What::Exemplar(exemplar) => self.exemplar(exemplar, depth),
                What::Wait { wait, .. } | What::Open { wait } => self.wait(wait, depth),
                What::BackOff { retry, .. } => self.pause(retry, depth),
                What::Node(node) => {
                    self.node(node, depth);
                    stack.push(items.below(items.traces + node as usize));
                }
            }
        }
    }

    fn heading(&mut self, trace: usize) {
        let heading = &self.material.headings[trace];
        self.drawing.rows.push(JourneyRow {
            trace_id: Some(heading.trace_id),
            service: heading.service.as_str().into(),
            name: heading.name.as_str().into(),
            duration_nano: heading.duration_nano,
            is_error: heading.is_failed,
            evidence: heading.evidence.clone(),
            more_evidence: heading.more_evidence.clone(),
            ..blank(RowKind::Trace, 0, heading.start_time)
        });
    }

    fn node(&mut self, node: Node, depth: u16) {
        let at = node as usize;
        let spans = self.material.spans.len();
        let row = match self.material.spans.get(at) {
            Some(span) if span.is_inferred() => self.inferred(at, depth),
            Some(_) => self.span(at, depth),
            None => self.missing(at - spans, depth),
        };
        self.drawing.rows.push(row);
    }

    fn span(&mut self, at: usize, depth: u16) -> JourneyRow {
        self.drawing.row_of_span[at] = self.drawing.rows.len();
        let batch = self.material.messages.taken_count(at);
        let taken = self.material.messages.taken_by(at).map(|wait| (wait, batch));
        let linked = self.material.links.remove(&at).unwrap_or_default();
        let evidence = self.material.witness.of_span(&self.material.spans[at], taken, &linked);
        let (evidence, more_evidence) = surest(evidence);
        let mut marks = marks::of_span(&self.material.spans[at]);
        marks.extend((batch > 1).then_some(RowMark::Batch));
        marks.extend(self.is_retry[at].then_some(RowMark::Retry));
        marks.extend(self.corrected(&self.material.spans[at].service));
        let span = &mut self.material.spans[at];
        JourneyRow {
            trace_id: Some(span.trace_id),
            span_id: Some(span.span_id),
            parent_span_id: span.parent_span_id,
            service: take(&mut span.service),
            name: take(&mut span.name),
            label: take(&mut span.kind),
            duration_nano: span.duration_nano,
            is_error: span.is_error,
            critical_nano: self.material.shares.spans[at],
            marks,
            message: take(&mut span.status_message),
            evidence,
            more_evidence,
            batch: (batch > 1).then_some(batch),
            links: take(&mut span.links).into_iter().map(link).collect(),
            attributes: take(&mut span.attributes),
            resource: take(&mut span.resource),
            ..blank(RowKind::Span, depth, span.start)
        }
    }

    /// A row that follows from log records.
    fn inferred(&mut self, at: usize, depth: u16) -> JourneyRow {
        self.drawing.row_of_span[at] = self.drawing.rows.len();
        let parent =
            self.material.forest.parent[at].and_then(|parent| self.material.spans.get(parent as usize));
        let parent_span_id = parent.filter(|parent| !parent.is_inferred()).map(|parent| parent.span_id);
        let span = &mut self.material.spans[at];
        let ids = span.ids.join(" ");
        JourneyRow {
            trace_id: Some(span.trace_id).filter(|trace| !infer::is_made(*trace)),
            parent_span_id,
            service: take(&mut span.service),
            name: take(&mut span.name),
            label: take(&mut span.kind),
            duration_nano: span.duration_nano,
            critical_nano: self.material.shares.spans[at],
            evidence: Evidence::new(
                EvidenceKind::SharedId,
                Certainty::Inferred,
                format!("inferred from its start and finish in the log: {ids}"),
            ),
            attributes: take(&mut span.attributes),
            resource: take(&mut span.resource),
            ..blank(RowKind::Inferred, depth, span.start)
        }
    }

    fn corrected(&self, service: &str) -> Option<RowMark> {
        self.material.corrected.contains_key(service).then_some(RowMark::ClockCorrected)
    }

    fn missing(&self, at: usize, depth: u16) -> JourneyRow {
        let missing = &self.material.forest.missing[at];
        let trace = self.material.traces.position(missing.trace_id);
        // The topmost of a trace without a root stands where the root would, or below it.
        let is_rootless = trace.is_some_and(|at| !self.material.traces.all[at].has_true_root);
        JourneyRow {
            trace_id: Some(missing.trace_id),
            span_id: Some(missing.span_id),
            service: missing.service.as_str().into(),
            name: if is_rootless { "root not received" } else { "span not received" }.into(),
            duration_nano: missing.end.since(missing.start),
            evidence: in_trace(Certainty::Certain, format!("named as parent: {}", missing.span_id)),
            ..blank(RowKind::Missing, depth, missing.start)
        }
    }

    fn log(&mut self, at: u32, depth: u16) {
        let at = at as usize;
        self.drawing.row_of_log[at] = self.drawing.rows.len();
        let log = &mut self.material.logs[at];
        let (evidence, more_evidence) = surest(self.material.witness.of_log(log));
        let mut marks = marks::of_log(log);
        let mut row = log_row(log, depth, &mut self.texts);
        marks.extend(self.corrected(&row.service));
        row.marks = marks;
        row.evidence = evidence;
        row.more_evidence = more_evidence;
        self.drawing.rows.push(row);
    }

    fn event(&mut self, span: u32, number: u32, depth: u16) {
        let span_row = self.drawing.row_of_span[span as usize];
        let service = self.drawing.rows[span_row].service.clone();
        let span = &mut self.material.spans[span as usize];
        let (trace_id, span_id) = (span.trace_id, span.span_id);
        let why = self.texts.share("event of the span");
        let row = event_row(&mut span.events[number as usize], (trace_id, span_id), why, depth);
        self.drawing.rows.push(JourneyRow { service, ..row });
    }

    fn exemplar(&mut self, at: u32, depth: u16) {
        let exemplar = &mut self.material.exemplars[at as usize];
        let named = if exemplar.span_id.is_some() { "span" } else { "trace" };
        let why = format!("exemplar of {} names this {named}", exemplar.metric);
        let name = exemplar.text();
        let mut attributes = take(&mut exemplar.attributes);
        let own = [
            (METRIC_NAME, &mut exemplar.metric),
            (METRIC_SERIES, &mut exemplar.series),
            (METRIC_UNIT, &mut exemplar.unit),
            (METRIC_VALUE, &mut exemplar.value),
        ];
        attributes.extend(own.map(|(key, value)| (key, take(value))));
        self.drawing.rows.push(JourneyRow {
            trace_id: Some(exemplar.trace_id),
            span_id: exemplar.span_id,
            service: take(&mut exemplar.service).into(),
            name: name.into(),
            label: self.texts.share("exemplar"),
            evidence: in_trace(Certainty::Certain, why),
            attributes,
            ..blank(RowKind::Exemplar, depth, exemplar.time)
        });
    }

    fn pause(&mut self, number: u32, depth: u16) {
        self.drawing.row_of_retry[number as usize] = self.drawing.rows.len();
        let again = &self.material.spans[self.material.retries[number as usize].again];
        let facts = &mut self.material.pause_facts[number as usize];
        self.drawing.rows.push(JourneyRow {
            trace_id: Some(again.trace_id),
            span_id: Some(again.span_id),
            service: take(&mut facts.service),
            name: take(&mut facts.name),
            label: self.texts.share("back-off"),
            duration_nano: facts.duration_nano,
            critical_nano: self.material.shares.retries[number as usize],
            evidence: in_trace(Certainty::Inferred, take(&mut facts.text)),
            ..blank(RowKind::BackOff, depth, facts.start)
        });
    }

    fn wait(&mut self, number: u32, depth: u16) {
        self.drawing.row_of_wait[number as usize] = self.drawing.rows.len();
        let material = &self.material;
        let wait = &material.messages.waits[number as usize];
        let facts = &material.wait_facts[number as usize];
        let (evidence, more_evidence) = surest(facts.evidence.clone());
        let producer = &material.spans[wait.producer];
        self.drawing.rows.push(JourneyRow {
            trace_id: Some(producer.trace_id),
            span_id: Some(producer.span_id),
            service: wait.destination.as_str().into(),
            name: wait.name.as_str().into(),
            label: self.texts.share("wait"),
            duration_nano: wait.duration_nano,
            is_open: wait.consumer.is_none(),
            critical_nano: material.shares.waits[number as usize],
            evidence,
            more_evidence,
            attributes: facts.attributes.clone(),
            ..blank(RowKind::QueueWait, depth, wait.start)
        });
    }
}

/// The first piece of evidence, and the others.
pub(crate) fn surest(evidence: Vec<Evidence>) -> (Evidence, Vec<Evidence>) {
    let mut all = evidence.into_iter();
    let first = all.next().unwrap_or_else(|| in_trace(Certainty::Certain, "same trace"));
    (first, all.collect())
}

fn in_trace(certainty: Certainty, text: impl Into<Text>) -> Evidence {
    Evidence::new(EvidenceKind::SameTrace, certainty, text)
}

fn link((trace_id, span_id): (TraceId, SpanId)) -> SpanLink {
    SpanLink { trace_id, span_id }
}

fn blank(kind: RowKind, depth: u16, start_time: UnixNano) -> JourneyRow {
    JourneyRow {
        kind,
        depth,
        trace_id: None,
        span_id: None,
        parent_span_id: None,
        service: Text::default(),
        name: Text::default(),
        label: Text::default(),
        start_time,
        duration_nano: 0,
        is_error: false,
        is_open: false,
        critical_nano: 0,
        marks: Vec::new(),
        message: Text::default(),
        evidence: in_trace(Certainty::Certain, Text::default()),
        more_evidence: Vec::new(),
        batch: None,
        links: Vec::new(),
        attributes: Attributes::new(),
        resource: Attributes::new(),
    }
}

fn log_row(log: &mut LogRecord, depth: u16, texts: &mut Texts) -> JourneyRow {
    let severity = Severity::from_number(log.severity_number);
    let mut attributes = take(&mut log.attributes);
    let event_name = take(&mut log.event_name);
    let name = match (log.body.is_empty(), event_name.is_empty()) {
        (true, _) => event_name,
        (false, true) => take(&mut log.body),
        (false, false) => {
            if !attributes.contains_key("event.name") {
                attributes.insert("event.name", event_name);
            }
            take(&mut log.body)
        }
    };
    JourneyRow {
        trace_id: log.trace_id,
        span_id: log.span_id,
        service: take(&mut log.service),
        name,
        label: match severity {
            Some(severity) => texts.share(severity.name()),
            None => take(&mut log.severity_text),
        },
        is_error: is_error_log(log),
        attributes,
        resource: take(&mut log.resource),
        ..blank(RowKind::Log, depth, log.time)
    }
}

fn event_row(event: &mut EventRecord, (trace, span): (TraceId, SpanId), why: Text, depth: u16) -> JourneyRow {
    let attributes = take(&mut event.attributes);
    JourneyRow {
        trace_id: Some(trace),
        span_id: Some(span),
        name: take(&mut event.name),
        message: attributes.get("exception.message").cloned().unwrap_or_default(),
        evidence: in_trace(Certainty::Certain, why),
        attributes,
        ..blank(RowKind::Event, depth, event.time)
    }
}
