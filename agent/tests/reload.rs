//! Tables of files exchanged while an agent runs.

use std::fs;

use crate::collector::Collector;
use crate::support::{Host, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_files_is_exchanged_and_the_others_keep_their_handles_and_positions() {
    let (host, mut collector) = (Host::new(), Collector::start_positioned().await);
    let table = |service: &str| {
        format!(
            "[files.other]\ninclude = ['{}']\nstart_at = \"beginning\"\n{service}\n",
            host.path("other.txt").display()
        )
    };
    let agent = host.agent(&collector.url(), &table("")).await;
    host.append("a.log", "1\n");
    host.append("other.txt", "1\n");
    until("both lines", || collector.texts().len() == 2).await;
    collector.go_away().await;
    host.append("a.log", "2\n");
    let is_open = |lag: u64| {
        agent.status().files.iter().any(|file| file.path.ends_with("a.log") && file.lag_bytes == lag)
    };
    until("the line to be seen", || is_open(2)).await;
    // Nothing but the open handle has this line.
    fs::remove_file(host.path("a.log")).expect("removed");
    let settings = host.settings(&collector.url(), &table("service = \"shop\""));
    let config = agent::Config::parse(&settings, "test.toml", |_| None).expect("valid");
    assert_eq!(agent.control.apply(config).await.expect("applied"), ["files.other"]);
    host.append("other.txt", "2\n");
    collector.come_back().await;
    until("what was written meanwhile", || collector.texts().len() == 4).await;
    let seen: Vec<(String, String)> = collector
        .records()
        .iter()
        .map(|record| (record.text.clone(), record.resource("service.name").to_owned()))
        .collect();
    let expected = [("1", "a"), ("1", "other"), ("2", "a"), ("2", "shop")];
    for (text, service) in expected {
        assert!(seen.contains(&(text.to_owned(), service.to_owned())), "{text} of {service} in {seen:?}");
    }
    let status = agent.stop().await;
    assert_eq!((collector.texts().len(), status.files_missing), (4, 0));
    assert!(status.flows[0].is_conserved());
}
