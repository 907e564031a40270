//! OTLP over gRPC: tonic's clients for what must work, calls by hand for what must not.

use model::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

use crate::support::{
    BAD_REQUEST, Server, TRACES_METHOD, compressed, detail_types, frame, grpc_call, logs, metrics, protobuf,
    span, traces, wal_holds,
};

async fn channel(server: &Server) -> Channel {
    let endpoint =
        Channel::from_shared(format!("http://{}", server.collector.otlp_grpc_addr())).expect("a URL");
    endpoint.connect().await.expect("connects")
}

#[tokio::test]
async fn every_signal_is_stored_with_every_compression() {
    let server = Server::start().await;
    let channel = channel(&server).await;
    let ways = [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)];
    for (at, way) in ways.into_iter().enumerate() {
        let name = format!("n{at}");
        let (mut to_traces, mut to_logs, mut to_metrics) = (
            TraceServiceClient::new(channel.clone()),
            LogsServiceClient::new(channel.clone()),
            MetricsServiceClient::new(channel.clone()),
        );
        if let Some(way) = way {
            to_traces = to_traces.send_compressed(way).accept_compressed(way);
            to_logs = to_logs.send_compressed(way).accept_compressed(way);
            to_metrics = to_metrics.send_compressed(way).accept_compressed(way);
        }
        let answer = to_traces.export(traces(vec![span(&name)])).await.expect("stored").into_inner();
        assert_eq!(answer.partial_success, None, "full success leaves it unset");
        let answer = to_logs.export(logs(&[&name])).await.expect("stored").into_inner();
        assert_eq!(answer.partial_success, None);
        let answer = to_metrics.export(metrics(&[&name])).await.expect("stored").into_inner();
        assert_eq!(answer.partial_success, None);
        for signal in Signal::ALL {
            let expected: Vec<_> = (0..=at).map(|at| format!("n{at}")).collect();
            assert_eq!(server.stored(signal).await, expected, "{way:?} {signal}");
        }
    }
}

#[tokio::test]
async fn good_spans_beside_bad_ones_are_kept_and_the_bad_ones_counted() {
    let server = Server::start().await;
    let mut client = TraceServiceClient::new(channel(&server).await);
    let mut bad = span("bad");
    bad.trace_id = vec![1; 15];
    let answer = client.export(traces(vec![span("a"), bad.clone(), span("b"), bad])).await.expect("stored");
    let partial = answer.into_inner().partial_success.expect("set");
    assert_eq!(partial.rejected_spans, 2);
    assert!(
        partial.error_message.contains("`bad`") && partial.error_message.contains("(and 1 more)"),
        "{partial:?}"
    );
    assert_eq!(server.stored(Signal::Traces).await, ["a", "b"]);
}

#[tokio::test]
async fn an_empty_request_is_a_success_and_writes_nothing() {
    let server = Server::start().await;
    let mut client = TraceServiceClient::new(channel(&server).await);
    let answer = client.export(ExportTraceServiceRequest::default()).await.expect("success").into_inner();
    assert_eq!(answer.partial_success, None);
    assert_eq!(server.store.stats().wal_sequence, 0);
}

#[tokio::test]
async fn the_log_keeps_the_message_as_the_client_compressed_it() {
    let server = Server::start().await;
    let addr = server.collector.otlp_grpc_addr();
    for way in ["gzip", "zstd"] {
        let message = compressed(way, &protobuf(Signal::Traces, &[way]));
        let answer = grpc_call(addr, TRACES_METHOD, &[("grpc-encoding", way)], frame(true, &message)).await;
        assert_eq!(answer.field("grpc-status"), "0", "{answer:?}");
        assert_eq!(answer.body, frame(false, b""), "full success is an empty message");
        assert!(wal_holds(server.dir.path(), &message), "{way}");
    }
    assert_eq!(server.stored(Signal::Traces).await, ["gzip", "zstd"]);
}

#[tokio::test]
async fn a_message_flagged_as_plain_is_plain_whatever_the_header_says() {
    let server = Server::start().await;
    let body = frame(false, &protobuf(Signal::Traces, &["plain"]));
    let addr = server.collector.otlp_grpc_addr();
    let answer = grpc_call(addr, TRACES_METHOD, &[("grpc-encoding", "gzip")], body).await;
    assert_eq!(answer.field("grpc-status"), "0", "{answer:?}");
    assert_eq!(server.stored(Signal::Traces).await, ["plain"]);
}

#[tokio::test]
async fn wrong_calls_get_their_status_and_store_nothing() {
    let server = Server::start().await;
    let addr = server.collector.otlp_grpc_addr();
    let good = protobuf(Signal::Traces, &["n"]);
    let two = [frame(false, &good), frame(false, &good)].concat();
    let cut = frame(false, &good)[..20].to_vec();
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], Vec<u8>, &'c str, &'c str);
    let cases: [Case<'_>; 8] = [
        ("unknown encoding", &[("grpc-encoding", "snappy")], frame(true, &good), "12", "snappy"),
        ("flag without encoding", &[], frame(true, &good), "3", "grpc-encoding"),
        ("no gzip", &[("grpc-encoding", "gzip")], frame(true, &good), "3", "gzip"),
        ("no zstd", &[("grpc-encoding", "zstd")], frame(true, &good), "3", "zstd"),
        ("no protobuf", &[], frame(false, b"\xff\xff\xff"), "3", "protobuf"),
        ("two messages", &[], two, "3", "one message"),
        ("cut short", &[], cut, "3", "15"),
        ("no message", &[], Vec::new(), "3", "five bytes"),
    ];
    for (what, headers, body, code, message) in cases {
        let answer = grpc_call(addr, TRACES_METHOD, headers, body).await;
        assert_eq!((answer.http_status, answer.field("grpc-status")), (200, code), "{what}: {answer:?}");
        assert!(answer.field("grpc-message").contains(message), "{what}: {answer:?}");
        assert_eq!(answer.field("grpc-accept-encoding"), "identity,gzip,zstd", "{what}");
        assert_eq!(answer.field("content-type"), "application/grpc", "{what}");
    }
    let answer =
        grpc_call(addr, "/opentelemetry.proto.collector.trace.v1.TraceService/Import", &[], Vec::new()).await;
    assert_eq!(answer.field("grpc-status"), "12");
    let answer =
        grpc_call(addr, TRACES_METHOD, &[("content-type", "application/json")], frame(false, &good)).await;
    assert_eq!(answer.http_status, 415);
    assert_eq!(server.stored(Signal::Traces).await, Vec::<String>::new());
}

#[tokio::test]
async fn tonic_reads_the_details_of_a_refusal() {
    let server = Server::with(|settings| settings.limits.request_records_max = 1).await;
    let mut client = TraceServiceClient::new(channel(&server).await);
    let status = client.export(traces(vec![span("a"), span("b")])).await.expect_err("too many");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(
        detail_types(status.details()),
        Vec::<String>::new(),
        "no RetryInfo: the same again would fail again"
    );

    let answer =
        grpc_call(server.collector.otlp_grpc_addr(), TRACES_METHOD, &[], frame(false, b"\xff")).await;
    use base64::Engine as _;
    let details = answer.field("grpc-status-details-bin");
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).expect("base64");
    assert_eq!(detail_types(&details), [BAD_REQUEST]);
}
