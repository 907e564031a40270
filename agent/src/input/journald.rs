//! systemd's journal, read with `journalctl --output=json --follow`.
//!
//! The cursor of the last record that is in the spool stands in `journald.cursor`, so that a restart goes on
//! behind it. The very first start notes where the journal ends; an empty file means its beginning. While the spool has no
//! room nothing is read: the journal is the buffer.
//!
//! ```text
//! entries ─► spooled, the note beside them: "journald", cursor before, cursor behind ─► `journald.cursor`
//!                                                                     └ a crash here: the next start finds the note
//! ```
//!
//! Invariants: the cursor is written only after its record was spooled; entries and their note are one record of the spool,
//! whole or not there; a note counts only when the file still says the cursor before it, so an older note never moves it
//! back; the note's segment stays until the file is written; what the spool refused is read again from the cursor before it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use model::dialect::Dialect;
use model::{Severity, Signal, UnixNano};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use super::records::{Entry, Records};
use super::syslog::of_priority;
use crate::config::JournaldSettings;
use crate::process::Chain;
use crate::queue::{Lane, QueueError};
use crate::status::{DropReason, Flow, Shared};
use crate::whole::replace_soon;

/// Bytes of one entry; longer ones are left out and counted.
const ENTRY_BYTES_MAX: u64 = 1 << 20;
/// Where entries wait.
const LANE: Lane = Lane::Signal(Signal::Logs);
const FLUSH: Duration = Duration::from_millis(200);
/// How long until a reader that ended is started again.
const AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Journal {
    settings: JournaldSettings,
    cursor_file: PathBuf,
    records: Records,
    flow: Arc<Flow>,
    /// Of the last record handed to `records`.
    cursor: Option<String>,
    shared: Arc<Shared>,
    /// Behind this entry everything is still to come; empty at the journal's beginning.
    reached: String,
    /// Whether `reached` is known.
    has_begun: bool,
}

