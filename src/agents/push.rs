//! `silmari agents push`: checks a configuration, hands it out, and waits for its outcome when asked to.

use std::collections::BTreeMap;
use std::time::Duration;

use query_api::{Client, PushRequest, StageHealth, StageRow};
use tokio::time::Instant;

use super::{PushArgs, show};
use crate::exit::Failure;
use crate::output;

/// How often the stage is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(client: &Client, arguments: &PushArgs, is_json: bool) -> Result<(), Failure> {
    let file = arguments.file.display().to_string();
    let text = std::fs::read_to_string(&arguments.file)
        .map_err(|error| Failure::usage(format!("{file}: {error}")))?;
    agent::config::check_pushed(&file, &text).map_err(|error| Failure::usage(error.to_string()))?;
    let name = arguments.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let request = PushRequest {
        name: name.unwrap_or(file),
        text,
        select: selected(&arguments.select)?,
        percent: arguments.percent,
        dry_run: arguments.dry_run,
    };
    let mut stage = client.push_agents(&request).await?;
    if !is_json {
        output::text(&show::pushed(&stage, arguments.dry_run))?;
    }
    if let Some(wait) = arguments.wait.filter(|_| !arguments.dry_run) {
        stage = settled(client, stage.version, wait).await?;
        if !is_json {
            output::text(&show::stage(&stage))?;
        }
    }
    if is_json {
        output::json(&stage)?;
    }
    match stage.state {
        StageHealth::Live => Ok(()),
        _ => Err(Failure::runtime(format!(
            "version {} is {}: {}",
            stage.version,
            stage.state.name(),
            show::shown(stage.reason.as_deref().unwrap_or_default())
        ))),
    }
}

fn selected(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("--select {text}: write KEY=VALUE, as in service=billing"))),
    };
    pairs.iter().map(pair).collect()
}

/// Waits until every chosen agent uses the stage, or it is stopped.
async fn settled(client: &Client, version: u64, wait: Duration) -> Result<StageRow, Failure> {
    let end = Instant::now() + wait;
    loop {
        let stages = client.agent_stages().await?.stages;
        let stage = stages.into_iter().find(|stage| stage.version == version);
        let stage = stage.ok_or_else(|| Failure::runtime(format!("version {version} is no longer known")))?;
        let is_done = stage.running >= stage.chosen && stage.trying == 0;
        if is_done || stage.state != StageHealth::Live {
            return Ok(stage);
        }
        if Instant::now() >= end {
            return Err(Failure::runtime(format!(
                "{} of {} chosen agents use version {version} after {}, {} are trying it; it is handed out further",
                stage.running,
                stage.chosen,
                humantime(wait),
                stage.trying
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn humantime(wait: Duration) -> String {
    model::time::duration_text(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        let pairs = ["service=billing".to_owned(), "zone=a=b".to_owned()];
        let expected = [("service", "billing"), ("zone", "a=b")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(selected(&pairs).ok(), Some(expected.into()));
        assert!(selected(&["service".to_owned()]).is_err() && selected(&["=x".to_owned()]).is_err());
    }
}
