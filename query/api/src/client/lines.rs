//! Streams of JSON, one item a line: as the client reads them, and as the server writes them.
//!
//! Invariant: what is held of a line that has no end yet is bounded.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;

use super::ClientError;
use crate::LogRecord;

/// One line of a live tail.
#[derive(Clone, Debug, PartialEq)]
pub enum TailItem {
    /// A record.
    Record(Box<LogRecord>),
    /// This many records were left out because the reader was slow.
    Skipped(u64),
}

/// A longer line ends a tail.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
/// A longer line ends a follower: a journey of 100,000 spans is as long.
pub(super) const JOURNEY_LINE_BYTES_MAX: usize = 256 << 20;

/// Items of a newline-delimited stream; empty lines are signs of life.
pub(super) fn lines<S, T>(
    bytes: S,
    url: String,
    line_bytes_max: usize,
    parse: fn(&[u8]) -> Result<T, String>,
) -> impl Stream<Item = Result<T, ClientError>> + Send
where
    S: Stream<Item = reqwest::Result<Bytes>> + Send + Unpin,
    T: Send,
{
    /// What has come and is no whole line yet; `searched` bytes of it hold no end of a line.
    #[derive(Default)]
    struct Pending {
        bytes: Vec<u8>,
        searched: usize,
    }
    futures_util::stream::unfold(
        (bytes, Pending::default(), url),
        move |(mut bytes, mut pending, url)| async move {
            loop {
                let end = pending.bytes[pending.searched..].iter().position(|byte| *byte == b'\n');
                if let Some(end) = end {
                    let line: Vec<u8> = pending.bytes.drain(..=pending.searched + end).collect();
                    pending.searched = 0;
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    let item =
                        parse(&line).map_err(|problem| ClientError::Unreadable { url: url.clone(), problem });
                    return Some((item, (bytes, pending, url)));
                }
                pending.searched = pending.bytes.len();
                match bytes.next().await {
                    Some(Ok(chunk)) if pending.bytes.len() + chunk.len() <= line_bytes_max => {
                        pending.bytes.extend_from_slice(&chunk)
                    }
                    Some(Err(source)) => {
                        let error = ClientError::Unreachable { url: url.clone(), source };
                        return Some((Err(error), (bytes, pending, url)));
                    }
                    _ => return None,
                }
            }
        },
    )
}

pub(super) fn tail_item(line: &[u8]) -> Result<TailItem, String> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Line {
        Skipped { skipped: u64 },
        Record(Box<LogRecord>),
    }
    match serde_json::from_slice(line).map_err(|error| error.to_string())? {
        Line::Skipped { skipped } => Ok(TailItem::Skipped(skipped)),
        Line::Record(record) => Ok(TailItem::Record(record)),
    }
}

/// Serialises one line of a tail, for the server's side of the protocol.
///
/// # Errors
/// Never for the types of this crate.
pub fn tail_line(item: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(item)?;
    line.push(b'\n');
    Ok(line)
}