/// Reads until `stop`; `folder` holds the cursor.
pub(crate) async fn run(
    settings: JournaldSettings,
    folder: &Path,
    intake: Intake,
    flow: Arc<Flow>,
    stop: CancellationToken,
) {
    let shared = Arc::clone(&intake.shared);
    let records = Records::new(intake, Chain::new(&settings.process()), Dialect::Auto);
    let cursor_file = folder.join("journald.cursor");
    let mut journal = Journal {
        settings,
        cursor_file,
        records,
        flow,
        cursor: None,
        shared: Arc::clone(&shared),
        reached: String::new(),
        has_begun: false,
    };
    while !stop.is_cancelled() {
        if let Err(error) = journal.follow(&stop).await {
            let program = journal.settings.command.display();
            tracing::warn!(%program, %error, "the journal cannot be read; trying on");
            shared.note_problem("journald", Some(format!("`{program}`: {error}")));
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Journal {
    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.settings.command);
        command.args(["--output=json", "--follow", "--quiet", "--all"]);
        command.arg("--lines=all");
        if !self.reached.is_empty() {
            // Not `--after-cursor`: it passes over one entry too many when the filters leave out the entry of the cursor.
            command.arg(format!("--cursor={}", self.reached));
        }
        for unit in &self.settings.units {
            command.arg(format!("--unit={unit}"));
        }
        if let Some(level) = self.settings.min_level {
            command.arg(format!("--priority={}", priority_of(level)));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()
    }

    /// At the very first start: notes where the journal ends, so that what is written from now on is read,
    /// also when no agent runs then.
    async fn begin(&mut self) -> io::Result<()> {
        if self.has_begun {
            return Ok(());
        }
        if self.cursor_file.exists() {
            self.reached = std::fs::read_to_string(&self.cursor_file)?.trim().to_owned();
            if let Some(behind) =
                self.records.queue().last_note(LANE).and_then(|note| behind(&note, &self.reached))
            {
                tracing::info!(
                    "the last run ended before it wrote its place in the journal; the spool has it"
                );
                self.save_cursor(&behind)?;
                self.reached = behind;
            }
            self.has_begun = true;
            return Ok(());
        }
        let mut command = Command::new(&self.settings.command);
        command.args(["--output=json", "--quiet", "--lines=1"]).stdin(Stdio::null()).kill_on_drop(true);
        let answer = command.output().await?;
        if !answer.status.success() {
            let said = String::from_utf8_lossy(&answer.stderr);
            return Err(io::Error::other(said.lines().next().unwrap_or("it failed").to_owned()));
        }
        let last = answer.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
        let fields = last.and_then(|line| serde_json::from_slice::<Map<String, Value>>(line).ok());
        let cursor = fields.as_ref().and_then(|fields| fields.get("__CURSOR")?.as_str());
        self.reached = cursor.unwrap_or_default().to_owned();
        self.save_cursor(&self.reached)?;
        self.has_begun = true;
        Ok(())
    }

    fn save_cursor(&self, cursor: &str) -> io::Result<()> {
        // An older cursor after a power failure doubles a few entries; an empty file would be the journal's beginning.
        replace_soon(&disk::RealFs, &self.cursor_file, |out| out.write_all(cursor.as_bytes()))
    }

    async fn follow(&mut self, stop: &CancellationToken) -> io::Result<()> {
        self.begin().await?;
        let mut child = self.start()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let result = self.read(BufReader::new(output), stop).await;
        child.kill().await.unwrap_or_default();
        // The next one begins behind what was flushed.
        result.and(self.flush())
    }

    async fn read(&mut self, mut output: BufReader<ChildStdout>, stop: &CancellationToken) -> io::Result<()> {
        let mut tick = tokio::time::interval(FLUSH);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut line = Vec::new();
        let began = self.shared.clock.monotonic();
        loop {
            let is_blocked = self.records.is_blocked();
            let mut bounded = (&mut output).take(ENTRY_BYTES_MAX - line.len() as u64);
            tokio::select! {
                read = bounded.read_until(b'\n', &mut line), if !is_blocked => {
                    let is_end = read? == 0;
                    if line.last() == Some(&b'\n') || line.len() as u64 >= ENTRY_BYTES_MAX {
                        self.take(&line);
                        line.clear();
                    } else if is_end {
                        return Err(io::Error::other("the program ended"));
                    }
                    if !self.records.is_full() {
                        continue;
                    }
                }
                _ = tick.tick() => {
                    self.records.settle(&self.flow, false);
                    // A program that fails does so at once.
                    if self.shared.clock.monotonic().saturating_sub(began) >= AGAIN {
                        self.shared.note_problem("journald", None);
                    }
                }
                () = stop.cancelled() => {
                    self.records.settle(&self.flow, true);
                    return Ok(());
                }
            }
            if !is_blocked {
                self.flush()?;
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        let fields = serde_json::from_slice::<Map<String, Value>>(line);
        match fields {
            Ok(fields) if fields.get("__CURSOR").is_some_and(|cursor| *cursor == self.reached) => {}
            Ok(fields) => {
                self.records.push(&entry_of(&fields, line.len()), &self.flow);
                if let Some(cursor) = fields.get("__CURSOR").and_then(Value::as_str) {
                    self.cursor = Some(cursor.to_owned());
                }
            }
            Err(_) => {
                self.flow.entered(1, line.len() as u64);
                self.flow.dropped(DropReason::Malformed, 1);
            }
        }
    }

    /// Spools what waits, then moves the cursor.
    fn flush(&mut self) -> io::Result<()> {
        // Taken whatever comes: what was spooled would be doubled, and what was refused is read again.
        let Some(cursor) = self.cursor.take() else {
            return self.records.flush(&self.flow).map_err(io::Error::other);
        };
        let note = note(&self.reached, &cursor);
        let queue = Arc::clone(self.records.queue());
        let hold = queue.hold(LANE);
        match self.records.flush_with(&self.flow, &note) {
            // It never fits: given up, and counted.
            Err(error @ QueueError::TooLarge { .. }) => tracing::error!(%error, "entries are left out"),
            flushed => flushed.map_err(io::Error::other)?,
        }
        let saved = self.save_cursor(&cursor);
        drop(hold);
        self.reached = cursor;
        saved
    }
}

const SOURCE: &str = "journald";

/// What stands in the spool beside entries: the cursors before and behind them.
fn note(before: &str, behind: &str) -> String {
    format!("{SOURCE}\n{before}\n{behind}")
}

/// The cursor behind the entries of a note, when the one before them is `reached`.
fn behind(note: &str, reached: &str) -> Option<String> {
    let (before, behind) = note.strip_prefix(SOURCE)?.strip_prefix('\n')?.split_once('\n')?;
    (before == reached).then(|| behind.to_owned())
}

/// The syslog priority that a level and all graver ones have.
const fn priority_of(level: Severity) -> u8 {
    match level {
        Severity::Fatal => 2,
        Severity::Error => 3,
        Severity::Warn => 4,
        Severity::Info => 6,
        Severity::Debug | Severity::Trace => 7,
    }
}

/// An entry with OpenTelemetry's names. A field that is no text is an array of bytes.
fn entry_of(fields: &Map<String, Value>, bytes: usize) -> Entry {
    let text = |key: &str| match fields.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(bytes)) => {
            let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => None,
    };
    let unit = text("_SYSTEMD_UNIT");
    let service = unit.as_deref().map(|unit| unit.strip_suffix(".service").unwrap_or(unit).to_owned());
    let service = service.or_else(|| text("SYSLOG_IDENTIFIER")).unwrap_or_else(|| "journald".to_owned());
    let micros = text("__REALTIME_TIMESTAMP").and_then(|micros| micros.parse::<i64>().ok());
    let priority = text("PRIORITY").and_then(|priority| priority.parse::<u8>().ok());
    let attributes = [
        ("systemd.unit", unit),
        ("syslog.appname", text("SYSLOG_IDENTIFIER")),
        ("process.pid", text("_PID")),
        ("process.executable.name", text("_COMM")),
        ("systemd.boot_id", text("_BOOT_ID")),
    ];
    Entry {
        sender: service.clone(),
        service,
        time: micros.map(|micros| UnixNano(micros.saturating_mul(1000))),
        severity: priority.map_or((0, ""), of_priority),
        text: text("MESSAGE").unwrap_or_default(),
        attributes: attributes
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key.to_owned(), value)))
            .collect(),
        bytes: bytes as u64,
    }
}

