//! Drives the state with key strings and sample answers, and prints the screen with its styles.
//!
//! The print has one line of text a screen line, then for each line that has styles the runs of them
//! (`3: 1-6 cyan, 9-20 bold`), so that a snapshot notices colours as well as letters.

use std::fmt::Write as _;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use crate::core::layout::Size;
use crate::core::state::Options;
use crate::core::update::{start, update};
use crate::core::{Answer, Ask, Effect, Failure, Msg, PaneId, State, key};
use crate::samples;
use crate::view::view;

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Answers with the samples.
    Answers,
    /// Does not answer yet.
    IsSilent,
    /// Refuses everything.
    Refuses,
}

pub(crate) struct Harness {
    pub(crate) state: State,
    pub(crate) server: Server,
    /// Everything that was to be done, oldest first.
    pub(crate) effects: Vec<Effect>,
}

impl Harness {
    pub(crate) fn new(options: Options, width: u16, height: u16, server: Server) -> Self {
        let mut state = State::new(options, Size { width, height }, samples::now());
        let effects = start(&mut state);
        let mut harness = Self { state, server, effects: Vec::new() };
        harness.perform(effects);
        harness
    }

    pub(crate) fn at(width: u16, height: u16, server: Server) -> Self {
        Self::new(Options::default(), width, height, server)
    }

    pub(crate) fn send(&mut self, msg: Msg) {
        let effects = update(&mut self.state, msg);
        self.perform(effects);
    }

    pub(crate) fn keys(&mut self, keys: &str) -> &mut Self {
        for key in key::parse(keys) {
            self.send(Msg::Key(key));
        }
        self
    }

    /// Lets `seconds` pass, one tick a second.
    pub(crate) fn wait(&mut self, seconds: i64) -> &mut Self {
        for _ in 0..seconds {
            let now = self.state.now.plus(::model::time::SECOND);
            self.send(Msg::Tick(now));
        }
        self
    }

    pub(crate) fn asked(&self, pane: PaneId) -> Option<(u64, Ask)> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Ask { pane: asker, generation, ask } if *asker == pane => {
                Some((*generation, ask.clone()))
            }
            _ => None,
        })
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.effects.push(effect.clone());
            let Effect::Ask { pane, generation, ask } = effect else { continue };
            if self.server == Server::IsSilent || matches!(pane, PaneId::Tail | PaneId::Follow) {
                continue;
            }
            let result =
                if self.server == Server::Answers { Ok(sample(pane, &ask)) } else { Err(refusal(&ask)) };
            self.send(Msg::Answered { pane, generation, result });
        }
    }

    /// The screen as text with styles.
    pub(crate) fn screen(&self) -> String {
        print(&self.buffer())
    }

    /// The screen as text.
    pub(crate) fn text(&self) -> String {
        rows(&self.buffer()).join("\n")
    }

    pub(crate) fn buffer(&self) -> Buffer {
        let size = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).expect("a test terminal");
        terminal.draw(|frame| view(&self.state, frame)).expect("drawing cannot fail");
        terminal.backend().buffer().clone()
    }
}

fn sample(pane: PaneId, ask: &Ask) -> Answer {
    match ask {
        Ask::Services(_) => Answer::Services(Box::new(samples::services())),
        Ask::Alerts => Answer::Alerts(Box::new(samples::alerts())),
        Ask::Fleet => Answer::Fleet(Box::new(samples::fleet())),
        Ask::Doctor(_) => Answer::Doctor(Box::new(samples::doctor())),
        Ask::Row(_) => Answer::Row(Box::new(samples::row_detail())),
        Ask::Journey(id, ..) => {
            Answer::Journey(Box::new(::query_api::Journey { id: id.clone(), ..samples::journey() }))
        }
        Ask::Logs { .. } => Answer::Logs(Box::new(samples::logs())),
        Ask::Board(_) => Answer::Board(Box::new(samples::board())),
        Ask::Instant(..) => Answer::Metrics(samples::vector()),
        Ask::Range(..) => Answer::Metrics(match pane {
            PaneId::Panel(0) => samples::matrix(&[("", 500.0, 0.6)]),
            PaneId::Panel(1) => samples::matrix(&[("", 0.001, 0.0007)]),
            PaneId::Panel(3) => samples::matrix(&[("", 38.0, 0.0)]),
            PaneId::Panel(6) => {
                samples::matrix(&[("gateway", 180.0, 0.0), ("checkout", 90.0, 0.4), ("billing", 60.0, 0.0)])
            }
            _ => samples::matrix(&[("billing", 0.2, 0.03), ("checkout", 0.3, 0.002), ("gateway", 0.04, 0.0)]),
        }),
        Ask::Sql(..) => Answer::Sql(Box::new(samples::sql())),
        Ask::Tail(_) | Ask::Follow(..) => unreachable!("a stream is not answered"),
    }
}

pub(crate) fn refusal(ask: &Ask) -> Failure {
    match ask {
        Ask::Journey(id, range, _) => Failure {
            message: format!("nothing carries `{id}`"),
            hint: Some("ids are found up to 15 minutes back; widen the range".to_owned()),
            searched: vec![
                ::model::IdTerm::new("order_id", id.clone()),
                ::model::IdTerm::new("correlation_id", id.clone()),
                ::model::IdTerm::new("message_id", id.clone()),
            ],
            range: Some(*range),
        },
        _ => Failure {
            message: "no answer from http://127.0.0.1:3900: is `silmari serve` running there?".to_owned(),
            hint: None,
            searched: Vec::new(),
            range: None,
        },
    }
}

pub(crate) fn rows(buffer: &Buffer) -> Vec<String> {
    (0..buffer.area.height)
        .map(|y| {
            let mut row = String::new();
            let mut skip = 0;
            for x in 0..buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                if skip == 0 {
                    row.push_str(symbol);
                    skip = crate::core::line::width_of(symbol).max(1);
                }
                skip -= 1;
            }
            row.trim_end().to_owned()
        })
        .collect()
}

fn print(buffer: &Buffer) -> String {
    let mut out = rows(buffer).join("\n");
    out.push_str("\n--- styles\n");
    for y in 0..buffer.area.height {
        let runs = style_runs(buffer, y);
        if !runs.is_empty() {
            let _written = writeln!(out, "{y}: {}", runs.join(", "));
        }
    }
    out
}

fn style_runs(buffer: &Buffer, y: u16) -> Vec<String> {
    let mut runs: Vec<(u16, u16, String)> = Vec::new();
    for x in 0..buffer.area.width {
        let name = style_name(&buffer[(x, y)]);
        match runs.last_mut() {
            Some((_, end, last)) if *last == name && *end + 1 == x => *end = x,
            _ => runs.push((x, x, name)),
        }
    }
    let named = runs.into_iter().filter(|(_, _, name)| !name.is_empty());
    named.map(|(from, to, name)| format!("{from}-{to} {name}")).collect()
}

fn style_name(cell: &Cell) -> String {
    let mut words = Vec::new();
    if cell.fg != Color::Reset {
        words.push(cell.fg.to_string().to_lowercase());
    }
    if cell.bg != Color::Reset {
        words.push(format!("on {}", cell.bg));
    }
    for (modifier, word) in [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::UNDERLINED, "underlined"),
        (Modifier::REVERSED, "reversed"),
    ] {
        if cell.modifier.contains(modifier) {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}
