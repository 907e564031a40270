//! Notices that the catalog was changed by something else than this program.
//!
//! SQLite keeps no checksums: a flipped bit may turn a segment's name or the log's position into another
//! one, and nothing would say so. Owns: a digest over segments and log position, written in the
//! transaction that changes them and compared at the start; a checksum in every row of a sender's
//! position (`positions`). Deletes and the store's identity are not guarded.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{Catalog, DIGEST, Place, SET_POSITION, VERSION};
use crate::error::{Context as _, Error, ErrorKind};

const GUARDED: [&str; 2] =
    ["SELECT name, value FROM position WHERE name <> 'digest'", "SELECT * FROM segment"];

/// Writes the digest of what the transaction leaves.
pub(super) async fn write(connection: &mut AnyConnection) -> Result<(), Error> {
    let digest = digest(connection).await?;
    sqlx::query(SET_POSITION)
        .bind(DIGEST)
        .bind(i64::from(digest))
        .execute(connection)
        .await
        .context(ErrorKind::Retry, || "writing the catalog".to_owned())?;
    Ok(())
}

async fn digest(connection: &mut AnyConnection) -> Result<u32, Error> {
    let mut digest = 0;
    for statement in GUARDED {
        let rows = sqlx::query(statement).fetch_all(&mut *connection).await;
        let rows = rows.context(ErrorKind::Damaged, || "reading the catalog".to_owned())?;
        let mut rows: Vec<Vec<String>> = rows.iter().map(texts_of).collect();
        // By bytes: databases sort text as their locale says.
        rows.sort();
        digest = rows.iter().flatten().fold(digest, |digest, text| add(digest, text));
    }
    Ok(digest)
}

/// The columns of a row as text.
fn texts_of(row: &AnyRow) -> Vec<String> {
    let text = |column: usize| match row.try_get_unchecked::<i64, _>(column) {
        Ok(number) => number.to_string(),
        Err(_) => row.try_get_unchecked::<String, _>(column).unwrap_or_default(),
    };
    (0..row.len()).map(text).collect()
}

/// Continues a digest.
fn add(digest: u32, text: &str) -> u32 {
    let digest = crc32c::crc32c_append(digest, &(text.len() as u64).to_le_bytes());
    crc32c::crc32c_append(digest, text.as_bytes())
}

impl Catalog {
    /// Whether the file is whole and holds what was written.
    pub(super) async fn verify(&self) -> Result<(), Error> {
        let doing = || "checking the catalog".to_owned();
        if matches!(self.place, Place::File)
            && let Some(found) = self.file_problems(1).await?.first()
        {
            return Err(Error::damaged(format!("the catalog is damaged: {found}")));
        }
        // What is not guarded has to be readable all the same.
        self.deletes().await?;
        self.positions().await?;
        let written = self.position(DIGEST).await?;
        let mut connection = self.database.pool.acquire().await.context(ErrorKind::Retry, doing)?;
        let is_new = sqlx::query("SELECT 1 FROM position WHERE name <> $1")
            .bind(VERSION)
            .fetch_optional(&mut *connection)
            .await
            .context(ErrorKind::Damaged, doing)?
            .is_none();
        let digest = digest(&mut connection).await?;
        if written == Some(i64::from(digest)) || (is_new && written.is_none()) {
            return Ok(());
        }
        drop(connection);
        let newer = self.segments().await?.into_iter().any(|segment| segment.check_version().is_err());
        if newer {
            // Refused by those who open it; a newer version may reckon its digest in another way.
            return Ok(());
        }
        Err(Error::damaged("the catalog is damaged: its digest does not hold"))
    }
}
