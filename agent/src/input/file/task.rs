//! The thread of the file input: one loop that looks, reads, hands out batches and takes
//! acknowledgements.
//!
//! Reading blocks, so it has its own thread with its own small runtime. At most
//! [`BATCHES_MAX`](crate::input::BATCHES_MAX) batches are unacknowledged; then it waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::Signal;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::FileTail;
use super::batch::{Batch, Range};
use super::watch::{Change, Watcher};
use crate::config::FileSettings;
use crate::export::pack::unpack;
use crate::export::session::{Committed, Told};
use crate::input::BATCHES_MAX;
use crate::status::Shared;

/// How often folders are looked through without any event, where events are to be expected.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often they are where no events come; and how often open files are.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Shortest time between two saves of positions, so that many small batches share one fsync.
const SAVE_EVERY: Duration = Duration::from_millis(100);
/// Shortest time between two updates of the file list in `/status`.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether deleted files take too much.
const SPILL_EVERY: Duration = Duration::from_millis(100);
/// How often records that wait for another line are looked at.
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// Writes that follow each other this closely are read together, at most: looking at a hundred files costs
/// more than their lines do. A short `flush` makes it shorter.
const GATHER_MAX: Duration = Duration::from_millis(100);
/// The same for files that come and go.
const GATHER_NAMES: Duration = Duration::from_millis(5);

/// How long positions that moved without a record wait for one to travel with.
const POSITIONS_EVERY: Duration = Duration::from_secs(5);

/// What the exporter tells the reader.
#[derive(Debug)]
pub(crate) enum Event {
    /// What the collector has already: reading may begin.
    Placed(Committed),
    /// Ranges are acknowledged, or refused for good.
    Acknowledged(Vec<Range>),
    /// The collector stands elsewhere; answered with whether the files are read again from there.
    Gap {
        /// Where it stands.
        told: Told,
        /// `true`: batches made so far are to be dropped.
        answer: oneshot::Sender<bool>,
    },
}

/// `[files.NAME]` tables to be read from now on.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) tables: BTreeMap<String, FileSettings>,
    /// Answered with the names of the tables that changed.
    pub(crate) answer: oneshot::Sender<Result<Vec<String>, globset::Error>>,
}

/// The ends of the channels to the exporter, and when to stop.
#[derive(Debug)]
pub(crate) struct Link {
    /// Room for twice [`BATCHES_MAX`]: as many as are outstanding, and as many that are to be dropped.
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) events: mpsc::Receiver<Event>,
    /// Tables to exchange.
    pub(crate) exchanges: mpsc::Receiver<Exchange>,
    /// Whether batches belong into the spool, because deleted files are let go of.
    pub(crate) spills: watch::Sender<bool>,
    /// Read what is there, then end.
    pub(crate) shutdown: CancellationToken,
    /// End now.
    pub(crate) deadline: CancellationToken,
    pub(crate) flush: Duration,
}

/// Runs until shutdown; positions are saved on return.
pub(crate) fn run(mut tail: FileTail, mut link: Link, shared: &Arc<Shared>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Loop::default().run(&mut tail, &mut link, shared));
    tail.save()
}

#[derive(Debug, Default)]
struct Loop {
    in_flight: usize,
    looked: Option<Duration>,
    spill_looked: Duration,
    /// When open files were last looked at.
    polled: Duration,
    saved: Duration,
    published: Duration,
    /// When the oldest line of the batch under way was read.
    batch_since: Option<Duration>,
    /// Nothing is read before, so that writes are read together.
    gather_until: Duration,
    /// Whether `/status` shows files as they were.
    is_stale: bool,
    has_changed_names: bool,
    was_closing: bool,
    is_exporter_gone: bool,
}

