//! Repeat suppression: the same record again is counted, then one record says how often it came.
//!
//! Two records are the same when level, body and attributes are, whatever their times. Invariant: a
//! summary is made for every run of suppressed records, when another record comes or the window ends.

use std::time::Duration;

use model::dialect::ParsedLine;
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes of the repeated body in a summary.
const QUOTED_BYTES: usize = 200;
/// Attribute of a summary: how many records it stands for.
pub(crate) const REPEATED: &str = "silmari.repeated";

/// The last record of a stream and how often it came again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats {
    last: Option<u64>,
    since: Duration,
    count: u64,
    /// The repeated record, kept from its first repetition on.
    repeated: Option<ParsedLine>,
    summary: Option<ParsedLine>,
}

impl Repeats {
    /// Whether the record is the last one again, within `window` of its first appearance.
    pub(crate) fn suppresses(&mut self, parsed: &ParsedLine, window: Duration, now: Duration) -> bool {
        let key = key_of(parsed);
        if self.last == Some(key) && now.saturating_sub(self.since) < window {
            self.count += 1;
            let kept = self.repeated.get_or_insert_with(|| parsed.clone());
            kept.time = parsed.time;
            return true;
        }
        self.finish();
        self.last = Some(key);
        self.since = now;
        false
    }

    /// Makes the summary when the window is over at `now`, or in any case with `None`.
    pub(crate) fn settle(&mut self, window: Duration, now: Option<Duration>) {
        let is_over = now.is_none_or(|now| now.saturating_sub(self.since) >= window);
        if is_over {
            self.finish();
        }
    }

    /// Whether repetitions were suppressed that no summary tells of yet.
    pub(crate) const fn is_repeating(&self) -> bool {
        self.count > 0
    }

    /// The summary that waits, if any.
    pub(crate) const fn take_summary(&mut self) -> Option<ParsedLine> {
        self.summary.take()
    }

    fn finish(&mut self) {
        let count = std::mem::take(&mut self.count);
        if let Some(mut record) = self.repeated.take() {
            let body = &record.body[..record.body.floor_char_boundary(QUOTED_BYTES)];
            record.body = match count {
                1 => format!("last line repeated once: {body}"),
                _ => format!("last line repeated {count} times: {body}"),
            };
            record.attributes.clear();
            record.attributes.set(REPEATED, &count.to_string());
            self.summary = Some(record);
            self.last = None;
        }
    }
}

fn key_of(parsed: &ParsedLine) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(&parsed.severity_number.to_le_bytes());
    hash.update(parsed.body.as_bytes());
    for (key, value) in parsed.attributes.iter() {
        for part in [key, value] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.digest()
}
