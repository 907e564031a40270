//! From what a closure found to a [`Journey`]: one pass each for parents, messages, traces, outcome,
//! time and rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::{IdRules, IdTerm, TimeRange, TraceId, UnixNano};
use query_api::{
    Cut, Evidence, Journey, JourneyCounts, JourneyFailure, JourneyStatus, JourneyTrace, QueryStats, Text,
};

use super::Limits;
use super::closure::{Closure, How};
use super::evidence::{self, Witness};
use super::exemplars::ExemplarRecord;
use super::forest::Forest;
use super::messages::{self, Messages};
use super::outcome::{self, Culprit, Failure};
use super::records::{LogRecord, SpanRecord};
use super::retries::Retry;
use super::rows::{self, Drawing, Material, PauseFacts, WaitFacts};
use super::shares::Shares;
use super::traces::{Trace, Traces};
use super::{changes, clocks, infer, retries, shares};

/// What was asked.
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) range: TimeRange,
    /// The time up to which a message without a consumer has waited.
    pub(crate) until: UnixNano,
    /// Whether times are corrected for clocks that disagree.
    pub(crate) is_corrected: bool,
}

/// Puts the journey together.
pub(crate) fn assemble(
    closure: Closure,
    exemplars: Vec<ExemplarRecord>,
    question: Question,
    rules: &IdRules,
    limits: &Limits,
) -> Journey {
    let Closure { matched, followed, traces: reached, mut spans, mut logs, mut cuts, is_complete, .. } =
        closure;
    clamp_times(&mut spans, &mut logs);
    let mut joining = followed.clone();
    joining.extend(matched.iter().map(ToString::to_string));
    let inferences = infer::find(&spans, &logs, &joining, &limits.inference);
    cuts.extend(inferences.cut());
    inferences.plant(&mut spans, &mut logs);

    let web = Web::new(spans, logs, question.is_corrected, is_complete.then_some(question.until));
    let axis = web.axis();
    let shares = shares::divide(&web.spans, &web.forest, &web.messages, &web.retries, &web.traces, axis);
    let failure = outcome::failure(&web.spans, &web.logs, &web.forest, &web.messages);
    let mut witness = Witness::new(rules, &matched, &followed);
    let headings = web.headings(&mut witness, &reached);
    let exemplars = shown_exemplars(exemplars, &web.traces, limits, &mut cuts);
    let services = web.services();
    let mut journey = Journey {
        id: question.id,
        matched,
        range: question.range,
        start_time: axis.from,
        duration_nano: axis.nanos(),
        status: status(failure.as_ref(), &web.messages),
        progress: None,
        failure: None,
        counts: web.counts(services.len()),
        services,
        traces: headings.iter().filter(|trace| !infer::is_made(trace.trace_id)).cloned().collect(),
        ids: ids(&web.spans, &web.logs, limits, &mut cuts),
        rows: Vec::new(),
        time_spent: shares.time_spent(),
        critical_path: Vec::new(),
        marks: changes::of_versions(&web.spans, &web.logs),
        clock_skew_nano: web.clock_skew_nano,
        clock_offsets: web.corrected.clone(),
        cuts,
        stats: QueryStats::default(),
    };
    let drawing = web.draw(witness, exemplars, &headings, &shares, limits);
    journey.cuts.extend(events_cut(&drawing, limits));
    journey.failure = failure.map(|failure| shown(failure, &drawing));
    journey.critical_path = shares.path(&drawing);
    journey.rows = drawing.rows;
    journey.progress = Some(journey.progress_at(question.until));
    journey
}

/// All records that belong, and how they hang together.
struct Web {
    spans: Vec<SpanRecord>,
    logs: Vec<LogRecord>,
    forest: Forest,
    messages: Messages,
    retries: Vec<Retry>,
    traces: Traces,
    /// As far apart as clocks must be at least, before any was corrected.
    clock_skew_nano: i64,
    /// What was added to the times of services.
    corrected: BTreeMap<String, i64>,
}

