//! The `delete_request` table: what was deleted by id, and whether its bytes are gone.

use model::UnixNano;
use sqlx::any::AnyRow;

use super::{Catalog, value_of};
use crate::deletes::{DeleteReceipt, Tombstone};
use crate::error::{Context as _, Error, ErrorKind};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS delete_request (
    delete_id BIGINT PRIMARY KEY, term TEXT NOT NULL, requested_at BIGINT NOT NULL,
    wal_sequence BIGINT NOT NULL, span_count BIGINT NOT NULL, log_count BIGINT NOT NULL, gone_at BIGINT)";

const INSERT: &str = "INSERT INTO delete_request
    (delete_id, term, requested_at, wal_sequence, span_count, log_count) VALUES ($1, $2, $3, $4, $5, $6)";

impl Catalog {
    /// All deletes, oldest first.
    pub(crate) async fn deletes(&self) -> Result<Vec<Tombstone>, Error> {
        let rows = sqlx::query("SELECT * FROM delete_request ORDER BY delete_id")
            .fetch_all(&self.database.pool)
            .await;
        let rows = rows.context(ErrorKind::Damaged, || "reading the catalog".to_owned())?;
        rows.iter().map(tombstone_of).collect()
    }

    /// Writes a delete down: from now on it holds, also after a restart.
    pub(crate) async fn add_delete(&self, tombstone: &Tombstone) -> Result<(), Error> {
        let receipt = &tombstone.receipt;
        let doing = || "writing the delete to the catalog".to_owned();
        let mut transaction = self.begin(doing).await?;
        sqlx::query(INSERT)
            .bind(receipt.id as i64)
            .bind(&receipt.term)
            .bind(receipt.requested_at.0)
            .bind(tombstone.sequence as i64)
            .bind(receipt.spans as i64)
            .bind(receipt.log_records as i64)
            .execute(&mut *transaction)
            .await
            .context(ErrorKind::Retry, doing)?;
        transaction.commit().await.context(ErrorKind::Retry, doing)
    }

    /// Notes that no segment holds the rows of deletes up to `last_id` any more.
    pub(crate) async fn deletes_gone(&self, last_id: u64, at: UnixNano) -> Result<(), Error> {
        let doing = || "writing the catalog".to_owned();
        let mut transaction = self.begin(doing).await?;
        sqlx::query("UPDATE delete_request SET gone_at = $1 WHERE delete_id <= $2 AND gone_at IS NULL")
            .bind(at.0)
            .bind(last_id as i64)
            .execute(&mut *transaction)
            .await
            .context(ErrorKind::Retry, doing)?;
        transaction.commit().await.context(ErrorKind::Retry, doing)
    }
}

fn tombstone_of(row: &AnyRow) -> Result<Tombstone, Error> {
    let count = |name: &str| Ok::<_, Error>(u64::try_from(value_of::<i64>(row, name)?).unwrap_or(0));
    Ok(Tombstone {
        sequence: count("wal_sequence")?,
        receipt: DeleteReceipt {
            id: count("delete_id")?,
            term: value_of(row, "term")?,
            requested_at: UnixNano(value_of(row, "requested_at")?),
            spans: count("span_count")?,
            log_records: count("log_count")?,
            gone_at: value_of::<Option<i64>>(row, "gone_at")?.map(UnixNano),
        },
    })
}
