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
//! text in memory is bounded by a few requests; an import that breaks off says from which line on to go on.

mod progress;
mod sink;
mod source;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

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
  silmari import --from-line 40213 traces.jsonl       go on where an import broke off, as it said

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
    /// Pass over the lines before this one of the first file: an import that breaks off names it
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_line: u64,
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
    /// File and line behind the last request before which all were acknowledged.
    done_to: Option<(String, u64)>,
    is_interrupted: bool,
}

pub(crate) async fn run(arguments: ImportArgs) -> Result<(), Failure> {
    let sink = match &arguments.data_dir {
        Some(folder) => Sink::folder(folder, arguments.ids.as_deref()).await?,
        None => Sink::server(arguments.to.as_deref())?,
    };
    let progress = Progress::new(&arguments.files);
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let (files, from_line) = (arguments.files.clone(), arguments.from_line);
    let read = progress.clone();
    let (done, reading) = tokio::sync::oneshot::channel();
    // A thread of its own: one that waits for standard input keeps nobody from leaving.
    let body = move || drop(done.send(source::read_all(&files, from_line, &read, &sender)));
    std::thread::Builder::new().name("silmari-import".to_owned()).spawn(body)?;
    let mut tally = Tally::default();
    let sent = send_all(&sink, receiver, &progress, &mut tally).await;
    progress.end();
    // What was read behind a break is of no use.
    let read = match sent.is_err() || tally.is_interrupted {
        true => Ok(()),
        false => reading.await.unwrap_or_else(|_| Err(Failure::runtime("reading ended by a defect"))),
    };
    let closed = sink.close().await;
    sent.and(read).map_err(|failure| failure.and(&go_on(&tally)))?;
    closed?;
    output::text(&summary(&tally, arguments.files.len()))?;
    if tally.is_interrupted {
        return Err(Failure::runtime(format!("interrupted{}", go_on(&tally))));
    }
    match tally.bad + tally.rejected {
        0 => Ok(()),
        1 => Err(Failure::runtime("1 line or record was bad and left out")),
        count => Err(Failure::runtime(format!("{count} lines or records were bad and left out"))),
    }
}

/// Sends requests in order, several at a time. At the first Ctrl-C it waits for those that are on their way, at the second it does not.
async fn send_all(
    sink: &Sink,
    receiver: mpsc::Receiver<Found>,
    progress: &Progress,
    tally: &mut Tally,
) -> Result<(), Failure> {
    // What cannot be waited for never comes.
    let interrupted = || async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    };
    let is_interrupted = AtomicBool::new(false);
    let first = async {
        interrupted().await;
        is_interrupted.store(true, Ordering::Relaxed);
    };
    let found = ReceiverStream::new(receiver).take_until(first);
    let answers = found.map(|found| async move {
        match found {
            Found::Bad(bad) => Ok::<_, Failure>((None, Outcome::bad(bad))),
            Found::Request(request) => {
                let place = (request.file.clone(), request.next_line);
                Ok((Some(place), sink.send(request).await?))
            }
        }
    });
    let twice = async {
        interrupted().await;
        interrupted().await;
    };
    let (mut answers, mut twice) = (std::pin::pin!(answers.buffered(IN_FLIGHT)), std::pin::pin!(twice));
    loop {
        let answer = tokio::select! {
            answer = answers.next() => answer,
            () = &mut twice => None,
        };
        let Some(answer) = answer else { break };
        let (place, outcome) = answer?;
        for problem in &outcome.problems {
            progress.remark(problem);
        }
        tally.bad += u64::from(outcome.is_bad);
        tally.rejected += outcome.rejected;
        if let Some(signal) = outcome.signal {
            tally.requests += 1;
            tally.records[signal.index()] += outcome.accepted;
        }
        tally.done_to = place.or(tally.done_to.take());
        progress.sent(outcome.accepted);
    }
    tally.is_interrupted = is_interrupted.load(Ordering::Relaxed);
    Ok(())
}

/// How to go on after an import that broke off.
fn go_on(tally: &Tally) -> String {
    let Some((file, line)) = &tally.done_to else { return String::new() };
    let behind = IN_FLIGHT - 1;
    format!(
        "; everything before {file}:{line} is stored, of what is behind it {behind} requests at most: go on with `--from-line {line}` and this \
         file first"
    )
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
