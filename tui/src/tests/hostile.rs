//! What a service logs must not reach the terminal as anything but visible text.

use query_api::{Journey, LogsAnswer};

use super::harness::{Harness, Server};
use crate::core::{Answer, Msg, PaneId};
use crate::{samples, text};

const HOSTILE: &str = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u{9b}31m\u{202e}evil\u{2066}\r\n\t\0\u{200b}\u{feff}";

fn is_harmless(char: char) -> bool {
    !char.is_control()
        && !matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn hostile_journey() -> Journey {
    let mut journey = samples::journey();
    for row in &mut journey.rows {
        row.service = HOSTILE.into();
        row.name = HOSTILE.into();
        row.label = HOSTILE.into();
        row.message = HOSTILE.into();
        row.evidence.text = HOSTILE.into();
        row.attributes.insert(HOSTILE, HOSTILE);
    }
    journey.id = HOSTILE.to_owned();
    journey.matched.clear();
    journey
}

fn hostile_logs() -> LogsAnswer {
    let mut logs = samples::logs();
    for record in &mut logs.records {
        record.service = HOSTILE.to_owned();
        record.body = HOSTILE.repeat(3);
        record.severity_number = 0;
        record.severity = HOSTILE.to_owned();
        record.attributes.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
    }
    for facet in &mut logs.facets {
        facet.field = HOSTILE.to_owned();
        facet.values[0].value = HOSTILE.to_owned();
    }
    logs
}

fn check(harness: &Harness, place: &str) {
    for cell in &harness.buffer().content {
        assert!(cell.symbol().chars().all(is_harmless), "{place}: {:?}", cell.symbol());
    }
}

#[test]
fn escape_sequences_and_bidi_never_reach_the_buffer() {
    for (keys, pane, answer) in [
        ("cX<cr>", PaneId::Journey, Answer::Journey(Box::new(hostile_journey()))),
        ("3", PaneId::Logs, Answer::Logs(Box::new(hostile_logs()))),
    ] {
        let mut harness = Harness::at(100, 30, Server::IsSilent);
        harness.keys(keys);
        let (generation, _) = harness.asked(pane).expect("the screen asks");
        harness.send(Msg::Answered { pane, generation, result: Ok(answer) });
        check(&harness, keys);
        harness.keys("<cr>");
        check(&harness, "opened");
        harness.keys("yi");
        check(&harness, "notice");
    }
}

#[test]
fn typed_and_pasted_escape_sequences_are_text_too() {
    let mut harness = Harness::at(100, 30, Server::Refuses);
    harness.send(Msg::Paste(HOSTILE.to_owned()));
    check(&harness, "prompt");
    harness.keys("<cr>");
    check(&harness, "refused");
}

#[test]
fn plain_text_is_harmless_too() {
    let outs = [
        text::journey(&hostile_journey(), 100, false),
        text::log_line(&hostile_logs().records[0], None),
        text::table(&[HOSTILE], &[vec![HOSTILE.to_owned()]]),
    ];
    for out in outs {
        assert!(out.chars().all(|char| char == '\n' || is_harmless(char)), "{out:?}");
    }
}
