//! What a request becomes, record by record.

use arrow::array::AsArray as _;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1 as metrics;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::limits::SHARED_BYTES_MAX;
use crate::rows::{LogRows, PointRows, SpanRows, unshared};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn resource(service: &str) -> Option<Resource> {
    Some(Resource { attributes: vec![text("service.name", service)], ..Resource::default() })
}

fn span(name: &str) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![1; 8],
        name: name.to_owned(),
        kind: span::SpanKind::Consumer as i32,
        start_time_unix_nano: NOW.0 as u64,
        end_time_unix_nano: NOW.0 as u64 + 5,
        ..Span::default()
    }
}

fn traces(spans: Vec<Span>) -> Vec<u8> {
    let scope = Some(InstrumentationScope { name: "shop".to_owned(), ..InstrumentationScope::default() });
    let scope_spans = vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }];
    let group = ResourceSpans { resource: resource("billing"), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec()
}

fn decoded(signal: Signal, request: &[u8]) -> Batch {
    decode(signal, request, &IdRules::default(), NOW, 1_000).expect("decodable")
}

#[test]
fn a_span_becomes_a_row_with_its_events_links_and_ids() {
    let mut original = span("process orders");
    original.parent_span_id = vec![9; 8];
    original.attributes = vec![text("order.id", "ORD-4711"), text("messaging.destination.name", "orders")];
    original.events = vec![span::Event {
        time_unix_nano: 42,
        name: "exception".to_owned(),
        attributes: vec![text("exception.message", "timeout"), text("correlation_id", "c-9")],
        ..span::Event::default()
    }];
    original.links = vec![span::Link { trace_id: vec![8; 16], span_id: vec![2; 8], ..span::Link::default() }];
    original.status = Some(Status { code: 2, message: "late".to_owned() });
    let batch = decoded(Signal::Traces, &traces(vec![original]));
    let rows = SpanRows::new(&batch.rows);

    assert_eq!((batch.accepted, batch.rejected, rows.len()), (1, 0, 1));
    assert_eq!(rows.trace_id(0).to_string(), "07".repeat(16));
    assert_eq!(rows.parent_span_id(0).map(|id| id.to_string()), Some("09".repeat(8)));
    assert_eq!((rows.service(0), rows.name(0), rows.kind(0)), ("billing", "process orders", "consumer"));
    assert_eq!((rows.status(0), rows.status_message(0), rows.duration_nano(0)), ("error", "late", 5));
    assert_eq!(rows.ids(0).collect::<Vec<_>>(), ["order_id=ORD-4711", "correlation_id=c-9"]);
    assert_eq!(rows.scope(0), "shop");
    let events = rows.events(0);
    assert_eq!((events[0].name, events[0].time), ("exception", UnixNano(42)));
    assert_eq!(events[0].attributes[0], ("exception.message", "timeout"));
    assert_eq!(rows.links(0).map(|(trace, _)| trace.to_string()).collect::<Vec<_>>(), ["08".repeat(16)]);
}

#[test]
fn rows_share_the_attributes_of_their_resource_unless_these_are_large() {
    let small = "s".repeat(SHARED_BYTES_MAX / 2);
    let large = "l".repeat(SHARED_BYTES_MAX);
    let group = |value: &str, spans: usize| {
        let attributes = vec![text("service.name", "billing"), text("host.note", value)];
        let resource = Some(Resource { attributes, ..Resource::default() });
        let scope_spans = vec![ScopeSpans { spans: vec![span("x"); spans], ..ScopeSpans::default() }];
        ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }
    };
    let resource_spans = vec![group(&small, 3), group("empty", 0), group(&large, 2), group("other", 4)];
    let batch = decoded(Signal::Traces, &ExportTraceServiceRequest { resource_spans }.encode_to_vec());

    let notes = |rows: &RecordBatch| -> Vec<String> {
        let rows = SpanRows::new(rows);
        let note =
            |row| rows.resource_attributes(row).find(|(key, _)| *key == "host.note").map(|(_, value)| value);
        (0..rows.len()).map(|row| note(row).expect("each has one").to_owned()).collect()
    };
    let expected = [vec![small; 3], vec![large; 2], vec!["other".to_owned(); 4]].concat();
    assert_eq!(notes(&batch.rows), expected);
    let column = batch.rows.column_by_name("resource_attributes").expect("a column");
    assert_eq!(column.as_any_dictionary().values().len(), 1 + 2 + 1, "the large one for each row");
    let own = unshared(&batch.rows);
    assert_eq!((notes(&own), own.schema()), (expected, crate::schema::schema(Signal::Traces)));
}

#[test]
fn a_bad_span_is_refused_and_the_good_ones_beside_it_are_kept() {
    let mut nameless = span("no ids");
    nameless.trace_id = vec![0; 16];
    let mut short = span("short");
    short.span_id = vec![1; 7];
    let batch = decoded(Signal::Traces, &traces(vec![span("good"), nameless, short, span("also good")]));
    assert_eq!((batch.accepted, batch.rejected, batch.rows()), (2, 2, 2));
    let reason = batch.rejection.expect("a reason");
    assert!(reason.contains("no ids") && reason.contains("billing"), "{reason}");
}

