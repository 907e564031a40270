//! `POST /log`: JSON objects of any shape become log records. For systems that can send one line.
//!
//! ```text
//! {"level":"error","message":"…"}      one object
//! [{…},{…}]                            an array of them
//! {…}\n{…}\n                           objects one after the other, mostly one a line
//! ```
//!
//! Owns: the split into objects and their grouping by service. Does not own: what the keys of an object
//! mean (`model::dialect`).
//!
//! Invariants: an object that is wrong is counted and the others are kept; an array that is no JSON is
//! refused as a whole, as nobody can say where its objects end; one tree at a time is in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use model::dialect::{ParsedLine, parse_json_object};
use model::json::{Cursor, JsonError, Kind};
use model::otlp::json::Transcoded;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{Signal, UnixNano};
use serde_json::json;

use super::body::BodyReader;
use super::http::{Shared, compression, refusal_headers};
use crate::metrics::Source;
use crate::pipeline::{Encoding, Payload, Receipt};
use crate::status::{Reason, Refusal};

/// Bytes of one object: its tree takes many times as much.
const OBJECT_BYTES_MAX: usize = 1 << 20;
/// Service of records that neither the object nor the request names one for.
const UNKNOWN_SERVICE: &str = "unknown_service";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) async fn receive(shared: Arc<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let pipeline = &shared.pipeline;
    let began = pipeline.metrics.begin(Source::Log, Signal::Logs);
    let mut reader = BodyReader::new(body, &shared.connections);
    match ingest(&shared, &parts, &mut reader).await {
        Ok(receipt) => {
            began.stored();
            answer(&receipt)
        }
        Err(refusal) => {
            began.refused(&refusal);
            if !parts.headers.contains_key(EXPECT) {
                reader.discard(&pipeline.tasks);
            }
            let receipt = Receipt { errors: vec![refusal.message.clone()], ..Receipt::default() };
            let mut response = answer(&receipt);
            *response.status_mut() = refusal.reason.http();
            refusal_headers(&refusal, pipeline.limits.retry_after, response.headers_mut());
            response
        }
    }
}

async fn ingest(shared: &Shared, parts: &Parts, reader: &mut BodyReader) -> Result<Receipt, Refusal> {
    let compression = compression(&parts.headers)?;
    let (bytes, ticket) = shared.read(reader, compression).await?;
    let encoding = Encoding::Objects { service: service(parts) };
    let payload = Payload { signal: Signal::Logs, encoding, compression, bytes, origin: None };
    shared.pipeline.ingest(Source::Log, payload, ticket).await
}

/// `?service=`, else the header `X-Service`, else [`UNKNOWN_SERVICE`].
fn service(parts: &Parts) -> String {
    let query = axum::extract::Query::<BTreeMap<String, String>>::try_from_uri(&parts.uri);
    let from_query = query.ok().and_then(|mut query| query.remove("service"));
    let from_header =
        || parts.headers.get("x-service").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let named = from_query.filter(|name| !name.is_empty()).or_else(from_header);
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| UNKNOWN_SERVICE.to_owned())
}

fn answer(receipt: &Receipt) -> Response {
    let body = json!({"accepted": receipt.accepted, "rejected": receipt.rejected, "errors": receipt.errors});
    let is_bad = receipt.accepted == 0 && receipt.rejected > 0;
    let status = if is_bad { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    (status, [(CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

/// The objects of `text` as an OTLP request of at most about `bytes_max` bytes.
pub(crate) fn read_objects(
    text: &[u8],
    service: &str,
    received_at: UnixNano,
    bytes_max: usize,
) -> Result<Transcoded, Refusal> {
    let malformed = |problem: String| Refusal::new(Reason::Malformed, problem);
    let text = std::str::from_utf8(text)
        .map_err(|error| malformed(format!("the body is not UTF-8 text: byte {}", error.valid_up_to())))?;
    let mut cursor = Cursor::new(text);
    if cursor.is_at_end() {
        return Err(malformed("the body is empty: send a JSON object or an array of them".to_owned()));
    }
    let mut reader =
        Objects { service, received_at, line: ParsedLine::default(), writers: BTreeMap::new(), bytes: 0 };
    let mut done = Transcoded::default();
    let no_json = |error: JsonError| malformed(format!("the body is no JSON: {error}"));
    match cursor.kind() {
        Ok(Kind::Array) => read_array(&mut cursor, &mut reader, &mut done).map_err(no_json)?,
        _ => read_sequence(&mut cursor, &mut reader, &mut done),
    }
    if reader.bytes > bytes_max {
        return Err(Refusal::too_large(bytes_max));
    }
    done.request = reader.finish();
    Ok(done)
}

fn read_array(
    cursor: &mut Cursor<'_>,
    reader: &mut Objects<'_>,
    done: &mut Transcoded,
) -> Result<(), JsonError> {
    cursor.open()?;
    let (mut is_first, mut index) = (true, 0);
    while cursor.next_element(&mut is_first)? {
        let element = cursor.skip()?;
        if let Err(problem) = reader.push(element) {
            done.reject(1, format!("[{index}]: {problem}"));
        }
        index += 1;
    }
    cursor.end()
}

fn read_sequence(cursor: &mut Cursor<'_>, reader: &mut Objects<'_>, done: &mut Transcoded) {
    while !cursor.is_at_end() {
        let line = cursor.line();
        match cursor.skip() {
            Ok(value) => {
                if let Err(problem) = reader.push(value) {
                    done.reject(1, format!("line {line}: {problem}"));
                }
            }
            Err(error) => {
                done.reject(1, error.to_string());
                // The next object begins at a line that begins with a brace.
                cursor.skip_line();
                while !cursor.is_at_end() && cursor.kind() != Ok(Kind::Object) {
                    cursor.skip_line();
                }
            }
        }
    }
}

/// Turns objects into records, one writer a service.
struct Objects<'a> {
    service: &'a str,
    received_at: UnixNano,
    line: ParsedLine,
    writers: BTreeMap<String, LogsWriter>,
    bytes: usize,
}

impl Objects<'_> {
    fn push(&mut self, text: &str) -> Result<(), String> {
        if !text.starts_with('{') {
            let kind = Cursor::new(text).kind().map_or("no value", Kind::name);
            return Err(format!("{kind}, expected an object"));
        }
        if text.len() > OBJECT_BYTES_MAX {
            return Err(format!("{} bytes, an object may have {OBJECT_BYTES_MAX}", text.len()));
        }
        let object = serde_json::from_str(text).map_err(|error| error.to_string())?;
        parse_json_object(&object, &mut self.line);
        self.write();
        Ok(())
    }

    fn write(&mut self) {
        let line = &self.line;
        let record = LogRecordParts {
            time: line.time.unwrap_or_default(),
            observed_time: self.received_at,
            severity_number: line.severity_number,
            severity_text: &line.severity_text,
            body: &line.body,
            trace_id: line.trace_id,
            span_id: line.span_id,
            event_name: "",
        };
        let attributes = line.attributes.iter();
        let service = line.named_service().unwrap_or(self.service);
        let writer = match self.writers.get_mut(service) {
            Some(writer) => writer,
            None => self
                .writers
                .entry(service.to_owned())
                .or_insert_with(|| LogsWriter::new([("service.name", service)])),
        };
        let before = writer.bytes();
        writer.push(&record, attributes);
        self.bytes += writer.bytes() - before;
    }

    fn finish(mut self) -> Vec<u8> {
        self.writers.values_mut().flat_map(LogsWriter::finish).collect()
    }
}

#[cfg(test)]
mod tests;
