//! `silmari diff A B`: two journeys side by side.

use query_api::client::Compared;

use crate::cli::DiffArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::{DAY, ServerArgs};

pub(crate) async fn run(server: &ServerArgs, arguments: DiffArgs) -> Result<(), Failure> {
    let range = arguments.range.range(DAY)?;
    let (a, b) = match (&arguments.b, &arguments.baseline) {
        (Some(b), None) => (Compared::Id(&arguments.a), b),
        (None, Some(baseline)) => (Compared::Baseline(baseline), &arguments.a),
        _ => return Err(Failure::usage("name two ids, or one and --baseline 'route:/checkout p50'")),
    };
    let diff = server.client().journey_diff(a, b, range).await?;
    if arguments.json {
        return output::json(&diff);
    }
    let width = arguments.width.unwrap_or_else(output::width);
    output::text(&tui::text::diff(&diff, width, arguments.all, output::is_ascii()))
}
