//! Spans over OTLP/HTTP, each request acknowledged once it stands in the spool; out to the sink meanwhile.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use model::SystemClock;

use super::Place;
use crate::lines::Spans;
use crate::options::Options;
use crate::process::Agent;
use crate::sink::Sink;
use bench_table::{Table, mib, whole};

const CLIENTS: u64 = 4;
const SPANS_A_REQUEST: usize = 512;
/// A refused request is sent again after this.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

pub(super) fn run(options: &Options) -> anyhow::Result<Table> {
    let mut table = with_compression(options, "zstd")?;
    if let Some(rotel) = &options.rotel {
        // What it sends has gzip, whatever it is told.
        table.append(with_compression(options, "gzip")?);
        let sink = Sink::start()?;
        let peer = Agent::start_rotel(options, rotel, &sink.url())?;
        let memory = "rotel: OTLP/HTTP in, memory, OTLP/HTTP out with gzip";
        table.append(measure(options, &sink, peer, memory)?);
    }
    Ok(table)
}

fn with_compression(options: &Options, compression: &str) -> anyhow::Result<Table> {
    let (place, sink) = (Place::new(options)?, Sink::start()?);
    let more = "[otlp]\nhttp = '127.0.0.1:0'\n[spool]\nmax = '1GiB'";
    let agent = Agent::start(options, place.path(), &place.config(options, &sink.url(), compression, more))?;
    measure(options, &sink, agent, &format!("OTLP/HTTP in, spool, OTLP/HTTP out with {compression}"))
}

fn measure(options: &Options, sink: &Sink, agent: Agent, path: &str) -> anyhow::Result<Table> {
    let address = agent.otlp.clone().context("the agent takes no OTLP")?;
    let address = address.trim_start_matches("http://").to_owned();
    let requests = options.spans / (CLIENTS * SPANS_A_REQUEST as u64);
    let spans = requests * CLIENTS * SPANS_A_REQUEST as u64;
    let before = agent.cpu()?;
    let clock = SystemClock::shared();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let refused = runtime.block_on(async {
        let clients = (0..CLIENTS).map(|at| tokio::spawn(client(address.clone(), at * requests, requests)));
        let mut refused = 0;
        for client in clients.collect::<Vec<_>>() {
            refused += client.await??;
        }
        anyhow::Ok(refused)
    })?;
    let taken = clock.monotonic().as_secs_f64();
    sink.wait_for(spans, Duration::from_secs(80))?;
    let took = clock.monotonic().as_secs_f64();
    let cpu = agent.cpu()?.saturating_sub(before).as_secs_f64();
    let memory = agent.memory()?;
    agent.stop()?;
    let tally = sink.tally();
    tally.check(spans)?;

    let bytes = Spans::new(SPANS_A_REQUEST).request.len() as f64 / SPANS_A_REQUEST as f64;
    let mut table = Table::new(format!(
        "{spans} spans of {bytes:.0} B, {CLIENTS} clients, {SPANS_A_REQUEST} a request; {path}"
    ));
    table.row("spans/s, in and out", whole(spans as f64 / took), "on one core, by the clock");
    table.row("spans/s of processor time", whole(spans as f64 / cpu), "");
    table.row(
        "spans/s taken",
        whole(spans as f64 / taken),
        format!("acknowledged; {refused} refusals, sent again"),
    );
    table.row("resident at most", mib(memory.peak), "");
    table.row("lost, doubled, broken", "0, 0, 0", "");
    Ok(table)
}

/// Sends `requests` requests one after the other; how many were refused for now and sent again.
async fn client(address: String, first: u64, requests: u64) -> anyhow::Result<u64> {
    let stream = tokio::net::TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut spans = Spans::new(SPANS_A_REQUEST);
    let mut refused = 0;
    for number in first..first + requests {
        spans.number(number * spans.len() as u64);
        let body = Bytes::copy_from_slice(&spans.request);
        loop {
            let request = Request::post("/v1/traces")
                .header("host", &address)
                .header("content-type", "application/x-protobuf")
                .body(Full::new(body.clone()))?;
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            answer.into_body().collect().await?;
            if status.is_success() {
                break;
            }
            ensure!(status == StatusCode::TOO_MANY_REQUESTS, "the agent answers {status}");
            refused += 1;
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
    Ok(refused)
}
