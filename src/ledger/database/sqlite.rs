//! The database file: created with mode 0600 if it is missing, and locked by one server at a time.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::{BoxFuture, join_all};
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlStr, SqliteConnection, SqlitePool};
use tracing::warn;

use super::connection::{self, BUSY_TIMEOUT, LedgerWriter, SQLITE_BUSY_TIMEOUT};
use super::lease::{Lease, TakeLeaseError};
use super::{AppliedLimits, Ledger, LedgerInner, OpenLedgerError};

/// Number of read-only connections.
const READERS: u32 = 4;

/// The page cache of each of them: 256 KiB. They read little, and the kernel has the file in memory anyway.
const READER_CACHE: &str = "-256";

const MIGRATIONS: [(i64, &str, &str); 8] = [
    (1, "payments", include_str!("migrations/0001_payments.sql")),
    (2, "guards", include_str!("migrations/0002_guards.sql")),
    (3, "orders", include_str!("migrations/0003_orders.sql")),
    (4, "lease", include_str!("migrations/0004_lease.sql")),
    (5, "operations", include_str!("migrations/0005_operations.sql")),
    (6, "call_ended", include_str!("migrations/0006_call_ended.sql")),
    (7, "call_stages", include_str!("migrations/0007_call_stages.sql")),
    (8, "events_of_a_payment", include_str!("migrations/0008_events_of_a_payment.sql")),
];

/// The identity of a file, independent of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    /// Creation time in nanoseconds since 1970, if the file system records it.
    created_ns: Option<i64>,
}

/// Opens connections to the database file, and refuses a file that has replaced it at its path.
#[derive(Debug, Clone)]
pub(super) struct Database {
    path: PathBuf,
    identity: FileIdentity,
    /// Whether the write-ahead log was deleted under the open connections. A new connection would create a second log.
    is_wal_gone: Arc<AtomicBool>,
}

impl Ledger {
    /// Opens the ledger for a server: creates the file if it is missing, migrates it and locks other servers out.
    pub async fn open(path: &Path) -> Result<Self, OpenLedgerError> {
        Self::open_for_server(path, false).await
    }

    /// Opens the ledger for a server although it is a copy of one that another server used. That server must be
    /// stopped.
    pub async fn take_over(path: &Path) -> Result<Self, OpenLedgerError> {
        Self::open_for_server(path, true).await
    }

    async fn open_for_server(path: &Path, take_over: bool) -> Result<Self, OpenLedgerError> {
        let file = lock_file(path)?;
        let failed = |error| OpenLedgerError::File(path.to_owned(), error);
        if !is_sqlite_or_empty(&file).map_err(failed)? {
            return Err(OpenLedgerError::NotALedger(path.to_owned()));
        }
        restrict_mode(path, &file).map_err(failed)?;
        let identity = FileIdentity::of(&file.metadata().map_err(failed)?);
        let database = Database::new(path, identity);
        let failed = |error| OpenLedgerError::Database(path.to_owned(), error);
        let mut connection = database.connect(BUSY_TIMEOUT).await.map_err(failed)?;
        let migration = |error| OpenLedgerError::Migration(path.to_owned(), error);
        let migrations = Migrator::new(Migrations).await.map_err(migration)?;
        // Not `run`: its future is not known to be `Send`.
        migrations.run_direct(None, &mut connection, false).await.map_err(migration)?;
        let lease = Lease::take(&mut connection, identity, take_over).await.map_err(|error| match error {
            TakeLeaseError::Copied => OpenLedgerError::Copied(path.to_owned()),
            TakeLeaseError::Database(error) => failed(error),
        })?;
        let ledger = Self::from_database(database, Some(file), Some(lease));
        let readers = join_all((0..READERS).map(|_| ledger.0.readers.acquire())).await;
        readers.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
        connection::close(connection).await;
        Ok(ledger)
    }

    /// Opens an existing ledger for a command, without a lease. A server may use it at the same time.
    pub async fn open_for_cli(path: &Path) -> Result<Self, OpenLedgerError> {
        let missing = || OpenLedgerError::Missing(path.to_owned());
        let metadata = std::fs::metadata(path).ok().filter(Metadata::is_file).ok_or_else(missing)?;
        let database = Database::new(path, FileIdentity::of(&metadata));
        let failed = |error| OpenLedgerError::Database(path.to_owned(), error);
        connection::close(database.connect(BUSY_TIMEOUT).await.map_err(failed)?).await;
        Ok(Self::from_database(database, None, None))
    }

    fn from_database(database: Database, file: Option<File>, lease: Option<Lease>) -> Self {
        let inner = LedgerInner {
            writer: LedgerWriter::new(database.clone()),
            readers: database.readers(),
            checkpointer: tokio::sync::Mutex::default(),
            database,
            lease,
            write_buffer: super::WriteBuffer::default(),
            waiting_records: super::WaitingRecords::default(),
            faults: super::FaultTracker::default(),
            recovering: tokio::sync::watch::Sender::default(),
            outcome_written: tokio::sync::Notify::new(),
            erasures: super::tokens::ErasureTracker::default(),
            telemetry: crate::telemetry::TelemetrySlot::default(),
            live: std::sync::atomic::AtomicBool::new(true),
            commits: std::sync::atomic::AtomicU32::new(0),
            file,
        };
        Self(Arc::new(inner), AppliedLimits::NONE)
    }
}

