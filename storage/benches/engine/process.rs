//! What the kernel says of this process.

use std::time::Duration;

use anyhow::Context as _;

/// CPU time, user and system, in hundredths of a second (`man 5 proc`).
pub(crate) fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    let fields = stat.rsplit_once(')').context("a name in parentheses")?.1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Memory it has now.
pub(crate) fn resident_megabytes() -> anyhow::Result<u64> {
    megabytes("VmRSS:")
}

/// The most memory it had.
pub(crate) fn peak_megabytes() -> anyhow::Result<u64> {
    megabytes("VmHWM:")
}

fn megabytes(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line of the status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? / 1_000)
}
