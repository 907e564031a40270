//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::cases::Case;

/// Measures the agent.
#[derive(Clone, Debug, Parser)]
#[command(name = "agent-bench", max_term_width = 100)]
pub(crate) struct Options {
    /// Cases to run. Default: all.
    #[arg(value_enum)]
    cases: Vec<Case>,
    /// The binary that is measured.
    #[arg(long, default_value = "target/agent/silmari-agent")]
    pub(crate) agent: PathBuf,
    /// Where files, positions and the spool lie. Default: the folder for temporary files.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Lines of the cases that read a backlog.
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) lines: u64,
    /// Spans of the case that passes spans on.
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) spans: u64,
    /// Seconds of the cases that last: steady, idle.
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Megabytes written while the collector is away.
    #[arg(long, default_value_t = 1024)]
    pub(crate) away_mb: u64,
    /// Core of the agent.
    #[arg(long, default_value_t = 0)]
    pub(crate) agent_core: usize,
    /// Core of the generator and the sink.
    #[arg(long, default_value_t = 1)]
    pub(crate) other_core: usize,
    /// A `rotel` binary (PyPI: `rotel`) to pass the same spans on in the same run.
    #[arg(long)]
    pub(crate) rotel: Option<PathBuf>,
    /// A `vlagent` binary (Go module `github.com/VictoriaMetrics/VictoriaLogs/app/vlagent`) to read the same files in
    /// the same run: json, lines, steady, idle. It ships in its own format, always with zstd.
    #[arg(long)]
    pub(crate) vlagent: Option<PathBuf>,
    /// Lines for the agent's configuration, in its `[collector]` table.
    #[arg(long, default_value = "")]
    pub(crate) collector_keys: String,
    /// A command in front of the agent's, as `perf record -g -o /tmp/agent.perf`.
    #[arg(long, default_value = "")]
    pub(crate) wrap: String,
}

impl Options {
    pub(crate) fn cases(&self) -> Vec<Case> {
        if self.cases.is_empty() { Case::all() } else { self.cases.clone() }
    }
}
