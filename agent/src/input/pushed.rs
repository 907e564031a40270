//! The inputs that push into the spool: which of them run, and exchanging the ones whose settings changed.
//!
//! Invariant: an input is stopped and started only when its own table changed; one that cannot be started
//! leaves the others as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::Signal;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use super::syslog::Socket;
use super::{host, journald, own, report, scrape, statsd, syslog};
use crate::config::{
    Config, HostSettings, JournaldSettings, Listen, OwnMetricsSettings, ReportSettings, ScrapeSettings,
    StatsdSettings, SyslogSettings,
};
use crate::{Error, ErrorKind};

/// One input with its settings.
#[derive(Clone, Debug, PartialEq)]
enum Spec {
    Syslog(SyslogSettings),
    Journald(JournaldSettings),
    Statsd(StatsdSettings),
    Scrape(ScrapeSettings),
    Host(HostSettings),
    Report(ReportSettings),
    Own(OwnMetricsSettings),
}

/// The inputs of a configuration by the name of their table.
fn specs(config: &Config) -> BTreeMap<String, Spec> {
    let mut specs = BTreeMap::new();
    let mut add = |name: &str, spec: Option<Spec>| {
        specs.extend(spec.map(|spec| (name.to_owned(), spec)));
    };
    add("syslog", config.syslog.clone().map(Spec::Syslog));
    add("journald", config.journald.clone().map(Spec::Journald));
    add("statsd", config.statsd.clone().map(Spec::Statsd));
    add("host", config.host.clone().map(Spec::Host));
    add("own_metrics", config.own_metrics.clone().map(Spec::Own));
    for (name, settings) in &config.scrape {
        add(&format!("scrape.{name}"), Some(Spec::Scrape(settings.clone())));
    }
    for (name, settings) in &config.report {
        add(&format!("report.{name}"), Some(Spec::Report(settings.clone())));
    }
    specs
}

#[derive(Debug)]
struct Running {
    spec: Spec,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// All inputs of this kind.
#[derive(Debug)]
pub(crate) struct Pushed {
    intake: Intake,
    data_dir: PathBuf,
    running: BTreeMap<String, Running>,
}

impl Pushed {
    pub(crate) const fn new(intake: Intake, data_dir: PathBuf) -> Self {
        Self { intake, data_dir, running: BTreeMap::new() }
    }

    /// Makes the inputs of `config` run; the names of the tables that changed.
    ///
    /// # Errors
    /// The first input that cannot be started; the others run.
    pub(crate) async fn apply(&mut self, config: &Config) -> Result<Vec<String>, Error> {
        let wanted = specs(config);
        let mut changed = Vec::new();
        let names: Vec<String> = self.running.keys().cloned().collect();
        for name in names {
            let is_same =
                self.running.get(&name).is_some_and(|running| wanted.get(&name) == Some(&running.spec));
            if !is_same && let Some(running) = self.running.remove(&name) {
                end(running).await;
                self.intake.shared.note_problem(&name, None);
                changed.push(name);
            }
        }
        let mut first = Ok(());
        for (name, spec) in wanted {
            if self.running.contains_key(&name) {
                continue;
            }
            if !changed.contains(&name) {
                changed.push(name.clone());
            }
            match self.start(&name, spec).await {
                Ok(running) => drop(self.running.insert(name, running)),
                Err(error) if first.is_ok() => first = Err(error),
                Err(error) => tracing::error!(table = name, %error, "cannot start an input"),
            }
        }
        first.map(|()| changed)
    }

    async fn start(&self, name: &str, spec: Spec) -> Result<Running, Error> {
        let stop = CancellationToken::new();
        let intake = Intake { source: name.into(), ..self.intake.clone() };
        let flow = |signal| intake.shared.input(name, signal);
        let token = stop.clone();
        let table = name.split_once('.').map_or(name, |(_, member)| member).to_owned();
        let task = match spec.clone() {
            Spec::Syslog(settings) => {
                let (sockets, flow) = (bind(&settings.listen).await?, flow(Signal::Logs));
                tokio::spawn(syslog::run(settings, sockets, intake, flow, token))
            }
            Spec::Statsd(settings) => {
                let sockets = bind(&settings.listen).await?;
                let (samples, events) = (flow(Signal::Metrics), flow(Signal::Logs));
                tokio::spawn(statsd::run(settings, sockets, intake, samples, events, token))
            }
            Spec::Journald(settings) => {
                let (flow, folder) = (flow(Signal::Logs), self.data_dir.clone());
                tokio::spawn(async move { journald::run(settings, &folder, intake, flow, token).await })
            }
            Spec::Scrape(settings) => {
                let flow = flow(Signal::Metrics);
                tokio::spawn(scrape::run(table, settings, intake, flow, token))
            }
            Spec::Host(settings) => tokio::spawn(host::run(settings, intake, token)),
            Spec::Report(settings) => tokio::spawn(report::run(table, settings, intake, token)),
            Spec::Own(settings) => tokio::spawn(own::run(settings, intake, token)),
        };
        Ok(Running { spec, stop, task })
    }

    /// The names of inputs that ended although nobody asked them to.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.running.iter().find(|(_, running)| running.task.is_finished()).map(|(name, _)| name.as_str())
    }

    /// Ends all, each after it spooled what it has.
    pub(crate) async fn close(&mut self) {
        for (_, running) in std::mem::take(&mut self.running) {
            end(running).await;
        }
    }
}

async fn end(running: Running) {
    running.stop.cancel();
    if let Err(error) = running.task.await {
        tracing::error!(%error, "an input failed");
    }
}

async fn bind(listeners: &[Listen]) -> Result<Vec<Socket>, Error> {
    let mut sockets = Vec::with_capacity(listeners.len());
    for listen in listeners {
        let socket = Socket::bind(listen).await;
        sockets.push(socket.map_err(|error| {
            Error::new(ErrorKind::Runtime, format!("cannot listen on {listen}: {error}"))
        })?);
    }
    Ok(sockets)
}