#[cfg(test)]
mod tests {
    use disk::RealFs;
    use model::SystemClock;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::config::{Durability, WhenFull};
    use crate::queue::{Limits, Queue};

    /// A reader whose spool holds `bytes_max`, behind the entry `s=0`.
    fn journal(folder: &TempDir, bytes_max: u64) -> Journal {
        let when_full = [WhenFull::Block; 3];
        let limits = Limits { bytes_max, durability: Durability::Process, when_full };
        let clock = SystemClock::shared();
        let shared = Shared::new("id".to_owned(), "test".to_owned(), Vec::new(), Arc::clone(&clock));
        let queue =
            Queue::open(Arc::new(RealFs), &folder.path().join("spool"), limits, clock).expect("opened");
        let intake = Intake {
            queue: Arc::new(queue),
            shared: Arc::clone(&shared),
            resource: Vec::new(),
            source: SOURCE.into(),
        };
        let settings: JournaldSettings = toml::from_str("").expect("valid");
        Journal {
            records: Records::new(intake, Chain::new(&settings.process()), Dialect::Auto),
            settings,
            cursor_file: folder.path().join("journald.cursor"),
            flow: Arc::default(),
            cursor: None,
            shared,
            reached: "s=0".to_owned(),
            has_begun: true,
        }
    }

    fn entry(number: usize, message: &str) -> Vec<u8> {
        let unit = format!("unit-{number}.service");
        let fields = json!({ "__CURSOR": format!("s={number}"), "_SYSTEMD_UNIT": unit, "MESSAGE": message });
        fields.to_string().into_bytes()
    }

