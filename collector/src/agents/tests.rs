//! How agents come, fall silent and go, and what is staged for them.

use std::time::Duration;

use model::ManualClock;
use model::families::Families;

use super::*;

fn beat(id: &str, start: i64) -> Heartbeat {
    Heartbeat { agent_id: id.to_owned(), start_unix_nano: start, ..Heartbeat::default() }
}

fn agents() -> (Arc<ManualClock>, Agents) {
    let clock = ManualClock::at(UnixNano(1_795_000_000 * SECOND));
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
    (clock, Agents::open(None, shared))
}

#[track_caller]
fn state(agents: &Agents, expected: AgentState) {
    assert_eq!(agents.list()[0].state, expected);
}

#[test]
fn an_agent_that_falls_silent_is_late_then_gone_then_forgotten() {
    let (clock, agents) = agents();
    agents.beat(beat("a", 1));
    for (seconds, expected) in [(29, AgentState::Up), (1, AgentState::Late), (90, AgentState::Gone)] {
        clock.advance(Duration::from_secs(seconds));
        state(&agents, expected);
    }
    clock.advance(Duration::from_secs(24 * 3600));
    assert!(agents.list().is_empty());
}

#[test]
fn one_that_says_goodbye_is_gone_at_once_and_up_when_it_comes_back() {
    let (_, agents) = agents();
    agents.beat(Heartbeat { is_leaving: true, ..beat("a", 1) });
    state(&agents, AgentState::Gone);
    agents.beat(beat("a", 2));
    state(&agents, AgentState::Up);
}

#[test]
fn one_that_starts_again_and_again_is_flapping_until_it_settles() {
    let (clock, agents) = agents();
    for start in 0..4 {
        agents.beat(beat("a", start));
        clock.advance(Duration::from_secs(10));
    }
    state(&agents, AgentState::Flapping);
    clock.advance(Duration::from_secs(600));
    agents.beat(beat("a", 3));
    state(&agents, AgentState::Up);
}

fn accepting(id: &str) -> Heartbeat {
    Heartbeat { accepts_configuration: true, config_version: "c1".to_owned(), ..beat(id, 1) }
}

fn stage_for_all(agents: &Agents, text: &str) -> u64 {
    let request = StageRequest { text: text.to_owned(), percent: 100.0, ..StageRequest::default() };
    agents.stage(request, false).expect("staged").stage.version
}

#[test]
fn an_agent_that_beats_more_slowly_is_late_later() {
    let (clock, agents) = agents();
    agents.beat(Heartbeat { interval_millis: 60_000, ..beat("a", 1) });
    clock.advance(Duration::from_secs(179));
    state(&agents, AgentState::Up);
    clock.advance(Duration::from_secs(1));
    state(&agents, AgentState::Late);
    agents.beat(Heartbeat { interval_millis: u64::MAX, ..beat("a", 1) });
    clock.advance(Duration::from_secs(3 * 3600));
    state(&agents, AgentState::Gone);
}

#[test]
fn one_that_falls_silent_while_it_tries_a_stage_stops_it_and_one_that_says_goodbye_does_not() {
    let (clock, agents) = agents();
    agents.beat(accepting("a"));
    agents.beat(accepting("b"));
    let version = stage_for_all(&agents, "x");
    for id in ["a", "b"] {
        assert_eq!(agents.beat(accepting(id)).configuration.map(|found| found.version), Some(version));
    }
    agents.beat(Heartbeat { is_leaving: true, ..accepting("b") });
    clock.advance(Duration::from_secs(119));
    assert_eq!(agents.stages()[0].stage.state, crate::StageState::Live);
    agents.beat(Heartbeat { is_leaving: true, ..accepting("b") });
    clock.advance(Duration::from_secs(10));
    let stage = &agents.stages()[0].stage;
    assert_eq!(stage.state, crate::StageState::Stopped);
    assert!(stage.reason.as_ref().is_some_and(|reason| reason.contains("fell silent")), "{stage:?}");
}

#[test]
fn agents_and_stages_outlive_the_server_and_nobody_was_silent_while_it_was_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = ManualClock::at(UnixNano(1_795_000_000 * SECOND));
    let open = || {
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        Agents::open(Some(folder.path().to_owned()), shared)
    };
    let before = open();
    before.beat(accepting("a"));
    let version = stage_for_all(&before, "x");
    before.save();
    clock.advance(Duration::from_secs(3600));
    let after = open();
    state(&after, AgentState::Up);
    assert_eq!(after.list()[0].target_version, version);
    clock.advance(Duration::from_secs(120));
    state(&after, AgentState::Gone);
    std::fs::write(folder.path().join("stages.json"), "{").expect("written");
    assert!(open().stages().is_empty() && folder.path().join("stages.json.damaged").exists());
}

#[test]
fn a_dry_run_says_how_far_it_would_reach_and_changes_nothing() {
    let (_, agents) = agents();
    agents.beat(accepting("a"));
    agents.beat(beat("b", 1));
    let request = StageRequest { text: "x".to_owned(), percent: 0.0, ..StageRequest::default() };
    let progress = agents.stage(request.clone(), true).expect("fine");
    assert_eq!((progress.matching, progress.not_accepting, progress.chosen), (2, 1, 0));
    assert!(agents.stages().is_empty());
    let percent = progress.percent_min.expect("one to reach");
    let progress = agents.stage(StageRequest { percent, ..request }, false).expect("fine");
    assert_eq!(progress.chosen, 1);
}

#[test]
fn what_an_agent_runs_with_is_asked_for_once_and_found_by_name_or_id() {
    let (_, agents) = agents();
    let named = |id: &str| Heartbeat { instance: "web".to_owned(), ..accepting(id) };
    assert!(agents.beat(named("a")).wants_config_text);
    let told = Heartbeat { config_text: Some("[files.x]".to_owned()), ..named("a") };
    assert!(!agents.beat(told).wants_config_text);
    assert!(!agents.beat(named("a")).wants_config_text);
    let found = agents.config("web").expect("the only one");
    assert_eq!((found.text.as_deref(), found.is_current), (Some("[files.x]"), true));
    assert!(agents.beat(Heartbeat { config_version: "c2".to_owned(), ..named("a") }).wants_config_text);
    assert!(!agents.config("a").expect("by id").is_current);
    agents.beat(named("b"));
    assert!(agents.config("web").is_err_and(|error| error.contains("2 agents are named `web`")));
    assert!(agents.config("wob").is_err_and(|error| error.contains("did you mean `web`?")));
}

#[test]
fn endless_texts_are_cut_and_quoted_in_the_numbers() {
    let (_, agents) = agents();
    let instance = format!("x\"{}", "y".repeat(10_000));
    agents.beat(Heartbeat { instance, ..beat("a", 1) });
    assert_eq!(agents.list()[0].beat.instance.len(), TEXT_BYTES_MAX);
    let mut families = Families::default();
    crate::fleet_metrics::write(&agents, &mut families);
    let text = families.text();
    assert!(text.contains("silmari_agents{state=\"up\"} 1\n"), "{text}");
    assert!(text.contains("silmari_agent_up{agent_id=\"a\",instance=\"x\\\"yyy"), "{text}");
}
