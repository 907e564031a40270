//! `silmari diff A B`: two journeys side by side.

use std::path::Path;

use query_api::client::Compared;

use crate::cli::DiffArgs;
use crate::exit::Failure;
use crate::open;
use crate::output;
use crate::remote::{DAY, ServerArgs};

pub(crate) async fn run(server: &ServerArgs, arguments: DiffArgs) -> Result<(), Failure> {
    let range = arguments.range.range(DAY)?;
    let (a, b) = match (&arguments.b, &arguments.baseline) {
        (Some(b), None) => (Compared::Id(&arguments.a), b),
        (None, Some(baseline)) => (Compared::Baseline(baseline), &arguments.a),
        _ => return Err(Failure::usage("name two ids, or one and --baseline 'route:/checkout p50'")),
    };
    let diff = match of_cases(&arguments)? {
        Some(diff) => diff,
        None => server.client()?.journey_diff(a, b, range).await?,
    };
    if arguments.json {
        return output::json(&diff);
    }
    let width = arguments.width.unwrap_or_else(output::width);
    output::text(&tui::text::diff(&diff, width, arguments.all, output::is_ascii()))
}

/// Whether a name is that of a case file.
fn is_case(name: &str) -> bool {
    name.ends_with(open::SUFFIX)
}

/// The difference of two case files, when both names are such.
fn of_cases(arguments: &DiffArgs) -> Result<Option<query_api::diff::JourneyDiff>, Failure> {
    let (a, Some(b)) = (&arguments.a, &arguments.b) else { return Ok(None) };
    match (is_case(a), is_case(b)) {
        (true, true) => {}
        (false, false) => return Ok(None),
        _ => {
            let message = "a case is compared with a case: make one of the other id with `silmari export`";
            return Err(Failure::usage(message));
        }
    }
    let (a, b) = (open::read(Path::new(a))?, open::read(Path::new(b))?);
    Ok(Some(query::journey::diff(&a.case().journey, &b.case().journey, None)))
}
