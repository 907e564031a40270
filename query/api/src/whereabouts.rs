//! `GET /api/v1/where?id=…`: the messages an id travelled in, and how far each consumer group is.

use model::{IdTerm, SpanId, TimeRange, TraceId, UnixNano};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats, RangeSchema};

/// Where an id is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WhereAnswer {
    /// The id as it was asked for.
    pub id: String,
    /// The terms of that id that were found.
    #[schemars(with = "Vec<String>")]
    pub matched: Vec<IdTerm>,
    /// The time range that was searched.
    #[schemars(with = "RangeSchema")]
    pub range: TimeRange,
    /// Messages, in the order they were produced.
    pub messages: Vec<MessageWhere>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// One message and who has consumed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessageWhere {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Its key, as far as it is known and text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// When it was produced: the broker's time for it, or the end of the producer span.
    #[schemars(with = "String")]
    pub produced_at: UnixNano,
    /// The service that produced it, as far as a span says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub produced_by: String,
    /// Trace of the producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub trace_id: Option<TraceId>,
    /// Span of the producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub span_id: Option<SpanId>,
    /// Consumer groups of the topic, by name.
    pub groups: Vec<GroupProgress>,
}

/// How far one consumer group is with one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupProgress {
    /// The group.
    pub group: String,
    /// Whether it is past the message.
    #[serde(flatten)]
    pub state: GroupState,
}

/// Whether a group is past a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GroupState {
    /// A span of the group processed the message.
    Consumed {
        /// When that span began.
        #[schemars(with = "String")]
        at: UnixNano,
        /// The consuming service.
        service: String,
        /// Its trace.
        #[schemars(with = "String")]
        trace_id: TraceId,
        /// Its span.
        #[schemars(with = "String")]
        span_id: SpanId,
    },
    /// The group committed an offset beyond the message between two looks at it.
    Passed {
        /// The last look at which it had not; absent when there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<String>")]
        after: Option<UnixNano>,
        /// The first look at which it had.
        #[schemars(with = "String")]
        before: UnixNano,
    },
    /// The group has not committed an offset beyond the message.
    NotConsumed {
        /// The offset it has committed, that of the next message it takes; absent when it has committed nothing in
        /// this partition: it may begin anywhere then, or not read it at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        committed: Option<i64>,
        /// Messages between the committed offset, or the beginning, and the end of the partition.
        lag: i64,
        /// How fast the lag grows, in messages a second; below 0 when it shrinks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        growth_per_second: Option<f64>,
        /// Messages of the partition that the group takes before this one.
        ahead: i64,
        /// The last look at it.
        #[schemars(with = "String")]
        seen_at: UnixNano,
    },
}
