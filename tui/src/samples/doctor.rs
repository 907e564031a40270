//! Answers of the doctor, and of one row of a journey.

use query_api::doctor::{DoctorAnswer, DoctorService, Finding, FindingKind, Severity};
use query_api::journey::RowDetail;

use super::{range, stats};

fn finding(
    severity: Severity,
    kind: FindingKind,
    (service, other): (&str, &str),
    (what, hint): (&str, &str),
    (affected, of): (u64, u64),
) -> Finding {
    let example = (severity == Severity::Bad).then(|| "0af7651916cd43dd8448eb211c80319c".to_owned());
    Finding {
        severity,
        kind,
        service: service.to_owned(),
        other: other.to_owned(),
        what: what.to_owned(),
        affected,
        of,
        hint: hint.to_owned(),
        follow: example.as_ref().map(|id| format!("silmari trace {id}")),
        example,
    }
}

fn service(name: &str, coverage: f64, spans: u64, logs: u64, lost: u64) -> DoctorService {
    DoctorService {
        service: name.to_owned(),
        coverage,
        spans,
        spans_without_id: spans / 2,
        spans_unreachable: spans / 40,
        logs,
        logs_without_id: logs / 3,
        logs_unreachable: logs / 8,
        logs_without_trace: logs / 9,
        received: spans / 2,
        received_without_context: lost,
        orphans: spans / 100,
    }
}

/// An edge that loses context, log records without an id, and a clock that is off.
pub(crate) fn doctor() -> DoctorAnswer {
    let findings = vec![
        finding(
            Severity::Bad,
            FindingKind::ContextLost,
            ("order", "checkout"),
            (
                "order loses the context of calls from checkout: its spans begin traces of their own",
                "let order take `traceparent` from its requests: its HTTP server is not instrumented, or a proxy drops the header",
            ),
            (1_204, 1_204),
        ),
        finding(
            Severity::Warn,
            FindingKind::LogsWithoutId,
            ("billing", ""),
            (
                "log records of billing carry neither a trace id nor another id",
                "log with the trace id of the request, or name the field that holds an id in ids.yaml",
            ),
            (3_254, 8_800),
        ),
        finding(
            Severity::Note,
            FindingKind::ClockOffset,
            ("shipping", ""),
            ("the clock of shipping is 240ms behind", "let it follow an NTP server"),
            (0, 0),
        ),
    ];
    let services = vec![
        service("order", 0.0, 2_408, 610, 1_204),
        service("billing", 0.63, 4_100, 8_800, 12),
        service("checkout", 0.999, 9_020, 4_011, 0),
    ];
    DoctorAnswer {
        range: range(),
        looked_at: range(),
        findings,
        services,
        edges: Vec::new(),
        topics: Vec::new(),
        clock_offsets: [("shipping".to_owned(), 240_000_000)].into(),
        cuts: Vec::new(),
        stats: stats(),
    }
}

/// All attributes of a span.
pub(crate) fn row_detail() -> RowDetail {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    RowDetail {
        attributes: pairs(&[
            ("db.system", "postgresql"),
            ("db.query.text", "select 1"),
            ("order_id", "ORD-4711"),
        ]),
        resource: pairs(&[("host.name", "web-7"), ("service.version", "1.4.2")]),
        ids: Vec::new(),
    }
}
