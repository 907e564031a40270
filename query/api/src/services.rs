//! `GET /api/v1/services`: rate, errors and duration of every service, and the state of every queue.

use model::{TimeRange, UnixNano};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{Cut, QueryStats, RangeSchema};

/// The overview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServicesAnswer {
    /// The time range looked at.
    #[schemars(with = "RangeSchema")]
    pub range: TimeRange,
    /// Width of one sparkline column.
    pub step_nano: i64,
    /// Services, worst first.
    pub services: Vec<ServiceRow>,
    /// Queues, worst first.
    pub queues: Vec<QueueRow>,
    /// What was left out.
    pub cuts: Vec<Cut>,
    /// What it cost.
    pub stats: QueryStats,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Fine.
    Ok,
    /// Was heard of in the range, but not in its last fifth.
    Silent,
    /// Needs a look: errors above 0.5 %, or a queue that grows.
    Warn,
    /// Errors above 2 %, or a queue nobody reads.
    Bad,
}

/// One service. Requests are its server and consumer spans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceRow {
    /// `service.name`.
    pub service: String,
    /// How it is.
    pub health: Health,
    /// Requests per second over the range.
    pub rate: f64,
    /// Share of requests that failed, 0 to 1.
    pub error_ratio: f64,
    /// Median duration; `None` without requests.
    pub p50_nano: Option<i64>,
    /// 95th percentile.
    pub p95_nano: Option<i64>,
    /// 99th percentile.
    pub p99_nano: Option<i64>,
    /// Requests per second in each step, oldest first.
    pub rates: Vec<f64>,
    /// Error ratio in each step, oldest first.
    pub error_ratios: Vec<f64>,
    /// Log records of severity ERROR and above in the range.
    pub log_errors: u64,
    /// When it was last heard of.
    #[schemars(with = "String")]
    pub last_seen: UnixNano,
}

/// One broker destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueueRow {
    /// Topic or queue.
    pub destination: String,
    /// Who reads it: services whose consumer spans name it.
    pub consumers: Vec<String>,
    /// How it is.
    pub health: Health,
    /// Messages produced per second.
    pub in_rate: f64,
    /// Messages consumed per second, by the slowest consumer.
    pub out_rate: f64,
    /// Messages produced in the range that the slowest consumer has not consumed.
    pub pending: u64,
    /// 95th percentile of queue wait; `None` when no message was consumed.
    pub wait_p95_nano: Option<i64>,
}
