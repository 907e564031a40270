//! Memory as a budget in bytes: what every component may use at most, declared before anything starts.
//!
//! Owns: the table of bounds, the comparison with `[memory] limit`, the permits of what comes from sockets.
//! Does not own: keeping a bound where it is fixed by constants (batches under way, series, open records):
//! the component does. Resident memory is measured for people and decides nothing.
//!
//! ```text
//! limit 48 MiB = program + files + spool + [syslog] + [statsd] + … + OTLP requests (what is left, at least 4 MiB)
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::input::BATCHES_MAX;
use crate::input::file::OPEN_RECORDS_BYTES_MAX;
use crate::input::otlp::WORK_BYTES_MAX;
use crate::input::{scrape, statsd, syslog};
use crate::{Config, Error, ErrorKind};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The limit when none is configured, unless the inputs need more.
const LIMIT_DEFAULT: u64 = 48 * MIB;
/// Code, allocator, runtimes, connections.
const PROGRAM_BYTES: u64 = 6 * MIB;
/// A block of a file, and what is known of a thousand files.
const READING_BYTES: u64 = 5 * MIB / 2;
/// Two batches while one is built, then a request and its compressed form for each one under way.
const BATCH_COPIES: u64 = 2 + 2 * BATCHES_MAX as u64;
/// A taken group and its body for each signal, and one being joined at a time.
const SPOOL_BYTES: u64 = 3 * 2 * MIB + 2 * MIB;
/// OTLP requests get what is left, but at least this.
const REQUESTS_BYTES_LEAST: u64 = 4 * MIB;
/// More than this helps nobody.
const REQUESTS_BYTES_MOST: u64 = 32 * MIB;
const HOST_BYTES: u64 = MIB;
const JOURNALD_BYTES: u64 = 3 * MIB;
const REPORT_BYTES: u64 = MIB / 2;

/// What a component uses at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// `program`, `spool`, or a table of the configuration.
    pub component: String,
    /// Bytes.
    pub bytes: u64,
    /// What they are for, and which setting changes them.
    pub what: String,
}

/// The table of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Most bytes of all.
    pub limit: u64,
    /// Every component.
    pub bounds: Vec<Bound>,
    /// Of these, for OTLP requests that are being received.
    pub requests_bytes: u64,
}

impl Plan {
    /// The table of a configuration.
    ///
    /// # Errors
    /// When the sum is beyond `[memory] limit`; the error shows the table.
    pub fn of(config: &Config) -> Result<Self, Error> {
        let mut bounds = fixed(config);
        let fixed_bytes: u64 = bounds.iter().map(|bound| bound.bytes).sum();
        let has_otlp = config.otlp.grpc.is_some() || config.otlp.http.is_some() || config.otlp.unix.is_some();
        let least = if has_otlp { REQUESTS_BYTES_LEAST } else { 0 };
        let limit = config.memory.limit.unwrap_or_else(|| LIMIT_DEFAULT.max(fixed_bytes + least));
        let requests_bytes = match has_otlp {
            true => limit.saturating_sub(fixed_bytes).clamp(least, REQUESTS_BYTES_MOST),
            false => 0,
        };
        if has_otlp {
            let what = "requests while their bodies arrive: what is left of the limit".to_owned();
            bounds.push(Bound { component: "otlp requests".to_owned(), bytes: requests_bytes, what });
        }
        let plan = Self { limit, bounds, requests_bytes };
        if plan.sum() > limit {
            return Err(Error::new(ErrorKind::Config, plan.refusal()));
        }
        Ok(plan)
    }

    /// What all components use at most.
    pub fn sum(&self) -> u64 {
        self.bounds.iter().map(|bound| bound.bytes).sum()
    }

    /// The table as text, the largest first.
    pub fn table(&self) -> String {
        let mut bounds: Vec<&Bound> = self.bounds.iter().collect();
        bounds.sort_by_key(|bound| std::cmp::Reverse(bound.bytes));
        let row = |bytes: u64, component: &str, what: &str| {
            format!("{:>9} KiB  {component:<16} {what}\n", bytes.div_ceil(KIB))
        };
        let mut table: String =
            bounds.iter().map(|bound| row(bound.bytes, &bound.component, &bound.what)).collect();
        table.push_str(&row(self.sum(), "sum", ""));
        table.push_str(&row(self.limit, "limit", "[memory] limit"));
        table
    }

    fn refusal(&self) -> String {
        let (sum, limit) = (self.sum().div_ceil(MIB), self.limit / MIB);
        format!(
            "the components may use {sum} MiB, [memory] limit is {limit} MiB: raise it to \"{sum}MiB\", or make one smaller\n{}",
            self.table().trim_end()
        )
    }
}

