//! Reading a request's body within limits of size and time.
//!
//! Invariants: memory grows as bytes arrive, never by what was announced, and is charged to the ticket;
//! a body slower than the least speed ends in a refusal; what is left of a refused body is passed over,
//! within bounds, so that the client reads the refusal instead of a broken connection.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::admission::Ticket;
use crate::settings::Connections;
use crate::status::{Reason, Refusal};

/// Bytes of a refused body that are passed over.
const DISCARD_BYTES_MAX: usize = 1 << 20;
/// How long that may take.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct BodyReader {
    body: Body,
    held: BytesMut,
    has_ended: bool,
    started: Instant,
    grace: Duration,
    bytes_per_second_min: u32,
}

impl BodyReader {
    pub(crate) fn new(body: Body, limits: &Connections) -> Self {
        Self {
            body,
            held: BytesMut::new(),
            has_ended: false,
            started: Instant::now(),
            grace: limits.body_grace,
            bytes_per_second_min: limits.body_bytes_per_second_min,
        }
    }

    /// How many bytes the client announced, if it did.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Reads until `bytes` are held or the body ends; whether they are held.
    pub(crate) async fn at_least(&mut self, bytes: usize, ticket: &mut Ticket) -> Result<bool, Refusal> {
        while self.held.len() < bytes {
            let Some(piece) = self.next_piece().await? else { break };
            ticket.grow_to(self.held.len() + piece.len())?;
            self.held.extend_from_slice(&piece);
        }
        Ok(self.held.len() >= bytes)
    }

    /// All of the body, at most `bytes_max`.
    pub(crate) async fn all(&mut self, bytes_max: usize, ticket: &mut Ticket) -> Result<Bytes, Refusal> {
        if self.at_least(bytes_max + 1, ticket).await? {
            return Err(too_long(bytes_max));
        }
        Ok(self.take())
    }

    /// What is held so far.
    pub(crate) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes what is held.
    pub(crate) fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        let earned = self.held.len() as f64 / f64::from(self.bytes_per_second_min.max(1));
        let deadline = self.started + self.grace + Duration::from_secs_f64(earned);
        loop {
            let Ok(frame) = tokio::time::timeout_at(deadline, self.body.frame()).await else {
                return Err(Refusal::new(
                    Reason::SlowBody,
                    format!(
                        "the body arrives too slowly: {} bytes in {} s, {} bytes/s are expected",
                        self.held.len(),
                        self.started.elapsed().as_secs(),
                        self.bytes_per_second_min
                    ),
                ));
            };
            match frame {
                None => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Some(Ok(frame)) => {
                    // Trailers carry nothing that we read.
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
                Some(Err(error)) => {
                    self.has_ended = true;
                    return Err(Refusal::new(Reason::Aborted, format!("the body broke off: {error}")));
                }
            }
        }
    }

    /// Passes over what is left, beside the answer.
    pub(crate) fn discard(mut self, tasks: &TaskTracker) {
        if self.has_ended || self.body.is_end_stream() {
            return;
        }
        tasks.spawn(async move {
            let mut left = DISCARD_BYTES_MAX;
            let drain = async {
                while let Some(Ok(frame)) = self.body.frame().await {
                    left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                    if left == 0 {
                        break;
                    }
                }
            };
            // A client that goes on sending finds the connection closed.
            drop(tokio::time::timeout(DISCARD_TIME_MAX, drain).await);
        });
    }
}

pub(crate) fn too_long(bytes_max: usize) -> Refusal {
    Refusal::new(Reason::TooLarge, format!("the body is longer than {bytes_max} bytes: send smaller batches"))
}
