//! Answers for boards.

use query_api::boards::NamedBoard;
use query_api::{MetricsData, Sample, Series, SqlAnswer, SqlColumn};

use super::alerts::labels;
use super::{now, range, stats};

pub(crate) fn board() -> NamedBoard {
    let board = dashboards::board::parse("shop.toml", dashboards::board::SHOP).expect("the board we ship");
    NamedBoard { name: "shop".to_owned(), board }
}

/// A matrix with a line for each service.
pub(crate) fn matrix(services: &[(&str, f64, f64)]) -> MetricsData {
    let series = services.iter().map(|(service, base, rise)| Series {
        metric: labels(&[("service_name", service)]),
        value: None,
        values: (0..=120)
            .map(|i| {
                let wave = (f64::from(i) / 9.0).sin() * 0.12 + (f64::from(i) / 4.0).cos() * 0.05;
                let value = base * (1.0 + wave) + rise * f64::from((i - 70).max(0));
                Sample::new(range().from.seconds() + f64::from(i) * 7.5, value)
            })
            .collect(),
    });
    MetricsData::Matrix(series.collect())
}

pub(crate) fn vector() -> MetricsData {
    let rows = [
        ("billing", "POST /charge", 1.62),
        ("checkout", "POST /checkout", 0.38),
        ("gateway", "GET /", 0.044),
    ];
    let series = rows.iter().map(|(service, route, value)| Series {
        metric: labels(&[("service_name", service), ("http_route", route)]),
        value: Some(Sample::new(now().seconds(), *value)),
        values: Vec::new(),
    });
    MetricsData::Vector(series.collect())
}

pub(crate) fn sql() -> SqlAnswer {
    let column =
        |name: &str, data_type: &str| SqlColumn { name: name.to_owned(), data_type: data_type.to_owned() };
    SqlAnswer {
        columns: vec![
            column("service", "Utf8"),
            column("name", "Utf8"),
            column("failed", "Int64"),
            column("slowest", "Int64"),
        ],
        rows: vec![
            vec!["billing".into(), "charge".into(), 310.into(), 820_000_000.into()],
            vec!["checkout".into(), "PlaceOrder".into(), 12.into(), 2_400_000_000u64.into()],
        ],
        cuts: Vec::new(),
        stats: stats(),
    }
}
