//! A journey as it goes on: drawn again on a terminal, new rows as lines elsewhere.
//!
//! ```text
//! server ─► journey, again when it changed ─┬─ terminal: erase what was drawn, draw
//! clock ──► once a second: its progress     ├─ pipe: the rows that are new, and each change of its progress
//!                                           └─ --json: one journey a line
//! ```
//!
//! Invariants: nothing is asked again while nothing arrives; a server that goes away is waited for; an id that
//! nothing carries yet is waited for, and that is said once.

use std::io::{IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use model::{Clock, SystemClock, UnixNano};
use query_api::{Client, ClientError, Journey, ProgressState};
use tui::text::NewRows;

use crate::cli::TraceArgs;
use crate::exit::Failure;
use crate::output;
use crate::remote::{DAY, ServerArgs};

/// How long until it is asked again for what is not there.
const AGAIN: Duration = Duration::from_secs(1);
/// How often passing time is looked at.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(server: &ServerArgs, arguments: &TraceArgs) -> Result<(), Failure> {
    let client = server.client()?;
    let clock = SystemClock::shared();
    let from = arguments.range.range(DAY)?.from;
    let is_terminal = std::io::stdout().is_terminal() && !arguments.json;
    let width = arguments.width.unwrap_or_else(output::width);
    let show = match (arguments.json, is_terminal) {
        (true, _) => Show::Json,
        (false, true) => Show::Drawn { lines: 0 },
        (false, false) => Show::Lines(NewRows::default()),
    };
    let mut watch = Watch { show, width, latest: None, said: None, is_until_done: arguments.until_done };
    let mut waits = Waits::default();
    loop {
        let ended = follow(&client, arguments, from, &*clock, &mut watch, &mut waits).await;
        match ended {
            Ok(true) => return Ok(()),
            // The server closed it: it is asked again.
            Ok(false) => {}
            Err(error) => waits.wait_for(&arguments.id, error, watch.latest.is_some())?,
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What is waited for, each said once each time.
#[derive(Default)]
struct Waits {
    has_said_unknown: bool,
    has_said_gone: bool,
}

impl Waits {
    /// Whether an error passes by itself; if not it is given back.
    fn wait_for(&mut self, id: &str, error: ClientError, has_shown: bool) -> Result<(), Failure> {
        match error {
            ClientError::Refused(body) if body.code == "not_found" => {
                if !std::mem::replace(&mut self.has_said_unknown, true) {
                    output::remark(&format!("nothing carries the id `{id}` yet; waiting for it"));
                }
            }
            ClientError::Refused(body) if body.code == "unavailable" => {}
            ClientError::Unreachable { .. } if has_shown => {
                if !std::mem::replace(&mut self.has_said_gone, true) {
                    output::remark("the server is gone; waiting for it");
                }
            }
            other => return Err(other.into()),
        }
        Ok(())
    }
}

/// Follows until the stream ends. `true` when what was waited for has come.
async fn follow(
    client: &Client,
    arguments: &TraceArgs,
    from: UnixNano,
    clock: &dyn Clock,
    watch: &mut Watch,
    waits: &mut Waits,
) -> Result<bool, ClientError> {
    let limits = arguments.limits.given();
    let journeys = client.follow_journey(&arguments.id, from, arguments.correct_clocks, &limits).await?;
    // It is there: when it goes again, that is said again.
    waits.has_said_gone = false;
    let mut journeys = pin!(journeys);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        let is_shown = tokio::select! {
            journey = journeys.next() => match journey {
                None => return Ok(false),
                Some(journey) => watch.take(journey?, clock.now()),
            },
            _ = ticks.tick() => watch.tick(clock.now()),
        };
        // A reader that has gone ended the program already; other failures of standard output end it too.
        if is_shown.is_err() || watch.is_over() {
            return Ok(true);
        }
    }
}

/// How it is shown.
enum Show {
    /// On a terminal: this many lines were drawn last.
    Drawn { lines: usize },
    /// Elsewhere.
    Lines(NewRows),
    /// One journey a line.
    Json,
}

struct Watch {
    show: Show,
    width: usize,
    latest: Option<Journey>,
    /// The progress that was shown last.
    said: Option<ProgressState>,
    is_until_done: bool,
}

impl Watch {
    fn is_over(&self) -> bool {
        self.is_until_done && self.said == Some(ProgressState::Done)
    }

    /// A new journey.
    fn take(&mut self, mut journey: Journey, now: UnixNano) -> Result<(), Failure> {
        journey.advance(now);
        journey.progress = Some(journey.progress_at(now));
        match &mut self.show {
            Show::Drawn { .. } | Show::Json => {}
            Show::Lines(known) => output::text(&known.lines(&journey))?,
        }
        self.latest = Some(journey);
        if matches!(self.show, Show::Lines(_)) { self.say() } else { self.draw() }
    }

    /// A second later.
    fn tick(&mut self, now: UnixNano) -> Result<(), Failure> {
        let Some(journey) = &mut self.latest else { return Ok(()) };
        let before = journey.progress.clone();
        journey.advance(now);
        journey.progress = Some(journey.progress_at(now));
        if before == journey.progress {
            return Ok(());
        }
        let is_same_state =
            before.map(|progress| progress.state) == journey.progress.as_ref().map(|of| of.state);
        match &self.show {
            Show::Drawn { .. } => {
                let is_still = matches!(self.said, Some(ProgressState::Done)) && is_same_state;
                if is_still { Ok(()) } else { self.draw() }
            }
            Show::Json if is_same_state => Ok(()),
            Show::Json => self.draw(),
            Show::Lines(_) => self.say(),
        }
    }

    /// A line when the state is another one.
    fn say(&mut self) -> Result<(), Failure> {
        let Some(progress) = self.latest.as_ref().and_then(|journey| journey.progress.as_ref()) else {
            return Ok(());
        };
        if self.said.replace(progress.state) == Some(progress.state) {
            return Ok(());
        }
        output::text(&format!("-- {}\n", output::clean(&progress.text())))
    }

    /// All of it.
    fn draw(&mut self) -> Result<(), Failure> {
        let Some(journey) = &self.latest else { return Ok(()) };
        self.said = journey.progress.as_ref().map(|progress| progress.state);
        let Show::Drawn { lines } = &mut self.show else { return output::json_line(journey) };
        let ascii = output::is_ascii();
        let text = tui::text::followed_journey(journey, self.width, ascii);
        let height = tui::terminal_height().unwrap_or(24).saturating_sub(1);
        let shown = fitted(&text, height);
        let mut out = std::io::stdout().lock();
        let up = if *lines > 0 { format!("\x1b[{lines}A\r\x1b[J") } else { String::new() };
        *lines = shown.lines().count();
        out.write_all(up.as_bytes())
            .and_then(|()| out.write_all(shown.as_bytes()))
            .and_then(|()| out.flush())?;
        Ok(())
    }
}

/// The beginning and the end of a text that is longer than the terminal: how it goes, and what came last.
fn fitted(text: &str, height: usize) -> String {
    /// Lines about the whole journey.
    const HEAD: usize = 6;
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= height || height < HEAD + 3 {
        let kept: Vec<&str> = lines.iter().copied().take(height).collect();
        return kept.join("\n") + "\n";
    }
    let tail = height - HEAD - 1;
    let hidden = lines.len() - HEAD - tail;
    let (head, end) = (&lines[..HEAD], &lines[lines.len() - tail..]);
    format!("{}\n … {hidden} lines above\n{}\n", head.join("\n"), end.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_than_the_terminal_keeps_its_beginning_and_its_end() {
        let text: String = (0..40).map(|line| format!("{line}\n")).collect();
        let shown = fitted(&text, 20);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 20);
        assert_eq!((lines[0], lines[6], lines[19]), ("0", " … 21 lines above", "39"));
        assert_eq!(fitted(&text, 100), text);
        assert!(fitted(&text, 5).lines().count() <= 5);
    }
}
