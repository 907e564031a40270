//! Rate, errors and duration of each service.

use std::collections::HashMap;

use model::time::SECOND;
use model::{TimeRange, UnixNano};
use query_api::{Health, ServiceRow};

use super::sketch::Sketch;
use super::{SERVICES_MAX, STEPS};
use crate::columns::{LogColumns, SpanColumns};

/// Error ratio above which a service needs a look.
const WARN_RATIO: f64 = 0.005;
/// Error ratio above which it is bad.
const BAD_RATIO: f64 = 0.02;

#[derive(Debug)]
struct Service {
    requests: [u64; STEPS],
    errors: [u64; STEPS],
    durations: Sketch,
    log_errors: u64,
    last_seen: UnixNano,
}

/// Bytes of a service, with its sketch and its row.
const SERVICE_BYTES: usize = 8 << 10;

/// All services of a range.
#[derive(Debug)]
pub(super) struct Services {
    range: TimeRange,
    services: HashMap<String, Service>,
    /// Records of services beyond [`SERVICES_MAX`].
    pub(super) left_out: u64,
}

impl Services {
    pub(super) fn new(range: TimeRange) -> Self {
        Self { range, services: HashMap::new(), left_out: 0 }
    }

    /// Bytes that are held, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.services.len() * SERVICE_BYTES
    }

    /// Width of one step.
    pub(super) fn step_nano(&self) -> i64 {
        (self.range.nanos() / STEPS as i64).max(1)
    }

    pub(super) fn add_span(&mut self, rows: &SpanColumns<'_>, row: usize) {
        let time = rows.start_time(row);
        let at = time.since(self.range.from) / self.step_nano();
        let step = usize::try_from(at).unwrap_or(0).min(STEPS - 1);
        let Some(service) = self.service(rows.service(row), time) else { return };
        if matches!(rows.kind(row), "server" | "consumer") {
            service.requests[step] += 1;
            service.errors[step] += u64::from(rows.is_error(row));
            service.durations.add(rows.duration_nano(row));
        }
    }

    pub(super) fn add_log(&mut self, rows: &LogColumns<'_>, row: usize) {
        if let Some(service) = self.service(rows.service(row), rows.time(row)) {
            service.log_errors += u64::from(rows.is_error(row));
        }
    }

    fn service(&mut self, name: &str, time: UnixNano) -> Option<&mut Service> {
        if !self.services.contains_key(name) {
            if self.services.len() == SERVICES_MAX {
                self.left_out += 1;
                return None;
            }
            let service = Service {
                requests: [0; STEPS],
                errors: [0; STEPS],
                durations: Sketch::default(),
                log_errors: 0,
                last_seen: time,
            };
            self.services.insert(name.to_owned(), service);
        }
        let service = self.services.get_mut(name)?;
        service.last_seen = service.last_seen.max(time);
        Some(service)
    }

    /// The rows, in no order. `now` is the time up to which anything could have been heard.
    pub(super) fn finish(self, now: UnixNano) -> Vec<ServiceRow> {
        let step_nano = self.step_nano();
        let heard_since = now.plus(-(now.since(self.range.from) / 5));
        let rows = self.services.into_iter();
        rows.map(|(name, service)| service.row(name, step_nano, heard_since)).collect()
    }
}

impl Service {
    fn row(self, service: String, step_nano: i64, heard_since: UnixNano) -> ServiceRow {
        let step_seconds = step_nano as f64 / SECOND as f64;
        let requests: u64 = self.requests.iter().sum();
        let errors: u64 = self.errors.iter().sum();
        let error_ratio = ratio(errors, requests);
        let health = match error_ratio {
            r if r > BAD_RATIO => Health::Bad,
            r if r > WARN_RATIO => Health::Warn,
            _ if self.last_seen < heard_since => Health::Silent,
            _ => Health::Ok,
        };
        ServiceRow {
            service,
            health,
            rate: requests as f64 / (step_seconds * STEPS as f64),
            error_ratio,
            p50_nano: self.durations.quantile(0.5),
            p95_nano: self.durations.quantile(0.95),
            p99_nano: self.durations.quantile(0.99),
            rates: self.requests.iter().map(|count| *count as f64 / step_seconds).collect(),
            error_ratios: self
                .requests
                .iter()
                .zip(self.errors)
                .map(|(all, errors)| ratio(errors, *all))
                .collect(),
            log_errors: self.log_errors,
            last_seen: self.last_seen,
        }
    }
}

fn ratio(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}
