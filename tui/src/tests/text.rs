//! Plain text for the command line.

use crate::{samples, text};

fn check(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn every_view_has_a_plain_text() {
    check("text_services", &text::services(&samples::services(), 100, false));
    check("text_journey", &text::journey(&samples::journey(), 100, false));
    check("text_journey_ascii_60", &text::journey(&samples::journey(), 60, true));
    check("text_alerts", &text::alerts(&samples::alerts(), 100));
    check("text_vector", &text::series(&samples::vector()));
    let rows = [vec!["billing".to_owned(), "310".to_owned()], vec!["checkout".to_owned(), "12".to_owned()]];
    check("text_table", &text::table(&["service", "count"], &rows));
    check("text_log_line", &text::log_line(&samples::logs().records[0], None));
}

#[test]
fn a_rich_journey_is_drawn_at_every_width() {
    for width in [60, 100, 160] {
        check(&format!("text_journey_rich_{width}"), &text::journey(&samples::rich_journey(), width, false));
    }
    check("text_journey_followed_100", &text::followed_journey(&samples::rich_journey(), 100, false));
}

#[test]
fn what_is_new_in_a_followed_journey_is_told_once_a_row() {
    let whole = samples::rich_journey();
    let mut early = whole.clone();
    early.rows.truncate(9);
    let mut rows = text::NewRows::default();
    let first = rows.lines(&early);
    assert!(first.contains("POST /checkout") && first.contains("not consumed: shipments/0@17"), "{first}");
    let second = rows.lines(&whole);
    assert!(second.contains("charge #1") && !second.contains("PlaceOrder"), "{second}");
    assert_eq!(rows.lines(&whole), "", "nothing is told twice");
    check("text_journey_new_rows", &second);
}

#[test]
fn text_keeps_to_the_width_and_ascii_is_ascii() {
    for width in [40, 60, 80, 100, 160, 300] {
        for out in [
            text::services(&samples::services(), width, false),
            text::journey(&samples::journey(), width, false),
            text::alerts(&samples::alerts(), width),
        ] {
            for line in out.lines() {
                assert!(crate::core::line::width_of(line) <= width, "wider than {width}: {line}");
            }
        }
        assert!(text::journey(&samples::journey(), width, true).is_ascii());
    }
}
