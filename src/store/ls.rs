//! `silmari store ls`.

use storage::inspect::{Access, Listing};

use super::{FolderArgs, failure, open, size};
use crate::exit::Failure;
use crate::output;

pub(super) async fn run(folder: FolderArgs) -> Result<(), Failure> {
    let inspector = open(&folder, Access::Beside).await?;
    let listing = inspector.listing().map_err(failure)?;
    match folder.json {
        true => output::json(&listing),
        false => output::text(&text(&listing)),
    }
}

fn text(listing: &Listing) -> String {
    let headers = ["signal", "level", "segment", "from", "to", "rows", "parquet", "ids", "B/row"];
    let rows: Vec<Vec<String>> = listing
        .segments
        .iter()
        .map(|segment| {
            vec![
                segment.signal.to_string(),
                segment.level.to_string(),
                segment.name.clone(),
                segment.min_time.to_string(),
                segment.max_time.to_string(),
                segment.rows.to_string(),
                segment.parquet_bytes.to_string(),
                segment.id_index_bytes.to_string(),
                format!("{:.1}", segment.bytes as f64 / segment.rows.max(1) as f64),
            ]
        })
        .collect();
    let mut out = String::new();
    if !rows.is_empty() {
        out += &tui::text::table(&headers, &rows);
        out.push('\n');
    }
    out += &total(listing);
    if !listing.wal.is_empty() {
        out += "\n";
        out += &wal(listing);
    }
    out
}

fn total(listing: &Listing) -> String {
    let rows: u64 = listing.segments.iter().map(|segment| segment.rows).sum();
    let bytes: u64 = listing.segments.iter().map(|segment| segment.bytes).sum();
    let mut out = format!(
        "{} segments, {rows} rows, {}; everything up to WAL sequence {} is in them\n",
        listing.segments.len(),
        size(bytes),
        listing.wal_sequence
    );
    if listing.is_live {
        out += "a server uses this store: rows in its memory and its WAL are not listed\n";
    }
    out
}

fn wal(listing: &Listing) -> String {
    let headers = ["wal file", "bytes", "records", "first", "last", "to replay"];
    let rows: Vec<Vec<String>> = listing
        .wal
        .iter()
        .map(|file| {
            let numbers = [file.bytes, file.records, file.first_sequence, file.last_sequence, file.to_replay];
            std::iter::once(file.name.clone()).chain(numbers.map(|number| number.to_string())).collect()
        })
        .collect();
    tui::text::table(&headers, &rows)
}
