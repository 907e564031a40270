//! What `[otlp]` does to pushed requests before they are spooled.
//!
//! ```text
//! request ─► secrets hidden: every text of spans, records and metrics
//!         ─► log records: renamed and set attributes ─► drop/keep ─► sample ─► rate limit (a service is a stream)
//! ```
//!
//! Invariants: without settings a request is not looked at; what a record says otherwise stays byte for byte; a request
//! that is refused afterwards and comes again is judged anew.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use model::dialect::ParsedLine;
use model::otlp::logs::put_attribute;
use model::otlp::redact::Redaction;
use model::otlp::{self, LogRecordView, attributes};
use model::wire::{Fields, Repeated, Value, put_bytes, put_message};
use model::{Severity, Signal, UnixNano};

use super::resource::put_value;
use crate::config::OtlpSettings;
use crate::process::limit::Bucket;
use crate::process::{Chain, State};
use crate::status::{DropReason, lock};

/// Services whose state is kept.
const SERVICES_MAX: usize = 4096;

/// The processors of pushed requests.
#[derive(Debug)]
pub(super) struct Processors {
    redaction: Option<Redaction>,
    /// Of log records; `None` when nothing but secrets is asked for.
    chain: Option<Chain>,
    state: Mutex<Judging>,
}

/// What is remembered between requests.
#[derive(Debug, Default)]
struct Judging {
    services: HashMap<String, State>,
    bucket: Bucket,
    parsed: ParsedLine,
}

/// A request, and what was left out of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Processed {
    pub(super) request: Vec<u8>,
    pub(super) left_out: Vec<(DropReason, u64)>,
}

impl Processed {
    fn leave_out(&mut self, reason: DropReason) {
        match self.left_out.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, records)) => *records += 1,
            None => self.left_out.push((reason, 1)),
        }
    }

    /// Records that were left out.
    pub(super) fn records(&self) -> u64 {
        self.left_out.iter().map(|(_, records)| records).sum()
    }
}

impl Processors {
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        let process = settings.process();
        let chain = settings.changes_records().then(|| Chain::new(&process));
        Self {
            redaction: Redaction::new(&settings.redact, &settings.redact_patterns, &[]),
            chain,
            state: Mutex::default(),
        }
    }

    /// The request without its secrets; as it is when it has none.
    pub(super) fn redact<'a>(&self, signal: Signal, request: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        let redacted = self.redaction.as_ref().and_then(|redaction| redaction.request(signal, &request));
        redacted.map_or(request, |redacted| Cow::Owned(redacted.request))
    }

    /// What is kept of a well formed request.
    pub(super) fn process(&self, signal: Signal, request: Vec<u8>, now: Duration) -> Processed {
        let mut processed = Processed::default();
        let Some(chain) = self.chain.as_ref().filter(|_| signal == Signal::Logs) else {
            return Processed { request, ..processed };
        };
        let mut judging = lock(&self.state);
        let mut out = Vec::with_capacity(request.len());
        for (number, value) in fields(&request) {
            match (number, value) {
                (1, Value::Bytes(group)) => {
                    judging.group(chain, group, now, &mut out, &mut processed);
                }
                (number, value) => put_value(&mut out, number, value),
            }
        }
        processed.request = out;
        processed
    }
}

fn fields(message: &[u8]) -> impl Iterator<Item = (u32, Value<'_>)> {
    Fields::new(message).map_while(Result::ok)
}