impl Web {
    /// Finds parents, messages and retries; a message without a consumer has waited until `open_until`.
    fn new(
        mut spans: Vec<SpanRecord>,
        mut logs: Vec<LogRecord>,
        is_corrected: bool,
        open_until: Option<UnixNano>,
    ) -> Self {
        let mut forest = Forest::new(&spans, &logs);
        let mut messages = messages::find(&spans, open_until);
        let clock_skew_nano = clock_skew(&spans, &forest, &messages);
        let mut corrected = BTreeMap::new();
        if is_corrected && clock_skew_nano > 0 {
            corrected = clocks::offsets(&spans, &forest, &messages);
            clocks::correct(&mut spans, &mut logs, &corrected);
            forest = Forest::new(&spans, &logs);
            messages = messages::find(&spans, open_until);
        }
        let retries = retries::find(&spans, &forest, &messages);
        let mut traces = Traces::new(&spans, &logs);
        traces.nest(&spans, &forest, &messages);
        Self { spans, logs, forest, messages, retries, traces, clock_skew_nano, corrected }
    }

    /// From the start of the earliest row to the end of the latest. A log record that names a span which is
    /// here does not stretch the axis: it was written while the span was open, and a time outside is that of
    /// a coarse clock, as in access logs with whole seconds.
    fn axis(&self) -> TimeRange {
        let mut axis = TimeRange { from: UnixNano::MAX, to: UnixNano::MIN };
        let mut cover = |from: UnixNano, to: UnixNano| {
            axis.from = axis.from.min(from);
            axis.to = axis.to.max(to);
        };
        for span in &self.spans {
            cover(span.start, span.end());
            span.events.iter().for_each(|event| cover(event.time, event.time));
        }
        let placed = |log: &&LogRecord| {
            let node = log.trace_id.zip(log.span_id).and_then(|(trace, span)| self.forest.node(trace, span));
            node.is_some_and(|node| (node as usize) < self.spans.len())
        };
        self.logs.iter().filter(|log| !placed(log)).for_each(|log| cover(log.time, log.time));
        let waits = self.messages.waits.iter();
        waits.for_each(|wait| cover(wait.start, wait.start.plus(wait.duration_nano)));
        axis
    }

    /// Services by the time they were first reached.
    fn services(&self) -> Vec<String> {
        let mut first: HashMap<&str, UnixNano> = HashMap::new();
        let spans = self.spans.iter().map(|span| (span.service.as_str(), span.start));
        let logs = self.logs.iter().map(|log| (log.service.as_str(), log.time));
        for (service, time) in spans.chain(logs).filter(|(service, _)| !service.is_empty()) {
            let first = first.entry(service).or_insert(time);
            *first = time.min(*first);
        }
        let mut services: Vec<(UnixNano, &str)> =
            first.into_iter().map(|(service, time)| (time, service)).collect();
        services.sort_unstable();
        services.into_iter().map(|(_, service)| service.to_owned()).collect()
    }

    fn counts(&self, services: usize) -> JourneyCounts {
        JourneyCounts {
            traces: self.traces.all.iter().filter(|trace| !infer::is_made(trace.id)).count(),
            spans: self.spans.iter().filter(|span| !span.is_inferred()).count(),
            logs: self.logs.len(),
            messages: self.messages.count,
            services,
            errors: self.spans.iter().filter(|span| span.is_error).count(),
        }
    }

    /// The headings of the traces, in their order.
    fn headings(&self, witness: &mut Witness<'_>, reached: &HashMap<TraceId, How>) -> Vec<JourneyTrace> {
        let records = (self.spans.as_slice(), self.logs.as_slice());
        let waits = &self.messages.waits;
        let evidence = evidence::of_traces(witness, reached, records, &self.traces, &self.forest, waits);
        let heading = |(trace, evidence): (&Trace, Vec<Evidence>)| {
            let root = trace.root.map(|at| &self.spans[at]);
            let log = trace.first_log.map(|at| &self.logs[at]);
            let service = root.map(|span| &span.service).or(log.map(|log| &log.service));
            let (evidence, more_evidence) = rows::surest(evidence);
            JourneyTrace {
                trace_id: trace.id,
                evidence,
                more_evidence,
                name: root.map_or_else(|| "no span received".to_owned(), |span| span.name.to_string()),
                service: service.map(ToString::to_string).unwrap_or_default(),
                start_time: trace.start,
                duration_nano: trace.end.since(trace.start),
                spans: trace.spans,
                is_failed: trace.is_failed,
            }
        };
        self.traces.all.iter().zip(evidence).map(heading).collect()
    }

