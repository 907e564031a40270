//! `make bench-agent`: the real `silmari-agent` on one core against a sink that counts and discards, on the
//! other. Every case ends with an error, and no number, unless each record arrived exactly once.
//!
//! What the numbers mean, and the last ones: `docs/benchmarks.md`.
#![expect(clippy::print_stdout, reason = "a benchmark reports on standard output")]

mod cases;
mod lines;
mod options;
mod process;
mod sink;
mod tally;

use clap::Parser as _;

use self::options::Options;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    process::pin_to(options.other_core)?;
    println!("{}\n", process::machine()?);
    for case in options.cases() {
        let clock = model::SystemClock::shared();
        let table = case.run(&options)?;
        println!("{table}  ({} s)\n", clock.monotonic().as_secs());
    }
    Ok(())
}