    /// Twelve values of 64 KiB that do not compress well.
    fn long_message() -> String {
        let mut state = 1_u64;
        let mut letters = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + (state >> 40) as u8 % 26)
        });
        let mut value = || letters.by_ref().take(64 << 10).collect::<String>();
        let fields: Map<String, Value> = (0..12).map(|at| (format!("k{at}"), value().into())).collect();
        Value::from(fields).to_string()
    }

    #[test]
    fn entries_of_more_than_a_mebibyte_and_their_note_are_one_record_of_the_spool() {
        let folder = tempfile::tempdir().expect("folder");
        let mut journal = journal(&folder, 64 << 20);
        for number in 1..=8 {
            journal.take(&entry(number, &"x".repeat(30 << 10)));
        }
        assert!(!journal.records.is_full(), "they wait");
        let long = entry(9, &long_message());
        assert!((700 << 10..ENTRY_BYTES_MAX as usize).contains(&long.len()), "{}", long.len());
        journal.take(&long);
        journal.flush().expect("room");
        let spooled = journal.records.queue().take(LANE, usize::MAX).expect("read");
        assert!(spooled[0].raw_bytes > 1 << 20, "{}", spooled[0].raw_bytes);
        assert_eq!((spooled.len(), spooled[0].items), (1, 9));
        assert_eq!(behind(&spooled[0].note, "s=0").as_deref(), Some("s=9"));
        assert_eq!(std::fs::read_to_string(&journal.cursor_file).expect("written"), "s=9");
    }

    #[test]
    fn what_the_spool_refuses_is_read_again_and_no_loss() {
        let folder = tempfile::tempdir().expect("folder");
        let mut journal = journal(&folder, 1 << 20);
        let refused = (1..100).find(|number| {
            journal.take(&entry(*number, &long_message()));
            journal.flush().is_err()
        });
        let refused = refused.expect("the spool is full before long");
        let reached = format!("s={}", refused - 1);
        assert_eq!(journal.reached, reached);
        // Nothing waits, and nothing moves the cursor over what was refused.
        journal.flush().expect("nothing to do");
        assert_eq!(std::fs::read_to_string(&journal.cursor_file).expect("written"), reached);
        let counts = journal.flow.snapshot(SOURCE, Signal::Logs);
        assert!(counts.is_conserved() && counts.dropped_records() == 0, "{counts:?}");
        assert_eq!(counts.input_records, refused as u64 - 1);
    }

    #[test]
    fn what_never_fits_into_the_spool_is_left_out_counted_and_not_tried_again() {
        let folder = tempfile::tempdir().expect("folder");
        let mut journal = journal(&folder, 500 << 10);
        journal.take(&entry(1, &long_message()));
        journal.flush().expect("left out");
        assert_eq!(journal.reached, "s=1");
        let counts = journal.flow.snapshot(SOURCE, Signal::Logs);
        assert!(counts.is_conserved() && counts.dropped_records() == 1, "{counts:?}");
    }

    #[test]
    fn a_note_counts_only_where_the_file_was_not_written_after_it() {
        let note = note("s=1", "s=2");
        assert_eq!(behind(&note, "s=1").as_deref(), Some("s=2"));
        assert_eq!(behind(&note, "s=2"), None);
        assert_eq!(
            behind(&super::note("", "s=2"), "").as_deref(),
            Some("s=2"),
            "from the journal's beginning"
        );
        assert_eq!(behind("other\ns=1\ns=2", "s=1"), None);
    }

    #[test]
    fn an_entry_of_the_journal_is_a_record_of_its_unit() {
        let json = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795521600000000","PRIORITY":"3",
            "_SYSTEMD_UNIT":"billing.service","_PID":"7","MESSAGE":[104,105,255]}"#;
        let fields: Map<String, Value> = serde_json::from_str(json).expect("JSON");
        let entry = entry_of(&fields, 10);
        assert_eq!((entry.service.as_str(), entry.text.as_str()), ("billing", "hi\u{fffd}"));
        assert_eq!(entry.severity, (17, "err"));
        assert_eq!(entry.time, Some(UnixNano(1_795_521_600_000_000_000)));
        assert!(entry.attributes.contains(&("process.pid".to_owned(), "7".to_owned())));
    }
}
