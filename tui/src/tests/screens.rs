//! Snapshots: every screen at several sizes, with data, before the first answer, and refused.

use super::harness::{Harness, Server};
use crate::core::state::{Offline, Options};
use crate::core::{Answer, Effect, Msg, PaneId};

/// Keys that lead to each screen.
const SCREENS: [(&str, &str); 7] = [
    ("services", ""),
    ("journey", "cORD-4711<cr>"),
    ("logs", "3"),
    ("alerts", "7"),
    ("board", "8"),
    ("fleet", "9"),
    ("doctor", "0"),
];

fn check(name: &str, harness: &Harness) {
    insta::with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, harness.screen());
    });
}

fn each(suffix: &str, width: u16, height: u16, server: Server) {
    for (name, keys) in SCREENS {
        let mut harness = Harness::at(width, height, server);
        harness.keys(keys);
        check(&format!("{name}_{width}x{height}{suffix}"), &harness);
    }
}

#[test]
fn screens_with_data_at_tier_m() {
    each("", 100, 30, Server::Answers);
}

#[test]
fn screens_with_data_at_tier_s() {
    each("", 80, 24, Server::Answers);
}

#[test]
fn screens_with_data_at_tier_xs() {
    each("", 40, 12, Server::Answers);
}

#[test]
fn screens_with_data_at_tier_l() {
    each("", 170, 45, Server::Answers);
}

#[test]
fn screens_before_the_first_answer() {
    each("_asking", 100, 30, Server::IsSilent);
}

#[test]
fn screens_when_the_server_refuses() {
    each("_refused", 100, 30, Server::Refuses);
}

#[test]
fn screens_in_ascii_without_colour() {
    for (name, keys) in SCREENS {
        let options = Options { ascii: true, color: false, ..Options::default() };
        let mut harness = Harness::new(options, 100, 30, Server::Answers);
        harness.keys(keys);
        let screen = harness.screen();
        assert!(harness.text().is_ascii(), "{screen}");
        let styles = screen.split("--- styles").nth(1).unwrap_or_default();
        assert!(
            ["red", "cyan", "green"].iter().all(|color| !styles.contains(&format!(" {color}"))),
            "{styles}"
        );
        check(&format!("{name}_ascii"), &harness);
    }
}

#[test]
fn states_of_screens_that_keys_lead_to() {
    for (name, keys) in [
        ("help", "?"),
        ("command_line", ":corr ORD-47"),
        ("command_line_wrong", ":alert<cr>"),
        ("range_prompt", "t10:00..10:20"),
        ("chord", "y"),
        ("journey_none", "2"),
        ("journey_detail", "cORD-4711<cr><cr>"),
        ("journey_folded", "cORD-4711<cr>-gg"),
        ("journey_zero", "cORD-4711<cr>a"),
        ("logs_open", "3<cr>"),
        ("logs_facets", "3<tab>j"),
        ("logs_paused", "3<space>"),
        ("board_maximised", "8<tab><tab><tab><tab><tab>m"),
        ("services_queues", "<tab>"),
        ("fleet_agent", "9ee"),
        ("fleet_instances", "9<tab>j"),
        ("doctor_finding", "0j"),
    ] {
        let mut harness = Harness::at(100, 30, Server::Answers);
        harness.keys(keys);
        check(&format!("state_{name}"), &harness);
    }
}

#[test]
fn a_rich_journey_on_the_screen_at_every_width() {
    for (width, height) in [(60, 45), (100, 45), (160, 45)] {
        let mut harness = Harness::at(width, height, Server::IsSilent);
        harness.keys("cORD-4711<cr>");
        let (generation, _) = harness.asked(PaneId::Journey).expect("asked");
        let answer = Answer::Journey(Box::new(crate::samples::rich_journey()));
        harness.send(Msg::Answered { pane: PaneId::Journey, generation, result: Ok(answer) });
        check(&format!("journey_rich_{width}"), &harness);
    }
}

#[test]
fn a_case_says_that_it_is_offline_and_asks_nothing_again() {
    let made_at = crate::samples::now();
    let offline = Offline {
        file: "ORD-4711.silmari".to_owned(),
        made_at,
        window: crate::samples::range(),
        is_redacted: true,
    };
    let options =
        Options { journey: Some("ORD-4711".to_owned()), offline: Some(offline), ..Options::default() };
    for (width, said) in [
        (120, "offline redacted case, made 2026-11-20 10:42 UTC"),
        (80, "offline, 11-20 10:42"),
        (40, "offline"),
    ] {
        let mut harness = Harness::new(options.clone(), width, 30, Server::Answers);
        assert!(harness.text().contains(said), "{}", harness.text());
        let asked = harness.effects.len();
        harness.wait(60);
        let again = harness.effects[asked..]
            .iter()
            .filter(|effect| !matches!(effect, Effect::Ask { pane: PaneId::Alerts, .. }));
        assert_eq!(again.count(), 0, "a file does not change");
        harness.keys("8");
        assert!(harness.text().contains("from the case"), "{}", harness.text());
    }
}

#[test]
fn a_start_note_stands_at_the_bottom_until_a_journey_was_opened() {
    let options = Options { start_note: Some("try: c ORD-4711".to_owned()), ..Options::default() };
    let mut harness = Harness::new(options, 100, 30, Server::Answers);
    assert!(harness.text().contains("try: c ORD-4711"));
    harness.keys("cORD-4711<cr>");
    assert!(!harness.text().contains("try: c ORD-4711"));
}
