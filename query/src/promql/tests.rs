//! The evaluator on series in memory; Prometheus' own scripts run in `tests/promql.rs`.

use std::time::Duration;

use model::{TimeRange, UnixNano};
use query_api::MetricsData;

use super::*;

const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> UnixNano {
    UnixNano(seconds * SECOND)
}

/// `requests` of two services, one sample every 10 s for 10 minutes.
fn source() -> MemorySource {
    let mut source = MemorySource::default();
    for (service, per_second) in [("billing", 1.0), ("checkout", 2.0)] {
        for step in 0..=60_i64 {
            let labels = [("service_name", service)];
            source.add_sample("requests", &labels, at(step * 10), per_second * (step * 10) as f64);
        }
    }
    source
}

fn error(expr: &str) -> PromqlError {
    instant(&source(), expr, at(600), &Options::default()).expect_err(expr)
}

fn vector(expr: &str) -> Vec<(String, String)> {
    match instant(&source(), expr, at(600), &Options::default()).expect(expr) {
        MetricsData::Vector(series) => series
            .into_iter()
            .map(|series| (labels::text(&series.metric), series.value.expect("a vector has values").1))
            .collect(),
        other => panic!("{expr} is {other:?}"),
    }
}

#[test]
fn a_vector_is_sorted_by_labels_and_values_are_text() {
    let expected = |service: &str, value: &str| (format!("{{service_name={service:?}}}"), value.to_owned());
    assert_eq!(vector("rate(requests[1m])"), [expected("billing", "1"), expected("checkout", "2")]);
    assert_eq!(
        vector("sort_desc(sum by (service_name) (requests))"),
        [expected("checkout", "1200"), expected("billing", "600")]
    );
}

#[test]
fn a_range_query_has_every_step_up_to_its_end() {
    let span = TimeRange { from: at(0), to: at(60) };
    let step = Duration::from_secs(20);
    let answer = range(&source(), "requests{service_name='billing'}", span, step, &Options::default());
    let Ok(MetricsData::Matrix(series)) = answer else { panic!("{answer:?}") };
    let times: Vec<f64> = series[0].values.iter().map(|sample| sample.0).collect();
    assert_eq!(times, [0.0, 20.0, 40.0, 60.0]);
    assert_eq!(series[0].values[3].1, "60");
}

#[test]
fn errors_carry_the_texts_that_grafana_shows() {
    for (expr, text) in [
        ("requests + on() requests", "found duplicate series for the match group {} on the right hand-side"),
        (
            "requests + on(job) group_left() sum(requests) + on(job) requests",
            "many-to-many matching not allowed",
        ),
        (
            "label_replace(requests, 'service_name', 'x', '', '')",
            "vector cannot contain metrics with the same labelset",
        ),
        ("sum(requests) > 1 == 2 > bool", "parse error"),
        ("rate(requests)", "expected type matrix in call to function 'rate', got vector"),
        ("nonsense(requests)", "nonsense"),
        ("", "no expression found in input"),
        ("requests{service_name=~'('}", "illegal regex"),
        ("1 > 2", "comparisons between scalars must use BOOL modifier"),
    ] {
        let found = error(expr).to_string();
        assert!(found.contains(text), "{expr} answers {found:?}, without {text:?}");
    }
}

#[test]
fn what_is_not_supported_is_named_together_with_what_is() {
    let found = error("histogram_count(requests)");
    assert!(matches!(found, PromqlError::Unsupported(_)), "{found:?}");
    assert!(found.to_string().starts_with("function `histogram_count` is not supported"), "{found}");
    assert!(found.to_string().contains("histogram_quantile"), "{found}");
    assert!(error("limitk(1, requests)").to_string().contains("topk"));
    assert!(error("requests + fill(0) requests").to_string().contains("fill"));
}

#[test]
fn a_range_query_refuses_bad_ranges_with_prometheus_texts() {
    let refuse = |from: i64, to: i64, step: Duration, expr: &str| {
        let span = TimeRange { from: at(from), to: at(to) };
        range(&source(), expr, span, step, &Options::default()).expect_err("refused").to_string()
    };
    assert!(refuse(0, 12_000, Duration::from_secs(1), "requests").contains("11,000 points per timeseries"));
    assert!(refuse(0, 10, Duration::ZERO, "requests").contains("zero or negative query resolution"));
    assert!(refuse(10, 0, Duration::from_secs(1), "requests").contains("end timestamp must not be before"));
    let matrix = refuse(0, 10, Duration::from_secs(1), "requests[1m]");
    assert_eq!(
        matrix,
        "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
    );
}

#[test]
fn hostile_nesting_is_refused_and_never_overflows_the_stack() {
    let nested = |open: &str, close: &str, times: usize| {
        format!("{}requests{}", open.repeat(times), close.repeat(times))
    };
    let expressions = [
        nested("(", ")", 8_000),
        nested("-", "", 16_000),
        nested("sum(", ")", 3_000),
        nested("abs(", ")", 64),
        nested("1 + ", "", 4_000),
        nested("2 ^ ", "", 511),
        nested("requests or ", "", 1_300),
        nested("sum_over_time(", "[1m:1s])", 60),
        "[".repeat(16_000),
        "x".repeat(1 << 20),
        format!("requests{{a=~\"{}\"}}", "(".repeat(5_000)),
    ];
    // A worker thread of tokio has 2 MiB.
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for expr in expressions {
            let options = Options { samples_max: 100_000, ..Options::default() };
            drop(instant(&source(), &expr, at(600), &options));
        }
    });
    worker.expect("a thread starts").join().expect("no expression ends the thread");
}

#[test]
fn numbers_out_of_range_are_errors() {
    for expr in [
        "requests[1e300]",
        "requests offset 1e300",
        "requests @ 1e300",
        "requests[-5]",
        "requests[99999999999y]",
    ] {
        drop(instant(&source(), expr, at(600), &Options::default()));
    }
    assert!(matches!(error("requests[1e300]"), PromqlError::BadData(_)));
}

#[test]
fn limits_end_a_query_that_reads_too_much() {
    let few = Options { samples_max: 50, ..Options::default() };
    let found =
        instant(&source(), "sum_over_time(requests[10m])", at(600), &few).expect_err("too many samples");
    assert!(matches!(found, PromqlError::Limit(_)), "{found:?}");
    let one = Options { series_max: 1, ..Options::default() };
    let found = instant(&source(), "requests", at(600), &one).expect_err("too many series");
    assert!(found.to_string().contains("2 series"), "{found}");
    let cancelled = Options { cancelled: Some(Arc::new(AtomicBool::new(true))), ..Options::default() };
    assert_eq!(instant(&source(), "requests", at(600), &cancelled), Err(PromqlError::Cancelled));
}

#[test]
fn a_series_is_gone_five_minutes_after_its_last_sample_or_at_once_when_marked_stale() {
    let mut source = source();
    source.add_sample("requests", &[("service_name", "billing")], at(610), f64::from_bits(STALE_BITS));
    let count = |seconds| {
        let answer = instant(&source, "count(requests) or vector(0)", at(seconds), &Options::default());
        let Ok(MetricsData::Vector(series)) = answer else { panic!("{answer:?}") };
        series[0].value.as_ref().expect("a vector has values").number()
    };
    assert_eq!([count(609), count(610), count(899), count(900)], [2.0, 1.0, 1.0, 0.0]);
}
