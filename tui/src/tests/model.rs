//! Keys in, state out.

use query_api::client::TailItem;

use super::harness::{Harness, Server};
use crate::core::state::Options;
use crate::core::{Answer, Ask, Effect, Msg, PaneId, Screen};
use crate::samples;

fn shop() -> Harness {
    Harness::at(100, 30, Server::Answers)
}

fn tail(harness: &mut Harness, records: impl IntoIterator<Item = i64>) {
    let generation = harness.state.logs.tail.expect("a tail runs");
    let item = |second| TailItem::Record(Box::new(samples::record(second, 9, "billing", "tailed")));
    harness.send(Msg::Tailed { generation, items: records.into_iter().map(item).collect() });
}

#[test]
fn the_chrome_is_drawn_before_anything_is_asked() {
    let state = crate::core::State::new(
        Options::default(),
        crate::core::layout::Size { width: 100, height: 30 },
        samples::now(),
    );
    let harness = Harness { state, server: Server::IsSilent, effects: Vec::new() };
    let text = harness.text();
    assert!(text.contains("1 Services") && text.contains("15m LIVE"), "{text}");
}

#[test]
fn digits_show_screens_and_each_asks_only_for_itself() {
    let mut harness = shop();
    for (key, screen, pane) in [
        ("3", Screen::Logs, PaneId::Logs),
        ("8", Screen::Board, PaneId::Board),
        ("7", Screen::Alerts, PaneId::Alerts),
        ("9", Screen::Fleet, PaneId::Fleet),
        ("0", Screen::Doctor, PaneId::Doctor),
        ("1", Screen::Services, PaneId::Services),
    ] {
        harness.keys(key);
        assert_eq!(harness.state.screen, screen);
        assert!(harness.asked(pane).is_some(), "{pane:?}");
    }
    harness.keys("456");
    assert_eq!(harness.state.screen, Screen::Services, "numbers without a screen do nothing");
}

#[test]
fn enter_on_a_service_shows_its_logs_and_q_leads_back() {
    let mut harness = shop();
    harness.keys("j<cr>");
    assert_eq!(harness.state.screen, Screen::Logs);
    assert_eq!(harness.state.logs.query, "service:checkout");
    harness.keys("q");
    assert_eq!(harness.state.screen, Screen::Services);
    assert_eq!(harness.state.services.service, 1, "the selection is where it was");
}

#[test]
fn q_at_the_root_asks_once_and_any_other_key_takes_it_back() {
    let mut harness = shop();
    harness.keys("q");
    assert!(harness.state.is_running);
    harness.keys("jq");
    assert!(harness.state.is_running, "j came between");
    harness.keys("q");
    assert!(!harness.state.is_running);
}

#[test]
fn ctrl_c_quits_from_everywhere() {
    for keys in ["", "?", ":logs x", "3/", "y", "cX"] {
        let mut harness = shop();
        harness.keys(keys).keys("<c-c>");
        assert!(!harness.state.is_running, "{keys}");
    }
}

#[test]
fn a_late_answer_changes_nothing() {
    let mut harness = Harness::at(100, 30, Server::IsSilent);
    let (first, _) = harness.asked(PaneId::Services).expect("asked at the start");
    harness.keys("r");
    let (second, _) = harness.asked(PaneId::Services).expect("asked again");
    assert_ne!(first, second);
    let answer = || Ok(Answer::Services(Box::new(samples::services())));
    harness.send(Msg::Answered { pane: PaneId::Services, generation: first, result: answer() });
    assert!(harness.state.services.pane.answer.is_none());
    harness.send(Msg::Answered { pane: PaneId::Services, generation: second, result: answer() });
    assert!(harness.state.services.pane.answer.is_some());
}

#[test]
fn leaving_a_screen_aborts_its_questions_and_the_tail() {
    let mut harness = Harness::at(100, 30, Server::IsSilent);
    harness.keys("3");
    assert!(harness.effects.contains(&Effect::Abort(PaneId::Services)));
    harness.keys("1");
    assert!(harness.effects.contains(&Effect::Abort(PaneId::Logs)));
    assert!(harness.effects.contains(&Effect::Abort(PaneId::Tail)));
}

