//! The processes of this host, summed up by service.
//!
//! Invariant: sums of a service only grow: what a process used is kept when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::cgroups::{self, Limits};
use super::system::TICKS;

/// Bytes of a page of memory on the platforms we build for.
const PAGE_BYTES: u64 = 4096;
/// Bytes of a process's environment that are searched.
const ENVIRON_BYTES_MAX: usize = 64 << 10;
/// Services that are remembered.
const SERVICES_MAX: usize = 4096;
/// The service of all that are not told apart.
const OTHER: &str = "other";

/// What a service uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Service {
    pub(super) user_seconds: f64,
    pub(super) system_seconds: f64,
    pub(super) memory_bytes: u64,
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    /// Whether I/O of any of its processes could be seen.
    pub(super) has_io: bool,
    /// `None` when those of none of its processes can be seen.
    pub(super) open_files: Option<u64>,
    pub(super) threads: u64,
    pub(super) processes: u64,
    pub(super) restarts: u64,
    /// What its control groups say, if they are its own.
    pub(super) limits: Option<Limits>,
    /// Processor seconds since the last look.
    recent: f64,
    /// Pid and start of its oldest process.
    oldest: Option<(u64, u64)>,
}

/// One process at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Process {
    service: String,
    cgroup: Option<String>,
    /// Ticks since boot.
    start: u64,
    used: Used,
    memory_bytes: u64,
    has_io: bool,
    open_files: Option<u64>,
    threads: u64,
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Used {
    user: f64,
    system: f64,
    read: u64,
    written: u64,
}

/// All services and the processes last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    services: BTreeMap<String, Service>,
    last: BTreeMap<(u64, u64), Used>,
}

impl Services {
    /// Looks at every process, and at the control groups below `cgroup`.
    pub(super) fn update(&mut self, proc: &Path, cgroup: &Path) {
        let is_first = self.last.is_empty();
        for service in self.services.values_mut() {
            let Service { memory_bytes, open_files, threads, processes, recent, limits, .. } = service;
            (*memory_bytes, *open_files, *threads, *processes, *recent) = (0, None, 0, 0, 0.0);
            *limits = None;
        }
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        let mut oldest: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (pid, process) in processes(proc) {
            let key = (pid, process.start);
            let before = self.last.get(&key).copied().unwrap_or_default();
            self.add(&process, before, is_first);
            if let Some(group) = process.cgroup {
                groups.entry(group).or_default().insert(process.service.clone());
            }
            let first = oldest.entry(process.service).or_insert((process.start, pid));
            *first = (*first).min((process.start, pid));
            seen.insert(key, process.used);
        }
        self.last = seen;
        for (name, first) in oldest {
            if let Some(service) = self.services.get_mut(&name) {
                let is_new = service.oldest.is_some_and(|known| known != first);
                service.restarts += u64::from(is_new);
                service.oldest = Some(first);
            }
        }
        self.look_at_groups(cgroup, groups);
        if self.services.len() > SERVICES_MAX {
            self.services.retain(|_, service| service.processes > 0);
        }
    }

    /// Reads the groups that hold one service each.
    fn look_at_groups(&mut self, root: &Path, groups: BTreeMap<String, BTreeSet<String>>) {
        let mut own: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (group, services) in groups {
            if let (1, Some(service)) = (services.len(), services.into_iter().next()) {
                own.entry(service).or_default().push(group);
            }
        }
        for (name, groups) in own {
            if let Some(service) = self.services.get_mut(&name) {
                service.limits = cgroups::read(root, groups.iter().map(String::as_str));
            }
        }
    }

    fn add(&mut self, process: &Process, before: Used, is_first: bool) {
        let service = self.services.entry(process.service.clone()).or_default();
        let used = process.used;
        let (user, system) = ((used.user - before.user).max(0.0), (used.system - before.system).max(0.0));
        service.user_seconds += user;
        service.system_seconds += system;
        service.read_bytes += used.read.saturating_sub(before.read);
        service.written_bytes += used.written.saturating_sub(before.written);
        // All that a process used before the first look is not of this interval.
        service.recent += if is_first { 0.0 } else { user + system };
        service.memory_bytes += process.memory_bytes;
        service.has_io |= process.has_io;
        service.open_files = both(service.open_files, process.open_files);
        service.threads += process.threads;
        service.processes += 1;
    }

