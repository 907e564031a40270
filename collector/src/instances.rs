//! Instances of services, as their telemetry shows them: who sends, who fell silent, who starts again and again.
//!
//! Owns: the list and the states. Does not own: what the telemetry says. An instance is a `service.name` with its
//! `service.instance.id`, or its `host.name` when it has none.
//!
//! ```text
//! telemetry ─► up ── silent for 3 × its usual pause, 1 min to 30 min ─► late ── 10 ×, 5 min to 2 h ─► gone ─► forgotten
//!               └── late and back 3 times within 30 min ─► flapping
//!
//! service: the best state of its instances; flapping when 3 of them began, and 2 of those fell silent, within 10 min
//! ```
//!
//! The usual pause is learnt: metrics come every minute, the logs of a quiet service every quarter of an hour. While the
//! server was down nobody was silent. What an agent tells about the processes of its host is no sign of life of a service.
//!
//! Bounds: [`INSTANCES_MAX`] instances; beyond it the one that is silent for longest goes. An instance whose service
//! has a younger one is forgotten after an hour, others after a day.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::otlp::{self, MetricView, value};
use model::time::SECOND;
use model::{Clock, Signal, UnixNano};
use serde::{Deserialize, Serialize};

use crate::keep;

/// Instances that are remembered.
const INSTANCES_MAX: usize = 20_000;
/// Resources of one request that are looked at.
const RESOURCES_MAX: usize = 512;
/// Bytes kept of a name.
const TEXT_BYTES_MAX: usize = 256;
const MINUTE: i64 = 60 * SECOND;
/// Silence after which a gone instance is forgotten that was replaced by a younger one.
const REPLACED: i64 = 60 * MINUTE;
/// Silence after which any instance is forgotten.
const FORGOTTEN: i64 = 24 * 60 * MINUTE;
/// So many returns within [`FLAP_WINDOW`] are flapping.
const FLAP_RETURNS: usize = 3;
const FLAP_WINDOW: i64 = 30 * MINUTE;
/// So many instances of a service that began within [`CHURN_WINDOW`], two of them silent again, are flapping.
const CHURN_STARTS: usize = 3;
const CHURN_WINDOW: i64 = 10 * MINUTE;

/// How an instance does; the better state first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// It sends.
    Up,
    /// It sends, but it fell silent and came back again and again.
    Flapping,
    /// It is silent for longer than usual.
    Late,
    /// It is silent for much longer than usual.
    Gone,
}

impl InstanceState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Up, Self::Flapping, Self::Late, Self::Gone];

    /// `up`, `flapping`, `late` or `gone`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Flapping => "flapping",
            Self::Late => "late",
            Self::Gone => "gone",
        }
    }
}

/// Whose telemetry a request brings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sender {
    service: String,
    instance: String,
    host: String,
}

