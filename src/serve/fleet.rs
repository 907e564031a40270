//! From what the collector knows of agents, stages and instances to the query API's answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use collector::{
    AgentEntry, AgentState, Collector, InstanceEntry, InstanceState, StageFailure, StageProgress,
    StageRequest, StageState,
};
use model::{Clock, UnixNano};
use query::fleet::{Fleet, FleetError};
use query_api::{
    AgentConfigAnswer, AgentHealth, AgentRow, AgentsAnswer, InventoryAnswer, InventoryInstance,
    InventoryService, PushRequest, RollbackRequest, StageHealth, StageRow, StagesAnswer,
};

/// The collector of this process.
pub(super) struct OwnFleet {
    pub(super) collector: Arc<Collector>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Fleet for OwnFleet {
    fn agents(&self) -> AgentsAnswer {
        let mut rows: Vec<AgentRow> = self.collector.agents().list().into_iter().map(row).collect();
        rows.sort_by(|one, other| (one.state, &one.instance).cmp(&(other.state, &other.instance)));
        AgentsAnswer { time: self.clock.now(), agents: rows }
    }

    fn inventory(&self) -> InventoryAnswer {
        let mut instances: BTreeMap<String, Vec<InventoryInstance>> = BTreeMap::new();
        for entry in self.collector.instances().list() {
            instances.entry(entry.service.clone()).or_default().push(instance(entry));
        }
        let services = self.collector.instances().services().into_iter().map(|service| {
            let mut instances = instances.remove(&service.service).unwrap_or_default();
            instances.sort_by(|one, other| (one.state, &one.instance).cmp(&(other.state, &other.instance)));
            InventoryService { state: health(service.state), service: service.service, instances }
        });
        InventoryAnswer { time: self.clock.now(), services: services.collect() }
    }

    fn stages(&self) -> StagesAnswer {
        let stages = self.collector.agents().stages().into_iter().map(stage_row).collect();
        StagesAnswer { time: self.clock.now(), stages }
    }

    fn push(&self, request: PushRequest) -> Result<StageRow, FleetError> {
        let name = if request.name.is_empty() { "pushed" } else { &request.name };
        agent::config::check_pushed(name, &request.text)
            .map_err(|error| FleetError::Wrong(error.to_string()))?;
        let wanted = StageRequest {
            name: request.name,
            text: request.text,
            select: request.select,
            percent: request.percent,
        };
        self.collector.agents().stage(wanted, request.dry_run).map(stage_row).map_err(failed)
    }

    fn rollback(&self, request: RollbackRequest) -> Result<StageRow, FleetError> {
        self.collector.agents().withdraw(request.version).map(stage_row).map_err(failed)
    }

    fn config(&self, agent: &str) -> Result<AgentConfigAnswer, FleetError> {
        let found = self.collector.agents().config(agent).map_err(FleetError::Unknown)?;
        Ok(AgentConfigAnswer { agent: row(found.entry), text: found.text, is_current: found.is_current })
    }
}

fn failed(failure: StageFailure) -> FleetError {
    match failure {
        StageFailure::Wrong(error) => FleetError::Wrong(error.to_string()),
        StageFailure::Disk(ref error) => FleetError::Failed(format!("{failure}: {error}")),
    }
}

fn row(entry: AgentEntry) -> AgentRow {
    let beat = entry.beat;
    AgentRow {
        agent_id: beat.agent_id,
        instance: beat.instance,
        state: match entry.state {
            AgentState::Up => AgentHealth::Up,
            AgentState::Late => AgentHealth::Late,
            AgentState::Gone => AgentHealth::Gone,
            AgentState::Flapping => AgentHealth::Flapping,
        },
        version: beat.version,
        config_version: beat.config_version,
        config_error: beat.config_error,
        labels: beat.labels,
        started: UnixNano(beat.start_unix_nano),
        last_seen: entry.last_seen,
        lag_bytes: beat.lag_bytes,
        spool_bytes: beat.spool_bytes,
        sent_records: beat.sent_records,
        dropped_records: beat.dropped_records,
        dropped: beat.dropped,
        accepts_configuration: beat.accepts_configuration,
        pushed_version: beat.pushed_version,
        is_trial: beat.is_trial,
        target_version: entry.target_version,
        refused_version: beat.refused_version,
        refused_error: beat.refused_error,
    }
}

fn stage_row(progress: StageProgress) -> StageRow {
    let stage = progress.stage;
    StageRow {
        version: stage.version,
        name: stage.name,
        select: stage.select,
        percent: stage.percent,
        staged_at: stage.staged_at,
        state: match stage.state {
            StageState::Live => StageHealth::Live,
            StageState::Stopped => StageHealth::Stopped,
            StageState::Withdrawn => StageHealth::Withdrawn,
        },
        reason: stage.reason,
        matching: progress.matching,
        not_accepting: progress.not_accepting,
        chosen: progress.chosen,
        running: progress.running,
        trying: progress.trying,
        refused_by: stage.refused_by,
        percent_min: progress.percent_min,
        text: stage.text,
    }
}

fn instance(entry: InstanceEntry) -> InventoryInstance {
    InventoryInstance {
        instance: entry.instance,
        host: entry.host,
        state: health(entry.state),
        signals: entry.signals,
        first_seen: entry.first_seen,
        last_seen: entry.last_seen,
    }
}

fn health(state: InstanceState) -> AgentHealth {
    match state {
        InstanceState::Up => AgentHealth::Up,
        InstanceState::Flapping => AgentHealth::Flapping,
        InstanceState::Late => AgentHealth::Late,
        InstanceState::Gone => AgentHealth::Gone,
    }
}
