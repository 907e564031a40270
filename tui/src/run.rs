//! The loop: wait for something, take everything that has come, draw once.
//!
//! A key is drawn at once. Data is drawn at most 30 times a second. Nothing new, nothing drawn.

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use model::Clock;
use query_api::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::core::state::Options;
use crate::core::update::{start, update};
use crate::core::{Effect, Msg, State};
use crate::effects::{CHANNEL, Effects};
use crate::terminal::{self, Error, Screen};

/// Data is not drawn more often than this.
const FRAME: Duration = Duration::from_millis(33);
/// Messages taken before a frame is drawn, so that a flood of data does not stop the drawing.
const MESSAGES_MAX: usize = 1_024;

/// Shows the terminal interface until the user leaves it or a signal ends it.
///
/// # Errors
/// [`Error::NoTerminal`] when input or output is no terminal. The terminal is restored in any case.
pub async fn run(client: Client, options: Options, clock: Arc<dyn Clock>) -> Result<(), Error> {
    // Before the terminal is taken over, so that no signal finds it ours and unguarded.
    let signals = Signals::new()?;
    let mut screen = Screen::take()?;
    let (width, height) = screen.size()?;
    let size = crate::core::layout::Size { width, height };
    let state = State::new(terminal::adapted(options), size, clock.now());
    // The chrome stands before anything is asked.
    screen.draw(&state)?;
    let (sender, messages) = mpsc::channel(CHANNEL);
    let effects = Effects::new(client, sender);
    Loop { screen, state, effects, messages, clock, drawn_at: Instant::now() }.run(signals).await
}

/// Signals that end the program the way `q` does.
struct Signals {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

struct Loop {
    screen: Screen,
    state: State,
    effects: Effects,
    messages: mpsc::Receiver<Msg>,
    clock: Arc<dyn Clock>,
    drawn_at: Instant,
}

/// What ended the waiting.
enum Wake {
    Terminal(Option<std::io::Result<Event>>),
    Message(Option<Msg>),
    Tick,
    Frame,
    Ended,
}

impl Loop {
    async fn run(mut self, mut signals: Signals) -> Result<(), Error> {
        let mut events = EventStream::new();
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let first = start(&mut self.state);
        self.perform(first)?;
        while self.state.is_running {
            let wake = self.wait(&mut events, &mut ticks, &mut signals).await;
            let is_input = matches!(wake, Wake::Terminal(_));
            match wake {
                Wake::Terminal(Some(event)) => self.terminal_event(event?)?,
                Wake::Terminal(None) | Wake::Ended => return Ok(()),
                Wake::Message(Some(msg)) => self.handle(msg)?,
                Wake::Message(None) | Wake::Frame => {}
                Wake::Tick => self.handle(Msg::Tick(self.clock.now()))?,
            }
            self.drain()?;
            if self.state.is_running && self.state.is_dirty && (is_input || self.drawn_at.elapsed() >= FRAME)
            {
                self.draw()?;
            }
        }
        Ok(())
    }

    async fn wait(
        &mut self,
        events: &mut EventStream,
        ticks: &mut tokio::time::Interval,
        signals: &mut Signals,
    ) -> Wake {
        let next_frame = self.drawn_at + FRAME;
        tokio::select! {
            biased;
            _ = signals.terminate.recv() => Wake::Ended,
            _ = signals.hang_up.recv() => Wake::Ended,
            _ = signals.interrupt.recv() => Wake::Ended,
            event = events.next() => Wake::Terminal(event),
            () = sleep_until(next_frame), if self.state.is_dirty => Wake::Frame,
            _ = ticks.tick() => Wake::Tick,
            msg = self.messages.recv() => Wake::Message(msg),
        }
    }

    fn drain(&mut self) -> Result<(), Error> {
        for _ in 0..MESSAGES_MAX {
            let Ok(msg) = self.messages.try_recv() else { break };
            self.handle(msg)?;
        }
        Ok(())
    }

    fn terminal_event(&mut self, event: Event) -> Result<(), Error> {
        // Ages and clocks on the screen are those of the key press.
        self.state.now = self.clock.now();
        match event {
            Event::Key(event) => match terminal::key(event) {
                Some(key) => self.handle(Msg::Key(key)),
                None => Ok(()),
            },
            Event::Paste(text) => self.handle(Msg::Paste(text)),
            Event::Resize(width, height) => self.handle(Msg::Resize(width, height)),
            Event::FocusGained | Event::FocusLost | Event::Mouse(_) => Ok(()),
        }
    }

    fn handle(&mut self, msg: Msg) -> Result<(), Error> {
        let effects = update(&mut self.state, msg);
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<(), Error> {
        for effect in effects {
            match effect {
                Effect::Ask { pane, generation, ask } => self.effects.ask(pane, generation, ask),
                Effect::Abort(pane) => self.effects.abort(pane),
                Effect::Copy(text) => self.screen.copy(&text)?,
                Effect::Suspend => {
                    self.screen.suspend()?;
                    self.state.is_dirty = true;
                }
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Error> {
        self.screen.draw(&self.state)?;
        self.state.is_dirty = false;
        self.drawn_at = Instant::now();
        Ok(())
    }
}
