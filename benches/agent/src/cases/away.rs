//! The collector is away while files grow and are rotated; then it is back and everything arrives.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use model::SystemClock;

use super::Place;
use crate::lines::Kind;
use crate::options::Options;
use crate::process::Agent;
use crate::sink::Sink;
use bench_table::{Table, mib};

const FILES: usize = 4;
/// A file is renamed at this size, and the next one begun.
const ROTATE_BYTES: usize = 64 << 20;
const CHUNK_LINES: u64 = 4096;

pub(super) fn run(options: &Options) -> anyhow::Result<Table> {
    let place = Place::new(options)?;
    // A port nobody listens on, kept from others until the collector is back.
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let agent = Agent::start(
        options,
        place.path(),
        &place.config(options, &format!("http://{address}"), "zstd", ""),
    )?;
    let clock = SystemClock::shared();
    let (mut number, mut rotated, mut most) = (0u64, 0u32, 0u64);
    let lines = options.away_mb * 1_000_000 / Kind::Json.bytes() as u64;
    let mut text = Vec::new();
    let mut sizes = [0usize; FILES];
    while number < lines {
        for (at, size) in sizes.iter_mut().enumerate() {
            let path = place.logs().join(format!("app-{at}.log"));
            if *size > ROTATE_BYTES {
                rotated += 1;
                std::fs::rename(&path, place.logs().join(format!("app-{at}.log.{rotated}")))?;
                *size = 0;
            }
            text.clear();
            (number..number + CHUNK_LINES).for_each(|number| Kind::Json.push(number, &mut text));
            number += CHUNK_LINES;
            std::fs::OpenOptions::new().create(true).append(true).open(&path)?.write_all(&text)?;
            *size += text.len();
        }
        most = most.max(agent.memory()?.resident);
    }
    let written = clock.monotonic().as_secs_f64();
    // It has tried and seen the rotated files by now.
    std::thread::sleep(Duration::from_secs(3));
    most = most.max(agent.memory()?.resident);
    let sink = Sink::start_on(address)?;
    let caught_up = sink.wait_for(number, Duration::from_secs(90))?.as_secs_f64();
    let memory = agent.memory()?;
    agent.stop()?;
    sink.tally().check(number)?;

    let megabytes = number as f64 * Kind::Json.bytes() as f64 / 1e6;
    let mut table = Table::new(format!(
        "the collector is away while {megabytes:.0} MB are written in {written:.0} s, {rotated} files rotated away"
    ));
    table.row(
        "resident at most, while away",
        mib(most),
        format!("{} when it had caught up, {} in between", mib(memory.resident), mib(memory.peak)),
    );
    table.row("to catch up", format!("{caught_up:.1} s"), format!("{:.0} MB/s", megabytes / caught_up));
    table.row("lost, doubled, broken", "0, 0, 0", "");
    Ok(table)
}
