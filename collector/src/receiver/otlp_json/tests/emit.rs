//! Writes OTLP messages as JSON, written apart from the tables under test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Metric, NumberDataPoint, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Map, Value, json};

/// The freedoms that senders take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// 64-bit integers as numbers instead of strings.
    pub(super) numbers: bool,
    /// Ids in capital letters.
    pub(super) uppercase: bool,
    /// Absent fields as null.
    pub(super) nulls: bool,
}

impl Style {
    fn int(self, value: i64) -> Value {
        if self.numbers { json!(value) } else { json!(value.to_string()) }
    }

    fn uint(self, value: u64) -> Value {
        if self.numbers { json!(value) } else { json!(value.to_string()) }
    }

    fn hex(self, bytes: &[u8]) -> Value {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.uppercase { json!(text.to_uppercase()) } else { json!(text) }
    }

    fn double(self, value: f64) -> Value {
        if value == f64::INFINITY {
            json!("Infinity")
        } else if value == f64::NEG_INFINITY {
            json!("-Infinity")
        } else {
            json!(value)
        }
    }

    fn object<const N: usize>(self, fields: [(&str, Value); N]) -> Value {
        let fields = fields.into_iter().filter(|(_, value)| self.nulls || !value.is_null());
        Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
    }

    fn list<T>(self, items: &[T], each: impl Fn(&T) -> Value) -> Value {
        if items.is_empty() { Value::Null } else { items.iter().map(each).collect() }
    }

    fn value(self, value: &AnyValue) -> Value {
        use any_value::Value as V;
        match &value.value {
            None => json!({}),
            Some(V::StringValue(text)) => json!({"stringValue": text}),
            Some(V::BoolValue(value)) => json!({"boolValue": value}),
            Some(V::IntValue(value)) => json!({"intValue": self.int(*value)}),
            Some(V::DoubleValue(value)) => json!({"doubleValue": self.double(*value)}),
            Some(V::BytesValue(bytes)) => json!({"bytesValue": STANDARD.encode(bytes)}),
            Some(V::ArrayValue(array)) => {
                json!({"arrayValue": self.object([("values", self.list(&array.values, |v| self.value(v)))])})
            }
            Some(V::KvlistValue(list)) => {
                json!({"kvlistValue": self.object([("values", self.attributes(&list.values))])})
            }
            Some(other) => panic!("not made by the strategies: {other:?}"),
        }
    }

    fn attributes(self, attributes: &[KeyValue]) -> Value {
        self.list(attributes, |pair| {
            let value = pair.value.as_ref().map_or(Value::Null, |value| self.value(value));
            self.object([("key", json!(pair.key)), ("value", value)])
        })
    }

    fn resource(self, resource: Option<&Resource>) -> Value {
        let Some(resource) = resource else { return Value::Null };
        let entities = self.list(&resource.entity_refs, |entity| {
            json!({
                "schemaUrl": entity.schema_url, "type": entity.r#type,
                "idKeys": entity.id_keys, "descriptionKeys": entity.description_keys,
            })
        });
        self.object([
            ("attributes", self.attributes(&resource.attributes)),
            ("droppedAttributesCount", json!(resource.dropped_attributes_count)),
            ("entityRefs", entities),
        ])
    }

    fn scope(self, scope: Option<&InstrumentationScope>) -> Value {
        let Some(scope) = scope else { return Value::Null };
        self.object([
            ("name", json!(scope.name)),
            ("version", json!(scope.version)),
            ("attributes", self.attributes(&scope.attributes)),
            ("droppedAttributesCount", json!(scope.dropped_attributes_count)),
        ])
    }
}

pub(super) fn traces(request: &ExportTraceServiceRequest, style: Style) -> Value {
    let groups = style.list(&request.resource_spans, |group| {
        let scopes = style.list(&group.scope_spans, |scope| {
            // The records stand before what they belong to, as JSON has no order.
            style.object([
                ("spans", style.list(&scope.spans, |item| span(item, style))),
                ("scope", style.scope(scope.scope.as_ref())),
                ("schemaUrl", json!(scope.schema_url)),
            ])
        });
        let resource = style.resource(group.resource.as_ref());
        style.object([("scopeSpans", scopes), ("resource", resource), ("schemaUrl", json!(group.schema_url))])
    });
    style.object([("resourceSpans", groups)])
}

