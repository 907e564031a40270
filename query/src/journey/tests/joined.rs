//! Random joined graphs, built as systems build them: calls, retries with back-off, messages by link and by
//! coordinates, batch consumers, services that only log, spans that were lost, links in circles.

use std::collections::{BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;
use query_api::TimeClass;

use super::*;

/// What happens next, at one of the spans there are so far.
#[derive(Clone, Debug)]
enum Step {
    /// It calls a service.
    Call { length: i64 },
    /// It calls, fails, waits and calls again.
    Retry { pause: i64 },
    /// It sends a message that a consumer in a trace of its own takes.
    Send { wait: i64, is_linked: bool },
    /// It sends a message that nobody takes.
    SendOnly,
    /// A consumer takes all messages so far at once.
    Batch { wait: i64 },
    /// It calls a service that sends no spans.
    Silent { length: i64 },
    /// It writes a line.
    Log,
    /// A later span links back to it, and it to that one.
    Circle,
    /// It was never received.
    Lose,
}

fn any_step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => (1..30i64).prop_map(|length| Step::Call { length }),
        2 => (0..20i64).prop_map(|pause| Step::Retry { pause }),
        3 => (-3..40i64, any::<bool>()).prop_map(|(wait, is_linked)| Step::Send { wait, is_linked }),
        1 => Just(Step::SendOnly),
        1 => (0..20i64).prop_map(|wait| Step::Batch { wait }),
        2 => (0..20i64).prop_map(|length| Step::Silent { length }),
        2 => Just(Step::Log),
        1 => Just(Step::Circle),
        1 => Just(Step::Lose),
    ];
    (0..1_000usize, step)
}

/// A system that does these steps, beginning with one request.
struct Builder {
    spans: Vec<SpanRecord>,
    logs: Vec<LogRecord>,
    lost: BTreeSet<usize>,
    next: u64,
    messages: u64,
    silent: usize,
}

const SERVICES: [&str; 4] = ["gateway", "orders", "billing", "mail"];

impl Builder {
    fn build(steps: &[(usize, Step)]) -> Self {
        let root = span(1, 1, 0, "gateway", "GET /", 0, 400).kind("server").id("order_id=X");
        let (lost, logs) = (BTreeSet::new(), Vec::new());
        let mut builder = Self { spans: vec![root], logs, lost, next: 2, messages: 0, silent: 0 };
        for (at, step) in steps {
            builder.step(at % builder.spans.len(), step);
        }
        builder
    }

    fn millis(time: UnixNano) -> i64 {
        time.since(at(0)) / MILLI
    }

    /// A span below `parent`, or the first of a new trace.
    fn add(&mut self, parent: Option<usize>, name: &str, start: i64, length: i64) -> usize {
        let id = self.next;
        self.next += 1;
        let service = SERVICES[id as usize % SERVICES.len()];
        let mut one = span(id, id, 0, service, name, start, length);
        if let Some(parent) = parent.map(|at| &self.spans[at]) {
            (one.trace_id, one.parent_span_id) = (parent.trace_id, Some(parent.span_id));
        }
        self.spans.push(one.id("order_id=X"));
        self.spans.len() - 1
    }

    fn edit(&mut self, at: usize, change: impl FnOnce(SpanRecord) -> SpanRecord) {
        let one = self.spans[at].clone();
        self.spans[at] = change(one);
    }

    fn step(&mut self, of: usize, step: &Step) {
        let (start, end) = (Self::millis(self.spans[of].start), Self::millis(self.spans[of].end()));
        match step {
            Step::Call { length } => {
                let call = self.add(Some(of), "call", start + 1, *length + 2);
                self.edit(call, |span| span.kind("client"));
                let server = self.add(Some(call), "serve", start + 2, *length);
                self.edit(server, |span| span.kind("server"));
            }
            Step::Retry { pause } => {
                let failed = self.add(Some(of), "try #1", start + 1, 4);
                self.edit(failed, |span| span.error("timeout"));
                let again = self.add(Some(of), "try #2", start + 5 + pause, 3);
                let service = self.spans[failed].service.clone();
                self.spans[again].service = service;
            }
            Step::Send { wait, is_linked } => {
                let sent = self.send(of, end - 2);
                let (trace, id) = (self.spans[sent].trace_id, self.spans[sent].span_id);
                let offset = self.messages.to_string();
                let taken = self.add(None, "process", end + wait, 10);
                self.edit(taken, |span| span.consumes("t").record("t", "0", &offset));
                if *is_linked {
                    self.spans[taken].links.push((trace, id));
                }
            }
            Step::SendOnly => drop(self.send(of, end - 2)),
            Step::Batch { wait } => {
                let all: Vec<(TraceId, SpanId)> = self
                    .spans
                    .iter()
                    .filter(|span| span.kind == "producer")
                    .map(|span| (span.trace_id, span.span_id))
                    .collect();
                let taken = self.add(None, "process batch", end + wait, 8);
                self.edit(taken, |span| span.consumes("t"));
                self.spans[taken].links = all;
            }
            Step::Silent { length } => {
                self.silent += 1;
                let id = format!("request_id=r{}", self.silent);
                let call = self.add(Some(of), "call legacy", start + 1, *length + 2);
                self.edit(call, |span| span.kind("client").id(&id));
                let line = |body: &str, millis| log(0, 0, "legacy", body, millis).id(&id);
                self.logs.push(line("request started", start + 2));
                self.logs.push(line("request finished", start + 2 + length));
            }
            Step::Log => {
                let mut line = log(1, 1, &self.spans[of].service, "a line", start + 1);
                (line.trace_id, line.span_id) = (Some(self.spans[of].trace_id), Some(self.spans[of].span_id));
                self.logs.push(line);
            }
            Step::Circle => {
                let other = self.add(None, "later", end + 5, 3);
                let (one, two) = (&self.spans[of], &self.spans[other]);
                let (one, two) = ((one.trace_id, one.span_id), (two.trace_id, two.span_id));
                self.spans[of].links.push(two);
                self.spans[other].links.push(one);
            }
            Step::Lose => drop(self.lost.insert(of)),
        }
    }

