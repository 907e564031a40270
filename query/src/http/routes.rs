//! The list of routes: what the router serves and what `/openapi.json` says.

use axum::routing::{MethodRouter, get, post};
use query_api::diff::JourneyDiff;
use query_api::journey::RowDetail;
use query_api::{
    AgentConfigAnswer, AgentsAnswer, AlertsAnswer, DeleteReceipt, DeleteRequest, DeletesAnswer, DoctorAnswer,
    IdGraph, IdKindsAnswer, InventoryAnswer, Journey, LogRecord, LogsAnswer, MetricsAnswer, PushRequest,
    RollbackRequest, ServicesAnswer, SqlAnswer, SqlRequest, StageRow, StagesAnswer, WhereAnswer,
};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::{App, exemplars, handlers, prometheus};

/// A parameter in the query of a GET or the form of a POST.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) is_required: bool,
    pub(super) is_repeatable: bool,
    pub(super) about: &'static str,
}

const fn required(name: &'static str, about: &'static str) -> Param {
    Param { name, is_required: true, is_repeatable: false, about }
}

const fn optional(name: &'static str, about: &'static str) -> Param {
    Param { name, is_required: false, is_repeatable: false, about }
}

const FROM: Param = optional(
    "from",
    "First instant: RFC 3339, Unix seconds, or `now-15m`. 15 minutes before `to` unless told; a journey 24 hours.",
);
const TO: Param = optional("to", "Last instant, written like `from`. Now unless told.");
const SEARCH: Param = optional("query", "A search, see docs/reference/search.md. Everything unless told.");

const CORRECT_CLOCKS: Param = optional(
    "correct_clocks",
    "`true`: times of services whose clocks are off are corrected, and marked. As recorded unless told.",
);

const ID: Param = required("id", "An id of any kind, bare (`ORD-4711`) or as `kind=value`.");
const HOPS: Param = optional("hops", "Steps from the id to search. 8 unless told, 100 at most.");
const DEGREE: Param = optional(
    "degree",
    "Traces an id may hang on to be searched through. What `ids.yaml` says of its kind unless told.",
);
const TRACES: Param = optional("traces", "Traces at most, the newest. 200 unless told, 5,000 at most.");
const SPANS: Param = optional("spans", "Spans at most. 100,000 unless told, 200,000 at most.");
const LOG_RECORDS: Param = optional("logs", "Log records at most. 20,000 unless told, 200,000 at most.");

pub(super) const JOURNEY: &[Param] =
    &[ID, FROM, TO, CORRECT_CLOCKS, HOPS, DEGREE, TRACES, SPANS, LOG_RECORDS];
pub(super) const WHERE: &[Param] = &[ID, FROM, TO];
pub(super) const JOURNEY_ROW: &[Param] = &[
    required("kind", "`span`, `log` or `event`."),
    required("time", "When it began or happened, as it was recorded: RFC 3339 with nanoseconds."),
    optional("trace_id", "Its trace. Log records may have none."),
    optional("span_id", "Its span."),
    optional("service", "The service of a log record."),
    optional("name", "The beginning of a log record's body, or of an event's name."),
];
pub(super) const JOURNEY_FOLLOW: &[Param] =
    &[ID, FROM, CORRECT_CLOCKS, HOPS, DEGREE, TRACES, SPANS, LOG_RECORDS];
pub(super) const IDS_GRAPH: &[Param] = &[
    required(
        "id",
        "An id of any kind, bare (`ORD-4711`) or as `kind=value`; `link=<trace>/<span>` for what links to a span.",
    ),
    FROM,
    TO,
    HOPS,
    DEGREE,
    optional("nodes", "Nodes to draw at most. 400 unless told, 20,000 at most."),
    optional("rows", "Spans, and log records, to read at most. 20,000 unless told, 200,000 at most."),
];
pub(super) const JOURNEY_DIFF: &[Param] = &[
    optional("a", "The id of the journey that is taken as given."),
    optional(
        "baseline",
        "Instead of `a`: `route:/checkout p50`, the trace of this route at this percentile.",
    ),
    required("b", "The id of the journey that is judged."),
    FROM,
    TO,
];
pub(super) const DOCTOR: &[Param] = &[optional("service", "Only what concerns this service."), FROM, TO];
pub(super) const LOGS: &[Param] =
    &[SEARCH, FROM, TO, optional("limit", "Records to return at most, the latest. 200 unless told.")];
