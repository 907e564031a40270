//! Configuration files of services, reported: their content, with secrets hidden, as a log record at the
//! start and whenever it changes. "What was changed before it broke?" is a search away.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Signal;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

use super::intake::{Incoming, Intake};
use crate::config::ReportSettings;
use crate::config::process::RedactPreset;
use model::redact::Redactor;

/// Bytes of a file that are reported.
const FILE_BYTES_MAX: u64 = 128 << 10;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Looks until `stop`.
pub(crate) async fn run(name: String, settings: ReportSettings, intake: Intake, stop: CancellationToken) {
    let redactor = Redactor::new(&[RedactPreset::Default], &[]).expect("the preset holds rules");
    let service = settings.service.clone().unwrap_or(name);
    let mut seen: HashMap<PathBuf, u64> = HashMap::new();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        for path in &settings.files {
            let Ok(text) = read(path) else { continue };
            let hash = xxh3_64(text.as_bytes());
            if seen.get(path) == Some(&hash) {
                continue;
            }
            let is_change = seen.contains_key(path);
            match report(&intake, &service, path, &redactor.redact(Cow::Borrowed(&text)), is_change) {
                Ok(()) => drop(seen.insert(path.clone(), hash)),
                Err(error) => tracing::warn!(%error, "a report found no room in the spool; trying on"),
            }
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn report(
    intake: &Intake,
    service: &str,
    path: &Path,
    text: &str,
    is_change: bool,
) -> Result<(), crate::queue::QueueError> {
    let mut writer = LogsWriter::new(intake.resource_of(service));
    let now = intake.shared.clock.now();
    let parts = LogRecordParts {
        time: now,
        observed_time: now,
        severity_number: model::Severity::Info.number(),
        severity_text: "INFO",
        body: text,
        ..LogRecordParts::default()
    };
    let what = if is_change { "config.changed" } else { "config.reported" };
    let path = path.to_string_lossy();
    // By this attribute the id kind `config_change` finds changes of a service without reading its log.
    let changed = is_change.then_some(("config.service", service));
    writer.push(&parts, [("event.name", what), ("file.path", &path)].into_iter().chain(changed));
    let request = writer.finish();
    intake.put(Incoming {
        signal: Signal::Logs,
        request: &request,
        items: 1,
        raw_bytes: text.len() as u64,
        note: "",
    })
}
