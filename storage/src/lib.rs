//! The store: durable on acknowledgement, visible at once, an open format on disk.
//!
//! Owns: the write-ahead log, the head, segments, the identity index, the catalog, snapshots. Does not
//! own: protocols (`collector`), the meaning of queries (`query`).
//!
//! ```text
//! Store::append(Frame, Batch) ─► wal (fdatasync) ─► head ─► Durable      what the sender is told
//!                                                    │
//! Store::snapshot() ◄── head batches + segments      └─ seal ─► Parquet + ids index ─► catalog ─► wal trimmed
//!                                  ▲                                 │
//!                                  └── compaction, retention, deletes ┘    in the background
//! ```
//!
//! Invariants: [`Durable`] exists only after fdatasync; rows are in the next snapshot before their
//! `Durable` is returned; a segment is immutable; a row is in exactly one of head and segments.

mod budget;
mod catalog;
mod compaction;
mod decode;
mod deletes;
mod error;
mod folder;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod head;
mod index;
pub mod inspect;
pub mod limits;
mod maintenance;
mod memory;
mod order;
mod plant;
mod positions;
mod retention;
pub mod rows;
pub mod schema;
mod seal;
mod segment;
#[cfg(test)]
mod shadow;
mod snapshot;
mod store;
#[cfg(test)]
mod testing;
mod text;
mod wal;
mod window;

pub use budget::memory_bytes_default;
pub use catalog::CatalogHome;
pub use decode::{Batch, DecodeError};
pub use deletes::{DELETES_PENDING_MAX, DeleteReceipt};
pub use disk::{DiskFile, Fs, RealFs};
pub use error::{Error, ErrorKind};
pub use frame::{Compression, Frame, decompress};
pub use head::HeadBatch;
pub use memory::{Memory, OutOfMemory, Reservation};
pub use positions::{AgentOrigin, Hello, KafkaRange, Mismatch, Origin, PositionRefusal};
pub use retention::{Keep, KeepRule, Retention};
pub use segment::checksums::{CheckedFile, CheckedRead};
pub use segment::file::{SegmentDescription, SegmentFile};
pub use segment::home::settings::{ObjectSettings, Places, SegmentHome};
pub use segment::home::source::{Fetch, WantedFiles};
pub use segment::layout::{Layout, Promote};
pub use snapshot::{
    Finder, IdKindCount, LOOKUP_ROWS_MAX, Place, Rows, ScanOrder, ScanStats, Snapshot, TextRows, TextSearch,
};
pub use store::{Durable, Placed, ReplayProgress, Settings, Store, StoreStats};
pub use text::TextHint;
