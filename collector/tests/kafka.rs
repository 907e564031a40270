//! OTLP from Kafka, over the real protocol: librdkafka's mock cluster listens on a port.

use std::sync::Arc;
use std::time::Duration;

use collector::settings::{Kafka, Topics};
use collector::{Collector, Drained, Reason, Source};
use model::Signal;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::{Server, clock, open, protobuf, stored, until};

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).expect("a cluster");
    for topic in ["otlp-traces", "otlp-logs", "otlp-metrics"] {
        cluster.create_topic(topic, 2, 1).expect("a topic");
    }
    cluster
}

fn kafka(cluster: &Cluster) -> Kafka {
    let topic = |name: &str| Some(name.to_owned());
    let topics =
        Topics { traces: topic("otlp-traces"), logs: topic("otlp-logs"), metrics: topic("otlp-metrics") };
    let mut kafka = Kafka::new(cluster.bootstrap_servers(), topics);
    // The mock cluster gives a partition to the next member only a session timeout after one has left.
    kafka.properties.insert("session.timeout.ms".to_owned(), "3000".to_owned());
    kafka.properties.insert("heartbeat.interval.ms".to_owned(), "500".to_owned());
    kafka
}

async fn send(cluster: &Cluster, topic: &str, partition: i32, payload: Option<&[u8]>) {
    let mut config = ClientConfig::new();
    let producer: FutureProducer =
        config.set("bootstrap.servers", cluster.bootstrap_servers()).create().expect("a producer");
    let mut record = FutureRecord::<(), [u8]>::to(topic).partition(partition);
    record.payload = payload;
    producer.send(record, Duration::from_secs(20)).await.expect("delivered");
}

/// The committed offset of a partition of `otlp-traces`.
async fn committed(cluster: &Cluster, partition: i32) -> Option<i64> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "silmari");
    let ask = move || {
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition("otlp-traces", partition);
        let found = consumer.committed_offsets(wanted, Duration::from_secs(20)).expect("an answer");
        match found.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    };
    tokio::task::spawn_blocking(ask).await.expect("no panic")
}

#[tokio::test]
async fn every_signal_comes_from_its_topic_and_offsets_follow_durability() {
    let cluster = cluster();
    for (topic, signal) in
        [("otlp-traces", Signal::Traces), ("otlp-logs", Signal::Logs), ("otlp-metrics", Signal::Metrics)]
    {
        send(&cluster, topic, 0, Some(&protobuf(signal, &["first"]))).await;
    }
    let server = Server::with(|settings| settings.kafka = Some(kafka(&cluster))).await;
    for signal in Signal::ALL {
        until("the message to arrive", || async { server.stored(signal).await == ["first"] }).await;
    }
    send(&cluster, "otlp-traces", 1, Some(&protobuf(Signal::Traces, &["second"]))).await;
    until("the second message", || async { server.stored(Signal::Traces).await == ["first", "second"] })
        .await;
    until("the offsets", || async {
        (committed(&cluster, 0).await, committed(&cluster, 1).await) == (Some(1), Some(1))
    })
    .await;
    assert_eq!(server.collector.shutdown(Duration::from_secs(20)).await, Drained::InTime);
}

#[tokio::test]
async fn a_poisonous_message_is_counted_and_passed_over() {
    let cluster = cluster();
    send(&cluster, "otlp-traces", 0, Some(b"\xff\xff no protobuf")).await;
    send(&cluster, "otlp-traces", 0, None).await;
    send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &["after"]))).await;
    let server = Server::with(|settings| settings.kafka = Some(kafka(&cluster))).await;
    until("the good message", || async { server.stored(Signal::Traces).await == ["after"] }).await;
    until("the offsets of all three", || async { committed(&cluster, 0).await == Some(3) }).await;
    let metrics = server.collector.metrics();
    assert_eq!(metrics.requests_refused(Source::Kafka, Signal::Traces, Reason::Malformed), 1);
    assert_eq!(metrics.counts(Source::Kafka, Signal::Traces).requests_stored, 2);
}

