//! The terminal itself: raw mode, alternate screen, bracketed paste, and giving all of it back.
//!
//! Invariant: [`restore`] runs when the guard drops, when the program panics, and before it stops
//! itself; running it twice changes nothing.

use std::io::{self, IsTerminal as _, Stdout, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use thiserror::Error;

use crate::core::State;
use crate::core::key::Key;
use crate::core::state::Options;
use crate::view::view;

/// Why the terminal interface ended early.
#[derive(Debug, Error)]
pub enum Error {
    /// Input or output is a file or a pipe.
    #[error("the terminal interface needs a terminal: input and output must both be one")]
    NoTerminal,
    /// The terminal cannot be read or written.
    #[error("the terminal failed")]
    Io(#[from] io::Error),
}

/// Longer text is not put on the clipboard: terminals cut it or drop it.
const COPY_BYTES_MAX: usize = 74_994;

/// The terminal while it is ours.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    is_ours: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over. A panic from here on restores it before its message is printed.
    pub(crate) fn take() -> Result<Self, Error> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Error::NoTerminal);
        }
        let is_ours = Arc::new(AtomicBool::new(false));
        restore_on_panic(Arc::clone(&is_ours));
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        let mut screen = Self { terminal, is_ours };
        screen.enter()?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(crate) fn size(&self) -> Result<(u16, u16), Error> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws what changed.
    pub(crate) fn draw(&mut self, state: &State) -> Result<(), Error> {
        if !self.is_ours.load(Ordering::SeqCst) {
            // A task panicked; its message stands on the shell's screen and stays there.
            self.enter()?;
            self.terminal.clear()?;
        }
        self.terminal.draw(|frame| view(state, frame))?;
        Ok(())
    }

    /// Puts text on the clipboard of the machine the user sits at (OSC 52), over ssh too.
    pub(crate) fn copy(&mut self, text: &str) -> Result<(), Error> {
        if text.len() <= COPY_BYTES_MAX {
            execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))?;
        }
        Ok(())
    }

    /// Gives the terminal back, stops the process as Ctrl-Z does in a shell, and takes the terminal
    /// over again when the shell continues it.
    pub(crate) fn suspend(&mut self) -> Result<(), Error> {
        restore(&self.is_ours);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)
            .map_err(io::Error::from)?;
        self.enter()?;
        self.terminal.clear()?;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.is_ours.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore(&self.is_ours);
    }
}

/// Gives the terminal back if it is ours. Errors have nobody left to hear them.
fn restore(is_ours: &AtomicBool) {
    if is_ours.swap(false, Ordering::SeqCst) {
        drop(execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, cursor::Show));
        drop(disable_raw_mode());
        drop(io::stdout().flush());
    }
}

fn restore_on_panic(is_ours: Arc<AtomicBool>) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore(&is_ours);
        before(panic);
    }));
}

/// What the environment says about the terminal: `NO_COLOR`, and a locale that is not UTF-8.
pub(crate) fn adapted(mut options: Options) -> Options {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(|name| is_set(name));
    let locale = locale.and_then(|name| std::env::var(name).ok());
    options.color &= !is_set("NO_COLOR");
    options.ascii |= locale.is_some_and(|locale| !locale.to_lowercase().replace('-', "").contains("utf8"));
    options
}

/// Columns of the terminal, if there is one.
pub fn terminal_width() -> Option<usize> {
    let (columns, _) = crossterm::terminal::size().ok()?;
    (io::stdout().is_terminal() && columns > 0).then_some(usize::from(columns))
}

/// Lines of the terminal, if there is one.
pub fn terminal_height() -> Option<usize> {
    let (_, lines) = crossterm::terminal::size().ok()?;
    (io::stdout().is_terminal() && lines > 0).then_some(usize::from(lines))
}

/// Our key for the terminal's; `None` for keys that mean nothing here.
pub(crate) fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let is_ctrl = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        KeyCode::Char(char) if is_ctrl => Key::Ctrl(char.to_ascii_lowercase()),
        KeyCode::Char(char) if !event.modifiers.contains(KeyModifiers::ALT) => Key::Char(char),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Delete,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