    /// The timeline. Takes the records, whose texts become those of the rows.
    fn draw(
        self,
        witness: Witness<'_>,
        exemplars: Vec<ExemplarRecord>,
        headings: &[JourneyTrace],
        shares: &Shares,
        limits: &Limits,
    ) -> Drawing {
        let Self { spans, logs, forest, messages, retries, traces, corrected, .. } = self;
        rows::draw(Material {
            wait_facts: messages.waits.iter().map(|wait| WaitFacts::new(wait, &spans)).collect(),
            pause_facts: retries.iter().map(|retry| PauseFacts::new(retry, &spans)).collect(),
            links: evidence::of_links(&spans, &forest, &messages),
            spans,
            logs,
            exemplars,
            forest: &forest,
            messages: &messages,
            retries: &retries,
            traces: &traces,
            headings,
            shares,
            corrected: &corrected,
            witness,
            events_max: limits.events,
        })
    }
}

/// Times before 1970 and ends beyond 2262 cannot be told apart from nonsense; bounding them keeps every
/// difference of two times within 64 bits.
fn clamp_times(spans: &mut [SpanRecord], logs: &mut [LogRecord]) {
    let bounded = |time: UnixNano| UnixNano(time.0.max(0));
    for span in spans {
        span.start = bounded(span.start);
        span.duration_nano = span.end().since(span.start);
        span.events.iter_mut().for_each(|event| event.time = bounded(event.time));
    }
    logs.iter_mut().for_each(|log| log.time = bounded(log.time));
}

fn status(failure: Option<&Failure>, messages: &Messages) -> JourneyStatus {
    if failure.is_some() {
        JourneyStatus::Failed
    } else if messages.waits.iter().any(|wait| wait.consumer.is_none()) {
        JourneyStatus::Waiting
    } else {
        JourneyStatus::Ok
    }
}

fn shown(failure: Failure, drawing: &Drawing) -> JourneyFailure {
    let row = match failure.at {
        Culprit::Span(at) => drawing.row_of_span[at],
        Culprit::Log(at) => drawing.row_of_log[at],
    };
    let (service, name) = (drawing.rows[row].service.to_string(), drawing.rows[row].name.to_string());
    JourneyFailure { service, name, message: failure.message, row }
}

fn ids(spans: &[SpanRecord], logs: &[LogRecord], limits: &Limits, cuts: &mut Vec<Cut>) -> Vec<IdTerm> {
    let spans = spans.iter().flat_map(|span| &span.ids);
    let texts: BTreeSet<&str> = spans.chain(logs.iter().flat_map(|log| &log.ids)).map(Text::as_str).collect();
    if texts.len() > limits.ids {
        let what = format!("{} of {} ids are listed", limits.ids, texts.len());
        let hint = Some("ask for a shorter time range, or for one of the traces".to_owned());
        cuts.push(Cut { what, limit: "ids".to_owned(), hint });
    }
    let mut ids: Vec<IdTerm> =
        texts.into_iter().take(limits.ids).filter_map(|text| text.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

/// The earliest measurements of traces that have rows, as many as there is room for.
fn shown_exemplars(
    mut exemplars: Vec<ExemplarRecord>,
    traces: &Traces,
    limits: &Limits,
    cuts: &mut Vec<Cut>,
) -> Vec<ExemplarRecord> {
    exemplars.retain(|exemplar| traces.position(exemplar.trace_id).is_some());
    let left_out = exemplars.len().saturating_sub(limits.exemplars);
    if left_out > 0 {
        exemplars.truncate(limits.exemplars);
        cuts.push(Cut {
            what: format!(
                "cut at {} exemplars of metrics; {left_out} later ones are left out",
                limits.exemplars
            ),
            limit: "exemplars".to_owned(),
            hint: Some("narrow the time range".to_owned()),
        });
    }
    exemplars
}

/// The largest amount by which something began before what caused it began: a child before its parent,
/// a consumer before its producer.
fn clock_skew(spans: &[SpanRecord], forest: &Forest, messages: &Messages) -> i64 {
    let parents = spans.iter().zip(&forest.parent).filter_map(|(span, parent)| {
        let parent = spans.get((*parent)? as usize)?;
        let is_recorded = !span.is_inferred() && !parent.is_inferred();
        is_recorded.then(|| parent.start.since(span.start))
    });
    let consumers = messages
        .waits
        .iter()
        .filter_map(|wait| Some(spans[wait.producer].start.since(spans[wait.consumer?].start)));
    parents.chain(consumers).max().unwrap_or(0).max(0)
}

fn events_cut(drawing: &Drawing, limits: &Limits) -> Option<Cut> {
    (drawing.events_left_out > 0).then(|| Cut {
        what: format!("cut at {} span events; {} are left out", limits.events, drawing.events_left_out),
        limit: "events".to_owned(),
        hint: Some("ask for a shorter time range, or for one of the traces".to_owned()),
    })
}
