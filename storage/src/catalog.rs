//! The catalog: which segments live and up to which WAL sequence they hold everything, in SQL.
//!
//! Invariant: segments and WAL position change in one transaction, so that a row is never in a
//! segment and replayed too. SQLite with `synchronous=FULL`; the statements are plain SQL that
//! PostgreSQL takes as well.

use std::path::Path;

use model::{Signal, TimeRange, UnixNano};
use sqlx::Row as _;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::error::{Context as _, Error, ErrorKind};
use crate::segment::SegmentMeta;

/// Version of the tables below.
const CATALOG_VERSION: i64 = 1;

const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS segment (
        signal TEXT NOT NULL, name TEXT NOT NULL, min_time BIGINT NOT NULL, max_time BIGINT NOT NULL,
        row_count BIGINT NOT NULL, byte_count BIGINT NOT NULL, format_version BIGINT NOT NULL,
        PRIMARY KEY (signal, name))",
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
        for table in TABLES {
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

    /// Live segments, oldest first.
    pub(crate) async fn segments(&self) -> Result<Vec<SegmentMeta>, Error> {
        let rows = sqlx::query(
            "SELECT signal, name, min_time, max_time, row_count, byte_count, format_version FROM segment ORDER BY min_time, name",
        )
        .fetch_all(&self.pool)
        .await
        .context(ErrorKind::Damaged, || "reading the catalog".to_owned())?;
        rows.iter().map(segment_of).collect()
    }

    /// The WAL sequence up to which everything is in segments.
    pub(crate) async fn wal_sequence(&self) -> Result<u64, Error> {
        Ok(u64::try_from(self.position(WAL_SEQUENCE).await?.unwrap_or(0)).unwrap_or(0))
    }

    /// Adds segments and moves the WAL position, or does neither.
    pub(crate) async fn commit(&self, added: &[SegmentMeta], wal_sequence: u64) -> Result<(), Error> {
        let doing = || "committing to the catalog".to_owned();
        let mut transaction = self.pool.begin().await.context(ErrorKind::Retry, doing)?;
        for segment in added {
            sqlx::query(
                "INSERT INTO segment (signal, name, min_time, max_time, row_count, byte_count, format_version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(segment.signal.name())
            .bind(&segment.name)
            .bind(segment.time.from.0)
            .bind(segment.time.to.0)
            .bind(segment.rows as i64)
            .bind(segment.bytes as i64)
            .bind(i64::from(segment.format_version))
            .execute(&mut *transaction)
            .await
            .context(ErrorKind::Retry, doing)?;
        }
        sqlx::query(SET_POSITION)
            .bind(WAL_SEQUENCE)
            .bind(wal_sequence as i64)
            .execute(&mut *transaction)
            .await
            .context(ErrorKind::Retry, doing)?;
        transaction.commit().await.context(ErrorKind::Retry, doing)
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

fn segment_of(row: &sqlx::sqlite::SqliteRow) -> Result<SegmentMeta, Error> {
    let signal: String = row.get("signal");
    let signal: Signal = signal.parse().map_err(|error| Error::damaged(format!("the catalog: {error}")))?;
    let number = |name: &str| row.get::<i64, _>(name);
    Ok(SegmentMeta {
        signal,
        name: row.get("name"),
        time: TimeRange { from: UnixNano(number("min_time")), to: UnixNano(number("max_time")) },
        rows: u64::try_from(number("row_count")).unwrap_or(0),
        bytes: u64::try_from(number("byte_count")).unwrap_or(0),
        format_version: u32::try_from(number("format_version")).unwrap_or(u32::MAX),
    })
}
