//! The command line's shape.

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::exit::Failure;
use crate::remote::{RangeArgs, ServerArgs};
use crate::{
    agents, demo, doctor, export, ids, import, inventory, open, reported, serve, sql_worker, store, trace,
    ui, whereabouts,
};

/// Follow any ID through every service, log line and queue of a microservice shop.
///
/// Without a command it opens the terminal UI.
#[derive(Parser, Debug)]
#[command(name = "silmari", version, arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What can be done.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Open the terminal UI
    Ui(ui::UiArgs),
    /// Run the server: collector, store, queries and rules in one process
    Serve(serve::ServeArgs),
    /// Start a server, a shop of ten services, an agent and traffic, and open the terminal UI
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::DemoArgs),
    /// Show everything one ID reaches, as one timeline
    #[command(
        after_help = "Examples:\n  silmari trace ORD-4711\n  silmari trace order_id=ORD-4711 --json\n  silmari trace ORD-4711 -f                        goes on until Ctrl-C\n  silmari trace 0af7651916cd43dd8448eb211c80319c --since 2h"
    )]
    Trace(TraceArgs),
    /// List the id kinds, or show which ids and traces hang together with one id, and by what evidence
    #[command(after_help = ids::EXAMPLES)]
    Ids(ids::IdsArgs),
    /// Show the messages one ID travelled in, and how far each consumer group is with them
    #[command(
        after_help = "Examples:\n  silmari where ORD-4711\n  silmari where kafka_record=orders/3@88123"
    )]
    Where(whereabouts::WhereArgs),
    /// Compare two journeys: what is slower, missing, extra, and what was logged differently
    #[command(
        after_help = "Examples:\n  silmari diff ORD-4711 ORD-4712\n  silmari diff ORD-4712 --baseline 'route:/checkout p50' --since 2h"
    )]
    Diff(DiffArgs),
    /// Write one journey and what stood around it to a file: to look at elsewhere, or for a ticket
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    /// Open a file that `silmari export` made
    #[command(after_help = open::EXAMPLES)]
    Open(open::OpenArgs),
    /// Search log records, or follow them as they arrive
    #[command(
        after_help = "Examples:\n  silmari logs 'service:billing level>=warn timeout' --since 15m\n  silmari logs 'level>=error' -f"
    )]
    Logs(LogsArgs),
    /// Rate, errors and duration of every service, and the state of every queue
    #[command(after_help = "Example:\n  silmari services --since 5m")]
    Services(ServicesArgs),
    /// Where an ID is lost on its way: records without IDs, calls and messages without context, clocks
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Evaluate a PromQL expression
    #[command(
        after_help = "Examples:\n  silmari metrics 'rate(http_server_request_duration_seconds_count[1m])'\n  silmari metrics 'sum by (service_name) (rate(http_server_request_duration_seconds_count[1m]))' --since 15m --step 30s"
    )]
    Metrics(MetricsArgs),
    /// Run one read-only SQL statement over spans, logs and points
    #[command(after_help = "Example:\n  silmari sql 'select service, count(*) from spans group by 1'")]
    Sql(SqlArgs),
    /// Alert rules and their state
    Alerts(AlertsArgs),
    /// Bring in telemetry from files of OTLP-JSON lines
    #[command(after_help = import::EXAMPLES)]
    Import(import::ImportArgs),
    /// Look at a data folder: list, check, measure, mend
    #[command(subcommand, after_help = store::EXAMPLES)]
    Store(store::StoreCommand),
    /// Agents: state, lag, versions, labels; hand out configuration to them
    #[command(after_help = agents::EXAMPLES)]
    Agents(agents::AgentsArgs),
    /// Services and their instances, as their telemetry shows them: up, late, gone, flapping
    Inventory(inventory::InventoryArgs),
    /// Configuration files that agents report for a service: which is deployed where, what changed
    #[command(after_help = reported::EXAMPLES)]
    Config(reported::ConfigArgs),
    /// Delete every span and log record that carries an ID
    ///
    /// No query shows them from then on; they leave the disk with the next compaction. Rows received later are not
    /// touched.
    #[command(
        after_help = "Examples:\n  silmari delete order_id=ORD-4711          says how many rows it would be\n  silmari delete order_id=ORD-4711 --yes    deletes them\n  silmari delete --list                     receipts of all deletes"
    )]
    Delete(DeleteArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the configuration reference (docs/reference/configuration.md)
    #[command(hide = true)]
    Reference,
    /// Run SQL statements for the server that started this process
    #[command(hide = true)]
    SqlWorker(sql_worker::SqlWorkerArgs),
}

/// Arguments of `trace`.
#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    /// An order number, a correlation ID, a trace ID, a Kafka message key …, or kind=value
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Correct the times of services whose clocks are off; they are shown as recorded otherwise
    #[arg(long)]
    pub(crate) correct_clocks: bool,
    /// Go on as records arrive, and say when it is done, stuck or silent
    #[arg(short, long, conflicts_with = "to")]
    pub(crate) follow: bool,
    /// With --follow: end when the journey is done
    #[arg(long, requires = "follow")]
    pub(crate) until_done: bool,
    /// Print one row with all its attributes: the Nth of the timeline, counted from 1
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    pub(crate) row: Option<usize>,
    #[command(flatten)]
    pub(crate) limits: trace::LimitArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Columns to draw for
    #[arg(long)]
    pub(crate) width: Option<usize>,
}

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// The ID that is taken as given; with --baseline, the ID that is judged
    pub(crate) a: String,
    /// The ID that is judged
    #[arg(required_unless_present = "baseline", conflicts_with = "baseline")]
    pub(crate) b: Option<String>,
    /// Compare with a typical trace of a route instead of an ID: 'route:/checkout p50'
    #[arg(long, value_name = "ROUTE")]
    pub(crate) baseline: Option<String>,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Show rows that do not differ too
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Columns to draw for
    #[arg(long)]
    pub(crate) width: Option<usize>,
}

/// Arguments of `logs`.
#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// The search, for example 'service:billing level>=warn timeout'
    #[arg(default_value = "")]
    pub(crate) query: String,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Go on printing records as they arrive
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Records to print at most
    #[arg(long, default_value_t = 200)]
    pub(crate) limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `services`.
#[derive(Args, Debug)]
pub(crate) struct ServicesArgs {
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `metrics`.
#[derive(Args, Debug)]
pub(crate) struct MetricsArgs {
    /// The expression
    pub(crate) promql: String,
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Distance between points; with it, or with --since or --from, a range is evaluated
    #[arg(long, value_name = "DURATION")]
    pub(crate) step: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `sql`.
#[derive(Args, Debug)]
pub(crate) struct SqlArgs {
    /// One SELECT statement over spans, logs and points
    pub(crate) query: String,
    /// Rows to print at most
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// How to print rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Print JSON (the same as --format json)
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `alerts`.
#[derive(Args, Debug)]
pub(crate) struct AlertsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `delete`.
#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The ID as kind=value; trace_id=… deletes the spans and log records of a trace
    #[arg(required_unless_present = "list", value_name = "KIND=VALUE")]
    pub(crate) id: Option<String>,
    /// Delete; without it rows are only counted
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print the receipts of all deletes
    #[arg(long, conflicts_with_all = ["id", "yes"])]
    pub(crate) list: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// Comma-separated values
    Csv,
    /// JSON
    Json,
}

/// Prints completions.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "silmari", &mut script);
    crate::output::text(&String::from_utf8_lossy(&script))
}
