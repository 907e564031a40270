//! The messages between a server and its SQL workers, over the worker's standard input and output.
//!
//! ```text
//! kind 1 │ length u32 LE │ body
//!
//! server ─► worker   Q  JSON: statement, limits, segments          H  Arrow IPC: rows of the head      F  JSON: null, or why not
//! worker ─► server   h  JSON: which rows of the head               A  JSON: the answer or why not      f  JSON: which files of a segment
//! ```
//!
//! Invariant: a length is checked against a limit before anything is read. Both ends are of one build: no
//! version is needed.

use std::io::{self, Read, Write};
use std::time::Duration;

use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;
use query_api::{SqlAnswer, SqlRequest};
use serde::{Deserialize, Serialize};
use storage::SegmentDescription;

use super::{SqlError, SqlLimits};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A statement to run.
    Query,
    /// Rows of the head.
    Head,
    /// A wish for rows of the head.
    WantHead,
    /// Files of a segment are on the local disk now, or cannot be.
    Files,
    /// A wish for files of a segment.
    WantFiles,
    /// The answer.
    Answer,
}

impl Kind {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Query => b'Q',
            Self::Head => b'H',
            Self::WantHead => b'h',
            Self::Files => b'F',
            Self::WantFiles => b'f',
            Self::Answer => b'A',
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Query, Self::Head, Self::WantHead, Self::Files, Self::WantFiles, Self::Answer];
        all.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Bytes before the body.
pub(super) const HEADER_BYTES: usize = 5;

/// A statement and all it needs but the head.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Query {
    pub(super) request: SqlRequest,
    pub(super) limits: WireLimits,
    pub(super) segments: Vec<SegmentDescription>,
    pub(super) unreadable: [usize; 3],
}

/// Why files of a segment cannot be had.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    /// Whether they are not as they were written, or not there.
    is_damage: bool,
    text: String,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let is_damage = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound);
        Self { is_damage, text: error.to_string() }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = if refusal.is_damage { io::ErrorKind::InvalidData } else { io::ErrorKind::NotConnected };
        Self::new(kind, refusal.text)
    }
}

/// What came of it.
pub(super) type Outcome = Result<SqlAnswer, SqlError>;

/// [`SqlLimits`] as numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireLimits {
    numbers: [usize; 10],
    timeout_nano: u64,
}

impl From<&SqlLimits> for WireLimits {
    fn from(limits: &SqlLimits) -> Self {
        Self {
            numbers: [
                limits.text_bytes_max,
                limits.nodes_max,
                limits.depth_max,
                limits.set_operations_max,
                limits.in_items_max,
                limits.rows_max,
                limits.answer_bytes_max,
                limits.memory_bytes_max,
                limits.stack_bytes,
                limits.scan_bytes_max,
            ],
            timeout_nano: u64::try_from(limits.timeout.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl From<&WireLimits> for SqlLimits {
    fn from(wire: &WireLimits) -> Self {
        let [
            text_bytes_max,
            nodes_max,
            depth_max,
            set_operations_max,
            in_items_max,
            rows_max,
            answer_bytes_max,
            memory_bytes_max,
            stack_bytes,
            scan_bytes_max,
        ] = wire.numbers;
        Self {
            text_bytes_max,
            nodes_max,
            depth_max,
            set_operations_max,
            in_items_max,
            rows_max,
            answer_bytes_max,
            memory_bytes_max,
            timeout: Duration::from_nanos(wire.timeout_nano),
            stack_bytes,
            scan_bytes_max,
        }
    }
}

pub(super) fn header(kind: Kind, bytes: usize) -> io::Result<[u8; HEADER_BYTES]> {
    let length = u32::try_from(bytes)
        .map_err(|_| io::Error::other(format!("a message of {bytes} bytes is longer than 4 GiB")))?;
    let mut header = [kind.byte(); HEADER_BYTES];
    header[1..].copy_from_slice(&length.to_le_bytes());
    Ok(header)
}

/// Kind and length of the body that follows; a body longer than `bytes_max` is an error.
pub(super) fn parse_header(header: [u8; HEADER_BYTES], bytes_max: usize) -> io::Result<(Kind, usize)> {
    let kind = Kind::from_byte(header[0]).ok_or_else(|| io::Error::other("no message of ours"))?;
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
    match length > bytes_max {
        true => Err(io::Error::other(format!("a message of {length} bytes, {bytes_max} at most"))),
        false => Ok((kind, length)),
    }
}

pub(super) fn write(to: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    to.write_all(&header(kind, body.len())?)?;
    to.write_all(body)?;
    to.flush()
}

/// The next message; `None` at the end.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut header = [0; HEADER_BYTES];
    match from.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (kind, length) = parse_header(header, u32::MAX as usize)?;
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some((kind, body)))
}

/// Batches of one schema as an Arrow IPC stream; empty when there are none.
pub(super) fn encode_rows(batches: &[RecordBatch]) -> Result<Vec<u8>, datafusion::arrow::error::ArrowError> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let mut writer = StreamWriter::try_new(Vec::new(), &first.schema())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

pub(super) fn decode_rows(bytes: &[u8]) -> Result<Vec<RecordBatch>, datafusion::arrow::error::ArrowError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    StreamReader::try_new(bytes, None)?.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, RecordBatch, RecordBatchOptions};
    use datafusion::arrow::datatypes::Schema;

    use super::*;

    #[test]
    fn messages_read_back_in_order_and_end_cleanly() {
        let mut pipe = Vec::new();
        write(&mut pipe, Kind::Query, b"{}").expect("in memory");
        write(&mut pipe, Kind::Head, b"").expect("in memory");
        let mut pipe = &pipe[..];
        assert_eq!(read(&mut pipe).expect("whole"), Some((Kind::Query, b"{}".to_vec())));
        assert_eq!(read(&mut pipe).expect("whole"), Some((Kind::Head, Vec::new())));
        assert_eq!(read(&mut pipe).expect("the end"), None);
    }

    #[test]
    fn a_message_that_is_too_long_or_not_ours_is_refused_before_it_is_read() {
        let long = header(Kind::Answer, 1_001).expect("short enough for a header");
        assert_eq!(parse_header(long, 1_001).expect("allowed"), (Kind::Answer, 1_001));
        assert!(parse_header(long, 1_000).is_err());
        assert!(parse_header(*b"GET /", 1_000).is_err());
    }

    #[test]
    fn rows_keep_their_number_even_without_columns() {
        let numbers = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let rows = RecordBatch::try_from_iter([("n", numbers as _)]).expect("one column");
        let options = RecordBatchOptions::new().with_row_count(Some(5));
        let bare =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).expect("none");
        for batch in [rows, bare] {
            let bytes = encode_rows(&[batch.clone(), batch.clone()]).expect("encoded");
            assert_eq!(decode_rows(&bytes).expect("decoded"), [batch.clone(), batch]);
        }
        assert_eq!(decode_rows(&encode_rows(&[]).expect("nothing")).expect("nothing"), []);
    }

    #[test]
    fn limits_arrive_as_they_were_sent() {
        let limits = SqlLimits { depth_max: 7, stack_bytes: 8, scan_bytes_max: 9, ..SqlLimits::default() };
        assert_eq!(SqlLimits::from(&WireLimits::from(&limits)), limits);
    }
}
