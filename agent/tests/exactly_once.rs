//! Positions that the collector keeps: lost answers, lost memory and lost sessions double nothing.

use std::fs;

use crate::collector::{Answer, Collector};
use crate::support::{Host, Program, until};

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_answer_is_lost_is_not_stored_twice() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    collector.answer(Answer::TakeInSilence);
    host.append("a.log", "1\n2\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the request again and again", || collector.duplicates_and_gaps().0 >= 2).await;
    collector.answer(Answer::Take);
    host.append("a.log", "3\n");
    until("the next line", || collector.texts().len() == 3).await;
    let status = agent.stop().await;
    assert_eq!(collector.texts(), ["1", "2", "3"]);
    assert_eq!(status.collector.delivery, "exactly once");
    assert_eq!(status.collector.session, Some(1));
    assert_eq!(status.collector.duplicates, 2, "counted once, when the answer came through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_before_the_answer_goes_on_where_the_collector_stands() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    collector.answer(Answer::TakeInSilence);
    host.append("a.log", "1\n2\n");
    let program = Program::start(&host, &host.settings(&collector.url(), ""));
    until("the lines", || collector.texts().len() == 2).await;
    program.kill().await;
    // Its positions say that nothing was acknowledged; meanwhile the file is rotated by copying.
    host.append("a.log", "3\n");
    fs::copy(host.path("a.log"), host.path("b.log")).expect("copied");
    fs::rename(host.path("b.log"), host.path("a.log.1")).expect("renamed");
    fs::OpenOptions::new().write(true).open(host.path("a.log")).expect("open").set_len(0).expect("cut");
    host.append("a.log", "4\n");
    collector.answer(Answer::Take);
    let settings = host.settings(&collector.url(), "").replace("/*.log'", "/*.log*'");
    let program = Program::start(&host, &settings);
    until("the rest", || collector.texts().len() >= 4).await;
    program.kill().await;
    assert_eq!(sorted(collector.texts()), ["1", "2", "3", "4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_lost_its_positions_resumes_exactly() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    host.append("a.log", "1\n2\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the first run", || collector.texts().len() == 2).await;
    agent.stop().await;
    fs::remove_file(host.data.path().join("positions.json")).expect("lost");
    host.append("a.log", "3\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the second run", || collector.texts().len() >= 3).await;
    agent.stop().await;
    assert_eq!(collector.texts(), ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_lost_data_gets_it_again_and_the_gap_is_counted() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    host.append("a.log", "1\n2\n");
    let agent = host.agent(&collector.url(), "").await;
    until("both", || collector.texts().len() == 2).await;
    until("the acknowledgement", || agent.status().flows[0].buffered_records == 0).await;
    // A backup of the time when only the first line was there.
    collector.change_committed(|committed| committed.values_mut().for_each(|at| *at = 2));
    host.append("a.log", "3\n");
    until("what was lost, and the new line", || collector.texts().len() == 4).await;
    let status = agent.stop().await;
    assert_eq!(collector.texts(), ["1", "2", "2", "3"]);
    assert_eq!((status.collector.gaps, status.collector.gap_lost_bytes), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_in_a_file_that_is_gone_is_counted_in_bytes_and_stops_nothing() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    host.append("a.log", "1\n22\n");
    let agent = host.agent(&collector.url(), "").await;
    until("both", || collector.texts().len() == 2).await;
    until("the acknowledgement", || agent.status().flows[0].buffered_records == 0).await;
    collector.change_committed(|committed| committed.values_mut().for_each(|at| *at = 2));
    collector.answer(Answer::Busy);
    let before = collector.requests();
    host.append("a.log", "3\n");
    until("a batch on its way", || collector.requests() > before).await;
    fs::write(host.path("a.log"), "").expect("truncated before it arrived");
    until("the truncation", || {
        host.append("b.log", "b\n");
        agent.status().truncations == 1
    })
    .await;
    collector.answer(Answer::Take);
    until("the line", || collector.texts().contains(&"3".to_owned())).await;
    let status = agent.stop().await;
    assert_eq!(status.collector.gap_lost_bytes, 3, "the line 22");
    let texts: Vec<_> = collector.texts().into_iter().filter(|text| text != "b").collect();
    assert_eq!(texts, ["1", "22", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_with_one_identity_are_seen_and_lose_nothing() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    host.append("a.log", "1\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the first", || collector.texts() == ["1"]).await;
    collector.fence();
    host.append("a.log", "2\n");
    until("the alarm", || agent.status().collector.fenced == 1).await;
    assert!(agent.status().collector.last_error.expect("told").contains("another agent uses the identity"));
    until("the line, after hello again", || collector.texts() == ["1", "2"]).await;
    let status = agent.stop().await;
    assert_eq!(status.collector.session, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_batch_and_blank_lines_leave_no_gap() {
    let (host, collector) = (Host::new(), Collector::start_positioned().await);
    collector.answer(Answer::RefusePoison);
    host.append("a.log", "1\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the first", || collector.texts() == ["1"]).await;
    host.append("a.log", "poison\n");
    until("the refusal", || agent.status().flows[0].dropped[1].1 == 1).await;
    host.append("a.log", "\n\n");
    host.append("a.log", "2\n");
    until("the next", || collector.texts() == ["1", "2"]).await;
    host.append("a.log", "\n");
    agent.stop().await;
    assert_eq!(collector.duplicates_and_gaps(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_endpoint_is_delivered_to_at_least_once_and_status_says_so() {
    let (host, collector) = (Host::new(), Collector::start().await);
    host.append("a.log", "1\n");
    let agent = host.agent(&collector.url(), "").await;
    until("the line", || collector.texts() == ["1"]).await;
    let status = agent.stop().await;
    assert!(status.collector.delivery.starts_with("at least once: http://"), "{}", status.collector.delivery);
    assert_eq!(status.collector.session, None);
}
