//! Answers for the fleet.

use std::collections::BTreeMap;

use query_api::{AgentHealth, AgentRow, AgentsAnswer, InventoryAnswer, InventoryInstance, InventoryService};

use super::alerts::labels;
use super::{MS, now};
use crate::core::fleet::FleetAnswer;

fn agent(name: &str, state: AgentHealth, silent_seconds: i64) -> AgentRow {
    AgentRow {
        agent_id: format!("0199a1b2-{name}"),
        instance: name.to_owned(),
        state,
        version: "0.1.0".to_owned(),
        config_version: "8f3a19c2d4e5b607".to_owned(),
        config_error: None,
        labels: labels(&[("service", "billing"), ("zone", "a")]),
        started: now().plus(-86_400_000 * MS),
        last_seen: now().plus(-silent_seconds * 1000 * MS),
        lag_bytes: 0,
        spool_bytes: 0,
        sent_records: 1_204_311,
        dropped_records: 0,
        dropped: BTreeMap::new(),
        accepts_configuration: true,
        pushed_version: 3,
        is_trial: false,
        target_version: 3,
        refused_version: 0,
        refused_error: None,
    }
}

fn instance(name: &str, host: &str, state: AgentHealth, silent_seconds: i64) -> InventoryInstance {
    InventoryInstance {
        instance: name.to_owned(),
        host: host.to_owned(),
        state,
        signals: vec![model::Signal::Traces, model::Signal::Logs],
        first_seen: now().plus(-7_200_000 * MS),
        last_seen: now().plus(-silent_seconds * 1000 * MS),
    }
}

pub(crate) fn fleet() -> FleetAnswer {
    use AgentHealth::{Flapping, Gone, Late, Up};
    let refusing = AgentRow {
        target_version: 4,
        refused_version: 4,
        refused_error: Some(
            "pushed version 4:2:1: unknown key `exlude`, did you mean `exclude`? \x1b[31m".to_owned(),
        ),
        ..agent("web-3", Up, 2)
    };
    let behind = AgentRow {
        lag_bytes: 48_311_040,
        spool_bytes: 1_048_576,
        dropped_records: 412,
        dropped: [("spool_full".to_owned(), 400), ("malformed".to_owned(), 12)].into(),
        accepts_configuration: false,
        pushed_version: 0,
        target_version: 0,
        ..agent("db-1", Late, 41)
    };
    let agents = vec![
        agent("web-1", Gone, 372),
        behind,
        AgentRow { is_trial: true, pushed_version: 4, target_version: 4, ..agent("web-2", Up, 4) },
        refusing,
        agent("web-4", Flapping, 1),
    ];
    let service =
        |name: &str, state, instances| InventoryService { service: name.to_owned(), state, instances };
    let services = vec![
        service(
            "billing",
            Up,
            vec![instance("billing-7f3a", "web-1", Gone, 372), instance("billing-91be", "web-2", Up, 3)],
        ),
        service("legacy", Late, vec![instance("", "", Late, 95)]),
        service("web", Up, vec![instance("web-2", "web-2", Up, 1), instance("web-3", "web-3", Up, 2)]),
    ];
    FleetAnswer {
        agents: AgentsAnswer { time: now(), agents },
        inventory: InventoryAnswer { time: now(), services },
    }
}
