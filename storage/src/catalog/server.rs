//! The catalog in a PostgreSQL database.
//!
//! ```text
//! open ─► advisory lock of the schema, held by the one connection ─► owner epoch + 1
//!                  │ somebody else has it: refused                        │
//!                  ▼                                                      ▼
//!         connection lost: taken again with the next one     every transaction that writes: is it still my epoch?
//! ```
//!
//! Owns: who may write. Does not own: the statements, which are those of the file.
//!
//! Invariants: of two collectors with one catalog one is refused; one that has lost its connection to another
//! collector can commit nothing any more; what stands in the URL between `:` and `@` is shown by nothing.

use std::fmt;

use sqlx::{Any, Transaction};

use super::connection::{Database, Prepare, Taken};
use super::{CATALOG_VERSION, Catalog, OWNER_EPOCH, Place, SET_POSITION, VERSION, guard};
use crate::error::{Context as _, Error, ErrorKind};

/// Where the catalog is.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum CatalogHome {
    /// A file in the data folder.
    #[default]
    Embedded,
    /// A PostgreSQL database, by its URL.
    Postgres(String),
}

impl fmt::Debug for CatalogHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("Embedded"),
            Self::Postgres(url) => write!(f, "Postgres({})", shown(url)),
        }
    }
}

impl CatalogHome {
    /// The database of a URL `postgres://USER@HOST:PORT/DATABASE`.
    ///
    /// # Errors
    /// `FixInput` for another one.
    pub fn of_url(url: &str) -> Result<Self, Error> {
        let is_one = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        match is_one && url.parse::<sqlx::postgres::PgConnectOptions>().is_ok() {
            true => Ok(Self::Postgres(url.to_owned())),
            false => Err(Error::new(
                ErrorKind::FixInput,
                format!("`{}` is no catalog: write `postgres://USER@HOST:PORT/DATABASE`", shown(url)),
            )),
        }
    }
}

/// A URL without its password.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    let rest = rest.split('?').next().unwrap_or_default();
    match rest.rsplit_once('@') {
        Some((user, place)) => format!("{scheme}://{}@{place}", user.split(':').next().unwrap_or_default()),
        None => format!("{scheme}://{rest}"),
    }
}

/// One for each schema: a database may have several catalogs.
const LOCK: &str =
    "SELECT CASE WHEN pg_try_advisory_lock(hashtext('silmari catalog'), hashtext(current_schema()))
    THEN 1 ELSE 0 END";

impl Catalog {
    /// Opens or creates the tables, for this process alone.
    ///
    /// # Errors
    /// `FixInput` when another collector has them, `Retry` when the server does not answer, `Damaged` when they are of a newer
    /// version or were changed by something else.
    pub(super) async fn open_server(url: &str) -> Result<Self, Error> {
        let doing = || format!("opening the catalog `{}`", shown(url));
        let database =
            Database::connect(url, Prepare::Lock(LOCK)).await.map_err(|error| refused(error, url))?;
        let mut catalog = Self { database, place: Place::Server { shown: shown(url), epoch: 0 } };
        // A newer version is not written to.
        let tables: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM information_schema.tables
             WHERE table_schema = current_schema() AND table_name = 'position'",
        )
        .fetch_one(&catalog.database.pool)
        .await
        .context(ErrorKind::Retry, doing)?;
        if tables > 0 {
            catalog.check_version(&shown(url)).await?;
        }
        catalog.create_tables().await?;
        if catalog.position(VERSION).await?.is_none() {
            catalog.set_position(VERSION, CATALOG_VERSION).await?;
        }
        catalog.verify().await?;
        let epoch = catalog.position(OWNER_EPOCH).await?.unwrap_or(0) + 1;
        let mut transaction = catalog.database.begin().await.context(ErrorKind::Retry, doing)?;
        sqlx::query(SET_POSITION)
            .bind(OWNER_EPOCH)
            .bind(epoch)
            .execute(&mut *transaction)
            .await
            .context(ErrorKind::Retry, doing)?;
        guard::write(&mut transaction).await?;
        transaction.commit().await.context(ErrorKind::Retry, doing)?;
        catalog.place = Place::Server { shown: shown(url), epoch };
        Ok(catalog)
    }

    /// Opens tables that exist, to look only.
    pub(super) async fn open_server_read_only(url: &str) -> Result<Self, Error> {
        let database = Database::connect(url, Prepare::Nothing).await.map_err(|error| refused(error, url))?;
        let catalog = Self { database, place: Place::Server { shown: shown(url), epoch: 0 } };
        catalog.check_version(&shown(url)).await?;
        Ok(catalog)
    }

    /// A transaction that writes. In a server it waits for others, and fails when another collector came meanwhile.
    pub(super) async fn begin(&self, doing: impl Fn() -> String) -> Result<Transaction<'static, Any>, Error> {
        let mut transaction = self.database.begin().await.context(ErrorKind::Retry, &doing)?;
        if let Place::Server { shown, epoch } = &self.place {
            let mine = sqlx::query("UPDATE position SET value = value WHERE name = $1 AND value = $2")
                .bind(OWNER_EPOCH)
                .bind(*epoch)
                .execute(&mut *transaction)
                .await
                .context(ErrorKind::Retry, &doing)?;
            if mine.rows_affected() != 1 {
                return Err(Error::retry(format!(
                    "{}: another collector has taken over the catalog `{shown}`; what is not sealed stays in this one's log: stop it",
                    doing()
                )));
            }
        }
        Ok(transaction)
    }
}

fn refused(error: sqlx::Error, url: &str) -> Error {
    let text = format!("opening the catalog `{}`: {error}", shown(url));
    match &error {
        sqlx::Error::Configuration(inner) if inner.is::<Taken>() => Error::new(
            ErrorKind::FixInput,
            format!(
                "another silmari uses the catalog `{}`: stop it, or give this one a database or schema of its own",
                shown(url)
            ),
        ),
        _ => Error::retry(text).with_source(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        let home =
            CatalogHome::of_url("postgres://silmari:s3cr3t@db:5432/silmari?sslmode=require").expect("one");
        assert_eq!(format!("{home:?}"), "Postgres(postgres://silmari@db:5432/silmari)");
        for wrong in ["mysql://silmari:s3cr3t@db/x", "postgres:db", "", "postgres://u:s3cr3t@host:port/x"] {
            let error = CatalogHome::of_url(wrong).expect_err(wrong).to_string();
            assert!(
                error.contains("postgres://USER@HOST:PORT/DATABASE") && !error.contains("s3cr3t"),
                "{error}"
            );
        }
    }
}
