//! One receiver's queue: notices not yet acknowledged, oldest first.
//!
//! Full means: the oldest repetition of a firing alert is dropped, or, where there is none, the oldest
//! notice; either is counted. Repetitions are never queued twice.

use std::collections::{BTreeMap, VecDeque};

use model::UnixNano;
use serde::{Deserialize, Serialize};

use super::notice::Notice;

/// A notice in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    notice: Notice,
    /// Told before, told again so that the receiver does not forget it.
    is_repetition: bool,
}

/// What of a queue survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutboxState {
    queue: VecDeque<Entry>,
    /// When firing alerts were last acknowledged, by fingerprint.
    told: BTreeMap<String, UnixNano>,
    dropped: u64,
}

/// One receiver's queue.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: OutboxState,
    capacity: usize,
    delivered: u64,
}

impl Outbox {
    pub(crate) fn new(capacity: usize, restored: OutboxState) -> Self {
        let mut outbox = Self { state: restored, capacity: capacity.max(1), delivered: 0 };
        outbox.shrink();
        outbox
    }

    pub(crate) fn state(&self) -> &OutboxState {
        &self.state
    }

    pub(crate) fn len(&self) -> usize {
        self.state.queue.len()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.dropped
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Queues a change of an alert's state.
    pub(crate) fn push(&mut self, notice: Notice) {
        self.state.queue.retain(|entry| !(entry.is_repetition && entry.notice.labels == notice.labels));
        self.state.queue.push_back(Entry { notice, is_repetition: false });
        self.shrink();
    }

    /// Queues a firing alert again when it was last told `interval` ago or longer.
    pub(crate) fn repeat(&mut self, notice: Notice, now: UnixNano, interval_nano: i64) {
        let told = self.state.told.get(&notice.fingerprint());
        let is_due = told.is_none_or(|told| now.since(*told) >= interval_nano);
        if is_due && !self.state.queue.iter().any(|entry| entry.notice.labels == notice.labels) {
            self.state.queue.push_back(Entry { notice, is_repetition: true });
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        while self.state.queue.len() > self.capacity {
            let oldest = self.state.queue.iter().position(|entry| entry.is_repetition).unwrap_or(0);
            self.state.queue.remove(oldest);
            self.state.dropped += 1;
        }
    }

    /// The notices to send next: at most `count`, of one alert name.
    pub(crate) fn batch(&self, count: usize) -> Vec<Notice> {
        let notices = self.state.queue.iter().map(|entry| &entry.notice).take(count);
        let mut batch: Vec<Notice> = Vec::new();
        for notice in notices {
            let is_other = batch.first().is_some_and(|first| first.alert_name() != notice.alert_name());
            if is_other {
                break;
            }
            batch.push(notice.clone());
        }
        batch
    }

    /// The receiver has taken `batch`.
    pub(crate) fn acknowledge(&mut self, batch: &[Notice], now: UnixNano) {
        self.remove(batch);
        self.delivered += batch.len() as u64;
        for notice in batch {
            match notice.ends_at {
                Some(_) => drop(self.state.told.remove(&notice.fingerprint())),
                None => drop(self.state.told.insert(notice.fingerprint(), now)),
            }
        }
    }

    /// The receiver will never take `batch`.
    pub(crate) fn refuse(&mut self, batch: &[Notice], now: UnixNano) {
        self.remove(batch);
        self.state.dropped += batch.len() as u64;
        for notice in batch.iter().filter(|notice| notice.ends_at.is_none()) {
            self.state.told.insert(notice.fingerprint(), now);
        }
    }

    fn remove(&mut self, batch: &[Notice]) {
        self.state.queue.retain(|entry| !batch.contains(&entry.notice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(name: &str, ends_at: Option<i64>) -> Notice {
        Notice {
            labels: [("alertname".to_owned(), name.to_owned())].into(),
            annotations: BTreeMap::new(),
            starts_at: UnixNano(1),
            ends_at: ends_at.map(UnixNano),
            rule: "r.yaml:1".to_owned(),
        }
    }

    fn names(outbox: &Outbox) -> Vec<(String, &'static str)> {
        let notices = outbox.state.queue.iter().map(|entry| &entry.notice);
        notices.map(|notice| (notice.alert_name().to_owned(), notice.status())).collect()
    }

    #[test]
    fn a_full_queue_drops_repetitions_before_changes_and_counts_both() {
        let mut outbox = Outbox::new(2, OutboxState::default());
        outbox.push(notice("a", None));
        outbox.repeat(notice("b", None), UnixNano(5), 1);
        outbox.push(notice("a", Some(9)));
        assert_eq!(names(&outbox), [("a".to_owned(), "firing"), ("a".to_owned(), "resolved")]);
        outbox.push(notice("c", None));
        assert_eq!(names(&outbox), [("a".to_owned(), "resolved"), ("c".to_owned(), "firing")]);
        assert_eq!(outbox.dropped(), 2);
    }

    #[test]
    fn a_firing_alert_is_repeated_only_after_its_interval() {
        let mut outbox = Outbox::new(10, OutboxState::default());
        outbox.push(notice("a", None));
        outbox.acknowledge(&outbox.batch(10), UnixNano(100));
        outbox.repeat(notice("a", None), UnixNano(150), 60);
        assert_eq!(outbox.len(), 0);
        outbox.repeat(notice("a", None), UnixNano(160), 60);
        outbox.repeat(notice("a", None), UnixNano(161), 60);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_batch_is_of_one_alert_name_and_stays_until_it_is_acknowledged() {
        let mut outbox = Outbox::new(10, OutboxState::default());
        for name in ["a", "a", "b"] {
            outbox.push(notice(name, None));
        }
        let batch = outbox.batch(10);
        assert_eq!((batch.len(), outbox.len()), (2, 3));
        outbox.push(notice("c", None));
        outbox.acknowledge(&batch, UnixNano(1));
        assert_eq!(names(&outbox), [("b".to_owned(), "firing"), ("c".to_owned(), "firing")]);
        let restored = Outbox::new(10, outbox.state().clone());
        assert_eq!(restored.len(), 2);
    }
}
