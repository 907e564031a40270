//! One segment read again from front to back: the footer, every page, the catalog's numbers, the index.
//!
//! Invariant: rows are held a batch at a time, whatever the segment's size.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use model::{Signal, TimeRange};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;

use super::ids::{self, Sample};
use super::repair::Repair;
use super::verify::Verification;
use super::{Finding, Inspector, Severity, bytes_below};
use crate::index::is_outdated;
use crate::rows::{RowTerms, time_range};
use crate::schema::{self, FORMAT_VERSION};
use crate::segment::SegmentMeta;
use crate::segment::checksums::{CheckedFile, Checksums};
use crate::segment::layout::Layout;
use crate::segment::reader::version_of;
use crate::text::files;

/// Rows of a segment whose ids are looked up in its index.
const SAMPLES_MAX: u64 = 512;

/// The rows of one segment as they are found.
struct Walk<'a> {
    meta: &'a SegmentMeta,
    layout: Layout,
    rows: u64,
    time: Option<TimeRange>,
    samples: Vec<Sample>,
    step: u64,
}

impl Walk<'_> {
    fn batch(&mut self, rows: &RecordBatch) {
        if rows.num_rows() == 0 {
            return;
        }
        let time = time_range(self.meta.signal, rows);
        self.time = Some(self.time.map_or(time, |all| all.with(&time)));
        if let Ok(Some(terms_of)) = RowTerms::new(&self.layout, rows) {
            let first = (self.step - self.rows % self.step) % self.step;
            for row in (first..rows.num_rows() as u64).step_by(self.step as usize) {
                let mut terms = Vec::new();
                terms_of.each(row as usize, &mut |term| terms.push(term.to_owned()), &mut String::new());
                self.samples.push(Sample { row: self.rows + row, terms });
            }
        }
        self.rows += rows.num_rows() as u64;
    }
}

impl Inspector {
    pub(super) fn verify_segment(&self, meta: &SegmentMeta, found: &mut Verification) {
        found.segments += 1;
        let files = match self.files_of(meta, "") {
            Ok(files) => files,
            Err(error) => {
                let mut report = Report { meta, path: meta.path(), findings: &mut found.findings };
                let remedy = "verify again when the place where segments are kept answers";
                report.push(Severity::Defect, None, error.to_string(), remedy, Repair::None);
                return;
            }
        };
        let dir = &files.dir;
        let data = dir.join("data.parquet");
        let bytes = bytes_below(dir);
        found.bytes += bytes;
        let mut report = Report { meta, path: self.relative(&data), findings: &mut found.findings };
        if !dir.is_dir() {
            let mut at_folder = Report { path: meta.path(), ..report };
            at_folder.lost(None, "the catalog names it, and it is not there".to_owned());
            return;
        }
        if Checksums::are_damaged(&data) {
            let problem = "its checksums (data.crc) are damaged: it is read without them".to_owned();
            let remedy = "nothing to do: compaction writes new ones; until then flipped bits are not noticed";
            report.push(Severity::Defect, None, problem, remedy, Repair::None);
        }
        let Some(parquet) = open(&data, &mut report) else { return };
        let mut walk = Walk {
            meta,
            layout: Layout::of_file(meta.signal, parquet.schema()),
            rows: 0,
            time: None,
            samples: Vec::new(),
            step: (meta.rows / SAMPLES_MAX).max(1),
        };
        if !decode(&data, &parquet, &mut walk, &mut report) {
            return;
        }
        check_blocks(&data, &mut report);
        found.rows += walk.rows;
        compare(&walk, bytes, &mut report);
        let is_indexed =
            dir.join("ids").is_dir() || walk.samples.iter().any(|sample| !sample.terms.is_empty());
        if has_ids(meta.signal) || is_indexed {
            report.path = self.relative(&dir.join("ids"));
            if is_outdated(meta.format_version, &dir.join("ids")) {
                report.outdated_index();
            } else {
                let checked = ids::check(&dir.join("ids"), walk.rows, &walk.samples);
                found.postings += checked.postings;
                found.ids_looked_up += checked.looked_up;
                for problem in checked.problems {
                    report.index(problem);
                }
            }
            report.path = self.relative(&dir.join("text"));
            if dir.join("text").is_dir()
                && let Err(problem) = files::check(&dir.join("text"))
            {
                let remedy = "nothing to do: searches read all rows of the segment, and the next merge it is in writes a new one";
                report.push(Severity::Defect, None, problem.to_string(), remedy, Repair::None);
            }
        }
    }
}

/// Findings about one segment.
struct Report<'a> {
    meta: &'a SegmentMeta,
    path: String,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn push(
        &mut self,
        severity: Severity,
        place: Option<String>,
        problem: String,
        remedy: &str,
        repair: Repair,
    ) {
        let (path, remedy) = (self.path.clone(), remedy.to_owned());
        self.findings.push(Finding { severity, path, place, problem, remedy, repair });
    }

    /// Its rows cannot be read.
    fn lost(&mut self, place: Option<String>, problem: String) {
        let remedy = "move the segment to quarantine/ and take it out of the catalog";
        self.push(Severity::Defect, place, problem, remedy, Repair::Segment(self.meta.clone()));
    }

    fn index(&mut self, problem: String) {
        let remedy = "build the identity index again from the rows";
        self.push(Severity::Defect, None, problem, remedy, Repair::Index(self.meta.clone()));
    }

    /// Rows are read in its place.
    fn outdated_index(&mut self) {
        let problem = format!("the identity index is one of format {}", self.meta.format_version);
        let remedy =
            "nothing to do: rows are read in its place until compaction has written the segment anew";
        self.push(Severity::Note, None, problem, remedy, Repair::None);
    }

    fn mismatch(&mut self, problem: String) {
        let remedy = "look at it: file and catalog tell different stories; a copy of either may be right";
        self.push(Severity::Defect, None, problem, remedy, Repair::None);
    }
}

