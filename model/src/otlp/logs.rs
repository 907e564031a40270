//! `LogRecord` (opentelemetry-proto logs.proto) as a borrowed view, and its writer.

use super::value::{AnyValue, text};
use crate::wire::{
    Fields, Repeated, WireError, check, field_bytes, put_bytes, put_fixed64, put_message_of, put_u64,
    put_varint,
};
use crate::{SpanId, TraceId, UnixNano};

/// One log record. Attributes are read on demand.
#[derive(Clone, Copy, Debug)]
pub struct LogRecordView<'a> {
    /// When the event happened; 0 when the sender does not know.
    pub time: UnixNano,
    /// When the event was first seen by a collector or SDK; 0 when not set.
    pub observed_time: UnixNano,
    /// 1–24, 0 when unspecified (see [`crate::Severity`]).
    pub severity_number: i32,
    /// The level as the source wrote it.
    pub severity_text: &'a str,
    /// The body.
    pub body: AnyValue<'a>,
    /// Attributes, see [`super::attributes`].
    pub attributes: Repeated<'a>,
    /// The trace the record belongs to.
    pub trace_id: Option<TraceId>,
    /// The span the record belongs to.
    pub span_id: Option<SpanId>,
    /// Name of the event, empty for ordinary records.
    pub event_name: &'a str,
}

impl<'a> LogRecordView<'a> {
    /// Reads a `LogRecord` message.
    ///
    /// # Errors
    /// When the bytes are no message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut record = Self {
            time: UnixNano(0),
            observed_time: UnixNano(0),
            severity_number: 0,
            severity_text: "",
            body: AnyValue::Empty,
            attributes: Repeated::new(bytes, 6),
            trace_id: None,
            span_id: None,
            event_name: "",
        };
        for field in Fields::new(bytes) {
            let (number, value) = field?;
            match number {
                1 => record.time = UnixNano::from_u64(value.integer()),
                2 => record.severity_number = i32::try_from(value.integer()).unwrap_or(0),
                3 => record.severity_text = text(value.bytes()),
                5 => record.body = AnyValue::parse(value.bytes())?,
                6 => check(value.bytes())?,
                9 => record.trace_id = TraceId::from_bytes(value.bytes()),
                10 => record.span_id = SpanId::from_bytes(value.bytes()),
                11 => record.observed_time = UnixNano::from_u64(value.integer()),
                12 => record.event_name = text(value.bytes()),
                _ => {}
            }
        }
        Ok(record)
    }
}

/// Writes an `ExportLogsServiceRequest` record by record: bytes in, bytes out, no objects between.
///
/// One writer makes one resource with one scope; several finished requests may be concatenated, as
/// protobuf joins repeated fields of concatenated messages.
#[derive(Debug)]
pub struct LogsWriter {
    resource: Vec<u8>,
    records: Vec<u8>,
    count: usize,
}

impl LogsWriter {
    /// A request for a resource with these string attributes.
    pub fn new<'k>(resource: impl IntoIterator<Item = (&'k str, &'k str)>) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in resource {
            put_attribute(&mut bytes, 1, key, value);
        }
        Self { resource: bytes, records: Vec::new(), count: 0 }
    }

    /// Lets the records be written into `buffer`, for its room; what was written before is lost.
    #[must_use]
    pub fn with_buffer(mut self, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        self.records = buffer;
        self.count = 0;
        self
    }

    /// The room of the records, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.records
    }

    /// Records written so far.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the records written so far.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Appends one record. Zero times, severity 0, empty text and `None` are left out.
    pub fn push<'k>(
        &mut self,
        record: &LogRecordParts<'_>,
        attributes: impl IntoIterator<Item = (&'k str, &'k str)>,
    ) {
        self.push_with(record, &[], attributes);
    }

    /// The same with `written` attributes in front, as [`put_record_attribute`] writes them: what many records
    /// share is written once and copied.
    pub fn push_with<'k>(
        &mut self,
        record: &LogRecordParts<'_>,
        written: &[u8],
        attributes: impl IntoIterator<Item = (&'k str, &'k str)>,
    ) {
        self.count += 1;
        put_message_of(&mut self.records, 2, 2, |out| {
            if record.time.0 > 0 {
                put_fixed64(out, 1, record.time.0 as u64);
            }
            if record.severity_number > 0 {
                put_u64(out, 2, u64::from(record.severity_number.unsigned_abs()));
            }
            if !record.severity_text.is_empty() {
                put_bytes(out, 3, record.severity_text.as_bytes());
            }
            put_text_value(out, 5, record.body);
            out.extend_from_slice(written);
            // Chained iterators are quicker from the inside.
            attributes.into_iter().for_each(|(key, value)| put_attribute(out, 6, key, value));
            if let Some(id) = record.trace_id {
                put_bytes(out, 9, id.as_bytes());
            }
            if let Some(id) = record.span_id {
                put_bytes(out, 10, id.as_bytes());
            }
            if record.observed_time.0 > 0 {
                put_fixed64(out, 11, record.observed_time.0 as u64);
            }
            if !record.event_name.is_empty() {
                put_bytes(out, 12, record.event_name.as_bytes());
            }
        });
    }

    /// The finished request; the writer is empty afterwards and keeps its resource.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.len() + self.resource.len() + 32);
        self.finish_into(&mut out);
        out
    }

    /// Appends the finished request to `out`; the writer is empty afterwards and keeps its resource.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) {
        put_varint(out, 1 << 3 | 2);
        put_varint(out, (field_bytes(self.resource.len()) + field_bytes(self.records.len())) as u64);
        put_bytes(out, 1, &self.resource);
        put_bytes(out, 2, &self.records);
        self.records.clear();
        self.count = 0;
    }
}

