//! The host as a whole, from `/proc`. What cannot be read is left out.

use std::fs;
use std::path::Path;

use crate::input::points::{Attributes, Head, Kind, Metrics};

/// Clock ticks a second in `/proc`: Linux' `USER_HZ` is 100 on every platform we build for.
pub(super) const TICKS: f64 = 100.0;
const SECTOR_BYTES: f64 = 512.0;

/// Writes what `/proc` says.
pub(super) fn write(proc: &Path, metrics: &mut Metrics) {
    let read = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
    let points = |metrics: &mut Metrics, name: &str, unit: &str, kind: Kind, all: &[(Attributes, f64)]| {
        if !all.is_empty() {
            let points = all.iter().map(|(attributes, value)| (&attributes[..], Some(*value)));
            metrics.numbers(Head::new(name, unit), kind, points);
        }
    };
    points(metrics, "system.cpu.time", "s", Kind::Counter, &cpu_times(&read("stat")));
    points(metrics, "system.memory.usage", "By", Kind::Gauge, &memory(&read("meminfo")));
    points(metrics, "system.disk.io", "By", Kind::Counter, &disks(&read("diskstats")));
    points(metrics, "system.network.io", "By", Kind::Counter, &networks(&read("net/dev")));
    let load = read("loadavg");
    for (name, value) in
        ["system.cpu.load_average.1m", "system.cpu.load_average.5m", "system.cpu.load_average.15m"]
            .into_iter()
            .zip(load.split(' '))
    {
        if let Ok(value) = value.parse() {
            metrics.number(Head::new(name, "{thread}"), Kind::Gauge, value);
        }
    }
    if let Some(seconds) = read("uptime").split(' ').next().and_then(|text| text.parse().ok()) {
        metrics.number(Head::new("system.uptime", "s"), Kind::Gauge, seconds);
    }
}

fn pairs<const N: usize>(all: [(&str, &str); N]) -> Attributes {
    all.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
}

/// `cpu  user nice system idle iowait irq softirq steal …` in ticks.
fn cpu_times(stat: &str) -> Vec<(Attributes, f64)> {
    let modes = ["user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"];
    let Some(line) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else { return Vec::new() };
    let numbers = line.split_ascii_whitespace().filter_map(|word| word.parse::<f64>().ok());
    modes.iter().zip(numbers).map(|(mode, ticks)| (pairs([("cpu.mode", mode)]), ticks / TICKS)).collect()
}

/// `Name:  123 kB`
fn memory(meminfo: &str) -> Vec<(Attributes, f64)> {
    let bytes = |name: &str| -> Option<f64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_ascii_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
    };
    let (Some(total), Some(free)) = (bytes("MemTotal"), bytes("MemFree")) else { return Vec::new() };
    let (buffers, cached) = (bytes("Buffers").unwrap_or(0.0), bytes("Cached").unwrap_or(0.0));
    let used = (total - free - buffers - cached).max(0.0);
    [("used", used), ("free", free), ("buffers", buffers), ("cached", cached)]
        .map(|(state, value)| (pairs([("system.memory.state", state)]), value))
        .to_vec()
}

/// `8 0 sda reads merged sectors ms writes merged sectors ms …`; partitions and loops are left out.
fn disks(diskstats: &str) -> Vec<(Attributes, f64)> {
    let mut all = Vec::new();
    let mut last = String::new();
    for line in diskstats.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(name), Some(read), Some(written)) = (words.get(2), words.get(5), words.get(9)) else {
            continue;
        };
        let is_part = !last.is_empty() && name.starts_with(&last);
        if is_part || name.starts_with("loop") || name.starts_with("ram") {
            continue;
        }
        (*name).clone_into(&mut last);
        for (direction, sectors) in [("read", read), ("write", written)] {
            if let Ok(sectors) = sectors.parse::<f64>() {
                let attributes = pairs([("system.device", name), ("disk.io.direction", direction)]);
                all.push((attributes, sectors * SECTOR_BYTES));
            }
        }
    }
    all
}

/// `eth0: bytes packets errs drop fifo frame compressed multicast bytes …`
fn networks(dev: &str) -> Vec<(Attributes, f64)> {
    let mut all = Vec::new();
    for line in dev.lines() {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let numbers: Vec<f64> =
            numbers.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        for (direction, at) in [("receive", 0), ("transmit", 8)] {
            if let Some(bytes) = numbers.get(at) {
                let attributes =
                    pairs([("network.interface.name", name.trim()), ("network.io.direction", direction)]);
                all.push((attributes, *bytes));
            }
        }
    }
    all
}