    /// The `most` services that use most time or memory, and the others as one.
    pub(super) fn top(&self, most: usize) -> Vec<(String, Service)> {
        let mut living: Vec<(&String, &Service)> =
            self.services.iter().filter(|(_, service)| service.processes > 0).collect();
        let memory: u64 = living.iter().map(|(_, service)| service.memory_bytes).sum();
        let time: f64 = living.iter().map(|(_, service)| service.recent).sum();
        let weight = |service: &Service| {
            service.memory_bytes as f64 / (memory.max(1) as f64) + service.recent / time.max(f64::EPSILON)
        };
        living.sort_by(|(_, one), (_, other)| weight(other).total_cmp(&weight(one)));
        let cut = most.min(living.len());
        let mut top: Vec<_> =
            living[..cut].iter().map(|(name, service)| ((*name).clone(), **service)).collect();
        if cut < living.len() {
            let mut rest = Service::default();
            for (_, service) in &living[cut..] {
                rest.memory_bytes += service.memory_bytes;
                rest.open_files = both(rest.open_files, service.open_files);
                rest.threads += service.threads;
                rest.processes += service.processes;
            }
            // Which services these are changes, so sums that only grow cannot be told.
            top.push((OTHER.to_owned(), rest));
        }
        top
    }
}

/// The sum of what is known.
fn both(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.map_or(other, |one| Some(one + other.unwrap_or(0)))
}

fn processes(proc: &Path) -> impl Iterator<Item = (u64, Process)> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: u64 = entry.file_name().to_str()?.parse().ok()?;
        read(&entry.path()).map(|process| (pid, process))
    })
}

/// A process, unless it ends meanwhile or is a thread of the kernel.
fn read(folder: &Path) -> Option<Process> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name is in brackets and may hold anything.
    let (head, rest) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let memory_bytes = number(21) * PAGE_BYTES;
    if memory_bytes == 0 {
        return None;
    }
    // Only its own user and root may read these two.
    let io = fs::read_to_string(folder.join("io")).ok();
    let bytes = |key: &str| {
        let line = io.as_deref().unwrap_or_default().lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    let environ = fs::read(folder.join("environ")).unwrap_or_default();
    let cgroup = text("cgroup");
    let service = named_by_environ(&environ).or_else(|| unit_of(&cgroup)).unwrap_or(name);
    Some(Process {
        service,
        cgroup: cgroups::path_of(&cgroup).map(str::to_owned),
        start: number(19),
        used: Used {
            user: number(11) as f64 / TICKS,
            system: number(12) as f64 / TICKS,
            read: bytes("read_bytes:"),
            written: bytes("write_bytes:"),
        },
        memory_bytes,
        has_io: io.is_some(),
        open_files: fs::read_dir(folder.join("fd")).ok().map(|files| files.count() as u64),
        threads: number(17),
    })
}

/// `OTEL_SERVICE_NAME`, as the SDK of the process reads it.
fn named_by_environ(environ: &[u8]) -> Option<String> {
    let environ = &environ[..environ.len().min(ENVIRON_BYTES_MAX)];
    let value = environ.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"OTEL_SERVICE_NAME="))?;
    let name = std::str::from_utf8(value).ok()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// `0::/system.slice/billing.service` is `billing`.
fn unit_of(cgroup: &str) -> Option<String> {
    let parts = cgroup.lines().flat_map(|line| line.split('/'));
    let unit = parts.filter_map(|part| part.trim().strip_suffix(".service")).next_back()?;
    let is_session = unit.starts_with("user@");
    (!is_session).then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_belongs_to_the_service_it_says_or_its_unit() {
        assert_eq!(named_by_environ(b"A=1\0OTEL_SERVICE_NAME=billing\0B=2\0").as_deref(), Some("billing"));
        assert_eq!(named_by_environ(b"XOTEL_SERVICE_NAME=billing\0"), None);
        assert_eq!(unit_of("0::/system.slice/billing.service\n").as_deref(), Some("billing"));
        assert_eq!(unit_of("0::/user.slice/user-0.slice/session-1.scope\n"), None);
    }
}