/// The fixed parts of a record to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRecordParts<'a> {
    /// When the event happened.
    pub time: UnixNano,
    /// When it was read.
    pub observed_time: UnixNano,
    /// 1–24 or 0.
    pub severity_number: i32,
    /// The level as written.
    pub severity_text: &'a str,
    /// The message.
    pub body: &'a str,
    /// The trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
    /// Name of the event that the record is, empty for ordinary records.
    pub event_name: &'a str,
}

/// Appends a string attribute as one of a log record's, for [`LogsWriter::push_with`].
pub fn put_record_attribute(out: &mut Vec<u8>, key: &str, value: &str) {
    put_attribute(out, 6, key, value);
}

/// Appends a string attribute as field `number`, below 16.
#[inline]
pub fn put_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &str) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, (field_bytes(key.len()) + field_bytes(field_bytes(value.len()))) as u64);
    put_bytes(out, 1, key.as_bytes());
    put_text_value(out, 2, value);
}

/// Appends an `AnyValue` with a text as field `number`.
#[inline]
fn put_text_value(out: &mut Vec<u8>, number: u32, text: &str) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, field_bytes(text.len()) as u64);
    put_bytes(out, 1, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp;

    #[test]
    fn a_written_request_reads_back_record_for_record() {
        let mut writer = LogsWriter::new([("service.name", "billing")]);
        let trace_id = TraceId::from_bytes(&[7; 16]);
        let parts = LogRecordParts {
            time: UnixNano(5),
            severity_number: 17,
            severity_text: "ERROR",
            body: "acquirer timeout",
            trace_id,
            ..LogRecordParts::default()
        };
        writer.push(&parts, [("order_id", "ORD-1")]);
        let mut written = Vec::new();
        put_record_attribute(&mut written, "order_id", "ORD-2");
        writer.push_with(&LogRecordParts { body: "second", ..parts }, &written, [("user", "U-1")]);
        let request = writer.finish();

        assert_eq!(otlp::count_items(&request), 2);
        let group = otlp::resources(&request).expect("message").next().expect("one").expect("well formed");
        assert_eq!(otlp::value::find(group.resource, "service.name"), Some(AnyValue::Str("billing")));
        let scope = group.scopes().next().expect("one").expect("well formed");
        let records: Vec<_> = scope.items().map(|item| LogRecordView::parse(item).expect("valid")).collect();
        assert_eq!(records[0].trace_id, trace_id);
        assert_eq!(records[0].severity_number, 17);
        assert_eq!(records[0].body, AnyValue::Str("acquirer timeout"));
        assert_eq!(otlp::value::find(records[0].attributes, "order_id"), Some(AnyValue::Str("ORD-1")));
        assert_eq!(records[1].body, AnyValue::Str("second"));
        let attributes: Vec<_> =
            otlp::attributes(records[1].attributes).map(|one| (one.key, one.value)).collect();
        assert_eq!(attributes, [("order_id", AnyValue::Str("ORD-2")), ("user", AnyValue::Str("U-1"))]);
    }
}
