//! What the kernel allows a service, what it takes away and what it has counted: limits, throttling, kills, processor
//! time and I/O of its control groups (cgroup v2).
//!
//! ```text
//! cgroup.procs ─ one service only? ─► memory.current memory.max memory.events:oom_kill
//!                                     cpu.max cpu.stat:usage_usec,nr_periods,nr_throttled,throttled_usec
//!                                     io.stat:rbytes,wbytes
//! ```
//!
//! Unlike `/proc/PID/io` these may be read by every user, and they know of processes that ended between two looks.
//!
//! A group that holds processes of several services says nothing about any of them and is left out.

use std::fs;
use std::path::Path;

/// What the groups of one service say together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) memory_bytes: u64,
    /// `None` when a group of it has no limit.
    pub(super) memory_limit_bytes: Option<u64>,
    /// Processors.
    pub(super) cpu_limit: Option<f64>,
    pub(super) cpu_seconds: f64,
    /// Bytes read and written; `None` when a group of it does not count them.
    pub(super) io: Option<(u64, u64)>,
    pub(super) periods: u64,
    pub(super) throttled_periods: u64,
    pub(super) throttled_seconds: f64,
    pub(super) oom_kills: u64,
}

/// `0::/system.slice/billing.service` of `/proc/PID/cgroup` is `/system.slice/billing.service`.
pub(super) fn path_of(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::")).map(str::trim)
}

/// What a service's groups below `root` say; `None` when none of them can be read.
pub(super) fn read<'a>(root: &Path, groups: impl IntoIterator<Item = &'a str>) -> Option<Limits> {
    let mut all: Option<Limits> = None;
    for group in groups {
        let Some(one) = read_one(&root.join(group.trim_start_matches('/'))) else { continue };
        all = Some(match all {
            None => one,
            Some(sum) => add(sum, one),
        });
    }
    all
}

fn read_one(folder: &Path) -> Option<Limits> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    // The root of all groups has no such file.
    let memory_bytes = text("memory.current")?.trim().parse().ok()?;
    let stat = text("cpu.stat").unwrap_or_default();
    let events = text("memory.events").unwrap_or_default();
    Some(Limits {
        memory_bytes,
        memory_limit_bytes: text("memory.max").and_then(|max| max.trim().parse().ok()),
        cpu_limit: text("cpu.max").as_deref().and_then(cpus),
        cpu_seconds: number(&stat, "usage_usec") as f64 / 1e6,
        io: text("io.stat").as_deref().map(io),
        periods: number(&stat, "nr_periods"),
        throttled_periods: number(&stat, "nr_throttled"),
        throttled_seconds: number(&stat, "throttled_usec") as f64 / 1e6,
        oom_kills: number(&events, "oom_kill"),
    })
}

/// `50000 100000` is half a processor; `max 100000` is no limit.
fn cpus(max: &str) -> Option<f64> {
    let mut words = max.split_ascii_whitespace();
    let (quota, period): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (period > 0.0).then(|| quota / period)
}

/// `8:0 rbytes=4096 wbytes=0 rios=1 …`, a line a device.
fn io(stat: &str) -> (u64, u64) {
    let sum = |name: &str| {
        let words =
            stat.split_ascii_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        words.filter_map(|value| value.parse::<u64>().ok()).sum()
    };
    (sum("rbytes"), sum("wbytes"))
}

/// The number behind a name at the beginning of a line.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn add(sum: Limits, one: Limits) -> Limits {
    Limits {
        memory_bytes: sum.memory_bytes + one.memory_bytes,
        memory_limit_bytes: sum
            .memory_limit_bytes
            .zip(one.memory_limit_bytes)
            .map(|(a, b)| a.saturating_add(b)),
        cpu_limit: sum.cpu_limit.zip(one.cpu_limit).map(|(a, b)| a + b),
        cpu_seconds: sum.cpu_seconds + one.cpu_seconds,
        io: sum.io.zip(one.io).map(|(a, b)| (a.0 + b.0, a.1 + b.1)),
        periods: sum.periods + one.periods,
        throttled_periods: sum.throttled_periods + one.throttled_periods,
        throttled_seconds: sum.throttled_seconds + one.throttled_seconds,
        oom_kills: sum.oom_kills + one.oom_kills,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(root: &Path, name: &str, files: &[(&str, &str)]) {
        let folder = root.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        for (file, text) in files {
            fs::write(folder.join(file), text).expect("written");
        }
    }

    #[test]
    fn limits_throttling_and_kills_are_read_and_summed_up() {
        let root = tempfile::tempdir().expect("a folder");
        let stat = "usage_usec 1500000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2500000\n";
        let files = [
            ("memory.current", "4096\n"),
            ("memory.max", "8192\n"),
            ("cpu.max", "50000 100000\n"),
            ("cpu.stat", stat),
            ("memory.events", "low 0\noom 3\noom_kill 2\n"),
            ("io.stat", "8:0 rbytes=100 wbytes=7 rios=1 wios=1\n8:16 rbytes=1 wbytes=0 rios=1 wios=0\n"),
        ];
        group(root.path(), "a", &files);
        group(root.path(), "b", &files);
        let both = read(root.path(), ["/a", "/b", "/none"]).expect("two can be read");
        let expected = Limits {
            memory_bytes: 8192,
            memory_limit_bytes: Some(16_384),
            cpu_limit: Some(1.0),
            cpu_seconds: 3.0,
            io: Some((202, 14)),
            periods: 20,
            throttled_periods: 8,
            throttled_seconds: 5.0,
            oom_kills: 4,
        };
        assert_eq!(both, expected);
        group(
            root.path(),
            "c",
            &[("memory.current", "1\n"), ("memory.max", "max\n"), ("cpu.max", "max 100000\n")],
        );
        let unlimited = read(root.path(), ["/a", "/c"]).expect("two can be read");
        assert_eq!((unlimited.memory_limit_bytes, unlimited.cpu_limit, unlimited.io), (None, None, None));
        assert_eq!(read(root.path(), ["/none"]), None);
    }

    #[test]
    fn the_path_is_that_of_version_2() {
        assert_eq!(
            path_of("1:name=systemd:/x\n0::/system.slice/a.service\n"),
            Some("/system.slice/a.service")
        );
        assert_eq!(path_of("1:name=systemd:/x\n"), None);
    }
}
