//! Another Parquet reader opens our files without us: pyarrow or DuckDB, where Python has one of them.
//!
//! `SILMARI_PYTHON` names an interpreter other than `python3`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use model::otlp::logs::{LogRecordParts, LogsWriter};
use model::{IdRules, ManualClock, Signal, TraceId, UnixNano};
use storage::{Compression, Frame, Settings, Store};

const NOW: UnixNano = UnixNano(1_800_000_000_000_000_000);

/// Prints number of rows, their bodies, which attributes are ids, and one attribute of each.
const PYARROW: &str = r#"
import sys, pyarrow.parquet as parquet
table = parquet.read_table(sys.argv[1])
rows = table.to_pylist()
print(len(rows), sorted(row["body"] for row in rows), sorted(row["id_attributes"] for row in rows),
      sorted(dict(row["attributes"])["order_id"] for row in rows))
"#;

const DUCKDB: &str = r#"
import sys, duckdb
rows = duckdb.sql(f"select body, id_attributes, attributes['order_id'] from read_parquet('{sys.argv[1]}')").fetchall()
print(len(rows), sorted(row[0] for row in rows), sorted(row[1] for row in rows),
      sorted(row[2] if isinstance(row[2], str) else row[2][0] for row in rows))
"#;

const EXPECTED: &str = "2 ['one', 'two'] ['order_id=order_id', 'order_id=order_id'] ['ORD-1', 'ORD-2']";

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
    let file = written(dir.path()).await;
    for (module, script) in there {
        let output = Command::new(&python).args(["-c", script]).arg(&file).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.trim(), EXPECTED, "{module}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A segment of two log records; the path of its Parquet file.
async fn written(dir: &Path) -> std::path::PathBuf {
    let store = Store::open(Settings::new(dir), Arc::new(IdRules::default()), ManualClock::at(NOW));
    let store = store.await.expect("opens");
    for (body, order) in [("one", "ORD-1"), ("two", "ORD-2")] {
        let mut writer = LogsWriter::new([("service.name", "billing")]);
        let trace_id = TraceId::from_bytes(&[7; 16]);
        let parts = LogRecordParts { time: NOW, body, trace_id, ..LogRecordParts::default() };
        writer.push(&parts, [("order_id", order)]);
        let payload = Bytes::from(writer.finish());
        let (signal, received_at) = (Signal::Logs, NOW);
        let batch = store.decode(signal, &payload, NOW).expect("decodable");
        let frame = Frame { signal, compression: Compression::Identity, received_at, payload };
        store.append(frame, batch).await.expect("durable");
    }
    store.close().await.expect("closed");
    let segment = std::fs::read_dir(dir.join("segments/logs")).expect("there").next().expect("one");
    segment.expect("readable").path().join("data.parquet")
}
