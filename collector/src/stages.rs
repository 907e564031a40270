//! Configurations that are handed out to agents: for whom, to how many of them, and when that is stopped.
//!
//! Owns: which configuration an agent should use. Does not own: what agents told (`agents`), whether a text is
//! right (each agent checks it whole), the file it is kept in (`keep`).
//!
//! ```text
//! stage ─► live ── an agent gives it up, or falls silent while it tries it ─► stopped: those that use it keep it,
//!            │                                                                nobody else gets it
//!            └── rollback ─► withdrawn: everybody goes back to what was staged before
//! ```
//!
//! An agent uses the newest stage that is meant for it: labels that match, and a place within the percentage.
//! Places are fixed by the agent's id ([`bucket`]), so a larger percentage adds agents and takes none away.
//!
//! Bounds: [`STAGES_MAX`] stages, the oldest go; [`REFUSALS_MAX`] refusals of one are told apart.

use std::collections::BTreeMap;

use model::UnixNano;
use model::agents::{Heartbeat, PUSHED_TEXT_BYTES_MAX, PushedConfiguration};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// Stages that are remembered.
const STAGES_MAX: usize = 64;
/// Agents whose refusals of one stage are remembered.
const REFUSALS_MAX: usize = 1000;
/// Places of agents: a hundredth of a percent each.
const BUCKETS: u64 = 10_000;

/// What became of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// It is handed out.
    Live,
    /// It is handed out no more; agents that use it keep it.
    Stopped,
    /// It was taken back.
    Withdrawn,
}

/// A configuration, and for whom it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its number, from 1.
    pub version: u64,
    /// The name of the file it came from.
    pub name: String,
    /// TOML tables.
    pub text: String,
    /// Labels that an agent must have; none is every agent.
    pub select: BTreeMap<String, String>,
    /// How many of the agents that have them, by their place, 0 to 100.
    pub percent: f64,
    /// When it was staged first.
    pub staged_at: UnixNano,
    /// What became of it.
    pub state: StageState,
    /// Why it was stopped or withdrawn.
    pub reason: Option<String>,
    /// Agents that gave it up, by id, and why.
    pub refused_by: BTreeMap<String, String>,
}

/// What is to be staged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageRequest {
    /// The name of its file.
    pub name: String,
    /// TOML tables.
    pub text: String,
    /// Labels that an agent must have.
    pub select: BTreeMap<String, String>,
    /// How many of them, 0 to 100.
    pub percent: f64,
}

/// Why nothing was staged or taken back.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum StageError {
    /// The percentage.
    #[error("{0} percent is out of range: 0 to 100")]
    Percent(f64),
    /// The text.
    #[error("the configuration has {0} bytes, {PUSHED_TEXT_BYTES_MAX} at most")]
    TooLong(usize),
    /// No such version.
    #[error("there is no stage {0} that could be taken back")]
    Unknown(u64),
    /// Nothing was staged.
    #[error("nothing is staged that could be taken back")]
    Nothing,
}

/// The place of an agent, 0 to 9999: of `percent = 10` the first 1000 are part.
pub(crate) fn bucket(agent_id: &str) -> u64 {
    xxh3_64(agent_id.as_bytes()) % BUCKETS
}

impl Stage {
    /// Whether it is meant for agents with these labels.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.select.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether the place of an agent is within the percentage.
    pub fn reaches(&self, agent_id: &str) -> bool {
        (bucket(agent_id) as f64) < self.percent * (BUCKETS / 100) as f64
    }

    fn is_for(&self, beat: &Heartbeat) -> bool {
        let is_open = match self.state {
            StageState::Live => self.reaches(&beat.agent_id),
            StageState::Stopped => beat.pushed_version == self.version,
            StageState::Withdrawn => false,
        };
        is_open && self.selects(&beat.labels) && !self.refused_by.contains_key(&beat.agent_id)
    }
}

/// All stages, oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stages {
    stages: Vec<Stage>,
    /// The highest version that was ever given out or heard of.
    version_max: u64,
}

impl Stages {
    /// All, oldest first.
    pub(crate) fn all(&self) -> &[Stage] {
        &self.stages
    }

    /// Stages a configuration; the same one for the same agents again only changes the percentage, and lets a
    /// stopped one go on.
    pub(crate) fn stage(&mut self, request: StageRequest, now: UnixNano) -> Result<u64, StageError> {
        if !(0.0..=100.0).contains(&request.percent) {
            return Err(StageError::Percent(request.percent));
        }
        if request.text.len() > PUSHED_TEXT_BYTES_MAX {
            return Err(StageError::TooLong(request.text.len()));
        }
        let last = self.stages.iter_mut().rev().find(|stage| stage.select == request.select);
        if let Some(last) = last
            && last.text == request.text
            && last.state != StageState::Withdrawn
        {
            (last.percent, last.state, last.reason) = (request.percent, StageState::Live, None);
            return Ok(last.version);
        }
        self.version_max += 1;
        let StageRequest { name, text, select, percent } = request;
        self.stages.push(Stage {
            version: self.version_max,
            name,
            text,
            select,
            percent,
            staged_at: now,
            state: StageState::Live,
            reason: None,
            refused_by: BTreeMap::new(),
        });
        if self.stages.len() > STAGES_MAX {
            let oldest = self.stages.iter().position(|stage| stage.state == StageState::Withdrawn);
            self.stages.remove(oldest.unwrap_or(0));
        }
        Ok(self.version_max)
    }

