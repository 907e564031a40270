//! The catalog: which segments live and up to which WAL sequence they hold everything, in SQL.
//!
//! Invariant: segments and WAL position change in one transaction, so that a row is never in a
//! segment and replayed too. The statements are plain SQL that SQLite and PostgreSQL both take, through sqlx's `Any`;
//! what differs is in `embedded` and `server`. Segments, deletes and senders' positions have files of
//! their own; the log's position is here.

mod connection;
mod deletes;
mod embedded;
mod guard;
mod positions;
mod rebuild;
mod segments;
mod server;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

use model::Clock;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::error::{Context as _, Error, ErrorKind};
use crate::folder::Folder;
use crate::segment::SegmentMeta;
use connection::Database;
pub use server::CatalogHome;

/// Version of the tables below.
pub(crate) const CATALOG_VERSION: i64 = 1;

const TABLES: [&str; 3] = [
    segments::TABLE,
    deletes::TABLE,
    "CREATE TABLE IF NOT EXISTS position (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
];

const FILE: &str = "catalog.sqlite";
const WAL_SEQUENCE: &str = "wal_sequence";
const VERSION: &str = "catalog_version";
const DIGEST: &str = "digest";
/// How often the catalog was opened in a server: who opened it last may write.
const OWNER_EPOCH: &str = "owner_epoch";

/// The file is sound, and not ours to change.
#[derive(Debug, thiserror::Error)]
#[error("a newer version wrote it")]
struct NewerVersion;

/// The catalog of one store.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    database: Database,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    File,
    Server { shown: String, epoch: i64 },
}

impl Catalog {
    /// Opens or creates the catalog. A file that is damaged is set aside and made anew.
    ///
    /// # Errors
    /// `Damaged` when it is of a newer version; it was not touched then. When the disk or the server does not work, or another
    /// collector has it.
    pub(crate) async fn open(folder: &Folder, home: &CatalogHome, clock: &dyn Clock) -> Result<Self, Error> {
        let data_dir = match home {
            CatalogHome::Embedded => &*folder.path,
            CatalogHome::Postgres(url) => return Self::open_server(url).await,
        };
        let (problem, salvaged) = match Self::open_file(data_dir).await {
            Ok(catalog) => {
                let Err(problem) = catalog.verify().await else { return Ok(catalog) };
                if !embedded::is_damage(&problem) {
                    return Err(problem);
                }
                let salvaged = catalog.salvage().await;
                catalog.close().await;
                (problem, salvaged)
            }
            Err(problem) if embedded::is_damage(&problem) => (problem, rebuild::Salvaged::default()),
            Err(problem) => return Err(problem),
        };
        Self::rebuild(folder, &problem, salvaged, clock).await
    }

    /// Opens the catalog of a store that exists, to look only: nothing is created or changed.
    pub(crate) async fn open_read_only(data_dir: &Path, home: &CatalogHome) -> Result<Self, Error> {
        match home {
            CatalogHome::Embedded => Self::open_file_read_only(data_dir).await,
            CatalogHome::Postgres(url) => Self::open_server_read_only(url).await,
        }
    }

    async fn create_tables(&self) -> Result<(), Error> {
        let doing = || "making the tables of the catalog".to_owned();
        for table in TABLES.into_iter().chain(positions::TABLES) {
            sqlx::query(table).execute(&self.database.pool).await.context(ErrorKind::Damaged, doing)?;
        }
        Ok(())
    }

    /// Refuses a newer version.
    async fn check_version(&self, shown: &str) -> Result<(), Error> {
        match self.position(VERSION).await? {
            Some(version) if version > CATALOG_VERSION => Err(Error::damaged(format!(
                "the catalog `{shown}` has version {version}, this program reads up to {CATALOG_VERSION}: use a newer silmari"
            ))
            .with_source(NewerVersion)),
            _ => Ok(()),
        }
    }

    /// What is wrong with the file; empty when it is sound. A server looks after its own.
    pub(crate) async fn problems(&self) -> Result<Vec<String>, Error> {
        match &self.place {
            Place::File => self.file_problems(100).await,
            Place::Server { .. } => Ok(Vec::new()),
        }
    }

    /// Forgets a segment whose files were moved away.
    pub(crate) async fn forget(&self, segment: &SegmentMeta) -> Result<(), Error> {
        let doing = || format!("removing `{}` from the catalog", segment.path());
        let mut transaction = self.begin(doing).await?;
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
        sqlx::query(pragma).execute(&self.database.pool).await.expect("one connection");
    }

    /// Waits for running statements and closes the file.
    pub(crate) async fn close(&self) {
        self.database.pool.close().await;
    }

    async fn position(&self, name: &str) -> Result<Option<i64>, Error> {
        sqlx::query_scalar("SELECT value FROM position WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.database.pool)
            .await
            .context(ErrorKind::Damaged, || "reading the catalog".to_owned())
    }

    async fn set_position(&self, name: &str, value: i64) -> Result<(), Error> {
        sqlx::query(SET_POSITION)
            .bind(name)
            .bind(value)
            .execute(&self.database.pool)
            .await
            .context(ErrorKind::Retry, || "writing the catalog".to_owned())?;
        Ok(())
    }
}

/// A column of a row. A damaged file may have lost it, or hold something else there.
fn value_of<'r, T>(row: &'r AnyRow, name: &str) -> Result<T, Error>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    row.try_get(name).context(ErrorKind::Damaged, || "reading the catalog".to_owned())
}

const SET_POSITION: &str = "INSERT INTO position (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
