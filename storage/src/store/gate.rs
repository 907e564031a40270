//! Which appends are written: judged in the order of the log, visible when they are durable.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Shared;
use crate::decode::Batch;
use crate::error::{Error, ErrorKind};
use crate::positions::{Admitted, Change, Extension, Verdict, judge};
use crate::wal::{Admission, Sink};

/// What waits in the log for its record to become durable.
pub(crate) struct Arrived {
    pub(super) batch: Batch,
    pub(super) extension: Extension,
}

/// Judges appends in WAL order, and makes them visible when they are durable.
pub(super) struct Gate {
    pub(super) shared: Arc<Shared>,
    /// Positions of the group that is being written.
    pub(super) admitted: Admitted,
    /// Changes of its records that are still to become durable, in order.
    pub(super) waiting: VecDeque<Vec<Change>>,
}

impl Sink<Arrived> for Gate {
    fn admit(&mut self, arrived: &Arrived) -> Admission {
        let verdict = judge(&arrived.extension, &self.admitted.over(&self.shared.state().positions));
        match verdict {
            Verdict::Write(changes) => {
                self.admitted.extend(&changes);
                self.waiting.push_back(changes);
                Admission::Write
            }
            Verdict::Known => Admission::Known,
            Verdict::Trim(committed) => Admission::Refuse(misfit(Trim(committed))),
            Verdict::Refuse(refusal) => Admission::Refuse(misfit(refusal)),
        }
    }

    fn durable(&mut self, sequence: u64, arrived: Arrived) {
        let changes = self.waiting.pop_front().unwrap_or_default();
        self.shared.push(sequence, arrived.batch, |positions, now| positions.apply(changes, now));
    }

    fn settled(&mut self) {
        self.admitted.clear();
        self.waiting.clear();
    }
}

/// A part of the append is there already: up to here, a range each.
#[derive(Debug, thiserror::Error)]
#[error("a part of the records is there already")]
pub(super) struct Trim(pub(super) Vec<Option<u64>>);

fn misfit(reason: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Position, reason.to_string()).with_source(reason)
}
