//! The header tap over the real protocol: against librdkafka's mock cluster everywhere, and against a real
//! Apache Kafka where Java and Maven can fetch one (`fixtures/parts/kafka.sh`).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use collector::settings::KafkaTap;
use collector::{Collector, Drained, Settings, Source};
use model::{Signal, TimeRange};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use storage::rows::{LogRows, PointRows};
use storage::{ScanOrder, ScanStats, Store};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{Server, clock, until};

const PAYLOAD: &str = "a payload that nobody may keep";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A broker to test against.
struct Broker {
    servers: String,
    /// The mock cluster, when it is one: it answers neither who makes topics nor who lists groups.
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Broker {
    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.servers);
        config
    }

    fn tap(&self) -> KafkaTap {
        let millis = Duration::from_millis;
        KafkaTap {
            groups: vec![if self.mock.is_none() { "*" } else { "billing" }.to_owned()],
            start: "earliest".to_owned(),
            offsets_interval: millis(200),
            discovery_interval: millis(500),
            ..KafkaTap::new(&self.servers, ["orders*"])
        }
    }

    async fn create(&self, topic: &str, partitions: i32) {
        if let Some(mock) = &self.mock {
            return mock.create_topic(topic, partitions, 1).expect("a topic");
        }
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client");
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let made = admin.create_topics([&new], &AdminOptions::new()).await.expect("an answer");
        assert!(made[0].is_ok(), "{made:?}");
    }

    async fn send(&self, topic: &str, partition: i32, key: &str) {
        let producer: FutureProducer = self.config().create().expect("a producer");
        let headers = [("X-Order-Id", key), ("traceparent", PARENT), ("Authorization", "Bearer hidden")];
        let headers = headers.into_iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: Some(value) })
        });
        let record = FutureRecord::to(topic).partition(partition).key(key).payload(PAYLOAD).headers(headers);
        producer.send(record, Duration::from_secs(20)).await.expect("delivered");
    }

    /// Commits for a group as its consumer would.
    async fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let mut config = self.config();
        config.set("group.id", group);
        let topic = topic.to_owned();
        let commit = move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition_offset(&topic, partition, Offset::Offset(offset)).expect("an offset");
            consumer.commit(&offsets, CommitMode::Sync).expect("committed");
        };
        tokio::task::spawn_blocking(commit).await.expect("no panic");
    }

    async fn groups(&self) -> BTreeSet<String> {
        let config = self.config();
        let list = move || {
            let consumer: BaseConsumer = config.create().expect("a client");
            let list = consumer.fetch_group_list(None, Duration::from_secs(20)).expect("a list");
            list.groups().iter().map(|group| group.name().to_owned()).collect()
        };
        tokio::task::spawn_blocking(list).await.expect("no panic")
    }
}

/// One tapped message: body, trace, ids, attributes.
type Tapped = (String, String, BTreeSet<String>, Vec<(String, String)>);

async fn tapped(store: &Arc<Store>) -> Vec<Tapped> {
    let snapshot = store.snapshot();
    let scan = move || {
        let mut found = Vec::new();
        let mut visit = |batch: &_| {
            let rows = LogRows::new(batch);
            for row in (0..rows.len()).filter(|row| rows.event_name(*row) == "kafka.message") {
                let trace = rows.trace_id(row).map(|trace| trace.to_string()).unwrap_or_default();
                let ids = rows.ids(row).map(str::to_owned).collect();
                let attributes = rows.attributes(row).map(|(key, value)| (key.to_owned(), value.to_owned()));
                found.push((rows.body(row).to_owned(), trace, ids, attributes.collect()));
            }
            ControlFlow::Continue(())
        };
        let (all, mut stats) = (TimeRange::ALL, ScanStats::default());
        snapshot.scan(Signal::Logs, &all, &[], ScanOrder::Any, &mut stats, &mut visit).expect("readable");
        found.sort();
        found
    };
    tokio::task::spawn_blocking(scan).await.expect("no panic")
}

async fn bodies(store: &Arc<Store>) -> Vec<String> {
    tapped(store).await.into_iter().map(|(body, ..)| body).collect()
}

/// Whether a gauge has had a value for these labels.
async fn was(store: &Arc<Store>, metric: &'static str, labels: &'static [(&str, &str)], value: f64) -> bool {
    let snapshot = store.snapshot();
    let scan = move || {
        let mut is_found = false;
        let mut visit = |batch: &_| {
            let rows = PointRows::new(batch);
            is_found |= (0..rows.len()).any(|row| {
                let has = |wanted: &(&str, &str)| rows.labels(row).any(|label| label == *wanted);
                rows.metric(row) == metric && rows.value(row) == value && labels.iter().all(has)
            });
            ControlFlow::Continue(())
        };
        let (all, mut stats) = (TimeRange::ALL, ScanStats::default());
        snapshot.scan(Signal::Metrics, &all, &[], ScanOrder::Any, &mut stats, &mut visit).expect("readable");
        is_found
    };
    tokio::task::spawn_blocking(scan).await.expect("no panic")
}

