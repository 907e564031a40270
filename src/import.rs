//! `silmari import FILE…`: telemetry from files of OTLP-JSON lines, into a server or a data folder.
//!
//! ```text
//! file, stdin ─► source: gzip, zstd by magic ─► one request a line ─► protobuf ─► sink: OTLP/HTTP, or a store
//!                a thread of its own            bad ones are named               several at a time
//! ```
//!
//! Owns: reading files, what is said about bad lines. Does not own: the encoding (`collector`), durability.
//!
//! Invariants: what is counted as imported was acknowledged; a bad line or record costs itself only; the
//! text in memory is bounded by a few requests.

mod progress;
mod sink;
mod source;

use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt as _;
use model::Signal;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::exit::Failure;
use crate::output;
use progress::Progress;
use sink::{Outcome, Sink};
use source::Found;

pub(crate) const EXAMPLES: &str = "\
Examples:
  silmari import traces.jsonl logs.jsonl.gz           into the server on this machine
  silmari import --to http://collector:4318 day.zst   into a server elsewhere
  silmari import --data-dir ./data *.jsonl            into a folder that no server uses
  zcat old/*.gz | silmari import -                    from standard input

The files hold one OTLP-JSON export request a line, as the OpenTelemetry Collector's file exporter writes them.";

/// Requests on their way at once.
const IN_FLIGHT: usize = 8;
/// Requests read ahead.
const READ_AHEAD: usize = 8;

/// Arguments of `import`.
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// Files of OTLP-JSON lines, gzip or zstd if they begin so; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The OTLP/HTTP address of a running server [default: http://127.0.0.1:4318]
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    to: Option<String>,
    /// Write into this data folder instead; no server may be using it
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// With --data-dir: file with the id kinds, as for `silmari serve`
    #[arg(long, value_name = "FILE", requires = "data_dir")]
    ids: Option<PathBuf>,
}

/// What came in.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    records: [u64; 3],
    rejected: u64,
    bad: u64,
}

pub(crate) async fn run(arguments: ImportArgs) -> Result<(), Failure> {
    let sink = match &arguments.data_dir {
        Some(folder) => Sink::folder(folder, arguments.ids.as_deref()).await?,
        None => Sink::server(arguments.to.as_deref())?,
    };
    let progress = Progress::new(&arguments.files);
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let files = arguments.files.clone();
    let read = progress.clone();
    let reader = tokio::task::spawn_blocking(move || source::read_all(&files, &read, &sender));
    let tally = send_all(&sink, receiver, &progress).await;
    progress.end();
    // When sending failed the reader notices that nobody listens.
    let reading = reader.await.map_err(|error| Failure::runtime(format!("reading: {error}")))?;
    let closed = sink.close().await;
    let tally = tally?;
    reading?;
    closed?;
    output::text(&summary(&tally, arguments.files.len()))?;
    match tally.bad + tally.rejected {
        0 => Ok(()),
        1 => Err(Failure::runtime("1 line or record was bad and left out")),
        count => Err(Failure::runtime(format!("{count} lines or records were bad and left out"))),
    }
}

async fn send_all(
    sink: &Sink,
    receiver: mpsc::Receiver<Found>,
    progress: &Progress,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut answers = ReceiverStream::new(receiver)
        .map(|found| async move {
            match found {
                Found::Bad(bad) => Ok(Outcome::bad(bad)),
                Found::Request(request) => sink.send(request).await,
            }
        })
        .buffer_unordered(IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        let outcome = answer?;
        for problem in &outcome.problems {
            progress.remark(problem);
        }
        tally.bad += u64::from(outcome.is_bad);
        tally.rejected += outcome.rejected;
        if let Some(signal) = outcome.signal {
            tally.requests += 1;
            tally.records[signal.index()] += outcome.accepted;
        }
        progress.sent(outcome.accepted);
    }
    Ok(tally)
}

fn summary(tally: &Tally, files: usize) -> String {
    let [spans, logs, metrics] = Signal::ALL.map(|signal| tally.records[signal.index()]);
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    let mut text = format!(
        "imported {spans} spans, {logs} log records, {metrics} data points in {} requests from {files}",
        tally.requests
    );
    if tally.bad + tally.rejected > 0 {
        text += &format!("; {} bad lines, {} records left out", tally.bad, tally.rejected);
    }
    text + "\n"
}
