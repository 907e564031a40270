//! Answers for logs.

use model::IdTerm;
use query_api::{Facet, FacetValue, LogBucket, LogRecord, LogsAnswer};

use super::alerts::labels;
use super::journey::{span_id, trace_id};
use super::{MS, now, range, stats};

pub(crate) fn record(second: i64, number: i32, service: &str, body: &str) -> LogRecord {
    LogRecord {
        time: now().plus((second - 60) * 1_000 * MS + 104 * MS),
        service: service.to_owned(),
        severity_number: number,
        severity: model::Severity::from_number(number).map(|s| s.name().to_owned()).unwrap_or_default(),
        body: body.to_owned(),
        trace_id: Some(trace_id(2)),
        span_id: Some(span_id(5)),
        ids: vec![IdTerm::new("order_id", "ORD-4711"), IdTerm::trace(trace_id(2))],
        attributes: labels(&[("host", "acq-2"), ("attempt", "1")]),
        resource: labels(&[("service.name", service)]),
    }
}

pub(crate) fn logs() -> LogsAnswer {
    let bodies = [
        (17, "billing", "acquirer timeout after 800ms"),
        (13, "billing", "retry in 2000ms"),
        (9, "checkout", "order placed"),
        (13, "checkout", "stock low sku=991 left=3"),
        (5, "gateway", "GET /catalog 200 11ms"),
    ];
    let records = (0..40).map(|i| {
        let (number, service, body) = bodies[i % bodies.len()];
        record(i as i64, number, service, body)
    });
    let value = |value: &str, count| FacetValue { value: value.to_owned(), count };
    LogsAnswer {
        range: range(),
        records: records.collect(),
        matched: 8_911,
        histogram: (0..60)
            .map(|i| LogBucket {
                time: range().from.plus(i * 15_000 * MS),
                errors: if (30..45).contains(&i) { 60 } else { 2 },
                warnings: 30,
                others: 40 + (i as u64 % 7) * 9,
            })
            .collect(),
        facets: vec![
            Facet {
                field: "level".to_owned(),
                values: vec![value("error", 4_310), value("warn", 4_601), value("info", 120)],
            },
            Facet {
                field: "service".to_owned(),
                values: vec![value("billing", 8_012), value("checkout", 899), value("gateway", 120)],
            },
        ],
        cuts: Vec::new(),
        stats: stats(),
    }
}
