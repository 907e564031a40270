//! What was judged, as sentences: what is wrong, how to mend it, and one example to follow.

use std::collections::BTreeMap;

use model::TraceId;
use model::time::duration_text;
use query_api::{Finding, FindingKind, Severity};

use super::calls::{Call, Calls, Fate};
use super::census::{Census, Counts};
use super::coverage::{Coverage, Judged};
use super::messages::{Intake, Messages, Sent};
use super::severity;

/// A clock that is off by more is bad.
const OFFSET_BAD_NANO: u64 = 1_000_000_000;
/// Every service writes lines that belong to no request: below this share of log records they need no look.
const BACKGROUND_SHARE: f64 = 0.2;
/// A share of missing parents above this needs a look.
const ORPHANS_ONE_IN: u64 = 100;

/// Defects and remarks as they are found.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Worst first: by severity, then by share, then by number.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        let share = |finding: &Finding| finding.affected as f64 / finding.of.max(1) as f64;
        self.0.sort_by(|a, b| {
            let worse = b.severity.cmp(&a.severity).then_with(|| share(b).total_cmp(&share(a)));
            let worse = worse.then_with(|| b.affected.cmp(&a.affected)).then_with(|| a.kind.cmp(&b.kind));
            worse.then_with(|| (&a.service, &a.other).cmp(&(&b.service, &b.other)))
        });
        self.0
    }

    pub(super) fn of_calls(&mut self, census: &Census, calls: &Calls) {
        for ((caller, peer), call) in &calls.all {
            let finding = of_call(census, census.text(*caller), census.text(*peer), call);
            finding.into_iter().for_each(|finding| self.add(finding));
        }
    }

    pub(super) fn of_messages(&mut self, census: &Census, messages: &Messages) {
        let scale = census.scale();
        for ((topic, service), intake) in &messages.intakes {
            let (topic, service) = (census.text(*topic), census.text(*service));
            let finding = unlinked_consumer(topic, service, intake, scale);
            finding.into_iter().for_each(|finding| self.add(finding));
        }
        for (topic, sent) in &messages.sent {
            // Consumers without a link explain it, and have a finding of their own.
            let unlinked: u64 = messages.consumers(*topic).map(|(_, it)| it.lost - it.still_known).sum();
            if unlinked < sent.untaken {
                let readers = messages.consumers(*topic).map(|(service, _)| census.text(service));
                let readers: Vec<&str> = readers.collect();
                let finding = untaken_messages(census, census.text(*topic), sent, &readers);
                finding.into_iter().for_each(|finding| self.add(finding));
            }
        }
        for topic in census.topics() {
            let finding = topic_without_headers(&topic);
            finding.into_iter().for_each(|finding| self.add(finding));
        }
    }

    pub(super) fn of_coverage(&mut self, census: &Census, coverage: &Coverage) {
        let is_called = |service: &str| {
            self.0.iter().any(|it| it.kind == FindingKind::NotInstrumented && it.service == service)
        };
        let mut found = Vec::new();
        for (name, judged) in &coverage.services {
            let Some(counts) = census.counts.get(name) else { continue };
            let service = census.text(*name);
            found.extend(logs_without_id(service, counts, judged));
            found.extend(spans_without_id(service, counts, judged));
            found.extend(orphans(service, judged));
            if counts.spans == 0 && !is_called(service) {
                found.push(logs_only(service, counts));
            }
        }
        found.into_iter().for_each(|finding| self.add(finding));
    }

    pub(super) fn of_clocks(&mut self, offsets: &BTreeMap<String, i64>) {
        for (service, offset) in offsets {
            let (off, way) = match offset {
                0.. => (*offset, "behind"),
                _ => (-offset, "ahead of"),
            };
            let is_bad = offset.unsigned_abs() >= OFFSET_BAD_NANO;
            self.add(Finding {
                severity: if is_bad { Severity::Bad } else { Severity::Warn },
                what: format!("the clock of {service} is {} {way} the others", duration_text(off)),
                hint: "synchronise its host with the others (chrony, NTP); `silmari trace ID --correct-clocks` shows \
                       corrected times"
                    .to_owned(),
                follow: Some(logs_of(&[("service", service)])),
                ..blank(FindingKind::ClockOffset, service, 1, 1)
            });
        }
    }
}

fn blank(kind: FindingKind, service: &str, affected: u64, of: u64) -> Finding {
    Finding {
        severity: Severity::Note,
        kind,
        service: service.to_owned(),
        other: String::new(),
        what: String::new(),
        affected,
        of,
        hint: String::new(),
        example: None,
        follow: None,
    }
}

