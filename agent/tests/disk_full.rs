//! A disk without room: a small tmpfs, really filled. Needs root; says so and passes elsewhere.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use agent::status::{DropReason, FlowStatus};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tempfile::TempDir;
use tonic::Code;

use crate::collector::Collector;
use crate::pushed::{LISTEN, grpc_url, logs, spans};
use crate::support::{Host, until};

/// A file system of a few megabytes; unmounted when dropped.
struct SmallDisk(TempDir);

fn skip(reason: &str) -> Option<SmallDisk> {
    writeln!(io::stderr(), "skipped: {reason}").expect("standard error");
    None
}

impl SmallDisk {
    /// `None` with a printed reason where it cannot be mounted.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("folder");
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "silmari-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr);
                skip(&format!("cannot mount a tmpfs, which needs root: {}", reason.trim()))
            }
            Err(error) => skip(&format!("cannot run mount: {error}")),
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room there is left; where it lies.
    fn fill(&self) -> PathBuf {
        let ballast = self.path().join("ballast");
        let error = std::fs::write(&ballast, vec![1; 64 << 20]).expect_err("more than fits");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        ballast
    }

    /// There are not so many bytes left.
    fn assert_has_no(&self, bytes: usize) {
        let error = std::fs::write(self.path().join("probe"), vec![1; bytes]).expect_err("really full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        std::fs::remove_file(self.path().join("probe")).expect("an empty file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").args(["-l"]).arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "unmounted");
    }
}

/// Text that compression does not make small.
fn noise(seed: u64, len: usize) -> String {
    let mut random = seed.wrapping_mul(2).wrapping_add(1);
    let letters = (0..len).map(|_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + (random >> 33) as u8 % 90)
    });
    letters.collect()
}

fn spool_full(flow: &FlowStatus) -> u64 {
    flow.dropped.iter().find(|(reason, _)| *reason == DropReason::SpoolFull).map_or(0, |(_, count)| *count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_logs_wait_traces_go_on_and_the_agent_resumes_by_itself() {
    let Some(disk) = SmallDisk::mount("8m") else { return };
    let (host, mut collector) = (Host::new(), Collector::start().await);
    collector.go_away().await;
    let data_dir = disk.path().join("data");
    let settings = host.settings(&collector.url(), LISTEN);
    let settings = settings.replace(&host.data.path().display().to_string(), &data_dir.display().to_string());
    let agent = crate::support::Running::start(&format!("{settings}[spool]\nmax = \"64MiB\"\n")).await;
    let mut logs_client = LogsServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    let mut traces_client = TraceServiceClient::connect(grpc_url(&agent)).await.expect("connect");
    logs_client.export(logs(&["before"])).await.expect("room");
    traces_client.export(spans(&["before"])).await.expect("room");

    let ballast = disk.fill();
    let mut taken = 1;
    let refusal = loop {
        match logs_client.export(logs(&[&noise(taken, 5_000)])).await {
            Ok(_) => taken += 1,
            Err(refusal) => break refusal,
        }
    };
    disk.assert_has_no(8 << 10);
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    assert!(refusal.message().contains("the disk is full"), "{refusal}");
    assert!(agent.status().spool.is_disk_full);
    // Far more than the spare segment holds: the oldest is given up for the newest, and nobody waits.
    let mut sent = 1;
    for number in 0..60 {
        let answer =
            traces_client.export(spans(&[&noise(number, 50_000)])).await.expect("never told to wait");
        assert!(answer.into_inner().partial_success.is_none(), "the new one is kept");
        sent += 1;
    }
    // What traces had to begin with and the spare segment, and no more.
    disk.assert_has_no(2 << 20);
    let given_up = spool_full(&agent.status().flows[1]);
    assert!(given_up > 10 && given_up < sent, "{given_up} of {sent}");

    std::fs::remove_file(ballast).expect("room again");
    until("the agent to resume by itself", || !agent.status().spool.is_disk_full).await;
    logs_client.export(logs(&["after"])).await.expect("taken again");
    taken += 1;
    collector.come_back().await;
    until("the spool to be empty", || agent.status().spool.requests == 0).await;
    let texts = collector.texts();
    let (last, first) = (noise(59, 50_000), noise(0, 50_000));
    assert!(texts.contains(&last) && !texts.contains(&first), "the newest were kept");
    assert!(texts.contains(&"after".to_owned()));
    let status = agent.stop().await;
    assert_eq!(
        (status.flows[2].output_records, spool_full(&status.flows[2])),
        (taken, 0),
        "no log record lost"
    );
    assert_eq!(status.flows[1].output_records + given_up, sent, "every span is out or counted");
}
