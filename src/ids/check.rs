//! `silmari ids check FILE --sample LOGFILE`: what each source of an `ids.yaml` finds, and what it costs.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;
use std::time::Duration;

use model::SystemClock;
use model::dialect::{Dialect, ParsedLine, parse_line};
use model::ids::{IdRules, IdTerms, Place};
use model::otlp::AnyValue;
use serde::Serialize;

use super::CheckArgs;
use crate::exit::Failure;
use crate::output;

/// Records of a sample; further lines are not read.
const RECORDS_MAX: usize = 100_000;
/// Bytes of a line.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Values shown of one source.
const EXAMPLES_MAX: usize = 3;
/// A cost is measured over so many passes over the sample, the fastest counts.
const PASSES: usize = 5;

/// What a check found.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    kinds: usize,
    sources: usize,
    /// Records of the sample.
    records: usize,
    /// Records in which nothing was found.
    records_without: usize,
    /// Lines that were not read, because there were too many.
    lines_left_out: usize,
    /// All rules together, in nanoseconds a record.
    nanos_per_record: f64,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    kind: String,
    source: String,
    /// Records in which this source finds a value, whether or not another source finds it too.
    records: usize,
    /// Nanoseconds a record that the source costs on its own.
    nanos_per_record: f64,
    examples: Vec<String>,
}

pub(super) fn run(arguments: &CheckArgs) -> Result<(), Failure> {
    let rules = load(&arguments.file)?;
    let mut report = Report {
        file: match arguments.file.to_str() {
            Some("-") => "built-in rules".to_owned(),
            _ => arguments.file.display().to_string(),
        },
        kinds: rules.kinds().len(),
        sources: rules.sources().len(),
        records: 0,
        records_without: 0,
        lines_left_out: 0,
        nanos_per_record: 0.0,
        rows: rules.sources().iter().map(row).collect(),
    };
    if let Some(sample) = &arguments.sample {
        let (records, left_out) = read(sample, arguments.raw)?;
        report.lines_left_out = left_out;
        try_on(&rules, &records, &mut report);
    }
    if arguments.json {
        return output::json(&report);
    }
    output::text(&text(&report, arguments.sample.is_some()))
}

/// The rules of a file. The error begins with `FILE:LINE:COLUMN:`.
pub(crate) fn load(file: &Path) -> Result<IdRules, Failure> {
    if file == Path::new("-") {
        return Ok(IdRules::default());
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    IdRules::parse(&text).map_err(|error| Failure::usage(format!("{}:{error}", file.display())))
}

fn row(source: &model::ids::IdSource) -> Row {
    let (kind, source) = (source.kind.clone(), source.text.clone());
    Row { kind, source, records: 0, nanos_per_record: 0.0, examples: Vec::new() }
}

/// The records of a log file, as the agent would send them.
fn read(path: &Path, is_raw: bool) -> Result<(Vec<ParsedLine>, usize), Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("{}: {error}", path.display()));
    let mut lines = BufReader::new(File::open(path).map_err(failed)?);
    let (mut records, mut left_out, mut bytes) = (Vec::new(), 0, Vec::new());
    while read_line(&mut lines, &mut bytes).map_err(failed)? {
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end();
        if records.len() == RECORDS_MAX {
            left_out += 1;
        } else if !line.is_empty() {
            let mut record = ParsedLine::default();
            if is_raw {
                line.clone_into(&mut record.body);
            } else {
                parse_line(Dialect::Auto, line, &mut record);
            }
            records.push(record);
        }
    }
    Ok((records, left_out))
}

/// The beginning of the next line: what is longer than a line may be is passed over, not kept. `false` at the end.
fn read_line(lines: &mut impl BufRead, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    bytes.clear();
    let most = LINE_BYTES_MAX as u64;
    if lines.by_ref().take(most).read_until(b'\n', bytes)? == 0 {
        return Ok(false);
    }
    if bytes.last() != Some(&b'\n') {
        lines.skip_until(b'\n')?;
    }
    Ok(true)
}

fn find(rules: &IdRules, record: &ParsedLine, terms: &mut IdTerms) {
    terms.begin(record.trace_id);
    for (key, value) in record.attributes.iter() {
        rules.on_attribute(Place::Log, key, &AnyValue::Str(value), terms);
    }
    rules.on_body(&record.body, terms);
    rules.finish(terms);
}

