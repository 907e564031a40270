//! 10,000 lines a second into 100 files, one write each: what it costs all day.

use std::time::Duration;

use model::SystemClock;

use super::Place;
use crate::lines::Writers;
use crate::options::Options;
use crate::process::Agent;
use crate::sink::Sink;
use bench_table::{Table, mib, whole};

const FILES: usize = 100;
const LINES_A_TICK: u64 = 100;
const TICK: Duration = Duration::from_millis(10);
/// Before the measurement, so that start and first growth do not count.
const WARM_UP_TICKS: u32 = 300;

pub(super) fn run(options: &Options) -> anyhow::Result<Table> {
    let (place, sink) = (Place::new(options)?, Sink::start()?);
    let mut writers = writers(&place)?;
    let agent = Agent::start(options, place.path(), &place.config(options, &sink.url(), "zstd", ""))?;
    let title = format!("JSON lines of 216 B, {FILES} files, one write a line, {} s", options.seconds);
    let mut table = measure(options, &sink, agent, &mut writers, title)?;
    if let Some(vlagent) = &options.vlagent {
        let (place, sink) = (Place::new(options)?, Sink::start()?);
        let mut writers = self::writers(&place)?;
        let peer = Agent::start_vlagent(options, vlagent, place.path(), &sink.url())?;
        table.append(measure(options, &sink, peer, &mut writers, "vlagent, the same".to_owned())?);
    }
    Ok(table)
}

fn writers(place: &Place) -> anyhow::Result<Writers> {
    let paths: Vec<_> = (0..FILES).map(|at| place.logs().join(format!("app-{at:04}.log"))).collect();
    Ok(Writers::new(&paths)?)
}

fn measure(
    options: &Options,
    sink: &Sink,
    agent: Agent,
    writers: &mut Writers,
    title: String,
) -> anyhow::Result<Table> {
    let ticks = (options.seconds * 100) as u32;
    let clock = SystemClock::shared();
    let (mut cpu_before, mut time_before) = (agent.cpu()?, Duration::ZERO);
    let mut resident = Vec::new();
    for tick in 0..WARM_UP_TICKS + ticks {
        if tick == WARM_UP_TICKS {
            (cpu_before, time_before) = (agent.cpu()?, clock.monotonic());
        }
        writers.write(LINES_A_TICK)?;
        if tick >= WARM_UP_TICKS && tick % 100 == 0 {
            resident.push(agent.memory()?.resident);
        }
        let due = TICK * (tick + 1);
        std::thread::sleep(due.saturating_sub(clock.monotonic()));
    }
    let elapsed = clock.monotonic().saturating_sub(time_before).as_secs_f64();
    let cpu = agent.cpu()?.saturating_sub(cpu_before).as_secs_f64();
    let memory = agent.memory()?;
    sink.wait_for(writers.written, Duration::from_secs(30))?;
    agent.stop()?;
    sink.tally().check(writers.written)?;

    let rate = f64::from(ticks) * LINES_A_TICK as f64 / elapsed;
    let mut table = Table::new(title);
    table.row("written", whole(rate), "lines a second");
    table.row("cores", format!("{:.4}", cpu / elapsed), "");
    let mean = resident.iter().sum::<u64>() / resident.len().max(1) as u64;
    table.row(
        "resident",
        mib(mean),
        format!("at most {}, {} of it anonymous", mib(memory.peak), mib(memory.anonymous)),
    );
    table.row("lost, doubled, broken", "0, 0, 0", "");
    Ok(table)
}