    /// Takes a stage back, the newest one unless told; its version.
    pub(crate) fn withdraw(&mut self, version: Option<u64>, reason: &str) -> Result<u64, StageError> {
        let mut open = self.stages.iter_mut().rev().filter(|stage| stage.state != StageState::Withdrawn);
        let stage = open.find(|stage| version.is_none_or(|version| version == stage.version));
        let stage = stage.ok_or(version.map_or(StageError::Nothing, StageError::Unknown))?;
        stage.state = StageState::Withdrawn;
        stage.reason = Some(reason.to_owned());
        Ok(stage.version)
    }

    /// The stage an agent should use.
    pub(crate) fn target(&self, beat: &Heartbeat) -> Option<&Stage> {
        self.stages.iter().rev().find(|stage| stage.is_for(beat))
    }

    /// Takes note of what an agent tells; whether anything changed.
    pub(crate) fn hear(&mut self, beat: &Heartbeat) -> bool {
        let before = self.version_max;
        self.version_max = before.max(beat.pushed_version).max(beat.refused_version);
        let mut has_changed = self.version_max != before;
        let refused = self.stages.iter_mut().find(|stage| stage.version == beat.refused_version);
        if let Some(stage) = refused
            && !stage.refused_by.contains_key(&beat.agent_id)
            && stage.refused_by.len() < REFUSALS_MAX
        {
            let error = beat.refused_error.clone().unwrap_or_else(|| "no reason was told".to_owned());
            stage.stop(format!("{} gave it up: {error}", beat.instance));
            stage.refused_by.insert(beat.agent_id.clone(), error);
            has_changed = true;
        }
        has_changed
    }

    /// Stops a stage because an agent that tries it fell silent; whether that changed anything.
    pub(crate) fn lost(&mut self, version: u64, instance: &str) -> bool {
        let stage = self.stages.iter_mut().find(|stage| stage.version == version);
        stage.is_some_and(|stage| stage.stop(format!("{instance} fell silent while it tried it")))
    }

    /// What an agent is answered.
    pub(crate) fn answer(&self, beat: &Heartbeat) -> Option<PushedConfiguration> {
        if !beat.accepts_configuration || beat.is_leaving {
            return None;
        }
        let (running, refused) = (beat.pushed_version, beat.refused_version);
        match self.target(beat) {
            Some(stage) if stage.version == running || stage.version == refused => None,
            Some(stage) => Some(PushedConfiguration { version: stage.version, text: stage.text.clone() }),
            // One of another store, or one long forgotten: it is not ours to take back.
            None if !self.stages.iter().any(|stage| stage.version == running) => None,
            None => Some(PushedConfiguration::default()),
        }
    }
}

