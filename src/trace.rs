//! `silmari trace ID`: everything one ID reaches, as one timeline; with `-f` as it goes on.

mod follow;

use query_api::journey::{RowDetail, RowKey};
use query_api::{Client, Journey, JourneyRow};

use crate::cli::TraceArgs;
use crate::exit::Failure;
use crate::ids::not_found;
use crate::output;
use crate::remote::{DAY, ServerArgs};

pub(crate) async fn run(server: &ServerArgs, arguments: TraceArgs) -> Result<(), Failure> {
    if arguments.follow {
        return follow::run(server, &arguments).await;
    }
    let range = arguments.range.range(DAY)?;
    let found = server.client()?.journey_with(&arguments.id, range, arguments.correct_clocks).await;
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
