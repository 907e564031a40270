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

/// A message that these services, each in a group, took after so many milliseconds.
fn fan_out(takers: &[(&str, &str, i64)]) -> Journey {
    let mut spans = vec![span(1, 1, 0, "shop", "send", 0, 10).produces("orders").id("order_id=X")];
    for (number, (service, group, after)) in (2..).zip(takers) {
        let taker = span(number, number, 0, service, "take", 10 + after, 5).consumes("orders").link(1, 1);
        spans.push(match *group {
            "" => taker,
            group => taker.attribute("messaging.consumer.group.name", group),
        });
    }
    World::of(spans, vec![]).journey("X")
}

/// Change, consumer, group and both durations in milliseconds of each wait.
fn waits(diff: &JourneyDiff) -> Vec<String> {
    let waits = diff.rows.iter().filter(|row| row.kind == RowKind::QueueWait);
    let wait = |row: &query_api::diff::DiffRow| {
        let millis =
            |nano: Option<i64>| nano.map_or_else(|| "–".to_owned(), |nano| (nano / MILLI).to_string());
        let (a, b) = (millis(row.a_nano), millis(row.b_nano));
        format!("{:?} {}/{} {a} {b}", row.change, row.consumer, row.group)
    };
    waits.map(wait).collect()
}

#[test]
fn the_wait_for_a_consumer_is_compared_with_the_wait_for_the_same_consumer() {
    let all = [("billing", "", 20), ("mailer", "", 30), ("shipping", "", 40)];
    let (one, other) = (fan_out(&all), fan_out(&[("shipping", "", 20), ("billing", "", 400)]));
    let told = diff(&one, &other, None);
    assert_eq!(
        waits(&told),
        ["Faster shipping/ 40 20", "Slower billing/ 20 400", "Missing mailer/ 30 –"],
        "who is first does not count"
    );
    assert!(changes(&told).contains(&"Missing mailer take".to_owned()), "{:#?}", changes(&told));
}

#[test]
fn groups_of_one_service_are_told_apart_by_name_and_names_that_are_new_each_time_by_number() {
    let told = |a: &[_], b: &[_]| waits(&diff(&fan_out(a), &fan_out(b), None));
    let two = [("ship", "g1", 10), ("ship", "g2", 50)];
    assert_eq!(
        told(&two, &[("ship", "g2", 10), ("ship", "g1", 50)]),
        ["Faster ship/g2 50 10", "Slower ship/g1 10 50"]
    );
    let spans = diff(&fan_out(&two), &fan_out(&[("ship", "g2", 10)]), None);
    assert!(changes(&spans).contains(&"Missing ship take".to_owned()), "{:#?}", changes(&spans));
    assert_eq!(
        told(&[("cache", "pod-7f9c", 10), ("cache", "pod-11ab", 20)], &[("cache", "pod-93", 10)]),
        ["Same cache/pod-93 10 10", "Missing cache/pod-11ab 20 –"]
    );
    assert_eq!(told(&[("ship", "", 10)], &[("ship", "fast", 10)]), ["Same ship/fast 10 10"]);
}

#[test]
fn a_message_that_nobody_consumed_is_compared_with_the_one_that_somebody_did() {
    let nobody = || fan_out(&[]);
    let billing = || fan_out(&[("billing", "", 20)]);
    let told = |a: Journey, b: Journey| waits(&diff(&a, &b, None));
    assert_eq!(told(billing(), nobody()), ["Slower / 20 99990"]);
    assert_eq!(told(nobody(), billing()), ["Faster billing/ 99990 20"]);
    assert_eq!(told(nobody(), nobody()), ["Same / 99990 99990"]);
    let two = fan_out(&[("billing", "", 20), ("shipping", "", 30)]);
    assert_eq!(
        told(two, nobody()),
        ["Extra / – 99990", "Missing billing/ 20 –", "Missing shipping/ 30 –"],
        "it waits for more than one"
    );
}
