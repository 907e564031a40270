//! How far an import has come, on standard error while a person watches.

use std::fmt;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Clock, SystemClock};

use crate::output;

/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(200);

/// Counters that reader and sender share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Progress(Arc<Counters>);

struct Counters {
    bytes: AtomicU64,
    /// Bytes of all files, compressed as they are; 0 when that is not known.
    bytes_all: u64,
    lines: AtomicU64,
    records: AtomicU64,
    shown_at: AtomicU64,
    clock: Arc<dyn Clock>,
    start: Duration,
    is_watched: bool,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("lines", &self.0.lines).finish_non_exhaustive()
    }
}

impl Progress {
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let sizes: Option<Vec<u64>> = files
            .iter()
            .map(|path| {
                std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
            })
            .collect();
        let clock = SystemClock::shared();
        Self(Arc::new(Counters {
            bytes: AtomicU64::new(0),
            bytes_all: sizes.map_or(0, |sizes| sizes.iter().sum()),
            lines: AtomicU64::new(0),
            records: AtomicU64::new(0),
            shown_at: AtomicU64::new(0),
            start: clock.monotonic(),
            clock,
            is_watched: io::stderr().is_terminal(),
        }))
    }

    /// A reader whose bytes are counted.
    pub(super) fn counted<R: Read>(&self, inner: R) -> Counted<R> {
        Counted { inner, progress: self.clone() }
    }

    pub(super) fn line(&self) {
        self.0.lines.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, records: u64) {
        self.0.records.fetch_add(records, Ordering::Relaxed);
        if !self.0.is_watched {
            return;
        }
        let elapsed = self.elapsed();
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let shown_at = self.0.shown_at.load(Ordering::Relaxed);
        if millis.saturating_sub(shown_at) >= INTERVAL.as_millis() as u64 {
            self.0.shown_at.store(millis, Ordering::Relaxed);
            output::progress(&self.text(elapsed));
        }
    }

    /// A line about something bad, above the progress.
    pub(super) fn remark(&self, text: &str) {
        self.end();
        output::remark(text);
    }

    /// Takes the progress off the terminal.
    pub(super) fn end(&self) {
        if self.0.is_watched {
            output::progress("");
        }
    }

    fn elapsed(&self) -> Duration {
        self.0.clock.monotonic().saturating_sub(self.0.start)
    }

    fn text(&self, elapsed: Duration) -> String {
        let (bytes, all) = (self.0.bytes.load(Ordering::Relaxed), self.0.bytes_all);
        let (lines, records) = (self.0.lines.load(Ordering::Relaxed), self.0.records.load(Ordering::Relaxed));
        line(lines, records, (bytes, all), elapsed)
    }
}

fn line(lines: u64, records: u64, (bytes, all): (u64, u64), elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut text = format!("{lines} lines, {records} records, {:.0} records/s", records as f64 / seconds);
    if all > 0 && bytes > 0 {
        let part = bytes as f64 / all as f64;
        let left = seconds * (1.0 / part - 1.0).max(0.0);
        text += &format!(", {:.0} %, {left:.0} s left", part * 100.0);
    }
    text
}

/// Counts what is read through it.
pub(super) struct Counted<R> {
    inner: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.0.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_share_of_bytes() {
        let text = line(10, 1_000, (250, 1_000), Duration::from_secs(5));
        assert_eq!(text, "10 lines, 1000 records, 200 records/s, 25 %, 15 s left");
        let text = line(10, 1_000, (250, 0), Duration::from_secs(5));
        assert_eq!(text, "10 lines, 1000 records, 200 records/s", "the size of standard input is not known");
    }
}
