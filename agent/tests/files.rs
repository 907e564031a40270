//! Files in, records out: rotation, restarts, a collector that is away, and what each record carries.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::collector::{Answer, Collector};
use crate::support::{Host, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_carries_its_service_host_file_and_the_parts_of_its_line() {
    let (host, collector) = (Host::new(), Collector::start().await);
    host.append(
        "billing.log",
        "2026-11-21T10:41:58Z WARN acquirer is slow trace_id=4bf92f3577b34da6a3ce929d0e0e4736\n\
         {\"level\":\"error\",\"msg\":\"timeout\",\"service\":\"acquirer\",\"order_id\":\"ORD-1\"}\n",
    );
    let agent = host.agent(&collector.url(), "").await;
    until("two records", || collector.records().len() == 2).await;
    let mut records = collector.records();
    records.sort_by_key(|record| record.severity_number);
    assert_eq!(records[0].text, "acquirer is slow trace_id=4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((records[0].severity_number, records[0].resource("service.name")), (13, "billing"));
    assert_eq!(records[0].trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((records[1].text.as_str(), records[1].resource("service.name")), ("timeout", "acquirer"));
    assert_eq!(records[1].attribute("order_id"), "ORD-1");
    for record in &records {
        assert_eq!(record.resource("deployment.environment.name"), "test");
        assert!(!record.resource("host.name").is_empty());
        assert_eq!(record.attribute("log.file.name"), "billing.log");
        assert_eq!(record.attribute("log.file.path"), host.path("billing.log").display().to_string());
    }
    let status = agent.stop().await;
    assert_eq!(collector.agents()[0], status.agent_id);
    assert_eq!((status.flows[0].input_records, status.flows[0].output_records), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_rotating_delivers_each_line_once() {
    let (host, collector) = (Host::new(), Collector::start().await);
    host.append("a.log", "tick\n");
    let agent = host.agent(&collector.url(), "").await;
    until("five bytes", || collector.texts() == ["tick"]).await;

    host.append("a.log", "before the rename\n");
    fs::rename(host.path("a.log"), host.path("a.log.1")).expect("rename");
    host.append("a.log", "after the rename\n");
    until("rename", || collector.records().len() == 3).await;

    fs::OpenOptions::new().write(true).open(host.path("a.log")).expect("open").set_len(0).expect("truncate");
    until("the truncation to be seen", || {
        host.append("b.log", "b\n");
        agent.status().truncations == 1
    })
    .await;
    host.append("a.log", "after the truncation\n");
    until("truncation", || collector.texts().contains(&"after the truncation".to_owned())).await;

    fs::remove_file(host.path("a.log")).expect("remove");
    host.append("a.log", "after the truncation\nsecond\n");
    until("the new file", || collector.texts().contains(&"second".to_owned())).await;
    agent.stop().await;

    let mut texts: Vec<_> = collector.texts().into_iter().filter(|text| text != "b").collect();
    texts.sort_unstable();
    let all = [
        "after the rename",
        "after the truncation",
        "after the truncation",
        "before the rename",
        "second",
        "tick",
    ];
    assert_eq!(texts, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_line_is_sent_when_it_is_finished() {
    let (host, collector) = (Host::new(), Collector::start().await);
    host.append("a.log", "whole\nhal");
    let agent = host.agent(&collector.url(), "").await;
    until("the whole line", || collector.texts() == ["whole"]).await;
    host.append("a.log", "f\n");
    until("the finished line", || collector.texts() == ["whole", "half"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_goes_and_comes_back_gets_everything_once() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), "").await;
    host.append("a.log", "0\n");
    until("the first", || collector.texts() == ["0"]).await;
    until("its acknowledgement", || agent.status().flows[0].buffered_records == 0).await;
    collector.go_away().await;
    for number in 1..=500 {
        host.append("a.log", &format!("{number}\n"));
    }
    fs::rename(host.path("a.log"), host.path("a.log.1")).expect("rotated meanwhile");
    host.append("a.log", "501\n");
    until("failures", || agent.status().collector.consecutive_failures > 0).await;
    assert!(agent.status().collector.last_error.is_some());
    collector.come_back().await;
    until("all of them", || collector.records().len() >= 502).await;
    agent.stop().await;
    let mut numbers: Vec<u32> =
        collector.texts().iter().map(|text| text.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..=501).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_collector_is_asked_again_and_a_refusal_is_skipped_with_its_reason() {
    let (host, collector) = (Host::new(), Collector::start().await);
    collector.answer(Answer::Busy);
    host.append("a.log", "patient\n");
    let agent = host.agent(&collector.url(), "").await;
    until("two tries", || collector.requests() >= 2).await;
    assert_eq!(agent.status().flows[0].buffered_records, 1);
    collector.answer(Answer::Take);
    until("success", || collector.texts() == ["patient"]).await;

    collector.answer(Answer::Refuse);
    host.append("a.log", "refused\n");
    let refused = || agent.status().flows[0].dropped[1].1;
    until("the refusal", || refused() == 1).await;
    collector.answer(Answer::RejectOne);
    host.append("a.log", "rejected\n");
    until("the rejection", || agent.status().flows[0].dropped[2].1 == 1).await;
    collector.answer(Answer::Take);
    host.append("a.log", "taken\n");
    until("the next line", || collector.texts().contains(&"taken".to_owned())).await;
    let status = agent.stop().await;
    assert!(status.collector.last_error.expect("kept").contains("400"));
    assert_eq!(status.files[0].acked, status.files[0].size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_restarted_goes_on_where_it_was_acknowledged() {
    let (host, mut collector) = (Host::new(), Collector::start().await);
    host.append("a.log", "1\n2\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the first run", || collector.texts() == ["1", "2"]).await;
    agent.stop().await;
    host.append("a.log", "3\n");
    collector.go_away().await;
    let agent = host.agent(&collector.url(), "").await;
    until("a run without collector", || agent.status().collector.consecutive_failures > 0).await;
    agent.stop().await;
    collector.come_back().await;
    let agent = host.agent(&collector.url(), "").await;
    until("the third run", || collector.texts() == ["1", "2", "3"]).await;
    agent.stop().await;
    assert_eq!(collector.texts(), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_up_to_the_shutdown_is_drained() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let agent = host.agent(&collector.url(), "").await;
    for number in 0..5_000 {
        host.append(&format!("{}.log", number % 7), &format!("{number}\n"));
    }
    agent.stop().await;
    assert_eq!(collector.records().len(), 5_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_why_a_matching_file_is_not_read() {
    let (host, collector) = (Host::new(), Collector::start().await);
    host.append("a.log", "1\n");
    fs::create_dir(host.path("folder.log")).expect("folder");
    std::os::unix::fs::symlink(host.path("a.log"), host.path("z.log")).expect("link");
    std::os::unix::fs::symlink("/dev/null", host.path("null.log")).expect("link");
    std::os::unix::fs::symlink("nowhere", host.path("gone.log")).expect("link");
    let other = format!("[files.other]\ninclude = ['{}', '/nowhere/*.log']\n", host.path("a.*").display());
    let agent = host.agent(&collector.url(), &other).await;
    until("the file", || agent.status().files.iter().any(|file| file.acked == 2)).await;
    let reason = |name: &str| {
        let files = agent.status().files;
        files
            .into_iter()
            .find(|file| file.path.ends_with(name) && file.state == "not_read")
            .and_then(|file| file.reason)
    };
    until("the reasons", || reason("z.log").is_some() && reason("null.log").is_some()).await;
    assert!(reason("z.log").expect("left out").starts_with("the same file as"));
    assert_eq!(reason("null.log").as_deref(), Some("no regular file"));
    assert_eq!(reason("gone.log").as_deref(), Some("a link whose target is not there"));
    let table = |name: &str| {
        agent.status().files.into_iter().find(|file| file.path.ends_with(name)).expect("listed").input
    };
    let (reader, other) = if table("a.log") == "other" { ("other", "shop") } else { ("shop", "other") };
    let twice =
        agent.status().files.into_iter().find(|file| file.input == other && file.path.ends_with("/a.log"));
    assert_eq!(twice.and_then(|file| file.reason), Some(format!("[files.{reader}] reads it")));
    assert!(
        reason("/nowhere/*.log").expect("said").starts_with("no file matches: there is no folder `/nowhere`")
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_is_read_on_its_event_and_not_at_the_next_look() {
    let (host, collector) = (Host::new(), Collector::start().await);
    host.append("a.log", "1\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the first file", || collector.texts() == ["1"]).await;
    host.append("b.log", "2\n");
    // The next look comes 10 s after the first one.
    let on_its_event = until("the new file", || collector.texts() == ["1", "2"]);
    tokio::time::timeout(Duration::from_secs(8), on_its_event).await.expect("before the look");
    let status = agent.stop().await;
    assert_eq!((status.unwatched_folders, status.watch_overflows), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_for_which_no_descriptor_is_left_is_listed_with_what_to_do() {
    let (host, collector) = (Host::new(), Collector::start().await);
    for number in 0..30 {
        host.append(&format!("{number:02}.log"), &format!("{number}\n"));
    }
    let settings = host.settings(&collector.url(), "[admin]\nlisten = \"127.0.0.1:0\"");
    fs::write(host.data.path().join("agent.toml"), settings).expect("written");
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -n 80 && exec \"$0\" run -c \"$1\"", env!("CARGO_BIN_EXE_silmari-agent")])
        .arg(host.data.path().join("agent.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut ready).expect("a line");
    let ready: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
    let admin = ready["admin"].as_str().expect("an address").replace("http://", "");
    until("the files there is room for", || collector.texts().len() == 16).await;
    let listed = || -> Vec<agent::status::FileStatus> {
        let asked = Command::new(env!("CARGO_BIN_EXE_silmari-agent"))
            .args(["files", "--json", "--admin", &admin])
            .output()
            .expect("asked");
        serde_json::from_slice(&asked.stdout).expect("JSON")
    };
    // What is listed follows what is read within a tenth of a second.
    until("the list of all files", || listed().len() == 30).await;
    let files = listed();
    child.kill().expect("killed");
    child.wait().expect("ended");
    let left_out: Vec<_> = files.iter().filter(|file| file.state == "not_read").collect();
    assert_eq!(left_out.len(), 14, "{files:#?}");
    for file in left_out {
        let reason = file.reason.as_deref().expect("a reason");
        assert!(reason.starts_with("too many open files") && reason.contains("LimitNOFILE"), "{reason}");
    }
}
