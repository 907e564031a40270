//! `cargo bench --package benches --bench journey`: how long it takes to follow one order, from the head, from
//! segments and over HTTP. What the numbers mean: `docs/benchmarks.md`.
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

use std::path::{Path, PathBuf};

use benches::heap::Counting;
use benches::journeys;
use benches::options::Options;
use clap::Parser as _;
use model::SystemClock;

#[global_allocator]
static HEAP: Counting = Counting;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(store) = &options.store {
        println!("{}", journeys::stored::run(&options, store, SystemClock::shared()).await?.table());
        return Ok(());
    }
    let below_target = || Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned();
    let dir: PathBuf = options.dir.clone().unwrap_or_else(below_target);
    let report = journeys::run(&options, &dir, SystemClock::shared()).await?;
    println!("{}", report.table());
    Ok(())
}
