//! The engine that stores the ledger: SQLite in a file of this machine, or PostgreSQL. Both get the same SQL, with `$1` as
//! placeholders, integers for booleans, and columns generated from JSON.

mod postgres;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};
use sqlx::{AnyConnection, AnyPool, Connection as _, SqlStr};

use super::connection::{self, BUSY_TIMEOUT, LedgerWriter};
use super::lease::{Lease, TakeLeaseError};
use super::limited::Readers;
use super::{AppliedLimits, FileClaim, Ledger, LedgerInner, OpenLedgerError};
use crate::config::{DatabaseUrl, PostgresUrl};

pub use postgres::DatabaseProbe;
pub(crate) use postgres::is_tls_error;
pub(super) use postgres::{BEGIN, PostgresServer};
pub(super) use sqlite::{FileIdentity, SqliteFile};

/// Version, name and SQL of a migration.
type MigrationText = (i64, &'static str, &'static str);

/// Opens connections to the database.
#[derive(Debug, Clone)]
pub(super) enum Database {
    Sqlite(SqliteFile),
    Postgres(PostgresServer),
}

impl Ledger {
    /// Opens the ledger for a server: creates or migrates its tables. The file of SQLite is created if it is missing, and
    /// locked for other servers.
    pub async fn open(url: impl Into<DatabaseUrl>) -> Result<Self, OpenLedgerError> {
        Self::open_for_server(url.into(), false).await
    }

    /// Opens the ledger for a server although it is a copy of one that another server used. That server must be
    /// stopped.
    pub async fn take_over(url: impl Into<DatabaseUrl>) -> Result<Self, OpenLedgerError> {
        Self::open_for_server(url.into(), true).await
    }

    /// Opens an existing ledger for a command. A server may use it at the same time.
    pub async fn open_for_cli(url: impl Into<DatabaseUrl>) -> Result<Self, OpenLedgerError> {
        let url = url.into();
        sqlx::any::install_default_drivers();
        let failed = OpenLedgerError::database(&url);
        let database = match &url {
            DatabaseUrl::Sqlite(path) => Database::Sqlite(SqliteFile::find(path)?),
            DatabaseUrl::Postgres(url) => Database::Postgres(PostgresServer::new(url).map_err(&failed)?),
        };
        let connection = database.connect().await.map_err(&failed)?;
        let is_ledger = is_ledger(connection).await;
        if let (DatabaseUrl::Postgres(url), false) = (&url, is_ledger.map_err(&failed)?) {
            return Err(OpenLedgerError::Empty(url.clone()));
        }
        Self::from_database(database, FileClaim::None).map_err(failed)
    }

    async fn open_for_server(url: DatabaseUrl, take_over: bool) -> Result<Self, OpenLedgerError> {
        sqlx::any::install_default_drivers();
        match &url {
            DatabaseUrl::Sqlite(path) => Self::open_file(path, take_over, &url).await,
            DatabaseUrl::Postgres(server) => Self::open_postgres(server, &url).await,
        }
    }

    async fn open_file(path: &Path, take_over: bool, url: &DatabaseUrl) -> Result<Self, OpenLedgerError> {
        let failed = OpenLedgerError::database(url);
        let (sqlite, file) = SqliteFile::lock(path)?;
        let identity = sqlite.identity();
        let mut connection = sqlite.connect(BUSY_TIMEOUT).await.map_err(&failed)?;
        migrate(&mut connection, &sqlite::MIGRATIONS, false, url).await?;
        let lease = Lease::take(&mut connection, identity, take_over).await.map_err(|error| match error {
            TakeLeaseError::Copied => OpenLedgerError::Copied(path.to_owned()),
            TakeLeaseError::Database(error) => failed(error),
        })?;
        let ledger = Self::from_database(Database::Sqlite(sqlite), FileClaim::Server(lease, file)).map_err(&failed)?;
        let pool = &ledger.0.readers.pool;
        let readers = join_all((0..pool.options().get_max_connections()).map(|_| pool.acquire())).await;
        readers.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
        connection::close(connection).await;
        Ok(ledger)
    }

    async fn open_postgres(url: &PostgresUrl, of: &DatabaseUrl) -> Result<Self, OpenLedgerError> {
        let failed = OpenLedgerError::database(of);
        let server = PostgresServer::new(url).map_err(&failed)?;
        let mut connection = server.connect().await.map_err(&failed)?;
        let (_, lacks) = postgres::read_server(&mut connection).await.map_err(&failed)?;
        if let Some(lacks) = lacks {
            return Err(OpenLedgerError::Unsuitable(url.clone(), lacks));
        }
        let mut transaction = connection.begin().await.map_err(&failed)?;
        sqlx::query(postgres::LOCK_MIGRATIONS).execute(&mut *transaction).await.map_err(&failed)?;
        // During a deploy, and after a return to an older version, two versions share the tables.
        migrate(&mut transaction, &postgres::MIGRATIONS, true, of).await?;
        transaction.commit().await.map_err(&failed)?;
        connection::close(connection).await;
        Self::from_database(Database::Postgres(server), FileClaim::None).map_err(failed)
    }

