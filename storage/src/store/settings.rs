//! How a store behaves, and the defaults.

use std::path::PathBuf;
use std::time::Duration;

use crate::budget::memory_bytes_default;
use crate::compaction;
use crate::memory::Memory;
use crate::plant::Planted;
use crate::retention::Retention;
use crate::segment::home::settings::Places;
use crate::segment::layout::Promote;

/// How the store behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Rows in the head that make it be sealed into segments.
    pub seal_rows: usize,
    /// Age of the head's oldest row that makes it be sealed.
    pub seal_interval: Duration,
    /// Bytes of rows in the head above which appends are refused until sealing has caught up. From half
    /// of it on the head is sealed.
    pub head_bytes_max: usize,
    /// Memory of the process. The head takes at most half of it; what requests in flight may take is
    /// [`Store::memory_free`], what queries may take [`Store::memory`]. Bytes.
    pub memory_bytes_max: usize,
    /// Bytes that have to be free on the disk; below it appends are refused. `None`: 1 GiB, or 5 % of a
    /// smaller disk. 0: the disk is not watched, and nothing is held in reserve.
    pub disk_free_bytes_min: Option<u64>,
    /// Size of a WAL file in bytes.
    pub wal_segment_bytes: u64,
    /// Records one request may carry.
    pub records_per_request_max: usize,
    /// Bytes one request may have after decompression.
    pub request_bytes_max: usize,
    /// Where segments and catalog are; in the data folder, unless said otherwise.
    pub places: Places,
    /// How long rows stay.
    pub retention: Retention,
    /// Attributes that have a column of their own in every segment.
    pub promote: Promote,
    /// Whether segments are written with an index of the words of log bodies and span names. Without, searches read all of them.
    pub text_index: bool,
    /// Segments of similar size in one hour that make them be merged while the hour lasts.
    pub compaction_fan_in: usize,
    /// Whether retention and compaction run by themselves; if not, [`Store::compact`] runs them.
    pub has_maintenance: bool,
    #[cfg(test)]
    pub(crate) planted: Planted,
}

/// Decompressed pages take so many bytes, or this part of a smaller budget. 64 MiB.
const PAGE_BYTES_MAX: usize = 64 << 20;
const PAGE_SHARE: usize = 32;

impl Settings {
    /// The defaults, with everything below `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            seal_rows: 262_144,
            seal_interval: Duration::from_secs(600),
            head_bytes_max: 384 << 20,
            memory_bytes_max: memory_bytes_default(),
            disk_free_bytes_min: None,
            wal_segment_bytes: 64 << 20,
            records_per_request_max: 200_000,
            request_bytes_max: 64 << 20,
            places: Places::default(),
            retention: Retention::default(),
            promote: Promote::default(),
            text_index: true,
            compaction_fan_in: 8,
            has_maintenance: true,
            #[cfg(test)]
            planted: Planted::default(),
        }
    }

    #[cfg(test)]
    pub(super) const fn planted(&self) -> Planted {
        self.planted
    }

    #[cfg(not(test))]
    pub(super) const fn planted(&self) -> Planted {
        Planted {}
    }

    /// Bytes the head may take.
    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes_max.min(self.memory_bytes_max / 2)
    }

    /// Bytes of decompressed pages that are kept.
    pub(super) fn page_bytes(&self) -> usize {
        PAGE_BYTES_MAX.min(self.memory_bytes_max / PAGE_SHARE)
    }

    /// What is there for queries.
    pub(super) fn memory(&self) -> Memory {
        Memory::new(self.memory_bytes_max, self.head_bytes(), self.page_bytes())
    }

    pub(crate) fn compaction(&self) -> compaction::plan::Settings {
        let fan_in = self.compaction_fan_in.clamp(2, compaction::plan::INPUTS_MAX);
        let text_index = self.text_index;
        compaction::plan::Settings { fan_in, text_index, ..compaction::plan::Settings::default() }
    }
}
