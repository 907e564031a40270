//! The messages of OTLP as tables: JSON name, protobuf field number, kind of value.
//!
//! Source: opentelemetry-proto v1.9 (trace, logs, metrics, common, resource). Fields that only occur
//! in profiles are left out. A new field of the protocol is one line here.

use crate::Signal;

/// A protobuf message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
}

/// How a field stands in JSON and on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    /// Base64 in JSON.
    Bytes,
    /// Hex in JSON; so many bytes, or none.
    Id(usize),
    Bool,
    Double,
    Fixed64,
    SFixed64,
    Fixed32,
    Int64,
    UInt32,
    SInt32,
    /// The names of the values 0, 1, 2 ….
    Enum(&'static [&'static str]),
    One(&'static Message),
    Many(&'static Message),
    /// Like `Many`, but an element with a wrong value is left out and counted.
    Records(&'static Message),
    Texts,
    Doubles,
    Fixed64s,
    UInt64s,
}

impl Message {
    /// Whether records stand below this message; a message of `Records` without is a record itself.
    pub(super) fn holds_records(&self) -> bool {
        self.fields.iter().any(|field| match field.kind {
            Kind::Records(_) => true,
            Kind::One(inner) => inner.fields.iter().any(|field| matches!(field.kind, Kind::Records(_))),
            _ => false,
        })
    }
}

/// The export request of a signal.
pub(super) fn request(signal: Signal) -> &'static Message {
    match signal {
        Signal::Traces => &TRACES,
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
    }
}

macro_rules! message {
    ($name:ident { $($field:literal = $number:literal : $kind:expr),+ $(,)? }) => {
        static $name: Message = Message {
            fields: &[$(Field { name: $field, number: $number, kind: $kind }),+],
        };
    };
}

use Kind::{
    Bool, Bytes, Double, Doubles, Enum, Fixed32, Fixed64, Fixed64s, Id, Int64, Many, One, Records, SFixed64,
    SInt32, Text, Texts, UInt32, UInt64s,
};

message!(TRACES { "resourceSpans" = 1: Records(&RESOURCE_SPANS) });
message!(RESOURCE_SPANS { "resource" = 1: One(&RESOURCE), "scopeSpans" = 2: Records(&SCOPE_SPANS), "schemaUrl" = 3: Text });
message!(SCOPE_SPANS { "scope" = 1: One(&SCOPE), "spans" = 2: Records(&SPAN), "schemaUrl" = 3: Text });
message!(LOGS { "resourceLogs" = 1: Records(&RESOURCE_LOGS) });
message!(RESOURCE_LOGS { "resource" = 1: One(&RESOURCE), "scopeLogs" = 2: Records(&SCOPE_LOGS), "schemaUrl" = 3: Text });
message!(SCOPE_LOGS { "scope" = 1: One(&SCOPE), "logRecords" = 2: Records(&LOG_RECORD), "schemaUrl" = 3: Text });
message!(METRICS { "resourceMetrics" = 1: Records(&RESOURCE_METRICS) });
message!(RESOURCE_METRICS {
    "resource" = 1: One(&RESOURCE), "scopeMetrics" = 2: Records(&SCOPE_METRICS), "schemaUrl" = 3: Text,
});
message!(SCOPE_METRICS { "scope" = 1: One(&SCOPE), "metrics" = 2: Records(&METRIC), "schemaUrl" = 3: Text });

message!(RESOURCE {
    "attributes" = 1: Many(&KEY_VALUE), "droppedAttributesCount" = 2: UInt32, "entityRefs" = 3: Many(&ENTITY_REF),
});
message!(ENTITY_REF { "schemaUrl" = 1: Text, "type" = 2: Text, "idKeys" = 3: Texts, "descriptionKeys" = 4: Texts });
message!(SCOPE {
    "name" = 1: Text, "version" = 2: Text, "attributes" = 3: Many(&KEY_VALUE), "droppedAttributesCount" = 4: UInt32,
});
message!(KEY_VALUE { "key" = 1: Text, "value" = 2: One(&ANY_VALUE) });
message!(ANY_VALUE {
    "stringValue" = 1: Text, "boolValue" = 2: Bool, "intValue" = 3: Int64, "doubleValue" = 4: Double,
    "arrayValue" = 5: One(&ARRAY_VALUE), "kvlistValue" = 6: One(&KEY_VALUE_LIST), "bytesValue" = 7: Bytes,
});
message!(ARRAY_VALUE { "values" = 1: Many(&ANY_VALUE) });
message!(KEY_VALUE_LIST { "values" = 1: Many(&KEY_VALUE) });

message!(SPAN {
    "traceId" = 1: Id(16), "spanId" = 2: Id(8), "traceState" = 3: Text, "parentSpanId" = 4: Id(8),
    "name" = 5: Text, "kind" = 6: Enum(&SPAN_KINDS), "startTimeUnixNano" = 7: Fixed64, "endTimeUnixNano" = 8: Fixed64,
    "attributes" = 9: Many(&KEY_VALUE), "droppedAttributesCount" = 10: UInt32,
    "events" = 11: Many(&EVENT), "droppedEventsCount" = 12: UInt32,
    "links" = 13: Many(&LINK), "droppedLinksCount" = 14: UInt32,
    "status" = 15: One(&STATUS), "flags" = 16: Fixed32,
});
message!(EVENT {
    "timeUnixNano" = 1: Fixed64, "name" = 2: Text, "attributes" = 3: Many(&KEY_VALUE),
    "droppedAttributesCount" = 4: UInt32,
});
message!(LINK {
    "traceId" = 1: Id(16), "spanId" = 2: Id(8), "traceState" = 3: Text, "attributes" = 4: Many(&KEY_VALUE),
    "droppedAttributesCount" = 5: UInt32, "flags" = 6: Fixed32,
});
message!(STATUS { "message" = 2: Text, "code" = 3: Enum(&STATUS_CODES) });

message!(LOG_RECORD {
    "timeUnixNano" = 1: Fixed64, "severityNumber" = 2: Enum(&SEVERITIES), "severityText" = 3: Text,
    "body" = 5: One(&ANY_VALUE), "attributes" = 6: Many(&KEY_VALUE), "droppedAttributesCount" = 7: UInt32,
    "flags" = 8: Fixed32, "traceId" = 9: Id(16), "spanId" = 10: Id(8), "observedTimeUnixNano" = 11: Fixed64,
    "eventName" = 12: Text,
});

message!(METRIC {
    "name" = 1: Text, "description" = 2: Text, "unit" = 3: Text, "gauge" = 5: One(&GAUGE), "sum" = 7: One(&SUM),
    "histogram" = 9: One(&HISTOGRAM), "exponentialHistogram" = 10: One(&EXPONENTIAL_HISTOGRAM),
    "summary" = 11: One(&SUMMARY), "metadata" = 12: Many(&KEY_VALUE),
});
message!(GAUGE { "dataPoints" = 1: Records(&NUMBER_POINT) });
message!(SUM {
    "dataPoints" = 1: Records(&NUMBER_POINT), "aggregationTemporality" = 2: Enum(&TEMPORALITIES), "isMonotonic" = 3: Bool,
});
message!(HISTOGRAM {
    "dataPoints" = 1: Records(&HISTOGRAM_POINT), "aggregationTemporality" = 2: Enum(&TEMPORALITIES),
});
message!(EXPONENTIAL_HISTOGRAM {
    "dataPoints" = 1: Records(&EXPONENTIAL_POINT), "aggregationTemporality" = 2: Enum(&TEMPORALITIES),
});
message!(SUMMARY { "dataPoints" = 1: Records(&SUMMARY_POINT) });
message!(NUMBER_POINT {
    "startTimeUnixNano" = 2: Fixed64, "timeUnixNano" = 3: Fixed64, "asDouble" = 4: Double,
    "exemplars" = 5: Many(&EXEMPLAR), "asInt" = 6: SFixed64, "attributes" = 7: Many(&KEY_VALUE), "flags" = 8: UInt32,
});
message!(HISTOGRAM_POINT {
    "startTimeUnixNano" = 2: Fixed64, "timeUnixNano" = 3: Fixed64, "count" = 4: Fixed64, "sum" = 5: Double,
    "bucketCounts" = 6: Fixed64s, "explicitBounds" = 7: Doubles, "exemplars" = 8: Many(&EXEMPLAR),
    "attributes" = 9: Many(&KEY_VALUE), "flags" = 10: UInt32, "min" = 11: Double, "max" = 12: Double,
});
message!(EXPONENTIAL_POINT {
    "attributes" = 1: Many(&KEY_VALUE), "startTimeUnixNano" = 2: Fixed64, "timeUnixNano" = 3: Fixed64,
    "count" = 4: Fixed64, "sum" = 5: Double, "scale" = 6: SInt32, "zeroCount" = 7: Fixed64,
    "positive" = 8: One(&BUCKETS), "negative" = 9: One(&BUCKETS), "flags" = 10: UInt32,
    "exemplars" = 11: Many(&EXEMPLAR), "min" = 12: Double, "max" = 13: Double, "zeroThreshold" = 14: Double,
});
message!(BUCKETS { "offset" = 1: SInt32, "bucketCounts" = 2: UInt64s });
message!(SUMMARY_POINT {
    "startTimeUnixNano" = 2: Fixed64, "timeUnixNano" = 3: Fixed64, "count" = 4: Fixed64, "sum" = 5: Double,
    "quantileValues" = 6: Many(&QUANTILE), "attributes" = 7: Many(&KEY_VALUE), "flags" = 8: UInt32,
});
message!(QUANTILE { "quantile" = 1: Double, "value" = 2: Double });
message!(EXEMPLAR {
    "timeUnixNano" = 2: Fixed64, "asDouble" = 3: Double, "spanId" = 4: Id(8), "traceId" = 5: Id(16),
    "asInt" = 6: SFixed64, "filteredAttributes" = 7: Many(&KEY_VALUE),
});

static SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
static STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
static TEMPORALITIES: [&str; 3] = [
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
];
static SEVERITIES: [&str; 25] = [
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];
