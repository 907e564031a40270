//! Answers for the services screen.

use query_api::{Health, QueueRow, ServiceRow, ServicesAnswer};

use super::{MS, now, range, stats};

/// A wave that rises at its end by `rise`.
pub(super) fn wave(base: f64, rise: f64) -> Vec<f64> {
    (0..30)
        .map(|i| base * (1.0 + 0.2 * f64::from(i % 5)) + if i > 20 { rise * f64::from(i - 20) } else { 0.0 })
        .collect()
}

fn service(name: &str, health: Health, rate: f64, errors: f64, p: [i64; 3], log_errors: u64) -> ServiceRow {
    ServiceRow {
        service: name.to_owned(),
        health,
        rate,
        error_ratio: errors,
        p50_nano: Some(p[0] * MS),
        p95_nano: Some(p[1] * MS),
        p99_nano: Some(p[2] * MS),
        rates: wave(rate, 0.0),
        error_ratios: wave(0.0, errors / 5.0),
        log_errors,
        last_seen: now(),
    }
}

pub(crate) fn services() -> ServicesAnswer {
    let silent = ServiceRow {
        rate: 0.0,
        p50_nano: None,
        p95_nano: None,
        p99_nano: None,
        rates: vec![2.0, 2.0, 1.0, f64::NAN],
        last_seen: now().plus(-540_000 * MS),
        ..service("notify", Health::Silent, 0.0, 0.0, [0; 3], 0)
    };
    let queue = |destination: &str, health, in_rate, out_rate, pending, wait: Option<i64>| QueueRow {
        destination: destination.to_owned(),
        consumers: vec!["billing".to_owned()],
        health,
        in_rate,
        out_rate,
        pending,
        wait_p95_nano: wait.map(|ms| ms * MS),
    };
    ServicesAnswer {
        range: range(),
        step_nano: 30_000 * MS,
        services: vec![
            service("billing", Health::Bad, 212.0, 0.0431, [38, 412, 1_900], 310),
            service("checkout", Health::Warn, 340.0, 0.0092, [61, 380, 2_400], 12),
            silent,
            service("gateway", Health::Ok, 1_904.0, 0.0011, [12, 44, 180], 0),
            service("catalog", Health::Ok, 511.0, 0.0, [4, 11, 29], 0),
            service("order-view", Health::Ok, 198.0, 0.0, [9, 21, 60], 0),
        ],
        queues: vec![
            queue("orders", Health::Bad, 340.0, 212.0, 7_680, Some(4_100)),
            queue("order-events", Health::Ok, 12.0, 12.0, 0, Some(80)),
        ],
        cuts: Vec::new(),
        stats: stats(),
    }
}