#[test]
fn an_error_keeps_the_old_answer_and_says_how_old_it_is() {
    let mut harness = shop();
    harness.server = Server::Refuses;
    harness.wait(6);
    let text = harness.text();
    assert!(text.contains("is `silmari serve` running"), "{text}");
    assert!(text.contains("6s ago") && text.contains("billing"), "{text}");
}

#[test]
fn the_selection_stays_with_its_service_when_the_order_changes() {
    let mut harness = Harness::at(100, 30, Server::Answers);
    harness.keys("j");
    harness.server = Server::IsSilent;
    harness.keys("r");
    let (generation, _) = harness.asked(PaneId::Services).expect("asked");
    let mut turned = samples::services();
    turned.services.reverse();
    harness.send(Msg::Answered {
        pane: PaneId::Services,
        generation,
        result: Ok(Answer::Services(Box::new(turned))),
    });
    assert_eq!(harness.state.services.selected().map(|row| row.service.as_str()), Some("checkout"));
}

#[test]
fn an_id_is_asked_for_and_the_failure_is_selected() {
    let mut harness = shop();
    harness.keys("cORD-4711<cr>");
    assert_eq!(harness.state.screen, Screen::Journey);
    assert!(matches!(harness.asked(PaneId::Journey), Some((_, Ask::Journey(id, ..))) if id == "ORD-4711"));
    assert_eq!(harness.state.journey.row().map(|row| row.name.as_str()), Some("charge #1"));
}

#[test]
fn errors_folds_and_the_zero_of_the_ruler_follow_their_keys() {
    let mut harness = shop();
    harness.keys(":corr ORD-4711<cr>gge");
    assert_eq!(harness.state.journey.row().map(|row| row.name.as_str()), Some("charge #1"));
    harness.keys("e");
    assert_eq!(harness.state.journey.row().map(|row| row.name.as_str()), Some("exception"));
    let rows = harness.state.journey.visible.len();
    harness.keys("-");
    assert!(harness.state.journey.visible.len() < rows);
    let folded = harness.text().lines().find(|line| line.contains("8 rows folded")).map(str::to_owned);
    assert!(
        folded.is_some_and(|line| line.ends_with("3 ✖")),
        "a fold says what failed inside: {}",
        harness.text()
    );
    harness.keys("gge");
    assert_eq!(harness.state.journey.visible.len(), rows, "going to an error unfolds its trace");
    harness.keys("a");
    assert!(harness.text().contains("0s = 10:36:15.811"), "{}", harness.text());
    harness.keys("a");
    assert_eq!(harness.state.journey.zero, None);
}

#[test]
fn text_in_rows_is_found_forwards_and_backwards() {
    let mut harness = shop();
    harness.keys("cX<cr>gg/fraud<cr>");
    assert_eq!(harness.state.journey.row().map(|row| row.service.as_str()), Some("fraud"));
    harness.keys("/acq-2<cr>");
    assert_eq!(
        harness.state.journey.row().map(|row| row.name.as_str()),
        Some("charge #1"),
        "attributes count"
    );
    harness.keys("/nowhere<cr>");
    assert!(harness.text().contains("`nowhere` is in no row"));
}

#[test]
fn the_logs_of_a_journey_are_those_of_its_id_and_its_traces() {
    let mut harness = shop();
    harness.keys("cORD-4711<cr>L");
    assert_eq!(harness.state.screen, Screen::Logs);
    let query = &harness.state.logs.query;
    assert!(query.starts_with("order_id:ORD-4711 OR trace_id:0101"), "{query}");
    harness.keys("q");
    assert_eq!(harness.state.screen, Screen::Journey);
    assert!(harness.state.journey.pane.answer.is_some(), "nothing has to be asked again");
}

#[test]
fn a_record_leads_to_the_journey_of_its_best_id() {
    let mut harness = shop();
    harness.keys("3o");
    assert_eq!(harness.state.screen, Screen::Journey);
    assert_eq!(harness.state.journey.id.as_deref(), Some("order_id=ORD-4711"));
}

#[test]
fn a_search_is_edited_and_asked_with_the_tail() {
    let mut harness = shop();
    harness.keys("3/level>=error<cr>");
    assert!(
        matches!(harness.asked(PaneId::Logs), Some((_, Ask::Logs { query, .. })) if query == "level>=error")
    );
    assert!(matches!(harness.asked(PaneId::Tail), Some((_, Ask::Tail(query))) if query == "level>=error"));
    harness.keys("<tab>f");
    assert_eq!(harness.state.logs.query, "level>=error level:error");
    harness.keys("f");
    assert_eq!(harness.state.logs.query, "level>=error", "the second time takes it away");
    harness.keys("F");
    assert_eq!(harness.state.logs.query, "level>=error -level:error");
}

