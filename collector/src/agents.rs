//! The inventory of agents: who sends signs of life, how they do, who fell silent, which configuration each should use.
//!
//! Owns: the list and the states. Does not own: what agents send (`receiver`), whom a configuration is for
//! (`stages`), how a list is shown (`query::http`).
//!
//! ```text
//! beat ─► up ── 3 missed: 30 s ─► late ── 12 missed: 2 min, or said goodbye ─► gone ── 24 h ─► forgotten
//!          └── started 3 times within 10 min ─► flapping
//! ```
//!
//! The list outlives the server in `agents.json` (saved when agents come and go, and every half minute), stages in
//! `stages.json` (before they are answered). While the server was down nobody was silent: silence counts from its start.
//!
//! Bounds: [`AGENTS_MAX`] agents; beyond it the one that is silent for longest goes. [`CONFIG_BYTES_MAX`] of what they run with.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::agents::{CONFIG_TEXT_BYTES_MAX, HEARTBEAT_SECONDS, Heartbeat, HeartbeatAnswer};
use model::time::SECOND;
use model::{Clock, UnixNano};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::keep;
use crate::stages::{Stage, StageError, StageRequest, Stages};

/// Agents that are remembered.
const AGENTS_MAX: usize = 10_000;
/// Heartbeats that a late agent has missed.
const LATE_BEATS: i64 = 3;
/// Heartbeats that a gone agent has missed.
const GONE_BEATS: i64 = 12;
/// Intervals between heartbeats that are believed.
const INTERVAL: std::ops::RangeInclusive<i64> = SECOND / 10..=600 * SECOND;
/// Silence after which it is forgotten.
const FORGOTTEN: i64 = 24 * 3600 * SECOND;
/// So many starts within [`FLAP_WINDOW`] are flapping.
const FLAP_STARTS: usize = 3;
const FLAP_WINDOW: i64 = 600 * SECOND;
/// Bytes kept of every text that an agent sends.
const TEXT_BYTES_MAX: usize = 512;
const LABELS_MAX: usize = 32;
/// Bytes kept of all configurations together; beyond it none is asked for.
const CONFIG_BYTES_MAX: usize = 64 << 20;
/// How often agents that try a configuration are looked at for silence.
const SWEEP_EVERY: i64 = 5 * SECOND;

/// How an agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// Heard of within three heartbeats.
    Up,
    /// Silent for longer.
    Late,
    /// Silent for twelve heartbeats, or it said goodbye.
    Gone,
    /// Up, but it started three times within ten minutes.
    Flapping,
}

impl AgentState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Up, Self::Late, Self::Gone, Self::Flapping];

    /// `up`, `late`, `gone` or `flapping`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Late => "late",
            Self::Gone => "gone",
            Self::Flapping => "flapping",
        }
    }
}

/// One agent as it is known.
#[derive(Clone, Debug)]
pub struct AgentEntry {
    /// What it told last.
    pub beat: Heartbeat,
    /// When.
    pub last_seen: UnixNano,
    /// When it was first heard of.
    pub first_seen: UnixNano,
    /// How it does.
    pub state: AgentState,
    /// Version of the configuration that it should use, 0 for its own files.
    pub target_version: u64,
}

/// A stage, and how far it got.
#[derive(Clone, Debug)]
pub struct StageProgress {
    /// The stage.
    pub stage: Stage,
    /// Agents that are not gone and have its labels.
    pub matching: usize,
    /// Those of them that take no configuration from the collector.
    pub not_accepting: usize,
    /// Those of them within its percentage that take one.
    pub chosen: usize,
    /// Agents that use it.
    pub running: usize,
    /// Agents that try it.
    pub trying: usize,
    /// The smallest percentage that reaches an agent; `None` when there is none to reach.
    pub percent_min: Option<f64>,
}

