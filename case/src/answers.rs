//! What a case answers in a server's place: the requests of the query API that its parts are answers to.
//!
//! Invariant: what is not in the case is refused by name; it never answers with less than was asked as if that
//! were all.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::time::SECOND;
use model::{Severity, TimeRange};
use query_api::offline::{Offline, refusal};
use query_api::{
    AlertsAnswer, Attributes, Cut, ErrorBody, JourneyRow, LogBucket, LogRecord, LogsAnswer, MetricsData,
    RowKind, Sample, Series,
};
use serde::Serialize;

use crate::Case;

/// A case that answers requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OfflineCase {
    name: Arc<str>,
    case: Arc<Case>,
}

type Answer = Result<Vec<u8>, ErrorBody>;

impl OfflineCase {
    /// `name` is what messages call it: the path of the file.
    pub fn new(name: &str, case: Case) -> Self {
        Self { name: name.into(), case: Arc::new(case) }
    }

    /// The case itself.
    pub fn case(&self) -> &Case {
        &self.case
    }

    fn journey(&self, parameters: &[(&str, String)]) -> Answer {
        self.about(parameters)?;
        let is_corrected = parameter(parameters, "correct_clocks") == "true";
        let corrected = self.case.corrected.as_ref().filter(|_| is_corrected);
        body(corrected.unwrap_or(&self.case.journey))
    }

    /// Refuses an id that this case is not about.
    fn about(&self, parameters: &[(&str, String)]) -> Result<(), ErrorBody> {
        let id = parameter(parameters, "id");
        match self.case.is_about(id) {
            true => Ok(()),
            false => {
                let message = format!("this case holds nothing of `{id}`");
                let hint = format!("it is about {}", self.case.about.id);
                Err(refusal("not_found", message, Some(&hint)))
            }
        }
    }

    fn part<T: Serialize>(&self, part: Option<&T>, what: &str) -> Answer {
        match part {
            Some(part) => body(part),
            None => Err(self.not_held(what)),
        }
    }

    fn not_held(&self, what: &str) -> ErrorBody {
        let about = &self.case.about;
        let hint = format!("it holds the journey of {} and what stood around it", about.id);
        refusal("offline", format!("this case holds no {what}"), Some(&hint))
    }

    fn alerts(&self) -> Answer {
        let none = || AlertsAnswer {
            time: self.case.about.made_at,
            rules: Vec::new(),
            file_errors: vec!["this case holds no rules".to_owned()],
        };
        self.case.alerts.as_ref().map_or_else(|| body(&none()), body)
    }

    fn series(&self, promql: &str) -> Result<&MetricsData, ErrorBody> {
        let window = self.case.metrics.iter().find(|window| window.promql == promql);
        let held = || {
            let all: Vec<&str> = self.case.metrics.iter().map(|window| window.promql.as_str()).collect();
            let hint = format!("it holds: {}", all.join("\n"));
            refusal("offline", "this case holds no answer to this expression", Some(&hint))
        };
        window.map(|window| &window.series).ok_or_else(held)
    }

    /// The last sample of every series at or before an instant; of all when none is given.
    fn instant(&self, promql: &str) -> Answer {
        let MetricsData::Matrix(series) = self.series(promql)? else {
            return body(self.series(promql)?);
        };
        let last = series.iter().map(|series| Series {
            metric: series.metric.clone(),
            value: series.values.last().map(|Sample(time, value)| Sample(*time, value.clone())),
            values: Vec::new(),
        });
        body(&MetricsData::Vector(last.collect()))
    }

    /// The log records of the journey: all of them, or those of one service.
    fn logs(&self, parameters: &[(&str, String)]) -> Answer {
        let query = parameter(parameters, "query").trim().to_owned();
        let limit = parameter(parameters, "limit").parse().unwrap_or(usize::MAX);
        let mut records: Vec<LogRecord> = self.case.journey.rows.iter().filter_map(log_record).collect();
        if let Some(service) = query.strip_prefix("service:") {
            let service = service.trim_matches('"');
            if service.contains(char::is_whitespace) {
                return Err(no_search());
            }
            records.retain(|record| record.service == service);
        } else if !query.split(" OR ").all(|term| term.is_empty() || self.is_own(term)) {
            return Err(no_search());
        }
        records.sort_by_key(|record| record.time);
        let matched = records.len() as u64;
        let histogram = histogram(&records);
        records.drain(..records.len().saturating_sub(limit));
        body(&LogsAnswer {
            range: self.case.about.range,
            records,
            matched,
            histogram,
            facets: Vec::new(),
            cuts: vec![Cut {
                what: "only the log records of the journey are in this case".to_owned(),
                limit: "case".to_owned(),
                hint: None,
            }],
            stats: query_api::QueryStats::default(),
        })
    }

    /// Whether a condition `kind:value` names this journey.
    fn is_own(&self, term: &str) -> bool {
        let term = term.trim();
        term.split_once(':').is_some_and(|(_, value)| self.case.is_about(value.trim_matches('"')))
    }
}

fn no_search() -> ErrorBody {
    let hint = "write service:NAME, or nothing for all log records of the journey";
    refusal("offline", "a case has no index to search", Some(hint))
}

