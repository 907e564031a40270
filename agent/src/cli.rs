//! The commands of `silmari-agent`, one file each.

mod check;
mod doctor;
mod files;
mod replay;
mod run;
mod spool;
mod status;
mod tail;
mod test;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Ships log files and OTLP from this host to a silmari collector.
///
/// A configuration of two lines is enough:
///
///     [files.shop]
///     include = ["/var/log/shop/*.log"]
///
/// Exit codes: 0 ended as asked, 1 runtime failure, 2 wrong configuration or usage,
/// 3 data directory in use, 4 data directory damaged.
#[derive(Debug, Parser)]
#[command(name = "silmari-agent", version, verbatim_doc_comment)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT, then drain for at most 5 seconds
    Run(RunArgs),
    /// Validate a configuration and show which files it matches now
    Check(CheckArgs),
    /// Show how the lines of a file are read: `silmari-agent test app.log --dialect logfmt`
    Test(TestArgs),
    /// Show a running agent's counters, files and spool
    Status(StatusArgs),
    /// Show every matching file and why some are not read
    Files(StatusArgs),
    /// Look into what waits on disk
    Spool(SpoolArgs),
    /// Show records of a running agent as they pass, after its processors
    Tail(TailArgs),
    /// Send a log file again, under a new stream
    Replay(ReplayArgs),
    /// Look for what would keep the agent from working
    Doctor(ConfigArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file
    #[arg(short, long, default_value = "/etc/silmari/agent.toml", env = "SILMARI_AGENT_CONFIG")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// End when standard input is closed, so that the agent never outlives what started it
    #[arg(long)]
    until_stdin_closes: bool,
    /// Use newer configurations when the files change, as on SIGHUP
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Lay this file over it, as if the collector had handed it out
    #[arg(long, value_name = "FILE")]
    pushed: Option<PathBuf>,
    /// One JSON object: whether it is valid, the place of the first mistake, matching files
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct SpoolArgs {
    /// What to do
    action: SpoolAction,
    /// One lane only: traces, logs, metrics or files
    #[arg(long, value_parser = ["traces", "logs", "metrics", "files"])]
    lane: Option<String>,
    /// For `drop`: really
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SpoolAction {
    /// Segments and requests
    Ls,
    /// Checksums; exit 4 when one is wrong
    Verify,
    /// The records that wait, as `tail` shows them
    Show,
    /// One JSON object a request, its bytes in base64
    Dump,
    /// Give up what waits; no agent may run
    Drop,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// A log file, or `-` for standard input
    file: PathBuf,
    /// auto, json, logfmt, nginx or plain
    #[arg(long, default_value_t)]
    dialect: model::dialect::Dialect,
    /// A [files.NAME] table whose dialect and processors are used
    #[arg(short, long)]
    source: Option<String>,
    /// Configuration file with that table
    #[arg(short, long, default_value = "/etc/silmari/agent.toml", env = "SILMARI_AGENT_CONFIG")]
    config: PathBuf,
    /// Say what every stage costs a line instead
    #[arg(long)]
    bench: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Show at most this many lines
    #[arg(long, default_value_t = 20)]
    lines: usize,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Address of the agent's [admin] listener; default: the socket in its data directory, or as configured
    #[arg(long)]
    admin: Option<std::net::SocketAddr>,
    /// The answer of `/status` as it is
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct TailArgs {
    /// Only of this table: a [files.NAME] by its name, otlp, syslog, scrape.NAME …
    #[arg(short, long)]
    source: Option<String>,
    /// Only log records at least as grave: debug, info, warn, error, fatal
    #[arg(long)]
    level: Option<model::Severity>,
    /// End after so many records
    #[arg(short = 'n', long, value_parser = clap::value_parser!(u64).range(1..))]
    lines: Option<u64>,
    #[command(flatten)]
    status: StatusArgs,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// The log file
    path: PathBuf,
    /// The [files.NAME] table to read it with; default: the one that matches it
    #[arg(short, long)]
    source: Option<String>,
    /// Only records since then: 2026-11-26T10:00:00Z, or 2h for so long ago
    #[arg(long)]
    since: Option<String>,
    /// Only records until then
    #[arg(long)]
    to: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Cli {
    /// Runs the command; the exit code.
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Check(args) => check::run(&args, &mut io::stdout().lock()),
            Command::Test(args) => test::run(&args, &mut io::stdout().lock()),
            Command::Status(args) => status::run(&args, &mut io::stdout().lock()),
            Command::Files(args) => files::run(&args, &mut io::stdout().lock()),
            Command::Spool(args) => spool::run(&args, &mut io::stdout().lock()),
            Command::Tail(args) => tail::run(&args, &mut io::stdout().lock()),
            Command::Replay(args) => replay::run(&args, &mut io::stdout().lock()),
            Command::Doctor(args) => doctor::run(&args, &mut io::stdout().lock()),
        }
        .or_else(ignore_closed_pipe)
    }
}

/// `silmari-agent test … | head` ends early, which is no failure.
fn ignore_closed_pipe(error: anyhow::Error) -> anyhow::Result<u8> {
    let is_closed =
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if is_closed { Ok(agent::exit_code::OK) } else { Err(error) }
}

/// Writes an error with its causes to standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    // Nothing can be done when even that fails.
    writeln!(io::stderr(), "silmari-agent: {error:#}").unwrap_or_default();
}

/// Text from outside for a terminal: control characters are shown, not executed.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}