#[test]
fn following_stops_when_the_selection_moves_up_and_g_resumes_it() {
    let mut harness = shop();
    harness.keys("3");
    assert!(harness.state.logs.is_following);
    harness.keys("kk");
    let selected = harness.state.logs.record().cloned();
    tail(&mut harness, [61, 62, 63]);
    assert_eq!(harness.state.logs.record(), selected.as_ref(), "the view does not move under the reader");
    assert!(harness.text().contains("+3 new"), "{}", harness.text());
    harness.keys("G");
    assert!(harness.state.logs.is_following);
    assert_eq!(harness.state.logs.record().map(|record| record.body.as_str()), Some("tailed"));
    assert_eq!(harness.state.logs.new, 0);
}

#[test]
fn a_record_that_the_search_and_the_tail_both_bring_is_one_record() {
    let mut harness = Harness::at(100, 30, Server::IsSilent);
    harness.keys("3");
    let last = samples::logs().records.pop().expect("the samples have records");
    let generation = harness.state.logs.tail.expect("a tail runs");
    let items = vec![TailItem::Record(Box::new(last))];
    harness.send(Msg::Tailed { generation, items: items.clone() });
    let (asked, _) = harness.asked(PaneId::Logs).expect("asked");
    let answer = Ok(Answer::Logs(Box::new(samples::logs())));
    harness.send(Msg::Answered { pane: PaneId::Logs, generation: asked, result: answer });
    harness.send(Msg::Tailed { generation, items });
    assert_eq!(harness.state.logs.records.len(), samples::logs().records.len());
}

#[test]
fn a_late_record_is_sorted_in() {
    let mut harness = shop();
    harness.keys("3");
    tail(&mut harness, [62, 61]);
    let times: Vec<_> = harness.state.logs.records.iter().map(|record| record.time).collect();
    assert!(times.is_sorted());
}

#[test]
fn a_pause_holds_data_back_and_draws_nothing() {
    let mut harness = shop();
    harness.keys("3<space>");
    let records = harness.state.logs.records.len();
    let asked = harness.effects.len();
    harness.state.is_dirty = false;
    harness.wait(1);
    assert!(!harness.state.is_dirty, "paused is never drawn by time");
    harness.wait(60);
    assert_eq!(harness.effects.len(), asked, "nothing is asked while paused");
    tail(&mut harness, [61, 62]);
    assert_eq!(harness.state.logs.records.len(), records);
    assert!(harness.text().contains("PAUSED +2 new"), "{}", harness.text());
    harness.keys("<space>");
    assert_eq!(harness.state.logs.records.len(), records + 2);
}

#[test]
fn what_is_kept_of_an_endless_tail_is_bounded_and_the_rest_is_counted() {
    let mut harness = shop();
    harness.keys("3<space>");
    for _ in 0..30 {
        tail(&mut harness, 61..461);
    }
    assert_eq!(harness.state.logs.held.len(), crate::core::logs::RECORDS_MAX);
    assert_eq!(harness.state.logs.skipped, 30 * 400 - crate::core::logs::RECORDS_MAX as u64);
    harness.keys("<space>");
    assert_eq!(harness.state.logs.records.len(), crate::core::logs::RECORDS_MAX);
}

#[test]
fn the_evidence_of_an_alert_is_its_services_logs_from_before_it_began() {
    let mut harness = shop();
    harness.keys("7<cr>");
    assert_eq!(harness.state.screen, Screen::Logs);
    assert_eq!(harness.state.logs.query, "service:billing level>=warn");
    assert!(harness.state.shown_range().contains(samples::now().plus(-362 * ::model::time::SECOND)));
    harness.keys("[o");
    assert_eq!(harness.state.journey.id.as_deref(), Some("ORD-4711"), "the annotation names a journey");
}

#[test]
fn the_range_is_set_for_all_views_and_old_answers_are_not_shown_as_new() {
    let mut harness = shop();
    harness.server = Server::IsSilent;
    harness.keys("t1h<cr>");
    assert!(harness.state.services.pane.answer.is_none());
    assert!(
        matches!(harness.asked(PaneId::Services), Some((_, Ask::Services(range))) if range.nanos() == 3_600 * ::model::time::SECOND)
    );
    harness.keys("tsoon<cr>");
    assert!(harness.state.prompt.is_some() && harness.text().contains("no range"), "{}", harness.text());
}

