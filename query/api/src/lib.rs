//! The query API: request and response types of `/api/v1`, and the HTTP client.
//!
//! Owns: the JSON that server, terminal and command line agree on. Does not own: how answers are made
//! (`query`), how they are drawn (`tui`, `silmari`).
//!
//! Invariants: every answer carries what was cut and what it cost; times are RFC 3339 text with
//! nanoseconds, durations are whole nanoseconds in fields that end in `_nano`; a field is only ever
//! added within `v1`.

pub mod agents;
pub mod alerts;
pub mod boards;
pub mod client;
pub mod common;
pub mod deletes;
pub mod diff;
pub mod doctor;
pub mod identity;
pub mod journey;
pub mod logs;
pub mod metrics;
pub mod offline;
pub mod services;
pub mod sql;
pub mod text;
pub mod whereabouts;

pub use agents::{
    AgentConfigAnswer, AgentHealth, AgentRow, AgentsAnswer, InventoryAnswer, InventoryInstance,
    InventoryService, PushRequest, RollbackRequest, StageHealth, StageRow, StagesAnswer,
};
pub use alerts::{Alert, AlertState, AlertsAnswer, RuleStatus};
pub use client::{Client, ClientError};
pub use common::{Cut, ErrorAnswer, ErrorBody, QueryStats};
pub use deletes::{DeleteReceipt, DeleteRequest, DeletesAnswer};
pub use doctor::{
    DoctorAnswer, DoctorEdge, DoctorService, DoctorTopic, EdgePasses, Finding, FindingKind, Severity,
};
pub use identity::{
    EdgeEvidence, EdgeKind, IdEdge, IdGraph, IdKindRow, IdKindsAnswer, IdNode, NodeKind, RecordRef,
};
pub use journey::{
    Certainty, Evidence, EvidenceKind, Journey, JourneyCounts, JourneyFailure, JourneyMark, JourneyRow,
    JourneyStatus, JourneyTrace, MarkKind, PathSegment, Progress, ProgressState, RowKind, RowMark, SpanLink,
    TimeClass, TimeSpent,
};
pub use logs::{Facet, FacetValue, LogBucket, LogRecord, LogsAnswer};
pub use metrics::{MetricsAnswer, MetricsData, MetricsResult, Sample, Series};
pub use services::{Health, QueueRow, ServiceRow, ServicesAnswer};
pub use sql::{SqlAnswer, SqlColumn, SqlRequest};
pub use text::{Attributes, Text};
pub use whereabouts::{GroupProgress, GroupState, MessageWhere, WhereAnswer};
