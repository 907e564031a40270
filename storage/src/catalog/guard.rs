//! Notices that the catalog was changed by something else than this program.
//!
//! SQLite keeps no checksums: a flipped bit may turn a segment's name or the log's position into another
//! one, and nothing would say so. Owns: a digest over segments and log position, written in the
//! transaction that changes them and compared at the start; a checksum in every row of a sender's
//! position (`positions`). Deletes and the store's identity are not guarded.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{Catalog, DIGEST, SET_POSITION, VERSION};
use crate::error::{Context as _, Error, ErrorKind};

const GUARDED: [&str; 2] = [
    "SELECT name, value FROM position WHERE name <> 'digest' ORDER BY name",
    "SELECT * FROM segment ORDER BY signal, name",
];

/// Writes the digest of what the transaction leaves.
pub(super) async fn write(connection: &mut SqliteConnection) -> Result<(), Error> {
    let digest = digest(connection).await?;
    sqlx::query(SET_POSITION)
        .bind(DIGEST)
        .bind(i64::from(digest))
        .execute(connection)
        .await
        .context(ErrorKind::Retry, || "writing the catalog".to_owned())?;
    Ok(())
}

async fn digest(connection: &mut SqliteConnection) -> Result<u32, Error> {
    let mut digest = 0;
    for statement in GUARDED {
        let rows = sqlx::query(statement).fetch_all(&mut *connection).await;
        for row in rows.context(ErrorKind::Damaged, || "reading the catalog".to_owned())? {
            digest = add_row(digest, &row);
        }
    }
    Ok(digest)
}

/// Continues a digest with the columns of a row as text.
fn add_row(digest: u32, row: &SqliteRow) -> u32 {
    (0..row.len()).fold(digest, |digest, column| {
        let text = row.try_get_unchecked::<Option<String>, _>(column).ok().flatten().unwrap_or_default();
        crc32c::crc32c_append(
            crc32c::crc32c_append(digest, &(text.len() as u64).to_le_bytes()),
            text.as_bytes(),
        )
    })
}

impl Catalog {
    /// Whether the file is whole and holds what was written.
    pub(super) async fn verify(&self) -> Result<(), Error> {
        let doing = || "checking the catalog".to_owned();
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&self.pool)
            .await
            .context(ErrorKind::Damaged, doing)?;
        if found != "ok" {
            return Err(Error::damaged(format!("the catalog is damaged: {found}")));
        }
        let written = self.position(DIGEST).await?;
        let mut connection = self.pool.acquire().await.context(ErrorKind::Retry, doing)?;
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
