//! How far consumer groups are: the offsets they committed, and the ends of their partitions, over time.
//!
//! A client for each group asks for its committed offsets. It subscribes to nothing, so that it never joins
//! the group, and it commits nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::otlp::gauges::{GaugePoint, GaugeValue, GaugesWriter};
use model::{Clock, Signal, UnixNano};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::broker::{ASK_TIMEOUT, NO_GROUP, config, is_named};
use super::discovery::partitions;
use super::{Place, RESOURCE, Shared};
use crate::settings::KafkaTap;

/// Groups that are looked at: each has a client with a thread and a connection of its own.
const GROUPS_MAX: usize = 64;
/// What is recorded of a group that has committed nothing in a partition.
const NOTHING: i64 = -1;

/// Looks at offsets from time to time.
pub(super) struct Looks {
    settings: KafkaTap,
    clock: Arc<dyn Clock>,
    consumer: BaseConsumer,
    groups: BTreeMap<String, BaseConsumer>,
    places: Vec<Place>,
    discovered_at: Option<Duration>,
}

/// What one look found.
#[derive(Debug, Default)]
struct Look {
    time: UnixNano,
    ends: Vec<(Place, i64)>,
    committed: Vec<(String, Place, i64)>,
}

impl Looks {
    pub(super) fn new(settings: &KafkaTap, clock: Arc<dyn Clock>) -> Result<Self, KafkaError> {
        let consumer = config(settings, NO_GROUP).create()?;
        let settings = settings.clone();
        Ok(Self {
            settings,
            clock,
            consumer,
            groups: BTreeMap::new(),
            places: Vec::new(),
            discovered_at: None,
        })
    }

    pub(super) async fn run(mut self, shared: &Shared) {
        let mut tick = tokio::time::interval(self.settings.offsets_interval);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failures: u64 = 0;
        loop {
            tokio::select! {
                () = shared.stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            let looking = tokio::task::spawn_blocking(move || {
                let look = self.look();
                (self, look)
            });
            let look;
            (self, look) = looking.await.expect("the look does not panic and is not aborted");
            match look {
                Ok(look) => {
                    let request = look.request();
                    if !request.is_empty() && !shared.store(Signal::Metrics, request.into()).await {
                        break;
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        tracing::warn!(failures, "looking at Kafka offsets: {error}");
                    }
                }
            }
        }
        // Closing talks to the broker and may block for long when that is gone.
        std::thread::spawn(move || drop(self));
    }

    fn look(&mut self) -> Result<Look, KafkaError> {
        let now = self.clock.monotonic();
        let is_due =
            self.discovered_at.is_none_or(|at| now.saturating_sub(at) >= self.settings.discovery_interval);
        if is_due {
            self.places = partitions(&self.consumer, &self.settings.topics)?;
            self.find_groups()?;
            self.discovered_at = (!self.places.is_empty()).then_some(now);
        }
        let mut look = Look { time: self.clock.now(), ..Look::default() };
        for (group, client) in &self.groups {
            look.add_group(group, client, &self.places, self.settings.groups.contains(group))?;
        }
        // The ends come last, so that no group is ahead of its partition.
        for (topic, partition) in &self.places {
            let (_, end) = self.consumer.fetch_watermarks(topic, *partition, ASK_TIMEOUT)?;
            look.ends.push(((topic.clone(), *partition), end));
        }
        Ok(look)
    }

    /// Groups that the settings name; the broker is asked for a list only when one of them has a `*`.
    fn find_groups(&mut self) -> Result<(), KafkaError> {
        let is_glob = |name: &&String| name.contains(['*', '?']);
        let named = self.settings.groups.iter().filter(|name| !is_glob(name));
        let mut names: Vec<String> = named.cloned().collect();
        if self.settings.groups.iter().any(|name| is_glob(&name)) {
            let listed = self.consumer.fetch_group_list(None, ASK_TIMEOUT)?;
            let listed = listed.groups().iter().map(|group| group.name().to_owned());
            names.extend(listed.filter(|name| name != NO_GROUP && is_named(&self.settings.groups, name)));
        }
        names.sort();
        names.dedup();
        if names.len() > GROUPS_MAX {
            tracing::warn!(
                "{} groups match `kafka_tap.groups`; the first {GROUPS_MAX} are looked at",
                names.len()
            );
            names.truncate(GROUPS_MAX);
        }
        self.groups.retain(|name, _| names.contains(name));
        for name in names {
            if !self.groups.contains_key(&name) {
                let client = config(&self.settings, &name).create()?;
                self.groups.insert(name, client);
            }
        }
        Ok(())
    }
}

impl Look {
    /// Adds what a group has committed. Partitions in which it has committed nothing count when it has in
    /// another partition of the topic, or was asked for by name.
    fn add_group(
        &mut self,
        group: &str,
        client: &BaseConsumer,
        places: &[Place],
        is_named: bool,
    ) -> Result<(), KafkaError> {
        let mut wanted = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in places {
            wanted.add_partition(topic, *partition);
        }
        let found = client.committed_offsets(wanted, ASK_TIMEOUT)?;
        let offsets: Vec<(Place, Option<i64>)> = found
            .elements()
            .iter()
            .map(|element| {
                let offset = match element.offset() {
                    Offset::Offset(offset) => Some(offset),
                    _ => None,
                };
                ((element.topic().to_owned(), element.partition()), offset)
            })
            .collect();
        for ((topic, partition), offset) in &offsets {
            let reads_topic =
                || offsets.iter().any(|((other, _), offset)| other == topic && offset.is_some());
            if offset.is_some() || is_named || reads_topic() {
                let place = (topic.clone(), *partition);
                self.committed.push((group.to_owned(), place, offset.unwrap_or(NOTHING)));
            }
        }
        Ok(())
    }

