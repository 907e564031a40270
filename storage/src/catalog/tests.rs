//! A damaged catalog is noticed, set aside and made anew; a newer one is left alone.

pub(crate) mod both;

use model::{SystemClock, UnixNano};

use super::*;
use crate::positions::{Entry, Key};

fn position(value: u64) -> (Key, Option<Entry>) {
    (Key::Kafka("orders".to_owned(), 1), Some(Entry { value, seen: UnixNano(0) }))
}

fn folder(dir: &Path) -> Folder {
    Folder::new(dir, std::sync::Arc::new(disk::RealFs), crate::plant::Planted::default())
}

async fn catalog(dir: &Path) -> Catalog {
    Catalog::open(&folder(dir), &CatalogHome::Embedded, &*SystemClock::shared()).await.expect("opens")
}

async fn change(dir: &Path, statements: &[&'static str]) {
    let catalog = Catalog::open_file(dir).await.expect("opens");
    for statement in statements {
        sqlx::query(*statement).execute(&catalog.database.pool).await.expect("runs");
    }
    catalog.close().await;
}

fn quarantined(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("quarantine")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_log_position_that_was_changed_is_noticed_and_what_is_sound_is_carried_over() {
    let dir = tempfile::tempdir().expect("a folder");
    let sound = catalog(dir.path()).await;
    sound.commit(&[], &[position(7)], 40).await.expect("committed");
    let identity = sound.identity("first").await.expect("written");
    sound.close().await;
    change(dir.path(), &["UPDATE position SET value = 41 WHERE name = 'wal_sequence'"]).await;
    let rebuilt = catalog(dir.path()).await;
    assert_eq!(rebuilt.wal_sequence().await.expect("readable"), 0, "no segment says how far it was");
    assert_eq!(rebuilt.positions().await.expect("readable").len(), 1);
    assert_eq!(rebuilt.identity("second").await.expect("readable"), identity);
    assert_eq!(quarantined(dir.path()), 1);
    rebuilt.close().await;
    catalog(dir.path()).await;
    assert_eq!(quarantined(dir.path()), 1, "the new one is sound");
}

#[tokio::test]
async fn a_position_that_was_changed_is_forgotten_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let sound = catalog(dir.path()).await;
    let other = (Key::Kafka("orders".to_owned(), 2), Some(Entry { value: 9, seen: UnixNano(0) }));
    sound.commit(&[], &[position(7), other], 40).await.expect("committed");
    sound.close().await;
    change(dir.path(), &["UPDATE kafka_position SET next_offset = 8 WHERE partition = 1"]).await;
    let found = catalog(dir.path()).await.positions().await.expect("readable");
    assert_eq!(found, [(Key::Kafka("orders".to_owned(), 2), Entry { value: 9, seen: UnixNano(0) })]);
    assert_eq!(quarantined(dir.path()), 0);
}

#[tokio::test]
async fn a_newer_catalog_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    catalog(dir.path()).await.close().await;
    let statements =
        ["UPDATE position SET value = 2 WHERE name = 'catalog_version'", "PRAGMA user_version = 2"];
    change(dir.path(), &statements).await;
    let before = std::fs::read(dir.path().join(FILE)).expect("readable");
    let refused = Catalog::open(&folder(dir.path()), &CatalogHome::Embedded, &*SystemClock::shared())
        .await
        .expect_err("newer");
    assert!(refused.to_string().contains("version 2"), "{refused}");
    assert_eq!(std::fs::read(dir.path().join(FILE)).expect("readable"), before);
}

#[tokio::test]
async fn any_bytes_in_the_place_of_a_catalog_do_not_stop_the_start() {
    for bytes in [&b""[..], b"x", &[0; 5_000], &[0xff; 100], b"SQLite format 3\0 and then nothing of it"] {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(FILE), bytes).expect("written");
        assert_eq!(catalog(dir.path()).await.wal_sequence().await.expect("readable"), 0);
    }
}