    fn from_database(database: Database, claim: FileClaim) -> Result<Self, sqlx::Error> {
        let inner = LedgerInner {
            writer: LedgerWriter::new(database.clone()),
            readers: Readers { pool: database.readers()?, is_remote: database.is_remote() },
            checkpointer: tokio::sync::Mutex::default(),
            database,
            claim,
            write_buffer: super::WriteBuffer::default(),
            waiting_records: super::WaitingRecords::default(),
            faults: super::FaultTracker::default(),
            has_warned_of_key: std::sync::atomic::AtomicBool::default(),
            recovering: tokio::sync::watch::Sender::default(),
            outcome_written: tokio::sync::Notify::new(),
            erasures: super::tokens::ErasureTracker::default(),
            telemetry: crate::telemetry::TelemetrySlot::default(),
            live: std::sync::atomic::AtomicBool::new(true),
            commits: std::sync::atomic::AtomicU32::new(0),
            sealing_keys: std::sync::OnceLock::new(),
        };
        Ok(Self(Arc::new(inner), AppliedLimits::NONE))
    }
}

impl Database {
    /// The file, if the engine is SQLite.
    pub(super) fn file(&self) -> Option<&SqliteFile> {
        if let Self::Sqlite(file) = self { Some(file) } else { None }
    }

    /// Whether it is at the other end of a connection, where several writes go on at a time: PostgreSQL.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// The number of writes at a time.
    pub(super) fn writers(&self) -> usize {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(_) => postgres::WRITERS,
        }
    }

    /// Opens a connection that waits for the locks of others.
    pub(super) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        match self {
            Self::Sqlite(file) => file.connect(BUSY_TIMEOUT).await,
            Self::Postgres(server) => server.connect().await,
        }
    }

    /// Opens a connection that writes.
    pub(super) async fn connect_writer(&self) -> Result<AnyConnection, sqlx::Error> {
        match self {
            Self::Sqlite(file) => file.connect_writer().await,
            Self::Postgres(server) => server.connect().await,
        }
    }

    fn readers(&self) -> Result<AnyPool, sqlx::Error> {
        match self {
            Self::Sqlite(file) => file.readers(),
            Self::Postgres(server) => Ok(server.readers()),
        }
    }
}

/// Whether the database has the tables of a ledger.
async fn is_ledger(mut connection: AnyConnection) -> Result<bool, sqlx::Error> {
    let is_ledger = match sqlx::query("SELECT 1 FROM payments LIMIT 1").fetch_optional(&mut connection).await {
        Err(sqlx::Error::Database(error)) if postgres::is_missing_table(&*error) => Ok(false),
        answer => answer.map(|_| true),
    };
    connection::close(connection).await;
    is_ledger
}

async fn migrate(
    connection: &mut AnyConnection,
    texts: &'static [MigrationText],
    ignore_missing: bool,
    url: &DatabaseUrl,
) -> Result<(), OpenLedgerError> {
    let failed = |error| OpenLedgerError::Migration(url.clone(), error);
    let mut migrator = Migrator::new(Migrations(texts)).await.map_err(failed)?;
    // The lock of `sqlx` belongs to a session of PostgreSQL, which a pooler does not keep for a connection.
    migrator.set_ignore_missing(ignore_missing).set_locking(false);
    // Not `run`: its future is not known to be `Send`.
    migrator.run_direct(None, connection, false).await.map_err(failed)
}

#[derive(Debug)]
struct Migrations(&'static [MigrationText]);

impl MigrationSource<'static> for Migrations {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let migrations = self.0.iter().map(|(version, description, sql)| {
            let sql = SqlStr::from_static(sql);
            Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
        });
        Box::pin(async { Ok(migrations.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_given_twice() {
        let newer =
            |texts: &[MigrationText]| texts.iter().filter(|text| text.0 > 9).map(|text| (text.0, text.1)).collect();
        let (sqlite, postgres): (Vec<_>, Vec<_>) = (newer(&sqlite::MIGRATIONS), newer(&postgres::MIGRATIONS));
        for (number, name) in sqlite {
            assert!(postgres.iter().all(|(other, other_name)| *other != number || *other_name == name), "{number}");
        }
    }
}
