//! `silmari inventory`: services and their instances, as their telemetry shows them.

use std::fmt::Write as _;

use clap::Args;
use query_api::{AgentHealth, InventoryAnswer};

use crate::agents::{ago, shown};
use crate::exit::Failure;
use crate::output;
use crate::remote::ServerArgs;

/// Arguments of `inventory`.
#[derive(Args, Debug)]
pub(crate) struct InventoryArgs {
    /// Only services and instances that are not up
    #[arg(long)]
    down: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(server: &ServerArgs, arguments: InventoryArgs) -> Result<(), Failure> {
    let mut answer = server.client()?.inventory().await?;
    if arguments.down {
        for service in &mut answer.services {
            service.instances.retain(|instance| instance.state != AgentHealth::Up);
        }
        answer.services.retain(|service| service.state != AgentHealth::Up || !service.instances.is_empty());
    }
    if arguments.json {
        return output::json(&answer);
    }
    output::text(&table(&answer))
}

fn table(answer: &InventoryAnswer) -> String {
    let mut out = String::new();
    for service in &answer.services {
        let count = service.instances.len();
        let plural = if count == 1 { "" } else { "s" };
        writeln!(out, "{:<9} {}  {count} instance{plural}", service.state.name(), shown(&service.service))
            .unwrap_or_default();
        for instance in &service.instances {
            let signals = instance.signals.iter().map(|signal| signal.name()).collect::<Vec<_>>().join(" ");
            writeln!(
                out,
                "  {:<9} {:<38} {:<20} {:>9}  {signals}",
                instance.state.name(),
                shown(&instance.instance),
                shown(&instance.host),
                ago(answer.time, instance.last_seen),
            )
            .unwrap_or_default();
        }
    }
    if out.is_empty() {
        out.push_str("no instance of a service to show\n");
    }
    out
}
