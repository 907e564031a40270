//! Rules on recorded time: what fires when, what survives, who is told.

mod delivery;
mod files;
mod machine;
mod restart;
mod shop;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{TimeRange, UnixNano};
use query_api::{AlertState, RuleStatus};

use super::*;
use crate::promql::{Labels, Matcher, MemorySource, PromqlError, RawSeries};

const SECOND: i64 = 1_000_000_000;

/// 2026-11-21T10:42:00Z
const START: UnixNano = UnixNano(1_795_257_720 * SECOND);

fn at(seconds: i64) -> UnixNano {
    START.plus(seconds * SECOND)
}

/// Series and log counts that a test sets.
#[derive(Default)]
struct Recorded {
    series: Mutex<MemorySource>,
    /// Counts that any search finds, with the ranges asked for.
    logs: Mutex<Vec<(Labels, u64)>>,
    asked: Arc<Mutex<Vec<(String, TimeRange)>>>,
}

impl Recorded {
    fn set(&self, name: &str, labels: &[(&str, &str)], time: UnixNano, value: f64) {
        self.series.lock().expect("no test panics with it").add_sample(name, labels, time, value);
    }
}

struct FixedLogs {
    counts: Vec<(Labels, u64)>,
    asked: Arc<Mutex<Vec<(String, TimeRange)>>>,
}

impl LogCounter for FixedLogs {
    fn count(&self, search: &str, _: &[String], range: TimeRange) -> Result<Counts, String> {
        if search == "unreadable" {
            return Err("the store is closed".to_owned());
        }
        self.asked.lock().expect("no test panics with it").push((search.to_owned(), range));
        Ok(self.counts.clone())
    }
}

struct Shared(MemorySource);

impl SeriesSource for Shared {
    fn select(
        &self,
        matchers: &[Matcher],
        from: UnixNano,
        to: UnixNano,
    ) -> Result<Vec<RawSeries>, PromqlError> {
        self.0.select(matchers, from, to)
    }
}

impl EvalSource for Recorded {
    fn series(&self) -> Box<dyn SeriesSource> {
        Box::new(Shared(self.series.lock().expect("no test panics with it").clone()))
    }

    fn logs(&self) -> Box<dyn LogCounter> {
        let counts = self.logs.lock().expect("no test panics with it").clone();
        Box::new(FixedLogs { counts, asked: Arc::clone(&self.asked) })
    }
}

fn settings() -> Settings {
    let check_search = |text: &str| if text == "nonsense" { Err("no search".to_owned()) } else { Ok(()) };
    Settings { check_search, ..Settings::default() }
}

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: Ok(text.to_owned()) }
}

/// A file with one group, evaluated every 5 s.
fn rules(rules: &str) -> String {
    format!("groups:\n- name: shop\n  interval: 5s\n  rules:\n{rules}")
}

/// `errors > 0` for 10 s.
const ERRORS: &str = "  - alert: Errors\n    expr: errors > 0\n    for: 10s\n    labels: {severity: page}\n    \
                      annotations: {summary: '{{ $labels.service }}: {{ $value }}'}\n";

fn engine(text: &str) -> Engine {
    let mut engine = Engine::new(settings(), None, START);
    engine.reload(&[file("r.yaml", text)], START);
    engine
}

/// `name status` of each notice.
fn told(notices: &[Notice]) -> Vec<String> {
    notices.iter().map(|notice| format!("{} {}", notice.alert_name(), notice.status())).collect()
}

fn rule(engine: &Engine, name: &str) -> RuleStatus {
    let rules = engine.status(START).rules;
    rules.into_iter().find(|rule| rule.name == name).expect("the rule is there")
}

/// Waits until `condition` holds, looking again and again.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
