//! What a catalog does, in a file and in a real PostgreSQL server; and who may write into the latter.

use std::time::Duration;

use model::positions::{AgentId, StreamId};
use model::{Signal, SystemClock, TimeRange, UnixNano};
use servers::{Database, Postgres};
use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::deletes::{DeleteReceipt, Tombstone};
use crate::positions::{Entry, Key};
use crate::segment::Kept;

/// A schema that is there.
pub(crate) async fn schema(server: &Postgres) -> Database {
    let database = server.schema();
    let statement = format!("CREATE SCHEMA {}", database.schema);
    run(server.url(), &statement).await;
    database
}

async fn run(url: &str, statement: &str) -> u64 {
    let mut connection = PgConnection::connect(url).await.expect("the server answers");
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closed");
    done.rows_affected()
}

/// A file and, where there can be one, a schema of a server.
async fn homes() -> Vec<CatalogHome> {
    let mut homes = vec![CatalogHome::Embedded];
    if let Some(server) = Postgres::shared() {
        homes.push(CatalogHome::Postgres(schema(server).await.url));
    }
    homes
}

async fn open(dir: &Path, home: &CatalogHome) -> Result<Catalog, Error> {
    Catalog::open(&folder(dir), home, &*SystemClock::shared()).await
}

fn segment(number: u64) -> SegmentMeta {
    let mut meta = SegmentMeta::named(Signal::Logs, 0, (number, number + 5), number);
    meta.time = TimeRange { from: UnixNano(-3), to: UnixNano(i64::MAX) };
    (meta.rows, meta.bytes, meta.delete_id) = (7, u64::from(u32::MAX) * 9, 2);
    meta.kept = Kept::Past(3_600);
    meta
}

fn moved(value: u64) -> Vec<(Key, Option<Entry>)> {
    let agent = AgentId([3; 16]);
    let entry = Entry { value, seen: UnixNano(0) };
    vec![
        (Key::Session(agent), Some(entry)),
        (Key::Stream(agent, StreamId([4; 16])), Some(entry)),
        (Key::Kafka("orders".to_owned(), 3), Some(entry)),
    ]
}

fn tombstone(id: u64) -> Tombstone {
    let (term, requested_at) = ("order_id=ORD-ü'1".to_owned(), UnixNano(5));
    let receipt = DeleteReceipt { id, term, requested_at, spans: 1, log_records: 2, gone_at: None };
    Tombstone { sequence: 9, receipt }
}

#[tokio::test]
async fn what_was_committed_is_there_when_it_is_opened_again() {
    for home in homes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let catalog = open(dir.path(), &home).await.expect("opens");
        assert_eq!(catalog.segments().await.expect("readable"), []);
        catalog.commit(&[segment(1), segment(2)], &moved(40), 6).await.expect("committed");
        catalog.replace(&[segment(1)], &[segment(3)]).await.expect("replaced");
        let gone = catalog.replace(&[segment(1)], &[segment(4)]).await.expect_err("it is gone");
        assert_eq!(gone.kind(), ErrorKind::Internal);
        catalog.commit(&[], &[(Key::Kafka("orders".to_owned(), 3), None)], 8).await.expect("committed");
        catalog.add_delete(&tombstone(1)).await.expect("written");
        catalog.add_delete(&tombstone(1)).await.expect_err("a number is used once");
        catalog.deletes_gone(1, UnixNano(77)).await.expect("written");
        let identity = catalog.identity("first").await.expect("written");
        catalog.close().await;

        let catalog = open(dir.path(), &home).await.expect("opens");
        assert_eq!(catalog.segments().await.expect("readable"), [segment(2), segment(3)], "{home:?}");
        assert_eq!(catalog.wal_sequence().await.expect("readable"), 8);
        let mut expected = tombstone(1);
        expected.receipt.gone_at = Some(UnixNano(77));
        assert_eq!(catalog.deletes().await.expect("readable"), [expected]);
        assert_eq!(catalog.identity("second").await.expect("readable"), identity);
        let mut positions = catalog.positions().await.expect("readable");
        positions.sort_by_key(|(key, _)| format!("{key:?}"));
        let kept: Vec<_> =
            moved(40).into_iter().take(2).filter_map(|(key, entry)| Some((key, entry?))).collect();
        assert_eq!(positions, kept);
        assert!(catalog.names(&segment(3)).await.expect("readable"));
        assert!(!catalog.names(&segment(1)).await.expect("readable"));
        catalog.forget(&segment(3)).await.expect("forgotten");
        catalog.close().await;
        let looked = Catalog::open_read_only(dir.path(), &home).await.expect("opens");
        assert_eq!(looked.segments().await.expect("readable"), [segment(2)]);
        assert_eq!(looked.problems().await.expect("checked"), Vec::<String>::new());
        looked.close().await;
    }
}

#[tokio::test]
async fn a_commit_of_which_one_statement_fails_leaves_nothing() {
    for home in homes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let catalog = open(dir.path(), &home).await.expect("opens");
        catalog.commit(&[segment(1)], &moved(40), 6).await.expect("committed");
        // The second is there already.
        let failed =
            catalog.commit(&[segment(2), segment(1)], &moved(50), 12).await.expect_err("named twice");
        assert_eq!(failed.kind(), ErrorKind::Retry);
        assert_eq!(catalog.segments().await.expect("readable"), [segment(1)]);
        assert_eq!(catalog.wal_sequence().await.expect("readable"), 6);
        assert!(catalog.positions().await.expect("readable").iter().all(|(_, entry)| entry.value == 40));
        catalog.close().await;
        open(dir.path(), &home).await.expect("its digest holds").close().await;
    }
}

