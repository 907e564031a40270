//! What a store says of itself in numbers.

/// Numbers of the store, for `/metrics` and `silmari`'s header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Rows of each signal (by [`Signal::index`]) made visible since the store was opened.
    pub rows_appended: [u64; 3],
    /// Rows in the head now.
    pub head_rows: u64,
    /// Bytes the head holds now.
    pub head_bytes: u64,
    /// Bytes of the memory budget that queries hold now.
    pub query_bytes: u64,
    /// Queries that wanted more memory than was free since the store was opened.
    pub queries_out_of_memory: u64,
    /// Live segments.
    pub segments: u64,
    /// Bytes of live segments.
    pub segment_bytes: u64,
    /// WAL records that were replayed since the store was opened.
    pub wal_records_replayed: u64,
    /// Whether the WAL is still being replayed, and appends are refused.
    pub is_replaying: bool,
    /// WAL records that replay could not read, since the store was opened.
    pub wal_records_lost: u64,
    /// Segments the catalog names and that cannot be opened.
    pub segments_unreadable: u64,
    /// Whether the object store that keeps the segments did not answer when it was last asked: sealing waits, and what there are no
    /// copies of is missing from answers. Always `false` with segments in the data folder.
    pub is_object_store_away: bool,
    /// Indexes of segments that are damaged: searches read all rows of those segments.
    pub indexes_damaged: u64,
    /// Last WAL sequence that is durable.
    pub wal_sequence: u64,
    /// Bytes free on the disk when it was last looked at.
    pub disk_free_bytes: u64,
    /// Whether appends are refused because too little of the disk is free.
    pub is_disk_low: bool,
    /// Whether appends are refused because the WAL cannot be written.
    pub is_wal_refusing: bool,
    /// Times the head was sealed since the store was opened.
    pub seals: u64,
    /// Times sealing failed since the store was opened.
    pub seal_failures: u64,
    /// Merges of segments since the store was opened.
    pub merges: u64,
    /// Segments that retention removed or reduced to errors since the store was opened.
    pub segments_expired: u64,
}
