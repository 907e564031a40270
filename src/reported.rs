//! `silmari config SERVICE`: the configuration files that agents report for a service ([report.NAME] of the agent): which is
//! really deployed where, what it was before, how hosts differ.
//!
//! They are log records with the event names `config.reported` and `config.changed`, so everything that searches logs finds
//! them too. A report that says what the one before said is the same version.

mod diff;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use model::UnixNano;
use query_api::LogRecord;
use serde::Serialize;

use crate::agents::{ago, shown};
use crate::exit::Failure;
use crate::output;
use crate::remote::{MONTH, RangeArgs, ServerArgs};

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "Examples:
  silmari config checkout                       which files are deployed where, and since when
  silmari config checkout --show --file app.properties
  silmari config checkout --diff --since 7d     what changed, and how hosts differ";

/// Reports that are read at most.
const REPORTS_MAX: usize = 1000;

/// Arguments of `config`.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// The service
    service: String,
    /// Only files whose path ends with this
    #[arg(long, value_name = "PATH", default_value = "")]
    file: String,
    /// Print what is deployed
    #[arg(long)]
    show: bool,
    /// Print what the last change of each file changed, and how hosts differ
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    range: RangeArgs,
    /// Print all versions as JSON
    #[arg(long)]
    json: bool,
}

/// One file on one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Reported {
    host: String,
    file: String,
    /// Oldest first.
    versions: Vec<Version>,
}

/// What it said from some time on.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Version {
    since: UnixNano,
    /// Tells equal texts by sight.
    fingerprint: String,
    text: String,
}

pub(crate) async fn run(server: &ServerArgs, arguments: ConfigArgs) -> Result<(), Failure> {
    let range = arguments.range.range(MONTH)?;
    let service = arguments.service.replace('\\', "\\\\").replace('"', "\\\"");
    let query = format!("service:\"{service}\" (event.name:config.reported OR event.name:config.changed)");
    let answer = server.client()?.logs(&query, range, REPORTS_MAX).await?;
    if answer.matched > answer.records.len() as u64 {
        output::remark(&format!(
            "only the latest {REPORTS_MAX} of {} reports were read: a shorter --since shows older ones",
            answer.matched
        ));
    }
    for cut in &answer.cuts {
        output::remark(&format!("{} ({})", cut.what, cut.limit));
    }
    let mut files = reported(&answer.records);
    files.retain(|reported| reported.file.ends_with(&arguments.file));
    if arguments.json {
        return output::json(&files);
    }
    if files.is_empty() {
        return Err(Failure::runtime(format!(
            "no agent reported a configuration file of `{}` since {}: name its files under [report.NAME] in the agent's \
             configuration, or look further back with --since",
            arguments.service, range.from
        )));
    }
    let mut text = String::new();
    match (arguments.show, arguments.diff) {
        (true, _) => files.iter().for_each(|reported| show(&mut text, reported)),
        (_, true) => differences(&mut text, &files),
        _ => table(&mut text, &files, range.to),
    }
    output::text(&text)
}

/// The versions of every file, from records in the order of time.
fn reported(records: &[LogRecord]) -> Vec<Reported> {
    let mut files: BTreeMap<(String, String), Vec<Version>> = BTreeMap::new();
    for record in records {
        let host = record.resource.get("host.name").cloned().unwrap_or_default();
        let file = record.attributes.get("file.path").cloned().unwrap_or_default();
        let versions = files.entry((file, host)).or_default();
        if versions.last().is_none_or(|last| last.text != record.body) {
            let fingerprint = diff::fingerprint(&record.body);
            versions.push(Version { since: record.time, fingerprint, text: record.body.clone() });
        }
    }
    files.into_iter().map(|((file, host), versions)| Reported { host, file, versions }).collect()
}

impl Reported {
    fn current(&self) -> &Version {
        self.versions.last().expect("a file is known by a report of it")
    }
}