    fn send(&mut self, of: usize, start: i64) -> usize {
        self.messages += 1;
        let offset = self.messages.to_string();
        let sent = self.add(Some(of), "send", start, 2);
        self.edit(sent, |span| span.produces("t").record("t", "0", &offset));
        sent
    }

    /// What arrives: all that was not lost.
    fn received(&self) -> Vec<SpanRecord> {
        let kept = self.spans.iter().enumerate().filter(|(at, _)| !self.lost.contains(at));
        kept.map(|(_, span)| span.clone()).collect()
    }
}

/// Each row stands below the span it names as parent, which is there once.
fn check_nesting(journey: &Journey) -> Result<(), TestCaseError> {
    let spans: HashMap<_, usize> = (0..journey.rows.len())
        .filter(|at| matches!(journey.rows[*at].kind, RowKind::Span | RowKind::Missing))
        .map(|at| ((journey.rows[at].trace_id, journey.rows[at].span_id), at))
        .collect();
    let mut path: Vec<usize> = Vec::new();
    for (at, row) in journey.rows.iter().enumerate() {
        path.truncate(usize::from(row.depth));
        let is_below = matches!(row.kind, RowKind::Span | RowKind::Inferred) && row.parent_span_id.is_some();
        if is_below {
            let parent = spans.get(&(row.trace_id, row.parent_span_id)).copied();
            prop_assert_eq!(path.last().copied(), parent, "{}", outline(journey));
        }
        path.resize(usize::from(row.depth), usize::MAX);
        path.push(at);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn joined_graphs_hold_each_row_once_nest_without_circles_and_explain_every_nanosecond(
        steps in vec(any_step(), 0..24),
    ) {
        let built = Builder::build(&steps);
        let received = built.received();
        prop_assume!(!received.is_empty());
        let journey = World::of(received.clone(), built.logs.clone()).journey("X");
        // Everything carries the id or hangs on what does; a lost span may take the only tie of a log line along.
        prop_assert_eq!(journey.counts.spans, received.len());
        check_nesting(&journey)?;
        let calls = received.iter().filter(|span| span.name == "call legacy").count();
        let inferred = journey.rows.iter().filter(|row| row.kind == RowKind::Inferred).count();
        prop_assert_eq!(inferred, calls, "{}", outline(&journey));
        let spent = journey.time_spent.iter().filter(|it| it.class == TimeClass::Inferred);
        let row = journey.rows.iter().filter(|row| row.kind == RowKind::Inferred);
        let (spent, row): (i64, i64) = (spent.map(|it| it.duration_nano).sum(), row.map(|it| it.critical_nano).sum());
        prop_assert_eq!(spent, row, "inferred time is told apart");
    }

    #[test]
    fn joined_graphs_look_the_same_in_whatever_order_and_however_often_they_arrive(
        steps in vec(any_step(), 0..16),
        seed in any::<u64>(),
    ) {
        let built = Builder::build(&steps);
        let received = built.received();
        prop_assume!(!received.is_empty());
        let expected = World::of(received.clone(), built.logs.clone()).journey("X");
        // Every other span arrives twice, and all of it in another order.
        let mut spans = received.clone();
        spans.extend(received.iter().step_by(2).cloned());
        let mut logs = built.logs.clone();
        let mut key = seed | 1;
        let mut draw = || {
            key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            key
        };
        spans.sort_by_cached_key(|_| draw());
        logs.sort_by_cached_key(|_| draw());
        let other = World::of(spans, logs).journey("X");
        prop_assert_eq!(outline(&other), outline(&expected));
        prop_assert_eq!(&other.time_spent, &expected.time_spent);
        prop_assert_eq!(&other.critical_path, &expected.critical_path);
        prop_assert_eq!(other.status, expected.status);
    }

    #[test]
    fn every_message_with_evidence_has_one_wait_for_each_that_took_it(steps in vec(any_step(), 0..20)) {
        let steps: Vec<_> = steps.into_iter().filter(|(_, step)| !matches!(step, Step::Lose)).collect();
        let built = Builder::build(&steps);
        let journey = World::of(built.spans.clone(), built.logs.clone()).journey("X");
        let mut expected = 0;
        for producer in built.spans.iter().filter(|span| span.kind == "producer") {
            let offset = &producer.attributes["messaging.kafka.offset"];
            let takes = |span: &&SpanRecord| {
                span.kind == "consumer"
                    && (span.links.contains(&(producer.trace_id, producer.span_id))
                        || span.attributes.get("messaging.kafka.offset") == Some(offset))
            };
            let takers: BTreeSet<&str> = built.spans.iter().filter(takes).map(|span| span.service.as_str()).collect();
            // A message nobody took is one open wait.
            expected += takers.len().max(1);
        }
        let waits = journey.rows.iter().filter(|row| row.kind == RowKind::QueueWait).count();
        prop_assert_eq!(waits, expected, "{}", outline(&journey));
    }
}
