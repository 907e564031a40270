//! `silmari open FILE`: a case in the terminal UI, or as text or JSON.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use case::OfflineCase;
use clap::Args;
use model::SystemClock;
use query_api::Client;
use serde_json::json;

use crate::exit::Failure;
use crate::output;

/// Examples for the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  silmari open ORD-4711.silmari                    the terminal UI, offline
  silmari open ORD-4711.silmari --text
  silmari ids ORD-4711 --server ORD-4711.silmari   any command that asks about an id takes a case for a server
  silmari services --server ORD-4711.silmari
  silmari diff good.silmari bad.silmari";

/// How case files end.
pub(crate) const SUFFIX: &str = ".silmari";

/// Arguments of `open`.
#[derive(Args, Debug)]
pub(crate) struct OpenArgs {
    /// A file that `silmari export` made; `-` is standard input
    file: PathBuf,
    /// Print the journey instead of opening the terminal UI; so it is when there is no terminal
    #[arg(long, conflicts_with = "json")]
    text: bool,
    /// Print everything in the file as JSON
    #[arg(long)]
    json: bool,
    /// Columns to draw for
    #[arg(long)]
    width: Option<usize>,
    /// Draw with ASCII only
    #[arg(long)]
    ascii: bool,
}

pub(crate) async fn run(arguments: OpenArgs) -> Result<(), Failure> {
    let offline = read(&arguments.file)?;
    let case = offline.case();
    if arguments.json {
        return output::json(&as_json(case));
    }
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if arguments.text || !is_terminal {
        let width = arguments.width.unwrap_or_else(output::width);
        return output::text(&text(case, width, arguments.ascii || output::is_ascii()));
    }
    let options = tui::Options {
        journey: Some(case.about.id.clone()),
        ascii: arguments.ascii,
        board: case.board.as_ref().map(|board| board.name.clone()),
        offline: Some(tui::Offline {
            file: arguments.file.to_string_lossy().into_owned(),
            made_at: case.about.made_at,
            window: case.about.window,
            is_redacted: case.about.redaction.is_some(),
        }),
        ..tui::Options::default()
    };
    tui::run(Client::offline(Arc::new(offline)), options, SystemClock::shared())
        .await
        .map_err(|error| Failure::runtime(error.to_string()))
}

/// Reads a case file.
pub(crate) fn read(path: &Path) -> Result<OfflineCase, Failure> {
    let name = path.display().to_string();
    let input: Box<dyn std::io::Read> = match name.as_str() {
        "-" => Box::new(std::io::stdin().lock()),
        _ => {
            let opened = std::fs::File::open(path);
            Box::new(opened.map_err(|error| Failure::usage(format!("{name}: {error}")))?)
        }
    };
    let mut bytes = Vec::new();
    input
        .take(case::file::FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let case = case::file::read(&bytes).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Ok(OfflineCase::new(&name, case))
}

/// The journey, and above it what it was read from.
fn text(case: &case::Case, width: usize, ascii: bool) -> String {
    let about = &case.about;
    let minute = |time: model::UnixNano| time.to_string().get(..16).unwrap_or_default().replace('T', " ");
    let redacted = match &about.redaction {
        Some(redaction) => format!(", {} values redacted", redaction.values),
        None => String::new(),
    };
    let version = output::clean(&about.silmari_version);
    let made = minute(about.made_at);
    let mut out = format!(" offline case, made {made} UTC by silmari {version}{redacted}\n");
    out.push_str(&tui::text::journey(&case.journey, width, ascii));
    for cut in &about.left_out {
        out.push_str(&format!(" ! not in this case: {}\n", output::clean(&cut.what)));
    }
    out
}

fn as_json(case: &case::Case) -> serde_json::Value {
    json!({
        "format_version": case::file::VERSION,
        "about": case.about,
        "journey": case.journey,
        "journey_corrected": case.corrected,
        "graph": case.graph,
        "where": case.whereabouts,
        "services": case.services,
        "alerts": case.alerts,
        "metrics": case.metrics,
    })
}
