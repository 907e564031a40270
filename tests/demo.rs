//! `silmari demo` without a terminal: the text, and nothing left behind.

use std::path::Path;
use std::time::Duration;

use crate::support::{SILMARI, eventually, stderr, stdout};

fn left_behind(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("readable");
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

/// Processes whose command line names the folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").expect("proc").filter_map(Result::ok);
    let commands = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    commands
        .map(|command| String::from_utf8_lossy(&command).replace('\0', " "))
        .filter(|command| command.contains(&folder))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_it_prints_services_a_journey_and_the_firing_alert_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = tokio::process::Command::new(SILMARI)
        .args(["demo", "--wait", "120s"])
        .env("TMPDIR", folder.path())
        .output()
        .await
        .expect("silmari runs");
    let (text, errors) = (stdout(&output), stderr(&output));
    assert!(output.status.success(), "{errors}\n{text}");
    for service in
        ["gateway", "checkout", "catalog", "cart", "order", "billing", "shipping", "order-view", "notify"]
    {
        assert!(text.contains(service), "`{service}` is missing in:\n{text}");
    }
    for part in ["ORD-", "orders/", "wait", "charge #1", "charge #2", "firing"] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());
    assert_eq!(processes_of(folder.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_demo_ends_all_of_its_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = tokio::process::Command::new(SILMARI)
        .args(["demo", "--wait", "120s"])
        .env("TMPDIR", folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("silmari runs");
    let path = folder.path();
    let all_there = || async {
        let processes = processes_of(path);
        (processes.len() >= 3).then_some(()).ok_or(format!("{processes:?}"))
    };
    eventually(Duration::from_secs(60), all_there).await;
    demo.kill().await.expect("killed");
    let all_gone = || async {
        let processes = processes_of(path);
        processes.is_empty().then_some(()).ok_or(format!("{processes:?}"))
    };
    eventually(Duration::from_secs(30), all_gone).await;
}
