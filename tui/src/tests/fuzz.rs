//! Any keys, any sizes, any answers at any time: no panic, and the state stays consistent.

use proptest::prelude::*;

use super::harness::{Harness, Server};
use crate::core::key::Key;
use crate::core::{Answer, Failure, Msg, PaneId};
use crate::samples;

#[derive(Clone, Debug)]
enum Step {
    Key(Key),
    Keys(&'static str),
    Resize(u16, u16),
    Wait(i64),
    Server(Server),
    Answer(PaneId, usize, u64),
    Tail(usize, u64),
    Paste(String),
}

fn key() -> impl Strategy<Value = Key> {
    let named = prop::sample::select(vec![
        Key::Enter,
        Key::Esc,
        Key::Tab,
        Key::BackTab,
        Key::Backspace,
        Key::Delete,
        Key::Up,
        Key::Down,
        Key::Left,
        Key::Right,
        Key::PageUp,
        Key::PageDown,
        Key::Home,
        Key::End,
        Key::Ctrl('u'),
        Key::Ctrl('w'),
    ]);
    let bound = prop::sample::select("1237890c:/?jkdugGeE-+aLonNfFm,.tr qyi[]".chars().collect::<Vec<_>>());
    prop_oneof![3 => bound.prop_map(Key::Char), 1 => named, 1 => any::<char>().prop_map(Key::Char)]
}

fn pane() -> impl Strategy<Value = PaneId> {
    use PaneId::{Alerts, Board, Doctor, Fleet, Journey, Logs, Panel, Row, Services};
    prop::sample::select(vec![
        Services,
        Alerts,
        Fleet,
        Doctor,
        Row,
        Journey,
        Logs,
        Board,
        Panel(0),
        Panel(5),
        Panel(99),
    ])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => key().prop_map(Step::Key),
        2 => prop::sample::select(vec!["cORD-1<cr>", ":logs x<cr>", "t10:00..10:01<cr>", "t1h<cr>", "8m", "3<tab>f"])
            .prop_map(Step::Keys),
        2 => (1u16..200, 1u16..60).prop_map(|(width, height)| Step::Resize(width, height)),
        1 => Just(Step::Resize(1, 1)),
        1 => (1i64..20).prop_map(Step::Wait),
        1 => prop::sample::select(vec![Server::Answers, Server::IsSilent, Server::Refuses]).prop_map(Step::Server),
        2 => (pane(), 0usize..10, 0u64..40).prop_map(|(pane, kind, generation)| Step::Answer(pane, kind, generation)),
        1 => (0usize..40, 0u64..40).prop_map(|(records, skipped)| Step::Tail(records, skipped)),
        1 => "\\PC{0,20}".prop_map(Step::Paste),
    ]
}

/// Any answer, also one that does not belong to the question.
fn answer(kind: usize) -> Result<Answer, Failure> {
    Ok(match kind {
        0 => Answer::Services(Box::new(samples::services())),
        1 => Answer::Alerts(Box::new(samples::alerts())),
        2 => Answer::Journey(Box::new(samples::journey())),
        3 => Answer::Logs(Box::new(samples::logs())),
        4 => Answer::Board(Box::new(samples::board())),
        5 => Answer::Metrics(samples::vector()),
        6 => Answer::Fleet(Box::new(samples::fleet())),
        7 => Answer::Doctor(Box::new(samples::doctor())),
        8 => Answer::Row(Box::new(samples::row_detail())),
        _ => {
            let message = "refused".to_owned();
            return Err(Failure { message, hint: None, searched: Vec::new(), range: None });
        }
    })
}

fn take(harness: &mut Harness, step: Step) {
    match step {
        Step::Key(key) => harness.send(Msg::Key(key)),
        Step::Keys(keys) => drop(harness.keys(keys)),
        Step::Resize(width, height) => harness.send(Msg::Resize(width, height)),
        Step::Wait(seconds) => drop(harness.wait(seconds)),
        Step::Server(server) => harness.server = server,
        Step::Answer(pane, kind, generation) => {
            harness.send(Msg::Answered { pane, generation, result: answer(kind) });
        }
        Step::Tail(records, skipped) => {
            let Some(generation) = harness.state.logs.tail else { return };
            let record = |i| samples::record(i as i64 * 7 % 61, 9, "billing", "tailed");
            let items = (0..records)
                .map(|i| ::query_api::client::TailItem::Record(Box::new(record(i))))
                .chain([::query_api::client::TailItem::Skipped(skipped)]);
            harness.send(Msg::Tailed { generation, items: items.collect() });
        }
        Step::Paste(text) => harness.send(Msg::Paste(text)),
    }
}

fn check(harness: &Harness) {
    let state = &harness.state;
    let logs = &state.logs;
    assert!(logs.records.is_empty() || logs.selected < logs.records.len());
    assert!(!logs.is_following || logs.records.is_empty() || logs.selected + 1 == logs.records.len());
    assert!(logs.records.iter().zip(logs.records.iter().skip(1)).all(|(one, next)| one.time <= next.time));
    assert!(state.journey.visible.is_empty() || state.journey.selected < state.journey.visible.len());
    assert!(state.prompt.as_ref().is_none_or(|prompt| prompt.text.is_char_boundary(prompt.cursor)));
    assert!(state.back.len() <= 50 && state.history.len() <= 100);
    let buffer = harness.buffer();
    assert!(buffer.content.iter().all(|cell| !cell.symbol().chars().any(char::is_control)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_keys_sizes_and_answers_leaves_a_consistent_screen(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut harness = Harness::at(100, 30, Server::Answers);
        for step in steps {
            take(&mut harness, step);
            check(&harness);
        }
    }
}

#[test]
fn every_size_down_to_one_cell_draws_every_screen() {
    for keys in [
        "",
        "cORD-4711<cr>",
        "cORD-4711<cr><cr>",
        "3",
        "3<cr>",
        "3<tab>",
        "7",
        "8",
        "8m",
        "?",
        ":x",
        "t15",
        "y",
    ] {
        let mut harness = Harness::at(100, 30, Server::Answers);
        harness.keys(keys);
        for width in (1..70).chain([99, 100, 159, 160, 300]) {
            for height in (1..20).chain([24, 60]) {
                harness.send(Msg::Resize(width, height));
                drop(harness.buffer());
            }
        }
    }
}
