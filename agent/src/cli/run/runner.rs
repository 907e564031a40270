//! Agents one after the other, each with a newer configuration, and the way back to one that did well.
//!
//! ```text
//! SIGHUP, changed files, ─► validated as a whole ─┬─ wrong ───────────► noted in `status`, the old one stays
//! pushed by the collector                         ├─ inputs that push ─► exchanged while the others go on
//!                                                 └─ all else ────────► drained and started anew in this process
//!
//! pushed ones are on trial: after [central] trial, or when the agent fails before, they are kept or given up
//! ```
//!
//! Invariant: at every moment either the last good configuration runs, or one on trial whose end is set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::central::Central;
use agent::config::Loaded;
use agent::status::{CentralStatus, Shared};
use agent::{Agent, Control, Error};
use anyhow::Context as _;
use model::agents::PushedConfiguration;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::changes::Changes;
use super::say_ready;

/// The configuration that runs, and what the collector handed out.
pub(super) struct Runner {
    path: PathBuf,
    /// What runs.
    loaded: Loaded,
    /// `None` when the local configuration takes nothing from the collector.
    central: Option<Central>,
    /// When the pushed configuration has done well for long enough.
    trial_end: Option<Instant>,
    /// Tables whose inputs did not work before the trial began.
    ailing: BTreeSet<String>,
}

/// What happened to a running agent.
enum Event {
    Ended(Result<Result<(), Error>, JoinError>),
    Changed,
    Offered(PushedConfiguration),
    TrialOver,
}

/// What has to be done about it.
enum Step {
    Stay,
    /// Start anew with these settings.
    Restart(Box<Loaded>),
    End(anyhow::Result<()>),
}