/// Why nothing was staged or taken back.
#[derive(Debug, Error)]
pub enum StageFailure {
    /// The request is wrong.
    #[error(transparent)]
    Wrong(#[from] StageError),
    /// It could not be kept, so it does not hold.
    #[error("cannot keep the stages on disk")]
    Disk(#[source] io::Error),
}

/// What an agent runs with.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The agent.
    pub entry: AgentEntry,
    /// Its files as they stand, secrets hidden; `None` until it told.
    pub text: Option<String>,
    /// Whether the text is of the configuration it runs with now.
    pub is_current: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    beat: Heartbeat,
    first_seen: UnixNano,
    last_seen: UnixNano,
    /// When it was seen to have started anew, the last ones.
    starts: Vec<UnixNano>,
    /// Version of the configuration it was handed last.
    handed: u64,
    /// Version and text of what it runs with.
    #[serde(skip)]
    config: Option<(String, String)>,
}

#[derive(Debug, Default)]
struct Book {
    known: BTreeMap<String, Known>,
    stages: Stages,
    has_unsaved_agents: bool,
    has_unsaved_stages: bool,
    swept: UnixNano,
    /// Bytes of all texts that agents told.
    config_bytes: usize,
}

/// All agents.
#[derive(Debug)]
pub struct Agents {
    clock: Arc<dyn Clock>,
    folder: Option<PathBuf>,
    /// When this list was opened: nobody was silent before.
    opened: UnixNano,
    book: Mutex<Book>,
    /// Held while files are written, so that an older state never replaces a newer one.
    saving: Mutex<()>,
}

impl Agents {
    /// The list that an earlier run left in `folder`; an empty one that is not kept without it.
    pub fn open(folder: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let mut book = Book::default();
        if let Some(folder) = &folder {
            book.known = keep::read(&folder.join("agents.json"));
            book.stages = keep::read(&folder.join("stages.json"));
        }
        let opened = clock.now();
        Self { clock, folder, opened, book: Mutex::new(book), saving: Mutex::default() }
    }

    /// Takes a sign of life; what the agent is answered. What it changed is written by [`Agents::save`].
    pub fn beat(&self, mut beat: Heartbeat) -> HeartbeatAnswer {
        bound(&mut beat);
        let now = self.clock.now();
        let mut book = self.lock();
        let book = &mut *book;
        self.forget(book, now, &beat.agent_id);
        let is_new = !book.known.contains_key(&beat.agent_id);
        let configuration = {
            book.has_unsaved_stages |= book.stages.hear(&beat);
            book.stages.answer(&beat)
        };
        let agent = book.known.entry(beat.agent_id.clone()).or_insert_with(|| Known::new(&beat, now));
        if let Some(text) = beat.config_text.take() {
            let before = agent.config.take().map_or(0, |(_, text)| text.len());
            book.config_bytes = book.config_bytes.saturating_sub(before) + text.len();
            agent.config = Some((beat.config_version.clone(), text));
        }
        let has_room = book.config_bytes + CONFIG_TEXT_BYTES_MAX <= CONFIG_BYTES_MAX;
        let is_told = agent.config.as_ref().is_some_and(|(version, _)| *version == beat.config_version);
        if agent.beat.start_unix_nano != beat.start_unix_nano {
            agent.starts.retain(|start| now.since(*start) < FLAP_WINDOW);
            if agent.starts.len() < FLAP_STARTS {
                agent.starts.push(now);
            }
        }
        agent.handed = configuration.as_ref().map_or(agent.handed, |configuration| configuration.version);
        book.has_unsaved_agents |= is_new || agent.beat.is_leaving != beat.is_leaving;
        (agent.beat, agent.last_seen) = (beat, now);
        self.sweep(book, now);
        HeartbeatAnswer { configuration, wants_config_text: !is_told && has_room }
    }

    /// Every agent by its id.
    pub fn list(&self) -> Vec<AgentEntry> {
        let now = self.clock.now();
        let book = self.lock();
        let living = book.known.values().filter(|agent| now.since(agent.last_seen) < FORGOTTEN);
        living.map(|agent| self.entry(agent, &book.stages, now)).collect()
    }

    /// All stages, newest first, and how far they got.
    pub fn stages(&self) -> Vec<StageProgress> {
        let now = self.clock.now();
        let mut book = self.lock();
        self.sweep(&mut book, now);
        book.stages.all().iter().rev().map(|stage| self.progress(&book, stage, now)).collect()
    }

    /// Stages a configuration; with `is_dry_run` only says how far it would reach.
    ///
    /// # Errors
    /// When the request is wrong, or the stage cannot be kept on disk. Blocking.
    pub fn stage(&self, request: StageRequest, is_dry_run: bool) -> Result<StageProgress, StageFailure> {
        self.change(is_dry_run, |stages, now| stages.stage(request, now))
    }

    /// Takes a stage back, the newest one unless told.
    ///
    /// # Errors
    /// When there is none, or that cannot be kept on disk. Blocking.
    pub fn withdraw(&self, version: Option<u64>) -> Result<StageProgress, StageFailure> {
        self.change(false, |stages, _| stages.withdraw(version, "taken back"))
    }