/// The command that shows the records with these values. Names come from outside: one that is more than a word is
/// quoted, for the search and for the shell.
fn logs_of(fields: &[(&str, &str)]) -> String {
    let is_word = |value: &str| {
        !value.is_empty() && value.chars().all(|char| char.is_alphanumeric() || "-_./".contains(char))
    };
    let term = |(field, value): &(&str, &str)| match is_word(value) {
        true => format!("{field}:{value}"),
        false => format!("{field}:\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")),
    };
    let terms: Vec<String> = fields.iter().map(term).collect();
    format!("silmari logs '{}'", terms.join(" ").replace('\'', r"'\''"))
}

/// The finding with an example trace.
fn with_trace(finding: Finding, trace: Option<TraceId>) -> Finding {
    let example = trace.map(|trace| trace.to_string());
    let follow = example.as_ref().map(|trace| format!("silmari trace {trace}"));
    Finding { example, follow, ..finding }
}

fn of_call(census: &Census, caller: &str, peer: &str, call: &Call) -> Option<Finding> {
    let scale = census.scale();
    let callee = call.callee.map_or(peer, |callee| census.text(callee));
    let (kind, affected) = match call.fate {
        Fate::ContextLost => (FindingKind::ContextLost, call.lost),
        Fate::NotInstrumented => (FindingKind::NotInstrumented, call.unanswered),
        Fate::SpansMissing => (FindingKind::ServerSpansMissing, call.unanswered),
        Fate::Answered | Fate::External => return None,
    };
    let (severity, of) = (severity(affected, call.count)?, call.count * scale);
    let affected = affected * scale;
    let (what, hint) = match kind {
        FindingKind::ContextLost => (
            format!("{callee} loses the context of calls from {caller}: its spans begin traces of their own"),
            format!(
                "let {callee} take `traceparent` from its requests (OTEL_PROPAGATORS=tracecontext,baggage and the \
                 instrumentation of its HTTP or RPC framework), and let proxies between the two pass it on"
            ),
        ),
        FindingKind::NotInstrumented => (
            format!("{callee} is called by {caller} and sends no spans"),
            format!(
                "give {callee} an OpenTelemetry SDK or agent; until then let it log the id it is called with, \
                 `request started request_id=…` and `request finished request_id=…`: journeys infer a row from such lines"
            ),
        ),
        _ => (
            format!("calls from {caller} to {callee} were answered, the spans of {callee} were not received"),
            format!(
                "let {callee} sample as its caller does (OTEL_TRACES_SAMPLER=parentbased_always_on), and look whether \
                 its exporter drops spans"
            ),
        ),
    };
    let other = caller.to_owned();
    let finding = Finding { severity, other, what, hint, ..blank(kind, callee, affected, of) };
    Some(with_trace(finding, call.example))
}

fn unlinked_consumer(topic: &str, service: &str, intake: &Intake, scale: u64) -> Option<Finding> {
    let severity = severity(intake.lost, intake.count)?;
    let known = match intake.still_known {
        0 => "journeys end there".to_owned(),
        known if known >= intake.lost => {
            "topic, partition and offset or a message id still tell which message it was".to_owned()
        }
        known => format!("of {} the message is known all the same", known * scale),
    };
    let finding = Finding {
        severity,
        other: topic.to_owned(),
        what: format!("{service} consumes {topic} without a link to the producer: {known}"),
        hint: format!(
            "let {service} take `traceparent` from the headers of its messages and begin its span with a link to it, \
             or as its child (an instrumented Kafka client does)"
        ),
        ..blank(FindingKind::ConsumerUnlinked, service, intake.lost * scale, intake.count * scale)
    };
    Some(with_trace(finding, intake.example))
}

fn untaken_messages(census: &Census, topic: &str, sent: &Sent, readers: &[&str]) -> Option<Finding> {
    let (severity, scale) = (severity(sent.untaken, sent.count)?, census.scale());
    let (what, hint) = match readers {
        [] => (
            format!("no span tells who consumes {topic}"),
            format!(
                "instrument the consumers of {topic}, or name it under [kafka_tap] in silmari.toml: \
                 `silmari where ID` then tells how far its groups are"
            ),
        ),
        readers => (
            format!("no consumer's span links to these messages on {topic}"),
            format!(
                "see with `silmari services` whether {} still consumes; if it does, it loses the link for a part of \
                 its messages",
                readers.join(" or ")
            ),
        ),
    };
    let service = sent.producer.map_or("", |producer| census.text(producer));
    let finding = Finding {
        severity,
        other: topic.to_owned(),
        what,
        hint,
        ..blank(FindingKind::MessageUnlinked, service, sent.untaken * scale, sent.count * scale)
    };
    Some(with_trace(finding, sent.example))
}

