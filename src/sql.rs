//! `silmari sql STATEMENT`: rows of one read-only statement.

use query_api::{SqlAnswer, SqlRequest};
use serde_json::Value;

use crate::cli::{Format, SqlArgs};
use crate::exit::Failure;
use crate::output;
use crate::remote::ServerArgs;

pub(crate) async fn run(server: &ServerArgs, arguments: SqlArgs) -> Result<(), Failure> {
    let request = SqlRequest { query: arguments.query, limit: arguments.limit };
    let answer = server.client()?.sql(&request).await?;
    let format = if arguments.json { Format::Json } else { arguments.format };
    match format {
        Format::Json => output::json(&answer)?,
        Format::Csv => output::text(&csv(&answer))?,
        Format::Table => {
            let headers: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
            let rows: Vec<Vec<String>> =
                answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
            output::text(&tui::text::table(&headers, &rows))?;
        }
    }
    for cut in &answer.cuts {
        output::remark(&format!("{} ({})", cut.what, cut.limit));
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// RFC 4180.
fn csv(answer: &SqlAnswer) -> String {
    let quote = |text: String| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    };
    let headers =
        answer.columns.iter().map(|column| quote(column.name.clone())).collect::<Vec<_>>().join(",");
    let mut out = headers + "\r\n";
    for row in &answer.rows {
        out += &row.iter().map(|value| quote(cell(value))).collect::<Vec<_>>().join(",");
        out += "\r\n";
    }
    out
}