impl Runner {
    /// Reads the configuration, and what the collector handed out to an earlier run.
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        let loaded = Loaded::with_pushed(path, None)?;
        let mut runner = Self {
            path: path.to_path_buf(),
            loaded,
            central: None,
            trial_end: None,
            ailing: BTreeSet::new(),
        };
        runner.open_central()?;
        if let Some(pushed) = runner.central.as_ref().and_then(Central::current).cloned() {
            match runner.load(Some(&pushed)) {
                Ok(loaded) => runner.loaded = loaded,
                Err(error) => runner.give_up(pushed.version, error.to_string()),
            }
        }
        Ok(runner)
    }

    /// Works until shutdown, or until an agent ends by itself.
    pub(super) async fn run(
        mut self,
        mut changes: Changes,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut agent = self.start(self.loaded.clone(), None).await?;
        say_ready(agent.addresses())?;
        loop {
            let (control, stop) = (agent.control(), shutdown.child_token());
            let mut offers = agent.shared().offers();
            let mut working = tokio::spawn(agent.run(stop.clone()));
            let mut has_ended = false;
            let next = loop {
                let trial_end = self.trial_end;
                let event = tokio::select! {
                    ended = &mut working => {
                        has_ended = true;
                        Event::Ended(ended)
                    }
                    () = changes.next() => Event::Changed,
                    offer = offered(&mut offers), if self.central.is_some() => Event::Offered(offer),
                    () = until(trial_end), if trial_end.is_some() => Event::TrialOver,
                };
                match self.handle(event, &control, &shutdown).await {
                    Step::Stay => self.tell(control.shared()),
                    Step::Restart(next) => break *next,
                    Step::End(result) => {
                        if result.is_ok() {
                            self.postpone();
                        }
                        return result;
                    }
                }
            };
            tracing::info!(
                tables = ?next.config.needs_restart(&self.loaded.config),
                "starting anew with another configuration"
            );
            control.shared().will_go_on();
            stop.cancel();
            if !has_ended {
                working.await.context("the agent panicked")??;
            }
            if shutdown.is_cancelled() {
                self.postpone();
                return Ok(());
            }
            let earlier = Arc::clone(control.shared());
            drop(control);
            agent = self.start(next, Some(&earlier)).await?;
        }
    }

    /// An agent with the newer configuration, or with the last good one when that does not start.
    async fn start(&mut self, newer: Loaded, earlier: Option<&Shared>) -> Result<Agent, Error> {
        let is_new = earlier.is_some();
        let clock = model::SystemClock::shared();
        let (agent, error) = match Agent::start_after(newer.config.clone(), Arc::clone(&clock), earlier).await
        {
            Ok(agent) => {
                self.loaded = newer;
                (agent, None)
            }
            Err(error) => {
                let older = self.older(&newer, &error, is_new);
                let Some(older) = older else { return Err(error) };
                tracing::error!(%error, "the configuration does not start; an older one goes on");
                let agent = Agent::start_after(older.config.clone(), clock, earlier).await?;
                self.loaded = older;
                (agent, Some(error))
            }
        };
        self.open_central_again();
        let shared = agent.shared();
        shared.note_config(|status| {
            status.version = self.loaded.config.version();
            status.reloads += u64::from(is_new && error.is_none());
            status.failures += u64::from(error.is_some());
            status.error = error.map(|error| error.to_string());
        });
        self.tell(&shared);
        Ok(agent)
    }

    /// What to fall back to when `newer` does not start.
    fn older(&mut self, newer: &Loaded, error: &Error, is_new: bool) -> Option<Loaded> {
        let pushed = self.central.as_ref().and_then(Central::current).cloned();
        match pushed {
            Some(pushed) if newer.has_pushed => {
                self.give_up(pushed.version, format!("it does not start: {error}"));
                self.last_good().ok()
            }
            _ => is_new.then(|| self.loaded.clone()),
        }
    }

    async fn handle(&mut self, event: Event, control: &Control, shutdown: &CancellationToken) -> Step {
        match event {
            Event::Ended(ended) => self.ended(ended, shutdown),
            Event::Changed => self.reload(control).await,
            Event::Offered(offer) => self.offered(offer, control).await,
            Event::TrialOver => self.trial_over(control).await,
        }
    }

    /// An agent ended. On trial that gives the configuration up; otherwise it ends the process.
    fn ended(&mut self, ended: Result<Result<(), Error>, JoinError>, shutdown: &CancellationToken) -> Step {
        let ended = ended.context("the agent panicked").and_then(|ended| Ok(ended?));
        let on_trial = self.on_trial().filter(|_| !shutdown.is_cancelled());
        match (ended, on_trial) {
            (Err(error), Some(version)) => {
                self.give_up(version, format!("the agent ended: {error:#}"));
                match self.last_good() {
                    Ok(loaded) => Step::Restart(Box::new(loaded)),
                    Err(error) => Step::End(Err(error.into())),
                }
            }
            (ended, _) => Step::End(ended),
        }
    }

    /// The local files may say something else now.
    async fn reload(&mut self, control: &Control) -> Step {
        let pushed = self.central.as_ref().and_then(Central::current).cloned();
        let newer = match (self.load(pushed.as_ref()), pushed) {
            (Ok(newer), _) => newer,
            (Err(error), Some(pushed)) => match self.load(None) {
                Ok(local) => {
                    // The files are right by themselves: what was pushed no longer fits them.
                    self.give_up(pushed.version, error.to_string());
                    local
                }
                Err(error) => return refuse(control, &error),
            },
            (Err(error), None) => return refuse(control, &error),
        };
        match self.apply(newer, control).await {
            Ok(step) => step,
            Err(error) => refuse(control, &error),
        }
    }

    /// The collector hands out a configuration, or takes back what it handed out.
    async fn offered(&mut self, offer: PushedConfiguration, control: &Control) -> Step {
        let Some(central) = &mut self.central else { return Step::Stay };
        let is_known = central.current().is_some_and(|current| current.version == offer.version)
            || central.given_up().is_some_and(|given_up| given_up.version == offer.version);
        if is_known || (offer.version == 0 && central.current().is_none()) {
            return Step::Stay;
        }
        tracing::info!(version = offer.version, "the collector hands out a configuration");
        if offer.version == 0 {
            saved(central.take_back());
            self.trial_end = None;
            return match self.load(None) {
                Ok(local) => self.apply(local, control).await.unwrap_or_else(|error| refuse(control, &error)),
                Err(error) => refuse(control, &error),
            };
        }
        let version = offer.version;
        let newer = match self.load(Some(&offer)) {
            Ok(newer) => newer,
            Err(error) => {
                self.give_up(version, error.to_string());
                return Step::Stay;
            }
        };
        self.ailing = control.shared().problems().into_keys().collect();
        if let Err(error) = self.begin(offer) {
            self.give_up(version, format!("it cannot be noted before it is tried: {error}"));
            return Step::Stay;
        }
        match self.apply(newer, control).await {
            Ok(step) => step,
            Err(error) => {
                self.give_up(version, format!("it does not start: {error}"));
                Step::Stay
            }
        }
    }

    /// The time of a pushed configuration is over: it is kept, or the last good one comes back.
    async fn trial_over(&mut self, control: &Control) -> Step {
        let shared = control.shared();
        let problems = shared.problems().into_iter().filter(|(table, _)| !self.ailing.contains(table));
        let problems: Vec<String> = problems.map(|(table, problem)| format!("[{table}] {problem}")).collect();
        let problem = match (shared.has_looked(), problems.is_empty()) {
            (false, _) => Some("its files were not looked at in time".to_owned()),
            (true, false) => Some(problems.join("; ")),
            (true, true) => None,
        };
        self.trial_end = None;
        let (Some(version), Some(central)) = (self.on_trial(), &mut self.central) else { return Step::Stay };
        let Some(problem) = problem else {
            tracing::info!(version, "the pushed configuration is kept");
            saved(central.keep());
            return Step::Stay;
        };
        self.give_up(version, format!("not ready at the end of its trial: {problem}"));
        match self.last_good() {
            Ok(older) => self.apply(older, control).await.unwrap_or_else(|error| refuse(control, &error)),
            Err(error) => refuse(control, &error),
        }
    }

    /// Puts a configuration to use: at once where inputs can be exchanged, by a new start otherwise.
    async fn apply(&mut self, newer: Loaded, control: &Control) -> Result<Step, Error> {
        if newer.config == self.loaded.config {
            tracing::info!("the configuration is the same");
            control.shared().note_config(|status| status.error = None);
            self.loaded = newer;
            return Ok(Step::Stay);
        }
        if !newer.config.needs_restart(&self.loaded.config).is_empty() {
            return Ok(Step::Restart(Box::new(newer)));
        }
        match control.apply(newer.config.clone()).await {
            Ok(changed) => {
                tracing::info!(?changed, "a newer configuration is used");
                control.shared().note_config(|status| {
                    status.version = newer.config.version();
                    status.reloads += 1;
                    status.error = None;
                    status.changed = changed;
                });
                self.loaded = newer;
                Ok(Step::Stay)
            }
            Err(error) => {
                // What was exchanged goes back; the old one ran before.
                drop(control.apply(self.loaded.config.clone()).await);
                Err(error)
            }
        }
    }

    /// The local files with a pushed configuration laid over them.
    fn load(&self, pushed: Option<&PushedConfiguration>) -> Result<Loaded, Error> {
        let name = pushed.map(|pushed| format!("pushed version {}", pushed.version));
        let pushed = name.as_deref().zip(pushed.map(|pushed| pushed.text.as_str()));
        Loaded::with_pushed(&self.path, pushed)
    }

    /// The local files with the pushed configuration that did well; by themselves when it no longer fits.
    fn last_good(&mut self) -> Result<Loaded, Error> {
        let good = self.central.as_ref().and_then(Central::good).cloned();
        self.load(good.as_ref()).or_else(|_| self.load(None))
    }

    fn open_central(&mut self) -> Result<(), Error> {
        let settings = &self.loaded.config;
        self.central = match settings.central.accept {
            true => Some(Central::open(&settings.agent.data_dir)?),
            false => None,
        };
        Ok(())
    }

    /// Follows a change of `[central] accept`, or of the data directory, by the local files.
    fn open_central_again(&mut self) {
        let settings = &self.loaded.config;
        let is_same = match &self.central {
            Some(central) => settings.central.accept && central.is_in(&settings.agent.data_dir),
            None => !settings.central.accept,
        };
        if !is_same && let Err(error) = self.open_central() {
            tracing::error!(%error, "nothing is taken from the collector");
        }
    }

    fn begin(&mut self, offer: PushedConfiguration) -> std::io::Result<()> {
        let Some(central) = &mut self.central else { return Ok(()) };
        central.begin(offer)?;
        self.trial_end = Some(Instant::now() + self.loaded.config.central.trial);
        Ok(())
    }

    /// The process ends as it was asked to: what was on trial is neither kept nor given up.
    fn postpone(&mut self) {
        if let Some(central) = self.central.as_mut().filter(|central| central.is_trial()) {
            saved(central.postpone());
        }
    }

    fn give_up(&mut self, version: u64, error: String) {
        tracing::error!(version, %error, "a pushed configuration is given up");
        self.trial_end = None;
        if let Some(central) = &mut self.central {
            saved(central.give_up(version, error));
        }
    }

    /// Version of the configuration on trial.
    fn on_trial(&self) -> Option<u64> {
        let central = self.central.as_ref().filter(|central| central.is_trial())?;
        central.current().map(|current| current.version)
    }

    /// Says in `status`, and at once to the collector, what became of what it handed out.
    fn tell(&self, shared: &Shared) {
        shared.set_config_parts(self.loaded.parts.clone());
        let status = self.central.as_ref().map_or_else(CentralStatus::default, |central| CentralStatus {
            is_accepted: true,
            version: central.current().map_or(0, |current| current.version),
            is_trial: central.is_trial(),
            given_up: central.given_up().map_or(0, |given_up| given_up.version),
            error: central.given_up().map(|given_up| given_up.error.clone()),
        });
        shared.note_config(|config| {
            if config.central != status {
                config.central = status;
                shared.beat_now();
            }
        });
    }
}

/// Notes that a configuration is not used; the one in use stays.
fn refuse(control: &Control, error: &Error) -> Step {
    tracing::error!(%error, "the newer configuration is not used");
    control.shared().note_config(|status| {
        status.failures += 1;
        status.error = Some(error.to_string());
    });
    Step::Stay
}

/// What cannot be kept on disk is known to this process all the same.
fn saved(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "cannot save what the collector handed out");
    }
}

/// The next configuration that the collector hands out.
async fn offered(offers: &mut watch::Receiver<Option<PushedConfiguration>>) -> PushedConfiguration {
    loop {
        if offers.changed().await.is_err() {
            // The agent is ending.
            std::future::pending::<()>().await;
        }
        if let Some(offer) = offers.borrow_and_update().clone() {
            return offer;
        }
    }
}

async fn until(end: Option<Instant>) {
    if let Some(end) = end {
        tokio::time::sleep_until(end).await;
    }
}
