//! `silmari store dump-wal`: one line a record.

use std::ops::ControlFlow;

use storage::inspect::{Access, WalRecord};

use super::{FolderArgs, failure, open};
use crate::exit::Failure;
use crate::output;

pub(super) async fn run(folder: FolderArgs) -> Result<(), Failure> {
    let inspector = open(&folder, Access::Shared).await?;
    let mut failed = None;
    let mut damaged = 0_u64;
    if !folder.json {
        output::text(&format!("{HEADING}\n"))?;
    }
    inspector
        .each_wal_record(&mut |record| {
            damaged += u64::from(!record.is_crc_ok);
            let written = match folder.json {
                true => output::json_line(&record),
                false => output::text(&line(&record)),
            };
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    failed = Some(failure);
                    ControlFlow::Break(())
                }
            }
        })
        .map_err(failure)?;
    match failed {
        Some(failure) => Err(failure),
        None if damaged > 0 => {
            Err(Failure::runtime(format!("{damaged} records are damaged: see `silmari store verify`")))
        }
        None => Ok(()),
    }
}

const HEADING: &str =
    "sequence  signal   compr.    received at                     bytes     crc  records  first service";

fn line(record: &WalRecord) -> String {
    let records = record.records.map_or_else(String::new, |count| count.to_string());
    let about = record.first_service.as_deref().or(record.problem.as_deref()).unwrap_or_default();
    // What a sender wrote must not reach a terminal raw.
    let about: String = about.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    let mut line = format!(
        "{:<8}  {:<7}  {:<8}  {}  {:>8}  {:<3}  {records:>7}  {about}",
        record.sequence,
        record.signal,
        record.compression,
        record.received_at,
        record.bytes,
        if record.is_crc_ok { "ok" } else { "BAD" },
    );
    if record.is_in_segments {
        line += "  (in segments)";
    }
    line + "\n"
}
