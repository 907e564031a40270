//! `silmari serve`: collector, store, queries and rules in one process.
//!
//! ```text
//! start   config ─► store ─► collector ─► query API ─► {"listening":true,…} ─► WAL replayed ─► rules ─► {"ready":true,…}
//! stop    collector (answers what is in flight) ─► rules ─► store (seals) ─► query API
//! ```
//!
//! Invariant: the parts stop in the order in which data flows, so that nothing is handed to a part that
//! has gone. While the WAL is replayed, queries are answered with what is there and say so, and senders are asked
//! to come again; rules wait, so that no alert ends because its rows are not back yet. A second signal ends the process at once; that is safe, the WAL holds what was acknowledged.

mod fleet;
mod own_metrics;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use collector::Collector;
use model::{Clock, IdRules, SystemClock};
use query::rules;
use serde_json::json;
use storage::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::fleet::OwnFleet;
use self::own_metrics::OwnMetrics;
use crate::config::{Config, SqlConfig};
use crate::exit::Failure;
use crate::{output, sql_worker};

/// How long requests in flight may take when the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Arguments of `serve`. They win over the configuration file.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Folder that holds everything; made if it is missing
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Configuration file (docs/reference/configuration.md)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the query API [default: 127.0.0.1:3900]
    #[arg(long, value_name = "HOST:PORT")]
    api: Option<SocketAddr>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317]
    #[arg(long, value_name = "HOST:PORT")]
    otlp_grpc: Option<SocketAddr>,
    /// Address of OTLP over HTTP and POST /log [default: 127.0.0.1:4318]
    #[arg(long, value_name = "HOST:PORT")]
    otlp_http: Option<SocketAddr>,
    /// File with the id kinds
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Rule file, or folder of rule files; repeatable
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// End when standard input is closed, so that the server never outlives what started it
    #[arg(long)]
    until_stdin_closes: bool,
}

pub(crate) async fn run(arguments: ServeArgs) -> Result<(), Failure> {
    build_logging();
    let until_stdin_closes = arguments.until_stdin_closes;
    let data_dir = arguments.data_dir.clone();
    let config = build_config(arguments)?;
    let clock = SystemClock::shared();
    let listener = bind(config.api.listen).await?;
    let api = listener.local_addr()?;
    let store = build_store(&config, data_dir.clone(), &clock).await?;
    let (rules, alerts) = build_rules(&config, &store, &clock, (data_dir.join("rules.json"), api))?;
    let collector = build_collector(&config, &store, &clock).await?;
    let stop = CancellationToken::new();
    let own = build_own_metrics(&store, &collector, alerts.clone(), &clock);
    let stop_own = CancellationToken::new();
    let stop_api = CancellationToken::new();
    let server =
        build_api(&config, &store, &clock, alerts, (&collector, own.clone()), (listener, stop_api.clone()));
    let say = |what: &str| {
        output::json_line(&json!({
            what: true,
            "api": format!("http://{api}"),
            "otlp_grpc": format!("http://{}", collector.otlp_grpc_addr()),
            "otlp_http": format!("http://{}", collector.otlp_http_addr()),
        }))
    };
    say("listening")?;
    let mut end = std::pin::pin!(wait_for_the_end(until_stdin_closes));
    let replayed = tokio::select! {
        replayed = store.replayed() => Some(replayed),
        ended = &mut end => { ended?; None }
    };
    let (mut running, mut recording) = (None, None);
    if let Some(replayed) = replayed {
        replayed.map_err(|error| Failure::runtime(error.to_string()))?;
        running = Some(tokio::spawn(rules.run(stop.clone())));
        recording = Some(build_recording(&config, &own, &stop_own));
        say("ready")?;
        end.await?;
    }
    tracing::info!("stopping: no further requests are taken");
    tokio::spawn(end_at_once_when_asked_again());
    stop_own.cancel();
    if let Some(recording) = recording {
        recording.await.map_err(|error| Failure::runtime(format!("own metrics: {error}")))?;
    }
    collector.shutdown(DRAIN_MAX).await;
    stop.cancel();
    if let Some(rules) = running {
        rules.await.map_err(|error| Failure::runtime(format!("rules: {error}")))?;
    }
    let closed = store.close().await;
    stop_api.cancel();
    server.await.map_err(|error| Failure::runtime(format!("the query API: {error}")))?;
    closed.map_err(|error| {
        Failure::runtime(format!("sealing at the end: {error}; nothing is lost, the wal holds it"))
    })
}

