//! From what a closure found to a [`Journey`]: one pass each for parents, messages, traces, outcome,
//! time and rows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use model::{IdRules, IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use query_api::{
    Cut, Evidence, Journey, JourneyCounts, JourneyFailure, JourneyStatus, JourneyTrace, QueryStats,
};

use super::Limits;
use super::closure::Closure;
use super::evidence::{self, Witness};
use super::exemplars::ExemplarRecord;
use super::forest::Forest;
use super::messages::{self, Messages};
use super::outcome::{self, Culprit, Failure};
use super::records::{LogRecord, SpanRecord};
use super::rows::{self, Drawing, Material, PauseFacts, WaitFacts};
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
    let open_until = is_complete.then_some(question.until);
    let mut forest = Forest::new(&spans, &logs);
    let mut messages = messages::find(&spans, open_until);
    let clock_skew_nano = clock_skew(&spans, &forest, &messages);
    let mut corrected = BTreeMap::new();
    if question.is_corrected && clock_skew_nano > 0 {
        corrected = clocks::offsets(&spans, &forest, &messages);
        clocks::correct(&mut spans, &mut logs, &corrected);
        forest = Forest::new(&spans, &logs);
        messages = messages::find(&spans, open_until);
    }
    let retries = retries::find(&spans, &forest, &messages);
    let mut traces = Traces::new(&spans, &logs);
    traces.nest(&spans, &forest, &messages);

    let axis = axis(&spans, &logs, &messages);
    let shares = shares::divide(&spans, &forest, &messages, &retries, &traces, axis);
    let failure = outcome::failure(&spans, &logs, &forest, &messages);
    let status = status(failure.as_ref(), &messages);
    let services = services(&spans, &logs);
    let mut witness = Witness::new(rules, &matched, &followed);
    let evidence =
        evidence::of_traces(&mut witness, &reached, (&spans, &logs), &traces, &forest, &messages.waits);
    let headings = headings(&traces, &spans, &logs, evidence);
    let counts = JourneyCounts {
        traces: traces.all.iter().filter(|trace| !infer::is_made(trace.id)).count(),
        spans: spans.iter().filter(|span| !span.is_inferred()).count(),
        logs: logs.len(),
        messages: messages.count,
        services: services.len(),
        errors: spans.iter().filter(|span| span.is_error).count(),
    };
    let ids = ids(&spans, &logs, limits, &mut cuts);
    let marks = changes::of_versions(&spans, &logs);
    let exemplars = shown_exemplars(exemplars, &traces, limits, &mut cuts);

    let drawing = rows::draw(Material {
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
        headings: &headings,
        shares: &shares,
        corrected: &corrected,
        witness,
        events_max: limits.events,
    });
    cuts.extend(events_cut(&drawing, limits));
    let mut journey = Journey {
        id: question.id,
        matched,
        range: question.range,
        start_time: axis.from,
        duration_nano: axis.nanos(),
        status,
        progress: None,
        failure: failure.map(|failure| shown(failure, &drawing)),
        counts,
        services,
        traces: headings.into_iter().filter(|trace| !infer::is_made(trace.trace_id)).collect(),
        ids,
        time_spent: shares.time_spent(),
        critical_path: shares.path(&drawing),
        rows: drawing.rows,
        marks,
        clock_skew_nano,
        clock_offsets: corrected,
        cuts,
        stats: QueryStats::default(),
    };
    journey.progress = Some(journey.progress_at(question.until));
    journey
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

/// From the start of the earliest row to the end of the latest. A log record that names a span which is
/// here does not stretch the axis: it was written while the span was open, and a time outside is that of
/// a coarse clock, as in access logs with whole seconds.
fn axis(spans: &[SpanRecord], logs: &[LogRecord], messages: &Messages) -> TimeRange {
    let mut axis = TimeRange { from: UnixNano::MAX, to: UnixNano::MIN };
    let mut cover = |from: UnixNano, to: UnixNano| {
        axis.from = axis.from.min(from);
        axis.to = axis.to.max(to);
    };
    for span in spans {
        cover(span.start, span.end());
        span.events.iter().for_each(|event| cover(event.time, event.time));
    }
    let known: HashSet<(TraceId, SpanId)> = spans.iter().map(|span| (span.trace_id, span.span_id)).collect();
    let placed = |log: &&LogRecord| log.trace_id.zip(log.span_id).is_some_and(|ids| known.contains(&ids));
    logs.iter().filter(|log| !placed(log)).for_each(|log| cover(log.time, log.time));
    messages.waits.iter().for_each(|wait| cover(wait.start, wait.start.plus(wait.duration_nano)));
    axis
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
    let (service, name) = (drawing.rows[row].service.clone(), drawing.rows[row].name.clone());
    JourneyFailure { service, name, message: failure.message, row }
}

/// Services by the time they were first reached.
fn services(spans: &[SpanRecord], logs: &[LogRecord]) -> Vec<String> {
    let mut first: HashMap<&str, UnixNano> = HashMap::new();
    let spans = spans.iter().map(|span| (span.service.as_str(), span.start));
    let logs = logs.iter().map(|log| (log.service.as_str(), log.time));
    for (service, time) in spans.chain(logs).filter(|(service, _)| !service.is_empty()) {
        let first = first.entry(service).or_insert(time);
        *first = time.min(*first);
    }
    let mut services: Vec<(UnixNano, &str)> =
        first.into_iter().map(|(service, time)| (time, service)).collect();
    services.sort_unstable();
    services.into_iter().map(|(_, service)| service.to_owned()).collect()
}

fn headings(
    traces: &Traces,
    spans: &[SpanRecord],
    logs: &[LogRecord],
    evidence: Vec<Vec<Evidence>>,
) -> Vec<JourneyTrace> {
    let heading = |(trace, evidence): (&Trace, Vec<Evidence>)| {
        let root = trace.root.map(|at| &spans[at]);
        let log = trace.first_log.map(|at| &logs[at]);
        let service = root.map(|span| &span.service).or(log.map(|log| &log.service));
        let (evidence, more_evidence) = rows::surest(evidence);
        JourneyTrace {
            trace_id: trace.id,
            evidence,
            more_evidence,
            name: root.map_or_else(|| "no span received".to_owned(), |span| span.name.clone()),
            service: service.cloned().unwrap_or_default(),
            start_time: trace.start,
            duration_nano: trace.end.since(trace.start),
            spans: trace.spans,
            is_failed: trace.is_failed,
        }
    };
    traces.all.iter().zip(evidence).map(heading).collect()
}

fn ids(spans: &[SpanRecord], logs: &[LogRecord], limits: &Limits, cuts: &mut Vec<Cut>) -> Vec<IdTerm> {
    let spans = spans.iter().flat_map(|span| &span.ids);
    let texts: BTreeSet<&str> =
        spans.chain(logs.iter().flat_map(|log| &log.ids)).map(String::as_str).collect();
    if texts.len() > limits.ids {
        let what = format!("{} of {} ids are listed", limits.ids, texts.len());
        let hint = Some("narrow the time range, or raise the limit `ids`".to_owned());
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
        hint: Some("narrow the time range, or raise the limit `events`".to_owned()),
    })
}
