//! Who consumed a message: what tells the consumers of one message apart, so that in two journeys the wait for one
//! consumer is compared with the wait for the same one, not with the one that happens to stand at its place.
//!
//! A service may consume a message in several groups. Groups that both journeys name are told apart by name. The name
//! of any other is new each time, as offsets are, and counts without its variable parts; it does not count at all for
//! a service that names groups in one journey only, as after its instrumentation has changed.

use std::collections::BTreeSet;

use query_api::{Journey, JourneyRow, RowKind};

use super::template;

const CONSUMER: &str = "consumer.service";
const GROUPS: [&str; 4] = [
    "messaging.consumer.group.name",
    "messaging.kafka.consumer.group",
    "messaging.kafka.consumer_group",
    "messaging.consumer.group",
];

/// The service that the message of a wait waited for; empty while none has consumed it, and for other rows.
pub(super) fn consumer(row: &JourneyRow) -> &str {
    match row.kind {
        RowKind::QueueWait => row.attributes.text(CONSUMER).unwrap_or_default(),
        _ => "",
    }
}

/// The consumer group of a wait; empty for other rows.
pub(super) fn group(row: &JourneyRow) -> &str {
    if row.kind == RowKind::QueueWait { named_group(row) } else { "" }
}

/// The group that a wait or a consumer span names; empty when it names none.
fn named_group(row: &JourneyRow) -> &str {
    GROUPS.iter().find_map(|key| row.attributes.text(key)).unwrap_or_default()
}

/// The consuming service of a wait or of a consumer span; `None` for what consumes nothing.
fn service(row: &JourneyRow) -> Option<&str> {
    match row.kind {
        RowKind::QueueWait => Some(consumer(row)),
        RowKind::Span if row.label == "consumer" => Some(&row.service),
        _ => None,
    }
}

/// What both journeys say of groups.
pub(super) struct Parties<'a> {
    /// Service and group.
    groups: BTreeSet<(&'a str, &'a str)>,
    /// Services that name groups.
    services: BTreeSet<&'a str>,
}

impl<'a> Parties<'a> {
    pub(super) fn new(a: &'a Journey, b: &'a Journey) -> Self {
        let (in_a, in_b) = (groups(a), groups(b));
        let services = |groups: &BTreeSet<(&'a str, &'a str)>| -> BTreeSet<&'a str> {
            groups.iter().map(|(service, _)| *service).collect()
        };
        let services = &services(&in_a) & &services(&in_b);
        Self { groups: &in_a & &in_b, services }
    }

    /// Service and group of a row that consumes a message.
    pub(super) fn of(&self, row: &JourneyRow) -> (String, String) {
        let Some(service) = service(row) else { return Default::default() };
        let group = match named_group(row) {
            _ if !self.services.contains(service) => String::new(),
            group if self.groups.contains(&(service, group)) => group.to_owned(),
            group => template(group),
        };
        (service.to_owned(), group)
    }
}

/// All groups that rows of a journey name, with their services.
fn groups(journey: &Journey) -> BTreeSet<(&str, &str)> {
    let named = journey.rows.iter().filter_map(|row| Some((service(row)?, named_group(row))));
    named.filter(|(_, group)| !group.is_empty()).collect()
}
