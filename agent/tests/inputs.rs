//! Inputs that push into the spool, through the whole agent to a collector.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;

use axum::Router;
use axum::routing::get;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixStream};

use crate::collector::Collector;
use crate::support::{Host, Running, until};

async fn send(path: &std::path::Path, datagrams: &[&str]) {
    let socket = UnixDatagram::unbound().expect("socket");
    for datagram in datagrams {
        socket.send_to(datagram.as_bytes(), path).expect("sent");
    }
}

fn flow_is(agent: &Running, component: &str, input: u64, output: u64) -> bool {
    let flows = agent.status().flows.into_iter().filter(|flow| flow.component == component);
    let mut counts = flows.map(|flow| (flow.input_records, flow.output_records, flow.is_conserved()));
    counts.any(|counts| counts == (input, output, true))
}

/// A port that is free at this moment.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    listener.local_addr().expect("address").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syslog_comes_by_udp_and_by_tcp_counted_and_line_by_line() {
    let (host, collector) = (Host::new(), Collector::start().await);
    let port = free_port().await;
    let table = format!("[syslog]\nlisten = ['udp://127.0.0.1:{port}', 'tcp://127.0.0.1:{port}']\n");
    let agent = host.agent(&collector.url(), &table).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    socket.send_to(b"<13>1 2026-11-21T10:41:58Z h a - - - by udp", ("127.0.0.1", port)).await.expect("sent");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    // The second counted message comes in two pieces, the last line never ends.
    for piece in
        ["19 <13>a: counted once33 <13>a: counted, ", "and in two pieces<13>a: a line\n<13>a: no end"]
    {
        stream.write_all(piece.as_bytes()).await.expect("written");
        stream.flush().await.expect("flushed");
    }
    drop(stream);
    let expected = ["a line", "by udp", "counted once", "counted, and in two pieces", "no end"];
    until("all messages", || {
        let mut texts = collector.texts();
        texts.sort_unstable();
        texts == expected
    })
    .await;
    let records = collector.records();
    assert!(records.iter().all(|record| record.resource("service.name") == "a"));
    assert!(records.iter().all(|record| record.attribute("client.address") == "127.0.0.1"));
    until("all counted", || flow_is(&agent, "syslog", 5, 5)).await;
    agent.stop().await;
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
    send(&path, &["hits:1|c\nhits:2|c", "no sample", "_e{6,6}:deploy|2 of 3|t:warning|#service:shop"]).await;
    until("all counted", || flow_is(&agent, "statsd", 3, 2)).await;
    until("the metrics to be taken", || agent.status().flows[3].output_records > 0).await;
    until("the event", || collector.texts().contains(&"deploy\n2 of 3".to_owned())).await;
    let event =
        collector.records().into_iter().find(|record| record.text.starts_with("deploy")).expect("there");
    assert_eq!((event.resource("service.name"), event.attribute("event.name")), ("shop", "statsd.event"));
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
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o666, "services of other users may send");
    let data = host.data.path();
    assert_eq!((mode(&data.join("admin.sock")), mode(&data.join("spool"))), (0o600, 0o700));
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