impl Loop {
    async fn run(&mut self, tail: &mut FileTail, link: &mut Link, shared: &Arc<Shared>) {
        let mut watcher = Watcher::new();
        loop {
            let now = shared.clock.monotonic();
            // Asked before looking: what was written before the shutdown is seen by a look after it.
            let is_closing = link.shutdown.is_cancelled();
            self.has_changed_names |= is_closing && !std::mem::replace(&mut self.was_closing, is_closing);
            self.has_changed_names |= watcher.drain() == Some(Change::Names);
            self.look(tail, &mut watcher, shared, now);
            self.spill(tail, link, shared, now);
            let has_read = self.read(tail, &mut watcher, now, is_closing);
            // The batch is full before the files are read to their end.
            let has_more = tail.is_full();
            self.hand_out(tail, link, shared, now, has_read);
            self.save(tail, now);
            self.publish(tail, shared, now);
            let is_drained = is_closing && !has_read && self.in_flight == 0 && !tail.has_batch();
            if is_drained || link.deadline.is_cancelled() || self.is_exporter_gone {
                return shared.set_files(tail.status());
            }
            let pause = match has_more && self.in_flight < BATCHES_MAX {
                true => Duration::ZERO,
                false => self.pause(tail, link, now, has_read),
            };
            self.wait(tail, link, &mut watcher, (now, pause)).await;
        }
    }

    fn read(&mut self, tail: &mut FileTail, watcher: &mut Watcher, now: Duration, is_closing: bool) -> bool {
        if self.in_flight >= BATCHES_MAX || now < self.gather_until && !is_closing {
            return false;
        }
        tail.look_at_touched(&watcher.take_touched());
        let has_read = tail.read_touched();
        self.is_stale |= has_read;
        has_read
    }

    fn look(&mut self, tail: &mut FileTail, watcher: &mut Watcher, shared: &Shared, now: Duration) {
        let every = if watcher.unwatched() == 0 { LOOK_EVERY } else { POLL_EVERY };
        let is_due = self.looked.is_none_or(|looked| now.saturating_sub(looked) >= every);
        if is_due || std::mem::take(&mut self.has_changed_names) {
            (self.looked, self.polled) = (Some(now), now);
            tail.reconcile();
            watcher.watch(tail.folders());
            tail.look_at_all();
            shared.unwatched_folders.store(watcher.unwatched() as u64, Relaxed);
            shared.watch_overflows.store(watcher.overflows(), Relaxed);
            self.is_stale = true;
        } else if now.saturating_sub(self.polled) >= POLL_EVERY {
            self.polled = now;
            let before = tail.standing();
            tail.settle_files();
            self.is_stale |= tail.standing() != before;
        }
    }

    /// Looks whether deleted files take too much while the collector is away.
    fn spill(&mut self, tail: &mut FileTail, link: &Link, shared: &Shared, now: Duration) {
        if now.saturating_sub(self.spill_looked) < SPILL_EVERY {
            return;
        }
        self.spill_looked = now;
        tail.spill(shared.is_collector_away(), now);
        let is_spilling = tail.is_spilling();
        link.spills.send_if_modified(|spills| std::mem::replace(spills, is_spilling) != is_spilling);
    }

    fn hand_out(&mut self, tail: &mut FileTail, link: &Link, shared: &Shared, now: Duration, has_read: bool) {
        if tail.has_batch() && self.batch_since.is_none() {
            self.batch_since = Some(now);
        }
        let waited = self.batch_since.map(|since| now.saturating_sub(since)).unwrap_or_default();
        let flush = if tail.has_records() { link.flush } else { POSITIONS_EVERY };
        let is_due = waited >= flush || link.shutdown.is_cancelled() && !has_read;
        if self.in_flight >= BATCHES_MAX || !(tail.is_full() || is_due) {
            return;
        }
        self.batch_since = None;
        let Some(batch) = tail.take_batch() else { return };
        if !shared.tap.is_idle() {
            let sources = tail.sources(&batch);
            let sources = sources.iter().map(|(name, records)| (name.as_str(), *records));
            match unpack(&batch.body, batch.compression) {
                Ok(request) => shared.tap.show(Signal::Logs, &request, sources),
                Err(error) => tracing::error!(%error, "a batch made here cannot be unpacked"),
            }
        }
        self.in_flight += 1;
        self.is_exporter_gone = link.batches.try_send(batch).is_err();
    }