/// One instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceEntry {
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`, or `host.name`.
    pub instance: String,
    /// `host.name`, empty when it is not told.
    pub host: String,
    /// How it does.
    pub state: InstanceState,
    /// The signals it sent.
    pub signals: Vec<Signal>,
    /// When it was first heard of.
    pub first_seen: UnixNano,
    /// When it was last heard of.
    pub last_seen: UnixNano,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// `service.name`.
    pub service: String,
    /// How it does.
    pub state: InstanceState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Known {
    first_seen: UnixNano,
    last_seen: UnixNano,
    /// Its usual pause between two requests, in nanoseconds: the longest of late ones.
    pause: i64,
    /// When it came back from being late, the last times.
    returns: Vec<UnixNano>,
    /// A bit a signal.
    signals: u8,
}

/// All instances.
#[derive(Debug)]
pub struct Instances {
    clock: Arc<dyn Clock>,
    file: Option<PathBuf>,
    /// Nobody was silent before.
    opened: UnixNano,
    known: Mutex<BTreeMap<Sender, Known>>,
}

impl Instances {
    /// The list that an earlier run left in `folder`.
    pub fn open(folder: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        let file = folder.map(|folder| folder.join("instances.json"));
        let known: Vec<(Sender, Known)> = file.as_deref().map(keep::read).unwrap_or_default();
        let opened = clock.now();
        Self { clock, file, opened, known: Mutex::new(known.into_iter().collect()) }
    }

    /// These sent something.
    pub(crate) fn heard(&self, senders: Vec<Sender>, signal: Signal) {
        let now = self.clock.now();
        let mut known = self.lock();
        for sender in senders {
            if let Some(instance) = known.get_mut(&sender) {
                instance.heard(now, self.opened, signal);
                continue;
            }
            if known.len() >= INSTANCES_MAX {
                let silent =
                    known.iter().min_by_key(|(_, known)| known.last_seen).map(|(key, _)| key.clone());
                if let Some(silent) = silent {
                    known.remove(&silent);
                }
            }
            let instance = Known {
                first_seen: now,
                last_seen: now,
                pause: 0,
                returns: Vec::new(),
                signals: 1 << signal.index(),
            };
            known.insert(sender, instance);
        }
    }

    /// Every instance, by service and name.
    pub fn list(&self) -> Vec<InstanceEntry> {
        let now = self.clock.now();
        let mut known = self.lock();
        forget(&mut known, now);
        let entry = |(sender, known): (&Sender, &Known)| InstanceEntry {
            service: sender.service.clone(),
            instance: sender.instance.clone(),
            host: sender.host.clone(),
            state: known.state(now, self.opened),
            signals: Signal::ALL
                .into_iter()
                .filter(|signal| known.signals & (1 << signal.index()) != 0)
                .collect(),
            first_seen: known.first_seen,
            last_seen: known.last_seen,
        };
        known.iter().map(entry).collect()
    }

    /// Every service by name.
    pub fn services(&self) -> Vec<ServiceEntry> {
        let now = self.clock.now();
        let mut services: BTreeMap<String, Vec<InstanceEntry>> = BTreeMap::new();
        for entry in self.list() {
            services.entry(entry.service.clone()).or_default().push(entry);
        }
        let state = |instances: &[InstanceEntry]| {
            let began = instances.iter().filter(|entry| now.since(entry.first_seen) < CHURN_WINDOW);
            let began: Vec<&InstanceEntry> = began.collect();
            let ended = began.iter().filter(|entry| entry.state >= InstanceState::Late).count();
            if began.len() >= CHURN_STARTS && ended >= 2 {
                return InstanceState::Flapping;
            }
            instances.iter().map(|entry| entry.state).min().unwrap_or(InstanceState::Gone)
        };
        services
            .into_iter()
            .map(|(service, instances)| ServiceEntry { state: state(&instances), service })
            .collect()
    }

    /// Writes the list. Blocking.
    pub fn save(&self) {
        let Some(file) = &self.file else { return };
        let known: Vec<(Sender, Known)> =
            self.lock().iter().map(|(sender, known)| (sender.clone(), known.clone())).collect();
        if let Err(error) = keep::write(file, &known) {
            tracing::error!(%error, "cannot keep what is known of service instances; trying on");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Sender, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn heard(&mut self, now: UnixNano, opened: UnixNano, signal: Signal) {
        let silence = now.since(self.last_seen.max(opened));
        if self.state(now, opened) >= InstanceState::Late {
            self.returns.retain(|at| now.since(*at) < FLAP_WINDOW);
            if self.returns.len() < FLAP_RETURNS {
                self.returns.push(now);
            }
        }
        // A pause is forgotten slowly: nine of ten parts with every second that something comes.
        if silence >= SECOND {
            self.pause = silence.max(self.pause / 10 * 9);
        }
        self.last_seen = now;
        self.signals |= 1 << signal.index();
    }

    fn state(&self, now: UnixNano, opened: UnixNano) -> InstanceState {
        let silence = now.since(self.last_seen.max(opened));
        let late = self.pause.saturating_mul(3).clamp(MINUTE, 30 * MINUTE);
        let gone = self.pause.saturating_mul(10).clamp(5 * MINUTE, 120 * MINUTE).max(2 * late);
        let returns = self.returns.iter().filter(|at| now.since(**at) < FLAP_WINDOW).count();
        match silence {
            silence if silence >= gone => InstanceState::Gone,
            silence if silence >= late => InstanceState::Late,
            _ if returns >= FLAP_RETURNS => InstanceState::Flapping,
            _ => InstanceState::Up,
        }
    }
}

fn forget(known: &mut BTreeMap<Sender, Known>, now: UnixNano) {
    let mut youngest: BTreeMap<String, UnixNano> = BTreeMap::new();
    for (sender, instance) in known.iter() {
        let latest = youngest.entry(sender.service.clone()).or_default();
        *latest = (*latest).max(instance.first_seen);
    }
    known.retain(|sender, instance| {
        let is_replaced = youngest.get(&sender.service).is_some_and(|at| *at > instance.last_seen);
        now.since(instance.last_seen) < if is_replaced { REPLACED } else { FORGOTTEN }
    });
}

/// Whose telemetry an OTLP request brings, each once.
pub(crate) fn senders(signal: Signal, request: &[u8]) -> Vec<Sender> {
    let mut senders: Vec<Sender> = Vec::new();
    let Ok(groups) = otlp::resources(request) else { return senders };
    for group in groups.flatten().take(RESOURCES_MAX) {
        let text = |key: &str| {
            let mut text = String::new();
            if let Some(found) = value::find(group.resource, key) {
                found.push_text(&mut text);
            }
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text
        };
        let (service, id, host) = (text("service.name"), text("service.instance.id"), text("host.name"));
        if service.is_empty() || (id.is_empty() && signal == Signal::Metrics && is_about_processes(&group)) {
            continue;
        }
        let sender = Sender { service, instance: if id.is_empty() { host.clone() } else { id }, host };
        if !senders.contains(&sender) {
            senders.push(sender);
        }
    }
    senders
}

/// Whether these are numbers that an agent took of a service's processes.
fn is_about_processes(group: &otlp::ResourceGroup<'_>) -> bool {
    let first = group.scopes().flatten().flat_map(|scope| scope.items()).next();
    let view = first.and_then(|item| MetricView::parse(item).ok().flatten());
    view.is_some_and(|view| view.name.starts_with("process.") || view.name.starts_with("container."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::ManualClock;
    use model::otlp::points::{Head, Kind, Metrics};

    use super::*;

    fn sender(service: &str, instance: &str) -> Sender {
        Sender { service: service.to_owned(), instance: instance.to_owned(), host: "h".to_owned() }
    }

    fn instances() -> (Arc<ManualClock>, Instances) {
        let clock = ManualClock::at(UnixNano(1_795_000_000 * SECOND));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        (clock, Instances::open(None, shared))
    }

    /// Beats every `pause` seconds, `times` times.
    fn beat(clock: &ManualClock, instances: &Instances, who: &Sender, pause: u64, times: usize) {
        for _ in 0..times {
            clock.advance(Duration::from_secs(pause));
            instances.heard(vec![who.clone()], Signal::Logs);
        }
    }

    fn state(instances: &Instances, instance: &str) -> InstanceState {
        instances.list().into_iter().find(|entry| entry.instance == instance).expect("known").state
    }

    #[test]
    fn silence_counts_against_the_usual_pause() {
        let (clock, instances) = instances();
        beat(&clock, &instances, &sender("a", "quick"), 10, 5);
        clock.advance(Duration::from_secs(59));
        assert_eq!(state(&instances, "quick"), InstanceState::Up);
        clock.advance(Duration::from_secs(1));
        assert_eq!(state(&instances, "quick"), InstanceState::Late);
        clock.advance(Duration::from_secs(240));
        assert_eq!(state(&instances, "quick"), InstanceState::Gone);
        beat(&clock, &instances, &sender("a", "slow"), 300, 3);
        clock.advance(Duration::from_secs(800));
        assert_eq!(state(&instances, "slow"), InstanceState::Up);
        clock.advance(Duration::from_secs(100));
        assert_eq!(state(&instances, "slow"), InstanceState::Late);
    }

    #[test]
    fn one_that_comes_and_goes_is_flapping() {
        let (clock, instances) = instances();
        beat(&clock, &instances, &sender("a", "x"), 10, 3);
        for pause in [70, 220, 700] {
            beat(&clock, &instances, &sender("a", "x"), pause, 1);
        }
        assert_eq!(state(&instances, "x"), InstanceState::Flapping);
    }

    #[test]
    fn a_service_lives_as_long_as_one_instance_does_and_flaps_when_they_die_young() {
        let (clock, instances) = instances();
        let service = |instances: &Instances| instances.services()[0].state;
        beat(&clock, &instances, &sender("a", "old"), 10, 3);
        clock.advance(Duration::from_secs(200));
        assert_eq!(service(&instances), InstanceState::Late);
        beat(&clock, &instances, &sender("a", "new"), 10, 3);
        assert_eq!(service(&instances), InstanceState::Up);
        clock.advance(Duration::from_secs(600));
        for id in ["1", "2", "3"] {
            beat(&clock, &instances, &sender("a", id), 70, 1);
        }
        assert_eq!(service(&instances), InstanceState::Flapping);
        clock.advance(Duration::from_secs(3600));
        let left = instances.list();
        assert_eq!(left.len(), 1, "replaced ones are forgotten: {left:?}");
    }

    #[test]
    fn the_list_outlives_the_server_and_nobody_was_silent_while_it_was_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = ManualClock::at(UnixNano(1_795_000_000 * SECOND));
        let open = || {
            let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
            Instances::open(Some(folder.path().to_owned()), shared)
        };
        let before = open();
        before.heard(vec![sender("a", "x")], Signal::Traces);
        before.save();
        clock.advance(Duration::from_secs(7200));
        let after = open();
        assert_eq!(state(&after, "x"), InstanceState::Up);
        clock.advance(Duration::from_secs(300));
        assert_eq!(state(&after, "x"), InstanceState::Gone);
    }

    #[test]
    fn senders_are_told_by_their_resource_and_processes_are_none() {
        let request = |resource: &[(&str, &str)], name: &str| {
            let mut metrics = Metrics::new(resource.iter().copied(), UnixNano(1), UnixNano(2));
            metrics.number(Head::new(name, ""), Kind::Gauge, 1.0);
            metrics.finish()
        };
        let host = [("service.name", "a"), ("host.name", "h")];
        assert_eq!(senders(Signal::Metrics, &request(&host, "process.count")), []);
        assert_eq!(senders(Signal::Metrics, &request(&host, "orders")), [sender("a", "h")]);
        let with_id = [("service.name", "a"), ("host.name", "h"), ("service.instance.id", "7")];
        let twice = [request(&with_id, "process.count"), request(&with_id, "orders")].concat();
        assert_eq!(senders(Signal::Metrics, &twice), [sender("a", "7")]);
        assert_eq!(senders(Signal::Metrics, &request(&[("host.name", "h")], "orders")), []);
        assert_eq!(senders(Signal::Logs, b"\xff\xff"), []);
    }
}
