//! `kill -9` of agent and server, each by itself, while a service writes and rotates: every line is in
//! the store once.
//!
//! The lines are numbered; the store is asked how many there are and how many different ones. More
//! rounds: `make torture-agent ROUNDS=1000`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use fixtures::server::{ServerSettings, TestAgent, TestServer};
use query_api::{Client, SqlRequest};

use crate::support::eventually;

/// Rounds of `make test`.
const ROUNDS: u64 = 50;
/// Rounds between two questions to the store: it is asked about all rows, and they become more.
const ASK_ROUNDS: u64 = 10;
/// Lines before a rotation.
const ROTATE_LINES: u64 = 700;
const DEADLINE: Duration = Duration::from_secs(60);
/// Until all is stored and counted, which takes the longer the more rounds there were.
const STORED_DEADLINE: Duration = Duration::from_secs(600);

/// xorshift64: kills fall at other moments every round, and at the same ones every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A service that logs numbers and has its file rotated.
struct Service {
    written: Arc<AtomicU64>,
    rotations: Arc<AtomicU64>,
    /// Lines below this are stored: their files may be deleted.
    settled: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    working: std::thread::JoinHandle<()>,
}

impl Service {
    fn start(folder: PathBuf) -> Self {
        let (written, rotations) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let settled = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let state = (Arc::clone(&written), Arc::clone(&rotations), Arc::clone(&settled), Arc::clone(&stop));
        let working =
            std::thread::spawn(move || write_lines(&folder, [&state.0, &state.1, &state.2], &state.3));
        Self { written, rotations, settled, stop, working }
    }

    fn written(&self) -> u64 {
        self.written.load(SeqCst)
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        self.working.join().expect("the service ends");
        (self.written.load(SeqCst), self.rotations.load(SeqCst))
    }
}

