//! `cargo bench --package benches --bench ingest`: spans and log records a second over OTLP gRPC, each request
//! acknowledged when it is durable; beside it, when their programs are given, what servers of others take. What the numbers mean: `docs/benchmarks.md`.
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

use std::path::{Path, PathBuf};

use benches::ingest;
use benches::options::Options;
use clap::Parser as _;
use model::{Signal, SystemClock};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let below_target = || Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned();
    let dir: PathBuf = options.dir.clone().unwrap_or_else(below_target);
    println!(
        "{} clients, {} records a request, {:?}\n",
        options.clients, options.records, options.compression
    );
    for signal in [Signal::Traces, Signal::Logs] {
        let report = ingest::run(signal, &options, &dir, SystemClock::shared()).await?;
        println!("{}", report.table());
        let peer = if signal == Signal::Traces { &options.victoria_traces } else { &options.victoria_logs };
        if let Some(program) = peer {
            let report = ingest::run_peer(signal, program, &options, &dir, SystemClock::shared()).await?;
            println!("{}", report.table());
        }
    }
    Ok(())
}
