//! The rules we ship, on series as the shop sends them: every 2 s, with the demo's two faults.

use super::*;

fn shipped(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/rules").join(name);
    std::fs::read_to_string(&path).expect("the file can be read")
}

/// Cumulative counts of one histogram, as they grow each second: `(le, per second)`.
fn grow(source: &Recorded, name: &str, labels: &[(&str, &str)], second: i64, per_second: &[(&str, f64)]) {
    for (le, rate) in per_second {
        let mut labels = labels.to_vec();
        labels.push(("le", le));
        source.set(&format!("{name}_bucket"), &labels, at(second), rate * second as f64);
    }
    let all = per_second.last().map_or(0.0, |(_, rate)| *rate);
    source.set(&format!("{name}_count"), labels, at(second), all * second as f64);
}

/// Seconds at which each alert of the rules fires first, within the first minute.
fn fire(shipping_stops_at: i64, slow_share: f64) -> BTreeMap<String, i64> {
    let mut engine = engine(&shipped("shop.yaml"));
    let source = Recorded::default();
    let mut fired = BTreeMap::new();
    for second in 0..60 {
        if second % 2 == 0 {
            let fast = 5.0 * (1.0 - slow_share);
            let process = "messaging_process_duration_seconds";
            let billing = [("service_name", "billing"), ("messaging_destination_name", "orders")];
            grow(&source, process, &billing, second, &[("0.25", fast), ("1", 5.0), ("+Inf", 5.0)]);
            let shipping = [("service_name", "shipping"), ("messaging_destination_name", "billed")];
            let consumed = second.min(shipping_stops_at) as f64 * 5.0;
            source.set("messaging_process_duration_seconds_count", &shipping, at(second), consumed);
            let client = "http_client_request_duration_seconds_count";
            let acquirer = [("service_name", "billing"), ("server_address", "acq-2.example")];
            let ok = [acquirer.as_slice(), &[("http_response_status_code", "200")]].concat();
            let late = [acquirer.as_slice(), &[("error_type", "timeout")]].concat();
            source.set(client, &ok, at(second), fast * second as f64);
            source.set(client, &late, at(second), 5.0 * slow_share * second as f64);
            let gateway = [("service_name", "gateway"), ("http_response_status_code", "200")];
            grow(
                &source,
                "http_server_request_duration_seconds",
                &gateway,
                second,
                &[("0.1", 9.0), ("+Inf", 9.0)],
            );
        }
        for notice in engine.evaluate(at(second), &source) {
            let name = format!("{} {}", notice.alert_name(), notice.labels["service_name"]);
            fired.entry(name).or_insert(second);
        }
        for rule in engine.status(at(second)).rules {
            assert_eq!(rule.error, None, "{}", rule.name);
        }
    }
    fired
}

#[test]
fn the_demos_faults_set_off_alerts_and_nothing_else_does() {
    let fired = fire(15, 0.25);
    let names: Vec<&str> = fired.keys().map(String::as_str).collect();
    assert_eq!(names, ["AcquirerFailing billing", "BillingSlow billing", "ConsumerStopped shipping"]);
    assert!(fired["BillingSlow billing"] <= 15, "{fired:?}");
    assert!(fired["AcquirerFailing billing"] <= 15, "{fired:?}");
}

#[test]
fn a_shop_without_faults_is_quiet() {
    assert_eq!(fire(i64::MAX, 0.0), BTreeMap::new());
}

#[test]
fn the_log_rule_fires_five_seconds_after_the_first_timeout() {
    let mut engine = engine(&shipped("shop-logs.yaml"));
    let source = Recorded::default();
    let labels = Labels::from([("service".to_owned(), "billing".to_owned())]);
    *source.logs.lock().expect("unpoisoned") = vec![(labels, 1)];
    assert_eq!(engine.evaluate(at(0), &source), []);
    let notices = engine.evaluate(at(5), &source);
    assert_eq!(told(&notices), ["AcquirerTimeouts firing"]);
    let summary = &notices[0].annotations["summary"];
    assert_eq!(summary, "billing: acquirer timeouts within the last minute: 1");
}
