//! From settings to a running agent and back to an empty process.
//!
//! Owns: the order in which things start and end. Does not own: the data directory (`folder`), what it means
//! that a part ends (`parts`).
//!
//! ```text
//! shutdown ─► listeners close, files are read to their present end, what is built is sent
//!          ─► everything acknowledged, or 5 s, or a collector that does not answer ─► positions saved
//! ```

mod folder;
mod parts;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use model::{Clock, Signal};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use self::folder::drop_spool;
use self::folder::{agent_id, damaged, lock_folder, open_spool};
use self::parts::{Parts, supervise};
use crate::config::Config;
use crate::export::connect::Connector;
use crate::export::{self, Exporter, Stop};
use crate::input::BATCHES_MAX;
use crate::input::file::FileTail;
use crate::input::file::positions::{Positions, Saved};
use crate::input::file::task::{self, Exchange, Link};
use crate::input::intake::Intake;
use crate::input::otlp::{self, Receiver};
use crate::input::pushed::Pushed;
use crate::input::syslog::{Who, make_way, open_to};
use crate::memory::{Budget, Plan};
use crate::queue::Lane;
use crate::status::{self, Shared};
use crate::{Error, ErrorKind, heartbeat};

/// Where an agent listens; `None` for what is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP/gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// OTLP/HTTP.
    pub otlp_http: Option<SocketAddr>,
    /// `/metrics`, `/status`, `/healthz`.
    pub admin: Option<SocketAddr>,
}

/// An agent that holds its data directory and its listeners, and does not work yet.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    shared: Arc<Shared>,
    intake: Intake,
    /// Bytes for OTLP requests.
    requests: Budget,
    pushed: Pushed,
    changes: mpsc::Receiver<Change>,
    control: Control,
    saved: Saved,
    listeners: Listeners,
    addresses: Addresses,
    connector: Connector,
    _lock: File,
}

#[derive(Debug, Default)]
struct Listeners {
    otlp_grpc: Option<TcpListener>,
    otlp_http: Option<TcpListener>,
    admin: Option<TcpListener>,
    otlp_unix: Option<UnixListener>,
    admin_unix: Option<UnixListener>,
}

/// A configuration to be put to use, and where to say whether it was.
type Change = (Box<Config>, oneshot::Sender<Result<Vec<String>, Error>>);

/// A hand on a running agent.
#[derive(Clone, Debug)]
pub struct Control {
    changes: mpsc::Sender<Change>,
    shared: Arc<Shared>,
}

