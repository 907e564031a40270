//! The program in a real pseudo-terminal: what is drawn before any answer, and that the terminal is
//! given back whatever ends the program.
//!
//! Without the usual test harness: this program starts itself again inside the pseudo-terminal, and the
//! harness would write its own lines there.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};

const INSIDE: &str = "SILMARI_TUI_INSIDE";
const DEADLINE: Duration = Duration::from_secs(20);

fn main() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    chrome_stands_without_a_server_and_q_twice_gives_the_terminal_back();
    every_end_gives_the_terminal_back();
    a_screen_of_any_size_takes_keys();
}

/// The program under test; nobody answers at its server's address.
fn inside() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let client = query_api::Client::new("http://127.0.0.1:1");
    let ended = runtime.block_on(tui::run(client, tui::Options::default(), model::SystemClock::shared()));
    std::process::exit(i32::from(ended.is_err()));
}

fn chrome_stands_without_a_server_and_q_twice_gives_the_terminal_back() {
    let mut screen = Screen::open(30, 100);
    screen.wait_for("1 Services");
    screen.wait_for("is `silmari serve` running there?");
    screen.press("cORD-4711\r");
    screen.wait_for("ORD-4711");
    screen.press("3");
    screen.wait_for("/ everything");
    screen.press("1q");
    screen.wait_for("q again quits");
    screen.press("q");
    assert!(screen.ended(), "q at the root ends with success");
}

fn every_end_gives_the_terminal_back() {
    let mut screen = Screen::open(30, 100);
    screen.wait_for("1 Services");
    screen.press(":\x03");
    assert!(screen.ended(), "Ctrl-C");
    for signal in ["TERM", "HUP", "INT"] {
        let mut screen = Screen::open(30, 100);
        screen.wait_for("1 Services");
        let process = screen.child.process_id().expect("it runs").to_string();
        let sent =
            std::process::Command::new("kill").args(["-s", signal, &process]).status().expect("kill runs");
        assert!(sent.success());
        assert!(screen.ended(), "SIG{signal}");
    }
}

fn a_screen_of_any_size_takes_keys() {
    for (rows, columns) in [(1, 1), (4, 19), (5, 20), (60, 300)] {
        let mut screen = Screen::open(rows, columns);
        screen.wait_until("the alternate screen", vt100::Screen::alternate_screen);
        screen.press("378?\x1b\x03");
        assert!(screen.ended(), "{columns}×{rows}");
    }
}

struct Screen {
    parser: vt100::Parser,
    bytes: Receiver<Vec<u8>>,
    keys: Box<dyn std::io::Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn portable_pty::MasterPty + Send>,
}

impl Screen {
    fn open(rows: u16, cols: u16) -> Self {
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(std::env::current_exe().expect("this program"));
        for (name, value) in [(INSIDE, "1"), ("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")] {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("it starts");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 8_192];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let nonzero = |number| std::num::NonZeroU16::new(number).expect("a terminal has a size");
        let parser = vt100::Parser::new(nonzero(rows), nonzero(cols), 0);
        Self { parser, bytes, keys, child, _master: pair.master }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys are taken");
    }

    fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |screen| screen.contents().contains(text));
    }

    fn wait_until(&mut self, what: &str, is_there: impl Fn(&vt100::Screen) -> bool) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !is_there(self.parser.screen()) {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(problem) => panic!("no {what} ({problem}) in:\n{}", self.parser.screen().contents()),
            }
        }
    }

    /// Waits for the end of the program; whether it succeeded. The terminal must be as it was.
    fn ended(mut self) -> bool {
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            match self.bytes.recv_timeout(Duration::from_millis(50)) {
                Ok(bytes) => self.parser.process(&bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    assert!(tokio::time::Instant::now() < end, "it does not end");
                }
            }
        }
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen(), "the alternate screen was left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert!(!screen.bracketed_paste(), "pastes are plain again");
        self.child.wait().expect("it ended").success()
    }
}
