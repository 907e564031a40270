//! The terminal UI in a pseudo-terminal: through the five screens, and the terminal restored.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fixtures::shop::{Shop, ShopSettings};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use crate::support::{SILMARI, eventually, server};

const ROWS: NonZeroU16 = NonZeroU16::new(32).expect("not zero");
const COLUMNS: NonZeroU16 = NonZeroU16::new(110).expect("not zero");

/// A terminal with `silmari` in it.
struct Screen {
    parser: Arc<Mutex<vt100::Parser>>,
    keys: Box<dyn std::io::Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
}

impl Screen {
    fn open(api: &str) -> Self {
        let size = PtySize { rows: ROWS.get(), cols: COLUMNS.get(), pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(SILMARI);
        command.args(["--server", api]);
        command.env("TERM", "xterm-256color");
        command.env("LANG", "C.UTF-8");
        let child = pair.slave.spawn_command(command).expect("silmari runs");
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let parser = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let feeding = Arc::clone(&parser);
        std::thread::spawn(move || {
            // The master must live as long as its reader.
            let _master = pair.master;
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                feeding.lock().expect("not poisoned").process(&bytes[..read]);
            }
        });
        Self { parser, keys, child }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("keys are taken");
    }

    fn text(&self) -> String {
        self.parser.lock().expect("not poisoned").screen().contents()
    }

    async fn shows(&self, parts: &[&str]) {
        let looks = || async {
            let text = self.text();
            let missing: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are missing in:\n{text}")) }
        };
        eventually(Duration::from_secs(30), looks).await;
    }

    /// Waits until the terminal is as it was before. What the program wrote last may be read after its end.
    async fn is_restored(&self) {
        let restored = || async {
            let parser = self.parser.lock().expect("not poisoned");
            let is_restored = !parser.screen().alternate_screen() && !parser.screen().hide_cursor();
            if is_restored { Ok(()) } else { Err("the terminal is not restored".to_owned()) }
        };
        eventually(Duration::from_secs(10), restored).await;
    }

    async fn ends(&mut self) {
        let end = std::time::Duration::from_secs(10);
        let child = Mutex::new(&mut self.child);
        let ended = || async {
            let status = child.lock().expect("not poisoned").try_wait().expect("waits");
            status.map(|_| ()).ok_or_else(|| "still running".to_owned())
        };
        eventually(end, ended).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_five_screens_show_the_shop_and_the_terminal_is_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = server(folder.path()).await;
    let (agent, endpoint) = crate::support::agent(folder.path(), &server).await;
    let settings =
        ShopSettings { purchases: 20, rate: 20.0, ..ShopSettings::new(endpoint, folder.path().join("logs")) };
    let shop = Shop::start(settings).await.expect("a shop");
    assert!(shop.wait_idle(Duration::from_secs(60)).await, "the shop did not come to rest");
    shop.stop().await;

    let mut screen = Screen::open(server.api());
    screen.shows(&["gateway", "billing", "order-view"]).await;
    screen.press("cORD-4711\r");
    screen.shows(&["ORD-4711", "checkout", "why here"]).await;
    screen.press("G");
    screen.shows(&["process order-events", "waits in order-events/"]).await;
    screen.press("3");
    screen.shows(&["Logs", "billing"]).await;
    screen.press("7");
    screen.shows(&["Alerts"]).await;
    screen.press("8");
    screen.shows(&["Shop"]).await;
    screen.press("1");
    screen.shows(&["gateway"]).await;
    assert!(screen.parser.lock().expect("not poisoned").screen().alternate_screen());
    screen.press("\x03");
    screen.ends().await;
    screen.is_restored().await;
    agent.stop().await.expect("stops");
    server.stop().await.expect("stops");
}