/// Whether a text stands in any file below a folder.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// What the tap does on every broker.
async fn follows_messages_and_offsets(broker: &Broker) {
    broker.create("orders", 2).await;
    broker.create("mails", 1).await;
    broker.send("orders", 1, "ORD-1").await;
    broker.send("mails", 0, "ORD-1").await;
    let server = Server::with(|settings| settings.kafka_tap = Some(broker.tap())).await;
    until("the message", || async { bodies(&server.store).await == ["orders/1@0 key=ORD-1"] }).await;

    let (_, trace, ids, attributes) = tapped(&server.store).await.remove(0);
    assert_eq!(trace, TRACE, "the producer's context makes the record part of its trace");
    for id in ["kafka_record=orders/1@0", "order_id=ORD-1", "message_key=ORD-1"] {
        assert!(ids.contains(id), "{id} in {ids:?}");
    }
    let size = ("messaging.message.body.size".to_owned(), PAYLOAD.len().to_string());
    assert!(attributes.contains(&size), "{attributes:?}");
    assert!(!attributes.iter().any(|(key, _)| key.contains("authorization")), "{attributes:?}");
    assert!(holds(server.dir.path(), "orders/1@0"), "the search below must be able to find something");
    assert!(!holds(server.dir.path(), PAYLOAD), "the payload reached the disk");

    broker.commit("billing", "orders", 1, 1).await;
    let labels = &[("group", "billing"), ("topic", "orders"), ("partition", "1")];
    until("the group's offset", || was(&server.store, "kafka.consumer_group.offset", labels, 1.0)).await;
    broker.send("orders", 1, "ORD-2").await;
    until("its lag", || was(&server.store, "kafka.consumer_group.lag", labels, 1.0)).await;
    let end = &[("topic", "orders"), ("partition", "1")];
    until("the end of the partition", || was(&server.store, "kafka.partition.current_offset", end, 2.0))
        .await;

    // A topic that comes into being is tapped from its beginning.
    broker.create("orders-v2", 1).await;
    broker.send("orders-v2", 0, "ORD-3").await;
    let three = ["orders-v2/0@0 key=ORD-3", "orders/1@0 key=ORD-1", "orders/1@1 key=ORD-2"];
    until("the new topic", || async { bodies(&server.store).await == three }).await;
    if broker.mock.is_none() {
        assert_eq!(broker.groups().await, BTreeSet::from(["billing".to_owned()]), "the tap is no group");
    }

    // Another collector goes on behind what was recorded.
    assert_eq!(server.collector.shutdown(Duration::from_secs(20)).await, Drained::InTime);
    broker.send("orders", 0, "ORD-4").await;
    let settings = Settings { kafka_tap: Some(broker.tap()), ..Settings::on_free_ports() };
    let second = Collector::start(settings, Arc::clone(&server.store), clock()).await.expect("starts");
    let four =
        ["orders-v2/0@0 key=ORD-3", "orders/0@0 key=ORD-4", "orders/1@0 key=ORD-1", "orders/1@1 key=ORD-2"];
    until("the message after the restart", || async { bodies(&server.store).await.len() >= 4 }).await;
    assert_eq!(bodies(&server.store).await, four, "nothing is recorded twice");
    assert!(second.metrics().counts(Source::KafkaTap, Signal::Logs).requests_stored >= 1);
    assert_eq!(second.shutdown(Duration::from_secs(20)).await, Drained::InTime);
}

#[tokio::test]
async fn the_tap_follows_messages_and_offsets_of_a_mock_cluster() {
    let cluster = MockCluster::new(1).expect("a cluster");
    let broker = Broker { servers: cluster.bootstrap_servers(), mock: Some(cluster) };
    follows_messages_and_offsets(&broker).await;
}

#[tokio::test]
async fn the_first_topic_that_comes_into_being_is_tapped_before_the_next_look_for_topics_is_due() {
    let cluster = MockCluster::new(1).expect("a cluster");
    let broker = Broker { servers: cluster.bootstrap_servers(), mock: Some(cluster) };
    let tap = KafkaTap { discovery_interval: Duration::from_secs(3600), ..broker.tap() };
    let server = Server::with(|settings| settings.kafka_tap = Some(tap)).await;
    let end = &[("topic", "orders"), ("partition", "1")];
    broker.create("mails", 1).await;
    broker.create("orders", 2).await;
    broker.send("orders", 1, "ORD-1").await;
    until("the message", || async { bodies(&server.store).await == ["orders/1@0 key=ORD-1"] }).await;
    until("the end of the partition", || was(&server.store, "kafka.partition.current_offset", end, 1.0))
        .await;
}

#[tokio::test]
async fn settings_that_cannot_work_stop_the_start() {
    let store = Server::with(|_| {}).await;
    let tap = KafkaTap::new("127.0.0.1:1", Vec::<String>::new());
    let settings = Settings { kafka_tap: Some(tap), ..Settings::on_free_ports() };
    let error = Collector::start(settings, Arc::clone(&store.store), clock()).await.expect_err("no topics");
    assert!(error.to_string().contains("topics = [\"orders*\"]"), "{error}");
}

#[tokio::test]
async fn the_tap_follows_messages_and_offsets_of_a_real_broker() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/parts/kafka.sh");
    // Not killed when this test fails: its input is closed then, and it ends the broker; killed, it would leave it.
    let mut part = tokio::process::Command::new("bash")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs");
    // The script says `ready HOST:PORT` or `skipped: why`, and ends the broker when its input is closed.
    let mut lines = BufReader::new(part.stdout.take().expect("piped")).lines();
    let said = tokio::time::timeout(Duration::from_secs(300), lines.next_line()).await;
    let said = said.expect("in time").expect("readable").unwrap_or_default();
    let Some(servers) = said.strip_prefix("ready ") else {
        assert!(said.starts_with("skipped: "), "{said}");
        assert!(std::env::var_os("CI").is_none(), "in CI this test is required: {said}");
        use std::io::Write as _;
        writeln!(std::io::stderr(), "a real Kafka: {said}").expect("standard error");
        return;
    };
    let broker = Broker { servers: servers.to_owned(), mock: None };
    follows_messages_and_offsets(&broker).await;
    drop(part.stdin.take());
    part.wait().await.expect("it ends");
}