#[tokio::test]
async fn of_two_collectors_with_one_database_the_second_is_refused_until_the_first_has_ended() {
    let Some(server) = Postgres::shared() else { return };
    let home = CatalogHome::Postgres(schema(server).await.url);
    let dir = tempfile::tempdir().expect("a folder");
    let first = open(dir.path(), &home).await.expect("opens");
    let refused = open(dir.path(), &home).await.expect_err("it is taken");
    assert_eq!(refused.kind(), ErrorKind::FixInput);
    assert!(refused.to_string().contains("another silmari uses the catalog"), "{refused}");
    first.commit(&[segment(1)], &[], 6).await.expect("it is still the first one's");
    let other = CatalogHome::Postgres(schema(server).await.url);
    open(dir.path(), &other).await.expect("another schema is another catalog").close().await;
    first.close().await;
    open(dir.path(), &home).await.expect("free again").close().await;
}

/// Ends the connections that hold a catalog.
async fn cut(server: &Postgres, schema: &str) {
    let statement = format!(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.objid = hashtext('{schema}')::oid"
    );
    // Some versions want it as a number without a sign.
    assert!(run(server.url(), &statement).await > 0, "somebody holds it");
}

#[tokio::test]
async fn a_collector_whose_connection_was_cut_goes_on_unless_another_came_meanwhile() {
    let Some(server) = Postgres::shared() else { return };
    let database = schema(server).await;
    let home = CatalogHome::Postgres(database.url.clone());
    let dir = tempfile::tempdir().expect("a folder");
    let first = open(dir.path(), &home).await.expect("opens");
    cut(server, &database.schema).await;
    let commit = async |catalog: &Catalog, number: u64| {
        // The first try notices that the connection is gone.
        let again = catalog.commit(&[segment(number)], &[], number).await;
        if again.is_ok() { again } else { catalog.commit(&[segment(number)], &[], number).await }
    };
    commit(&first, 1).await.expect("a new connection");
    cut(server, &database.schema).await;
    let second = open(dir.path(), &home).await.expect("nobody holds it");
    second.close().await;
    let refused = commit(&first, 2).await.expect_err("another one was there");
    assert!(refused.to_string().contains("another collector has taken over"), "{refused}");
    let third = open(dir.path(), &home).await;
    drop(first);
    let third = match third {
        Ok(third) => third,
        Err(_) => open(dir.path(), &home).await.expect("free"),
    };
    assert_eq!(third.segments().await.expect("readable"), [segment(1)]);
}

#[tokio::test]
async fn a_transaction_that_a_killed_process_left_half_done_never_was() {
    let Some(server) = Postgres::shared() else { return };
    let database = schema(server).await;
    let home = CatalogHome::Postgres(database.url.clone());
    let dir = tempfile::tempdir().expect("a folder");
    let first = open(dir.path(), &home).await.expect("opens");
    first.commit(&[segment(1)], &moved(40), 6).await.expect("committed");
    let mut transaction = first.begin(|| "a test".to_owned()).await.expect("begun");
    sqlx::query("DELETE FROM segment").execute(&mut *transaction).await.expect("deleted");
    sqlx::query("DELETE FROM kafka_position").execute(&mut *transaction).await.expect("deleted");
    // What the kernel does with the socket of a killed process.
    cut(server, &database.schema).await;
    drop(transaction);
    drop(first);
    let again = tokio::time::timeout(Duration::from_secs(30), open(dir.path(), &home)).await;
    let again = again.expect("in time").expect("opens");
    assert_eq!(again.segments().await.expect("readable"), [segment(1)]);
    assert_eq!(again.positions().await.expect("readable").len(), 3);
    again.close().await;
}

#[tokio::test]
async fn a_newer_version_and_rows_that_somebody_changed_are_refused() {
    let Some(server) = Postgres::shared() else { return };
    let database = schema(server).await;
    let home = CatalogHome::Postgres(database.url.clone());
    let dir = tempfile::tempdir().expect("a folder");
    let first = open(dir.path(), &home).await.expect("opens");
    first.commit(&[segment(1)], &[], 6).await.expect("committed");
    first.close().await;
    run(&database.url, "UPDATE segment SET row_count = 8").await;
    let refused = open(dir.path(), &home).await.expect_err("changed");
    assert!(refused.to_string().contains("digest"), "{refused}");
    run(&database.url, "UPDATE segment SET row_count = 7").await;
    open(dir.path(), &home).await.expect("as it was").close().await;
    run(&database.url, "UPDATE position SET value = 2 WHERE name = 'catalog_version'").await;
    let refused = open(dir.path(), &home).await.expect_err("newer");
    assert!(refused.to_string().contains("version 2"), "{refused}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_asked_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = CatalogHome::Postgres("postgres://silmari:s3cr3t@127.0.0.1:1/silmari".to_owned());
    let refused = open(dir.path(), &home).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::Retry);
    assert!(!refused.to_string().contains("s3cr3t"), "{refused}");
}
