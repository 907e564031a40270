//! Everything the terminal knows, in one value that only [`update`](super::update()) changes.

use std::time::Duration;

use model::{TimeRange, UnixNano};

use super::alerts::AlertsScreen;
use super::board::BoardScreen;
use super::doctor::DoctorScreen;
use super::fleet::{self, FleetScreen};
use super::journey::JourneyScreen;
use super::key::Key;
use super::layout::Size;
use super::line::Role;
use super::logs::LogsScreen;
use super::prompt::Prompt;
use super::range::Range;
use super::services::ServicesScreen;

/// The screens, by the number that shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Screen {
    /// 1: rate, errors and duration of services; queues; alerts.
    #[default]
    Services,
    /// 2: everything one id reaches.
    Journey,
    /// 3: log records, live.
    Logs,
    /// 7: alert rules and their alerts.
    Alerts,
    /// 8: a board from a file.
    Board,
    /// 9: agents and the instances of services.
    Fleet,
    /// 0: where ids are lost, and how to mend that.
    Doctor,
}

impl Screen {
    /// All screens in the order of the header.
    pub(crate) const ALL: [Self; 7] =
        [Self::Services, Self::Journey, Self::Logs, Self::Alerts, Self::Board, Self::Fleet, Self::Doctor];

    /// The key that shows it.
    pub(crate) const fn number(self) -> char {
        match self {
            Self::Services => '1',
            Self::Journey => '2',
            Self::Logs => '3',
            Self::Alerts => '7',
            Self::Board => '8',
            Self::Fleet => '9',
            Self::Doctor => '0',
        }
    }

    /// Its name in the header.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Services => "Services",
            Self::Journey => "Journey",
            Self::Logs => "Logs",
            Self::Alerts => "Alerts",
            Self::Board => "Board",
            Self::Fleet => "Fleet",
            Self::Doctor => "Doctor",
        }
    }
}

/// How the terminal opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The first screen; with `journey` or `query` that of theirs, else services.
    pub screen: Option<Screen>,
    /// An id whose journey is shown.
    pub journey: Option<String>,
    /// A log search that is made.
    pub query: Option<String>,
    /// The time range; 15 minutes unless told.
    pub range: Option<Duration>,
    /// Only ASCII characters; a locale that is not UTF-8 has the same effect.
    pub ascii: bool,
    /// Colours of the terminal's 16; without them, as with `NO_COLOR`, bold, dim, underline and reverse.
    pub color: bool,
    /// The board of screen 8; `shop` unless told.
    pub board: Option<String>,
    /// A line at the bottom until a journey was opened, for example `try: c ORD-4711`.
    pub start_note: Option<String>,
    /// The client answers from a file, not from a server.
    pub offline: Option<Offline>,
    /// The server's address, for commands that are copied, unless it is the one that commands ask by themselves.
    pub server: Option<String>,
}

/// The file that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offline {
    /// Its path, for commands that are copied.
    pub file: String,
    /// When it was made.
    pub made_at: UnixNano,
    /// The time it is about.
    pub window: TimeRange,
    /// Whether values in it were redacted.
    pub is_redacted: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            screen: None,
            journey: None,
            query: None,
            range: None,
            ascii: false,
            color: true,
            board: None,
            start_note: None,
            offline: None,
            server: None,
        }
    }
}

/// A line at the bottom that goes away by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What it says.
    pub(crate) text: String,
    /// How it means it.
    pub(crate) role: Role,
    /// When it goes.
    pub(crate) until: UnixNano,
}

/// Where one was: enough to show the same again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// The screen.
    pub(crate) screen: Screen,
    /// The id of its journey.
    pub(crate) journey: Option<String>,
    /// Its log search.
    pub(crate) query: String,
    /// Its board.
    pub(crate) board: String,
    /// Its time range.
    pub(crate) range: Range,
    /// How deep one had gone from a screen's number.
    pub(crate) depth: usize,
}

