//! Log records of inputs that are not files: processed, gathered by service, spooled.
//!
//! Bounds: [`STREAMS_MAX`] senders are told apart; a request is spooled at [`REQUEST_BYTES`] or when its
//! input says so. Invariant: per input `in = out + dropped + buffered`, where out means spooled.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use model::UnixNano;
use model::dialect::{Dialect, ParsedLine, parse_line};
use model::otlp::logs::{LogRecordParts, LogsWriter};

use super::intake::{Incoming, Intake};
use crate::process::limit::Bucket;
use crate::process::{Chain, State};
use crate::queue::{Queue, QueueError};
use crate::status::{DropReason, Flow};

/// Senders whose state is kept.
const STREAMS_MAX: usize = 4096;
/// Bytes of records after which a request is spooled.
pub(crate) const REQUEST_BYTES: usize = 256 << 10;

/// A record as an input hands it over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Who sent it; rate limits and repetitions are per sender.
    pub(crate) sender: String,
    /// The service it names.
    pub(crate) service: String,
    pub(crate) time: Option<UnixNano>,
    /// Severity number and text that its envelope names, or 0.
    pub(crate) severity: (i32, &'static str),
    pub(crate) text: String,
    pub(crate) attributes: Vec<(String, String)>,
    /// Bytes it took on its way here.
    pub(crate) bytes: u64,
}

/// The records of one input.
#[derive(Debug)]
pub(crate) struct Records {
    intake: Intake,
    chain: Chain,
    dialect: Dialect,
    states: HashMap<String, (State, String)>,
    bucket: Bucket,
    writers: HashMap<String, LogsWriter>,
    waiting: u64,
    bytes: usize,
    raw_bytes: u64,
    parsed: ParsedLine,
}

impl Records {
    pub(crate) fn new(intake: Intake, chain: Chain, dialect: Dialect) -> Self {
        Self {
            intake,
            chain,
            dialect,
            states: HashMap::new(),
            bucket: Bucket::default(),
            writers: HashMap::new(),
            waiting: 0,
            bytes: 0,
            raw_bytes: 0,
            parsed: ParsedLine::default(),
        }
    }

    /// Takes a record; counts what becomes of it in `flow`.
    pub(crate) fn push(&mut self, entry: &Entry, flow: &Flow) {
        flow.entered(1, entry.bytes);
        if let Err(reason) = self.take(entry, flow) {
            flow.dropped(reason, 1);
        }
    }

    fn take(&mut self, entry: &Entry, flow: &Flow) -> Result<(), DropReason> {
        if entry.text.trim_ascii().is_empty() {
            return Err(DropReason::Blank);
        }
        let text = self.chain.on_line(Cow::Borrowed(&entry.text))?;
        parse_line(self.dialect, &text, &mut self.parsed);
        self.fill_in(entry);
        if self.states.len() >= STREAMS_MAX && !self.states.contains_key(&entry.sender) {
            self.states.clear();
        }
        let now = self.intake.shared.clock.monotonic();
        let fresh = || (State::default(), entry.service.clone());
        let (state, _) = self.states.entry(entry.sender.clone()).or_insert_with(fresh);
        let mut parsed = std::mem::take(&mut self.parsed);
        let verdict = self.chain.on_record(&text, &mut parsed, &entry.service, state, &mut self.bucket, now);
        if let Some(summary) = state.take_summary() {
            flow.entered(1, 0);
            self.write(&summary, &entry.service);
        }
        if verdict.is_ok() {
            self.write(&parsed, &entry.service);
            self.raw_bytes += entry.bytes;
        }
        self.parsed = parsed;
        verdict
    }

    /// What the envelope knows and the text does not say.
    fn fill_in(&mut self, entry: &Entry) {
        let parsed = &mut self.parsed;
        parsed.time = parsed.time.or(entry.time);
        if parsed.severity_number == 0 {
            parsed.severity_number = entry.severity.0;
            entry.severity.1.clone_into(&mut parsed.severity_text);
        }
        for (key, value) in &entry.attributes {
            parsed.attributes.set(key, &self.chain.hide(Cow::Borrowed(value)));
        }
    }

    fn write(&mut self, parsed: &ParsedLine, service: &str) {
        if !self.writers.contains_key(service) {
            let writer = LogsWriter::new(self.intake.resource_of(service));
            self.writers.insert(service.to_owned(), writer);
        }
        let Some(writer) = self.writers.get_mut(service) else { return };
        let parts = LogRecordParts {
            time: parsed.time.unwrap_or(UnixNano(0)),
            observed_time: self.intake.shared.clock.now(),
            severity_number: parsed.severity_number,
            severity_text: &parsed.severity_text,
            body: &parsed.body,
            trace_id: parsed.trace_id,
            span_id: parsed.span_id,
            event_name: "",
        };
        let before = writer.bytes();
        let named = parsed.named_service().filter(|named| *named != service);
        writer.push(&parts, parsed.attributes.iter().chain(named.map(|named| ("service", named))));
        self.bytes += writer.bytes() - before;
        self.waiting += 1;
    }

    /// The spool that it goes into.
    pub(crate) const fn queue(&self) -> &Arc<Queue> {
        &self.intake.queue
    }

    /// Whether enough waits for a request.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes >= REQUEST_BYTES
    }

    /// Whether the spool has no room, so that a sender that can wait should.
    pub(crate) fn is_blocked(&self) -> bool {
        self.intake.queue.is_full(model::Signal::Logs)
    }

    /// Ends windows of repetitions, all of them at the `end` of the input.
    pub(crate) fn settle(&mut self, flow: &Flow, is_end: bool) {
        let Some(window) = self.chain.repeat_window() else { return };
        let now = (!is_end).then(|| self.intake.shared.clock.monotonic());
        let mut summaries = Vec::new();
        for (state, service) in self.states.values_mut() {
            state.settle(window, now);
            summaries.extend(state.take_summary().map(|summary| (summary, service.clone())));
        }
        for (summary, service) in summaries {
            flow.entered(1, 0);
            self.write(&summary, &service);
        }
    }

    /// Spools what waits. What finds no room is given up.
    ///
    /// # Errors
    /// When the spool has no room, or the disk fails.
    pub(crate) fn flush(&mut self, flow: &Flow) -> Result<(), QueueError> {
        self.flush_with(flow, "")
    }

    /// As [`Records::flush`], with a note to be found again. With a note, what finds no room now is no loss: its input
    /// reads it again.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn flush_with(&mut self, flow: &Flow, note: &str) -> Result<(), QueueError> {
        if self.waiting == 0 {
            return Ok(());
        }
        let mut request = Vec::with_capacity(self.bytes + 256);
        for (_, mut writer) in self.writers.drain() {
            request.extend_from_slice(&writer.finish());
        }
        let (items, raw) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.raw_bytes));
        self.bytes = 0;
        let incoming =
            Incoming { signal: model::Signal::Logs, request: &request, items, raw_bytes: raw, note };
        match self.intake.put(incoming) {
            Ok(()) => {
                flow.left(items, 0, request.len() as u64);
                Ok(())
            }
            Err(error) => {
                match error {
                    QueueError::TooLarge { .. } => flow.dropped(DropReason::TooLarge, items),
                    _ if note.is_empty() => flow.dropped(DropReason::SpoolFull, items),
                    _ => flow.withdrawn(items, raw),
                }
                Err(error)
            }
        }
    }
}
