//! As fast as it goes: files that were written before are read and shipped.

use std::time::Duration;

use super::Place;
use crate::lines::{self, Kind};
use crate::options::Options;
use crate::process::Agent;
use crate::sink::Sink;
use bench_table::{Table, mib, whole};

pub(super) fn run(
    options: &Options,
    kind: Kind,
    files: usize,
    compression: &str,
    is_tls: bool,
) -> anyhow::Result<Table> {
    let place = Place::new(options)?;
    let lines = options.lines / files as u64 * files as u64;
    lines::backlog(&place.logs(), kind, files, lines)?;
    let sink = if is_tls { Sink::start_tls()? } else { Sink::start()? };
    if let Some(certificate) = sink.certificate() {
        std::fs::write(place.path().join("ca.pem"), certificate)?;
    }
    let config = place.config(options, &sink.url(), compression, "");
    let agent = Agent::start(options, place.path(), &config)?;
    let title = format!(
        "{kind:?} lines of {} B, {files} files, compression {compression}{}, backlog of {lines}",
        kind.bytes(),
        if is_tls { " and TLS" } else { "" }
    );
    let mut table = measure(&sink, agent, kind, lines, title)?;
    if let Some(vlagent) = options.vlagent.as_ref().filter(|_| !is_tls) {
        let sink = Sink::start()?;
        let peer = Agent::start_vlagent(options, vlagent, place.path(), &sink.url())?;
        table.append(measure(&sink, peer, kind, lines, "vlagent, the same files, zstd".to_owned())?);
    }
    Ok(table)
}

fn measure(sink: &Sink, agent: Agent, kind: Kind, lines: u64, title: String) -> anyhow::Result<Table> {
    // From its start: where it reads before it says that it is ready, that counts.
    let began = agent.start;
    let took = sink.wait_for(lines, Duration::from_secs(80))?.saturating_add(began).as_secs_f64();
    let cpu = agent.cpu()?.as_secs_f64();
    let memory = agent.memory()?;
    agent.stop()?;
    let tally = sink.tally();
    tally.check(lines)?;

    let bytes = lines as f64 * kind.bytes() as f64;
    let mut table = Table::new(title);
    table.row("logs/s", whole(lines as f64 / took), "on one core, by the clock");
    table.row("logs/s of processor time", whole(lines as f64 / cpu), "what the agent itself took");
    table.row("MB/s", format!("{:.0}", bytes / took / 1e6), "of the files");
    table.row("MB/s of processor time", format!("{:.0}", bytes / cpu / 1e6), "");
    table.row("resident at most", mib(memory.peak), "");
    let wire =
        format!("{:.0} B a record, {} requests", tally.wire_bytes as f64 / lines as f64, tally.requests);
    table.row("on the wire", wire, format!("{:.0} B unpacked", tally.raw_bytes as f64 / lines as f64));
    table.row("lost, doubled, broken", "0, 0, 0", "");
    Ok(table)
}