fn span(span: &Span, style: Style) -> Value {
    let events = style.list(&span.events, |event| {
        style.object([
            ("timeUnixNano", style.uint(event.time_unix_nano)),
            ("name", json!(event.name)),
            ("attributes", style.attributes(&event.attributes)),
            ("droppedAttributesCount", json!(event.dropped_attributes_count)),
        ])
    });
    let links = style.list(&span.links, |link| {
        style.object([
            ("traceId", style.hex(&link.trace_id)),
            ("spanId", style.hex(&link.span_id)),
            ("traceState", json!(link.trace_state)),
            ("attributes", style.attributes(&link.attributes)),
            ("droppedAttributesCount", json!(link.dropped_attributes_count)),
            ("flags", json!(link.flags)),
        ])
    });
    let status = span.status.as_ref();
    let status = status.map_or(Value::Null, |status| json!({"message": status.message, "code": status.code}));
    style.object([
        ("traceId", style.hex(&span.trace_id)),
        ("spanId", style.hex(&span.span_id)),
        ("traceState", json!(span.trace_state)),
        ("parentSpanId", style.hex(&span.parent_span_id)),
        ("flags", json!(span.flags)),
        ("name", json!(span.name)),
        ("kind", json!(span.kind)),
        ("startTimeUnixNano", style.uint(span.start_time_unix_nano)),
        ("endTimeUnixNano", style.uint(span.end_time_unix_nano)),
        ("attributes", style.attributes(&span.attributes)),
        ("droppedAttributesCount", json!(span.dropped_attributes_count)),
        ("events", events),
        ("droppedEventsCount", json!(span.dropped_events_count)),
        ("links", links),
        ("droppedLinksCount", json!(span.dropped_links_count)),
        ("status", status),
    ])
}

pub(super) fn logs(request: &ExportLogsServiceRequest, style: Style) -> Value {
    let groups = style.list(&request.resource_logs, |group| {
        let scopes = style.list(&group.scope_logs, |scope| {
            style.object([
                ("scope", style.scope(scope.scope.as_ref())),
                ("logRecords", style.list(&scope.log_records, |record| log_record(record, style))),
                ("schemaUrl", json!(scope.schema_url)),
            ])
        });
        let resource = style.resource(group.resource.as_ref());
        style.object([("resource", resource), ("scopeLogs", scopes), ("schemaUrl", json!(group.schema_url))])
    });
    style.object([("resourceLogs", groups)])
}

fn log_record(record: &LogRecord, style: Style) -> Value {
    style.object([
        ("timeUnixNano", style.uint(record.time_unix_nano)),
        ("observedTimeUnixNano", style.uint(record.observed_time_unix_nano)),
        ("severityNumber", json!(record.severity_number)),
        ("severityText", json!(record.severity_text)),
        ("eventName", json!(record.event_name)),
        ("body", record.body.as_ref().map_or(Value::Null, |body| style.value(body))),
        ("attributes", style.attributes(&record.attributes)),
        ("droppedAttributesCount", json!(record.dropped_attributes_count)),
        ("flags", json!(record.flags)),
        ("traceId", style.hex(&record.trace_id)),
        ("spanId", style.hex(&record.span_id)),
    ])
}

pub(super) fn metrics(request: &ExportMetricsServiceRequest, style: Style) -> Value {
    let groups = style.list(&request.resource_metrics, |group| {
        let scopes = style.list(&group.scope_metrics, |scope| {
            style.object([
                ("scope", style.scope(scope.scope.as_ref())),
                ("metrics", style.list(&scope.metrics, |item| any_metric(item, style))),
                ("schemaUrl", json!(scope.schema_url)),
            ])
        });
        let resource = style.resource(group.resource.as_ref());
        style.object([
            ("resource", resource),
            ("scopeMetrics", scopes),
            ("schemaUrl", json!(group.schema_url)),
        ])
    });
    style.object([("resourceMetrics", groups)])
}

fn any_metric(metric: &Metric, style: Style) -> Value {
    let (name, data) = data(metric, style).unwrap_or(("gauge", Value::Null));
    style.object([
        ("name", json!(metric.name)),
        ("description", json!(metric.description)),
        ("unit", json!(metric.unit)),
        ("metadata", style.attributes(&metric.metadata)),
        (name, data),
    ])
}

