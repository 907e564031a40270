//! 1,000 files that were read once and in which nothing happens.

use std::time::Duration;

use super::Place;
use crate::lines::{self, Kind};
use crate::options::Options;
use crate::process::Agent;
use crate::sink::Sink;
use bench_table::{Table, mib};

const FILES: usize = 1_000;
const LINES: u64 = 10 * FILES as u64;
/// Until what was there is read, acknowledged and saved.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) fn run(options: &Options) -> anyhow::Result<Table> {
    let place = Place::new(options)?;
    lines::backlog(&place.logs(), Kind::Json, FILES, LINES)?;
    let sink = Sink::start()?;
    let config = place.config(options, &sink.url(), "zstd", "");
    let first = Agent::start(options, place.path(), &config)?;
    let first_start = first.start;
    sink.wait_for(LINES, Duration::from_secs(30))?;
    first.stop()?;
    // Now it knows the files, as after any restart.
    let agent = Agent::start(options, place.path(), &config)?;
    let title = format!("{FILES} idle files, {} s", options.seconds);
    let mut table = measure(options, &sink, agent, Some(first_start), title)?;
    if let Some(vlagent) = &options.vlagent {
        let sink = Sink::start()?;
        let peer = Agent::start_vlagent(options, vlagent, place.path(), &sink.url())?;
        sink.wait_for(LINES, Duration::from_secs(30))?;
        table.append(measure(options, &sink, peer, None, "vlagent, the same files, first read".to_owned())?);
    }
    Ok(table)
}

fn measure(
    options: &Options,
    sink: &Sink,
    agent: Agent,
    first_start: Option<Duration>,
    title: String,
) -> anyhow::Result<Table> {
    std::thread::sleep(SETTLE);
    let before = agent.cpu()?;
    std::thread::sleep(Duration::from_secs(options.seconds));
    let cpu = agent.cpu()?.saturating_sub(before).as_secs_f64();
    let (memory, start) = (agent.memory()?, agent.start);
    agent.stop()?;
    sink.tally().check(LINES)?;

    let mut table = Table::new(title);
    let first = first_start.map(|first| format!("{:.1} ms the first time", first.as_secs_f64() * 1e3));
    table.row("start to ready", format!("{:.1} ms", start.as_secs_f64() * 1e3), first.unwrap_or_default());
    table.row(
        "resident",
        mib(memory.resident),
        format!("at most {}, {} of it anonymous", mib(memory.peak), mib(memory.anonymous)),
    );
    table.row(
        "of a core",
        format!("{:.2} %", cpu / options.seconds as f64 * 100.0),
        "in steps of 10 ms of processor time",
    );
    Ok(table)
}
