//! A segment: the sealed rows of one signal, immutable, readable without us.
//!
//! ```text
//! segments/<table>/<last WAL sequence>/
//!   data.parquet      the rows (docs/formats/segment.md)
//!   ids/              the identity index (tantivy), not for `points`
//! ```
//!
//! Owns: the folder and its name. Does not own: which segments live (`catalog`).

pub(crate) mod reader;
pub(crate) mod writer;

use model::{Signal, TimeRange};

/// What the catalog knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) signal: Signal,
    /// Folder below `segments/<table>/`.
    pub(crate) name: String,
    pub(crate) time: TimeRange,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) format_version: u32,
}

impl SegmentMeta {
    /// The folder relative to the data folder.
    pub(crate) fn path(&self) -> String {
        format!("segments/{}/{}", self.signal.table(), self.name)
    }
}