fn data(metric: &Metric, style: Style) -> Option<(&'static str, Value)> {
    use metric::Data;
    let numbers = |points: &[NumberDataPoint]| style.list(points, |point| number_point(point, style));
    Some(match metric.data.as_ref()? {
        Data::Gauge(gauge) => ("gauge", style.object([("dataPoints", numbers(&gauge.data_points))])),
        Data::Sum(sum) => (
            "sum",
            style.object([
                ("dataPoints", numbers(&sum.data_points)),
                ("aggregationTemporality", json!(sum.aggregation_temporality)),
                ("isMonotonic", json!(sum.is_monotonic)),
            ]),
        ),
        Data::Histogram(histogram) => {
            let points = style.list(&histogram.data_points, |point| {
                style.object([
                    ("attributes", style.attributes(&point.attributes)),
                    ("startTimeUnixNano", style.uint(point.start_time_unix_nano)),
                    ("timeUnixNano", style.uint(point.time_unix_nano)),
                    ("count", style.uint(point.count)),
                    ("sum", point.sum.map_or(Value::Null, |value| style.double(value))),
                    ("bucketCounts", style.list(&point.bucket_counts, |count| style.uint(*count))),
                    ("explicitBounds", style.list(&point.explicit_bounds, |bound| style.double(*bound))),
                    ("exemplars", exemplars(&point.exemplars, style)),
                    ("flags", json!(point.flags)),
                    ("min", point.min.map_or(Value::Null, |value| style.double(value))),
                    ("max", point.max.map_or(Value::Null, |value| style.double(value))),
                ])
            });
            let temporality = json!(histogram.aggregation_temporality);
            ("histogram", style.object([("dataPoints", points), ("aggregationTemporality", temporality)]))
        }
        Data::ExponentialHistogram(histogram) => {
            let points = style.list(&histogram.data_points, |point| {
                style.object([
                    ("attributes", style.attributes(&point.attributes)),
                    ("startTimeUnixNano", style.uint(point.start_time_unix_nano)),
                    ("timeUnixNano", style.uint(point.time_unix_nano)),
                    ("count", style.uint(point.count)),
                    ("sum", point.sum.map_or(Value::Null, |value| style.double(value))),
                    ("scale", json!(point.scale)),
                    ("zeroCount", style.uint(point.zero_count)),
                    ("positive", buckets(point.positive.as_ref(), style)),
                    ("negative", buckets(point.negative.as_ref(), style)),
                    ("flags", json!(point.flags)),
                    ("exemplars", exemplars(&point.exemplars, style)),
                    ("min", point.min.map_or(Value::Null, |value| style.double(value))),
                    ("max", point.max.map_or(Value::Null, |value| style.double(value))),
                    ("zeroThreshold", style.double(point.zero_threshold)),
                ])
            });
            let temporality = json!(histogram.aggregation_temporality);
            (
                "exponentialHistogram",
                style.object([("dataPoints", points), ("aggregationTemporality", temporality)]),
            )
        }
        Data::Summary(summary) => {
            let points = style.list(&summary.data_points, |point| {
                let quantiles = style.list(
                    &point.quantile_values,
                    |at| json!({"quantile": style.double(at.quantile), "value": style.double(at.value)}),
                );
                style.object([
                    ("attributes", style.attributes(&point.attributes)),
                    ("startTimeUnixNano", style.uint(point.start_time_unix_nano)),
                    ("timeUnixNano", style.uint(point.time_unix_nano)),
                    ("count", style.uint(point.count)),
                    ("sum", style.double(point.sum)),
                    ("quantileValues", quantiles),
                    ("flags", json!(point.flags)),
                ])
            });
            ("summary", style.object([("dataPoints", points)]))
        }
    })
}

fn buckets(buckets: Option<&Buckets>, style: Style) -> Value {
    let Some(buckets) = buckets else { return Value::Null };
    let counts = style.list(&buckets.bucket_counts, |count| style.uint(*count));
    style.object([("offset", json!(buckets.offset)), ("bucketCounts", counts)])
}

fn number_point(point: &NumberDataPoint, style: Style) -> Value {
    let (as_int, as_double) = match point.value {
        Some(number_data_point::Value::AsInt(value)) => (style.int(value), Value::Null),
        Some(number_data_point::Value::AsDouble(value)) => (Value::Null, style.double(value)),
        None => (Value::Null, Value::Null),
    };
    style.object([
        ("attributes", style.attributes(&point.attributes)),
        ("startTimeUnixNano", style.uint(point.start_time_unix_nano)),
        ("timeUnixNano", style.uint(point.time_unix_nano)),
        ("exemplars", exemplars(&point.exemplars, style)),
        ("flags", json!(point.flags)),
        ("asInt", as_int),
        ("asDouble", as_double),
    ])
}

fn exemplars(exemplars: &[Exemplar], style: Style) -> Value {
    style.list(exemplars, |exemplar| {
        let (as_int, as_double) = match exemplar.value {
            Some(exemplar::Value::AsInt(value)) => (style.int(value), Value::Null),
            Some(exemplar::Value::AsDouble(value)) => (Value::Null, style.double(value)),
            None => (Value::Null, Value::Null),
        };
        style.object([
            ("filteredAttributes", style.attributes(&exemplar.filtered_attributes)),
            ("timeUnixNano", style.uint(exemplar.time_unix_nano)),
            ("spanId", style.hex(&exemplar.span_id)),
            ("traceId", style.hex(&exemplar.trace_id)),
            ("asInt", as_int),
            ("asDouble", as_double),
        ])
    })
}
