//! Agents and stages as text.

use std::fmt::Write as _;

use model::UnixNano;
use model::time::SECOND;
use query_api::{AgentConfigAnswer, AgentRow, AgentsAnswer, StageHealth, StageRow, StagesAnswer};

/// The table of agents.
pub(super) fn agents(answer: &AgentsAnswer) -> String {
    if answer.agents.is_empty() {
        return "no agent was heard of: start one with `silmari-agent run`, its [collector] endpoint this server\n"
            .to_owned();
    }
    let mut out = format!(
        "{:<9} {:<24} {:>9} {:>11} {:>11} {:>12} {:>9}  {:<9} {:<16} {:<10} LABELS\n",
        "STATE",
        "AGENT",
        "SEEN",
        "LAG BYTES",
        "SPOOL BYTES",
        "SENT",
        "DROPPED",
        "VERSION",
        "CONFIG",
        "PUSHED"
    );
    for agent in &answer.agents {
        line(&mut out, agent, &ago(answer.time, agent.last_seen));
    }
    out
}

fn line(out: &mut String, agent: &AgentRow, seen: &str) {
    writeln!(
        out,
        "{:<9} {:<24} {seen:>9} {:>11} {:>11} {:>12} {:>9}  {:<9} {:<16} {:<10} {}",
        agent.state.name(),
        shown(&agent.instance),
        agent.lag_bytes,
        agent.spool_bytes,
        agent.sent_records,
        agent.dropped_records,
        shown(&agent.version),
        shown(&agent.config_version),
        pushed_version(agent),
        labels(&agent.labels),
    )
    .unwrap_or_default();
    if !agent.dropped.is_empty() {
        let reasons = agent.dropped.iter().map(|(reason, count)| format!("{} {count}", shown(reason)));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        writeln!(out, "          dropped: {reasons}").unwrap_or_default();
    }
    if let Some(error) = &agent.config_error {
        writeln!(out, "          refused its own newer files: {}", shown(error)).unwrap_or_default();
    }
    if let (Some(error), 1..) = (&agent.refused_error, agent.refused_version) {
        let version = agent.refused_version;
        writeln!(out, "          gave up pushed version {version}: {}", shown(error)).unwrap_or_default();
    }
}

/// `v3`, `v3 trial`, `v3 → v4`, `own` for its own files, `no` when it takes none.
fn pushed_version(agent: &AgentRow) -> String {
    let name = |version: u64| if version == 0 { "own".to_owned() } else { format!("v{version}") };
    match agent {
        AgentRow { accepts_configuration: false, .. } => "no".to_owned(),
        AgentRow { pushed_version, is_trial: true, .. } => format!("{} trial", name(*pushed_version)),
        AgentRow { pushed_version, target_version, refused_version, .. }
            if target_version != pushed_version && target_version != refused_version =>
        {
            format!("{} → {}", name(*pushed_version), name(*target_version))
        }
        AgentRow { pushed_version, .. } => name(*pushed_version),
    }
}

/// What was handed out, or would be.
pub(super) fn pushed(stage: &StageRow, is_dry_run: bool) -> String {
    let verb = if is_dry_run { "would be" } else { "is" };
    let mut out = format!(
        "version {} ({}) {verb} handed out to {} of {} agents {}\n",
        stage.version,
        shown(&stage.name),
        stage.chosen,
        stage.matching,
        select(stage)
    );
    if stage.not_accepting > 0 {
        let count = stage.not_accepting;
        writeln!(out, "  {count} of them take none: [central] accept = true in their own configuration")
            .unwrap_or_default();
    }
    if let (0, Some(percent)) = (stage.chosen, stage.percent_min) {
        writeln!(out, "  --percent {percent} would reach the first").unwrap_or_default();
    }
    out
}

/// All stages.
pub(super) fn stages(answer: &StagesAnswer) -> String {
    if answer.stages.is_empty() {
        return "nothing is handed out: `silmari agents push FILE --select KEY=VALUE --percent N`\n"
            .to_owned();
    }
    let mut out = format!(
        "{:<8} {:<10} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}  {:<20} SELECT\n",
        "VERSION", "STATE", "STAGED", "PERCENT", "CHOSEN", "USE IT", "TRY IT", "GAVE UP", "FILE"
    );
    for stage in &answer.stages {
        writeln!(
            out,
            "{:<8} {:<10} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8}  {:<20} {}",
            stage.version,
            stage.state.name(),
            ago(answer.time, stage.staged_at),
            stage.percent,
            stage.chosen,
            stage.running,
            stage.trying,
            stage.refused_by.len(),
            shown(&stage.name),
            select(stage)
        )
        .unwrap_or_default();
        if let Some(reason) = &stage.reason {
            writeln!(out, "         {}: {}", stage.state.name(), shown(reason)).unwrap_or_default();
        }
    }
    out
}