impl Database {
    fn new(path: &Path, identity: FileIdentity) -> Self {
        Self { path: path.to_owned(), identity, is_wal_gone: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file at the path is the one that was opened.
    pub(super) fn is_at_path(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| FileIdentity::of(&metadata) == self.identity)
    }

    /// The identity of the write-ahead log, if there is one.
    pub(super) fn wal_identity(&self) -> Option<FileIdentity> {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        std::fs::metadata(path).ok().map(|metadata| FileIdentity::of(&metadata))
    }

    /// Sets whether the write-ahead log was deleted under the open connections.
    pub(super) fn set_wal_gone(&self, is_gone: bool) {
        self.is_wal_gone.store(is_gone, Ordering::Release);
    }

    /// Opens the connection that writes. It runs no automatic checkpoints, since they take time: another connection
    /// does.
    pub(super) async fn connect_writer(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.connect_with(self.options(SQLITE_BUSY_TIMEOUT).pragma("wal_autocheckpoint", "0")).await
    }

    /// Opens a connection that waits for a lock no longer than `patience`.
    pub(super) async fn connect(&self, patience: Duration) -> Result<SqliteConnection, sqlx::Error> {
        self.connect_with(self.options(patience)).await
    }

    async fn connect_with(&self, options: SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
        // Checked before connecting, too: SQLite would take the write-ahead log for that of the other file and delete
        // it.
        self.check_file()?;
        let connection = options.journal_mode(SqliteJournalMode::Wal).connect().await?;
        self.check_file()?;
        Ok(connection)
    }

    /// The pool of readers. Its connections never expire, so that it need not open the file again.
    fn readers(&self) -> SqlitePool {
        let database = Arc::new(self.clone());
        SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |_, _| {
                let database = database.clone();
                Box::pin(async move { database.check_file() })
            })
            .connect_lazy_with(self.options(BUSY_TIMEOUT).pragma("query_only", "ON").pragma("cache_size", READER_CACHE))
    }

    fn check_file(&self) -> Result<(), sqlx::Error> {
        let other = || io::Error::new(io::ErrorKind::NotFound, "the file of the ledger was deleted or replaced");
        if self.is_at_path() && !self.is_wal_gone.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(sqlx::Error::Io(other()))
        }
    }

    fn options(&self, patience: Duration) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(patience)
            .pragma("secure_delete", "ON")
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging()
    }
}

impl FileIdentity {
    /// Whether this process has the file open. Always `false` without `/proc`.
    pub(super) fn is_open_in_process(self) -> bool {
        let opened = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        opened.filter_map(|entry| std::fs::metadata(entry.path()).ok()).any(|file| Self::of(&file) == self)
    }

    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| i64::try_from(born.as_nanos()).ok());
        Self { device: metadata.dev(), inode: metadata.ino(), created_ns: born }
    }

    pub(super) fn inode(self) -> i64 {
        self.inode.cast_signed()
    }

    pub(super) fn created_ns(self) -> Option<i64> {
        self.created_ns
    }

    /// Whether this file has this inode and creation time. The device number is not compared: it may change with each
    /// boot.
    pub(super) fn is_same_file(self, inode: i64, born: Option<i64>) -> bool {
        self.inode() == inode && (self.created_ns == born || self.created_ns.is_none() || born.is_none())
    }
}

/// Locks the file itself, not its name, and creates it if it is missing. The operating system releases the lock when
/// the process ends.
///
/// SQLite's own locks on a file are lost when the process closes any handle of it: this handle is opened before
/// SQLite's and closed after them.
fn lock_file(path: &Path) -> Result<File, OpenLedgerError> {
    let failed = |error| OpenLedgerError::File(path.to_owned(), error);
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    // SQLite gives its other files the mode of this one.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(failed)?;
    try_lock(&file, path)?;
    // Servers of older versions lock `FILE.lock` instead.
    let beside = with_suffix(path, ".lock");
    if let Ok(older) = File::open(&beside) {
        try_lock(&older, path)?;
        let _ = std::fs::remove_file(beside);
    }
    Ok(file)
}

fn try_lock(file: &File, path: &Path) -> Result<(), OpenLedgerError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenLedgerError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenLedgerError::File(path.to_owned(), error)),
    }
}

/// Whether the file is new, or begins as SQLite's files do.
fn is_sqlite_or_empty(mut file: &File) -> io::Result<bool> {
    const HEADER: &[u8] = b"SQLite format 3\0";
    let mut start = Vec::new();
    file.by_ref().take(HEADER.len() as u64).read_to_end(&mut start)?;
    Ok(start.is_empty() || start == HEADER)
}

/// Sets mode 0600 on files that other users can access: a restored backup may be readable by all.
fn restrict_mode(path: &Path, file: &File) -> io::Result<()> {
    let private = Permissions::from_mode(0o600);
    let is_open_to_others = |metadata: &Metadata| metadata.mode() & 0o077 != 0;
    let mut tightened = Vec::new();
    if is_open_to_others(&file.metadata()?) {
        file.set_permissions(private.clone())?;
        tightened.push(path.to_owned());
    }
    // SQLite's other files are next to the file itself, not next to a symbolic link to it.
    let path = path.canonicalize()?;
    for beside in [with_suffix(&path, "-wal"), with_suffix(&path, "-shm")] {
        if std::fs::metadata(&beside).is_ok_and(|metadata| is_open_to_others(&metadata)) {
            std::fs::set_permissions(&beside, private.clone())?;
            tightened.push(beside);
        }
    }
    for file in tightened {
        warn!(
            event = "ledger.mode_tightened",
            file = %file.display(),
            "A file of the ledger was accessible to other users: its mode is now 0600."
        );
    }
    Ok(())
}

/// Appends a suffix to a file name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[derive(Debug)]
struct Migrations;

impl MigrationSource<'static> for Migrations {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let migrations = MIGRATIONS.map(|(version, description, sql)| {
            Migration::new(version, description.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
        });
        Box::pin(async { Ok(migrations.into()) })
    }
}
