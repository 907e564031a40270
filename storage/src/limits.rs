//! What one record may hold, and what a row costs: for those who have to know before they decode.

/// Attributes kept of a record; the first ones win.
pub const ATTRIBUTES_MAX: usize = 128;
/// Bytes kept of one attribute value or body.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// Events and links kept of a span; the first ones win.
pub const CHILDREN_MAX: usize = 128;
/// Exemplars kept of a data point: as many as SDKs keep of a histogram with default buckets, and more.
pub const EXEMPLARS_MAX: usize = 32;
/// Bytes of the attributes of a resource that its rows share. What is longer each row has for itself: rows of a file are read as
/// texts, and many of a long one would take more than its sender paid for.
pub const SHARED_BYTES_MAX: usize = 3 << 10;
/// Bytes of a row's fixed columns, offsets and index terms, beside what its record brings.
pub const ROW_BYTES: usize = 192;
