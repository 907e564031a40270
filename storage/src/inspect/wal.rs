//! `store dump-wal`, and what can be wrong with the log.

use std::ops::ControlFlow;

use model::otlp;
use model::{IdRules, Signal, UnixNano};
use serde::Serialize;

use super::repair::Repair;
use super::verify::Verification;
use super::{Finding, Inspector, Severity};
use crate::decode;
use crate::error::Error;
use crate::frame::{Compression, decompress};
use crate::wal::walk::{Hole, Walked, WalkedRecord};

/// Bytes a payload may have after decompression to be looked into. Replay's own limit is as high.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// A record of the log, for people and tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WalRecord {
    /// The file it is in.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// Its place in the order of all records.
    pub sequence: u64,
    /// `traces`, `logs` or `metrics`; a number for what this program does not know.
    pub signal: String,
    /// `identity`, `gzip` or `zstd`; a number for what this program does not know.
    pub compression: String,
    /// When the request arrived.
    pub received_at: UnixNano,
    /// Bytes of the payload, compressed as it was sent.
    pub bytes: u64,
    /// Whether the checksum of the body holds.
    pub is_crc_ok: bool,
    /// Whether it is the first of a group commit.
    pub is_group_start: bool,
    /// Whether its rows are in segments: a start skips it.
    pub is_in_segments: bool,
    /// `service.name` of its first resource.
    pub first_service: Option<String>,
    /// Spans, log records or metrics in it.
    pub records: Option<u64>,
    /// Why it could not be looked into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Inspector {
    /// Gives every record of the log to `each`, in order, those with a damaged body too. Blocking.
    ///
    /// # Errors
    /// When the log cannot be listed.
    pub fn each_wal_record(&self, each: &mut dyn FnMut(WalRecord) -> ControlFlow<()>) -> Result<(), Error> {
        self.wal().walk(&mut |walked| match walked {
            Walked::Record(record) => each(self.described(&record)),
            Walked::File(_) | Walked::Hole(_) | Walked::Unreadable(..) => ControlFlow::Continue(()),
        })
    }

    fn described(&self, record: &WalkedRecord<'_>) -> WalRecord {
        let signal = Signal::from_code(record.signal);
        let compression = Compression::from_code(record.compression);
        let mut described = WalRecord {
            file: record.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            offset: record.offset,
            sequence: record.sequence,
            signal: signal.map_or_else(|| record.signal.to_string(), |signal| signal.name().to_owned()),
            compression: compression
                .map_or_else(|| record.compression.to_string(), |known| compression_name(known).to_owned()),
            received_at: record.received_at,
            bytes: u64::from(record.payload_bytes),
            is_crc_ok: record.is_crc_ok,
            is_group_start: record.is_group_start,
            is_in_segments: record.sequence <= self.wal_sequence,
            first_service: None,
            records: None,
            problem: None,
        };
        if !record.is_crc_ok {
            described.problem = Some("the checksum of the body does not hold".to_owned());
            return described;
        }
        match plain(record) {
            Ok((_, request)) => {
                described.records = Some(otlp::count_items(&request) as u64);
                described.first_service = first_service(&request);
            }
            Err(problem) => described.problem = Some(problem),
        }
        described
    }

    /// Checks every record and every hole of the log.
    pub(super) fn verify_wal(&self, ids: &IdRules, found: &mut Verification) -> Result<(), Error> {
        self.wal().walk(&mut |walked| {
            match walked {
                Walked::File(file) => {
                    found.wal_files += 1;
                    found.wal_bytes += file.bytes;
                    if !file.has_header {
                        let problem = "the header of the file cannot be read".to_owned();
                        let remedy = "its records are found without it: a start replays them";
                        found.findings.push(self.wal_finding(file.path, None, problem, remedy, Repair::None));
                    }
                }
                Walked::Record(record) => {
                    found.wal_records += u64::from(record.is_crc_ok);
                    found.findings.extend(self.verify_record(ids, &record));
                }
                Walked::Hole(hole) => found.findings.push(self.hole(&hole)),
                Walked::Unreadable(path, error) => {
                    let remedy = "nothing is touched: mend the disk or its permissions";
                    found.findings.push(self.wal_finding(
                        path,
                        None,
                        error.to_string(),
                        remedy,
                        Repair::None,
                    ));
                }
            }
            ControlFlow::Continue(())
        })
    }

    fn verify_record(&self, ids: &IdRules, record: &WalkedRecord<'_>) -> Option<Finding> {
        // A damaged body is part of a hole, which is found behind it.
        if !record.is_crc_ok {
            return None;
        }
        let decoded = plain(record).and_then(|(signal, request)| {
            decode::decode(signal, &request, ids, record.received_at, usize::MAX)
                .map_err(|error| error.to_string())
        });
        let problem = format!("record {}: {}", record.sequence, decoded.err()?);
        let place = Some(format!("byte {}", record.offset));
        let remedy = "a start keeps its payload in quarantine/ and goes on";
        let mut finding = self.wal_finding(record.path, place, problem, remedy, Repair::None);
        if record.sequence <= self.wal_sequence {
            finding.severity = Severity::Note;
        }
        Some(finding)
    }

    fn hole(&self, hole: &Hole<'_>) -> Finding {
        let place = Some(format!("bytes {}..{}", hole.range.start, hole.range.end));
        let problem = match (hole.has_unreadable, hole.is_torn_tail) {
            (true, _) => "the disk cannot read these bytes",
            (false, true) => "an unfinished write at the end of the log, which was never acknowledged",
            (false, false) => "no record with valid checksums",
        };
        let (remedy, repair) = match (hole.is_kept, hole.is_torn_tail) {
            (true, _) => ("a copy is in wal/quarantine; a start steps over it", Repair::None),
            (false, true) => ("the next start cuts it off", Repair::None),
            (false, false) => (
                "copy it to wal/quarantine; a start steps over it",
                Repair::WalRange { path: hole.path.to_owned(), range: hole.range.clone() },
            ),
        };
        let mut finding = self.wal_finding(hole.path, place, problem.to_owned(), remedy, repair);
        if (hole.is_torn_tail || hole.is_kept) && !hole.has_unreadable {
            finding.severity = Severity::Note;
        }
        finding
    }

    fn wal_finding(
        &self,
        path: &std::path::Path,
        place: Option<String>,
        problem: String,
        remedy: &str,
        repair: Repair,
    ) -> Finding {
        let path = self.relative(path);
        Finding { severity: Severity::Defect, path, place, problem, remedy: remedy.to_owned(), repair }
    }
}

/// The request in a record, without its compression.
fn plain(record: &WalkedRecord<'_>) -> Result<(Signal, Vec<u8>), String> {
    let signal =
        Signal::from_code(record.signal).ok_or_else(|| format!("unknown signal {}", record.signal))?;
    let compression = Compression::from_code(record.compression)
        .ok_or_else(|| format!("unknown compression {}", record.compression))?;
    let request = decompress(compression, record.payload, PAYLOAD_BYTES_MAX);
    Ok((signal, request.map_err(|error| error.to_string())?.into_owned()))
}

fn first_service(request: &[u8]) -> Option<String> {
    let resource = otlp::resources(request).ok()?.next()?.ok()?;
    let name = otlp::value::find(resource.resource, "service.name")?;
    name.as_str().map(str::to_owned)
}

const fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::Identity => "identity",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}
