//! The catalog: which segments live and up to which WAL sequence they hold everything, in SQL.
//!
//! Invariant: segments and WAL position change in one transaction, so that a row is never in a
//! segment and replayed too. SQLite with `synchronous=FULL`; the statements are plain SQL that
//! PostgreSQL takes as well. Segments, deletes and senders' positions have files of
//! their own; the log's position is here.

mod deletes;
mod positions;
mod segments;

use std::path::Path;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::error::{Context as _, Error, ErrorKind};

/// Version of the tables below.
const CATALOG_VERSION: i64 = 1;

const TABLES: [&str; 3] = [
    segments::TABLE,
    deletes::TABLE,
    "CREATE TABLE IF NOT EXISTS position (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
];

const WAL_SEQUENCE: &str = "wal_sequence";
const VERSION: &str = "catalog_version";

/// The catalog of one data folder.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pool: SqlitePool,
}

impl Catalog {
    /// Opens or creates `catalog.sqlite` in `data_dir`.
    pub(crate) async fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join("catalog.sqlite");
        let doing = || format!("opening the catalog `{}`", path.display());
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .context(ErrorKind::Damaged, doing)?;
        let catalog = Self { pool };
        for table in TABLES.into_iter().chain(positions::TABLES) {
            sqlx::query(table).execute(&catalog.pool).await.context(ErrorKind::Damaged, doing)?;
        }
        match catalog.position(VERSION).await? {
            Some(version) if version > CATALOG_VERSION => {
                return Err(Error::damaged(format!(
                    "the catalog `{}` has version {version}, this program reads up to {CATALOG_VERSION}: use a newer silmari",
                    path.display()
                )));
            }
            Some(_) => {}
            None => catalog.set_position(VERSION, CATALOG_VERSION).await?,
        }
        Ok(catalog)
    }

    /// The WAL sequence up to which everything is in segments.
    pub(crate) async fn wal_sequence(&self) -> Result<u64, Error> {
        Ok(u64::try_from(self.position(WAL_SEQUENCE).await?.unwrap_or(0)).unwrap_or(0))
    }

    /// Waits for running statements and closes the file.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    async fn position(&self, name: &str) -> Result<Option<i64>, Error> {
        sqlx::query_scalar("SELECT value FROM position WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .context(ErrorKind::Damaged, || "reading the catalog".to_owned())
    }

    async fn set_position(&self, name: &str, value: i64) -> Result<(), Error> {
        sqlx::query(SET_POSITION)
            .bind(name)
            .bind(value)
            .execute(&self.pool)
            .await
            .context(ErrorKind::Retry, || "writing the catalog".to_owned())?;
        Ok(())
    }
}

const SET_POSITION: &str = "INSERT INTO position (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