pub(super) const LOGS_TAIL: &[Param] = &[SEARCH];
pub(super) const AGENT: &[Param] = &[required("agent", "The name of an agent, or its id.")];
pub(super) const RANGE: &[Param] = &[FROM, TO];
const PROMQL: Param = required("query", "A PromQL expression.");
const START: Param = optional("start", "First instant: RFC 3339 or Unix seconds.");
const END: Param = optional("end", "Last instant: RFC 3339 or Unix seconds.");
const MATCH: Param = Param {
    name: "match[]",
    is_required: false,
    is_repeatable: true,
    about: "A series selector; repeatable.",
};

/// What a route answers with on success.
pub(super) enum Answer {
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// One JSON value of this schema a line.
    Lines(fn(&mut SchemaGenerator) -> Schema),
    /// Text for people or Prometheus.
    Text,
}

/// One path.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) methods: &'static [&'static str],
    pub(super) about: &'static str,
    pub(super) params: &'static [Param],
    /// Schema of a JSON body.
    pub(super) body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub(super) answer: Answer,
    pub(super) handlers: fn() -> MethodRouter<App>,
}

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const GET_POST: &[&str] = &["GET", "POST"];

fn of<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "status": { "type": "string" },
            "data": { "type": "array", "items": { "type": "string" } },
        },
    })
}

fn label_sets(_: &mut SchemaGenerator) -> Schema {
    let labels = json_schema!({ "type": "object", "additionalProperties": { "type": "string" } });
    json_schema!({
        "type": "object",
        "properties": { "status": { "type": "string" }, "data": { "type": "array", "items": labels } },
    })
}

