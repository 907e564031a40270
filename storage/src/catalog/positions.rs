//! The tables of committed positions and the store's identity.
//!
//! Invariant: positions change in the transaction that adds the segments with their rows.

use model::UnixNano;
use model::positions::{AgentId, StreamId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::Catalog;
use crate::error::{Context as _, Error, ErrorKind};
use crate::positions::{Entry, Key};

pub(super) const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS agent_session (
        agent TEXT PRIMARY KEY, session BIGINT NOT NULL, seen BIGINT NOT NULL, checksum BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS agent_position (
        agent TEXT NOT NULL, stream TEXT NOT NULL, committed BIGINT NOT NULL, seen BIGINT NOT NULL,
        checksum BIGINT NOT NULL,
        PRIMARY KEY (agent, stream))",
    "CREATE TABLE IF NOT EXISTS kafka_position (
        topic TEXT NOT NULL, partition BIGINT NOT NULL, next_offset BIGINT NOT NULL, checksum BIGINT NOT NULL,
        PRIMARY KEY (topic, partition))",
    "CREATE TABLE IF NOT EXISTS store_identity (id TEXT PRIMARY KEY)",
];

/// Statements to set and to remove a session, a stream, a partition.
const SESSION: [&str; 2] = [
    "INSERT INTO agent_session (agent, session, seen, checksum) VALUES ($1, $2, $3, $4)
     ON CONFLICT (agent) DO UPDATE SET session = excluded.session, seen = excluded.seen,
         checksum = excluded.checksum",
    "DELETE FROM agent_session WHERE agent = $1",
];
const STREAM: [&str; 2] = [
    "INSERT INTO agent_position (agent, stream, committed, seen, checksum) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (agent, stream) DO UPDATE SET committed = excluded.committed, seen = excluded.seen,
         checksum = excluded.checksum",
    "DELETE FROM agent_position WHERE agent = $1 AND stream = $2",
];
const KAFKA: [&str; 2] = [
    "INSERT INTO kafka_position (topic, partition, next_offset, checksum) VALUES ($1, $2, $3, $4)
     ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset,
         checksum = excluded.checksum",
    "DELETE FROM kafka_position WHERE topic = $1 AND partition = $2",
];

impl Catalog {
    /// All positions.
    pub(crate) async fn positions(&self) -> Result<Vec<(Key, Entry)>, Error> {
        let doing = || "reading the positions from the catalog".to_owned();
        let fetch = async |statement: &'static str| {
            sqlx::query(statement).fetch_all(&self.database.pool).await.context(ErrorKind::Damaged, doing)
        };
        let mut positions = Vec::new();
        for row in fetch("SELECT agent, session, seen, checksum FROM agent_session").await? {
            let key = text(&row, "agent").and_then(|agent| AgentId::parse(&agent)).map(Key::Session);
            positions.push(checked(&row, key, "session"));
        }
        for row in fetch("SELECT agent, stream, committed, seen, checksum FROM agent_position").await? {
            let agent = text(&row, "agent").and_then(|agent| AgentId::parse(&agent));
            let stream = text(&row, "stream").and_then(|stream| StreamId::parse(&stream));
            let key = agent.zip(stream).map(|(agent, stream)| Key::Stream(agent, stream));
            positions.push(checked(&row, key, "committed"));
        }
        for row in
            fetch("SELECT topic, partition, next_offset, 0 AS seen, checksum FROM kafka_position").await?
        {
            let partition = number(&row, "partition").and_then(|number| u32::try_from(number).ok());
            let key =
                text(&row, "topic").zip(partition).map(|(topic, partition)| Key::Kafka(topic, partition));
            positions.push(checked(&row, key, "next_offset"));
        }
        let all = positions.len();
        let sound: Vec<_> = positions.into_iter().flatten().collect();
        if sound.len() < all {
            // Their senders are told that the streams are unknown, and begin where they were acknowledged.
            tracing::error!("{} positions in the catalog are damaged and forgotten", all - sound.len());
        }
        Ok(sound)
    }

    /// The identity of the store; `new` if it has none yet.
    pub(crate) async fn identity(&self, new: &str) -> Result<String, Error> {
        let doing = || "reading the store's identity from the catalog".to_owned();
        // Read first: a store that has an identity opens on a full disk.
        let first = "SELECT id FROM store_identity ORDER BY id LIMIT 1";
        let found = sqlx::query_scalar(first).fetch_optional(&self.database.pool).await;
        if let Some(found) = found.context(ErrorKind::Damaged, doing)? {
            return Ok(found);
        }
        let insert =
            "INSERT INTO store_identity (id) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM store_identity)";
        sqlx::query(insert).bind(new).execute(&self.database.pool).await.context(ErrorKind::Retry, doing)?;
        sqlx::query_scalar(first).fetch_one(&self.database.pool).await.context(ErrorKind::Damaged, doing)
    }
}

/// Writes positions, and removes those without a value.
pub(super) async fn write(
    connection: &mut AnyConnection,
    changes: &[(Key, Option<Entry>)],
) -> Result<(), Error> {
    for (key, entry) in changes {
        let statement = |of: [&'static str; 2]| sqlx::query(of[usize::from(entry.is_none())]);
        let query = match key {
            Key::Session(agent) => statement(SESSION).bind(agent.to_string()),
            Key::Stream(agent, stream) => statement(STREAM).bind(agent.to_string()).bind(stream.to_string()),
            Key::Kafka(topic, partition) => statement(KAFKA).bind(topic.clone()).bind(i64::from(*partition)),
        };
        let query = match (key, entry) {
            (_, None) => query,
            (Key::Kafka(..), Some(entry)) => query.bind(entry.value as i64).bind(checksum(key, entry)),
            (_, Some(entry)) => query.bind(entry.value as i64).bind(entry.seen.0).bind(checksum(key, entry)),
        };
        query
            .execute(&mut *connection)
            .await
            .context(ErrorKind::Retry, || "writing positions to the catalog".to_owned())?;
    }
    Ok(())
}

/// The position of a row, if its checksum holds.
fn checked(row: &AnyRow, key: Option<Key>, value: &str) -> Option<(Key, Entry)> {
    let entry =
        Entry { value: u64::try_from(number(row, value)?).ok()?, seen: UnixNano(number(row, "seen")?) };
    let key = key?;
    (number(row, "checksum")? == checksum(&key, &entry)).then_some((key, entry))
}

fn checksum(key: &Key, entry: &Entry) -> i64 {
    let seen = if matches!(key, Key::Kafka(..)) { 0 } else { entry.seen.0 };
    i64::from(crc32c::crc32c(format!("{key:?} {} {seen}", entry.value).as_bytes()))
}

fn text(row: &AnyRow, name: &str) -> Option<String> {
    row.try_get(name).ok()
}

fn number(row: &AnyRow, name: &str) -> Option<i64> {
    row.try_get(name).ok()
}