#[test]
fn a_log_record_takes_its_time_level_and_ids_from_where_they_are() {
    let mut writer = LogsWriter::new([("service.name", "billing")]);
    let parts = LogRecordParts {
        observed_time: UnixNano(NOW.0 - 3),
        severity_text: "warning",
        body: "retry order_id=ORD-7",
        ..LogRecordParts::default()
    };
    writer.push(&parts, [("correlation_id", "c-1")]);
    writer.push(&LogRecordParts { body: "nothing known", ..LogRecordParts::default() }, []);
    let batch = decoded(Signal::Logs, &writer.finish());
    let rows = LogRows::new(&batch.rows);
    assert_eq!(rows.time(0), UnixNano(NOW.0 - 3), "the observed time stands in");
    assert_eq!(rows.time(1), NOW, "the arrival stands in");
    assert_eq!((rows.severity_number(0), rows.severity_number(1)), (13, 0));
    assert_eq!(rows.ids(0).collect::<Vec<_>>(), ["correlation_id=c-1", "order_id=ORD-7"]);
    assert_eq!(rows.trace_id(0), None);
}

#[test]
fn a_time_in_the_future_is_clamped_and_says_so() {
    let mut early = span("from 2098");
    early.start_time_unix_nano = NOW.0 as u64 + 3_600_000_000_000;
    early.end_time_unix_nano = early.start_time_unix_nano + 9;
    let batch = decoded(Signal::Traces, &traces(vec![early]));
    let rows = SpanRows::new(&batch.rows);
    assert_eq!((rows.start_time(0), rows.duration_nano(0)), (NOW, 9));
    assert!(rows.attributes(0).any(|(key, _)| key == "silmari.time_clamped"));
}

fn metrics_request(data: metrics::metric::Data) -> Vec<u8> {
    let metric = metrics::Metric {
        name: "http.server.request.duration".to_owned(),
        unit: "s".to_owned(),
        data: Some(data),
        ..metrics::Metric::default()
    };
    let scope_metrics =
        vec![metrics::ScopeMetrics { metrics: vec![metric], ..metrics::ScopeMetrics::default() }];
    let group =
        metrics::ResourceMetrics { resource: resource("billing"), scope_metrics, ..Default::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![group] }.encode_to_vec()
}

fn histogram(temporality: metrics::AggregationTemporality) -> metrics::metric::Data {
    metrics::metric::Data::Histogram(metrics::Histogram {
        aggregation_temporality: temporality as i32,
        data_points: vec![metrics::HistogramDataPoint {
            time_unix_nano: NOW.0 as u64,
            count: 6,
            sum: Some(1.5),
            bucket_counts: vec![1, 2, 3],
            explicit_bounds: vec![0.1, 0.5],
            attributes: vec![text("http.route", "/checkout")],
            ..metrics::HistogramDataPoint::default()
        }],
    })
}

#[test]
fn a_histogram_becomes_cumulative_buckets_sum_and_count() {
    let request = metrics_request(histogram(metrics::AggregationTemporality::Cumulative));
    let batch = decoded(Signal::Metrics, &request);
    let rows = PointRows::new(&batch.rows);
    assert_eq!((batch.accepted, rows.len()), (1, 5));
    let found: Vec<_> = (0..rows.len())
        .map(|row| {
            let le = rows.labels(row).find(|(key, _)| *key == "le").map(|(_, value)| value);
            (rows.name(row), le, rows.value(row))
        })
        .collect();
    let name = "http_server_request_duration_seconds";
    assert_eq!(found[0], (format!("{name}_bucket").as_str(), Some("0.1"), 1.0));
    assert_eq!(found[1].2, 3.0);
    assert_eq!((found[2].1, found[2].2), (Some("+Inf"), 6.0));
    assert_eq!(found[3], (format!("{name}_count").as_str(), None, 6.0));
    assert_eq!(found[4], (format!("{name}_sum").as_str(), None, 1.5));
    let labels: Vec<_> = rows.labels(3).collect();
    assert_eq!(labels, [("http_route", "/checkout"), ("job", "billing"), ("service_name", "billing")]);
    assert_ne!(rows.series_id(0), rows.series_id(1));
}

fn exemplar(value: f64, trace: u8, time: u64) -> metrics::Exemplar {
    metrics::Exemplar {
        filtered_attributes: vec![text("order.id", "ORD-4711")],
        time_unix_nano: time,
        span_id: vec![trace; 8],
        trace_id: vec![trace; 16],
        value: Some(metrics::exemplar::Value::AsDouble(value)),
    }
}