/// The whole state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Size of the terminal.
    pub(crate) size: Size,
    /// The latest time that is known.
    pub(crate) now: UnixNano,
    /// The time range of every view.
    pub(crate) range: Range,
    /// The range was chosen by hand; a board's own range no longer counts.
    pub(crate) is_range_chosen: bool,
    /// When the flow of data was stopped, if it is.
    pub(crate) paused_at: Option<UnixNano>,
    /// The screen that shows.
    pub(crate) screen: Screen,
    /// Screen 1.
    pub(crate) services: ServicesScreen,
    /// Screen 2.
    pub(crate) journey: JourneyScreen,
    /// Screen 3.
    pub(crate) logs: LogsScreen,
    /// Screen 7.
    pub(crate) alerts: AlertsScreen,
    /// Screen 8.
    pub(crate) board: BoardScreen,
    /// Screen 9.
    pub(crate) fleet: FleetScreen,
    /// Screen 0.
    pub(crate) doctor: DoctorScreen,
    /// The open prompt.
    pub(crate) prompt: Option<Prompt>,
    /// What was entered in prompts, oldest first.
    pub(crate) history: Vec<String>,
    /// The first line of the help that shows, while it is open.
    pub(crate) help: Option<usize>,
    /// A line at the bottom.
    pub(crate) notice: Option<Notice>,
    /// A line at the bottom until a journey was opened.
    pub(crate) start_note: Option<String>,
    /// Keys of an unfinished chord.
    pub(crate) chord: Vec<Key>,
    /// Places one can go back to.
    pub(crate) back: Vec<Place>,
    /// Places one came back from.
    pub(crate) forward: Vec<Place>,
    /// How deep one has gone from a screen's number.
    pub(crate) depth: usize,
    /// `q` was pressed at the root.
    pub(crate) is_leaving: bool,
    /// The program goes on.
    pub(crate) is_running: bool,
    /// Something changed that is on the screen.
    pub(crate) is_dirty: bool,
    /// Only ASCII characters.
    pub(crate) ascii: bool,
    /// Colours may be used.
    pub(crate) color: bool,
    /// The file that answers in a server's place.
    pub(crate) offline: Option<Offline>,
    /// What a copied command has to say to ask the same server.
    pub(crate) server: Option<String>,
    /// The number of the next question.
    pub(crate) next_generation: u64,
}

impl State {
    /// The state before the first message. Nothing is asked yet.
    pub(crate) fn new(options: Options, size: Size, now: UnixNano) -> Self {
        let from_input = match (&options.journey, &options.query) {
            (Some(_), _) => Screen::Journey,
            (None, Some(_)) => Screen::Logs,
            (None, None) => Screen::Services,
        };
        let mut journey = JourneyScreen::default();
        if let Some(id) = &options.journey {
            journey.ask_for(id);
        }
        let mut board = BoardScreen::default();
        if let Some(name) = &options.board {
            board.ask_for(name);
        }
        Self {
            size,
            now,
            range: match &options.offline {
                Some(offline) => Range::Between(offline.window),
                None => Range::Last(options.range.unwrap_or(Duration::from_secs(900))),
            },
            is_range_chosen: options.range.is_some() || options.offline.is_some(),
            paused_at: None,
            screen: options.screen.unwrap_or(from_input),
            services: ServicesScreen::default(),
            journey,
            logs: LogsScreen { query: options.query.unwrap_or_default(), ..LogsScreen::default() },
            alerts: AlertsScreen::default(),
            board,
            fleet: FleetScreen::default(),
            doctor: DoctorScreen::default(),
            prompt: None,
            history: Vec::new(),
            help: None,
            notice: None,
            start_note: options.start_note,
            chord: Vec::new(),
            back: Vec::new(),
            forward: Vec::new(),
            depth: 0,
            is_leaving: false,
            is_running: true,
            is_dirty: true,
            ascii: options.ascii,
            color: options.color,
            offline: options.offline,
            server: options.server,
            next_generation: 1,
        }
    }

    /// The instant that views show: now, or when they were paused.
    pub(crate) fn shown_now(&self) -> UnixNano {
        self.paused_at.unwrap_or(self.now)
    }

    /// The time range that views show.
    pub(crate) fn shown_range(&self) -> TimeRange {
        self.range.at(self.shown_now())
    }

    /// Where one is.
    pub(crate) fn place(&self) -> Place {
        Place {
            screen: self.screen,
            journey: self.journey.id.clone(),
            query: self.logs.query.clone(),
            board: self.board.name.clone(),
            range: self.range,
            depth: self.depth,
        }
    }

    /// The command that shows the same in a shell.
    pub(crate) fn cli_command(&self) -> Option<String> {
        let command = self.command_of_screen()?;
        Some(match &self.server {
            Some(server) => format!("{command} --server {}", super::command::quoted(server)),
            None => command,
        })
    }

    fn command_of_screen(&self) -> Option<String> {
        use super::command::quoted;
        if let Some(offline) = &self.offline {
            let file = quoted(&offline.file);
            return Some(match self.screen {
                Screen::Services => format!("silmari services --server {file}"),
                Screen::Alerts => format!("silmari alerts --server {file}"),
                Screen::Journey | Screen::Logs | Screen::Board | Screen::Fleet | Screen::Doctor => {
                    format!("silmari open {file} --text")
                }
            });
        }
        let flags = self.range.flags();
        Some(match self.screen {
            Screen::Services => format!("silmari services {flags}"),
            Screen::Journey => {
                let clocks = if self.journey.is_corrected { " --correct-clocks" } else { "" };
                format!("silmari trace {} {flags}{clocks}", quoted(self.journey.id.as_ref()?))
            }
            Screen::Logs => format!("silmari logs {} {flags}", quoted(&self.logs.query)),
            Screen::Alerts => "silmari alerts".to_owned(),
            Screen::Doctor => format!("silmari doctor {flags}"),
            Screen::Fleet => match self.fleet.block {
                fleet::Block::Agents => "silmari agents".to_owned(),
                fleet::Block::Instances => "silmari inventory".to_owned(),
            },
            Screen::Board => super::board::command(self.board.focused()?, self.shown_range(), &flags)?,
        })
    }
}