/// How far one stage got.
pub(super) fn stage(stage: &StageRow) -> String {
    format!(
        "version {}: {}, {} of {} chosen agents use it, {} are trying it, {} gave it up\n",
        stage.version,
        stage.state.name(),
        stage.running,
        stage.chosen,
        stage.trying,
        stage.refused_by.len()
    )
}

/// What was taken back.
pub(super) fn withdrawn(stage: &StageRow) -> String {
    debug_assert_eq!(stage.state, StageHealth::Withdrawn);
    format!(
        "version {} ({}) is taken back: agents {} return to the one before, or to their own files\n",
        stage.version,
        shown(&stage.name),
        select(stage)
    )
}

/// What an agent runs with.
pub(super) fn config(answer: &AgentConfigAnswer) -> String {
    let agent = &answer.agent;
    let mut out = format!(
        "# {} ({}), configuration {}, pushed {}\n",
        shown(&agent.instance),
        shown(&agent.agent_id),
        shown(&agent.config_version),
        pushed_version(agent)
    );
    match &answer.text {
        None => out.push_str("# it has not told what it runs with: it is asked with its next heartbeat\n"),
        Some(text) => {
            if !answer.is_current {
                out.push_str("# this is older than what it runs with now\n");
            }
            for line in text.lines() {
                out.push_str(&shown(line));
                out.push('\n');
            }
        }
    }
    out
}

fn select(stage: &StageRow) -> String {
    if stage.select.is_empty() { "(all)".to_owned() } else { labels(&stage.select) }
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let pairs = labels.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// `12s ago`, `5m ago`, `3h ago`.
pub(crate) fn ago(now: UnixNano, then: UnixNano) -> String {
    match now.since(then) / SECOND {
        seconds @ ..120 => format!("{seconds}s ago"),
        seconds @ ..7200 => format!("{}m ago", seconds / 60),
        seconds @ ..172_800 => format!("{}h ago", seconds / 3600),
        seconds => format!("{}d ago", seconds / 86_400),
    }
}

/// Text from an agent for a terminal: control characters are shown, not executed.
pub(crate) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use query_api::AgentHealth;

    use super::*;

    fn agent() -> AgentRow {
        AgentRow {
            agent_id: "id".to_owned(),
            instance: "web-1\x1b[31m".to_owned(),
            state: AgentHealth::Late,
            version: "0.1.0".to_owned(),
            config_version: "abc".to_owned(),
            config_error: Some("a.toml:1:1: no".to_owned()),
            labels: [("service".to_owned(), "billing".to_owned())].into(),
            started: UnixNano(0),
            last_seen: UnixNano(5 * SECOND),
            lag_bytes: 12,
            spool_bytes: 0,
            sent_records: 7,
            dropped_records: 1,
            dropped: [("spool_full".to_owned(), 1)].into(),
            accepts_configuration: true,
            pushed_version: 3,
            is_trial: false,
            target_version: 4,
            refused_version: 2,
            refused_error: Some("b.toml:2:1: no\x07".to_owned()),
        }
    }

    #[test]
    fn an_agent_is_a_line_and_cannot_write_to_the_terminal() {
        let text = agents(&AgentsAnswer { time: UnixNano(47 * SECOND), agents: vec![agent()] });
        for part in
            ["late", "42s ago", "service=billing", "v3 → v4", "dropped: spool_full 1", "a.toml:1:1: no"]
        {
            assert!(text.contains(part), "`{part}` is missing in {text}");
        }
        assert!(text.contains("gave up pushed version 2: b.toml:2:1: no\\u{7}"), "{text}");
        assert!(!text.contains(['\x1b', '\x07']), "{text}");
    }

    #[test]
    fn where_an_agent_stands_with_what_is_handed_out_is_a_word() {
        let check = |agent: AgentRow, expected: &str| assert_eq!(pushed_version(&agent), expected);
        check(AgentRow { accepts_configuration: false, ..agent() }, "no");
        check(AgentRow { is_trial: true, ..agent() }, "v3 trial");
        check(AgentRow { refused_version: 4, ..agent() }, "v3");
        check(AgentRow { pushed_version: 0, target_version: 0, ..agent() }, "own");
    }

    #[test]
    fn a_push_that_reaches_nobody_says_what_would() {
        let stage = StageRow {
            version: 4,
            name: "billing.toml".to_owned(),
            select: [("service".to_owned(), "billing".to_owned())].into(),
            percent: 1.0,
            staged_at: UnixNano(0),
            state: StageHealth::Live,
            reason: None,
            matching: 3,
            not_accepting: 1,
            chosen: 0,
            running: 0,
            trying: 0,
            refused_by: std::collections::BTreeMap::new(),
            percent_min: Some(37.12),
            text: String::new(),
        };
        let text = pushed(&stage, false);
        for part in ["to 0 of 3 agents service=billing", "1 of them take none", "--percent 37.12"] {
            assert!(text.contains(part), "`{part}` is missing in {text}");
        }
    }
}