fn try_on(rules: &IdRules, records: &[ParsedLine], report: &mut Report) {
    let mut terms = IdTerms::default();
    report.records = records.len();
    for record in records {
        find(rules, record, &mut terms);
        report.records_without += usize::from(terms.iter().next().is_none());
    }
    report.nanos_per_record = cost(rules, records);
    for (at, row) in report.rows.iter_mut().enumerate() {
        let Some(rules) = rules.only(at) else { continue };
        for record in records {
            find(&rules, record, &mut terms);
            row.take(&terms);
        }
        row.nanos_per_record = cost(&rules, records);
    }
}

impl Row {
    /// Counts what the source found in one record.
    fn take(&mut self, terms: &IdTerms) {
        self.records += usize::from(terms.iter().next().is_some());
        for term in terms.iter() {
            let value = term.split_once('=').map_or(term, |(_, value)| value);
            if self.examples.len() < EXAMPLES_MAX && !self.examples.iter().any(|known| known == value) {
                self.examples.push(value.to_owned());
            }
        }
    }
}

/// Nanoseconds a record, over the fastest of several passes.
fn cost(rules: &IdRules, records: &[ParsedLine]) -> f64 {
    let clock = SystemClock::shared();
    let mut terms = IdTerms::default();
    let mut fastest = Duration::MAX;
    for _ in 0..PASSES {
        let begin = clock.monotonic();
        records.iter().for_each(|record| find(rules, record, &mut terms));
        fastest = fastest.min(clock.monotonic().saturating_sub(begin));
    }
    match records.len() {
        0 => 0.0,
        count => fastest.as_nanos() as f64 / count as f64,
    }
}

fn text(report: &Report, has_sample: bool) -> String {
    let mut out =
        format!("{}: {} kinds, {} sources, no mistakes\n", report.file, report.kinds, report.sources);
    if !has_sample {
        out.push_str("with --sample LOGFILE it shows what each source finds and costs\n");
        return out;
    }
    let rows: Vec<Vec<String>> = report
        .rows
        .iter()
        .map(|row| {
            let examples: Vec<String> = row.examples.iter().map(|value| output::clean(value)).collect();
            let cost = format!("{:.0}", row.nanos_per_record);
            vec![row.kind.clone(), row.source.clone(), row.records.to_string(), cost, examples.join("  ")]
        })
        .collect();
    out.push_str(&tui::text::table(&["kind", "source", "found in", "ns/record", "for example"], &rows));
    let with = report.records - report.records_without;
    writeln!(
        out,
        "{} records, {with} with an id, {} without; all sources together cost {:.0} ns a record",
        report.records, report.records_without, report.nanos_per_record
    )
    .unwrap_or_default();
    if report.lines_left_out > 0 {
        writeln!(out, "{} further lines were not read", report.lines_left_out).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_counts_the_records_in_which_it_finds_a_value_on_its_own() {
        let rules = IdRules::parse("kinds: [{kind: k, sources: ['re:ORD-[0-9]+', kv:order, kv:none]}]")
            .expect("valid");
        let mut report = Report {
            file: "ids.yaml".to_owned(),
            kinds: 1,
            sources: 3,
            records: 0,
            records_without: 0,
            lines_left_out: 0,
            nanos_per_record: 0.0,
            rows: rules.sources().iter().map(row).collect(),
        };
        let bodies = ["order=ORD-1 and ORD-2 and ORD-3", "order=ORD-1", "nothing"];
        let record = |body: &str| ParsedLine { body: body.to_owned(), ..ParsedLine::default() };
        try_on(&rules, &bodies.map(record), &mut report);
        let found: Vec<_> = report.rows.iter().map(|row| (row.records, row.examples.join(" "))).collect();
        assert_eq!(found, [(2, "ORD-1 ORD-2 ORD-3".to_owned()), (2, "ORD-1".to_owned()), (0, String::new())]);
        assert_eq!((report.records, report.records_without), (3, 1));
    }

    #[test]
    fn of_a_line_that_is_too_long_the_beginning_is_read() {
        let text = format!("{}\nnext\nlast", "x".repeat(LINE_BYTES_MAX * 2));
        let (mut lines, mut line) = (text.as_bytes(), Vec::new());
        let mut lengths = Vec::new();
        while read_line(&mut lines, &mut line).expect("memory") {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [LINE_BYTES_MAX, 5, 4]);
    }
}