    /// What an agent runs with, by its id or its name; the error names the agents there are.
    ///
    /// # Errors
    /// When there is no such agent, or several have the name.
    pub fn config(&self, agent: &str) -> Result<AgentConfig, String> {
        let now = self.clock.now();
        let book = self.lock();
        let is_meant = |known: &&Known| known.beat.agent_id == agent || known.beat.instance == agent;
        let found: Vec<&Known> = book.known.values().filter(is_meant).collect();
        let [known] = found[..] else {
            return Err(match found.len() {
                0 => unknown(agent, book.known.values().map(|known| known.beat.instance.as_str())),
                count => {
                    let ids: Vec<&str> = found.iter().map(|known| known.beat.agent_id.as_str()).collect();
                    format!("{count} agents are named `{agent}`: use an id, {}", ids.join(", "))
                }
            });
        };
        let text = known.config.as_ref();
        let is_current = text.is_some_and(|(version, _)| *version == known.beat.config_version);
        let entry = self.entry(known, &book.stages, now);
        Ok(AgentConfig { entry, text: text.map(|(_, text)| text.clone()), is_current })
    }

    /// Writes what is not on disk yet. Blocking.
    pub fn save(&self) {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.save_stages().and_then(|()| self.save_agents()) {
            tracing::error!(%error, "cannot keep what is known of agents; trying on");
        }
    }

    /// The time that states are of.
    pub(crate) fn now(&self) -> UnixNano {
        self.clock.now()
    }

    /// Whether a stage changed that is not on disk yet.
    pub fn has_unsaved_stages(&self) -> bool {
        self.lock().has_unsaved_stages
    }

    /// Notes that everything is to be written again: times have moved.
    pub fn touch(&self) {
        self.lock().has_unsaved_agents = true;
    }

    fn change(
        &self,
        is_dry_run: bool,
        change: impl FnOnce(&mut Stages, UnixNano) -> Result<u64, StageError>,
    ) -> Result<StageProgress, StageFailure> {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let (stages, progress) = {
            let book = self.lock();
            let mut stages = book.stages.clone();
            let version = change(&mut stages, now)?;
            let stage = stages.all().iter().find(|stage| stage.version == version).cloned();
            let stage = stage.ok_or(StageError::Unknown(version))?;
            let progress = self.progress(&book, &stage, now);
            (stages, progress)
        };
        if is_dry_run {
            return Ok(progress);
        }
        if let Some(folder) = &self.folder {
            keep::write(&folder.join("stages.json"), &stages).map_err(StageFailure::Disk)?;
        }
        let mut book = self.lock();
        // What agents told meanwhile is told again with their next heartbeats.
        (book.stages, book.has_unsaved_stages) = (stages, false);
        Ok(progress)
    }

    fn save_stages(&self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let stages = {
            let mut book = self.lock();
            if !std::mem::take(&mut book.has_unsaved_stages) {
                return Ok(());
            }
            book.stages.clone()
        };
        keep::write(&folder.join("stages.json"), &stages)
            .inspect_err(|_| self.lock().has_unsaved_stages = true)
    }

    fn save_agents(&self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let text = {
            let mut book = self.lock();
            if !std::mem::take(&mut book.has_unsaved_agents) {
                return Ok(());
            }
            serde_json::to_value(&book.known)?
        };
        keep::write(&folder.join("agents.json"), &text).inspect_err(|_| self.lock().has_unsaved_agents = true)
    }

    /// Lets go of agents that are silent for too long, and of one more when there are too many.
    fn forget(&self, book: &mut Book, now: UnixNano, coming: &str) {
        let before = book.known.len();
        book.known.retain(|_, agent| now.since(agent.last_seen) < FORGOTTEN);
        if book.known.len() < before {
            let texts = book.known.values().filter_map(|agent| agent.config.as_ref());
            book.config_bytes = texts.map(|(_, text)| text.len()).sum();
        }
        if book.known.len() >= AGENTS_MAX && !book.known.contains_key(coming) {
            let silent = book.known.iter().min_by_key(|(_, agent)| agent.last_seen).map(|(id, _)| id.clone());
            if let Some(id) = silent {
                book.known.remove(&id);
            }
        }
        book.has_unsaved_agents |= book.known.len() != before;
    }

