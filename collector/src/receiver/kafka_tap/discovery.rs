//! Which partitions are read, and from where.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::Clock;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use storage::Store;

use super::broker::{ASK_TIMEOUT, is_named};
use super::{Place, resume};
use crate::settings::{KafkaTap, TapStart};

/// Partitions that are tapped at most.
pub(super) const PARTITIONS_MAX: usize = 2_000;

/// The partitions that are read.
pub(super) struct Discovery {
    settings: KafkaTap,
    start: TapStart,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Where reading goes on.
    positions: HashMap<Place, i64>,
    has_looked: bool,
    /// Whether the last look failed, or there was nothing to read.
    is_idle: bool,
}

impl Discovery {
    pub(super) fn new(settings: &KafkaTap, store: Arc<Store>, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let (start, settings) = (settings.begin_at()?, settings.clone());
        let positions = HashMap::new();
        Ok(Self { settings, start, store, clock, positions, has_looked: false, is_idle: false })
    }

    /// Whether the last look failed, or there was nothing to read: looking again soon costs little then.
    pub(super) const fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Everything before these offsets is durable.
    pub(super) fn advance(&mut self, next: HashMap<Place, i64>) {
        self.positions.extend(next);
    }

    /// Looks for partitions that are not read yet and begins to read them.
    pub(super) async fn assign_new(mut self, consumer: &Arc<StreamConsumer>) -> Self {
        let consumer = Arc::clone(consumer);
        let looking = tokio::task::spawn_blocking(move || {
            let looked = self.look(&consumer);
            self.is_idle = looked.is_err() || self.positions.is_empty();
            if let Err(error) = looked {
                tracing::warn!("looking for Kafka topics to tap: {error}");
            }
            self
        });
        looking.await.expect("the look does not panic and is not aborted")
    }

    fn look(&mut self, consumer: &StreamConsumer) -> Result<(), KafkaError> {
        let found = partitions(consumer, &self.settings.topics)?;
        let new: Vec<Place> = found.into_iter().filter(|place| !self.positions.contains_key(place)).collect();
        if new.is_empty() {
            if self.positions.is_empty() && !self.has_looked {
                tracing::warn!("no topic matches `kafka_tap.topics` yet; looking again");
            }
            self.has_looked = true;
            return Ok(());
        }
        let starts = self.starts(consumer, &new)?;
        let mut all = self.positions.clone();
        all.extend(starts);
        let mut assignment = TopicPartitionList::with_capacity(all.len());
        for ((topic, partition), offset) in &all {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        consumer.assign(&assignment)?;
        tracing::info!("tapping {} partitions of Kafka, {} of them new", all.len(), new.len());
        (self.positions, self.has_looked) = (all, true);
        Ok(())
    }

    /// Where to begin in new partitions: behind what is recorded, else where the settings say; a partition
    /// that came into being meanwhile is read from its beginning.
    fn starts(&self, consumer: &StreamConsumer, new: &[Place]) -> Result<HashMap<Place, i64>, KafkaError> {
        let mut starts = match self.has_looked {
            true => HashMap::new(),
            false => resume::positions(&self.store.snapshot(), new, self.clock.now()),
        };
        let unknown: Vec<&Place> = new.iter().filter(|place| !starts.contains_key(place)).collect();
        let at_times = match self.start {
            TapStart::Back(back) if !self.has_looked && !unknown.is_empty() => {
                let millis = self.clock.now().minus(back).millis();
                offsets_at(consumer, &unknown, millis)?
            }
            _ => HashMap::new(),
        };
        for (topic, partition) in unknown {
            let (low, high) = consumer.fetch_watermarks(topic, *partition, ASK_TIMEOUT)?;
            let place = (topic.clone(), *partition);
            let start = match self.start {
                _ if self.has_looked => low,
                TapStart::Earliest => low,
                TapStart::Latest => high,
                // No message is that young.
                TapStart::Back(_) => at_times.get(&place).copied().unwrap_or(high),
            };
            starts.insert(place, start);
        }
        // What was recorded may be gone from the broker, or the topic begun anew.
        for (place, start) in &mut starts {
            let (low, high) = consumer.fetch_watermarks(&place.0, place.1, ASK_TIMEOUT)?;
            if *start < low || *start > high {
                *start = low;
            }
        }
        Ok(starts)
    }
}

fn offsets_at(
    consumer: &StreamConsumer,
    places: &[&Place],
    millis: i64,
) -> Result<HashMap<Place, i64>, KafkaError> {
    let mut wanted = TopicPartitionList::with_capacity(places.len());
    for (topic, partition) in places {
        wanted.add_partition_offset(topic, *partition, Offset::Offset(millis))?;
    }
    let found = consumer.offsets_for_times(wanted, ASK_TIMEOUT)?;
    let offset = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset()
    {
        Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
        _ => None,
    };
    Ok(found.elements().iter().filter_map(offset).collect())
}

/// All partitions of the topics that the globs describe.
pub(super) fn partitions<C: Asks>(consumer: &C, topics: &[String]) -> Result<Vec<Place>, KafkaError> {
    let metadata = consumer.metadata()?;
    let mut places = Vec::new();
    for topic in metadata.topics() {
        let name = topic.name();
        if name.starts_with("__") || !is_named(topics, name) {
            continue;
        }
        places.extend(topic.partitions().iter().map(|partition| (name.to_owned(), partition.id())));
    }
    places.sort();
    if places.len() > PARTITIONS_MAX {
        tracing::warn!(
            "{} partitions match `kafka_tap.topics`; the first {PARTITIONS_MAX} are tapped",
            places.len()
        );
        places.truncate(PARTITIONS_MAX);
    }
    let distinct: HashSet<&Place> = places.iter().collect();
    debug_assert_eq!(distinct.len(), places.len(), "a partition is listed once");
    Ok(places)
}

/// Clients that can be asked for metadata.
pub(super) trait Asks {
    fn metadata(&self) -> Result<rdkafka::metadata::Metadata, KafkaError>;
}

impl Asks for StreamConsumer {
    fn metadata(&self) -> Result<rdkafka::metadata::Metadata, KafkaError> {
        self.fetch_metadata(None, ASK_TIMEOUT)
    }
}

impl Asks for BaseConsumer {
    fn metadata(&self) -> Result<rdkafka::metadata::Metadata, KafkaError> {
        self.fetch_metadata(None, ASK_TIMEOUT)
    }
}
