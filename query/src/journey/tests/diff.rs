//! Two journeys side by side.

use query_api::diff::{Change, JourneyDiff};

use super::super::diff;
use super::*;

fn changes(diff: &JourneyDiff) -> Vec<String> {
    let row = |row: &query_api::diff::DiffRow| {
        format!("{}{:?} {} {}", "  ".repeat(row.depth.into()), row.change, row.service, row.name)
    };
    diff.rows.iter().map(row).collect()
}

/// A purchase without the retry, whose stock is checked, by another version.
fn smooth() -> World {
    let mut world = purchase();
    world.spans.retain(|span| span.name != "charge #1" && span.name != "send mail");
    world.spans[1].duration_nano = 100 * MILLI;
    world.spans.push(span(1, 20, 2, "stock", "check item 7", 20, 30));
    world.spans[0].attributes.insert("http.response.status_code", "200");
    world.logs[0].body = "reserved 3 items".into();
    world
}

#[test]
fn what_is_slower_missing_and_extra_is_told_row_by_row() {
    let (a, b) = (smooth().journey("ORD-4711"), purchase().journey("ORD-4711"));
    let diff = diff(&a, &b, None);
    assert_eq!(
        changes(&diff),
        [
            "Same gateway POST /checkout",
            "  Slower checkout PlaceOrder",
            "    Missing stock check item 7",
            "    Same checkout send orders",
            "Same orders orders/3@88121",
            "Same billing process orders",
            "  Slower billing charge #1",
            "  Extra billing charge",
            "  Extra billing charge #2",
            "Missing billing span not received",
            "Same ledger book",
            "Extra mailer send mail",
        ]
    );
    assert!(diff.rows[6].is_newly_failed);
    let logged: Vec<_> = diff.log_templates.iter().map(|of| (of.template.as_str(), of.a, of.b)).collect();
    let expected = [("acquirer timeout after *", 0, 1), ("stock low", 0, 1), ("reserved * items", 1, 0)];
    assert_eq!(logged.len(), 2 + usize::from(logged.len() == 3), "{logged:?}");
    assert!(logged.iter().all(|one| expected.contains(one)), "{logged:?}");
    let attribute = &diff.attributes[0];
    assert_eq!(
        (attribute.key.as_str(), attribute.a.as_deref(), &attribute.b),
        ("http.response.status_code", Some("200"), &None)
    );
    let back_off = diff.time_spent.iter().find(|time| time.class == query_api::TimeClass::BackOff);
    assert_eq!(back_off.map(|time| (time.a_nano, time.b_nano)), Some((0, 2_000 * MILLI)));
}

#[test]
fn a_journey_does_not_differ_from_itself() {
    let journey = purchase().journey("ORD-4711");
    let diff = diff(&journey, &journey, None);
    assert!(diff.rows.iter().all(|row| row.change == Change::Same && !row.is_newly_failed));
    let rows =
        journey.rows.iter().filter(|row| !matches!(row.kind, RowKind::Trace | RowKind::Log | RowKind::Event));
    assert_eq!(diff.rows.len(), rows.count());
    assert!(diff.log_templates.is_empty() && diff.attributes.is_empty());
}

#[test]
fn a_trace_is_compared_with_its_like_whatever_stands_before_it() {
    let book = || span(3, 3, 0, "ledger", "book", 30, 5).id("order_id=ORD-1");
    let send = span(1, 10, 0, "shop", "send", 0, 1).produces("orders").id("order_id=ORD-1");
    let take = span(2, 11, 0, "billing", "take", 20, 5).consumes("orders").link(1, 10);
    let (with, without) = (vec![send.clone(), take, book()], vec![send, book()]);
    let a = World::of(with, vec![]).journey("ORD-1");
    let b = World::of(without, vec![]).journey("ORD-1");
    let told = changes(&diff(&a, &b, None));
    assert!(told.contains(&"Same ledger book".to_owned()), "{told:#?}");
    assert!(told.contains(&"Missing billing take".to_owned()), "{told:#?}");
}
