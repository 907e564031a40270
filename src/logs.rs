//! `silmari logs QUERY [-f]`: search log records, or follow them.

use std::pin::pin;

use futures_util::StreamExt as _;
use model::TimeRange;
use query_api::client::TailItem;
use query_api::{Client, LogRecord};

use crate::cli::LogsArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::{QUARTER, ServerArgs};

pub(crate) async fn run(server: &ServerArgs, arguments: LogsArgs) -> Result<(), Failure> {
    let client = server.client()?;
    // The tail is opened before the search, so that no record falls between the two.
    let tail = match arguments.follow {
        true => Some(client.tail(&arguments.query).await?),
        false => None,
    };
    let range = arguments.range.range(QUARTER)?;
    let answer = client.logs(&arguments.query, range, arguments.limit).await?;
    for cut in &answer.cuts {
        output::remark(&format!("{} ({})", cut.what, cut.limit));
    }
    for record in &answer.records {
        print(record, arguments.json)?;
    }
    let Some(tail) = tail else {
        if answer.matched == 0 {
            let is_case = answer.cuts.iter().any(|cut| cut.limit == "case");
            output::remark(match arguments.range.is_default() {
                _ if is_case => "no log record of the case matches",
                true => "no log record of the last 15 minutes matches: look further back with --since 24h",
                false => "no log record of that time matches",
            });
            if let Some(kind) = id_kind(&client, &arguments.query, range).await {
                let (id, flags) = (&arguments.query, arguments.range.flags());
                output::remark(&format!(
                    "`{id}` is no text of a record but an id ({kind}): silmari trace {id}{flags}"
                ));
            }
        }
        return Ok(());
    };
    let mut tail = pin!(tail);
    while let Some(item) = tail.next().await {
        match item? {
            TailItem::Record(record) if answer.records.contains(&record) => {}
            TailItem::Record(record) => print(&record, arguments.json)?,
            TailItem::Skipped(count) => {
                output::remark(&format!("skipped {count} records: this terminal is too slow"))
            }
        }
    }
    Err(Failure::runtime("the server ended the tail"))
}

/// The kind of id that a query is which is a single word, if records carry it.
async fn id_kind(client: &Client, query: &str, range: TimeRange) -> Option<String> {
    let is_word = |letter: char| letter.is_alphanumeric() || "-_./".contains(letter);
    if query.is_empty() || !query.chars().all(is_word) {
        return None;
    }
    let graph = client.id_graph(query, range, &[("nodes", 1), ("rows", 1)]).await.ok()?;
    graph.matched.into_iter().next().map(|term| term.kind)
}

fn print(record: &LogRecord, json: bool) -> Result<(), Failure> {
    if json {
        return output::json_line(record);
    }
    output::text(&format!("{}\n", tui::text::log_line(record, None)))
}
