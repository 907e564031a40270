//! The catalog: which segments live and up to which WAL sequence they hold everything, in SQL.
//!
//! Invariant: segments and WAL position change in one transaction, so that a row is never in a
//! segment and replayed too. SQLite with `synchronous=EXTRA`; the statements are plain SQL that
//! PostgreSQL takes as well. Segments, deletes and senders' positions have files of
//! their own; the log's position is here.

mod deletes;
mod guard;
mod positions;
mod rebuild;
mod segments;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use model::Clock;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::error::{Context as _, Error, ErrorKind};
use crate::segment::SegmentMeta;

/// Version of the tables below.
const CATALOG_VERSION: i64 = 1;

const TABLES: [&str; 3] = [
    segments::TABLE,
    deletes::TABLE,
    "CREATE TABLE IF NOT EXISTS position (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
];

const FILE: &str = "catalog.sqlite";
/// How long a look waits for a server that is just writing.
const BUSY_MAX: Duration = Duration::from_secs(5);
const WAL_SEQUENCE: &str = "wal_sequence";
const VERSION: &str = "catalog_version";
const DIGEST: &str = "digest";

/// The file is sound, and not ours to change.
#[derive(Debug, thiserror::Error)]
#[error("a newer version wrote it")]
struct NewerVersion;

/// The catalog of one data folder.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pool: SqlitePool,
}

impl Catalog {
    /// Opens or creates `catalog.sqlite` in `data_dir`. One that is damaged is set aside and made anew.
    ///
    /// # Errors
    /// `Damaged` when it is of a newer version; it was not touched then. When the disk does not work.
    pub(crate) async fn open(data_dir: &Path, clock: &dyn Clock) -> Result<Self, Error> {
        let (problem, salvaged) = match Self::open_file(data_dir).await {
            Ok(catalog) => {
                let Err(problem) = catalog.verify().await else { return Ok(catalog) };
                if !rebuild::is_damage(&problem) {
                    return Err(problem);
                }
                let salvaged = catalog.salvage().await;
                catalog.close().await;
                (problem, salvaged)
            }
            Err(problem) if rebuild::is_damage(&problem) => (problem, rebuild::Salvaged::default()),
            Err(problem) => return Err(problem),
        };
        Self::rebuild(data_dir, &problem, salvaged, clock).await
    }

    async fn open_file(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let doing = || format!("opening the catalog `{}`", path.display());
        // A rollback journal: nothing beside the file has to be read to know what was committed.
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Extra);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .context(ErrorKind::Damaged, doing)?;
        let catalog = Self { pool };
        // Before anything is written.
        catalog.check_version(data_dir).await?;
        for table in TABLES.into_iter().chain(positions::TABLES) {
            sqlx::query(table).execute(&catalog.pool).await.context(ErrorKind::Damaged, doing)?;
        }
        if catalog.position(VERSION).await?.is_none() {
            catalog.set_position(VERSION, CATALOG_VERSION).await?;
            let statement = "PRAGMA user_version = 1";
            sqlx::query(statement).execute(&catalog.pool).await.context(ErrorKind::Retry, doing)?;
        }
        Ok(catalog)
    }

    /// Refuses a newer version, which stands in the header of the file too.
    async fn check_version(&self, data_dir: &Path) -> Result<(), Error> {
        let doing = || format!("opening the catalog `{}`", data_dir.join(FILE).display());
        let header = sqlx::query_scalar::<_, i64>("PRAGMA user_version").fetch_one(&self.pool).await;
        let header = header.context(ErrorKind::Damaged, doing)?;
        let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'position'";
        let tables = sqlx::query_scalar::<_, i64>(tables).fetch_one(&self.pool).await;
        if tables.context(ErrorKind::Damaged, doing)? == 0 || header <= CATALOG_VERSION {
            return Ok(());
        }
        match self.position(VERSION).await? {
            Some(version) if version > CATALOG_VERSION => Err(Error::damaged(format!(
                "the catalog `{}` has version {version}, this program reads up to {CATALOG_VERSION}: use a newer silmari",
                data_dir.join(FILE).display()
            ))
            .with_source(NewerVersion)),
            _ => Ok(()),
        }
    }

    /// Opens the catalog of a store that exists, to look only: nothing is created or changed.
    pub(crate) async fn open_read_only(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let doing = || format!("opening the catalog `{}`", path.display());
        let options = SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(BUSY_MAX);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .context(ErrorKind::Damaged, doing)?;
        let catalog = Self { pool };
        catalog.check_version(data_dir).await?;
        Ok(catalog)
    }

    /// What SQLite finds wrong with the file; empty when it is sound.
    pub(crate) async fn problems(&self) -> Result<Vec<String>, Error> {
        let found: Vec<String> = sqlx::query_scalar("PRAGMA quick_check")
            .fetch_all(&self.pool)
            .await
            .context(ErrorKind::Damaged, || "checking the catalog".to_owned())?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    /// Forgets a segment whose files were moved away.
    pub(crate) async fn forget(&self, segment: &SegmentMeta) -> Result<(), Error> {
        let doing = || format!("removing `{}` from the catalog", segment.path());
        let mut transaction = self.pool.begin().await.context(ErrorKind::Retry, doing)?;
        sqlx::query("DELETE FROM segment WHERE signal = $1 AND name = $2")
            .bind(segment.signal.name())
            .bind(&segment.name)
            .execute(&mut *transaction)
            .await
            .context(ErrorKind::Retry, doing)?;
        guard::write(&mut transaction).await?;
        transaction.commit().await.context(ErrorKind::Retry, doing)
    }

    /// The WAL sequence up to which everything is in segments.
    pub(crate) async fn wal_sequence(&self) -> Result<u64, Error> {
        Ok(u64::try_from(self.position(WAL_SEQUENCE).await?.unwrap_or(0)).unwrap_or(0))
    }

    /// Makes every statement that writes fail.
    #[cfg(test)]
    pub(crate) async fn set_read_only(&self, is_read_only: bool) {
        let pragma = if is_read_only { "PRAGMA query_only = ON" } else { "PRAGMA query_only = OFF" };
        sqlx::query(pragma).execute(&self.pool).await.expect("one connection");
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