#[test]
fn back_and_forward_restore_screen_query_and_range() {
    let mut harness = shop();
    harness.keys("3:logs a<cr>:logs b<cr>[");
    assert_eq!(harness.state.logs.query, "a");
    harness.keys("]");
    assert_eq!(harness.state.logs.query, "b");
    harness.keys("[[[");
    assert_eq!(harness.state.screen, Screen::Services);
    harness.keys("[");
    assert!(harness.text().contains("nothing to go back to"));
}

#[test]
fn the_command_of_every_view_is_copied() {
    for (keys, command) in [
        ("", "silmari services --since 15m"),
        ("cORD-4711<cr>", "silmari trace ORD-4711 --since 15m"),
        ("3/level>=warn<cr>", "silmari logs 'level>=warn' --since 15m"),
        ("7", "silmari alerts"),
    ] {
        let mut harness = shop();
        harness.keys(keys).keys("yc");
        assert!(harness.effects.contains(&Effect::Copy(command.to_owned())), "{command}");
        assert!(harness.text().contains(command), "the command is shown as well");
    }
    let mut harness = shop();
    harness.state.server = Some("http://10.0.0.7:3900".to_owned());
    harness.keys("7yc");
    let copied = Effect::Copy("silmari alerts --server http://10.0.0.7:3900".to_owned());
    assert!(harness.effects.contains(&copied), "another server is named");
    let mut harness = shop();
    harness.keys("8yc");
    let copied = harness
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::Copy(text) if text.starts_with("silmari metrics 'sum(rate(")));
    assert!(copied, "a panel is its query");
}

#[test]
fn a_board_asks_one_question_a_panel_and_again_after_its_refresh() {
    let mut harness = shop();
    harness.keys("8");
    let panels = |harness: &Harness| {
        harness
            .effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Ask { pane: PaneId::Panel(_), .. }))
            .count()
    };
    assert_eq!(panels(&harness), 10);
    harness.wait(4);
    assert_eq!(panels(&harness), 10);
    harness.wait(1);
    assert_eq!(panels(&harness), 20);
    assert!(
        matches!(harness.asked(PaneId::Panel(8)), Some((_, Ask::Sql(sql, 8))) if sql.contains("2026-11-20T10:27:"))
    );
}

#[test]
fn a_pasted_id_opens_the_prompt() {
    let mut harness = shop();
    harness.send(Msg::Paste("ORD-4711\n".to_owned()));
    harness.keys("<cr>");
    assert_eq!(harness.state.journey.id.as_deref(), Some("ORD-4711"));
}

#[test]
fn hints_and_help_come_from_the_keymap() {
    let mut harness = shop();
    harness.keys("3");
    assert!(
        harness
            .text()
            .lines()
            .last()
            .is_some_and(|footer| footer.contains("/ search") && footer.contains("? help"))
    );
    harness.keys("?");
    assert!(harness.text().contains("journey of the record's best id"));
    harness.keys("x");
    assert!(harness.state.help.is_none());
}

#[test]
fn a_journey_is_followed_while_it_shows_and_its_rows_come_in() {
    let mut harness = Harness::at(100, 30, Server::Answers);
    harness.keys("cORD-4711<cr>");
    let Some((generation, Ask::Follow(id, _, false))) = harness.asked(PaneId::Follow) else {
        panic!("not followed: {:?}", harness.effects)
    };
    assert_eq!(id, "ORD-4711");
    assert!(!harness.text().contains("mailer"));
    let journey = Box::new(samples::rich_journey());
    harness.send(Msg::Followed { generation, journey });
    harness.keys("G");
    assert!(harness.text().contains("smtp-relay") || harness.text().contains("mailer"), "{}", harness.text());

    harness.keys("1");
    assert!(harness.effects.contains(&Effect::Abort(PaneId::Follow)), "left, it is not followed");
    let asked = harness.effects.len();
    harness.keys("2");
    let again = harness.effects[asked..]
        .iter()
        .any(|effect| matches!(effect, Effect::Ask { pane: PaneId::Follow, .. }));
    assert!(again, "back again, it is");
}

