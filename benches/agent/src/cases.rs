//! What is measured.

mod away;
mod backlog;
mod idle;
mod size;
mod spans;
mod steady;

use std::path::Path;

use clap::ValueEnum;
use tempfile::TempDir;

use crate::lines::Kind;
use crate::options::Options;
use bench_table::Table;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// JSON lines of 216 bytes in 100 files, zstd.
    Json,
    /// The same without compression.
    JsonPlainWire,
    /// The same through TLS.
    JsonTls,
    /// Plain lines of 512 bytes in one file, no compression.
    Lines,
    /// 10,000 JSON lines a second into 100 files.
    Steady,
    /// Spans over OTLP/HTTP, through the spool.
    Spans,
    /// 1,000 files in which nothing happens.
    Idle,
    /// The collector is away while much is written.
    Away,
    /// The binary.
    Size,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    pub(crate) fn run(self, options: &Options) -> anyhow::Result<Table> {
        match self {
            Self::Json => backlog::run(options, Kind::Json, 100, "zstd", false),
            Self::JsonPlainWire => backlog::run(options, Kind::Json, 100, "none", false),
            Self::JsonTls => backlog::run(options, Kind::Json, 100, "zstd", true),
            Self::Lines => backlog::run(options, Kind::Plain, 1, "none", false),
            Self::Steady => steady::run(options),
            Self::Spans => spans::run(options),
            Self::Idle => idle::run(options),
            Self::Away => away::run(options),
            Self::Size => size::run(options),
        }
    }
}

/// The folders of one case.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(options: &Options) -> anyhow::Result<Self> {
        let folder = match &options.dir {
            Some(dir) => TempDir::new_in(dir)?,
            None => TempDir::new()?,
        };
        std::fs::create_dir(folder.path().join("logs"))?;
        Ok(Self { folder })
    }

    fn logs(&self) -> std::path::PathBuf {
        self.folder.path().join("logs")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A configuration that reads the files and ships to `url`; with TLS when `ca.pem` lies in the folder.
    fn config(&self, options: &Options, url: &str, compression: &str, more: &str) -> String {
        let ca = self.path().join("ca.pem");
        let tls = if ca.exists() { format!("tls.ca = '{}'\n", ca.display()) } else { String::new() };
        let (folder, logs, keys) = (self.path().display(), self.logs(), &options.collector_keys);
        format!(
            "[agent]\ndata_dir = '{folder}/data'\n[collector]\nendpoint = '{url}'\ncompression = '{compression}'\n{tls}{keys}\n\
             [files.shop]\ninclude = ['{}/*.log']\nservice = 'checkout'\nstart_at = 'beginning'\n{more}\n",
            logs.display()
        )
    }
}