    /// The metrics of an OTLP request, empty when there are none. Names are those of the OpenTelemetry
    /// Collector's `kafkametrics` receiver.
    fn request(&self) -> Vec<u8> {
        let mut writer = GaugesWriter::new(RESOURCE);
        let numbers: BTreeMap<i32, String> = self
            .ends
            .iter()
            .map(|((_, partition), _)| *partition)
            .chain(self.committed.iter().map(|(_, (_, partition), _)| *partition))
            .map(|partition| (partition, partition.to_string()))
            .collect();
        let place = |(topic, partition): &'_ Place| -> [(&str, String); 2] {
            [("topic", topic.clone()), ("partition", numbers[partition].clone())]
        };
        let ends: Vec<_> = self.ends.iter().map(|(at, end)| (place(at).to_vec(), *end)).collect();
        let committed = self.committed.iter().map(|(group, at, offset)| {
            let mut attributes = vec![("group", group.clone())];
            attributes.extend(place(at));
            (attributes, *offset)
        });
        let committed: Vec<_> = committed.collect();
        let lags = self.committed.iter().zip(&committed).filter_map(|((_, at, offset), (attributes, _))| {
            let (_, end) = self.ends.iter().find(|(place, _)| place == at)?;
            Some((attributes.clone(), (end - (*offset).max(0)).max(0)))
        });
        let lags: Vec<_> = lags.collect();
        writer.push("kafka.partition.current_offset", "{offset}", &self.points(&ends));
        writer.push("kafka.consumer_group.offset", "{offset}", &self.points(&committed));
        writer.push("kafka.consumer_group.lag", "{message}", &self.points(&lags));
        match writer.points() {
            0 => Vec::new(),
            _ => writer.finish(),
        }
    }

    fn points<'a>(&self, values: &'a [(Vec<(&'a str, String)>, i64)]) -> Vec<GaugePoint<'a>> {
        let point = |(attributes, value): &'a (Vec<(&'a str, String)>, i64)| GaugePoint {
            attributes: attributes.iter().map(|(key, value)| (*key, value.as_str())).collect(),
            time: self.time,
            value: GaugeValue::Whole(*value),
        };
        values.iter().map(point).collect()
    }
}