fn write_lines(folder: &Path, [written, rotations, settled]: [&AtomicU64; 3], stop: &AtomicBool) {
    let mut deleted = 0;
    let path = folder.join("a.log");
    let open = || -> File { OpenOptions::new().create(true).append(true).open(&path).expect("opened") };
    let mut file = open();
    while !stop.load(SeqCst) {
        for _ in 0..20 {
            let number = written.load(SeqCst);
            // In two parts, so that a reader meets unfinished lines.
            write!(file, "line {number:08} ").and_then(|()| file.flush()).expect("written");
            writeln!(file, "of a service that is killed around").expect("written");
            written.store(number + 1, SeqCst);
            if (number + 1).is_multiple_of(ROTATE_LINES) {
                let count = rotations.fetch_add(1, SeqCst);
                fs::rename(&path, folder.join(format!("a.log.{count}"))).expect("rotated");
                file = open();
            }
        }
        while (deleted + 1) * ROTATE_LINES <= settled.load(SeqCst) {
            fs::remove_file(folder.join(format!("a.log.{deleted}"))).expect("deleted");
            deleted += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All rows, and how many differ.
async fn stored(api: &str) -> Result<(u64, u64), String> {
    let query = "select count(*), count(distinct body) from logs where service = 'killed'".to_owned();
    let answer = Client::new(api).sql(&SqlRequest { query, limit: None }).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let number = |at: usize| answer.rows[0][at].as_u64().ok_or_else(|| "no number".to_owned());
    Ok((number(0)?, number(1)?))
}

/// The folder, its server and agent.
struct World {
    server: TestServer,
    settings: ServerSettings,
    agent: TestAgent,
    agent_settings: PathBuf,
}

impl World {
    async fn start(folder: &Path) -> Self {
        let config = folder.join("silmari.toml");
        // Of four million lines the different ones are counted for longer than a person would wait.
        let text = "[store]\nseal_rows = 2000\n[sql]\ntimeout = \"10m\"\nmemory_bytes_max = \"2GiB\"\n";
        fs::write(&config, text).expect("written");
        let settings = ServerSettings::new(folder.join("data")).config(config);
        let server = TestServer::start_with(settings.clone()).await.expect("a server");
        let agent_settings = folder.join("agent.toml");
        let logs = folder.join("logs");
        fs::create_dir(&logs).expect("a folder");
        let text = format!(
            "[agent]\ndata_dir = {:?}\n[collector]\nendpoint = {:?}\nflush = \"20ms\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [files.killed]\ninclude = [{:?}]\nservice = \"killed\"\ndialect = \"plain\"\nstart_at = \"beginning\"\n",
            folder.join("agent"),
            server.otlp_http(),
            logs.join("a.log*"),
        );
        fs::write(&agent_settings, text).expect("written");
        let agent = TestAgent::start(&agent_settings).expect("an agent");
        Self { settings: settings.listen_like(&server), server, agent, agent_settings }
    }

    async fn kill_agent(&mut self) {
        self.agent.kill9().await.expect("killed");
        self.agent = TestAgent::start(&self.agent_settings).expect("an agent");
    }

    async fn kill_server(&mut self) {
        self.server.kill9().await.expect("killed");
        self.server = TestServer::start_with(self.settings.clone()).await.expect("starts every time");
    }

    /// The agent's own account, which has to add up.
    async fn agent_status(&mut self) -> serde_json::Value {
        let ready = self.agent.process().wait_for("ready").await.expect("ready");
        let url = format!("{}/status", ready["admin"].as_str().expect("an address"));
        let body = reqwest::get(url).await.expect("an answer").text().await.expect("text");
        serde_json::from_str(&body).expect("JSON")
    }
}

fn assert_conserved(status: &serde_json::Value) {
    for flow in status["flows"].as_array().expect("flows") {
        let number = |key: &str| flow[key].as_u64().expect("a number");
        let dropped: u64 = flow["dropped"]
            .as_array()
            .expect("reasons")
            .iter()
            .map(|reason| reason[1].as_u64().expect("a number"))
            .sum();
        let accounted = number("output_records") + dropped + number("buffered_records");
        assert_eq!(number("input_records"), accounted, "{flow}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_stored_once_while_agent_and_server_are_killed_under_load_and_rotation() {
    let rounds =
        std::env::var("SILMARI_TORTURE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start(folder.path()).await;
    let service = Service::start(folder.path().join("logs"));
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut kills, mut backlogs) = ([0u64; 2], 0);
    for round in 0..rounds {
        let wanted = service.written() + 100 + dice.below(600);
        let enough = || async { (service.written() >= wanted).then_some(()).ok_or("writing".to_owned()) };
        eventually(DEADLINE, enough).await;
        if round % ASK_ROUNDS == 0 {
            let (rows, _) = stored(world.server.api()).await.expect("an answer");
            backlogs += u64::from(rows < service.written());
            // The store has rows in the order of the file, but for the few on their way.
            service.settled.store(rows.saturating_sub(10 * ROTATE_LINES), SeqCst);
        }
        match round % 4 {
            0 | 1 => world.kill_agent().await,
            2 => world.kill_server().await,
            _ => {
                world.agent.kill9().await.expect("killed");
                world.kill_server().await;
                world.kill_agent().await;
            }
        }
        kills[0] += u64::from(round % 4 != 2);
        kills[1] += u64::from(round % 4 >= 2);
    }
    let (written, rotations) = service.stop();
    let all = || async {
        let (rows, distinct) = stored(world.server.api()).await?;
        (distinct >= written).then_some(()).ok_or(format!("{rows} rows, {distinct} lines of {written}"))
    };
    eventually(STORED_DEADLINE, all).await;
    assert_eq!(stored(world.server.api()).await, Ok((written, written)), "rows, different lines");
    assert!(backlogs > 0 && rotations > 0, "no kill hit anything: the test says nothing");
    let status = world.agent_status().await;
    assert_conserved(&status);
    assert_eq!(status["collector"]["delivery"], "exactly once", "{status}");
    let summary = format!(
        "{rounds} rounds: {} kills of the agent, {} of the server, {rotations} rotations, {written} lines: \
         0 lost, 0 doubled\n",
        kills[0], kills[1]
    );
    std::io::stdout().write_all(summary.as_bytes()).expect("shown");
    world.server.stop().await.expect("stops");
}
