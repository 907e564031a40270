//! `silmari trace ID`: everything one ID reaches, as one timeline; with `-f` as it goes on.

mod follow;

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
    if arguments.json {
        return output::json(&journey);
    }
    let width = arguments.width.unwrap_or_else(output::width);
    output::text(&tui::text::journey(&journey, width, output::is_ascii()))
}
