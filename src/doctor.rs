//! `silmari doctor`: where an id is lost on its way, and how to mend each place.

mod text;

use std::time::Duration;

use clap::Args;
use query_api::DoctorAnswer;

use crate::exit::Failure;
use crate::output;
use crate::remote::{RangeArgs, ServerArgs};

/// How far back is looked unless told.
const HOUR: Duration = Duration::from_secs(3_600);

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "Examples:
  silmari doctor
  silmari doctor --service billing --since 15m
  silmari doctor --min-coverage 95        exits 1 when a service is covered less: for CI";

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Show only what concerns this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    #[command(flatten)]
    range: RangeArgs,
    /// Exit with 1 when the coverage of any service is below this many per cent
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min_coverage: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number),
        _ => Err(format!("`{text}` is no number from 0 to 100")),
    }
}

pub(crate) async fn run(server: &ServerArgs, arguments: DoctorArgs) -> Result<(), Failure> {
    let range = arguments.range.range(HOUR)?;
    let answer = server.client()?.doctor(arguments.service.as_deref(), range).await?;
    match arguments.json {
        true => output::json(&answer)?,
        false => output::text(&text::whole(&answer, output::width()))?,
    }
    match arguments.min_coverage {
        Some(percent) => check(&answer, percent),
        None => Ok(()),
    }
}

/// Fails when a service is covered less than wanted, and when there is nothing to judge.
fn check(answer: &DoctorAnswer, percent: f64) -> Result<(), Failure> {
    if answer.services.is_empty() {
        let message = "no spans and no log records to judge: coverage is not known";
        return Err(Failure::runtime(message));
    }
    let low = answer.services.iter().filter(|row| row.coverage * 100.0 < percent);
    let low: Vec<String> =
        low.map(|row| format!("{} {}", output::clean(&row.service), text::percent(row.coverage))).collect();
    match low.is_empty() {
        true => Ok(()),
        false => Err(Failure::runtime(format!("covered less than {percent} %: {}", low.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cent_are_read_with_and_without_their_sign() {
        assert_eq!((percent("95"), percent("99.5%")), (Ok(95.0), Ok(99.5)));
        assert!(percent("101").is_err_and(|error| error.contains("`101`")));
        assert!(percent("many").is_err());
    }
}
