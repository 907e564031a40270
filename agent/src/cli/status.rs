//! `silmari-agent status`

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use agent::status::{BreakerState, CentralStatus, FlowStatus, LaneStatus, SpoolStatus, Status};
use agent::{Config, exit_code};
use anyhow::{Context as _, bail};

use super::{StatusArgs, shown};

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let body = ask_text(args)?;
    if args.json {
        writeln!(out, "{body}")?;
    } else {
        write_text(&read(&body)?, out)?;
    }
    Ok(exit_code::OK)
}

/// What a running agent says of itself.
pub(super) fn ask(args: &StatusArgs) -> anyhow::Result<Status> {
    read(&ask_text(args)?)
}

fn read(body: &str) -> anyhow::Result<Status> {
    serde_json::from_str(body).context("the answer is no agent's status")
}

fn ask_text(args: &StatusArgs) -> anyhow::Result<String> {
    let place = AdminPlace::of(args)?;
    fetch(&place).with_context(|| format!("no answer from an agent at {place}"))
}

/// Where an agent is asked.
pub(super) enum AdminPlace {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection to one.
pub(super) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl AdminPlace {
    /// As the arguments say; else the socket in its data directory, or its listener where there is none.
    pub(super) fn of(args: &StatusArgs) -> anyhow::Result<Self> {
        if let Some(address) = args.admin {
            return Ok(Self::Tcp(address));
        }
        let config = Config::load(&args.config.config)?;
        let socket = config.admin_socket();
        Ok(match config.admin.listen {
            Some(address) if !socket.exists() => Self::Tcp(address),
            _ => Self::Unix(socket),
        })
    }

    /// Sends a GET over HTTP/1.0: the answer ends with the connection. `timeout` is that of a read.
    pub(super) fn get(&self, page: &str, timeout: Option<Duration>) -> io::Result<Box<dyn Stream>> {
        let mut stream: Box<dyn Stream> = match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, TIMEOUT)?;
                stream.set_read_timeout(timeout)?;
                Box::new(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(timeout)?;
                Box::new(stream)
            }
        };
        write!(stream, "GET {page} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        Ok(stream)
    }
}

impl fmt::Display for AdminPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => path.display().fmt(out),
        }
    }
}

fn fetch(place: &AdminPlace) -> anyhow::Result<String> {
    let stream = place.get("/status", Some(TIMEOUT))?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("the answer is no HTTP") };
    if head.split(' ').nth(1).is_none_or(|code| code != "200") {
        bail!("the answer is {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

fn write_text(status: &Status, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "agent {} ({}), version {}, since {}",
        shown(&status.instance),
        status.agent_id,
        status.version,
        status.started
    )?;
    let collector = &status.collector;
    let health = match (&collector.last_error, collector.consecutive_failures) {
        (_, 0) => "takes data".to_owned(),
        (error, failures) => format!("{failures} failures: {}", shown(error.as_deref().unwrap_or_default())),
    };
    writeln!(out, "collector {}: {health}", collector.endpoints.join(", "))?;
    match collector.breaker {
        BreakerState::Closed => {}
        BreakerState::HalfOpen => writeln!(out, "  one request asks whether it is back; the others wait")?,
        BreakerState::Open => {
            writeln!(out, "  it failed again and again: requests wait, one asks now and then")?
        }
    }
    let (in_flight, known) = (collector.in_flight, collector.duplicates);
    writeln!(
        out,
        "delivery {}; {in_flight} requests under way, {known} records were sent twice and stored once",
        shown(&collector.delivery)
    )?;
    let config = &status.config;
    writeln!(out, "configuration {}, {} reloads", config.version, config.reloads)?;
    if let Some(error) = &config.error {
        writeln!(out, "  a newer one is not used: {}", shown(error))?;
    }
    write_central(&config.central, out)?;
    let memory = &status.memory;
    writeln!(
        out,
        "memory {} KiB resident; components may use {} of {} KiB, requests hold {} KiB",
        memory.resident_bytes / 1024,
        memory.bound_bytes / 1024,
        memory.limit_bytes / 1024,
        memory.requests_bytes / 1024
    )?;
    write_spool(&status.spool, out)?;
    write_flows(&status.flows, out)?;
    for (table, problem) in &status.problems {
        writeln!(out, "[{table}] does not work: {}", shown(problem))?;
    }
    writeln!(out)?;
    super::files::write_files(&status.files, out)?;
    Ok(())
}

fn write_spool(spool: &SpoolStatus, out: &mut impl Write) -> io::Result<()> {
    let full = if spool.is_disk_full { ", the disk is full" } else { "" };
    writeln!(out, "spool {} of {} bytes, {} requests{full}", spool.bytes, spool.bytes_max, spool.requests)?;
    for lane in spool.lanes.iter().filter(|lane| lane.requests > 0) {
        let LaneStatus { lane, bytes, requests, records, oldest_seconds } = lane;
        writeln!(
            out,
            "  {lane:<8} {requests} requests, {records} records, {bytes} bytes, the oldest for {oldest_seconds} s"
        )?;
    }
    match &spool.read_error {
        Some(error) => writeln!(out, "  cannot be read: {}", shown(error)),
        None => Ok(()),
    }
}

/// The conservation law, a row a component: what came in is out, waits, or was dropped for a reason.
fn write_flows(flows: &[FlowStatus], out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<16} {:<8} {:>12} = {:>12} + {:>10} + {:>10}",
        "FROM", "SIGNAL", "IN", "OUT", "WAITING", "DROPPED"
    )?;
    for flow in flows {
        let (component, signal, dropped) = (&flow.component, flow.signal.name(), flow.dropped_records());
        let (input, output, waiting) = (flow.input_records, flow.output_records, flow.buffered_records);
        writeln!(
            out,
            "{component:<16} {signal:<8} {input:>12}   {output:>12}   {waiting:>10}   {dropped:>10}  {}",
            reasons(flow)
        )?;
        if !flow.is_conserved() {
            let unaccounted = flow.unaccounted();
            writeln!(
                out,
                "  {unaccounted} unaccounted for: under way at this moment, or a defect when it stays"
            )?;
        }
    }
    Ok(())
}

/// What became of configurations that the collector handed out.
fn write_central(central: &CentralStatus, out: &mut impl Write) -> io::Result<()> {
    if !central.is_accepted {
        return Ok(());
    }
    match (central.version, central.is_trial) {
        (0, _) => writeln!(out, "  from the collector: none")?,
        (version, true) => writeln!(out, "  from the collector: version {version}, on trial")?,
        (version, false) => writeln!(out, "  from the collector: version {version}")?,
    }
    if let (Some(error), 1..) = (&central.error, central.given_up) {
        writeln!(out, "  version {} was given up: {}", central.given_up, shown(error))?;
    }
    Ok(())
}

/// Why records were dropped, as `filtered 3, blank 1`.
pub(super) fn reasons(flow: &FlowStatus) -> String {
    let counted = flow.dropped.iter().filter(|(_, count)| *count > 0);
    counted.map(|(reason, count)| format!("{} {count}", reason.name())).collect::<Vec<_>>().join(", ")
}