impl Control {
    /// Exchanges the inputs whose tables changed; the names of these tables. The other tables of `config`
    /// must be those the agent runs with: see [`Config::needs_restart`].
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn apply(&self, config: Config) -> Result<Vec<String>, Error> {
        let gone = || Error::new(ErrorKind::Runtime, "the agent ended");
        let (said, answer) = oneshot::channel();
        self.changes.send((Box::new(config), said)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Its live numbers.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

/// Runs an agent until `shutdown`, then drains for at most 5 seconds.
///
/// # Errors
/// When it cannot start, or a part of it ends that should not: see [`ErrorKind`].
pub async fn run(config: Config, shutdown: CancellationToken, clock: Arc<dyn Clock>) -> Result<(), Error> {
    Agent::start(config, clock).await?.run(shutdown).await
}

impl Agent {
    /// Locks the data directory, reads what an earlier run left, opens the listeners.
    ///
    /// # Errors
    /// When another agent holds the directory, its content is damaged, or a port is taken.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::start_after(config, clock, None).await
    }

    /// As [`Agent::start`], going on with the counters of an `earlier` agent of this process that has ended.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_after(
        config: Config,
        clock: Arc<dyn Clock>,
        earlier: Option<&Shared>,
    ) -> Result<Self, Error> {
        let plan = Plan::of(&config)?;
        let connector = export::connect::connector(&config.collector)?;
        let folder = &config.agent.data_dir;
        let lock = lock_folder(folder)?;
        let agent_id = agent_id(folder)?;
        let saved = Positions::in_folder(folder).load().map_err(damaged)?;
        let queue = open_spool(&config, Arc::clone(&clock))?;
        let host = host_name();
        let instance = config.agent.instance.clone().unwrap_or_else(|| host.clone());
        let mut shared = Shared::new(agent_id, instance, config.collector.endpoints.clone(), clock);
        if let (Some(earlier), Some(shared)) = (earlier, Arc::get_mut(&mut shared)) {
            shared.carry(earlier);
        }
        for signal in Signal::ALL {
            shared.otlp(signal).recovered(queue.waiting(Lane::Signal(signal)).items);
        }
        shared.files.recovered(queue.waiting(Lane::Files).items);
        let queue = Arc::new(queue);
        shared.attach_spool(Arc::clone(&queue));
        let requests = Budget::new(plan.requests_bytes);
        shared.set_memory(&plan, requests.clone());
        let listeners = Listeners {
            otlp_grpc: bind(config.otlp.grpc).await?,
            otlp_http: bind(config.otlp.http).await?,
            admin: bind(config.admin.listen).await?,
            otlp_unix: config.otlp.unix.as_deref().map(|path| bind_unix(path, Who::All)).transpose()?,
            admin_unix: bind_admin_socket(&config),
        };
        let address = |listener: &Option<TcpListener>| {
            listener.as_ref().and_then(|listener| listener.local_addr().ok())
        };
        let addresses = Addresses {
            otlp_grpc: address(&listeners.otlp_grpc),
            otlp_http: address(&listeners.otlp_http),
            admin: address(&listeners.admin),
        };
        shared.note_config(|status| status.version = config.version());
        let intake = Intake {
            queue,
            shared: Arc::clone(&shared),
            resource: resource(&config, host),
            source: "otlp".into(),
        };
        let mut pushed = Pushed::new(intake.clone(), config.agent.data_dir.clone());
        pushed.apply(&config).await?;
        let (sender, changes) = mpsc::channel(1);
        let control = Control { changes: sender, shared: Arc::clone(&shared) };
        Ok(Self {
            config,
            shared,
            intake,
            requests,
            pushed,
            changes,
            control,
            saved,
            listeners,
            addresses,
            connector,
            _lock: lock,
        })
    }

    /// Where it listens, with the ports that were chosen for port 0.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A hand on it while it runs.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Its live numbers.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Works until `shutdown`, then drains for at most 5 seconds.
    ///
    /// # Errors
    /// When a part ends that should not.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let stop = Stop { shutdown: shutdown.child_token(), deadline: CancellationToken::new() };
        let exporter = Exporter::new(
            &self.config.collector,
            self.connector.clone(),
            Arc::clone(&self.shared),
            stop.clone(),
        );
        let mut parts = Parts::new();
        self.serve(&mut parts, &stop);
        for signal in Signal::ALL {
            let (exporter, queue) = (Arc::clone(&exporter), Arc::clone(&self.intake.queue));
            parts.spawn(async move {
                export::spool::ship(exporter, queue, signal).await;
                Ok("a sender of the spool")
            });
        }
        let (exchange, exchanges) = mpsc::channel(1);
        self.read_files(&mut parts, &exporter, exchanges, &stop)?;
        let beats = heartbeat::run(
            self.config.clone(),
            self.connector.clone(),
            Arc::clone(&self.shared),
            stop.shutdown.clone(),
        );
        parts.spawn(async move {
            beats.await;
            Ok("the heartbeats")
        });
        // Only others hold it from now on: when none does, nothing can change.
        drop(self.control);
        parts.spawn(keep_inputs(self.pushed, exchange, self.changes, stop.shutdown.clone()));
        tracing::info!(id = %self.shared.agent_id, addresses = ?self.addresses, "agent runs");
        supervise(parts, &stop).await
    }

    fn serve(&mut self, parts: &mut Parts, stop: &Stop) {
        let receiver = Receiver::new(self.intake.clone(), &self.config.otlp, self.requests.clone());
        let pages = status::http::router(Arc::clone(&self.shared));
        let listeners = std::mem::take(&mut self.listeners);
        serve_on(
            parts,
            "the OTLP/gRPC listener",
            listeners.otlp_grpc,
            otlp::router(Arc::clone(&receiver)),
            stop,
        );
        let router = otlp::router(receiver);
        serve_on(parts, "the OTLP/HTTP listener", listeners.otlp_http, router.clone(), stop);
        serve_on(parts, "the OTLP unix socket", listeners.otlp_unix, router, stop);
        serve_on(parts, "the admin listener", listeners.admin, pages.clone(), stop);
        serve_on(parts, "the admin socket", listeners.admin_unix, pages, stop);
    }