/// All but OTLP requests.
fn fixed(config: &Config) -> Vec<Bound> {
    let mut bounds = Vec::new();
    let mut add = |component: &str, bytes: u64, what: String| {
        bounds.push(Bound { component: component.to_owned(), bytes, what });
    };
    add("program", PROGRAM_BYTES, "code, allocator, connections".to_owned());
    add("spool", SPOOL_BYTES, "requests on their way to the collector".to_owned());
    if !config.files.is_empty() {
        let batch = config.collector.batch;
        let copies = format!("{BATCH_COPIES} batches: [collector] batch = {} KiB", batch / KIB);
        add("files batches", BATCH_COPIES * batch, copies);
        add("files reading", READING_BYTES, "a block, what is known of 1000 files".to_owned());
        let open = "lines that are joined or cut".to_owned();
        add("files records", OPEN_RECORDS_BYTES_MAX as u64, open);
    }
    if config.otlp.grpc.is_some() || config.otlp.http.is_some() || config.otlp.unix.is_some() {
        add("otlp work", WORK_BYTES_MAX as u64, "a request that is unpacked and spooled".to_owned());
    }
    if config.syslog.is_some() {
        add("syslog", syslog::BYTES_MAX as u64, "connections, messages that wait".to_owned());
    }
    if let Some(settings) = &config.statsd {
        let bytes = (settings.max_series * statsd::SERIES_BYTES) as u64 + MIB;
        add("statsd", bytes, format!("max_series = {}", settings.max_series));
    }
    for (name, settings) in &config.scrape {
        let bytes = (settings.max_series * scrape::SERIES_BYTES) as u64 + scrape::PAGES_BYTES_MAX as u64;
        add(&format!("scrape.{name}"), bytes, format!("pages, max_series = {}", settings.max_series));
    }
    if config.journald.is_some() {
        add("journald", JOURNALD_BYTES, "an entry, records that wait".to_owned());
    }
    if config.host.is_some() {
        add("host", HOST_BYTES, "a look at all processes".to_owned());
    }
    if !config.report.is_empty() {
        add("report", REPORT_BYTES, "a file and its record".to_owned());
    }
    bounds
}

/// Bytes for what arrives from sockets: taken before it is read.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    kib: usize,
}

/// Bytes that are taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Taken(OwnedSemaphorePermit);

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let kib = (bytes / KIB) as usize;
        Self { permits: Arc::new(Semaphore::new(kib)), kib }
    }

    /// Bytes, when there are so many; never waits, so that nobody who holds some waits for others.
    pub(crate) fn take(&self, bytes: usize) -> Option<Taken> {
        Arc::clone(&self.permits).try_acquire_many_owned(kib(bytes)).ok().map(Taken)
    }

    /// Bytes, as soon as there are so many; for those that hold none meanwhile.
    pub(crate) async fn wait(&self, bytes: usize) -> Taken {
        let kib = kib(bytes).min(u32::try_from(self.kib).unwrap_or(u32::MAX));
        let permits = Arc::clone(&self.permits).acquire_many_owned(kib).await;
        Taken(permits.unwrap_or_else(|_| unreachable!("the semaphore is never closed")))
    }

    /// Bytes that are taken now.
    pub(crate) fn taken(&self) -> u64 {
        (self.kib - self.permits.available_permits().min(self.kib)) as u64 * KIB
    }
}

impl Taken {
    /// Takes so many more; `false` when there are not so many.
    pub(crate) fn grow(&mut self, budget: &Budget, bytes: usize) -> bool {
        match budget.take(bytes) {
            Some(more) => {
                self.0.merge(more.0);
                true
            }
            None => false,
        }
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(KIB as usize)).unwrap_or(u32::MAX)
}

/// Bytes of this process that are in memory; 0 where the system does not tell.
pub(crate) fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * KIB
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, "agent.toml", |_| None).expect("valid")
    }

    const ALL: &str = "[files.a]\ninclude = ['/l/*']\n[otlp]\nhttp = '127.0.0.1:1'\n[host]\n";

    #[test]
    fn files_and_otlp_fit_into_the_default_and_requests_get_what_is_left() {
        let plan = Plan::of(&config(ALL)).expect("fits");
        assert_eq!((plan.limit, plan.sum()), (48 * MIB, 48 * MIB), "{}", plan.table());
        assert!(plan.requests_bytes >= REQUESTS_BYTES_LEAST);
        let larger = Plan::of(&config(&format!("{ALL}[memory]\nlimit = '64MiB'\n"))).expect("fits");
        assert_eq!(larger.requests_bytes, plan.requests_bytes + 16 * MIB);
    }

    #[test]
    fn a_sum_beyond_the_limit_is_refused_with_the_table() {
        let error = Plan::of(&config(&format!("{ALL}[memory]\nlimit = '16MiB'\n"))).expect_err("too small");
        let text = error.to_string();
        for part in ["[memory] limit is 16 MiB", "files batches", "otlp work", "raise it to"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(error.kind(), ErrorKind::Config);
        let sum = text.split("may use ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a number");
        Plan::of(&config(&format!("{ALL}[memory]\nlimit = '{sum}MiB'\n")))
            .expect("what the error says works");
    }

    #[test]
    fn without_a_configured_limit_every_configuration_starts() {
        let more = "[scrape.a]\ntargets = ['h:1']\n[scrape.b]\ntargets = ['h:1']\n[statsd]\nlisten = ['udp://127.0.0.1:1']\n";
        let plan = Plan::of(&config(&format!("{ALL}{more}"))).expect("starts");
        assert!(plan.limit > 48 * MIB && plan.sum() <= plan.limit);
    }

    #[test]
    fn what_is_taken_comes_back_and_nobody_gets_more_than_there_is() {
        let budget = Budget::new(10 * KIB);
        let mut first = budget.take(4_000).expect("room");
        assert!(first.grow(&budget, 5 * KIB as usize) && !first.grow(&budget, 2 * KIB as usize));
        assert_eq!((budget.taken(), budget.take(2_048).is_none()), (9 * KIB, true));
        drop(first);
        assert_eq!(budget.taken(), 0);
        assert!(resident_bytes() > 1 << 20);
    }
}
