//! `silmari ids`: the id kinds; what one id hangs together with; what an `ids.yaml` finds and costs.

mod check;
mod dot;
mod tree;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use query_api::{ClientError, IdKindsAnswer};

use crate::exit::Failure;
use crate::output;
use crate::remote::{DAY, RangeArgs, ServerArgs};

pub(crate) use check::load;

/// Examples for the help.
pub(crate) const EXAMPLES: &str = "Examples:\n  silmari ids\n  silmari ids ORD-4711\n  silmari ids ORD-4711 --dot | dot -Tsvg > graph.svg\n  silmari ids user_id=u-7 --degree 1000 --nodes 2000\n  silmari ids check ids.yaml --sample app.log";

/// Arguments of `ids`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct IdsArgs {
    #[command(subcommand)]
    command: Option<IdsCommand>,
    /// An id, bare or as kind=value; without it the kinds are listed. link=TRACE/SPAN finds what links to a span
    id: Option<String>,
    #[command(flatten)]
    range: RangeArgs,
    /// Steps from the id to search [default: 8]
    #[arg(long)]
    hops: Option<usize>,
    /// Traces an id may hang on to be searched through, in place of max_fanout of its kind
    #[arg(long)]
    degree: Option<usize>,
    /// Nodes to draw at most [default: 400]
    #[arg(long)]
    nodes: Option<usize>,
    /// Spans, and log records, to read at most [default: 20000]
    #[arg(long)]
    rows: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the graph for Graphviz
    #[arg(long, conflicts_with = "json", requires = "id")]
    dot: bool,
}

#[derive(Subcommand, Debug)]
enum IdsCommand {
    /// Check an ids.yaml, and show what each source finds in a log file and costs
    Check(CheckArgs),
}

/// Arguments of `ids check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The file; `-` checks the built-in rules
    file: PathBuf,
    /// A log file to try the rules on; its lines are read as the agent reads them
    #[arg(long, value_name = "LOGFILE")]
    sample: Option<PathBuf>,
    /// Take every line of the sample as a body, as services do that send OTLP themselves
    #[arg(long, requires = "sample")]
    raw: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(server: &ServerArgs, arguments: IdsArgs) -> Result<(), Failure> {
    if let Some(IdsCommand::Check(arguments)) = arguments.command {
        return check::run(&arguments);
    }
    let range = arguments.range.range(DAY)?;
    let Some(id) = &arguments.id else {
        let answer = server.client()?.ids(range).await?;
        return if arguments.json { output::json(&answer) } else { output::text(&kinds(&answer)) };
    };
    let limits = [
        ("hops", arguments.hops),
        ("degree", arguments.degree),
        ("nodes", arguments.nodes),
        ("rows", arguments.rows),
    ];
    let limits: Vec<(&str, usize)> = limits.into_iter().filter_map(|(name, of)| Some((name, of?))).collect();
    let graph = server.client()?.id_graph(id, range, &limits).await.map_err(|error| not_found(id, error))?;
    if arguments.json {
        return output::json(&graph);
    }
    if arguments.dot {
        return output::text(&dot::draw(&graph));
    }
    let text = tree::draw(&graph, output::width());
    output::text(&if output::is_ascii() { output::ascii(&text) } else { text })
}

/// An id that nothing carries is answered with what was searched.
pub(crate) fn not_found(id: &str, error: ClientError) -> Failure {
    let ClientError::Refused(body) = &error else { return error.into() };
    let (true, Some(range)) = (body.code == "not_found", &body.range) else { return error.into() };
    let kinds: Vec<&str> = body.searched.iter().map(|term| term.kind.as_str()).collect();
    Failure::runtime(format!(
        "nothing carries the id `{id}`\n  searched as {}\n  from {} to {}\n  try a longer range: --since 7d",
        kinds.join(", "),
        range.from,
        range.to
    ))
}

fn kinds(answer: &IdKindsAnswer) -> String {
    let rows: Vec<Vec<String>> = answer
        .kinds
        .iter()
        .map(|kind| {
            let joins = match (&kind.recorded_as, kind.link) {
                (Some(other), _) => format!("as {other}"),
                (None, true) => format!("yes, to {} traces", kind.max_fanout),
                (None, false) => "no".to_owned(),
            };
            let example = kind.example.as_ref().map(|term| output::clean(&term.value)).unwrap_or_default();
            let (spans, logs) = (kind.values_in_spans.to_string(), kind.values_in_logs.to_string());
            vec![kind.kind.clone(), joins, spans, logs, kind.sources.len().to_string(), example]
        })
        .collect();
    let mut text =
        tui::text::table(&["kind", "joins", "in spans", "in logs", "sources", "for example"], &rows);
    for cut in &answer.cuts {
        text.push_str(&format!("cut: {}\n", cut.what));
    }
    text
}
