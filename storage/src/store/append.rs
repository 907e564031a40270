//! Taking records in: whether there is room, where they belong in their source, and making them durable.
//!
//! Owns: what a sender is answered. Does not own: the order of appends and what is written (`gate`), the sync (`wal`).

use std::sync::Arc;

use model::positions::{AgentId, StreamId};
use model::{Signal, UnixNano};

use super::gate::{Arrived, Trim};
use super::{Store, opening, replay};
use crate::budget::DiskState;
use crate::decode::{self, Batch, DecodeError};
use crate::error::{Context as _, Error, ErrorKind};
use crate::frame::{Compression, Frame};
use crate::plant::Plant;
use crate::positions::{Extension, Hello, Origin, committed_of};
use crate::wal::{Durable, Record, ReplayRecord};

/// How often an append is cut to committed positions that move meanwhile.
const TRIM_TRIES: usize = 8;

/// Records that are durable, and where their source stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Proof that they are on the disk.
    pub durable: Durable,
    /// The streams of the append and their committed positions.
    pub committed: Vec<(StreamId, Option<u64>)>,
    /// Records of the frame that were there already and were not stored again.
    pub dropped: usize,
}

impl Store {
    /// Decodes an uncompressed request of `signal`. CPU work: call it off the async threads.
    ///
    /// # Errors
    /// When the request as a whole cannot be read; records that are bad beside good ones are counted
    /// in the batch.
    pub fn decode(
        &self,
        signal: Signal,
        request: &[u8],
        received_at: UnixNano,
    ) -> Result<Batch, DecodeError> {
        let believes_all = self.shared.folder.planted.has(Plant::FutureBelieved);
        let received_at = if believes_all { UnixNano(i64::MAX >> 1) } else { received_at };
        decode::decode(signal, request, &self.ids, received_at, self.shared.settings.records_per_request_max)
    }

    /// Makes a frame durable and its rows visible. Returns after both.
    ///
    /// # Errors
    /// `Retry` when the head is full or the disk refuses; nothing was acknowledged then.
    pub async fn append(&self, frame: Frame, batch: Batch) -> Result<Durable, Error> {
        self.check_room()?;
        self.log(&frame, batch, Extension::default()).await
    }

    /// As [`Store::append`], for records whose place in their source is known: together with the records
    /// the source's position becomes durable, and records that are there already are not stored again.
    /// Appends of one source are stored in the order of their first polls, or refused. A frame
    /// without records only moves positions.
    ///
    /// # Errors
    /// `Position` when the positions do not fit; nothing was stored then. As [`Store::append`].
    pub async fn append_from(&self, frame: Frame, batch: Batch, origin: Origin) -> Result<Placed, Error> {
        self.check_room()?;
        let mut extension = Extension::from(origin);
        let mut batch = batch;
        let mut dropped = 0;
        for _ in 0..TRIM_TRIES {
            let records = batch.accepted + batch.rejected;
            match self.log(&frame, batch, extension.clone()).await {
                Ok(durable) => {
                    let dropped = dropped + if durable.is_new { 0 } else { records };
                    return Ok(self.placed(durable, &extension, dropped));
                }
                Err(error) => {
                    let Some(Trim(committed)) = error.source_ref::<Trim>() else { return Err(error) };
                    for ((_, kept_from), committed) in extension.ranges.iter_mut().zip(committed) {
                        *kept_from = *committed;
                    }
                    batch = self.decode_rest(&frame, &extension).await?;
                    dropped += records.saturating_sub(batch.accepted + batch.rejected);
                }
            }
        }
        Err(Error::retry("the committed positions move faster than the request can be cut to them"))
    }