#[test]
fn exemplars_stand_with_the_bucket_they_fell_into() {
    let mut data = histogram(metrics::AggregationTemporality::Cumulative);
    let time = NOW.0 as u64 - 5;
    if let metrics::metric::Data::Histogram(histogram) = &mut data {
        let values = [(0.1, 1), (0.3, 2), (9.0, 3), (0.4, 0)];
        let exemplars = values.map(|(value, trace)| exemplar(value, trace, time));
        histogram.data_points[0].exemplars = exemplars.to_vec();
    }
    let batch = decoded(Signal::Metrics, &metrics_request(data));
    let rows = PointRows::new(&batch.rows);
    let values = |row: usize| rows.exemplars(row).map(|exemplar| exemplar.value).collect::<Vec<_>>();
    assert_eq!((values(0), values(1), values(2)), (vec![0.1], vec![0.3, 0.4], vec![9.0]));
    assert_eq!((values(3), values(4)), (vec![], vec![]), "not again with count and sum");
    let untraced = rows.exemplars(1).last().expect("two");
    assert_eq!((untraced.trace_id, untraced.span_id), (None, None), "ids of zeros are none");
    let first = rows.exemplars(0).next().expect("one");
    assert_eq!(first.time.0 as u64, time);
    assert_eq!(first.trace_id.map(|id| id.to_string()), Some("01".repeat(16)));
    assert_eq!(first.attributes, [("order.id", "ORD-4711")]);
}

#[test]
fn exemplars_of_one_point_are_bounded_and_those_without_a_believable_time_have_that_of_the_point() {
    let exemplars = vec![exemplar(1.0, 1, 0), exemplar(2.0, 1, u64::MAX >> 1), exemplar(f64::NAN, 1, 1)];
    let many = std::iter::repeat_n(exemplar(3.0, 1, 1), 100);
    let point = metrics::NumberDataPoint {
        time_unix_nano: NOW.0 as u64,
        value: Some(metrics::number_data_point::Value::AsInt(7)),
        exemplars: exemplars.into_iter().chain(many).collect(),
        ..metrics::NumberDataPoint::default()
    };
    let sum = metrics::Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true };
    let batch = decoded(Signal::Metrics, &metrics_request(metrics::metric::Data::Sum(sum)));
    let rows = PointRows::new(&batch.rows);
    let found: Vec<_> = rows.exemplars(0).collect();
    assert_eq!(found.len(), 32);
    assert_eq!((found[0].time, found[1].time, found[2].value), (NOW, NOW, 3.0));
}

#[test]
fn an_exemplar_stands_once_whatever_the_bounds_are() {
    let mut data = histogram(metrics::AggregationTemporality::Cumulative);
    if let metrics::metric::Data::Histogram(histogram) = &mut data {
        let point = &mut histogram.data_points[0];
        point.explicit_bounds = [1.0, 0.0].repeat(1_000);
        point.bucket_counts = vec![0; 2_001];
        point.exemplars = vec![exemplar(0.5, 1, NOW.0 as u64)];
    }
    let batch = decoded(Signal::Metrics, &metrics_request(data));
    let rows = PointRows::new(&batch.rows);
    let all: usize = (0..rows.len()).map(|row| rows.exemplars(row).count()).sum();
    assert_eq!((rows.len(), all), (2_003, 1));
}

#[test]
fn a_point_beyond_the_year_2262_lies_in_the_future_and_not_in_the_past() {
    let point = metrics::NumberDataPoint {
        time_unix_nano: u64::MAX,
        value: Some(metrics::number_data_point::Value::AsInt(7)),
        ..metrics::NumberDataPoint::default()
    };
    let sum = metrics::Sum { data_points: vec![point], aggregation_temporality: 2, is_monotonic: true };
    let batch = decoded(Signal::Metrics, &metrics_request(metrics::metric::Data::Sum(sum)));
    assert_eq!((batch.accepted, batch.rejected), (0, 1));
    assert!(batch.rejection.expect("a reason").contains("in the future"));
}

#[test]
fn delta_temporality_is_refused_with_the_setting_that_helps() {
    let request = metrics_request(histogram(metrics::AggregationTemporality::Delta));
    let batch = decoded(Signal::Metrics, &request);
    assert_eq!((batch.accepted, batch.rejected, batch.rows()), (0, 1, 0));
    assert!(batch.rejection.expect("a reason").contains("TEMPORALITY_PREFERENCE=cumulative"));
}

#[test]
fn a_request_with_too_many_records_is_refused_before_it_is_decoded() {
    let request = traces(vec![span("x"); 11]);
    let error = decode(Signal::Traces, &request, &IdRules::default(), NOW, 10).expect_err("too many");
    assert_eq!(error, DecodeError::TooManyRecords { found: 11, limit: 10 });
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for signal in Signal::ALL {
            let _ = decode(signal, &bytes, &IdRules::default(), NOW, 1_000);
        }
    }

    #[test]
    fn a_request_with_one_byte_changed_decodes_or_is_refused(at in 0usize..200, with: u8) {
        let mut original = span("process orders");
        original.attributes = vec![text("order.id", "ORD-4711")];
        let mut bytes = traces(vec![original, span("second")]);
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(batch) = decode(Signal::Traces, &bytes, &IdRules::default(), NOW, 1_000) {
            prop_assert_eq!(batch.accepted, batch.rows());
        }
    }
}