#[test]
fn a_follower_that_ends_is_begun_again_and_one_of_before_says_nothing() {
    let mut harness = Harness::at(100, 30, Server::Answers);
    harness.keys("cORD-4711<cr>");
    let (generation, _) = harness.asked(PaneId::Follow).expect("followed");
    harness.send(Msg::FollowEnded { generation, failure: None });
    harness.wait(6);
    let (later, _) = harness.asked(PaneId::Follow).expect("followed");
    assert_ne!(later, generation, "begun again");
    let mut other = samples::rich_journey();
    other.rows.truncate(2);
    let before = harness.text();
    harness.send(Msg::Followed { generation, journey: Box::new(other) });
    assert_eq!(harness.text(), before, "what an old follower brings is not taken");
}

#[test]
fn a_folded_trace_stays_folded_when_rows_come_before_it() {
    let mut harness = Harness::at(100, 40, Server::Answers);
    harness.keys("cORD-4711<cr>G-");
    let folded = |harness: &Harness| {
        let screen = &harness.state.journey;
        let rows = &screen.journey().expect("a journey").rows;
        screen.folded.iter().map(|row| rows[*row].trace_id).collect::<Vec<_>>()
    };
    let before = folded(&harness);
    assert!(before.len() == 1 && before[0].is_some(), "{before:?}");
    let (generation, _) = harness.asked(PaneId::Follow).expect("followed");
    let mut journey = harness.state.journey.journey().expect("a journey").clone();
    let log =
        journey.rows.iter().find(|row| row.kind == ::query_api::RowKind::Log).cloned().expect("a log record");
    journey.rows.insert(0, ::query_api::JourneyRow { depth: 0, trace_id: None, ..log });
    harness.send(Msg::Followed { generation, journey: Box::new(journey) });
    assert_eq!(folded(&harness), before);
}

#[test]
fn time_that_passes_makes_a_waiting_message_wait_longer() {
    let mut harness = Harness::at(100, 30, Server::Answers);
    harness.keys("cORD-4711<cr>");
    harness.wait(30);
    let open =
        harness.state.journey.journey().expect("a journey").rows.iter().find(|row| row.is_open).cloned();
    let open = open.expect("an open wait");
    assert_eq!(open.start_time.plus(open.duration_nano), harness.state.now);
    assert!(harness.text().contains("stuck in shipments/0@17"), "{}", harness.text());
}

#[test]
fn a_range_that_ends_in_the_past_is_not_followed() {
    let mut harness = Harness::at(100, 30, Server::Answers);
    harness.keys("t10:00..10:20<cr>cORD-4711<cr>");
    assert!(harness.state.journey.journey().is_some());
    assert_eq!(harness.asked(PaneId::Follow), None);
}

#[test]
fn all_attributes_of_a_large_journeys_row_are_asked_when_its_details_show_and_once() {
    let mut harness = Harness::at(100, 40, Server::IsSilent);
    harness.keys("cORD-4711<cr>");
    let (generation, _) = harness.asked(PaneId::Journey).expect("asked");
    let mut journey = samples::journey();
    journey.cuts.push(::query_api::Cut {
        what: "rows have few attributes".to_owned(),
        limit: ::query_api::journey::record::BRIEF_LIMIT.to_owned(),
        hint: None,
    });
    let answer = Ok(Answer::Journey(Box::new(journey)));
    harness.send(Msg::Answered { pane: PaneId::Journey, generation, result: answer });
    assert_eq!(harness.asked(PaneId::Row), None, "not while nobody looks at details");
    harness.keys("<cr>");
    let (generation, ask) = harness.asked(PaneId::Row).expect("asked");
    assert!(harness.text().contains("all attributes: "), "{}", harness.text());
    let answer = Ok(Answer::Row(Box::new(samples::row_detail())));
    harness.send(Msg::Answered { pane: PaneId::Row, generation, result: answer });
    assert!(harness.text().contains("postgresql") && !harness.text().contains("all attributes: "));
    harness.wait(3);
    assert_eq!(harness.asked(PaneId::Row), Some((generation, ask)), "once");
    harness.keys("kk");
    let (next, _) = harness.asked(PaneId::Row).expect("asked of another row");
    assert_ne!(next, generation);
    assert!(!harness.text().contains("postgresql"), "what is known is not of this row");
}
