//! A segment: the sealed rows of one signal, immutable, readable without us.
//!
//! ```text
//! segments/<table>/<first>-<last>-L<level>-<number>/
//!   data.parquet      the rows (docs/formats/segment.md)
//!   data.crc          checksums of its blocks
//!   ids/              the identity index, of `points` where there are exemplars
//!   text/             the text index (tantivy), from level 1 on, not for `points`
//! ```
//!
//! Owns: the folder and its name. Does not own: which segments live (`catalog`).

mod beside;
pub(crate) mod checksums;
mod dictionary;
pub(crate) mod file;
mod form;
#[cfg(test)]
mod golden;
pub(crate) mod home;
pub(crate) mod layout;
mod lookup;
mod numbered;
pub(crate) mod pages;
mod parquet;
mod ranges;
pub(crate) mod reader;
pub(crate) mod search;
pub(crate) mod writer;

use model::{Signal, TimeRange};

pub(crate) use ranges::RowRanges;

use crate::error::Error;
use crate::schema::FORMAT_VERSION;
use crate::window::Window;

/// Which of the rows it was made of a segment still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kept {
    /// All.
    All,
    /// Those that retention keeps longer: errors and what belongs to them.
    Errors,
    /// Those that retention keeps for more than so many seconds.
    Past(u64),
}

impl Kept {
    /// The word in the catalog.
    pub(crate) fn name(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Errors => "errors".to_owned(),
            Self::Past(seconds) => format!("past {seconds}"),
        }
    }

    /// Reads the word of the catalog.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix("past ") {
            Some(seconds) => seconds.parse().ok().map(Self::Past),
            None => [Self::All, Self::Errors].into_iter().find(|kept| kept.name() == name),
        }
    }
}

/// What the catalog knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) signal: Signal,
    /// Folder below `segments/<table>/`, see [`SegmentMeta::named`].
    pub(crate) name: String,
    /// 0 for what a seal wrote, one more than its inputs for what compaction wrote.
    pub(crate) level: u32,
    /// First and last WAL sequence its rows can come from.
    pub(crate) sequences: (u64, u64),
    pub(crate) time: TimeRange,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) kept: Kept,
    /// The last delete whose rows were left out when it was written; later ones hide rows of it.
    pub(crate) delete_id: u64,
    pub(crate) format_version: u32,
}

impl SegmentMeta {
    /// A segment that is about to be written. `number` is used once in a data folder: it makes names
    /// unique, the rest of a name is for people.
    pub(crate) fn named(signal: Signal, level: u32, sequences: (u64, u64), number: u64) -> Self {
        let (first, last) = sequences;
        Self {
            signal,
            name: format!("{first:020}-{last:020}-L{level}-{number:06}"),
            level,
            sequences,
            time: TimeRange { from: model::UnixNano(0), to: model::UnixNano(0) },
            rows: 0,
            bytes: 0,
            kept: Kept::All,
            delete_id: 0,
            format_version: FORMAT_VERSION,
        }
    }

    /// What the name of a finished folder says.
    pub(crate) fn from_name(signal: Signal, name: &str) -> Option<Self> {
        let mut parts = name.splitn(4, '-');
        let (first, last) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let level = parts.next()?.strip_prefix('L')?.parse().ok()?;
        let meta = Self::named(signal, level, (first, last), parts.next()?.parse().ok()?);
        (meta.name == name).then_some(meta)
    }

    /// The number in a folder's name.
    pub(crate) fn number_of(name: &str) -> Option<u64> {
        name.trim_end_matches(".tmp").rsplit('-').next()?.parse().ok()
    }

    /// Where it stands among segments of one window in the order in which their rows were received.
    pub(crate) fn received_order(&self) -> (u64, u64, u64) {
        let (first, last) = self.sequences;
        (last, first, Self::number_of(&self.name).unwrap_or(0))
    }

    /// Refuses a format that this program does not know.
    pub(crate) fn check_version(&self) -> Result<(), Error> {
        if self.format_version <= FORMAT_VERSION {
            return Ok(());
        }
        let (path, version) = (self.path(), self.format_version);
        Err(Error::damaged(format!(
            "segment `{path}` has format {version}, this program reads up to {FORMAT_VERSION}: use a newer silmari"
        )))
    }

    /// The folder relative to the data folder.
    pub(crate) fn path(&self) -> String {
        format!("segments/{}/{}", self.signal.table(), self.name)
    }

    /// The time window of its rows.
    pub(crate) fn window(&self) -> Window {
        Window::of(&self.time)
    }
}
