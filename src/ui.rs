//! `silmari ui` and bare `silmari`: the terminal UI.

use std::io::IsTerminal as _;

use clap::Args;
use model::SystemClock;

use crate::exit::Failure;
use crate::remote::ServerArgs;

/// Arguments of `ui`.
#[derive(Args, Debug, Default)]
pub(crate) struct UiArgs {
    /// Open the journey of this ID
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Draw with ASCII only
    #[arg(long)]
    pub(crate) ascii: bool,
    /// Time range to begin with
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
}

pub(crate) async fn run(server: &ServerArgs, arguments: UiArgs) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "the terminal UI needs a terminal: use `silmari services`, `trace`, `logs`, `alerts` in scripts",
        ));
    }
    let mut options = tui::Options {
        journey: arguments.id,
        ascii: arguments.ascii,
        server: server.named(),
        ..tui::Options::default()
    };
    if let Some(since) = &arguments.since {
        let range = model::time::parse_duration(since);
        options.range = Some(range.map_err(|error| Failure::usage(format!("--since: {error}")))?);
    }
    tui::run(server.client()?, options, SystemClock::shared())
        .await
        .map_err(|error| Failure::runtime(error.to_string()))
}