#[tokio::test]
async fn a_second_collector_of_the_group_goes_on_where_the_first_stopped() {
    let cluster = cluster();
    send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &["first"]))).await;
    let server = Server::with(|settings| settings.kafka = Some(kafka(&cluster))).await;
    until("the first message", || async { server.stored(Signal::Traces).await == ["first"] }).await;
    until("its offset", || async { committed(&cluster, 0).await == Some(1) }).await;
    assert_eq!(server.collector.shutdown(Duration::from_secs(20)).await, Drained::InTime);

    send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &["second"]))).await;
    let other = Server::with(|settings| settings.kafka = Some(kafka(&cluster))).await;
    until("the second message", || async { !other.stored(Signal::Traces).await.is_empty() }).await;
    assert_eq!(other.stored(Signal::Traces).await, ["second"]);
}

#[tokio::test]
async fn messages_wait_while_the_store_cannot_write_and_none_is_lost() {
    let cluster = cluster();
    send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &["first"]))).await;
    let server = Server::with_store(
        |store| store.head_bytes_max = 0,
        |settings| settings.kafka = Some(kafka(&cluster)),
    )
    .await;
    until("the first message", || async { server.stored(Signal::Traces).await == ["first"] }).await;
    // Each further append is refused until sealing has emptied the head: the messages wait, none is lost.
    for name in ["second", "third"] {
        send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &[name]))).await;
    }
    until("all of them", || async { server.stored(Signal::Traces).await == ["first", "second", "third"] })
        .await;
    until("the offset", || async { committed(&cluster, 0).await == Some(3) }).await;
}

#[tokio::test]
async fn messages_that_are_stored_are_not_read_again_even_when_the_group_has_forgotten_them() {
    let cluster = cluster();
    let names = ["m0", "m1", "m2"];
    for name in names {
        send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &[name]))).await;
    }
    let server = Server::with(|settings| settings.kafka = Some(kafka(&cluster))).await;
    until("all of them", || async { server.stored(Signal::Traces).await == names }).await;
    server.collector.shutdown(Duration::from_secs(20)).await;
    let Server { collector, store, dir } = server;
    drop((collector, store));

    // A group without any offset is what a crash before the first commit leaves.
    let store = open(storage::Settings::new(dir.path())).await;
    let mut settings = collector::Settings::on_free_ports();
    settings.kafka = Some(Kafka { group_id: "new".to_owned(), ..kafka(&cluster) });
    let collector = Collector::start(settings, Arc::clone(&store), clock()).await.expect("starts");
    send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &["m3"]))).await;
    until("the new one", || async { stored(&store, Signal::Traces).await.contains(&"m3".to_owned()) }).await;
    assert_eq!(stored(&store, Signal::Traces).await, ["m0", "m1", "m2", "m3"]);
    assert_eq!(
        collector.metrics().counts(Source::Kafka, Signal::Traces).requests,
        1,
        "the others are not even read"
    );
    assert_eq!(store.kafka_offsets(), [("otlp-traces".to_owned(), 0, 4)]);
}

#[tokio::test]
async fn a_topic_that_was_created_anew_is_read_from_its_beginning() {
    let cluster = cluster();
    for name in ["m0", "m1", "m2"] {
        send(&cluster, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &[name]))).await;
    }
    let server = Server::with(|settings| settings.kafka = Some(kafka(&cluster))).await;
    until("all of them", || async { server.stored(Signal::Traces).await.len() == 3 }).await;
    server.collector.shutdown(Duration::from_secs(20)).await;
    let Server { collector, store, dir } = server;
    drop((collector, store));

    let anew = self::cluster();
    send(&anew, "otlp-traces", 0, Some(&protobuf(Signal::Traces, &["n0"]))).await;
    let store = open(storage::Settings::new(dir.path())).await;
    let mut settings = collector::Settings::on_free_ports();
    settings.kafka = Some(kafka(&anew));
    let _collector = Collector::start(settings, Arc::clone(&store), clock()).await.expect("starts");
    until("the new one", || async { stored(&store, Signal::Traces).await.contains(&"n0".to_owned()) }).await;
    assert_eq!(stored(&store, Signal::Traces).await, ["m0", "m1", "m2", "n0"]);
    assert_eq!(store.kafka_offsets(), [("otlp-traces".to_owned(), 0, 1)]);
}
