//! Processors: what happens to log lines between an input and its batch.
//!
//! Owns: joining lines, hiding secrets, choosing what is kept, attributes. Does not own: where lines
//! come from, how a line is parsed (`model::dialect`), counting (the input counts what is dropped).
//!
//! ```text
//! lines ─► join ─► redact ─► drop/keep on the line ─► parse ─► sniff ─► rename/set ─► drop/keep
//!          (state of the stream)                        ─► sample ─► rate limit ─► repeats ─► batch
//! ```
//!
//! Invariants: a line that no processor touches is not copied; every record is either written or
//! dropped with a [`DropReason`]; secrets are hidden before anything else looks at the line, so that no
//! later part can carry them out; a [`Chain`] is immutable and shared, what changes is a [`State`] a stream.

pub(crate) mod condition;
pub(crate) mod join;
pub(crate) mod limit;
pub(crate) mod repeat;
pub(crate) mod sample;
pub(crate) mod sniff;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use model::dialect::ParsedLine;
use model::redact::Redactor;

use self::condition::{Condition, Subject};
use self::limit::Bucket;
use self::repeat::Repeats;
use self::sample::Sampler;
use crate::config::process::{LimitPer, ProcessSettings};
use crate::status::DropReason;

/// What becomes of a record.
pub(crate) type Verdict = Result<(), DropReason>;

/// The processors of one input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    redactor: Option<Redactor>,
    settings: ProcessSettings,
    looks_at_line: bool,
}

/// What the processors remember of one logical stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    bucket: Bucket,
    repeats: Repeats,
    sampler: Sampler,
    /// Whether the last record that had a time was of the time that is wanted.
    is_outside: bool,
}

impl Chain {
    /// The processors that `settings` ask for.
    pub(crate) fn new(settings: &ProcessSettings) -> Self {
        Self {
            redactor: Redactor::new(&settings.redact, &settings.redact_patterns),
            looks_at_line: settings.drop.iter().chain(&settings.keep).any(Condition::is_about_line),
            settings: settings.clone(),
        }
    }

    /// The settings it was made of.
    pub(crate) const fn settings(&self) -> &ProcessSettings {
        &self.settings
    }

    /// Hides secrets in a line and looks whether its text alone decides that it is dropped.
    pub(crate) fn on_line<'a>(&self, text: Cow<'a, str>) -> Result<Cow<'a, str>, DropReason> {
        let text = self.hide(text);
        if self.looks_at_line {
            let is_dropped = |condition: &&Condition| condition.is_about_line();
            let subject = Subject { line: &text, parsed: None, service: "" };
            if self.settings.drop.iter().filter(is_dropped).any(|condition| condition.holds(&subject)) {
                return Err(DropReason::Filtered);
            }
        }
        Ok(text)
    }

    /// Hides secrets; borrowed text stays borrowed when there are none.
    pub(crate) fn hide<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        match &self.redactor {
            Some(redactor) => redactor.redact(text),
            None => text,
        }
    }

    /// What a parsed record becomes. `line` is the text after [`Chain::on_line`]; `now` is monotonic.
    /// A summary of suppressed repetitions may wait in `state` afterwards: see [`State::take_summary`].
    pub(crate) fn on_record(
        &self,
        line: &str,
        parsed: &mut ParsedLine,
        service: &str,
        state: &mut State,
        shared: &mut Bucket,
        now: Duration,
    ) -> Verdict {
        sniff::sniff(parsed);
        if let Some(wanted) = &self.settings.time {
            state.is_outside = parsed.time.map_or(state.is_outside, |time| !wanted.contains(time));
            if state.is_outside {
                return Err(DropReason::Filtered);
            }
        }
        self.change_attributes(parsed);
        let subject = Subject { line, parsed: Some(parsed), service };
        self.filter(&subject)?;
        if let Some(sample) = &self.settings.sample {
            let is_exempt = sample.unless.as_ref().is_some_and(|condition| condition.holds(&subject));
            if !is_exempt && !state.sampler.keeps(sample.keep, parsed.trace_id.as_ref()) {
                return Err(DropReason::Sampled);
            }
        }
        if let Some(window) = self.settings.repeat_window
            && state.repeats.suppresses(parsed, window, now)
        {
            return Err(DropReason::Repeated);
        }
        if let Some(limit) = &self.settings.rate_limit {
            let bucket = if limit.per == LimitPer::Stream { &mut state.bucket } else { shared };
            if !bucket.takes(limit, now) {
                return Err(DropReason::RateLimited);
            }
        }
        Ok(())
    }

    fn filter(&self, subject: &Subject<'_>) -> Verdict {
        let ProcessSettings { drop, keep, .. } = &self.settings;
        // What only looks at the line was asked before parsing.
        let later = drop.iter().filter(|condition| !condition.is_about_line());
        let is_dropped = later.into_iter().any(|condition| condition.holds(subject));
        let is_kept = keep.is_empty() || keep.iter().any(|condition| condition.holds(subject));
        if is_dropped || !is_kept { Err(DropReason::Filtered) } else { Ok(()) }
    }

    fn change_attributes(&self, parsed: &mut ParsedLine) {
        if !self.settings.rename.is_empty() {
            parsed.attributes.rename(|key| self.settings.rename.get(key).map(String::as_str));
        }
        for (key, value) in &self.settings.set {
            parsed.attributes.set(key, value);
        }
    }

    /// How long until a summary is due although nothing comes; `None` when repeats are not suppressed.
    pub(crate) const fn repeat_window(&self) -> Option<Duration> {
        self.settings.repeat_window
    }
}

impl State {
    /// The record that says how often the last one was repeated, if a different record came or its
    /// window ended.
    pub(crate) fn take_summary(&mut self) -> Option<ParsedLine> {
        self.repeats.take_summary()
    }

    /// Whether repetitions were suppressed that no summary tells of yet.
    pub(crate) const fn is_repeating(&self) -> bool {
        self.repeats.is_repeating()
    }

    /// Ends the window of suppressed repetitions when it is over at `now`, or in any case with `None`.
    pub(crate) fn settle(&mut self, window: Duration, now: Option<Duration>) {
        self.repeats.settle(window, now);
    }
}