impl Stage {
    fn stop(&mut self, reason: String) -> bool {
        let is_live = self.state == StageState::Live;
        if is_live {
            tracing::warn!(version = self.version, reason, "a stage is stopped");
            (self.state, self.reason) = (StageState::Stopped, Some(reason));
        }
        is_live
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(service: &str) -> BTreeMap<String, String> {
        [("service".to_owned(), service.to_owned())].into()
    }

    fn beat(id: &str) -> Heartbeat {
        Heartbeat {
            agent_id: id.to_owned(),
            instance: id.to_owned(),
            labels: labels("billing"),
            accepts_configuration: true,
            ..Heartbeat::default()
        }
    }

    fn request(text: &str, percent: f64) -> StageRequest {
        StageRequest { name: "a.toml".to_owned(), text: text.to_owned(), select: labels("billing"), percent }
    }

    fn stage(stages: &mut Stages, text: &str, percent: f64) -> u64 {
        stages.stage(request(text, percent), UnixNano(1)).expect("staged")
    }

    fn offered(stages: &Stages, beat: &Heartbeat) -> Option<u64> {
        stages.answer(beat).map(|configuration| configuration.version)
    }

    #[test]
    fn agents_get_the_newest_stage_for_their_labels_and_only_when_they_accept() {
        let mut stages = Stages::default();
        let version = stage(&mut stages, "a", 100.0);
        assert_eq!(offered(&stages, &beat("x")), Some(version));
        assert_eq!(offered(&stages, &Heartbeat { labels: labels("web"), ..beat("x") }), None);
        assert_eq!(offered(&stages, &Heartbeat { accepts_configuration: false, ..beat("x") }), None);
        assert_eq!(offered(&stages, &Heartbeat { pushed_version: version, ..beat("x") }), None);
        let newer = stage(&mut stages, "b", 100.0);
        assert_eq!(offered(&stages, &Heartbeat { pushed_version: version, ..beat("x") }), Some(newer));
    }

    #[test]
    fn a_refusal_stops_the_stage_for_all_but_those_that_use_it() {
        let mut stages = Stages::default();
        let first = stage(&mut stages, "a", 100.0);
        let second = stage(&mut stages, "b", 100.0);
        let refusing = Heartbeat {
            pushed_version: first,
            refused_version: second,
            refused_error: Some("a.toml:1:1: no".to_owned()),
            ..beat("x")
        };
        assert!(stages.hear(&refusing) && !stages.hear(&refusing), "once is enough");
        let stopped = &stages.all()[1];
        assert_eq!(stopped.state, StageState::Stopped);
        assert!(stopped.reason.as_ref().is_some_and(|reason| reason.contains("x gave it up: a.toml:1:1")));
        assert_eq!(offered(&stages, &refusing), None, "it uses what it should");
        assert_eq!(offered(&stages, &beat("fresh")), Some(first));
        assert_eq!(offered(&stages, &Heartbeat { pushed_version: second, ..beat("well") }), None);
        // The same again goes on for those who did not give it up.
        assert_eq!(stage(&mut stages, "b", 100.0), second);
        assert!(!stages.hear(&refusing), "an old refusal does not stop it again");
        assert_eq!(offered(&stages, &beat("fresh")), Some(second));
        assert_eq!(offered(&stages, &refusing), None);
    }

    #[test]
    fn one_that_falls_silent_on_trial_stops_the_stage_once() {
        let mut stages = Stages::default();
        let version = stage(&mut stages, "a", 50.0);
        assert!(stages.lost(version, "web-1") && !stages.lost(version, "web-2"));
        assert!(stages.all()[0].reason.as_ref().is_some_and(|reason| reason.contains("web-1 fell silent")));
    }

    #[test]
    fn what_is_withdrawn_is_taken_back_and_the_one_before_is_used() {
        let mut stages = Stages::default();
        let first = stage(&mut stages, "a", 100.0);
        let second = stage(&mut stages, "b", 100.0);
        let using = |version| Heartbeat { pushed_version: version, ..beat("x") };
        assert_eq!(stages.withdraw(None, "asked"), Ok(second));
        assert_eq!(offered(&stages, &using(second)), Some(first));
        assert_eq!(stages.withdraw(Some(second), "asked"), Err(StageError::Unknown(second)));
        assert_eq!(stages.withdraw(None, "asked"), Ok(first));
        assert_eq!(offered(&stages, &using(first)), Some(0), "back to the local files");
        assert_eq!(stages.withdraw(None, "asked"), Err(StageError::Nothing));
    }

    #[test]
    fn a_collector_that_lost_its_stages_leaves_agents_alone_and_never_gives_a_version_twice() {
        let mut stages = Stages::default();
        let using = Heartbeat { pushed_version: 7, ..beat("x") };
        stages.hear(&using);
        assert_eq!(offered(&stages, &using), None);
        assert_eq!(stage(&mut stages, "a", 100.0), 8);
    }

    #[test]
    fn percentages_and_texts_beyond_their_bounds_are_refused() {
        let mut stages = Stages::default();
        assert!(matches!(stages.stage(request("a", 100.1), UnixNano(1)), Err(StageError::Percent(_))));
        assert!(matches!(stages.stage(request("a", f64::NAN), UnixNano(1)), Err(StageError::Percent(_))));
        let long = "#".repeat(PUSHED_TEXT_BYTES_MAX + 1);
        assert!(matches!(stages.stage(request(&long, 1.0), UnixNano(1)), Err(StageError::TooLong(_))));
        for number in 0..200 {
            stage(&mut stages, &number.to_string(), 1.0);
        }
        assert_eq!((stages.all().len(), stages.all()[63].version), (STAGES_MAX, 200));
    }

    proptest! {
        #[test]
        fn a_larger_percentage_adds_agents_and_takes_none_away(id in "[a-f0-9-]{36}", one in 0.0..100.0_f64, more in 0.0..100.0_f64) {
            let mut stages = Stages::default();
            stage(&mut stages, "a", one);
            let reached = stages.all()[0].reaches(&id);
            stage(&mut stages, "a", (one + more).min(100.0));
            prop_assert!(!reached || stages.all()[0].reaches(&id));
            stage(&mut stages, "a", 100.0);
            prop_assert!(stages.all()[0].reaches(&id));
            stage(&mut stages, "a", 0.0);
            prop_assert!(!stages.all()[0].reaches(&id));
        }
    }

    #[test]
    fn ten_percent_of_many_agents_are_about_a_tenth() {
        let mut stages = Stages::default();
        stage(&mut stages, "a", 10.0);
        let reached = (0..10_000).filter(|id| stages.all()[0].reaches(&format!("agent-{id}"))).count();
        assert!((900..1100).contains(&reached), "{reached}");
    }
}
