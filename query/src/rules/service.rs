//! The service: evaluates on schedule, keeps the state file, and delivers to receivers.
//!
//! One task owns the schedule; evaluation and files are off the async threads. One task a receiver takes
//! from its queue and waits longer after each failure: 1 s, 2 s, 4 s … 60 s.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Clock, UnixNano};
use query_api::AlertsAnswer;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, SourceFile, nanos};
use super::notice::Notice;
use super::notify::{self, Attempt, Receiver};
use super::outbox::Outbox;
use super::persist::State;
use super::series::AlertSeries;
use super::{Cancel, EvalSource, SeriesSink, Settings};

/// Most alerts in one request.
const BATCH_MAX: usize = 64;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The schedule is looked at at least this often, so that a clock that was set is noticed.
const TICK_MAX: Duration = Duration::from_secs(1);

/// The state file is written at least this often.
const SAVE_NANO: i64 = 60_000_000_000;

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The state file is there and cannot be used.
    #[error("state file `{path}`: {source}; move it away to start without what it remembers")]
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// No HTTP client.
    #[error("no HTTP client for receivers: {0}")]
    Client(#[source] reqwest::Error),
    /// Two receivers of one name.
    #[error("two receivers are named `{0}`: names must be unique")]
    ReceiverName(String),
}

/// How a receiver is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// Its name.
    pub name: String,
    /// Notices that wait.
    pub queued: usize,
    /// Notices acknowledged since the start.
    pub delivered: u64,
    /// Notices dropped: the queue was full, or the receiver refused them.
    pub dropped: u64,
    /// What went wrong at the last attempt; `None` when it went well.
    pub error: Option<String>,
}

/// What the tasks share about one receiver.
struct Mailbox {
    receiver: Receiver,
    outbox: Mutex<Outbox>,
    error: Mutex<Option<String>>,
    filled: Notify,
}

impl Mailbox {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self) -> MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> ReceiverStatus {
        let outbox = self.outbox();
        ReceiverStatus {
            name: self.receiver.name.clone(),
            queued: outbox.len(),
            delivered: outbox.delivered(),
            dropped: outbox.dropped(),
            error: self.error().clone(),
        }
    }
}

/// Asks the running service.
#[derive(Clone)]
pub struct Handle {
    answer: watch::Receiver<Arc<AlertsAnswer>>,
    mailboxes: Arc<[Arc<Mailbox>]>,
    reload: mpsc::Sender<()>,
}

impl Handle {
    /// Every rule and alert as of the last evaluation. Receivers that fail are named in `file_errors`.
    pub fn status(&self) -> AlertsAnswer {
        let mut answer = (**self.answer.borrow()).clone();
        for receiver in self.receivers() {
            let ReceiverStatus { name, queued, dropped, error, .. } = receiver;
            if dropped > 0 || error.is_some() {
                let error = error.map(|error| format!(", last attempt: {error}")).unwrap_or_default();
                let text = format!("receiver `{name}`: {queued} alerts wait, {dropped} dropped{error}");
                answer.file_errors.push(text);
            }
        }
        answer
    }

    /// How each receiver is doing.
    pub fn receivers(&self) -> Vec<ReceiverStatus> {
        self.mailboxes.iter().map(|mailbox| mailbox.status()).collect()
    }

    /// Reads the rule files again soon; when that is asked for already, nothing more happens.
    pub fn reload(&self) {
        // Full means that a reload already waits, which serves this call too.
        self.reload.try_send(()).ok();
    }
}

/// Owns the engine and its receivers.
pub struct Service {
    settings: Settings,
    clock: Arc<dyn Clock>,
    source: Arc<dyn EvalSource>,
    engine: Arc<Mutex<Engine>>,
    sink: Option<Arc<dyn SeriesSink>>,
    series: AlertSeries,
    mailboxes: Arc<[Arc<Mailbox>]>,
    client: reqwest::Client,
    answer: watch::Sender<Arc<AlertsAnswer>>,
    reload: mpsc::Receiver<()>,
    /// Name, length and time of change of each rule file when it was last read.
    files_seen: Option<Vec<FileSeen>>,
    files_looked_at: Option<UnixNano>,
    saved: Option<State>,
}

type FileSeen = (PathBuf, u64, Option<std::time::SystemTime>);