impl Judging {
    /// Writes what is kept of a `ResourceLogs`.
    fn group(
        &mut self,
        chain: &Chain,
        group: &[u8],
        now: Duration,
        out: &mut Vec<u8>,
        processed: &mut Processed,
    ) {
        let resource = Repeated::new(group, 1).iter().last().unwrap_or_default();
        let mut service = String::new();
        if let Some(name) = otlp::value::find(Repeated::new(resource, 1), "service.name") {
            name.push_text(&mut service);
        }
        if self.services.len() >= SERVICES_MAX && !self.services.contains_key(&service) {
            self.services.clear();
        }
        let mut state = self.services.remove(&service).unwrap_or_default();
        let (mut kept, mut has_records) = (Vec::with_capacity(group.len()), false);
        for (number, value) in fields(group) {
            let (2, Value::Bytes(scope)) = (number, value) else {
                put_value(&mut kept, number, value);
                continue;
            };
            let (mut records, mut count) = (Vec::with_capacity(scope.len()), 0);
            for (number, value) in fields(scope) {
                let (2, Value::Bytes(record)) = (number, value) else {
                    put_value(&mut records, number, value);
                    continue;
                };
                match self.judge(chain, record, &service, &mut state, now) {
                    Ok(()) => {
                        put_message(&mut records, 2, |out| put_record(chain, record, out));
                        count += 1;
                    }
                    Err(reason) => processed.leave_out(reason),
                }
            }
            if count > 0 {
                put_bytes(&mut kept, 2, &records);
                has_records = true;
            }
        }
        self.services.insert(service, state);
        if has_records {
            put_bytes(out, 1, &kept);
        }
    }

    /// Whether a record is kept. One that cannot be read is, for the collector to say what is wrong with it.
    fn judge(
        &mut self,
        chain: &Chain,
        record: &[u8],
        service: &str,
        state: &mut State,
        now: Duration,
    ) -> Result<(), DropReason> {
        let Ok(view) = LogRecordView::parse(record) else { return Ok(()) };
        fill(&mut self.parsed, &view);
        let mut parsed = std::mem::take(&mut self.parsed);
        let body = std::mem::take(&mut parsed.body);
        let verdict = chain.on_line(Cow::Borrowed(&body)).map(drop);
        parsed.body.clone_from(&body);
        let verdict =
            verdict.and_then(|()| chain.on_record(&body, &mut parsed, service, state, &mut self.bucket, now));
        self.parsed = parsed;
        verdict
    }
}

/// The parts of a record as conditions see them.
fn fill(parsed: &mut ParsedLine, view: &LogRecordView<'_>) {
    parsed.clear();
    let time = if view.time == UnixNano(0) { view.observed_time } else { view.time };
    parsed.time = Some(time);
    parsed.severity_number = view.severity_number;
    let name = Severity::from_number(view.severity_number).map_or("", |severity| severity.name());
    let text = if view.severity_text.is_empty() { name } else { view.severity_text };
    text.clone_into(&mut parsed.severity_text);
    view.body.push_text(&mut parsed.body);
    (parsed.trace_id, parsed.span_id) = (view.trace_id, view.span_id);
    let mut text = String::new();
    for attribute in attributes(view.attributes) {
        text.clear();
        attribute.value.push_text(&mut text);
        parsed.attributes.set(attribute.key, &text);
    }
}

/// Writes a `LogRecord` (attributes are field 6) with renamed attributes and those that are set.
fn put_record(chain: &Chain, record: &[u8], out: &mut Vec<u8>) {
    let settings = chain.settings();
    for (number, value) in fields(record) {
        let (6, Value::Bytes(pair)) = (number, value) else {
            put_value(out, number, value);
            continue;
        };
        let key = key_of(pair);
        let name = settings.rename.get(key).map_or(key, String::as_str);
        if settings.set.contains_key(name) {
            continue;
        }
        if name == key {
            put_bytes(out, 6, pair);
        } else {
            put_message(out, 6, |out| {
                put_bytes(out, 1, name.as_bytes());
                fields(pair)
                    .filter(|(number, _)| *number != 1)
                    .for_each(|(number, value)| put_value(out, number, value));
            });
        }
    }
    for (key, value) in &settings.set {
        put_attribute(out, 6, key, value);
    }
}

/// The key of a `KeyValue`.
fn key_of(pair: &[u8]) -> &str {
    let key = fields(pair).filter(|(number, _)| *number == 1).last();
    key.map_or("", |(_, key)| std::str::from_utf8(key.bytes()).unwrap_or_default())
}
