//! `silmari store verify` and `silmari store fsck`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use model::IdRules;
use serde_json::json;
use storage::inspect::{Access, Finding, Inspector, Repaired, Severity, Verification};

use super::{FolderArgs, FsckArgs, failure, open, size};
use crate::exit::Failure;
use crate::output;

pub(super) async fn verify(folder: FolderArgs) -> Result<(), Failure> {
    let inspector = open(&folder, Access::Shared).await?;
    let found = read(&inspector)?;
    match folder.json {
        true => output::json(&found)?,
        false => output::text(&(findings(&found.findings, false) + &summary(&found)))?,
    }
    verdict(found.defects(), "`silmari store fsck` says what can be done")
}

pub(super) async fn fsck(arguments: FsckArgs) -> Result<(), Failure> {
    let access = if arguments.repair { Access::Exclusive } else { Access::Shared };
    let inspector = open(&arguments.folder, access).await?;
    let found = read(&inspector)?;
    let repaired = match arguments.repair {
        true => inspector.repair(&found.findings).await.map_err(failure)?,
        false => Vec::new(),
    };
    match arguments.folder.json {
        true => output::json(&json!({ "verification": found, "repaired": repaired }))?,
        false => output::text(&(findings(&found.findings, true) + &actions(&repaired) + &summary(&found)))?,
    }
    if !arguments.repair {
        return verdict(found.defects(), "`--repair` does what stands behind the arrows");
    }
    drop(inspector);
    let left = read(&open(&arguments.folder, Access::Shared).await?)?;
    verdict(left.defects(), "they need a person: see `silmari store verify`")
}

fn read(inspector: &Inspector) -> Result<Verification, Failure> {
    let is_watched = std::io::stderr().is_terminal();
    let mut progress = |at: usize, of: usize| {
        if is_watched {
            output::progress(&format!("segment {at} of {of}"));
        }
    };
    let found = inspector.verify(&IdRules::default(), &mut progress).map_err(failure)?;
    if is_watched {
        output::progress("");
    }
    Ok(found)
}

fn verdict(defects: usize, hint: &str) -> Result<(), Failure> {
    match defects {
        0 => Ok(()),
        1 => Err(Failure::runtime(format!("1 defect; {hint}"))),
        count => Err(Failure::runtime(format!("{count} defects; {hint}"))),
    }
}

fn findings(findings: &[Finding], with_remedy: bool) -> String {
    let mut out = String::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Defect => "defect",
            Severity::Note => "note  ",
        };
        let place = finding.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        writeln!(out, "{severity}  {}{place}: {}", finding.path, finding.problem).unwrap_or_default();
        if with_remedy {
            writeln!(out, "        → {}", finding.remedy).unwrap_or_default();
        }
    }
    out
}

fn actions(repaired: &[Repaired]) -> String {
    let mut out = String::new();
    for done in repaired {
        writeln!(out, "done    {}: {}, kept in {}", done.path, done.action, done.kept_in).unwrap_or_default();
    }
    out
}

fn summary(found: &Verification) -> String {
    format!(
        "read {} segments ({} rows, {}), {} postings and {} sampled ids of identity indexes, {} WAL files ({} records)\n",
        found.segments,
        found.rows,
        size(found.bytes),
        found.postings,
        found.ids_looked_up,
        found.wal_files,
        found.wal_records
    )
}