impl Service {
    /// Restores the state file. Nothing is evaluated or sent before [`Service::run`].
    ///
    /// # Errors
    /// When the state file is damaged, or settings contradict each other.
    pub fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        source: Arc<dyn EvalSource>,
    ) -> Result<(Self, Handle), ServiceError> {
        let now = clock.now();
        let saved = match &settings.state_file {
            Some(path) => {
                State::load(path).map_err(|source| ServiceError::StateFile { path: path.clone(), source })?
            }
            None => None,
        };
        let mailboxes = build_mailboxes(&settings, saved.as_ref())?;
        let engine = Engine::new(settings.clone(), saved.as_ref(), now);
        let (answer, answers) = watch::channel(Arc::new(engine.status(now)));
        let (reload_sender, reload) = mpsc::channel(1);
        let handle = Handle { answer: answers, mailboxes: Arc::clone(&mailboxes), reload: reload_sender };
        let service = Self {
            client: notify::client().map_err(ServiceError::Client)?,
            engine: Arc::new(Mutex::new(engine)),
            settings,
            clock,
            source,
            sink: None,
            series: AlertSeries::default(),
            mailboxes,
            answer,
            reload,
            files_seen: None,
            files_looked_at: None,
            saved,
        };
        Ok((service, handle))
    }

    /// Writes the series of alerts (`ALERTS`, `ALERTS_FOR_STATE`) to `sink`.
    #[must_use]
    pub fn with_series(mut self, sink: Arc<dyn SeriesSink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Runs until `shutdown`; then writes the state file a last time.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let deliveries = tokio_util::task::TaskTracker::new();
        for mailbox in self.mailboxes.iter() {
            let task = deliver(
                Arc::clone(mailbox),
                self.client.clone(),
                Arc::clone(&self.clock),
                self.settings.external_url.clone(),
                shutdown.clone(),
            );
            deliveries.spawn(task);
        }
        deliveries.close();
        loop {
            self.tick().await;
            let pause = self.pause();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(()) = self.reload.recv() => self.files_seen = None,
                () = tokio::time::sleep(pause) => {}
            }
        }
        deliveries.wait().await;
        self.save(&[], true).await;
    }

    /// How long nothing is due.
    fn pause(&self) -> Duration {
        let due = lock(&self.engine).next_due();
        let wait = due.map_or(i64::MAX, |due| due.since(self.clock.now()));
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(0));
        wait.clamp(Duration::from_millis(1), TICK_MAX)
    }

    /// Reloads what changed, evaluates what is due, saves, then releases the notices.
    async fn tick(&mut self) {
        let mut notices = self.reload_changed().await;
        notices.extend(self.evaluate().await);
        let now = self.clock.now();
        self.save(&notices, false).await;
        let firing = lock(&self.engine).firing();
        for mailbox in self.mailboxes.iter() {
            let mut outbox = mailbox.outbox();
            notices.iter().for_each(|notice| outbox.push(notice.clone()));
            let interval = nanos(mailbox.receiver.repeat_interval);
            firing.iter().for_each(|notice| outbox.repeat(notice.clone(), now, interval));
            if outbox.len() > 0 {
                mailbox.filled.notify_one();
            }
        }
        let status = Arc::new(lock(&self.engine).status(now));
        self.answer.send_replace(Arc::clone(&status));
        self.write_series(&status, now).await;
    }

    /// A store that refuses keeps nobody from being told: the next write tells the same again.
    async fn write_series(&mut self, status: &AlertsAnswer, now: UnixNano) {
        let Some(sink) = &self.sink else { return };
        if let Some(request) = self.series.due(status, now, nanos(self.settings.interval))
            && let Err(error) = sink.write(request).await
        {
            tracing::warn!(error, "the series of alerts were not stored");
        }
    }

    async fn reload_changed(&mut self) -> Vec<Notice> {
        let now = self.clock.now();
        let is_due = match (self.files_looked_at, &self.files_seen) {
            (Some(last), Some(_)) => {
                let since = now.since(last);
                since < 0 || since >= nanos(self.settings.reload_interval)
            }
            _ => true,
        };
        if !is_due {
            return Vec::new();
        }
        self.files_looked_at = Some(now);
        let (configured, seen) = (self.settings.files.clone(), self.files_seen.clone());
        let read = tokio::task::spawn_blocking(move || {
            let found = list(&configured);
            (seen.as_ref() != Some(&found)).then(|| (read(&found), found))
        });
        match read.await {
            Ok(Some((files, found))) => {
                self.files_seen = Some(found);
                let notices = lock(&self.engine).reload(&files, now);
                for error in lock(&self.engine).status(now).file_errors {
                    tracing::warn!(error, "rule file not taken");
                }
                notices
            }
            Ok(None) => Vec::new(),
            Err(error) => {
                tracing::error!(%error, "rule files could not be read");
                Vec::new()
            }
        }
    }

    async fn evaluate(&self) -> Vec<Notice> {
        let now = self.clock.now();
        let (engine, source) = (Arc::clone(&self.engine), Arc::clone(&self.source));
        let cancel = Cancel::default();
        let flag = Cancel::clone(&cancel);
        let mut evaluation =
            tokio::task::spawn_blocking(move || lock(&engine).evaluate_until(now, &*source, &flag));
        let timeout = tokio::time::sleep(self.settings.evaluation_timeout);
        let finished = tokio::select! {
            finished = &mut evaluation => finished,
            () = timeout => {
                cancel.store(true, Ordering::Relaxed);
                evaluation.await
            }
        };
        finished.unwrap_or_else(|error| {
            tracing::error!(%error, "evaluation of rules ended early");
            Vec::new()
        })
    }

    /// Writes the state file when alerts or queues changed, with `notices` already in every queue.
    ///
    /// A disk that refuses does not keep people from being told: the error is logged and delivery goes on.
    async fn save(&mut self, notices: &[Notice], is_last: bool) {
        let Some(path) = self.settings.state_file.clone() else { return };
        let now = self.clock.now();
        let mut state = lock(&self.engine).state(now);
        for mailbox in self.mailboxes.iter() {
            let mut copy = Outbox::new(mailbox.receiver.queue_max, mailbox.outbox().state().clone());
            notices.iter().for_each(|notice| copy.push(notice.clone()));
            state.outboxes.insert(mailbox.receiver.name.clone(), copy.state().clone());
        }
        let is_same = self.saved.as_ref().is_some_and(|saved| {
            !state.differs(saved) && now.since(saved.saved_at) < SAVE_NANO && saved.saved_at <= now
        });
        if is_same && !is_last {
            return;
        }
        let (written, name) = (state.clone(), path.clone());
        match tokio::task::spawn_blocking(move || written.save(&name)).await {
            Ok(Ok(())) => self.saved = Some(state),
            Ok(Err(error)) => {
                tracing::error!(path = %path.display(), %error, "alert state could not be written")
            }
            Err(error) => tracing::error!(%error, "writing alert state ended early"),
        }
    }
}

fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build_mailboxes(settings: &Settings, saved: Option<&State>) -> Result<Arc<[Arc<Mailbox>]>, ServiceError> {
    let mut mailboxes: BTreeMap<&str, Arc<Mailbox>> = BTreeMap::new();
    for receiver in &settings.receivers {
        let restored = saved.and_then(|saved| saved.outboxes.get(&receiver.name)).cloned();
        let mailbox = Mailbox {
            outbox: Mutex::new(Outbox::new(receiver.queue_max, restored.unwrap_or_default())),
            error: Mutex::new(None),
            filled: Notify::new(),
            receiver: receiver.clone(),
        };
        if mailboxes.insert(&receiver.name, Arc::new(mailbox)).is_some() {
            return Err(ServiceError::ReceiverName(receiver.name.clone()));
        }
    }
    Ok(mailboxes.into_values().collect())
}

/// Delivers one receiver's queue until shutdown. What is left stays in the state file.
async fn deliver(
    mailbox: Arc<Mailbox>,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    external_url: String,
    shutdown: CancellationToken,
) {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let batch = mailbox.outbox().batch(BATCH_MAX);
        if batch.is_empty() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = mailbox.filled.notified() => continue,
            }
        }
        let payload = mailbox.receiver.payload(&batch, &external_url, clock.now());
        let attempt = tokio::select! {
            () = shutdown.cancelled() => return,
            attempt = notify::post(&client, &mailbox.receiver.url, &payload) => attempt,
        };
        match attempt {
            Attempt::Delivered => {
                mailbox.outbox().acknowledge(&batch, clock.now());
                *mailbox.error() = None;
                backoff = BACKOFF_FIRST;
            }
            Attempt::Refused(error) => {
                tracing::warn!(receiver = mailbox.receiver.name, error, "alerts refused and dropped");
                mailbox.outbox().refuse(&batch, clock.now());
                *mailbox.error() = Some(error);
            }
            Attempt::Failed(error) => {
                *mailbox.error() = Some(error);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// The rule files there are, folders opened, each with what shows a change.
fn list(configured: &[PathBuf]) -> Vec<FileSeen> {
    let mut found = Vec::new();
    for path in configured {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> =
                entries.map(|entry| entry.path()).filter(|file| is_rule_file(file)).collect();
            files.sort();
            found.extend(files);
        } else {
            found.push(path.clone());
        }
    }
    let seen = found.into_iter().map(|path| {
        let metadata = std::fs::metadata(&path).ok();
        let length = metadata.as_ref().map_or(0, std::fs::Metadata::len);
        (path, length, metadata.and_then(|metadata| metadata.modified().ok()))
    });
    seen.collect()
}

fn is_rule_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn read(files: &[FileSeen]) -> Vec<SourceFile> {
    let read = files.iter().map(|(path, length, _)| {
        let text = if *length > dashboards::rule::FILE_BYTES_MAX as u64 {
            Err(format!("{length} bytes, more than the {} that are read", dashboards::rule::FILE_BYTES_MAX))
        } else {
            std::fs::read_to_string(path).map_err(|error| error.to_string())
        };
        SourceFile { path: path.display().to_string(), text }
    });
    read.collect()
}