    /// Starts the thread of the file input and the loop that ships its batches.
    fn read_files(
        &mut self,
        parts: &mut Parts,
        exporter: &Arc<Exporter>,
        exchanges: mpsc::Receiver<Exchange>,
        stop: &Stop,
    ) -> Result<(), Error> {
        let positions = Positions::in_folder(&self.config.agent.data_dir);
        let saved = std::mem::take(&mut self.saved);
        let tail = FileTail::new(
            &self.config,
            self.intake.resource.clone(),
            positions,
            saved,
            Arc::clone(&self.shared),
        )
        .map_err(|error| Error::new(ErrorKind::Config, error.to_string()))?;
        let (batch_sender, batches) = mpsc::channel(2 * BATCHES_MAX);
        let (event_sender, events) = mpsc::channel(BATCHES_MAX);
        let (spill_sender, spills) = watch::channel(false);
        let link = Link {
            batches: batch_sender,
            events,
            exchanges,
            spills: spill_sender,
            shutdown: stop.shutdown.clone(),
            deadline: stop.deadline.clone(),
            flush: self.config.collector.flush,
        };
        let (exporter, queue) = (Arc::clone(exporter), Arc::clone(&self.intake.queue));
        let shipping = export::files::Link { batches, events: event_sender, spills };
        parts.spawn(async move {
            export::files::ship(exporter, queue, shipping).await;
            Ok("the sender of file batches")
        });
        let (ended, reader) = tokio::sync::oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("files".to_owned()).spawn(move || {
            let result = task::run(tail, link, &shared);
            // Nobody listens any more when the agent was dropped without draining.
            ended.send(result).unwrap_or_default();
        });
        thread.map_err(|error| Error::io("cannot start the file reader", error))?;
        parts.spawn(async move {
            match reader.await {
                Ok(Ok(())) => Ok("the file reader"),
                Ok(Err(error)) => Err(Error::io("cannot save positions", error)),
                Err(_) => Err(Error::new(
                    ErrorKind::Runtime,
                    "the file reader panicked; positions are those of its last save",
                )),
            }
        });
        Ok(())
    }
}

/// Serves a router until shutdown; requests under way are finished.
fn serve_on<L>(parts: &mut Parts, name: &'static str, listener: Option<L>, router: Router, stop: &Stop)
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let Some(listener) = listener else { return };
    let (shutdown, deadline) = (stop.shutdown.clone(), stop.deadline.clone());
    parts.spawn(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        tokio::select! {
            served = serving => {
                served.map(|()| name).map_err(|error| Error::io(format!("{name} failed"), error))
            }
            () = deadline.cancelled() => Ok(name),
        }
    });
}

/// Owns the inputs that push into the spool, until shutdown, and passes changes on to files.
async fn keep_inputs(
    mut pushed: Pushed,
    files: mpsc::Sender<Exchange>,
    mut changes: mpsc::Receiver<Change>,
    shutdown: CancellationToken,
) -> Result<&'static str, Error> {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            Some((config, said)) = changes.recv() => {
                // Whoever asked may have gone; the change holds all the same.
                drop(said.send(apply(&config, &files, &mut pushed).await));
            }
            _ = tick.tick() => if let Some(name) = pushed.ended() {
                return Err(Error::new(ErrorKind::Runtime, format!("the input [{name}] ended")));
            },
            () = shutdown.cancelled() => {
                pushed.close().await;
                return Ok("the inputs");
            }
        }
    }
}

/// Exchanges the tables that changed; their names.
async fn apply(
    config: &Config,
    files: &mpsc::Sender<Exchange>,
    pushed: &mut Pushed,
) -> Result<Vec<String>, Error> {
    let (answer, exchanged) = oneshot::channel();
    let gone = || Error::new(ErrorKind::Runtime, "the file reader ended");
    let exchange = Exchange { tables: config.files.clone(), answer };
    files.send(exchange).await.map_err(|_| gone())?;
    let exchanged = exchanged.await.map_err(|_| gone())?;
    let names = exchanged.map_err(|error| Error::new(ErrorKind::Config, error.to_string()))?;
    let mut changed: Vec<String> = names.into_iter().map(|name| format!("files.{name}")).collect();
    changed.extend(pushed.apply(config).await?);
    Ok(changed)
}

/// Where `status`, `files` and `tail` ask an agent without an `[admin]` listener. An agent works without it: the path may be
/// too long for a socket.
fn bind_admin_socket(config: &Config) -> Option<UnixListener> {
    match bind_unix(&config.admin_socket(), Who::Owner) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%error, "`silmari-agent status` needs [admin] listen");
            None
        }
    }
}

fn bind_unix(path: &Path, who: Who) -> Result<UnixListener, Error> {
    let bound = make_way(path).and_then(|()| {
        let listener = UnixListener::bind(path)?;
        open_to(path, who)?;
        Ok(listener)
    });
    bound.map_err(|error| Error::io(format!("cannot listen on unix://{}", path.display()), error))
}

async fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Error> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|error| Error::io(format!("cannot listen on {address}"), error))
}

fn resource(config: &Config, host: String) -> Vec<(String, String)> {
    let configured = config.agent.resource.iter().map(|(key, value)| (key.clone(), value.clone()));
    let mut resource: Vec<_> = configured.collect();
    if !config.agent.resource.contains_key("host.name") {
        resource.push(("host.name".to_owned(), host));
    }
    resource
}

fn host_name() -> String {
    let name =
        fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
