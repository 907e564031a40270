//! `silmari store ls | verify | dump-wal | fsck | stats --data-dir DIR`: a data folder looked at from
//! outside.
//!
//! Owns: how it is shown. Does not own: what is read and what counts as a defect (`storage::inspect`).

mod check;
mod dump_wal;
mod ls;
mod stats;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::SystemClock;
use storage::inspect::{Access, Inspector};
use storage::{Error, ErrorKind};

use crate::config::Config;
use crate::exit::Failure;

pub(crate) const EXAMPLES: &str = "\
Examples:
  silmari store ls --data-dir ./data         segments: time, rows, bytes; works beside a running server
  silmari store stats --data-dir ./data      bytes of every column and id kind; works beside a server too
  silmari store verify --data-dir ./data     reads everything again; exits 1 and names the place of each defect
  silmari store dump-wal --data-dir ./data   one line a record of the write-ahead log
  silmari store fsck --repair --data-dir ./data   moves what cannot be read to quarantine/, deletes nothing";

/// What is asked of a data folder.
#[derive(Subcommand, Debug)]
pub(crate) enum StoreCommand {
    /// List segments and the files of the write-ahead log
    Ls(FolderArgs),
    /// Read everything again and compare: pages, row counts, times, indexes, checksums
    Verify(VerifyArgs),
    /// Print the records of the write-ahead log
    DumpWal(FolderArgs),
    /// Say what is wrong and what can be done; with --repair, do it
    Fsck(FsckArgs),
    /// Say what each column and each id kind costs
    Stats(FolderArgs),
}

/// Which folder.
#[derive(Args, Debug)]
pub(crate) struct FolderArgs {
    /// The folder that was given to `silmari serve`
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The configuration that was given to it, if its segments or catalog are not in the folder
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
}

/// Arguments of `fsck`.
#[derive(Args, Debug)]
pub(crate) struct FsckArgs {
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// Move what cannot be read to quarantine/, and build broken identity indexes again
    #[arg(long)]
    pub(crate) repair: bool,
}

pub(crate) async fn run(command: StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Ls(folder) => ls::run(folder).await,
        StoreCommand::Verify(arguments) => check::verify(arguments.folder).await,
        StoreCommand::DumpWal(folder) => dump_wal::run(folder).await,
        StoreCommand::Fsck(arguments) => check::fsck(arguments).await,
        StoreCommand::Stats(folder) => stats::run(folder).await,
    }
}

async fn open(folder: &FolderArgs, access: Access) -> Result<Inspector, Failure> {
    let places = Config::load(folder.config.as_deref())?.store.places()?;
    Inspector::open(&folder.data_dir, &places, access, SystemClock::shared()).await.map_err(failure)
}

fn failure(error: Error) -> Failure {
    match error.kind() {
        ErrorKind::FixInput => Failure::usage(error.to_string()),
        _ => Failure::runtime(error.to_string()),
    }
}

/// Bytes for people: `1.4 MiB`.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut name = "B";
    for larger in units {
        if value < 1024.0 {
            break;
        }
        (value, name) = (value / 1024.0, larger);
    }
    if name == "B" { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}

/// A part of a whole in percent.
fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}", part as f64 * 100.0 / whole.max(1) as f64)
}
