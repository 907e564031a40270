//! `silmari alerts`: alert rules and their state.

use crate::cli::AlertsArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::ServerArgs;

pub(crate) async fn run(server: &ServerArgs, arguments: AlertsArgs) -> Result<(), Failure> {
    let answer = server.client()?.alerts().await?;
    if arguments.json {
        return output::json(&answer);
    }
    output::text(&tui::text::alerts(&answer, output::width()))
}
