//! The queue between those who append and the thread that writes.
//!
//! Owns: the bound. When the queue is full, [`Queue::append`] refuses with a retryable error at once:
//! waiting would hold the request's memory where no budget sees it.
//!
//! Invariant: jobs leave in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::format::encoded_bytes;
use super::{Durable, Record};
use crate::error::Error;

/// A record that waits to be written.
pub(super) struct Pending<T> {
    pub(super) record: Record,
    pub(super) attachment: T,
    pub(super) done: oneshot::Sender<Result<Durable, Error>>,
}

/// A request to delete what is in segments.
pub(super) struct Trim {
    pub(super) up_to: u64,
    /// Whether no byte of the files there are now may outlive them: none of them is written again.
    pub(super) forgets: bool,
    /// How many files were deleted.
    pub(super) done: oneshot::Sender<Result<usize, Error>>,
}

/// What the writer does next.
pub(super) enum Work<T> {
    Group(Vec<Pending<T>>),
    Trim(Trim),
}

enum Job<T> {
    Append(Pending<T>),
    Trim(Trim),
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) bytes: usize,
    pub(super) records: usize,
}

struct Waiting<T> {
    jobs: VecDeque<Job<T>>,
    bytes: usize,
    closed: bool,
}

pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Condvar,
    bound: Bound,
}

impl<T> Queue<T> {
    pub(super) fn new(bound: Bound) -> Self {
        let waiting = Waiting { jobs: VecDeque::new(), bytes: 0, closed: false };
        Self { waiting: Mutex::new(waiting), arrived: Condvar::new(), bound }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, pending: Pending<T>) -> Result<(), Error> {
        let bytes = encoded_bytes(&pending.record);
        let mut waiting = self.lock();
        let is_full = waiting.bytes + bytes > self.bound.bytes && !waiting.jobs.is_empty();
        if is_full || waiting.jobs.len() >= self.bound.records {
            return Err(Error::retry(format!(
                "the write-ahead log's queue is full: {} records of {} bytes wait for the disk",
                waiting.jobs.len(),
                waiting.bytes
            )));
        }
        waiting.bytes += bytes;
        self.push(waiting, Job::Append(pending))
    }

    pub(super) fn trim(&self, trim: Trim) -> Result<(), Error> {
        let waiting = self.lock();
        if waiting.jobs.len() >= 2 * self.bound.records {
            return Err(Error::retry("the write-ahead log's queue is full: nothing was trimmed"));
        }
        self.push(waiting, Job::Trim(trim))
    }

    fn push(&self, mut waiting: MutexGuard<'_, Waiting<T>>, job: Job<T>) -> Result<(), Error> {
        if waiting.closed {
            return Err(closed());
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for work; `None` when the queue is closed and empty.
    pub(super) fn next(&self, group_bytes_max: usize) -> Option<Work<T>> {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = take(&mut waiting, group_bytes_max) {
                return Some(work);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Work that is there already.
    #[cfg(test)]
    pub(super) fn next_now(&self, group_bytes_max: usize) -> Option<Work<T>> {
        take(&mut self.lock(), group_bytes_max)
    }

    /// Takes nothing more in; what waits is still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Closes, and drops what waits: its senders learn that the writer stopped.
    pub(super) fn abandon(&self) {
        self.close();
        let jobs = std::mem::take(&mut self.lock().jobs);
        drop(jobs);
    }

    /// Records and bytes that wait.
    pub(super) fn depth(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.jobs.len(), waiting.bytes)
    }
}

fn take<T>(waiting: &mut Waiting<T>, group_bytes_max: usize) -> Option<Work<T>> {
    let mut group = Vec::new();
    let mut group_bytes = 0;
    loop {
        match waiting.jobs.front() {
            Some(Job::Append(pending)) => {
                let bytes = encoded_bytes(&pending.record);
                if !group.is_empty() && group_bytes + bytes > group_bytes_max {
                    break;
                }
                group_bytes += bytes;
            }
            Some(Job::Trim(_)) if group.is_empty() => {}
            Some(Job::Trim(_)) | None => break,
        }
        match waiting.jobs.pop_front() {
            Some(Job::Append(pending)) => group.push(pending),
            Some(Job::Trim(trim)) => return Some(Work::Trim(trim)),
            None => break,
        }
    }
    waiting.bytes = waiting.bytes.saturating_sub(group_bytes);
    (!group.is_empty()).then_some(Work::Group(group))
}

pub(super) fn closed() -> Error {
    Error::retry("the write-ahead log is closed")
}