    /// Stops stages whose agents fell silent while they tried them.
    fn sweep(&self, book: &mut Book, now: UnixNano) {
        if now.since(book.swept) < SWEEP_EVERY {
            return;
        }
        book.swept = now;
        let Book { known, stages, .. } = book;
        let mut has_changed = false;
        for agent in known.values() {
            let tries = agent.handed != 0
                && (agent.beat.is_trial || agent.beat.pushed_version != agent.handed)
                && agent.beat.refused_version != agent.handed;
            if tries && !agent.beat.is_leaving && self.state(agent, now) == AgentState::Gone {
                has_changed |= stages.lost(agent.handed, &agent.beat.instance);
            }
        }
        book.has_unsaved_stages |= has_changed;
    }

    fn progress(&self, book: &Book, stage: &Stage, now: UnixNano) -> StageProgress {
        let mut progress = StageProgress {
            stage: stage.clone(),
            matching: 0,
            not_accepting: 0,
            chosen: 0,
            running: 0,
            trying: 0,
            percent_min: None,
        };
        for agent in book.known.values().filter(|agent| self.state(agent, now) != AgentState::Gone) {
            let beat = &agent.beat;
            if beat.pushed_version == stage.version {
                progress.trying += usize::from(beat.is_trial);
                progress.running += usize::from(!beat.is_trial);
            }
            if !stage.selects(&beat.labels) {
                continue;
            }
            progress.matching += 1;
            if !beat.accepts_configuration {
                progress.not_accepting += 1;
                continue;
            }
            progress.chosen += usize::from(stage.reaches(&beat.agent_id));
            let reached_by = (crate::stages::bucket(&beat.agent_id) + 1) as f64 / 100.0;
            progress.percent_min =
                Some(progress.percent_min.map_or(reached_by, |least: f64| least.min(reached_by)));
        }
        progress
    }

    fn entry(&self, agent: &Known, stages: &Stages, now: UnixNano) -> AgentEntry {
        let target = stages.target(&agent.beat).filter(|_| agent.beat.accepts_configuration);
        AgentEntry {
            beat: agent.beat.clone(),
            last_seen: agent.last_seen,
            first_seen: agent.first_seen,
            state: self.state(agent, now),
            target_version: target.map_or(0, |stage| stage.version),
        }
    }

    fn state(&self, agent: &Known, now: UnixNano) -> AgentState {
        let silence = now.since(agent.last_seen.max(self.opened));
        let starts = agent.starts.iter().filter(|start| now.since(**start) < FLAP_WINDOW).count();
        let told =
            i64::try_from(agent.beat.interval_millis).unwrap_or(i64::MAX).saturating_mul(SECOND / 1000);
        let told = if told == 0 { HEARTBEAT_SECONDS as i64 * SECOND } else { told };
        let interval = told.clamp(*INTERVAL.start(), *INTERVAL.end());
        match silence {
            _ if agent.beat.is_leaving => AgentState::Gone,
            silence if silence >= GONE_BEATS * interval => AgentState::Gone,
            silence if silence >= LATE_BEATS * interval => AgentState::Late,
            _ if starts >= FLAP_STARTS => AgentState::Flapping,
            _ => AgentState::Up,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(beat: &Heartbeat, now: UnixNano) -> Self {
        Self {
            beat: beat.clone(),
            first_seen: now,
            last_seen: now,
            starts: Vec::new(),
            handed: 0,
            config: None,
        }
    }
}

fn unknown<'a>(agent: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    match model::text::nearest(agent, names) {
        Some(near) => format!("there is no agent `{agent}`, did you mean `{near}`?"),
        None => format!("there is no agent `{agent}`: `silmari agents` lists them"),
    }
}

/// Cuts what an agent may send without end.
fn bound(beat: &mut Heartbeat) {
    let cut = |text: &mut String| text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    for text in [&mut beat.agent_id, &mut beat.instance, &mut beat.version, &mut beat.config_version] {
        cut(text);
    }
    for error in [&mut beat.config_error, &mut beat.refused_error].into_iter().flatten() {
        cut(error);
    }
    if let Some(text) = &mut beat.config_text {
        text.truncate(text.floor_char_boundary(CONFIG_TEXT_BYTES_MAX));
    }
    let fits = |text: &str| text.len() <= TEXT_BYTES_MAX;
    let labels = std::mem::take(&mut beat.labels).into_iter();
    beat.labels = labels.filter(|(key, value)| fits(key) && fits(value)).take(LABELS_MAX).collect();
    let dropped = std::mem::take(&mut beat.dropped).into_iter();
    beat.dropped = dropped.filter(|(reason, _)| fits(reason)).take(LABELS_MAX).collect();
}
