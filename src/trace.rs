//! `silmari trace ID`: everything one ID reaches, as one timeline.

use query_api::ClientError;

use crate::cli::TraceArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::{DAY, ServerArgs};

pub(crate) async fn run(server: &ServerArgs, arguments: TraceArgs) -> Result<(), Failure> {
    let range = arguments.range.range(DAY)?;
    let found = server.client().journey_with(&arguments.id, range, arguments.correct_clocks).await;
    let journey = found.map_err(|error| explain(&arguments.id, error))?;
    if arguments.json {
        return output::json(&journey);
    }
    let width = arguments.width.unwrap_or_else(output::width);
    output::text(&tui::text::journey(&journey, width, output::is_ascii()))
}

/// An id that nothing carries is answered with what was searched.
fn explain(id: &str, error: ClientError) -> Failure {
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
