//! `silmari store stats`.

use std::fmt::Write as _;

use storage::inspect::{Access, SignalStats};

use super::{FolderArgs, open, percent, size};
use crate::exit::Failure;
use crate::output;

pub(super) async fn run(folder: FolderArgs) -> Result<(), Failure> {
    let stats = open(&folder, Access::Beside).await?.stats();
    match folder.json {
        true => output::json(&stats),
        false => output::text(&text(&stats)),
    }
}

fn text(stats: &[SignalStats]) -> String {
    let shown: Vec<String> = stats.iter().filter(|signal| signal.segments > 0).map(signal).collect();
    let mut out = match shown.is_empty() {
        true => {
            "no segments: what was received is still in the WAL, see `silmari store dump-wal`\n".to_owned()
        }
        false => shown.join("\n"),
    };
    for problem in stats.iter().flat_map(|signal| &signal.unreadable) {
        writeln!(out, "not counted: {problem}; see `silmari store verify`").unwrap_or_default();
    }
    out
}

fn signal(stats: &SignalStats) -> String {
    let mut out = format!(
        "{}: {} rows in {} segments, {}, {:.1} bytes a row\n",
        stats.signal.table(),
        stats.rows,
        stats.segments,
        size(stats.bytes),
        stats.bytes_per_row
    );
    out += &tui::text::table(&["column", "bytes", "%", "B/row", "ratio"], &columns(stats));
    if !stats.id_kinds.is_empty() {
        out += &tui::text::table(&["id kind", "bytes", "%", "terms", "groups", "B/term"], &kinds(stats));
    }
    out
}

fn columns(stats: &SignalStats) -> Vec<Vec<String>> {
    let row = |name: &str, bytes: u64, ratio: String| {
        let per_row = format!("{:.2}", bytes as f64 / stats.rows.max(1) as f64);
        vec![name.to_owned(), bytes.to_string(), percent(bytes, stats.bytes), per_row, ratio]
    };
    let mut sorted: Vec<_> = stats.columns.iter().collect();
    sorted.sort_by_key(|column| std::cmp::Reverse(column.bytes));
    let mut rows: Vec<Vec<String>> = sorted
        .into_iter()
        .map(|column| {
            let ratio = column.uncompressed_bytes as f64 / column.bytes.max(1) as f64;
            row(&column.column, column.bytes, format!("{ratio:.1}"))
        })
        .collect();
    rows.push(row("(Parquet footer, page index)", stats.parquet_metadata_bytes, String::new()));
    if stats.id_index_bytes > 0 {
        rows.push(row("(identity index)", stats.id_index_bytes, String::new()));
    }
    rows
}

fn kinds(stats: &SignalStats) -> Vec<Vec<String>> {
    let rows = stats.id_kinds.iter().map(|kind| {
        vec![
            kind.kind.clone(),
            kind.bytes.to_string(),
            percent(kind.bytes, stats.bytes),
            kind.terms.to_string(),
            kind.groups.to_string(),
            format!("{:.1}", kind.bytes as f64 / kind.terms.max(1) as f64),
        ]
    });
    rows.collect()
}