fn table(out: &mut String, files: &[Reported], now: UnixNano) {
    writeln!(out, "{:<20} {:<10} {:>9} {:>8}  FILE", "HOST", "VERSION", "SINCE", "CHANGES")
        .unwrap_or_default();
    for reported in files {
        let current = reported.current();
        let is_odd = files
            .iter()
            .any(|other| other.file == reported.file && other.current().fingerprint != current.fingerprint);
        writeln!(
            out,
            "{:<20} {:<10} {:>9} {:>8}  {}{}",
            shown(&reported.host),
            current.fingerprint,
            ago(now, current.since),
            reported.versions.len() - 1,
            shown(&reported.file),
            if is_odd { "  (hosts differ)" } else { "" }
        )
        .unwrap_or_default();
    }
}

fn heading(out: &mut String, reported: &Reported, version: &Version) {
    let (host, file) = (shown(&reported.host), shown(&reported.file));
    writeln!(out, "# {host} {file}, version {} since {}", version.fingerprint, version.since)
        .unwrap_or_default();
}

fn show(out: &mut String, reported: &Reported) {
    heading(out, reported, reported.current());
    for line in reported.current().text.lines() {
        out.push_str(&shown(line));
        out.push('\n');
    }
    out.push('\n');
}

/// The last change of every file, then how hosts differ from the first one that has the file.
fn differences(out: &mut String, files: &[Reported]) {
    for reported in files {
        if let [.., before, after] = &reported.versions[..] {
            heading(out, reported, after);
            write_diff(out, &before.text, &after.text);
        }
    }
    for (at, reported) in files.iter().enumerate() {
        let first = files[..at].iter().find(|other| other.file == reported.file);
        if let Some(first) = first.filter(|first| first.current().text != reported.current().text) {
            let (one, other) = (shown(&first.host), shown(&reported.host));
            writeln!(out, "# {}: from {one} to {other}", shown(&reported.file)).unwrap_or_default();
            write_diff(out, &first.current().text, &reported.current().text);
        }
    }
    if out.is_empty() {
        out.push_str("no file changed, and hosts do not differ\n");
    }
}

fn write_diff(out: &mut String, before: &str, after: &str) {
    for line in diff::lines(before, after) {
        let (mark, text) = match line {
            diff::Line::Same(text) => (' ', text),
            diff::Line::Removed(text) => ('-', text),
            diff::Line::Added(text) => ('+', text),
            diff::Line::Skipped(count) => {
                writeln!(out, "  … {count} lines").unwrap_or_default();
                continue;
            }
        };
        writeln!(out, "{mark} {}", shown(text)).unwrap_or_default();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: i64, host: &str, body: &str) -> LogRecord {
        let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        LogRecord {
            time: UnixNano(time),
            service: "checkout".to_owned(),
            severity_number: 9,
            severity: "INFO".to_owned(),
            body: body.to_owned(),
            trace_id: None,
            span_id: None,
            ids: Vec::new(),
            attributes: pair("file.path", "/etc/app.properties"),
            resource: pair("host.name", host),
        }
    }

    #[test]
    fn reports_become_versions_of_a_file_on_a_host_and_repeated_ones_are_one() {
        let records = [
            record(1, "web-1", "pool=10\nx=1\n"),
            record(2, "web-2", "pool=10\nx=1\n"),
            record(3, "web-1", "pool=10\nx=1\n"),
            record(4, "web-1", "pool=20\nx=1\n"),
        ];
        let files = reported(&records);
        assert_eq!(files.len(), 2);
        assert_eq!((files[0].host.as_str(), files[0].versions.len()), ("web-1", 2));
        let mut text = String::new();
        table(&mut text, &files, UnixNano(4));
        assert_eq!(text.matches("(hosts differ)").count(), 2, "{text}");
        let mut text = String::new();
        differences(&mut text, &files);
        assert!(text.contains("- pool=10\n+ pool=20\n  x=1\n"), "{text}");
        assert!(text.contains("from web-1 to web-2\n- pool=20\n+ pool=10\n"), "{text}");
    }

    #[test]
    fn a_file_cannot_write_to_the_terminal() {
        let mut text = String::new();
        show(&mut text, &reported(&[record(1, "h\x1b[2J", "a=\x07\n")])[0]);
        assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
    }
}
