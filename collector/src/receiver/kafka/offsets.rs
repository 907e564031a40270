//! Where a partition goes on: the store's own offsets, put in place whenever partitions are assigned.
//!
//! Owns: the choice between the store's offset, the group's and the beginning; the range of offsets that
//! each message accounts for. Does not own: making offsets durable (`storage`).
//!
//! ```text
//! store knows   group knows   broker has       goes on at
//! ───────────   ───────────   ──────────────   ──────────────────────────────────────────────
//!      –             any            any        the group's, or the beginning
//!      N            ≤ N, –         up to ≥ N   N: what was stored is not read again
//!      N            G > N          up to ≥ N   G: another store of the group read what is between
//!      N             any           less than N the beginning: the topic was created anew
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use storage::KafkaRange;

use crate::pipeline::Pipeline;

/// How long the broker may take to say what it has. The group waits for us meanwhile.
const ASK_TIME: Duration = Duration::from_secs(5);

/// Chooses and follows offsets.
pub(super) struct Offsets {
    pipeline: Arc<Pipeline>,
    cursors: Mutex<HashMap<(String, i32), Cursor>>,
}

/// Where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    /// Everything before it was read.
    next: u64,
    /// The next message does not follow what the store has.
    resets: bool,
}

impl Offsets {
    pub(super) fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline, cursors: Mutex::new(HashMap::new()) }
    }

    fn cursors(&self) -> MutexGuard<'_, HashMap<(String, i32), Cursor>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a message that was just read accounts for.
    pub(super) fn read(&self, topic: &str, partition: i32, offset: i64) -> KafkaRange {
        let offset = u64::try_from(offset).unwrap_or(0);
        let mut cursors = self.cursors();
        let cursor = cursors.entry((topic.to_owned(), partition));
        let cursor = cursor.or_insert(Cursor { next: offset, resets: false });
        let (start, resets) = cursor.account_for(offset);
        let (topic, partition) = (topic.to_owned(), u32::try_from(partition).unwrap_or(0));
        KafkaRange { topic, partition, start, end: offset + 1, resets }
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        assigned: &mut TopicPartitionList,
    ) -> Result<(), KafkaError> {
        let stored: HashMap<(String, i32), u64> = self
            .pipeline
            .kafka_offsets()
            .into_iter()
            .map(|(topic, partition, next)| ((topic, partition as i32), next))
            .collect();
        let group = consumer.committed_offsets(assigned.clone(), ASK_TIME).ok();
        let mut offsets = TopicPartitionList::new();
        for element in assigned.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let key = (topic.to_owned(), partition);
            let committed = group.as_ref().and_then(|group| group.find_partition(topic, partition));
            let committed = committed.and_then(|found| match found.offset() {
                Offset::Offset(offset) => u64::try_from(offset).ok(),
                _ => None,
            });
            let Some(stored) = stored.get(&key).copied() else {
                self.cursors().remove(&key);
                offsets.add_partition_offset(topic, partition, element.offset())?;
                continue;
            };
            let high = consumer.fetch_watermarks(topic, partition, ASK_TIME).ok();
            let high = high.and_then(|(_, high)| u64::try_from(high).ok());
            let cursor = goes_on(stored, committed, high);
            if cursor.resets {
                let Cursor { next, .. } = cursor;
                tracing::warn!(
                    "Kafka {topic}/{partition}: the store has {stored}, reading goes on at {next}"
                );
            }
            self.cursors().insert(key, cursor);
            let next = i64::try_from(cursor.next).unwrap_or(i64::MAX);
            offsets.add_partition_offset(topic, partition, Offset::Offset(next))?;
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&offsets),
            _ => consumer.assign(&offsets),
        }
    }

    fn revoke(consumer: &BaseConsumer<Self>, revoked: &TopicPartitionList) -> Result<(), KafkaError> {
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(revoked),
            _ => consumer.unassign(),
        }
    }
}

impl Cursor {
    /// Start of the range that ends with the message at `offset`, and whether it stands alone.
    fn account_for(&mut self, offset: u64) -> (u64, bool) {
        if offset < self.next {
            // Read before a rebalance: it is known, or fits where the store stands.
            return (offset, false);
        }
        let accounted = (self.next, self.resets);
        *self = Self { next: offset + 1, resets: false };
        accounted
    }
}

/// Where to go on, see the table above.
fn goes_on(stored: u64, committed: Option<u64>, high: Option<u64>) -> Cursor {
    match (committed, high) {
        (_, Some(high)) if high < stored => Cursor { next: 0, resets: true },
        (Some(committed), _) if committed > stored => Cursor { next: committed, resets: true },
        _ => Cursor { next: stored, resets: false },
    }
}

impl ClientContext for Offsets {}

impl ConsumerContext for Offsets {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let result = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            _ => Self::revoke(consumer, partitions),
        };
        if let Err(error) = result {
            tracing::error!("Kafka partitions changed hands: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_holds() {
        let at = |next| Cursor { next, resets: false };
        let jump = |next| Cursor { next, resets: true };
        assert_eq!(goes_on(50, None, Some(50)), at(50));
        assert_eq!(goes_on(50, Some(40), Some(60)), at(50), "the commit to the group was lost");
        assert_eq!(goes_on(50, Some(55), Some(60)), jump(55));
        assert_eq!(goes_on(50, Some(55), Some(7)), jump(0));
        assert_eq!(goes_on(50, None, None), at(50), "the broker did not answer");
    }

    #[test]
    fn ranges_touch_each_other_over_holes_and_repeats() {
        let mut cursor = Cursor { next: 10, resets: true };
        assert_eq!(cursor.account_for(12), (10, true));
        assert_eq!(cursor.account_for(13), (13, false));
        assert_eq!(cursor.account_for(17), (14, false), "aborted transactions leave holes");
        assert_eq!(cursor.account_for(13), (13, false), "read again after a rebalance");
        assert_eq!(cursor.account_for(18), (18, false));
    }
}