fn build_logging() {
    let filter = EnvFilter::try_from_env("SILMARI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn build_config(arguments: ServeArgs) -> Result<Config, Failure> {
    let mut config = Config::load(arguments.config.as_deref())?;
    config.api.listen = arguments.api.unwrap_or(config.api.listen);
    config.collector.otlp_grpc = arguments.otlp_grpc.unwrap_or(config.collector.otlp_grpc);
    config.collector.otlp_http = arguments.otlp_http.unwrap_or(config.collector.otlp_http);
    config.ids.file = arguments.ids.or(config.ids.file);
    config.rules.paths.extend(arguments.rules);
    config.collector.kafka_tap = config.kafka_tap.take();
    config.collector.redaction = std::mem::take(&mut config.redaction);
    config.collector.state_folder = Some(arguments.data_dir);
    if !config.api.listen.ip().is_loopback() && !config.collector.insecure_allow_plaintext {
        return Err(Failure::usage(format!(
            "the query API on {} would be open to other machines without a password: listen on 127.0.0.1, or set \
             insecure_allow_plaintext = true under [collector] if the network is trusted",
            config.api.listen
        )));
    }
    if let Err(problem) = config.store.promote.settings().check() {
        return Err(Failure::usage(format!("[store.promote]: {problem}")));
    }
    config.store.places()?;
    Ok(config)
}

async fn build_store(
    config: &Config,
    data_dir: PathBuf,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Store>, Failure> {
    let ids = match &config.ids.file {
        None => IdRules::default(),
        Some(file) => crate::ids::load(file)?,
    };
    let settings = storage::Settings {
        seal_rows: config.store.seal_rows,
        seal_interval: config.store.seal_interval,
        head_bytes_max: config.store.head_bytes_max,
        memory_bytes_max: config.store.memory_bytes_max,
        disk_free_bytes_min: config.store.disk_free_bytes_min,
        compaction_fan_in: config.store.compaction_fan_in,
        text_index: config.store.text_index,
        promote: config.store.promote.settings(),
        places: config.store.places()?,
        retention: config.retention.settings(),
        records_per_request_max: config.collector.limits.request_records_max,
        request_bytes_max: config.collector.limits.request_bytes_max,
        ..storage::Settings::new(data_dir)
    };
    Store::open_at_once(settings, Arc::new(ids), Arc::clone(clock))
        .await
        .map_err(|error| Failure::runtime(error.to_string()))
}

fn build_rules(
    config: &Config,
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    (state_file, api): (PathBuf, SocketAddr),
) -> Result<(rules::Service, rules::Handle), Failure> {
    let named = |kind: &str, urls: &[String], make: fn(&str, &str) -> Result<rules::Receiver, String>| {
        let named = urls.iter().enumerate().map(|(at, url)| make(&format!("{kind} {}", at + 1), url));
        named.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::usage(format!("[rules] {error}")))
    };
    let mut receivers = named("webhook", &config.rules.webhooks, rules::Receiver::webhook)?;
    receivers.extend(named("alertmanager", &config.rules.alertmanagers, rules::Receiver::alertmanager)?);
    let settings = rules::Settings {
        files: config.rules.paths.clone(),
        state_file: Some(state_file),
        interval: config.rules.interval,
        external_url: format!("http://{api}"),
        receivers,
        ..rules::Settings::default()
    };
    let source = Arc::new(query::StoreSource::new(Arc::clone(store), Arc::clone(clock)));
    let sink: Arc<dyn rules::SeriesSink> = Arc::<query::StoreSource>::clone(&source);
    let built = rules::Service::new(settings, Arc::clone(clock), source);
    let (service, handle) = built.map_err(|error| Failure::runtime(error.to_string()))?;
    Ok((service.with_series(sink), handle))
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let hint = "is another silmari running? choose a free port with --api 127.0.0.1:0";
    TcpListener::bind(address).await.map_err(|error| {
        Failure::runtime(format!("the query API cannot listen on {address}: {error}; {hint}"))
    })
}

async fn build_collector(
    config: &Config,
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Collector>, Failure> {
    let collector = Collector::start(config.collector.clone(), Arc::clone(store), Arc::clone(clock)).await;
    collector.map(Arc::new).map_err(|error| Failure::runtime(error.to_string()))
}

fn build_limits(config: &Config) -> query::limits::Limits {
    let SqlConfig { timeout, memory_bytes_max, scan_bytes_max } = config.sql;
    let sql = query::sql::SqlLimits {
        timeout,
        memory_bytes_max,
        scan_bytes_max,
        ..query::sql::SqlLimits::default()
    };
    let inference = config.inference.words();
    let journey = query::journey::Limits { inference, ..query::journey::Limits::default() };
    query::limits::Limits { sql, journey, ..query::limits::Limits::default() }
}

fn build_own_metrics(
    store: &Arc<Store>,
    collector: &Arc<Collector>,
    alerts: rules::Handle,
    clock: &Arc<dyn Clock>,
) -> OwnMetrics {
    let (store, collector, clock) = (Arc::clone(store), Arc::clone(collector), Arc::clone(clock));
    OwnMetrics { store, collector, alerts, clock }
}

/// Writes the server's own metrics into its store, unless that is switched off.
fn build_recording(config: &Config, own: &OwnMetrics, stop: &CancellationToken) -> JoinHandle<()> {
    let (own, stop, interval) = (own.clone(), stop.clone(), config.own_metrics.interval);
    tokio::spawn(async move {
        if !interval.is_zero() {
            own.record(interval, stop).await;
        }
    })
}

fn build_api(
    config: &Config,
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    alerts: rules::Handle,
    (collector, own): (&Arc<Collector>, OwnMetrics),
    (listener, stop): (TcpListener, CancellationToken),
) -> JoinHandle<()> {
    let fleet = OwnFleet { collector: Arc::clone(collector), clock: Arc::clone(clock) };
    let engine = query::Engine::new(Arc::clone(store), Arc::clone(clock))
        .with_alerts(move || alerts.status())
        .with_fleet(fleet)
        .with_metrics(move || own.families().text())
        .with_limits(build_limits(config))
        .with_sql_workers(sql_worker::command())
        .with_boards(config.boards.folder.clone());
    tokio::spawn(async move {
        if let Err(error) = query::http::serve(engine, listener, stop).await {
            tracing::error!("the query API ended: {error}");
        }
    })
}

/// Ctrl-C, SIGTERM, or the end of standard input if that is to be the end.
async fn wait_for_the_end(until_stdin_closes: bool) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stdin_closed(), if until_stdin_closes => {}
    }
    Ok(())
}

async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    // An error of the pipe means the same as its end.
    drop(tokio::io::copy(&mut stdin, &mut tokio::io::sink()).await);
}

async fn end_at_once_when_asked_again() {
    if let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(i32::from(crate::exit::FAILED));
    }
}