fn topic_without_headers(topic: &query_api::DoctorTopic) -> Option<Finding> {
    let severity = severity(topic.without_context, topic.messages)?;
    let name = &topic.topic;
    let ids = match topic.without_id {
        0 => String::new(),
        ids => format!("; {ids} carry no id either, in headers or key"),
    };
    Some(Finding {
        severity,
        other: name.clone(),
        what: format!("messages on {name} have no `traceparent` header{ids}"),
        hint: format!(
            "let the producers of {name} put `traceparent` into the headers (an instrumented Kafka client does), and a \
             business id into the key or a header"
        ),
        follow: Some(logs_of(&[("service", "kafka"), ("messaging.destination.name", name)])),
        ..blank(FindingKind::TopicWithoutHeaders, "", topic.without_context, topic.messages)
    })
}

fn logs_without_id(service: &str, counts: &Counts, judged: &Judged) -> Option<Finding> {
    let severity = severity(judged.logs_unreachable, counts.logs)?;
    if (judged.logs_unreachable as f64) < BACKGROUND_SHARE * counts.logs as f64 {
        return None;
    }
    let hint = match (counts.logs_without_trace > 0, counts.spans > 0) {
        (true, true) => format!(
            "put trace_id and span_id into the log pattern of {service} (its SDK knows them), or a correlation id"
        ),
        (true, false) => format!(
            "let {service} log the id it is called with in every line (logger context, MDC); where one stands in the \
             text already, name it in ids.yaml: `silmari ids check ids.yaml --sample FILE`"
        ),
        (false, _) => {
            "set one id, such as correlation_id or order.id, on any span or line of each trace".to_owned()
        }
    };
    let finding = Finding {
        severity,
        what: match &counts.example_alone {
            Some(line) => format!("no id reaches these log records of {service}, such as `{line}`"),
            None => format!("no id reaches these log records of {service}"),
        },
        hint,
        ..blank(FindingKind::LogsWithoutId, service, judged.logs_unreachable, counts.logs)
    };
    match judged.example_log {
        Some(_) => Some(with_trace(finding, judged.example_log)),
        None => Some(Finding { follow: Some(logs_of(&[("service", service)])), ..finding }),
    }
}

fn spans_without_id(service: &str, counts: &Counts, judged: &Judged) -> Option<Finding> {
    let affected = judged.spans_unreachable.min(counts.spans);
    let severity = severity(affected, counts.spans)?;
    let finding = Finding {
        severity,
        what: format!("spans of {service} are in traces that carry no id: only the trace id finds them"),
        hint: "set one id, such as correlation_id or order.id, as an attribute of any span of the trace; if one is there \
               under another name, add that name to ids.yaml"
            .to_owned(),
        ..blank(FindingKind::SpansWithoutId, service, affected, counts.spans)
    };
    Some(with_trace(finding, judged.example_span))
}

fn orphans(service: &str, judged: &Judged) -> Option<Finding> {
    if judged.orphans * ORPHANS_ONE_IN < judged.with_parent.max(1) {
        return None;
    }
    let finding = Finding {
        severity: severity(judged.orphans, judged.with_parent).unwrap_or(Severity::Warn),
        what: format!("the parents of these spans of {service} were not received"),
        hint: "sample by the parent's decision (OTEL_TRACES_SAMPLER=parentbased_…), look whether an exporter drops spans, \
               and for proxies and gateways that begin traces and do not send them"
            .to_owned(),
        ..blank(FindingKind::Orphans, service, judged.orphans, judged.with_parent)
    };
    Some(with_trace(finding, judged.example_orphan))
}

fn logs_only(service: &str, counts: &Counts) -> Finding {
    Finding {
        severity: Severity::Note,
        what: format!("{service} writes logs and sends no spans"),
        hint: "nothing to do for a proxy or a host; a service of yours is seen better with an OpenTelemetry SDK or agent"
            .to_owned(),
        follow: Some(logs_of(&[("service", service)])),
        ..blank(FindingKind::LogsOnly, service, counts.logs, counts.logs)
    }
}

#[cfg(test)]
mod tests {
    use super::logs_of;

    #[test]
    fn a_name_from_outside_is_one_word_of_the_command_it_is_told_in() {
        for (name, expected) in [
            ("billing", "silmari logs 'service:billing'"),
            ("my shop", "silmari logs 'service:\"my shop\"'"),
            ("x'; rm -rf ~; '", r#"silmari logs 'service:"x'\''; rm -rf ~; '\''"'"#),
            (r#"a"b\c"#, r#"silmari logs 'service:"a\"b\\c"'"#),
        ] {
            assert_eq!(logs_of(&[("service", name)]), expected);
        }
    }
}
