//! The one connection to the catalog's database, and what has to be done before it may write.
//!
//! Owns: that it is done again when the connection is made again. sqlx's pool would only log that it failed, and try until its
//! time is up: here the reason is kept, and told to whoever wants to write.
//!
//! Invariant: nothing is written over a connection that was not made ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyConnection, AnyPool, Executor as _, Transaction};

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What makes a connection ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prepare {
    /// Nothing: it only reads.
    Nothing,
    /// A statement.
    Run(&'static str),
    /// A statement that gives 1 when this process may write; asked again for a while.
    Lock(&'static str),
}

/// How long somebody who is just ending may keep a lock.
const LOCK_TRIES: usize = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Somebody else has the lock.
#[derive(Debug, thiserror::Error)]
#[error("another collector has it")]
pub(super) struct Taken;

/// A connection that is made when it is needed. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) pool: AnyPool,
    /// Why the connection there is now is not ready.
    problem: Arc<Mutex<Option<sqlx::Error>>>,
}

impl Database {
    /// Connects; what hinders the connection from being ready is an error.
    pub(super) async fn connect(url: &str, prepare: Prepare) -> Result<Self, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let problem: Arc<Mutex<Option<sqlx::Error>>> = Arc::default();
        let noted = Arc::clone(&problem);
        let options = AnyPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_MAX)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                let noted = Arc::clone(&noted);
                Box::pin(async move {
                    let problem = make_ready(connection, prepare).await.err();
                    *locked(&noted) = problem;
                    Ok(())
                })
            });
        let database = Self { pool: options.connect(url).await?, problem };
        match database.take_problem() {
            Some(problem) => Err(problem),
            None => Ok(database),
        }
    }

    fn take_problem(&self) -> Option<sqlx::Error> {
        locked(&self.problem).take()
    }

    /// A transaction over a connection that is ready.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, sqlx::Error> {
        let transaction = self.pool.begin().await?;
        let Some(problem) = self.take_problem() else { return Ok(transaction) };
        drop(transaction);
        // The next one is made anew.
        self.pool.acquire().await?.close().await?;
        Err(problem)
    }
}

fn locked(problem: &Mutex<Option<sqlx::Error>>) -> MutexGuard<'_, Option<sqlx::Error>> {
    problem.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn make_ready(connection: &mut AnyConnection, prepare: Prepare) -> Result<(), sqlx::Error> {
    match prepare {
        Prepare::Nothing => Ok(()),
        Prepare::Run(statement) => connection.execute(statement).await.map(drop),
        Prepare::Lock(statement) => {
            for _ in 0..LOCK_TRIES {
                if sqlx::query_scalar::<_, i64>(statement).fetch_one(&mut *connection).await? == 1 {
                    return Ok(());
                }
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(sqlx::Error::Configuration(Box::new(Taken)))
        }
    }
}
