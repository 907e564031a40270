//! The `segment` table: which segments live.

use model::{Signal, TimeRange, UnixNano};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::{Catalog, SET_POSITION, WAL_SEQUENCE, guard, positions, value_of};
use crate::error::{Context as _, Error, ErrorKind};
use crate::positions::{Entry, Key};
use crate::segment::{Kept, SegmentMeta};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS segment (
    signal TEXT NOT NULL, name TEXT NOT NULL, level BIGINT NOT NULL,
    first_sequence BIGINT NOT NULL, last_sequence BIGINT NOT NULL,
    min_time BIGINT NOT NULL, max_time BIGINT NOT NULL, row_count BIGINT NOT NULL, byte_count BIGINT NOT NULL,
    kept TEXT NOT NULL, delete_id BIGINT NOT NULL, format_version BIGINT NOT NULL,
    PRIMARY KEY (signal, name))";

const SELECT: &str =
    "SELECT signal, name, level, first_sequence, last_sequence, min_time, max_time, row_count,
    byte_count, kept, delete_id, format_version FROM segment ORDER BY min_time, name";

const INSERT: &str = "INSERT INTO segment (signal, name, level, first_sequence, last_sequence, min_time,
    max_time, row_count, byte_count, kept, delete_id, format_version)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

impl Catalog {
    /// Live segments, oldest first.
    pub(crate) async fn segments(&self) -> Result<Vec<SegmentMeta>, Error> {
        let rows = sqlx::query(SELECT).fetch_all(&self.database.pool).await;
        let rows = rows.context(ErrorKind::Damaged, || "reading the catalog".to_owned())?;
        rows.iter().map(segment_of).collect()
    }

    /// Adds the segments of a seal, moves the senders' positions and the WAL position, or does nothing of it.
    pub(crate) async fn commit(
        &self,
        added: &[SegmentMeta],
        moved: &[(Key, Option<Entry>)],
        wal_sequence: u64,
    ) -> Result<(), Error> {
        let mut transaction = self.begin(committing).await?;
        for segment in added {
            insert(&mut transaction, segment).await?;
        }
        positions::write(&mut transaction, moved).await?;
        sqlx::query(SET_POSITION)
            .bind(WAL_SEQUENCE)
            .bind(wal_sequence as i64)
            .execute(&mut *transaction)
            .await
            .context(ErrorKind::Retry, committing)?;
        guard::write(&mut transaction).await?;
        transaction.commit().await.context(ErrorKind::Retry, committing)
    }

    /// Puts `added` in the place of `removed`, or changes nothing: a segment that is not there any more
    /// is an error.
    pub(crate) async fn replace(&self, removed: &[SegmentMeta], added: &[SegmentMeta]) -> Result<(), Error> {
        let mut transaction = self.begin(committing).await?;
        for segment in removed {
            let deleted = sqlx::query("DELETE FROM segment WHERE signal = $1 AND name = $2")
                .bind(segment.signal.name())
                .bind(&segment.name)
                .execute(&mut *transaction)
                .await
                .context(ErrorKind::Retry, committing)?;
            if deleted.rows_affected() != 1 {
                let message = format!("the catalog does not name segment `{}` any more", segment.path());
                return Err(Error::new(ErrorKind::Internal, message));
            }
        }
        for segment in added {
            insert(&mut transaction, segment).await?;
        }
        guard::write(&mut transaction).await?;
        transaction.commit().await.context(ErrorKind::Retry, committing)
    }

    /// Whether the segment lives.
    pub(crate) async fn names(&self, segment: &SegmentMeta) -> Result<bool, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM segment WHERE signal = $1 AND name = $2")
            .bind(segment.signal.name())
            .bind(&segment.name)
            .fetch_one(&self.database.pool)
            .await
            .context(ErrorKind::Retry, || "reading the catalog".to_owned())?;
        Ok(count > 0)
    }
}

fn committing() -> String {
    "committing to the catalog".to_owned()
}

async fn insert(connection: &mut AnyConnection, segment: &SegmentMeta) -> Result<(), Error> {
    sqlx::query(INSERT)
        .bind(segment.signal.name())
        .bind(&segment.name)
        .bind(i64::from(segment.level))
        .bind(segment.sequences.0 as i64)
        .bind(segment.sequences.1 as i64)
        .bind(segment.time.from.0)
        .bind(segment.time.to.0)
        .bind(segment.rows as i64)
        .bind(segment.bytes as i64)
        .bind(segment.kept.name())
        .bind(segment.delete_id as i64)
        .bind(i64::from(segment.format_version))
        .execute(connection)
        .await
        .context(ErrorKind::Retry, committing)?;
    Ok(())
}

fn segment_of(row: &AnyRow) -> Result<SegmentMeta, Error> {
    let signal: String = value_of(row, "signal")?;
    let signal: Signal = signal.parse().map_err(|error| Error::damaged(format!("the catalog: {error}")))?;
    let kept: String = value_of(row, "kept")?;
    let kept = Kept::from_name(&kept).ok_or_else(|| {
        Error::damaged(format!("the catalog: `{kept}` is none of `all`, `errors`, `past <seconds>`"))
    })?;
    let number = |name: &str| value_of::<i64>(row, name);
    let count = |name: &str| Ok::<_, Error>(u64::try_from(number(name)?).unwrap_or(0));
    Ok(SegmentMeta {
        signal,
        name: value_of(row, "name")?,
        level: u32::try_from(number("level")?).unwrap_or(0),
        sequences: (count("first_sequence")?, count("last_sequence")?),
        time: TimeRange { from: UnixNano(number("min_time")?), to: UnixNano(number("max_time")?) },
        rows: count("row_count")?,
        bytes: count("byte_count")?,
        kept,
        delete_id: count("delete_id")?,
        format_version: u32::try_from(number("format_version")?).unwrap_or(u32::MAX),
    })
}