    fn save(&mut self, tail: &mut FileTail, now: Duration) {
        if tail.has_unsaved() && now.saturating_sub(self.saved) >= SAVE_EVERY {
            self.saved = now;
            if let Err(error) = tail.save() {
                tracing::error!(%error, "cannot save positions; lines will be sent again after a restart");
            }
        }
    }

    fn publish(&mut self, tail: &FileTail, shared: &Shared, now: Duration) {
        if self.is_stale && now.saturating_sub(self.published) >= PUBLISH_EVERY {
            self.published = now;
            self.is_stale = false;
            shared.set_files(tail.status());
        }
    }

    /// How long nothing needs to be done when nothing happens.
    fn pause(&self, tail: &FileTail, link: &Link, now: Duration, has_read: bool) -> Duration {
        let mut pause = if self.is_stale { PUBLISH_EVERY } else { POLL_EVERY };
        if tail.has_unsaved() {
            pause = pause.min(SAVE_EVERY);
        }
        if tail.has_open() {
            pause = pause.min(SETTLE_EVERY);
        }
        if self.in_flight < BATCHES_MAX {
            if let Some(since) = self.batch_since {
                let flush = if tail.has_records() { link.flush } else { POSITIONS_EVERY };
                pause = pause.min((since + flush).saturating_sub(now));
            }
            if has_read {
                pause = pause.min(GATHER_MAX);
            }
            if link.shutdown.is_cancelled() {
                pause = pause.min(GATHER_NAMES);
            }
            if now < self.gather_until {
                pause = pause.min(self.gather_until.saturating_sub(now));
            }
        }
        pause
    }

    fn take_event(&mut self, tail: &mut FileTail, event: Option<Event>) {
        self.is_stale = true;
        match event {
            Some(Event::Placed(committed)) => tail.place(committed),
            Some(Event::Acknowledged(ranges)) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                tail.acknowledge(&ranges);
            }
            Some(Event::Gap { told, answer }) => {
                let reads_again = tail.read_again(&told);
                if reads_again {
                    (self.in_flight, self.batch_since) = (0, None);
                }
                // Nobody waits for it any more when the exporter ended meanwhile.
                answer.send(reads_again).unwrap_or_default();
            }
            None => self.is_exporter_gone = true,
        }
    }

    /// Lets writes come together. The thread sleeps instead of its runtime, which every single write would wake.
    fn gather(&mut self, tail: &mut FileTail, link: &mut Link, pause: Duration) {
        std::thread::sleep(pause.min(GATHER_MAX));
        loop {
            match link.events.try_recv() {
                Ok(event) => self.take_event(tail, Some(event)),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.take_event(tail, None),
            }
        }
    }

    async fn wait(
        &mut self,
        tail: &mut FileTail,
        link: &mut Link,
        watcher: &mut Watcher,
        (now, pause): (Duration, Duration),
    ) {
        let is_open = !link.shutdown.is_cancelled();
        if is_open && now < self.gather_until {
            return self.gather(tail, link, pause);
        }
        tokio::select! {
            biased;
            event = link.events.recv() => self.take_event(tail, event),
            Some(exchange) = link.exchanges.recv() => {
                let exchanged = tail.exchange(&exchange.tables);
                // New files are looked for, and new folders watched.
                (self.has_changed_names, self.is_stale) = (true, true);
                // Whoever asked may have gone; the change holds all the same.
                exchange.answer.send(exchanged).unwrap_or_default();
            }
            () = link.deadline.cancelled() => {}
            () = link.shutdown.cancelled(), if is_open => {}
            change = watcher.changed(), if is_open => {
                self.has_changed_names |= change == Change::Names;
                // With a full batch behind and more to read, nothing needs to be gathered.
                if !pause.is_zero() {
                    let gather = if change == Change::Names { GATHER_NAMES } else { GATHER_MAX };
                    self.gather_until = now + gather.min(link.flush / 2);
                }
            }
            () = tokio::time::sleep(pause) => {}
        }
    }
}
