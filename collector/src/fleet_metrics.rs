//! What is known of agents and service instances, as metrics that rules can use: a series each, that goes on when who it
//! is about has fallen silent.

use std::collections::BTreeMap;

use model::families::{Families, Kind};
use model::time::SECOND;

use crate::agents::{AgentState, Agents};
use crate::instances::{InstanceState, Instances};

/// Appends what is known of agents.
pub(crate) fn write(agents: &Agents, families: &mut Families) {
    let list = agents.list();
    let now = agents.now();
    let family = families.add(Kind::Gauge, "silmari_agents", "Agents by state.");
    for state in AgentState::ALL {
        let count = list.iter().filter(|agent| agent.state == state).count();
        family.sample([("state", state.name())], count as f64);
    }
    type Pick = fn(&crate::AgentEntry) -> f64;
    let picks: [(&str, Kind, &str, Pick); 7] = [
        ("silmari_agent_up", Kind::Gauge, "Whether an agent was heard of within 30 s.", |agent| {
            f64::from(u8::from(matches!(agent.state, AgentState::Up | AgentState::Flapping)))
        }),
        (
            "silmari_agent_flapping",
            Kind::Gauge,
            "Whether an agent started three times within 10 minutes.",
            |agent| f64::from(u8::from(agent.state == AgentState::Flapping)),
        ),
        (
            "silmari_agent_stopped",
            Kind::Gauge,
            "Whether an agent said goodbye: it was asked to end.",
            |agent| f64::from(u8::from(agent.beat.is_leaving)),
        ),
        ("silmari_agent_lag_bytes", Kind::Gauge, "Bytes an agent has read or found and not sent.", |agent| {
            agent.beat.lag_bytes as f64
        }),
        ("silmari_agent_spool_bytes", Kind::Gauge, "Bytes in an agent's spool.", |agent| {
            agent.beat.spool_bytes as f64
        }),
        (
            "silmari_agent_config_refused",
            Kind::Gauge,
            "Whether an agent gave up the configuration that it should use.",
            |agent| {
                let has_error = agent.beat.config_error.is_some();
                f64::from(u8::from(has_error || agent.beat.refused_version > agent.beat.pushed_version))
            },
        ),
        (
            "silmari_agent_sent_records_total",
            Kind::Counter,
            "Records an agent sent since its start.",
            |agent| agent.beat.sent_records as f64,
        ),
    ];
    for (name, kind, help, pick) in picks {
        let family = families.add(kind, name, help);
        for agent in &list {
            family.sample(labels(agent), pick(agent));
        }
    }
    let help = "Seconds since an agent was heard of.";
    let family = families.add(Kind::Gauge, "silmari_agent_last_seen_seconds", help);
    for agent in &list {
        family.sample(labels(agent), (now.since(agent.last_seen) / SECOND) as f64);
    }
    let help = "Records an agent dropped since its start, by reason.";
    let family = families.add(Kind::Counter, "silmari_agent_dropped_records_total", help);
    for agent in &list {
        for (reason, count) in &agent.beat.dropped {
            let [id, instance] = labels(agent);
            family.sample([id, instance, ("reason", reason)], *count as f64);
        }
    }
}

fn labels(agent: &crate::AgentEntry) -> [(&str, &str); 2] {
    [("agent_id", &agent.beat.agent_id), ("instance", &agent.beat.instance)]
}

/// Appends what is known of the instances of services.
pub(crate) fn write_instances(instances: &Instances, families: &mut Families) {
    let list = instances.list();
    let help = "Whether telemetry of a service instance keeps coming.";
    let family = families.add(Kind::Gauge, "silmari_instance_up", help);
    let mut by_service: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for entry in &list {
        let is_up = matches!(entry.state, InstanceState::Up | InstanceState::Flapping);
        let labels = [("service", &*entry.service), ("instance", &*entry.instance), ("host", &*entry.host)];
        family.sample(labels, f64::from(u8::from(is_up)));
        by_service.entry(&entry.service).or_default()[entry.state as usize] += 1;
    }
    let family = families.add(Kind::Gauge, "silmari_service_instances", "Instances of a service by state.");
    for (service, counts) in &by_service {
        for state in InstanceState::ALL {
            let count = counts[state as usize];
            family.sample([("service", *service), ("state", state.name())], count as f64);
        }
    }
    let help = "Whether telemetry of any instance of a service keeps coming.";
    let family = families.add(Kind::Gauge, "silmari_service_up", help);
    for service in instances.services() {
        let is_up = matches!(service.state, InstanceState::Up | InstanceState::Flapping);
        family.sample([("service", &service.service)], f64::from(u8::from(is_up)));
    }
    let help = "Whether instances of a service start and end again and again.";
    let family = families.add(Kind::Gauge, "silmari_service_flapping", help);
    for service in instances.services() {
        let is_flapping = service.state == InstanceState::Flapping;
        family.sample([("service", &service.service)], f64::from(u8::from(is_flapping)));
    }
}
