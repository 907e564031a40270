//! `silmari metrics PROMQL`: an expression at one instant or over a range.

use std::time::Duration;

use model::time::parse_duration;

use crate::cli::MetricsArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::{QUARTER, ServerArgs};

pub(crate) async fn run(server: &ServerArgs, arguments: MetricsArgs) -> Result<(), Failure> {
    let client = server.client()?;
    let asked = &arguments.range;
    let range = asked.range(QUARTER)?;
    let is_range = arguments.step.is_some() || asked.since.is_some() || asked.from.is_some();
    let result = if is_range {
        let step = match &arguments.step {
            Some(text) => parse_duration(text).map_err(|error| Failure::usage(format!("--step: {error}")))?,
            None => default_step(range.nanos()),
        };
        client.metrics_range(&arguments.promql, range, step).await?
    } else {
        client.metrics_instant(&arguments.promql, range.to).await?
    };
    if arguments.json {
        return output::json(&result);
    }
    output::text(&tui::text::series(&result))
}

/// About sixty points, on whole seconds.
fn default_step(nanos: i64) -> Duration {
    let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(0) / 60;
    Duration::from_secs(seconds.max(1))
}
