//! `silmari trace ID`: everything one ID reaches, as one timeline; with `-f` as it goes on.

mod follow;

use query_api::journey::{RowDetail, RowKey};
use query_api::{Client, Journey, JourneyRow};

use clap::Args;

use crate::cli::TraceArgs;
use crate::exit::Failure;
use crate::ids::not_found;
use crate::output;
use crate::remote::{DAY, ServerArgs};

/// How far a journey may grow: what a cut below it names.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Steps from the id to search [default: 8]
    #[arg(long, value_name = "N")]
    hops: Option<usize>,
    /// Traces an id may hang on to be followed, in place of max_fanout of its kind
    #[arg(long, value_name = "N")]
    degree: Option<usize>,
    /// Traces to show at most, the newest [default: 200]
    #[arg(long, value_name = "N")]
    traces: Option<usize>,
    /// Spans to show at most [default: 100000]
    #[arg(long, value_name = "N")]
    spans: Option<usize>,
    /// Log records to show at most [default: 20000]
    #[arg(long, value_name = "N")]
    logs: Option<usize>,
}

impl LimitArgs {
    /// Those that were given, as the query API names them.
    fn given(&self) -> Vec<(&'static str, usize)> {
        let all = [
            ("hops", self.hops),
            ("degree", self.degree),
            ("traces", self.traces),
            ("spans", self.spans),
            ("logs", self.logs),
        ];
        all.into_iter().filter_map(|(name, of)| Some((name, of?))).collect()
    }
}

pub(crate) async fn run(server: &ServerArgs, arguments: TraceArgs) -> Result<(), Failure> {
    if arguments.follow {
        return follow::run(server, &arguments).await;
    }
    let range = arguments.range.range(DAY)?;
    let limits = arguments.limits.given();
    let found = server.client()?.journey_with(&arguments.id, range, arguments.correct_clocks, &limits).await;
    let journey = found.map_err(|error| not_found(&arguments.id, error))?;
    let width = arguments.width.unwrap_or_else(output::width);
    if let Some(number) = arguments.row {
        let row = whole_row(&server.client()?, &journey, number).await?;
        return match arguments.json {
            true => output::json(&row),
            false => output::text(&tui::text::journey_row(&journey, &row, width, output::is_ascii())),
        };
    }
    if arguments.json {
        return output::json(&journey);
    }
    output::text(&tui::text::journey(&journey, width, output::is_ascii()))
}

/// A row of the timeline, counted from 1, with all its attributes: those of a large journey lack most of them.
async fn whole_row(client: &Client, journey: &Journey, number: usize) -> Result<JourneyRow, Failure> {
    let row = number.checked_sub(1).and_then(|at| journey.rows.get(at)).cloned();
    let Some(row) = row else {
        let rows = journey.rows.len();
        return Err(Failure::runtime(format!("there is no row {number}: the journey has rows 1 to {rows}")));
    };
    let key = RowKey::of(journey, &row).filter(|_| journey.is_brief());
    let Some(key) = key else { return Ok(row) };
    let RowDetail { attributes, resource, .. } = client.journey_row(&key).await?;
    Ok(JourneyRow { attributes, resource, ..row })
}
