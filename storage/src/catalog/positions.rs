//! The tables of committed positions and the store's identity.
//!
//! Invariant: positions change in the transaction that adds the segments with their rows.

use model::UnixNano;
use model::positions::{AgentId, StreamId};
use sqlx::{Row as _, SqliteConnection};

use super::Catalog;
use crate::error::{Context as _, Error, ErrorKind};
use crate::positions::{Entry, Key};

pub(super) const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS agent_session (
        agent TEXT PRIMARY KEY, session BIGINT NOT NULL, seen BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS agent_position (
        agent TEXT NOT NULL, stream TEXT NOT NULL, committed BIGINT NOT NULL, seen BIGINT NOT NULL,
        PRIMARY KEY (agent, stream))",
    "CREATE TABLE IF NOT EXISTS kafka_position (
        topic TEXT NOT NULL, partition BIGINT NOT NULL, next_offset BIGINT NOT NULL,
        PRIMARY KEY (topic, partition))",
    "CREATE TABLE IF NOT EXISTS store_identity (id TEXT PRIMARY KEY)",
];

/// Statements to set and to remove a session, a stream, a partition.
const SESSION: [&str; 2] = [
    "INSERT INTO agent_session (agent, session, seen) VALUES ($1, $2, $3)
     ON CONFLICT (agent) DO UPDATE SET session = excluded.session, seen = excluded.seen",
    "DELETE FROM agent_session WHERE agent = $1",
];
const STREAM: [&str; 2] = [
    "INSERT INTO agent_position (agent, stream, committed, seen) VALUES ($1, $2, $3, $4)
     ON CONFLICT (agent, stream) DO UPDATE SET committed = excluded.committed, seen = excluded.seen",
    "DELETE FROM agent_position WHERE agent = $1 AND stream = $2",
];
const KAFKA: [&str; 2] = [
    "INSERT INTO kafka_position (topic, partition, next_offset) VALUES ($1, $2, $3)
     ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
    "DELETE FROM kafka_position WHERE topic = $1 AND partition = $2",
];

impl Catalog {
    /// All positions.
    pub(crate) async fn positions(&self) -> Result<Vec<(Key, Entry)>, Error> {
        let doing = || "reading the positions from the catalog".to_owned();
        let fetch = async |statement: &'static str| {
            sqlx::query(statement).fetch_all(&self.pool).await.context(ErrorKind::Damaged, doing)
        };
        let mut positions = Vec::new();
        for row in fetch("SELECT agent, session, seen FROM agent_session").await? {
            let agent = agent_of(row.get("agent"))?;
            positions.push((Key::Session(agent), entry(row.get("session"), row.get("seen"))));
        }
        for row in fetch("SELECT agent, stream, committed, seen FROM agent_position").await? {
            let (agent, stream) = (agent_of(row.get("agent"))?, stream_of(row.get("stream"))?);
            positions.push((Key::Stream(agent, stream), entry(row.get("committed"), row.get("seen"))));
        }
        for row in fetch("SELECT topic, partition, next_offset FROM kafka_position").await? {
            let partition = u32::try_from(row.get::<i64, _>("partition")).unwrap_or(0);
            positions.push((Key::Kafka(row.get("topic"), partition), entry(row.get("next_offset"), 0)));
        }
        Ok(positions)
    }

    /// The identity of the store; `new` if it has none yet.
    pub(crate) async fn identity(&self, new: &str) -> Result<String, Error> {
        let doing = || "reading the store's identity from the catalog".to_owned();
        let insert =
            "INSERT INTO store_identity (id) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM store_identity)";
        sqlx::query(insert).bind(new).execute(&self.pool).await.context(ErrorKind::Retry, doing)?;
        let first = "SELECT id FROM store_identity ORDER BY id LIMIT 1";
        sqlx::query_scalar(first).fetch_one(&self.pool).await.context(ErrorKind::Damaged, doing)
    }
}

/// Writes positions, and removes those without a value.
pub(super) async fn write(
    connection: &mut SqliteConnection,
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
            (Key::Kafka(..), Some(entry)) => query.bind(entry.value as i64),
            (_, Some(entry)) => query.bind(entry.value as i64).bind(entry.seen.0),
        };
        query
            .execute(&mut *connection)
            .await
            .context(ErrorKind::Retry, || "writing positions to the catalog".to_owned())?;
    }
    Ok(())
}

fn entry(value: i64, seen: i64) -> Entry {
    Entry { value: u64::try_from(value).unwrap_or(0), seen: UnixNano(seen) }
}

fn agent_of(text: String) -> Result<AgentId, Error> {
    AgentId::parse(&text).ok_or_else(|| Error::damaged(format!("the catalog: `{text}` is no agent id")))
}

fn stream_of(text: String) -> Result<StreamId, Error> {
    StreamId::parse(&text).ok_or_else(|| Error::damaged(format!("the catalog: `{text}` is no stream id")))
}
