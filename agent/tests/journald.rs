//! A real journal, read by the real `journalctl`: where reading begins, and that a restart repeats nothing.
//!
//! `tests/data/billing-*.journal.gz` were written by `systemd-journal-remote` 252 from journal export format: units
//! billing and sshd, one message with bytes that are no UTF-8. Where there is no `journalctl` there is no journal
//! to read either, and these tests say so and end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::collector::Collector;
use crate::support::{Host, until};

const JOURNALS: [(&str, &[u8]); 3] = [
    ("one", include_bytes!("data/billing-one.journal.gz")),
    ("two", include_bytes!("data/billing-two.journal.gz")),
    ("three", include_bytes!("data/billing-three.journal.gz")),
];

/// A folder of journals and a `journalctl` for it.
struct Journal {
    host: Host,
    folder: PathBuf,
}

impl Journal {
    /// `None` where there is no `journalctl`.
    fn new() -> Option<Self> {
        if Command::new("journalctl").arg("--version").output().is_err() {
            std::io::stderr().write_all(b"no journalctl here: not tried\n").expect("said");
            return None;
        }
        let host = Host::new();
        let folder = host.path("journal");
        fs::create_dir(&folder).expect("folder");
        let script = format!("#!/bin/sh\nexec journalctl --directory '{}' \"$@\"\n", folder.display());
        fs::write(host.path("journalctl"), script).expect("written");
        fs::set_permissions(host.path("journalctl"), fs::Permissions::from_mode(0o755)).expect("set");
        Some(Self { host, folder })
    }

    /// The journal is rotated: a further file.
    fn add(&self, number: usize) {
        let (name, packed) = JOURNALS[number];
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).expect("sound");
        fs::write(self.host.path("new"), bytes).expect("written");
        fs::rename(self.host.path("new"), self.folder.join(format!("{name}.journal"))).expect("renamed");
    }

    fn settings(&self) -> String {
        format!(
            "[journald]\ncommand = '{}'\nunits = [\"billing.service\"]\nmin_level = \"info\"\n",
            self.host.path("journalctl").display()
        )
    }

    fn cursor(&self) -> PathBuf {
        self.host.data.path().join("journald.cursor")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_is_read_from_the_first_start_on_and_no_entry_comes_twice_over_restarts() {
    let Some(journal) = Journal::new() else { return };
    let collector = Collector::start().await;
    journal.add(0);
    let agent = journal.host.agent(&collector.url(), &journal.settings()).await;
    until("where the journal ends", || journal.cursor().exists()).await;
    agent.stop().await;
    // Written while no agent ran.
    journal.add(1);
    let agent = journal.host.agent(&collector.url(), &journal.settings()).await;
    until("the next entry", || !collector.texts().is_empty()).await;
    agent.stop().await;
    assert_eq!(collector.texts(), ["after the rotation"]);
    journal.add(2);
    let agent = journal.host.agent(&collector.url(), &journal.settings()).await;
    until("the last entry", || collector.texts().len() > 1).await;
    agent.stop().await;
    assert_eq!(collector.texts(), ["after the rotation", "after the restart"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_spooled_just_before_a_crash_come_once_because_the_spool_knows_their_cursor() {
    let Some(journal) = Journal::new() else { return };
    let collector = Collector::start().await;
    journal.add(0);
    let agent = journal.host.agent(&collector.url(), &journal.settings()).await;
    until("where the journal ends", || journal.cursor().exists()).await;
    agent.stop().await;
    let before = fs::read(journal.cursor()).expect("a cursor");
    journal.add(1);
    let agent = journal.host.agent(&collector.url(), &journal.settings()).await;
    until("the next entry", || !collector.texts().is_empty()).await;
    agent.stop().await;
    // As if the crash had come between the spool and the file.
    assert_ne!(fs::read(journal.cursor()).expect("a cursor"), before);
    fs::write(journal.cursor(), before).expect("written");
    journal.add(2);
    let agent = journal.host.agent(&collector.url(), &journal.settings()).await;
    until("the last entry", || collector.texts().len() > 1).await;
    agent.stop().await;
    assert_eq!(collector.texts(), ["after the rotation", "after the restart"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_carry_their_unit_time_and_level_and_bytes_that_are_no_text() {
    let Some(journal) = Journal::new() else { return };
    let collector = Collector::start().await;
    journal.add(0);
    fs::write(journal.cursor(), "").expect("from the beginning");
    let agent = journal.host.agent(&collector.url(), &journal.settings()).await;
    until("the entries of the unit", || collector.records().len() == 3).await;
    agent.stop().await;
    let records = collector.records();
    assert_eq!(records[0].text, "ready");
    assert_eq!((records[1].severity_number, records[1].resource("service.name")), (17, "billing"));
    assert_eq!(records[1].trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(records[1].attribute("systemd.unit"), "billing.service");
    assert_eq!(records[1].attribute("process.pid"), "77");
    assert_eq!(records[2].severity_number, 13);
    assert!(records[2].text.starts_with("two lines\nof one message"), "{:?}", records[2].text);
}
