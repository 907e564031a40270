//! Names under which the header tap records Kafka messages and consumer offsets: agreed between the
//! collector, which writes them, and queries, which read them.
//!
//! The metrics are those of the OpenTelemetry Collector's `kafkametrics` receiver, as Prometheus series.

/// Event name of the log record that stands for one message.
pub const MESSAGE_EVENT: &str = "kafka.message";
/// The offset a group has committed in a partition, `{group, topic, partition}`; -1 before its first commit.
pub const GROUP_OFFSET_METRIC: &str = "kafka_consumer_group_offset";
/// The offset the next message of a partition gets, `{topic, partition}`.
pub const PARTITION_OFFSET_METRIC: &str = "kafka_partition_current_offset";