fn open(data: &Path, report: &mut Report<'_>) -> Option<ArrowReaderMetadata> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let file = CheckedFile::open(data, None).map_err(|error| error.to_string());
    let parquet =
        file.and_then(|file| ArrowReaderMetadata::load(&file, options).map_err(|error| error.to_string()));
    let parquet = match parquet {
        Ok(parquet) => parquet,
        Err(error) => {
            report.lost(Some("footer".to_owned()), error);
            return None;
        }
    };
    let version = version_of(parquet.metadata());
    if version.is_none_or(|version| version > FORMAT_VERSION) {
        let found = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
        let problem = format!("its format version is {found}, this program reads up to {FORMAT_VERSION}");
        report.push(
            Severity::Defect,
            Some("footer".to_owned()),
            problem,
            "use a newer silmari",
            Repair::None,
        );
        return None;
    }
    let expected = Layout::of_file(report.meta.signal, parquet.schema()).schema();
    let names = |schema: &arrow::datatypes::Schema| {
        schema
            .fields()
            .iter()
            .map(|field| format!("{}: {}", field.name(), field.data_type()))
            .collect::<Vec<_>>()
    };
    let (found, expected) = (names(parquet.schema()), names(&expected));
    if let Some(wrong) = expected.iter().find(|column| !found.contains(column)) {
        report.lost(Some("footer".to_owned()), format!("it has no column `{wrong}`"));
        return None;
    }
    Some(parquet)
}

/// Holds every block against its checksum: what decodes may still be another value.
fn check_blocks(data: &Path, report: &mut Report<'_>) {
    const READ_BYTES: u64 = 1 << 20;
    let Some(checksums) = Checksums::of(data) else { return };
    let file = match CheckedFile::open(data, Some(Arc::new(checksums))) {
        Ok(file) => file,
        Err(error) => return report.lost(None, error.to_string()),
    };
    let bytes = parquet::file::reader::Length::len(&file);
    for start in (0..bytes).step_by(READ_BYTES as usize) {
        if let Err(error) = file.read_range(start, (bytes - start).min(READ_BYTES) as usize) {
            return report.lost(None, error.to_string());
        }
    }
}

/// Decodes every page; `false` when some cannot be.
fn decode(data: &Path, parquet: &ArrowReaderMetadata, walk: &mut Walk<'_>, report: &mut Report<'_>) -> bool {
    let groups = parquet.metadata().num_row_groups();
    let mut is_sound = true;
    for group in 0..groups {
        let rows_before = walk.rows;
        if let Err(error) = read_group(data, parquet, group, None, &mut |rows| walk.batch(rows)) {
            is_sound = false;
            let columns = bad_columns(data, parquet, group);
            let column =
                if columns.is_empty() { String::new() } else { format!(", column {}", columns.join(", ")) };
            report.lost(Some(format!("row group {group} of {groups}{column}")), error);
            continue;
        }
        let said = u64::try_from(parquet.metadata().row_group(group).num_rows()).unwrap_or(0);
        let read = walk.rows - rows_before;
        if said != read {
            report.mismatch(format!("row group {group} has {read} rows, the footer says {said}"));
        }
    }
    is_sound
}

fn bad_columns(data: &Path, parquet: &ArrowReaderMetadata, group: usize) -> Vec<String> {
    let columns = parquet.schema().fields();
    let is_bad = |root: &usize| read_group(data, parquet, group, Some(*root), &mut |_| {}).is_err();
    (0..columns.len()).filter(is_bad).map(|root| format!("`{}`", columns[root].name())).collect()
}

fn read_group(
    data: &Path,
    parquet: &ArrowReaderMetadata,
    group: usize,
    root: Option<usize>,
    each: &mut dyn FnMut(&RecordBatch),
) -> Result<(), String> {
    let file = CheckedFile::open(data, None).map_err(|error| error.to_string())?;
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, parquet.clone())
        .with_row_groups(vec![group]);
    if let Some(root) = root {
        let mask = ProjectionMask::roots(builder.parquet_schema(), [root]);
        builder = builder.with_projection(mask);
    }
    for rows in builder.build().map_err(|error| error.to_string())? {
        each(&rows.map_err(|error| error.to_string())?);
    }
    Ok(())
}

/// What the rows say against what the catalog says.
fn compare(walk: &Walk<'_>, bytes: u64, report: &mut Report<'_>) {
    let meta = walk.meta;
    if walk.rows != meta.rows {
        report.mismatch(format!("{} rows, the catalog says {}", walk.rows, meta.rows));
    }
    if let Some(time) = walk.time.filter(|time| *time != meta.time) {
        report.mismatch(format!(
            "rows from {} to {}, the catalog says {} to {}: queries by time can miss some",
            time.from, time.to, meta.time.from, meta.time.to
        ));
    }
    if bytes != meta.bytes {
        let problem = format!("{bytes} bytes in its files, the catalog says {}", meta.bytes);
        report.push(Severity::Note, None, problem, "nothing depends on it", Repair::None);
    }
}

/// The signals whose segments all have an identity index.
pub(super) fn has_ids(signal: Signal) -> bool {
    schema::group_column(signal).is_some()
}
