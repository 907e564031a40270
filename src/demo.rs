//! `silmari demo`: a server, a shop, an agent and traffic, then the terminal UI or its text.
//!
//! ```text
//! silmari demo ─┬─ silmari serve     store in a temporary folder, rules for the shop
//!               ├─ silmari-agent     tails the shop's log files, takes its OTLP, ships to the server
//!               ├─ silmari-shop      ten services, their broker, seeded traffic
//!               └─ terminal UI, or one page of text when there is no terminal
//! ```
//!
//! Invariant: however the demo ends, its parts end with it: each holds a pipe from it as standard input and
//! stops when that closes. The folder is removed at every end but `kill -9`.

mod parts;
mod story;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use model::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Failure;
use crate::output::remark;
use parts::Parts;

pub(crate) const EXAMPLES: &str = "\
Examples:
  silmari demo                                   open the terminal UI on a running shop
  silmari demo --text                            print services, one journey and the alert, then end
  silmari demo --kafka 127.0.0.1:9092            use a real broker instead of the built-in mock cluster
  silmari demo --fault catalog:error,rate=0.05   choose what goes wrong

Everything runs on free ports of 127.0.0.1 and in a temporary folder. While it runs, other commands can ask
its server: `silmari trace ORD-4711 --server URL` with the URL that the demo prints.";

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Use the broker at this address instead of librdkafka's mock cluster
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Purchases per second
    #[arg(long, default_value_t = 4.0, value_name = "R")]
    rate: f64,
    /// Purchases in all; 0 goes on until the demo ends
    #[arg(long, default_value_t = 0, value_name = "N")]
    purchases: u64,
    /// Where all randomness of the traffic comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What goes wrong in the shop, instead of a slow acquirer and a consumer that stops; repeatable
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<String>,
    /// Print text even on a terminal, then end
    #[arg(long)]
    text: bool,
    /// How long the text waits for a journey and an alert
    #[arg(long, default_value = "90s", value_name = "DURATION", value_parser = model::time::parse_duration)]
    wait: Duration,
}

/// A slow acquirer, and a consumer that stops after half a minute.
const FAULTS: [&str; 2] = ["billing:slow=800ms,rate=0.25", "shipping:stop-consuming=15s"];

pub(crate) async fn run(arguments: DemoArgs) -> Result<(), Failure> {
    let mut parts = tokio::select! {
        parts = Parts::start(&arguments) => parts?,
        () = interrupted() => return Err(Failure::runtime("interrupted")),
    };
    remark(&format!("server   {}\ntry      silmari trace ORD-4711 --server {}", parts.api(), parts.api()));
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    let client = query_api::Client::new(parts.api());
    let outcome = tokio::select! {
        outcome = show(client, &arguments, is_terminal && !arguments.text) => outcome,
        ended = parts.any_ended() => Err(ended),
        () = interrupted() => Err(Failure::runtime("interrupted")),
    };
    parts.stop().await;
    outcome
}

async fn show(client: query_api::Client, arguments: &DemoArgs, in_terminal: bool) -> Result<(), Failure> {
    if !in_terminal {
        return story::tell(&client, arguments.wait).await;
    }
    let options = tui::Options {
        server: Some(client.base().to_owned()),
        range: Some(Duration::from_secs(5 * 60)),
        start_note: Some("a purchase: c ORD-4711 Enter".to_owned()),
        ..tui::Options::default()
    };
    tui::run(client, options, SystemClock::shared())
        .await
        .map_err(|error| Failure::runtime(error.to_string()))
}

/// Ctrl-C, SIGTERM, or the terminal going away.
async fn interrupted() {
    let signals = (SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup());
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(signals.0), signal(signals.1), signal(signals.2))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
