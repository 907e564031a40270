//! `cargo bench --package benches --bench sql -- --store DIR`: how long SQL takes over a store that is there (`cargo bench
//! --package storage --bench scale -- build DIR 100000000 spans`). What the numbers mean: `docs/benchmarks.md`.
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

use benches::options::Options;
use benches::statements;
use clap::Parser as _;
use model::SystemClock;

#[global_allocator]
static ALLOCATOR: allocator::Jemalloc = allocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match &options.store {
        Some(store) => println!("{}", statements::run(store, SystemClock::shared()).await?),
        None => println!("no statement was run: say `--store DIR`"),
    }
    Ok(())
}
