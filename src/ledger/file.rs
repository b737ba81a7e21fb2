//! The file that the ledger is in: made when it is missing, for this user alone, and used by one server at a time.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::ConnectOptions as _;
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{Notify, watch};

use super::{Guards, Inner, Ledger, NotOpen};

/// How long a write waits for another, of this process or of another. Somebody is on the telephone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Connections that only read.
const READERS: u32 = 4;

const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "payments", include_str!("migrations/0001_payments.sql")),
    (2, "guards", include_str!("migrations/0002_guards.sql")),
    (3, "orders", include_str!("migrations/0003_orders.sql")),
];

impl Ledger {
    /// Opens the ledger of a server: makes what is missing, and keeps every other server out of it.
    pub async fn open(path: &Path) -> Result<Self, NotOpen> {
        let file = |error| NotOpen::File(path.to_owned(), error);
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(file)?;
        }
        let lock = lock(path)?;
        // SQLite gives its other files the mode of this one.
        private(path).map_err(file)?;
        let ledger = Self::connect(path, Some(lock)).await?;
        let migration = |error| NotOpen::Migration(path.to_owned(), error);
        let migrations = Migrator::new(Migrations).await.map_err(migration)?;
        migrations.run(&ledger.0.writer).await.map_err(migration)?;
        // What was erased when the last server stopped may still stand in the write-ahead log.
        ledger.wipe().await.map_err(|error| match error {
            super::Error::Database(error) => NotOpen::Database(path.to_owned(), error),
            super::Error::Unreadable(_) => NotOpen::Database(path.to_owned(), sqlx::Error::WorkerCrashed),
        })?;
        Ok(ledger)
    }

    /// Opens a ledger beside the server that uses it, for the command line.
    pub async fn visit(path: &Path) -> Result<Self, NotOpen> {
        if !path.is_file() {
            return Err(NotOpen::Missing(path.to_owned()));
        }
        Self::connect(path, None).await
    }

    async fn connect(path: &Path, lock: Option<File>) -> Result<Self, NotOpen> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("secure_delete", "ON")
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging();
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
        let database = |error| NotOpen::Database(path.to_owned(), error);
        let writer = pool(1).connect_with(options.clone()).await.map_err(database)?;
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        let inner = Inner {
            path: path.to_owned(),
            writer,
            readers,
            _lock: lock,
            recovering: watch::Sender::new(HashSet::new()),
            outcome_written: Notify::new(),
            to_be_wiped: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(inner), Guards::NONE))
    }
}

/// The system frees the lock when the process ends, however it ends.
fn lock(path: &Path) -> Result<File, NotOpen> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private(&PathBuf::from(name)).map_err(|error| NotOpen::File(path.to_owned(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NotOpen::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(NotOpen::File(path.to_owned(), error)),
    }
}

/// A file that nobody else may read.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[derive(Debug)]
struct Migrations;

impl MigrationSource<'static> for Migrations {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let migrations = MIGRATIONS.map(|(version, description, sql)| {
            Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false)
        });
        Box::pin(async { Ok(migrations.into()) })
    }
}
