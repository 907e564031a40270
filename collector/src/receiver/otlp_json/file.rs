//! OTLP/JSON as files hold it: one request of whatever signal, its problems with line and column.
//!
//! Does not own: the encoding (`model::otlp::json`), where the text comes from.

use model::Signal;
use model::json::{self, Cursor, JsonError};
use model::otlp::json::{NotTranscoded, transcode};
use model::text::place;
use thiserror::Error;

/// A request read from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonRequest {
    /// What it carries.
    pub signal: Signal,
    /// The same request as OTLP protobuf, without the records that were rejected.
    pub request: Vec<u8>,
    /// Records that were left out because a value in them is wrong.
    pub rejected: usize,
    /// The first few reasons.
    pub problems: Vec<JsonProblem>,
}

/// What is wrong with a text, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct JsonProblem {
    /// Line within the text, from 1.
    pub line: usize,
    /// Column within the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
}

impl From<JsonError> for JsonProblem {
    fn from(error: JsonError) -> Self {
        Self { line: error.line, column: error.column, problem: error.problem.to_owned() }
    }
}

impl From<NotTranscoded> for JsonProblem {
    fn from(error: NotTranscoded) -> Self {
        let problem = error.to_string();
        match error {
            NotTranscoded::Syntax(error) => error.into(),
            NotTranscoded::Value { line, column, .. } | NotTranscoded::TooLarge { line, column, .. } => {
                Self { line, column, problem }
            }
            NotTranscoded::NoText(_) => Self { line: 1, column: 1, problem },
        }
    }
}

const SIGNAL_KEYS: [(&str, Signal); 3] =
    [("resourceSpans", Signal::Traces), ("resourceLogs", Signal::Logs), ("resourceMetrics", Signal::Metrics)];

/// Reads one export request; its top key tells the signal. At most `bytes_max` bytes of protobuf.
///
/// # Errors
/// When the text is no JSON, or no request. Wrong records beside good ones are in
/// [`JsonRequest::problems`].
pub fn read_json_request(text: &[u8], bytes_max: usize) -> Result<JsonRequest, JsonProblem> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let before = String::from_utf8_lossy(&text[..error.valid_up_to()]);
            let (line, column) = place(&before, before.len());
            return Err(JsonProblem { line, column, problem: "a byte that is not UTF-8".to_owned() });
        }
    };
    let signal = signal_of(text)?;
    let done = transcode(signal, text.as_bytes(), bytes_max)?;
    let problems = done.errors.into_iter().zip(done.places);
    let problems = problems.map(|(problem, (line, column))| JsonProblem { line, column, problem }).collect();
    Ok(JsonRequest { signal, request: done.request, rejected: done.rejected, problems })
}

fn signal_of(text: &str) -> Result<Signal, JsonProblem> {
    let mut cursor = Cursor::new(text);
    let no_request = |(line, column): (usize, usize), found: String| {
        let problem =
            format!("{found}: an export request has `resourceSpans`, `resourceLogs` or `resourceMetrics`");
        JsonProblem { line, column, problem }
    };
    let kind = cursor.kind()?;
    if kind != json::Kind::Object {
        return Err(no_request(cursor.place(), kind.name().to_owned()));
    }
    cursor.open()?;
    let (mut is_first, mut first_key) = (true, None);
    while let Some(key) = cursor.next_key(&mut is_first)? {
        if let Some((_, signal)) = SIGNAL_KEYS.iter().find(|(name, _)| *name == key) {
            return Ok(*signal);
        }
        first_key
            .get_or_insert_with(|| key.chars().take(40).flat_map(char::escape_default).collect::<String>());
        cursor.skip()?;
    }
    let found =
        first_key.map_or_else(|| "an empty object".to_owned(), |key| format!("an object with `{key}`"));
    Err(no_request(cursor.place(), found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_key_tells_the_signal() {
        for (key, signal) in SIGNAL_KEYS {
            let text = format!("{{\"{key}\":[]}}");
            assert_eq!(read_json_request(text.as_bytes(), 100).expect("valid").signal, signal);
        }
    }

    #[test]
    fn what_is_no_request_says_where_and_what_one_looks_like() {
        for (text, line, column, part) in [
            ("{\"level\":\"info\"}", 1, 17, "an object with `level`"),
            ("[1]", 1, 1, "an array"),
            ("{}", 1, 3, "an empty object"),
            ("{\"resourceLogs\":[}", 1, 18, "expected"),
            ("", 1, 1, "the text ends"),
        ] {
            let problem = read_json_request(text.as_bytes(), 100).expect_err(text);
            assert_eq!((problem.line, problem.column), (line, column), "{text}: {problem}");
            assert!(problem.problem.contains(part), "{text}: {problem}");
        }
        let problem = read_json_request(b"{\"resourceLogs\":\xff}", 100).expect_err("no UTF-8");
        assert_eq!((problem.line, problem.column), (1, 17));
    }

    #[test]
    fn a_wrong_record_is_left_out_and_placed_and_the_one_beside_it_is_kept() {
        let text = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[\n{\"traceId\":\"xyz\"},\n{\"name\":\"a\"}]}]}]}";
        let request = read_json_request(text.as_bytes(), 1_000).expect("readable");
        assert_eq!((request.rejected, request.problems.len()), (1, 1));
        assert_eq!(request.problems[0].line, 2);
        assert!(request.problems[0].problem.contains("spans[0].traceId"), "{:?}", request.problems);
        assert_eq!(model::otlp::count_items(&request.request), 1);
    }
}
