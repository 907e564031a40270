//! What a table would make of lines: the stages of a file input without files, for `silmari-agent test`.

use std::borrow::Cow;
use std::time::Duration;

use model::Clock;
use model::dialect::{Dialect, ParsedLine, parse_line};

use crate::config::{FileSettings, Format};
use crate::input::file::container::{self, Origin};
use crate::process::join::{JOINED_BYTES_MAX, Joined, Joiner};
use crate::process::limit::Bucket;
use crate::process::{Chain, State};
use crate::status::DropReason;

/// What became of a line or of several joined.
#[derive(Clone, Debug)]
pub enum Shown {
    /// It would be sent like this.
    Record(Box<ParsedLine>),
    /// It would not be sent.
    Dropped(DropReason),
}

/// What a line costs in every stage.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Lines that were run.
    pub lines: usize,
    /// Name of the stage and nanoseconds a line.
    pub stages: Vec<(&'static str, f64)>,
}

/// The stages of one table.
#[derive(Debug)]
pub struct Preview {
    dialect: Dialect,
    service: String,
    chain: Chain,
    format: Format,
    /// The parts so far of a line that a container runtime cut.
    open: Option<(Vec<u8>, Origin)>,
    joiner: Option<Joiner<Origin>>,
    state: State,
    bucket: Bucket,
}

impl Preview {
    /// Of a dialect alone.
    pub fn of_dialect(dialect: Dialect) -> Self {
        Self {
            dialect,
            service: String::new(),
            chain: Chain::default(),
            format: Format::Auto,
            open: None,
            joiner: None,
            state: State::default(),
            bucket: Bucket::default(),
        }
    }

    /// Of a `[files.NAME]` table.
    pub fn of_files(settings: &FileSettings) -> Self {
        let process = settings.process();
        Self {
            service: settings.service.clone().unwrap_or_default(),
            format: settings.format,
            joiner: Joiner::new(&process.multiline),
            chain: Chain::new(&process),
            ..Self::of_dialect(settings.dialect)
        }
    }

    /// Takes a line; what it finishes. `now` is monotonic.
    pub fn line(&mut self, line: &[u8], now: Duration) -> Vec<Shown> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let unwrapped = container::unwrap(self.format, line);
        let (text, origin) = match self.open.take() {
            None => (unwrapped.text, unwrapped.origin),
            Some((mut text, origin)) => {
                text.extend_from_slice(&unwrapped.text);
                (Cow::Owned(text), origin)
            }
        };
        if unwrapped.is_part && text.len() < JOINED_BYTES_MAX {
            self.open = Some((text.into_owned(), origin));
            return Vec::new();
        }
        self.whole(&text, origin, now)
    }

    /// Takes a line without what a container runtime put around it.
    fn whole(&mut self, line: &[u8], origin: Origin, now: Duration) -> Vec<Shown> {
        let mut finished = Vec::new();
        match &mut self.joiner {
            Some(joiner) => joiner.push(line, origin, now, &mut |joined: Joined<'_, Origin>| {
                finished.push((joined.bytes.to_vec(), *joined.origin));
            }),
            None => return self.record(line, origin, now),
        }
        self.records(finished, now)
    }

    /// What the end of the lines finishes.
    pub fn end(&mut self, now: Duration) -> Vec<Shown> {
        let mut all = match self.open.take() {
            Some((text, origin)) => self.whole(&text, origin, now),
            None => Vec::new(),
        };
        let mut finished = Vec::new();
        if let Some(joiner) = &mut self.joiner {
            joiner.flush(&mut |joined: Joined<'_, Origin>| {
                finished.push((joined.bytes.to_vec(), *joined.origin));
            });
        }
        all.extend(self.records(finished, now));
        if let Some(window) = self.chain.repeat_window() {
            self.state.settle(window, None);
        }
        all.extend(self.state.take_summary().map(|summary| Shown::Record(Box::new(summary))));
        all
    }

    fn records(&mut self, finished: Vec<(Vec<u8>, Origin)>, now: Duration) -> Vec<Shown> {
        finished.into_iter().flat_map(|(bytes, origin)| self.record(&bytes, origin, now)).collect()
    }

    fn record(&mut self, bytes: &[u8], origin: Origin, now: Duration) -> Vec<Shown> {
        let text = String::from_utf8_lossy(bytes);
        if text.trim_ascii().is_empty() {
            return vec![Shown::Dropped(DropReason::Blank)];
        }
        let text = match self.chain.on_line(text) {
            Ok(text) => text,
            Err(reason) => return vec![Shown::Dropped(reason)],
        };
        let mut parsed = ParsedLine::default();
        let (first, rest) = text.split_once('\n').unwrap_or((&*text, ""));
        parse_line(self.dialect, first, &mut parsed);
        if !rest.is_empty() {
            parsed.body.push('\n');
            parsed.body.push_str(rest);
        }
        parsed.time = parsed.time.or(origin.time);
        if let Some(iostream) = origin.iostream {
            parsed.attributes.set("log.iostream", iostream.name());
        }
        let service = parsed.named_service().unwrap_or(&self.service).to_owned();
        let verdict =
            self.chain.on_record(&text, &mut parsed, &service, &mut self.state, &mut self.bucket, now);
        let summary = self.state.take_summary().map(|summary| Shown::Record(Box::new(summary)));
        let shown = match verdict {
            Ok(()) => Shown::Record(Box::new(parsed)),
            Err(reason) => Shown::Dropped(reason),
        };
        summary.into_iter().chain([shown]).collect()
    }

    /// Runs the lines of `bytes` through every stage by itself, then through all of them.
    pub fn bench(&mut self, bytes: &[u8], clock: &dyn Clock) -> Costs {
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let texts: Vec<Cow<'_, str>> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        let mut stages = Vec::new();
        let mut measure = |name: &'static str, run: &mut dyn FnMut()| {
            let began = clock.monotonic();
            run();
            let took = clock.monotonic().saturating_sub(began);
            stages.push((name, took.as_nanos() as f64 / lines.len().max(1) as f64));
        };
        if let Some(joiner) = &mut self.joiner {
            measure("join", &mut || {
                for line in &lines {
                    joiner.push(line, Origin::default(), Duration::ZERO, &mut |_| {});
                }
                joiner.flush(&mut |_| {});
            });
        }
        let chain = &self.chain;
        measure("redact", &mut || {
            for text in &texts {
                std::hint::black_box(chain.hide(Cow::Borrowed(&text[..])));
            }
        });
        let (dialect, mut parsed) = (self.dialect, ParsedLine::default());
        measure("parse", &mut || texts.iter().for_each(|text| parse_line(dialect, text, &mut parsed)));
        measure("all", &mut || {
            for line in &lines {
                std::hint::black_box(self.line(line, clock.monotonic()));
            }
        });
        Costs { lines: lines.len(), stages }
    }
}
