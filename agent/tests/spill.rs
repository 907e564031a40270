//! Log files that are deleted while the collector is away.

use std::fs;
use std::path::Path;

use agent::status::Status;

use crate::collector::Collector;
use crate::support::{Host, Program, until};

const LINES: usize = 30_000;

/// Whether this or a child process holds a deleted file of that name open.
fn is_held(process: u32, path: &Path) -> bool {
    let wanted = format!("{} (deleted)", path.display());
    let handles = fs::read_dir(format!("/proc/{process}/fd")).expect("Linux");
    handles
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| link.to_string_lossy() == wanted)
}

fn spilled(status: &Status) -> u64 {
    status.spool.lanes.iter().find(|lane| lane.lane == "files").map_or(0, |lane| lane.records)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_files_are_let_go_of_while_the_collector_is_away_and_stored_exactly_once() {
    let (host, mut collector) = (Host::new(), Collector::start_positioned().await);
    let settings = host.settings(&collector.url(), "[spool]\nmax = \"16MiB\"\nmax_held_deleted = \"1MiB\"\n");
    host.append("a.log", "first\n");
    host.append("b.log", "of another file\n");
    let program = Program::start(&host, &settings);
    until("the first lines", || collector.texts().len() == 2).await;
    collector.go_away().await;
    let lines: Vec<String> =
        (0..LINES).map(|number| format!("line {number:06} {}", "x".repeat(90))).collect();
    host.append("a.log", &format!("{}\n", lines.join("\n")));
    host.append("b.log", "kept in its file\n");
    until("the collector to be missed", || program.status().collector.consecutive_failures > 0).await;
    fs::remove_file(host.path("a.log")).expect("deleted");
    assert!(is_held(program.id(), &host.path("a.log")), "held while it is unread");
    until("its rest to be in the spool", || spilled(&program.status()) >= LINES as u64).await;
    until("the file to be closed", || !is_held(program.id(), &host.path("a.log"))).await;
    assert!(program.status().spool.bytes < 1 << 20, "compressed: {}", program.status().spool.bytes);
    host.append("b.log", "after\n");
    program.kill().await;

    collector.come_back().await;
    let program = Program::start(&host, &settings);
    assert!(spilled(&program.status()) >= LINES as u64 || !collector.texts().is_empty());
    until("all lines", || collector.texts().len() >= LINES + 4).await;
    host.append("b.log", "last\n");
    until("the last line", || collector.texts().last().is_some_and(|text| text == "last")).await;
    let texts = collector.texts();
    let of_a: Vec<&String> = texts.iter().filter(|text| text.starts_with("line ")).collect();
    assert!(of_a.iter().copied().eq(lines.iter()), "{} lines, in order and once", of_a.len());
    let of_b = ["of another file", "kept in its file", "after", "last"];
    assert!(of_b.iter().all(|wanted| texts.iter().filter(|text| text == wanted).count() == 1));
    assert_eq!(collector.duplicates_and_gaps().1, 0, "no gap");
    let status = program.kill().await;
    assert_eq!((spilled(&status), status.collector.gap_lost_bytes), (0, 0));
}
