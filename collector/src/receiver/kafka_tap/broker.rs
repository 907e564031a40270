//! Connections to the broker that read and never write.

use std::time::Duration;

use rdkafka::config::ClientConfig;

use crate::settings::KafkaTap;

/// How long one question to the broker may take.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// The group of clients that belong to none: they assign partitions by hand and commit nothing, so that no
/// such group comes into being.
pub(super) const NO_GROUP: &str = "silmari-tap";

/// A client that would act for `group`, were it to join or to commit.
pub(super) fn config(settings: &KafkaTap, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "silmari-tap")
        .set("queued.min.messages", "1000")
        .set("socket.keepalive.enable", "true");
    for (key, value) in &settings.properties {
        config.set(key, value);
    }
    // That nothing is written, and that little of any payload is held, cannot be set otherwise.
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.message.max.bytes", "262144");
    config
}

/// Whether one of the globs describes `name`.
pub(super) fn is_named(globs: &[String], name: &str) -> bool {
    globs.iter().any(|glob| model::ids::is_glob_match(glob, name))
}
