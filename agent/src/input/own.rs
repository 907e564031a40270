//! The agent's own metrics, sent like those of any service: `service.name` is `silmari-agent`.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::intake::{Incoming, Intake};
use crate::config::OwnMetricsSettings;
use crate::status::metrics::families;

const SERVICE: &str = "silmari-agent";

/// Sends until `stop`.
pub(crate) async fn run(settings: OwnMetricsSettings, intake: Intake, stop: CancellationToken) {
    let mut tick = tokio::time::interval(settings.interval.max(Duration::from_millis(100)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let status = intake.shared.summary();
        let families = families(&status);
        let id = [("service.instance.id", status.agent_id.as_str())];
        let resource: Vec<(&str, &str)> = intake.resource_of(SERVICE).chain(id).collect();
        let request = families.request(&resource, status.started, intake.shared.clock.now());
        let count = families.all().len() as u64;
        let put = intake.put(Incoming::metrics(&request, count));
        if let Err(error) = put {
            tracing::warn!(%error, "own metrics found no room in the spool");
        }
    }
}