fn log_record(row: &JourneyRow) -> Option<LogRecord> {
    (row.kind == RowKind::Log).then(|| LogRecord {
        time: row.start_time,
        service: row.service.to_string(),
        severity_number: severity(&row.label),
        severity: row.label.to_string(),
        body: row.name.to_string(),
        trace_id: row.trace_id,
        span_id: row.span_id,
        ids: Vec::new(),
        attributes: owned(&row.attributes),
        resource: owned(&row.resource),
    })
}

fn owned(attributes: &Attributes) -> BTreeMap<String, String> {
    attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The first number of the severity that a row's label names; 0 for other words.
pub(crate) fn severity(label: &str) -> i32 {
    let named = Severity::ALL.iter().find(|severity| severity.name() == label);
    named.map_or(0, |severity| severity.number())
}

impl Offline for OfflineCase {
    fn name(&self) -> &str {
        &self.name
    }

    fn answer(&self, path: &str, parameters: &[(&str, String)], _range: Option<TimeRange>) -> Answer {
        let case = &*self.case;
        match path {
            "/api/v1/journey" => self.journey(parameters),
            "/api/v1/ids/graph" => {
                self.about(parameters)?;
                self.part(case.graph.as_ref(), "identity graph")
            }
            "/api/v1/where" => {
                self.about(parameters)?;
                self.part(case.whereabouts.as_ref(), "offsets of consumer groups")
            }
            "/api/v1/services" => self.part(case.services.as_ref(), "services"),
            "/api/v1/alerts" => self.alerts(),
            "/api/v1/logs" => self.logs(parameters),
            "/prometheus/api/v1/query_range" => body(self.series(parameter(parameters, "query"))?),
            "/prometheus/api/v1/query" => self.instant(parameter(parameters, "query")),
            // Whatever board was asked for, the one of the case is the one there is.
            path if path.starts_with("/api/v1/boards/") => self.part(case.board.as_ref(), "board"),
            "/api/v1/journey/diff" => Err(refusal(
                "offline",
                "one case holds one journey",
                Some("compare two cases: silmari diff a.silmari b.silmari"),
            )),
            path => Err(self.not_held(other(path))),
        }
    }
}

/// What a request asks for that no case holds, in words.
fn other(path: &str) -> &str {
    match path {
        "/api/v1/agents" | "/api/v1/agents/stages" | "/api/v1/agents/config" => "agents",
        "/api/v1/inventory" => "instances of services",
        "/api/v1/doctor" => "findings of the doctor",
        "/api/v1/ids" => "list of id kinds",
        "/api/v1/boards" => "list of boards",
        "/api/v1/deletes" => "receipts of deletes",
        path => path,
    }
}

/// Buckets of the histogram.
const BUCKETS: i64 = 60;

/// Records over time, from the first to the last; `records` are sorted by time.
fn histogram(records: &[LogRecord]) -> Vec<LogBucket> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Vec::new() };
    let start = first.time;
    let width = (last.time.since(start) / BUCKETS + 1).max(SECOND / 1_000);
    let count = last.time.since(start) / width + 1;
    let empty = |number| LogBucket { time: start.plus(number * width), errors: 0, warnings: 0, others: 0 };
    let mut buckets: Vec<LogBucket> = (0..count.min(BUCKETS)).map(empty).collect();
    for record in records {
        let at = usize::try_from(record.time.since(start) / width).unwrap_or(usize::MAX);
        let Some(bucket) = buckets.get_mut(at) else { continue };
        match record.severity_number {
            17.. => bucket.errors += 1,
            13.. => bucket.warnings += 1,
            _ => bucket.others += 1,
        }
    }
    buckets
}

fn parameter<'a>(parameters: &'a [(&str, String)], name: &str) -> &'a str {
    parameters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn body(answer: &impl Serialize) -> Answer {
    serde_json::to_vec(answer).map_err(|error| refusal("internal", error.to_string(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline() -> OfflineCase {
        OfflineCase::new("ORD-4711.silmari", crate::samples::case())
    }

    #[test]
    fn what_a_case_does_not_hold_is_named_in_words() {
        for (path, expected) in [
            ("/api/v1/agents", "this case holds no agents"),
            ("/api/v1/doctor", "this case holds no findings of the doctor"),
            ("/api/v1/inventory", "this case holds no instances of services"),
        ] {
            assert_eq!(offline().answer(path, &[], None).expect_err("refused").message, expected);
        }
    }

    #[test]
    fn log_records_of_a_case_are_counted_over_time_by_severity() {
        let answer = offline().answer("/api/v1/logs", &[], None).expect("answered");
        let answer: LogsAnswer = serde_json::from_slice(&answer).expect("readable");
        let errors = answer.records.iter().filter(|record| record.severity_number >= 17).count() as u64;
        let counted = |count: fn(&LogBucket) -> u64| answer.histogram.iter().map(count).sum::<u64>();
        assert_eq!(counted(|bucket| bucket.errors), errors);
        assert_eq!(counted(|bucket| bucket.errors + bucket.warnings + bucket.others), answer.matched);
        assert!(answer.matched > 0 && answer.histogram.len() <= 60, "{answer:?}");
        let spread: Vec<LogRecord> = (0..1_000)
            .map(|number| LogRecord {
                time: answer.records[0].time.plus(number * number * 7),
                ..answer.records[0].clone()
            })
            .collect();
        let buckets = histogram(&spread);
        assert_eq!(buckets.iter().map(|bucket| bucket.others).sum::<u64>(), 1_000, "{}", buckets.len());
    }
}
