//! Inputs that push into the spool, through the whole agent to a collector.

use std::os::unix::net::UnixDatagram;

use axum::Router;
use axum::routing::get;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use crate::collector::Collector;
use crate::support::{Host, Running, until};

async fn send(path: &std::path::Path, datagrams: &[&str]) {
    let socket = UnixDatagram::unbound().expect("socket");
    for datagram in datagrams {
        socket.send_to(datagram.as_bytes(), path).expect("sent");
    }
}

fn flow_is(agent: &Running, component: &str, input: u64, output: u64) -> bool {
    let status = agent.status();
    let flow = status.flows.iter().find(|flow| flow.component == component).expect("a flow");
    (flow.input_records, flow.output_records) == (input, output) && flow.is_conserved()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syslog_messages_arrive_as_records_of_their_application() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let path = host.data.path().join("syslog.sock");
    let table = format!(
        "[syslog]\nlisten = ['unix://{}']\nredact = ['default']\ndrop = ['line ~ chatter']\n",
        path.display()
    );
    let agent = host.agent(&collector.url(), &table).await;
    send(&path, &["<11>Nov 21 10:41:58 billing[7]: password=hunter2 order_id=ORD-1", "<14>web: chatter"])
        .await;
    until("the record", || collector.records().len() == 1).await;
    let record = &collector.records()[0];
    assert_eq!(record.resource("service.name"), "billing");
    assert_eq!(collector.texts(), ["password=[redacted:password] order_id=ORD-1"]);
    until("both counted", || flow_is(&agent, "syslog", 2, 1)).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statsd_samples_arrive_summed_up_and_are_all_accounted_for() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let path = host.data.path().join("statsd.sock");
    let table = format!("[statsd]\nlisten = ['unix://{}']\ninterval = '100ms'\n", path.display());
    let agent = host.agent(&collector.url(), &table).await;
    send(&path, &["hits:1|c\nhits:2|c", "no sample"]).await;
    until("all counted", || flow_is(&agent, "statsd", 3, 2)).await;
    until("the metrics to be taken", || agent.status().flows[3].output_records > 0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_metrics_is_read_every_interval() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("address");
    let pages = Router::new().route("/metrics", get(async || "# TYPE a counter\na 1\nb 2\nbroken\n"));
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let table = format!("[scrape.shop]\ntargets = ['{address}']\ninterval = '100ms'\n");
    let agent = host.agent(&collector.url(), &table).await;
    until("two pages", || {
        let status = agent.status();
        let flow = status.flows.iter().find(|flow| flow.component == "scrape.shop").expect("a flow");
        flow.output_records >= 4 && flow.is_conserved()
    })
    .await;
    // Two families, up, how long it took, how many samples.
    until("the metrics to be taken", || agent.status().flows[3].output_records >= 10).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otlp_is_taken_on_a_unix_socket() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let path = host.data.path().join("otlp.sock");
    let agent = host.agent(&collector.url(), &format!("[otlp]\nunix = '{}'\n", path.display())).await;
    let mut writer = LogsWriter::new([("service.name", "web")]);
    writer.push(&LogRecordParts { body: "over a socket", ..Default::default() }, []);
    let body = writer.finish();
    let mut stream = UnixStream::connect(&path).await.expect("connected");
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(&body).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    until("the record", || collector.texts() == ["over a socket"]).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_whose_table_changes_is_exchanged_and_the_others_go_on() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let (one, two) = (host.data.path().join("one.sock"), host.data.path().join("two.sock"));
    let table = |path: &std::path::Path| format!("[syslog]\nlisten = ['unix://{}']\n", path.display());
    let agent = host.agent(&collector.url(), &table(&one)).await;
    send(&one, &["<14>a: before"]).await;
    let settings = host.settings(&collector.url(), &table(&two));
    let config = agent::Config::parse(&settings, "test.toml", |_| None).expect("valid");
    assert_eq!(agent.control.apply(config).await.expect("applied"), ["syslog"]);
    assert!(!one.exists(), "the old socket is gone");
    send(&two, &["<14>a: after"]).await;
    host.append("a.log", "a line\n");
    until("all of them", || collector.records().len() == 3).await;
    agent.stop().await;
}
