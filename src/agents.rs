//! `silmari agents`: every agent, how it does, how far it is behind.

use std::fmt::Write as _;

use model::time::SECOND;
use query_api::{AgentRow, AgentsAnswer};

use crate::cli::AgentsArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::ServerArgs;

pub(crate) async fn run(server: &ServerArgs, arguments: AgentsArgs) -> Result<(), Failure> {
    let answer = server.client().agents().await?;
    if arguments.json {
        return output::json(&answer);
    }
    output::text(&table(&answer))
}

fn table(answer: &AgentsAnswer) -> String {
    if answer.agents.is_empty() {
        return "no agent was heard of: start one with `silmari-agent run`, its [collector] endpoint this server\n"
            .to_owned();
    }
    let mut out = format!(
        "{:<9} {:<24} {:>9} {:>11} {:>11} {:>12} {:>9}  {:<9} {:<16}  LABELS\n",
        "STATE", "AGENT", "SEEN", "LAG BYTES", "SPOOL BYTES", "SENT", "DROPPED", "VERSION", "CONFIG"
    );
    for agent in &answer.agents {
        line(&mut out, agent, answer.time.since(agent.last_seen) / SECOND);
    }
    out
}

fn line(out: &mut String, agent: &AgentRow, silent_seconds: i64) {
    let labels: Vec<String> =
        agent.labels.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value))).collect();
    let seen = match silent_seconds {
        seconds @ ..120 => format!("{seconds}s ago"),
        seconds => format!("{}m ago", seconds / 60),
    };
    writeln!(
        out,
        "{:<9} {:<24} {seen:>9} {:>11} {:>11} {:>12} {:>9}  {:<9} {:<16}  {}",
        agent.state.name(),
        shown(&agent.instance),
        agent.lag_bytes,
        agent.spool_bytes,
        agent.sent_records,
        agent.dropped_records,
        shown(&agent.version),
        shown(&agent.config_version),
        labels.join(" "),
    )
    .unwrap_or_default();
    if let Some(error) = &agent.config_error {
        writeln!(out, "          refused a configuration: {}", shown(error)).unwrap_or_default();
    }
}

/// Text from an agent for a terminal: control characters are shown, not executed.
fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use model::UnixNano;
    use query_api::AgentHealth;

    use super::*;

    #[test]
    fn an_agent_is_a_line_and_cannot_write_to_the_terminal() {
        let agent = AgentRow {
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
        };
        let text = table(&AgentsAnswer { time: UnixNano(47 * SECOND), agents: vec![agent] });
        assert!(
            text.contains("late") && text.contains("42s ago") && text.contains("service=billing"),
            "{text}"
        );
        assert!(text.contains("a.toml:1:1: no") && !text.contains('\x1b'), "{text}");
    }
}
