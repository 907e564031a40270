//! Which records arrived: every one carries a number of its own, so that a loss, a double and a record
//! that was cut in two are told apart.
//!
//! A number stands in the attribute `seq` (JSON lines), behind `seq=` at the beginning of the body, which then
//! ends in `.` (plain lines), or is the span id.

use std::fmt;

use anyhow::{Context as _, ensure};
use model::otlp;
use model::otlp::logs::LogRecordView;
use model::otlp::value::{self, AnyValue};
use model::wire::Repeated;

/// What arrived so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    seen: Vec<u64>,
    pub(crate) distinct: u64,
    pub(crate) duplicates: u64,
    /// Records without a whole number, or with a body that does not end as it should.
    pub(crate) broken: u64,
    pub(crate) requests: u64,
    /// Bytes of all requests on the wire, and unpacked.
    pub(crate) wire_bytes: u64,
    pub(crate) raw_bytes: u64,
    /// The text of the first broken record.
    pub(crate) example: Option<String>,
}

impl Tally {
    /// Takes an export request; `path` says of what.
    pub(crate) fn take(&mut self, path: &str, request: &[u8]) -> anyhow::Result<()> {
        self.requests += 1;
        self.raw_bytes += request.len() as u64;
        if path == "/insert/native" {
            self.take_native(request);
            return Ok(());
        }
        let is_logs = path.ends_with("logs");
        for group in otlp::resources(request).context("the request is no protobuf")? {
            for scope in group?.scopes() {
                for item in scope?.items() {
                    let number = if is_logs { number_of_log(item)? } else { number_of_span(item) };
                    self.count(number, item);
                }
            }
        }
        Ok(())
    }

    /// Takes records in VictoriaLogs' own format, in which names and values stand as they are: a number is behind
    /// `seq=` in a message, or behind the name `seq` and the length of its value. A record that was cut in two
    /// is not seen here.
    fn take_native(&mut self, request: &[u8]) {
        for at in memchr::memmem::find_iter(request, "seq") {
            let rest = &request[at + 3..];
            if let Some(digits) = rest.strip_prefix(b"=").or_else(|| rest.strip_prefix(b"\x09")) {
                let digits = digits.get(..9).and_then(|digits| std::str::from_utf8(digits).ok());
                let number = digits.and_then(|digits| digits.parse().ok());
                self.count(number, digits.unwrap_or_default().as_bytes());
            }
        }
    }

    /// Notes a request that could not be read.
    pub(crate) fn fail(&mut self, error: &dyn std::error::Error) {
        self.broken += 1;
        self.example.get_or_insert_with(|| error.to_string());
    }

    fn count(&mut self, number: Option<u64>, item: &[u8]) {
        let Some(number) = number else {
            self.broken += 1;
            self.example.get_or_insert_with(|| String::from_utf8_lossy(item).into_owned());
            return;
        };
        let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1024, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.distinct += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// Whether each of `expected` records arrived once.
    pub(crate) fn check(&self, expected: u64) -> anyhow::Result<()> {
        ensure!(
            self.distinct == expected && self.duplicates == 0 && self.broken == 0,
            "{expected} records were sent: {self}; the first broken one: {:?}",
            self.example
        );
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distinct, duplicates, broken, .. } = self;
        write!(f, "{distinct} arrived, {duplicates} of them again, {broken} broken")
    }
}

fn number_of_log(item: &[u8]) -> anyhow::Result<Option<u64>> {
    let record = LogRecordView::parse(item)?;
    if let Some(AnyValue::Str(number)) = value::find(record.attributes, "seq") {
        return Ok(number.parse().ok());
    }
    let AnyValue::Str(body) = record.body else { return Ok(None) };
    let number = body.strip_prefix("seq=").filter(|_| body.ends_with('.')).and_then(|rest| rest.get(..9));
    Ok(number.and_then(|number| number.parse().ok()))
}

fn number_of_span(item: &[u8]) -> Option<u64> {
    let id = Repeated::new(item, 2).iter().next()?;
    id.try_into().ok().map(u64::from_be_bytes).and_then(|number| number.checked_sub(1))
}
