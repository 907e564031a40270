//! Metrics of this host, and of every service on it: which one eats the machine.
//!
//! Names follow OpenTelemetry's semantic conventions for `system.*` and `process.*`. A process belongs to
//! the service that `OTEL_SERVICE_NAME` of its environment names, else to its systemd unit, else to its
//! program. Memory, processor time, I/O and open files are summed up per service; `process.restarts` counts how
//! often its oldest process was replaced. What this user may not see of others' processes, I/O and open files, is left out and
//! not 0. `container.*` is what its control group used and allows, and how often it was throttled or killed.
//!
//! Bounds: the `services` that use most are told apart, the others are the service `other`.

mod cgroups;
mod processes;
mod system;
#[cfg(test)]
mod tests;

use model::UnixNano;
use tokio_util::sync::CancellationToken;

use self::cgroups::Limits;
use self::processes::{Service, Services};
use super::intake::{Incoming, Intake};
use super::points::{Head, Kind, Metrics};
use crate::config::HostSettings;

/// Looks until `stop`.
pub(crate) async fn run(settings: HostSettings, intake: Intake, stop: CancellationToken) {
    let mut tick = tokio::time::interval(settings.interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let start = intake.shared.clock.now();
    let mut services = Services::default();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        let (settings, intake) = (settings.clone(), intake.clone());
        let mut known = std::mem::take(&mut services);
        let looking = tokio::task::spawn_blocking(move || {
            look(&settings, &intake, &mut known, start);
            known
        });
        match looking.await {
            Ok(known) => services = known,
            Err(error) => tracing::error!(%error, "cannot look at the host"),
        }
    }
}

/// One look: a request for the host, one for its services.
fn look(settings: &HostSettings, intake: &Intake, services: &mut Services, start: UnixNano) {
    let now = intake.shared.clock.now();
    let resource = intake.resource.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut host = Metrics::new(resource, start, now);
    system::write(&settings.proc, &mut host);
    spool(intake, host);
    services.update(&settings.proc, &settings.cgroup);
    for (name, service) in services.top(settings.services) {
        let mut metrics = Metrics::new(intake.resource_of(&name), start, now);
        write_service(&mut metrics, &service);
        spool(intake, metrics);
    }
}

fn spool(intake: &Intake, metrics: Metrics) {
    let count = metrics.count();
    if count == 0 {
        return;
    }
    let request = metrics.finish();
    if let Err(error) = intake.put(Incoming::metrics(&request, count)) {
        tracing::warn!(%error, "host metrics found no room in the spool");
    }
}

fn write_service(metrics: &mut Metrics, service: &Service) {
    let pairs = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let modes = [
        (pairs("cpu.mode", "user"), service.user_seconds),
        (pairs("cpu.mode", "system"), service.system_seconds),
    ];
    let points = modes.iter().map(|(attributes, value)| (&attributes[..], Some(*value)));
    metrics.numbers(Head::new("process.cpu.time", "s"), Kind::Counter, points);
    metrics.number(Head::new("process.memory.usage", "By"), Kind::Gauge, service.memory_bytes as f64);
    if service.has_io {
        write_io(metrics, "process.disk.io", service.read_bytes, service.written_bytes);
    }
    if let Some(open) = service.open_files {
        let head = Head::new("process.unix.file_descriptor.count", "{file_descriptor}");
        metrics.number(head, Kind::Gauge, open as f64);
    }
    for (name, unit, kind, value) in [
        ("process.thread.count", "{thread}", Kind::Gauge, service.threads),
        ("process.count", "{process}", Kind::Gauge, service.processes),
        ("process.restarts", "{restart}", Kind::Counter, service.restarts),
    ] {
        metrics.number(Head::new(name, unit), kind, value as f64);
    }
    if let Some(limits) = &service.limits {
        write_limits(metrics, limits);
    }
}

fn write_io(metrics: &mut Metrics, name: &str, read: u64, written: u64) {
    let direction = |name: &str| vec![("disk.io.direction".to_owned(), name.to_owned())];
    let all = [(direction("read"), read), (direction("write"), written)];
    let points = all.iter().map(|(attributes, bytes)| (&attributes[..], Some(*bytes as f64)));
    metrics.numbers(Head::new(name, "By"), Kind::Counter, points);
}

/// Names of the collector's Docker statistics: the conventions have none for throttling yet.
fn write_limits(metrics: &mut Metrics, limits: &Limits) {
    metrics.number(Head::new("container.memory.usage", "By"), Kind::Gauge, limits.memory_bytes as f64);
    if let Some(bytes) = limits.memory_limit_bytes {
        metrics.number(Head::new("container.memory.limit", "By"), Kind::Gauge, bytes as f64);
    }
    if let Some(cpus) = limits.cpu_limit {
        metrics.number(Head::new("container.cpu.limit", "{cpu}"), Kind::Gauge, cpus);
    }
    metrics.number(Head::new("container.cpu.time", "s"), Kind::Counter, limits.cpu_seconds);
    if let Some((read, written)) = limits.io {
        write_io(metrics, "container.disk.io", read, written);
    }
    for (name, unit, value) in [
        ("container.cpu.throttling_data.periods", "{period}", limits.periods as f64),
        ("container.cpu.throttling_data.throttled_periods", "{period}", limits.throttled_periods as f64),
        ("container.cpu.throttling_data.throttled_time", "s", limits.throttled_seconds),
        ("container.oom_kills", "{kill}", limits.oom_kills as f64),
    ] {
        metrics.number(Head::new(name, unit), Kind::Counter, value);
    }
}
