//! The catalog as a file of the data folder: SQLite.
//!
//! Owns: how the file is opened, and what SQLite says of its state. Does not own: what is done about a damaged one (`rebuild`).
//!
//! Invariant: a file of a newer version is not written to.

use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::connection::{Database, Prepare};
use super::{CATALOG_VERSION, Catalog, FILE, NewerVersion, Place, VERSION};
use crate::error::{Context as _, Error, ErrorKind};

/// A rollback journal: nothing beside the file has to be read to know what was committed.
const PRAGMAS: &str = "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA";

impl Catalog {
    /// Opens or creates the file.
    pub(super) async fn open_file(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let doing = || format!("opening the catalog `{}`", path.display());
        let catalog = Self::connect_file(&path, false).await.context(ErrorKind::Damaged, doing)?;
        // Before anything is written.
        catalog.check_file_version(&path).await?;
        check_header(&path)?;
        catalog.create_tables().await?;
        if catalog.position(VERSION).await?.is_none() {
            catalog.set_position(VERSION, CATALOG_VERSION).await?;
            let statement = "PRAGMA user_version = 1";
            sqlx::query(statement).execute(&catalog.database.pool).await.context(ErrorKind::Retry, doing)?;
        }
        Ok(catalog)
    }

    /// Opens the file of a store that exists, to look only: nothing is created or changed.
    pub(super) async fn open_file_read_only(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let doing = || format!("opening the catalog `{}`", path.display());
        let catalog = Self::connect_file(&path, true).await.context(ErrorKind::Damaged, doing)?;
        catalog.check_file_version(&path).await?;
        Ok(catalog)
    }

    async fn connect_file(path: &Path, is_read_only: bool) -> Result<Self, sqlx::Error> {
        let path = std::path::absolute(path).map_err(sqlx::Error::Io)?;
        let mut url = SqliteConnectOptions::new().filename(path).to_url_lossy();
        url.set_query(Some(if is_read_only { "mode=ro" } else { "mode=rwc" }));
        let prepare = if is_read_only { Prepare::Nothing } else { Prepare::Run(PRAGMAS) };
        Ok(Self { database: Database::connect(url.as_str(), prepare).await?, place: Place::File })
    }

    /// Refuses a newer version, which stands in the header of the file too.
    async fn check_file_version(&self, path: &Path) -> Result<(), Error> {
        let doing = || format!("opening the catalog `{}`", path.display());
        let header = sqlx::query_scalar::<_, i64>("PRAGMA user_version").fetch_one(&self.database.pool).await;
        let header = header.context(ErrorKind::Damaged, doing)?;
        let tables = "SELECT count(*) FROM sqlite_master WHERE name = 'position'";
        let tables = sqlx::query_scalar::<_, i64>(tables).fetch_one(&self.database.pool).await;
        if tables.context(ErrorKind::Damaged, doing)? == 0 || header <= CATALOG_VERSION {
            return Ok(());
        }
        self.check_version(&path.display().to_string()).await
    }

    /// What SQLite finds wrong with the file; empty when it is sound. At most `findings_max`.
    pub(super) async fn file_problems(&self, findings_max: u32) -> Result<Vec<String>, Error> {
        let check = sqlx::AssertSqlSafe(format!("PRAGMA quick_check({findings_max})"));
        let found: Vec<String> = sqlx::query_scalar(check)
            .fetch_all(&self.database.pool)
            .await
            .context(ErrorKind::Damaged, || "checking the catalog".to_owned())?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }
}

/// SQLite opens a file whose header names a way of writing that it does not know, to be read only: for ever, if it is a flipped bit.
fn check_header(path: &Path) -> Result<(), Error> {
    const WAYS: std::ops::Range<usize> = 18..20;
    const KNOWN: [u8; 2] = [1, 2];
    let mut header = [0; WAYS.end];
    let read = std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut header));
    match read {
        // A file that is still to be written has no header.
        Ok(bytes) if bytes == header.len() && !header[WAYS].iter().all(|way| KNOWN.contains(way)) => {
            Err(Error::damaged("the catalog is damaged: its header says that it cannot be written"))
        }
        _ => Ok(()),
    }
}

/// Whether an error of SQLite says that the file is damaged, and not that the disk does not work.
pub(super) fn is_damage(error: &Error) -> bool {
    const CORRUPT: i64 = 11;
    const NO_DATABASE: i64 = 26;
    if error.kind() != ErrorKind::Damaged || error.source_ref::<NewerVersion>().is_some() {
        return false;
    }
    match error.source_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(database)) => {
            let code = database.code().and_then(|code| code.parse::<i64>().ok());
            // 1: a table that is named in the file and is none, and the like.
            code.is_some_and(|code| [1, CORRUPT, NO_DATABASE].contains(&(code & 0xff)))
        }
        Some(
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::TypeNotFound { .. }
            // A name in the file that is no text ends the thread of the driver.
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::AnyDriverError(_)
            | sqlx::Error::Protocol(_),
        )
        | None => true,
        Some(_) => false,
    }
}
