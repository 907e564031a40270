//! `silmari services`: rate, errors and duration of every service, and the state of every queue.

use crate::cli::ServicesArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::{QUARTER, ServerArgs};

pub(crate) async fn run(server: &ServerArgs, arguments: ServicesArgs) -> Result<(), Failure> {
    let answer = server.client()?.services(arguments.range.range(QUARTER)?).await?;
    if arguments.json {
        return output::json(&answer);
    }
    output::text(&tui::text::services(&answer, output::width(), output::is_ascii()))
}
