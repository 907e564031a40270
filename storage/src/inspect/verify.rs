//! `store verify`: everything is read again and compared.

use std::collections::HashSet;

use model::{IdRules, Signal};
use serde::Serialize;

use super::repair::Repair;
use super::{Finding, Inspector, Severity};
use crate::error::{Context as _, Error, ErrorKind};
use crate::segment::home::{self, Listed};

/// What a verification read and found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// Segments that were read.
    pub segments: u64,
    /// Rows that were decoded.
    pub rows: u64,
    /// Bytes of the segments' files.
    pub bytes: u64,
    /// Postings of identity indexes that were checked.
    pub postings: u64,
    /// Ids of sampled rows that were looked up in identity indexes.
    pub ids_looked_up: u64,
    /// Files of the log.
    pub wal_files: u64,
    /// Bytes of them.
    pub wal_bytes: u64,
    /// Records of the log whose checksums hold.
    pub wal_records: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

impl Verification {
    /// Findings that mean loss or wrong answers.
    pub fn defects(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Defect).count()
    }
}

impl Inspector {
    /// Reads every segment, identity index and log file. `ids` are the rules that log records are decoded
    /// with; `progress` hears of every segment before it is read, with its number and how many there are.
    /// Blocking, for as long as the disk takes.
    ///
    /// # Errors
    /// When the log or an object store cannot be listed. What is damaged is a finding.
    pub fn verify(
        &self,
        ids: &IdRules,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Verification, Error> {
        let mut found = Verification::default();
        found.findings.extend(self.catalog_problems.iter().map(|problem| Finding {
            severity: Severity::Defect,
            path: "catalog.sqlite".to_owned(),
            place: None,
            problem: problem.clone(),
            remedy: "restore the file from a copy; the segments are not touched".to_owned(),
            repair: Repair::None,
        }));
        for (at, meta) in self.segments.iter().enumerate() {
            progress(at + 1, self.segments.len());
            self.verify_segment(meta, &mut found);
        }
        self.leftovers(&mut found)?;
        self.verify_wal(ids, &mut found)?;
        found.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(found)
    }

    /// Folders that the catalog does not name.
    fn leftovers(&self, found: &mut Verification) -> Result<(), Error> {
        for signal in Signal::ALL {
            let names = self.segments.iter().filter(|meta| meta.signal == signal);
            let live: HashSet<&str> = names.map(|meta| meta.name.as_str()).collect();
            let listed = home::list(&self.folder, signal);
            for listed in listed.context(ErrorKind::Retry, || "listing segments".to_owned())? {
                if !live.contains(listed.name.as_str()) {
                    found.findings.push(leftover(&listed));
                }
            }
        }
        Ok(())
    }
}

fn leftover(listed: &Listed) -> Finding {
    let (problem, remedy, repair) = match listed.is_unfinished() {
        true => ("a segment that was never finished", "removed when the store opens", Repair::None),
        false => (
            "a folder that the catalog does not name; nobody reads it",
            "move it to quarantine/; a start removes it, unless the catalog names no segment at all",
            listed.meta().map_or(Repair::None, Repair::Leftover),
        ),
    };
    Finding {
        severity: Severity::Note,
        path: listed.shown(),
        place: None,
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
        repair,
    }
}
