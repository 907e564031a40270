//! The binary on disk.

use std::process::Command;

use anyhow::ensure;

use super::Place;
use crate::options::Options;
use bench_table::{Table, mib};

pub(super) fn run(options: &Options) -> anyhow::Result<Table> {
    let place = Place::new(options)?;
    let stripped = place.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(&options.agent).status()?;
    ensure!(status.success(), "`strip` (binutils) ended with {status}");
    let mut table = Table::new("the binary");
    table.row("stripped", mib(std::fs::metadata(&stripped)?.len()), "");
    table.row("as built", mib(std::fs::metadata(&options.agent)?.len()), "");
    Ok(table)
}