    /// Opens a session for an agent: from now on only it may write the agent's streams. Returns when the
    /// session is durable and all that was appended before it is settled.
    ///
    /// # Errors
    /// `Retry` when the disk refuses.
    pub async fn hello(&self, agent: AgentId, forget: Vec<StreamId>) -> Result<Hello, Error> {
        self.check_room()?;
        for _ in 0..TRIM_TRIES {
            let session = self.shared.state().positions.session(agent) + 1;
            let received_at = self.shared.clock.now();
            let (signal, compression) = (Signal::Logs, Compression::Identity);
            let frame = Frame { signal, compression, received_at, payload: bytes::Bytes::new() };
            let batch = decode::decode(signal, &[], &self.ids, received_at, 0);
            let batch = batch.context(ErrorKind::Internal, || "an empty request".to_owned())?;
            let extension = Extension::hello(agent, session, forget.clone());
            match self.log(&frame, batch, extension).await {
                Ok(_) => {
                    let streams = self.shared.state().positions.streams_of(agent);
                    return Ok(Hello { store: self.shared.identity.clone(), session, streams });
                }
                // Another hello of this agent was faster.
                Err(error) if error.kind() == ErrorKind::Position => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::retry("the agent says hello more often than it can be answered"))
    }

    /// The next offset of every Kafka partition that was read: topic, partition, offset.
    pub fn kafka_offsets(&self) -> Vec<(String, u32, u64)> {
        self.shared.state().positions.kafka()
    }

    /// Whether an append can be taken now: to be asked before a request is read.
    ///
    /// # Errors
    /// `Retry` when the head or the disk is full, or the disk does not work.
    pub fn check_room(&self) -> Result<(), Error> {
        let wal = self.wal()?;
        if self.shared.state().stats.head_bytes as usize > self.shared.settings.head_bytes() {
            self.shared.seal_wanted.notify_one();
            return Err(Error::retry("the head is full: sealing has to catch up first"));
        }
        let DiskState { free, is_low } = self.shared.disk.state();
        if is_low {
            return Err(Error::retry(format!(
                "the disk of `{}` is full: {free} bytes are free",
                self.shared.settings.data_dir.display()
            )));
        }
        if wal.is_refusing() {
            return Err(Error::retry("the write-ahead log cannot be written just now"));
        }
        Ok(())
    }

    /// What is left of the memory budget beside the head, the pages that are kept and what queries hold. Bytes.
    pub fn memory_free(&self) -> usize {
        let head = usize::try_from(self.shared.state().stats.head_bytes).unwrap_or(usize::MAX);
        let settings = &self.shared.settings;
        let taken = head.saturating_add(settings.page_bytes()).saturating_add(self.shared.memory.reserved());
        settings.memory_bytes_max.saturating_sub(taken)
    }

    /// Looks whether disk and log work again: nobody else would, once requests are refused.
    pub(crate) async fn look_around(&self) {
        self.shared.disk.look();
        opening::make_up(&self.shared).await;
        if self.wal.get().is_some_and(|wal| wal.is_refusing()) {
            let received_at = self.shared.clock.now();
            let (signal, compression) = (Signal::Logs, Compression::Identity);
            let frame = Frame { signal, compression, received_at, payload: bytes::Bytes::new() };
            if let Ok(batch) = decode::decode(signal, &[], &self.ids, received_at, 0) {
                // Whether it works shows in `is_refusing`.
                drop(self.log(&frame, batch, Extension::default()).await);
            }
        }
    }

    pub(super) fn log(
        &self,
        frame: &Frame,
        batch: Batch,
        extension: Extension,
    ) -> impl Future<Output = Result<Durable, Error>> + Send + use<> {
        let record = Record {
            signal: frame.signal.code(),
            compression: frame.compression.code(),
            received_at: frame.received_at,
            extension: extension.encode(),
            payload: frame.payload.clone(),
        };
        let queued = self.wal().map(|wal| wal.append(record, Arrived { batch, extension }));
        async move { queued?.await }
    }

    /// What the appended records have become.
    fn placed(&self, durable: Durable, extension: &Extension, dropped: usize) -> Placed {
        let state = self.shared.state();
        let agent = extension.agent.map(|(agent, _)| agent);
        let committed = match agent {
            Some(agent) => committed_of(extension, |stream| state.positions.stream(agent, stream)),
            None => Vec::new(),
        };
        Placed { durable, committed, dropped }
    }

    /// The rows of the records that are not there yet.
    async fn decode_rest(&self, frame: &Frame, extension: &Extension) -> Result<Batch, Error> {
        let (ids, extension) = (Arc::clone(&self.ids), extension.clone());
        let record = ReplayRecord {
            sequence: 0,
            signal: frame.signal.code(),
            compression: frame.compression.code(),
            received_at: frame.received_at,
            extension: bytes::Bytes::new(),
            payload: frame.payload.clone(),
        };
        tokio::task::spawn_blocking(move || replay::rows_of(&ids, &record, &extension))
            .await
            .context(ErrorKind::Internal, || "decoding".to_owned())?
            .map_err(|problem| Error::new(ErrorKind::FixInput, problem))
    }
}