/// Every path of the API.
pub(super) const ROUTES: &[Route] = &[
    Route {
        path: "/ready",
        methods: GET,
        about: "200 once the WAL is replayed and the disk takes records; before, how far the replay is.",
        params: &[],
        body: None,
        answer: Answer::Text,
        handlers: || get(handlers::ready),
    },
    Route {
        path: "/metrics",
        methods: GET,
        about: "The server's own metrics in the Prometheus text format.",
        params: &[],
        body: None,
        answer: Answer::Text,
        handlers: || get(handlers::metrics),
    },
    Route {
        path: "/openapi.json",
        methods: GET,
        about: "This document.",
        params: &[],
        body: None,
        answer: Answer::Json(object),
        handlers: || get(handlers::openapi),
    },
    Route {
        path: "/api/v1/journey",
        methods: GET,
        about: "Everything one id reaches, on one time axis. 404 names the terms and the range that were searched.",
        params: JOURNEY,
        body: None,
        answer: Answer::Json(of::<Journey>),
        handlers: || get(handlers::journey),
    },
    Route {
        path: "/api/v1/journey/row",
        methods: GET,
        about: "One span, log record or event of a journey with all its attributes, named by what a journey's row says \
                of it. 404 when there is no such row.",
        params: JOURNEY_ROW,
        body: None,
        answer: Answer::Json(of::<RowDetail>),
        handlers: || get(handlers::journey_row),
    },
    Route {
        path: "/api/v1/journey/follow",
        methods: GET,
        about: "A journey, and again whenever records arrive that change it, one a line. An empty line says that it \
                is still followed. 404 as for a journey.",
        params: JOURNEY_FOLLOW,
        body: None,
        answer: Answer::Lines(of::<Journey>),
        handlers: || get(handlers::journey_follow),
    },
    Route {
        path: "/api/v1/ids",
        methods: GET,
        about: "The id kinds, and how many values of each were found. 24 hours unless told.",
        params: RANGE,
        body: None,
        answer: Answer::Json(of::<IdKindsAnswer>),
        handlers: || get(handlers::ids),
    },
    Route {
        path: "/api/v1/ids/graph",
        methods: GET,
        about: "Which ids, traces and messages hang together with one id, and by what evidence. 404 as for a journey.",
        params: IDS_GRAPH,
        body: None,
        answer: Answer::Json(of::<IdGraph>),
        handlers: || get(handlers::ids_graph),
    },
    Route {
        path: "/api/v1/where",
        methods: GET,
        about: "The messages one id travelled in, and how far each consumer group is with them. 404 as for a journey.",
        params: WHERE,
        body: None,
        answer: Answer::Json(of::<WhereAnswer>),
        handlers: || get(handlers::whereabouts),
    },
    Route {
        path: "/api/v1/journey/diff",
        methods: GET,
        about: "Two journeys side by side: what is slower, missing and extra in `b`, which log templates and \
                attributes differ. `a` is an id, or is chosen by `baseline`.",
        params: JOURNEY_DIFF,
        body: None,
        answer: Answer::Json(of::<JourneyDiff>),
        handlers: || get(handlers::journey_diff),
    },
    Route {
        path: "/api/v1/logs",
        methods: GET,
        about: "The latest log records that match a search, and all of them over time and by value.",
        params: LOGS,
        body: None,
        answer: Answer::Json(of::<LogsAnswer>),
        handlers: || get(handlers::logs),
    },
    Route {
        path: "/api/v1/logs/tail",
        methods: GET,
        about: "Log records that match a search, as they arrive, one a line. `{\"skipped\":N}` says that N log \
                records were passed over because the reader was slow; an empty line says that the tail is alive.",
        params: LOGS_TAIL,
        body: None,
        answer: Answer::Lines(of::<LogRecord>),
        handlers: || get(handlers::logs_tail),
    },
    Route {
        path: "/api/v1/services",
        methods: GET,
        about: "Rate, errors and duration of every service, and the state of every queue, worst first.",
        params: RANGE,
        body: None,
        answer: Answer::Json(of::<ServicesAnswer>),
        handlers: || get(handlers::services),
    },
    Route {
        path: "/api/v1/doctor",
        methods: GET,
        about: "Where an id is lost on its way, per service and edge, worst first, with a hint for each. An hour unless told.",
        params: DOCTOR,
        body: None,
        answer: Answer::Json(of::<DoctorAnswer>),
        handlers: || get(handlers::doctor),
    },
    Route {
        path: "/api/v1/sql",
        methods: POST,
        about: "One read-only statement over spans, logs and points, see docs/reference/sql.md.",
        params: &[],
        body: Some(of::<SqlRequest>),
        answer: Answer::Json(of::<SqlAnswer>),
        handlers: || post(handlers::sql),
    },
    Route {
        path: "/api/v1/agents",
        methods: GET,
        about: "Every agent that sends signs of life, with its state and how far it is behind.",
        params: &[],
        body: None,
        answer: Answer::Json(of::<AgentsAnswer>),
        handlers: || get(handlers::agents),
    },
    Route {
        path: "/api/v1/agents/config",
        methods: GET,
        about: "What one agent runs with: its files and what its collector handed out, secrets hidden.",
        params: AGENT,
        body: None,
        answer: Answer::Json(of::<AgentConfigAnswer>),
        handlers: || get(handlers::agent_config),
    },
    Route {
        path: "/api/v1/agents/stages",
        methods: GET,
        about: "The configurations that are handed out to agents, newest first, and how far each got.",
        params: &[],
        body: None,
        answer: Answer::Json(of::<StagesAnswer>),
        handlers: || get(handlers::agent_stages),
    },
    Route {
        path: "/api/v1/agents/push",
        methods: POST,
        about: "Hands out a configuration to agents with certain labels, to a percentage of them. The same one again \
                changes the percentage.",
        params: &[],
        body: Some(of::<PushRequest>),
        answer: Answer::Json(of::<StageRow>),
        handlers: || post(handlers::push_agents),
    },
    Route {
        path: "/api/v1/agents/rollback",
        methods: POST,
        about: "Takes a configuration back: agents go back to what was handed out before, or to their own files.",
        params: &[],
        body: Some(of::<RollbackRequest>),
        answer: Answer::Json(of::<StageRow>),
        handlers: || post(handlers::rollback_agents),
    },
    Route {
        path: "/api/v1/inventory",
        methods: GET,
        about: "Services and their instances, as their telemetry shows them: up, late, gone, flapping.",
        params: &[],
        body: None,
        answer: Answer::Json(of::<InventoryAnswer>),
        handlers: || get(handlers::inventory),
    },
    Route {
        path: "/api/v1/delete",
        methods: POST,
        about: "Deletes every span and log record received so far that carries an id: no query shows them from now on, and \
                they leave the disk with the next compaction. Answers with a receipt.",
        params: &[],
        body: Some(of::<DeleteRequest>),
        answer: Answer::Json(of::<DeleteReceipt>),
        handlers: || post(handlers::delete),
    },
    Route {
        path: "/api/v1/deletes",
        methods: GET,
        about: "Receipts of all deletes, with the time when the last file that held their rows was gone.",
        params: &[],
        body: None,
        answer: Answer::Json(of::<DeletesAnswer>),
        handlers: || get(handlers::deletes),
    },
    Route {
        path: "/api/v1/alerts",
        methods: GET,
        about: "Every alert rule with its state and its alerts.",
        params: &[],
        body: None,
        answer: Answer::Json(of::<AlertsAnswer>),
        handlers: || get(handlers::alerts),
    },
    Route {
        path: "/api/v1/boards",
        methods: GET,
        about: "All boards, and the board files that cannot be read.",
        params: &[],
        body: None,
        answer: Answer::Json(object),
        handlers: || get(handlers::boards),
    },
    Route {
        path: "/api/v1/boards/{name}",
        methods: GET,
        about: "One board.",
        params: &[],
        body: None,
        answer: Answer::Json(object),
        handlers: || get(handlers::board),
    },
    Route {
        path: "/prometheus/api/v1/query",
        methods: GET_POST,
        about: "A PromQL expression at one instant, as Prometheus answers it.",
        params: &[PROMQL, optional("time", "The instant: RFC 3339 or Unix seconds. Now unless told.")],
        body: None,
        answer: Answer::Json(of::<MetricsAnswer>),
        handlers: || get(prometheus::query).post(prometheus::query),
    },
    Route {
        path: "/prometheus/api/v1/query_range",
        methods: GET_POST,
        about: "A PromQL expression at every step of a range, as Prometheus answers it.",
        params: &[
            PROMQL,
            required("start", "First instant: RFC 3339 or Unix seconds."),
            required("end", "Last instant: RFC 3339 or Unix seconds."),
            required("step", "Seconds, or a duration as in `15s`."),
        ],
        body: None,
        answer: Answer::Json(of::<MetricsAnswer>),
        handlers: || get(prometheus::query_range).post(prometheus::query_range),
    },
    Route {
        path: "/prometheus/api/v1/labels",
        methods: GET_POST,
        about: "Names of all labels. The last hour unless told.",
        params: &[MATCH, START, END],
        body: None,
        answer: Answer::Json(texts),
        handlers: || get(prometheus::labels).post(prometheus::labels),
    },
    Route {
        path: "/prometheus/api/v1/label/{name}/values",
        methods: GET,
        about: "Values of one label. The last hour unless told.",
        params: &[MATCH, START, END],
        body: None,
        answer: Answer::Json(texts),
        handlers: || get(prometheus::label_values),
    },
    Route {
        path: "/prometheus/api/v1/series",
        methods: GET_POST,
        about: "Labels of all series that a selector finds. The last hour unless told.",
        params: &[MATCH, START, END],
        body: None,
        answer: Answer::Json(label_sets),
        handlers: || get(prometheus::series).post(prometheus::series),
    },
    Route {
        path: "/prometheus/api/v1/query_exemplars",
        methods: GET_POST,
        about: "Measurements behind the series that an expression reads, with the spans in which they were taken. The \
                last hour unless told.",
        params: &[PROMQL, START, END],
        body: None,
        answer: Answer::Json(object),
        handlers: || get(exemplars::query_exemplars).post(exemplars::query_exemplars),
    },
    Route {
        path: "/prometheus/api/v1/status/buildinfo",
        methods: GET,
        about: "The version, so that Grafana recognises the API.",
        params: &[],
        body: None,
        answer: Answer::Json(object),
        handlers: || get(prometheus::build_info),
    },
];
