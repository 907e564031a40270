//! What the benchmarks rely on: the same load every time, of the announced shape.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message as _;

use super::*;

fn start(lot: u32) -> Start {
    let signals = vec![Signal::Traces, Signal::Logs];
    Start {
        seed: 7,
        lot,
        time: UnixNano(1_700_000_000_000_000_000),
        records: 64,
        signals,
        shape: Shape::Traces,
    }
}

fn spans(messages: &[Message]) -> Vec<Span> {
    let requests = messages.iter().filter(|message| message.signal == Signal::Traces);
    let requests =
        requests.map(|message| ExportTraceServiceRequest::decode(&*message.protobuf).expect("OTLP"));
    let resources = requests.flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn logs(messages: &[Message]) -> Vec<LogRecord> {
    let requests = messages.iter().filter(|message| message.signal == Signal::Logs);
    let requests =
        requests.map(|message| ExportLogsServiceRequest::decode(&*message.protobuf).expect("OTLP"));
    let resources = requests.flat_map(|request| request.resource_logs);
    resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records).collect()
}

#[test]
fn equal_seeds_give_equal_bytes_and_lots_share_no_id() {
    let (first, orders, _) = Workload::new(start(1)).complete(2_000);
    let (again, _, _) = Workload::new(start(1)).complete(2_000);
    assert!(first.iter().zip(&again).all(|(a, b)| a.protobuf == b.protobuf) && first.len() == again.len());
    let (_, others, _) = Workload::new(start(2)).complete(2_000);
    let ids = |orders: &[Order]| {
        orders
            .iter()
            .flat_map(|order| [order.id.clone(), order.correlation_id.clone()])
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&orders).len(), orders.len() * 2);
    assert!(ids(&orders).is_disjoint(&ids(&others)));
}

#[test]
fn spans_have_eight_attributes_and_bodies_two_hundred_bytes() {
    let (messages, _, _) = Workload::new(start(1)).complete(2_000);
    assert!(spans(&messages).iter().all(|span| span.attributes.len() == 8));
    for log in logs(&messages) {
        let Some(Value::StringValue(body)) = log.body.and_then(|body| body.value) else { panic!("a text") };
        assert_eq!(body.len(), records::BODY_BYTES);
    }
}

#[test]
fn what_an_order_counts_is_what_its_messages_carry() {
    let (messages, orders, _) = Workload::new(start(1)).complete(2_000);
    let (spans, logs) = (spans(&messages), logs(&messages));
    let mut found = BTreeMap::new();
    for span in &spans {
        let value = span.attributes.iter().find(|attribute| attribute.key == "correlation_id");
        let Some(Value::StringValue(id)) = value.and_then(|found| found.value.clone()?.value) else {
            panic!("every span has a correlation id")
        };
        *found.entry(id).or_insert(0) += 1;
    }
    assert!(spans.len() >= 2_000 && spans.len() == logs.len());
    assert_eq!(spans.len(), messages.iter().map(|message| message.records).sum::<usize>() - logs.len());
    for order in &orders {
        assert_eq!(found.get(&order.correlation_id), Some(&order.spans), "{order:?}");
    }
}

#[test]
fn orders_have_sixty_spans_and_a_hundred_and_fifty_log_records_in_four_traces() {
    let (messages, orders, _) = Workload::new(Start { shape: Shape::Orders, ..start(1) }).complete(2_000);
    assert!(
        orders.len() > 30
            && (spans(&messages).len(), logs(&messages).len()) == (orders.len() * 60, orders.len() * 150)
    );
    let traces = |order: &Order| {
        let is_of = |span: &&Span| {
            let carries = |attribute: &KeyValue| {
                attribute.value.as_ref().and_then(|value| value.value.clone())
                    == Some(Value::StringValue(order.correlation_id.clone()))
            };
            span.attributes.iter().any(carries)
        };
        spans(&messages).iter().filter(is_of).map(|span| span.trace_id.clone()).collect::<BTreeSet<_>>().len()
    };
    for order in &orders {
        assert_eq!((order.traces, order.spans, order.logs, traces(order)), (4, 60, 150, 4), "{order:?}");
    }
}

#[test]
fn a_message_of_a_running_workload_is_full_and_of_the_signal_wanted() {
    let mut workload = Workload::new(Start { signals: vec![Signal::Logs], ..start(1) });
    for _ in 0..20 {
        let message = workload.next_message();
        assert_eq!((message.signal, message.records), (Signal::Logs, 64));
    }
}
