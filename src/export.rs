//! `silmari export ID`: one journey and what stood around it, as a case file or in a format for tickets.
//!
//! ```text
//! query API ─► gather ─► Case ─► redact (asked for) ─► case file │ text │ md │ csv │ otlp-json
//! ```
//!
//! Owns: what is asked, where it is written. Does not own: the formats and redaction (`case`). Invariants: the file
//! is there whole or not at all, and replaces none unless told; what redaction refuses is not written.

mod gather;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use case::redact::{Key, Rules, redact};
use case::{Case, file, formats};
use clap::{Args, ValueEnum};

use crate::exit::Failure;
use crate::output;
use crate::remote::{DAY, RangeArgs, ServerArgs};

/// Examples for the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  silmari export ORD-4711                          writes ORD-4711.silmari
  silmari export ORD-4711 --redact -o case.silmari
  silmari export ORD-4711 --redact-rules redact.yaml --format md > ticket.md
  silmari export ORD-4711 --format csv -o rows.csv
  silmari export ORD-4711 --format otlp-json | silmari import -

docs/formats/case.md describes the file, and what a file of redaction rules says.";

/// Arguments of `export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// An order number, a correlation ID, a trace ID, a Kafka message key …, or kind=value
    id: String,
    #[command(flatten)]
    range: RangeArgs,
    /// Where to write; `-` is standard output [default: ID.silmari for a case, standard output otherwise]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Case)]
    format: Format,
    /// Replace passwords, mail addresses, user ids and the like by pseudonyms
    #[arg(long)]
    redact: bool,
    /// A file with redaction rules of your own; implies --redact
    #[arg(long, value_name = "FILE")]
    redact_rules: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// Columns to draw for in text and md
    #[arg(long, default_value_t = 120)]
    width: usize,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A file for `silmari open`: journey, identity graph, metrics, alerts
    Case,
    /// The drawn timeline
    Text,
    /// A page for a ticket: timeline and table
    Md,
    /// A line a row of the timeline
    Csv,
    /// The spans and log records, for `silmari import` and other OTLP receivers
    OtlpJson,
}

pub(crate) async fn run(server: &ServerArgs, arguments: ExportArgs) -> Result<(), Failure> {
    // Rules with a mistake are told before anything is asked.
    let rules = rules(&arguments)?;
    let range = arguments.range.range(DAY)?;
    let client = server.client()?;
    let mut case = gather::gather(&client, &arguments.id, range, arguments.format == Format::Case).await?;
    if let Some(rules) = &rules {
        case = redact(&case, rules, &Key::random()).map_err(|error| Failure::runtime(error.to_string()))?;
    }
    let bytes = rendered(&case, &arguments)?;
    let written = write(&bytes, &arguments, &case)?;
    report(&case, &arguments, written.as_deref(), bytes.len());
    Ok(())
}

fn rules(arguments: &ExportArgs) -> Result<Option<Rules>, Failure> {
    let Some(path) = &arguments.redact_rules else {
        return Ok(arguments.redact.then(Rules::default));
    };
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    Rules::parse(&text).map(Some).map_err(|error| Failure::usage(format!("{name}:{error}")))
}

fn rendered(case: &Case, arguments: &ExportArgs) -> Result<Vec<u8>, Failure> {
    let drawn = || tui::text::journey(&case.journey, arguments.width, false);
    Ok(match arguments.format {
        Format::Case => file::write(case).map_err(|error| Failure::runtime(error.to_string()))?,
        Format::Text => drawn().into_bytes(),
        Format::Md => formats::markdown(case, &drawn()).into_bytes(),
        Format::Csv => formats::csv(&case.journey).into_bytes(),
        Format::OtlpJson => formats::otlp_json(&case.journey).into_bytes(),
    })
}

/// Writes, and says where to; `None` for standard output.
fn write(bytes: &[u8], arguments: &ExportArgs, case: &Case) -> Result<Option<PathBuf>, Failure> {
    let is_case = arguments.format == Format::Case;
    let path = match &arguments.output {
        Some(path) if path.as_os_str() != "-" => path.clone(),
        None if is_case => PathBuf::from(file_name(&case.about.id)),
        _ => {
            if is_case && std::io::stdout().is_terminal() {
                return Err(Failure::usage("a case is no text for a terminal: name a file with -o"));
            }
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())?;
            return Ok(None);
        }
    };
    let name = path.display();
    if path.exists() && !arguments.force {
        return Err(Failure::usage(format!("{name} is there already: choose another with -o, or --force")));
    }
    let failed = |error: std::io::Error| Failure::runtime(format!("writing {name}: {error}"));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".silmari-").tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(Some(path))
}

/// A file name made of an id.
fn file_name(id: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '=');
    let name: String = id.chars().take(100).map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("{}{}", name.trim_start_matches(['.', '-']), crate::open::SUFFIX)
}

fn report(case: &Case, arguments: &ExportArgs, written: Option<&Path>, bytes: usize) {
    for cut in case.journey.cuts.iter().chain(&case.about.left_out) {
        output::remark(&format!("left out: {}", output::clean(&cut.what)));
    }
    if let Some(redaction) = &case.about.redaction {
        output::remark(&format!("redacted {} values", redaction.values));
        redaction.rules.iter().for_each(|rule| output::remark(&format!("  {}", output::clean(rule))));
    }
    let Some(path) = written else { return };
    let counts = &case.journey.counts;
    let open = match arguments.format {
        Format::Case => format!("; open it with: silmari open {}", path.display()),
        _ => String::new(),
    };
    output::remark(&format!(
        "wrote {}: {} spans, {} logs of {} traces in {bytes} bytes{open}",
        path.display(),
        counts.spans,
        counts.logs,
        counts.traces
    ));
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_file_name_is_one_whatever_the_id() {
        for (id, expected) in [
            ("ORD-4711", "ORD-4711.silmari"),
            ("orders/3@88121", "orders_3@88121.silmari"),
            ("../../etc/passwd", "_.._etc_passwd.silmari"),
            ("-rf", "rf.silmari"),
            ("a b\n", "a_b_.silmari"),
        ] {
            assert_eq!(file_name(id), expected, "{id}");
        }
    }
}
