//! Another Parquet reader opens our files without us: pyarrow or DuckDB, where Python has one of them.
//!
//! `SILMARI_PYTHON` names an interpreter other than `python3`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::wire::{put_bytes, put_fixed64, put_message, put_u64};
use model::{IdRules, ManualClock, Signal, TraceId, UnixNano};
use storage::{Compression, Frame, Settings, Store};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

/// Reads every column of the files of logs, spans and points, and prints of each what a person would ask for.
const PYARROW: &str = r#"
import sys, pyarrow.parquet as parquet
logs, spans, points = (parquet.read_table(file).to_pylist() for file in sys.argv[1:])
print(len(logs), sorted(row["body"] for row in logs), sorted(row["id_attributes"] for row in logs),
      sorted(dict(row["attributes"])["order_id"] for row in logs))
print([(row["trace_id"].hex(), row["name"], row["duration_nano"]) for row in spans])
print([(row["name"], row["value"], row["service"]) for row in points])
"#;

const DUCKDB: &str = r#"
import sys, duckdb
def rows(file, columns):
    duckdb.sql(f"select * from read_parquet('{file}')").fetchall()
    return duckdb.sql(f"select {columns} from read_parquet('{file}')").fetchall()
logs = rows(sys.argv[1], "body, id_attributes, attributes['order_id']")
print(len(logs), sorted(row[0] for row in logs), sorted(row[1] for row in logs),
      sorted(row[2] if isinstance(row[2], str) else row[2][0] for row in logs))
print(rows(sys.argv[2], "lower(hex(trace_id)), name, duration_nano"))
print(rows(sys.argv[3], "name, value, service"))
"#;

const EXPECTED: &str = "\
2 ['one', 'two'] ['order_id=order_id', 'order_id=order_id'] ['ORD-1', 'ORD-2']
[('07070707070707070707070707070707', 'POST /pay', 5)]
[('queue_depth', 2.5, 'billing')]";

#[tokio::test]
async fn another_reader_reads_our_parquet_without_us() {
    let python = std::env::var("SILMARI_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let scripts = [("pyarrow", PYARROW), ("duckdb", DUCKDB)];
    let has = |module: &str| {
        let import = Command::new(&python).args(["-c", &format!("import {module}")]).output();
        import.is_ok_and(|output| output.status.success())
    };
    let there: Vec<_> = scripts.into_iter().filter(|(module, _)| has(module)).collect();
    if there.is_empty() {
        println!(
            "skipped: `{python}` has neither pyarrow nor duckdb; `pip install pyarrow` or set SILMARI_PYTHON"
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let files = written(dir.path()).await;
    for (module, script) in there {
        let output = Command::new(&python).args(["-c", script]).args(&files).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.trim(), EXPECTED, "{module}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn append(store: &Store, signal: Signal, request: Vec<u8>) {
    let payload = Bytes::from(request);
    let batch = store.decode(signal, &payload, NOW).expect("decodable");
    assert_eq!((batch.accepted, batch.rejected), (1, 0), "{:?}", batch.rejection);
    let frame = Frame { signal, compression: Compression::Identity, received_at: NOW, payload };
    store.append(frame, batch).await.expect("durable");
}

/// A request of the service `billing` with one span or metric.
fn request(leaf: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |group| {
        put_message(group, 1, |resource| {
            put_message(resource, 1, |attribute| {
                put_bytes(attribute, 1, b"service.name");
                put_message(attribute, 2, |value| put_bytes(value, 1, b"billing"));
            });
        });
        put_message(group, 2, |scope| put_message(scope, 2, leaf));
    });
    out
}

fn span(span: &mut Vec<u8>) {
    put_bytes(span, 1, &[7; 16]);
    put_bytes(span, 2, &[1; 8]);
    put_bytes(span, 5, b"POST /pay");
    put_u64(span, 6, 2);
    put_fixed64(span, 7, NOW.0 as u64);
    put_fixed64(span, 8, NOW.0 as u64 + 5);
    put_message(span, 11, |event| put_bytes(event, 2, b"paid"));
}

fn gauge(metric: &mut Vec<u8>) {
    put_bytes(metric, 1, b"queue.depth");
    put_message(metric, 5, |gauge| {
        put_message(gauge, 1, |point| {
            put_fixed64(point, 3, NOW.0 as u64);
            put_fixed64(point, 4, 2.5_f64.to_bits());
        });
    });
}

/// Segments of two log records, a span and a point; the paths of their Parquet files, in this order.
async fn written(dir: &Path) -> Vec<PathBuf> {
    let store = Store::open(Settings::new(dir), Arc::new(IdRules::default()), ManualClock::at(NOW));
    let store = store.await.expect("opens");
    for (body, order) in [("one", "ORD-1"), ("two", "ORD-2")] {
        let mut writer = LogsWriter::new([("service.name", "billing")]);
        let trace_id = TraceId::from_bytes(&[7; 16]);
        let parts = LogRecordParts { time: NOW, body, trace_id, ..LogRecordParts::default() };
        writer.push(&parts, [("order_id", order)]);
        append(&store, Signal::Logs, writer.finish()).await;
    }
    append(&store, Signal::Traces, request(span)).await;
    append(&store, Signal::Metrics, request(gauge)).await;
    store.close().await.expect("closed");
    let file = |table: &str| {
        let segment =
            std::fs::read_dir(dir.join("segments").join(table)).expect("there").next().expect("one");
        segment.expect("readable").path().join("data.parquet")
    };
    ["logs", "spans", "points"].map(file).to_vec()
}
