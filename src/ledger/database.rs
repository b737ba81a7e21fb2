//! The file that the ledger is in: made when it is missing, for this user alone, and locked by one server at a time.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::{BoxFuture, join_all};
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};
use tracing::warn;

use super::connection::{self, PATIENCE, STEP, Writer};
use super::lease::{Lease, TakeLeaseError};
use super::{Guards, Inner, Ledger, NotOpen};

/// Connections that only read.
const READERS: u32 = 4;

const MIGRATIONS: [(i64, &str, &str); 5] = [
    (1, "payments", include_str!("migrations/0001_payments.sql")),
    (2, "guards", include_str!("migrations/0002_guards.sql")),
    (3, "orders", include_str!("migrations/0003_orders.sql")),
    (4, "lease", include_str!("migrations/0004_lease.sql")),
    (5, "operations", include_str!("migrations/0005_operations.sql")),
];

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// When it was made, in nanoseconds since 1970, where the file system tells.
    born: Option<i64>,
}

/// Opens connections to the file, and to none that has come to its path since.
#[derive(Debug, Clone)]
pub(super) struct Database {
    path: PathBuf,
    identity: Identity,
    /// The write-ahead log was deleted under the connections there are: another one would make a second log.
    is_log_gone: Arc<AtomicBool>,
}

impl Ledger {
    /// Opens the ledger of a server: makes what is missing, and keeps every other server out of it.
    pub async fn open(path: &Path) -> Result<Self, NotOpen> {
        Self::open_for_server(path, false).await
    }

    /// Opens the ledger of a server, although it is a copy of one on which another server worked. That server must be gone.
    pub async fn take_over(path: &Path) -> Result<Self, NotOpen> {
        Self::open_for_server(path, true).await
    }

    async fn open_for_server(path: &Path, take_over: bool) -> Result<Self, NotOpen> {
        let file = lock(path)?;
        let failed = |error| NotOpen::File(path.to_owned(), error);
        tighten(path, &file).map_err(failed)?;
        let identity = Identity::of(&file.metadata().map_err(failed)?);
        let database = Database::new(path, identity);
        let failed = |error| NotOpen::Database(path.to_owned(), error);
        let mut connection = database.connect(PATIENCE).await.map_err(failed)?;
        let migration = |error| NotOpen::Migration(path.to_owned(), error);
        let migrations = Migrator::new(Migrations).await.map_err(migration)?;
        // Not `run`: its future is not known to be `Send`.
        migrations.run_direct(&mut connection).await.map_err(migration)?;
        let lease = Lease::take(&mut connection, identity, take_over).await.map_err(|error| match error {
            TakeLeaseError::Copied => NotOpen::Copied(path.to_owned()),
            TakeLeaseError::Database(error) => failed(error),
        })?;
        let ledger = Self::with(database, Some(file), Some(lease));
        let readers = join_all((0..READERS).map(|_| ledger.0.readers.acquire())).await;
        readers.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
        // What was erased when the last server stopped may still stand in the write-ahead log.
        let wiped = ledger.wipe().await;
        connection::close(connection).await;
        match wiped {
            Ok(()) => Ok(ledger),
            Err(super::Error::Database(error)) => Err(failed(error)),
            Err(_) => Err(failed(sqlx::Error::WorkerCrashed)),
        }
    }

    /// Opens a ledger beside the server that uses it, for the command line.
    pub async fn visit(path: &Path) -> Result<Self, NotOpen> {
        let missing = || NotOpen::Missing(path.to_owned());
        let metadata = std::fs::metadata(path).ok().filter(Metadata::is_file).ok_or_else(missing)?;
        let database = Database::new(path, Identity::of(&metadata));
        let failed = |error| NotOpen::Database(path.to_owned(), error);
        connection::close(database.connect(PATIENCE).await.map_err(failed)?).await;
        Ok(Self::with(database, None, None))
    }

    fn with(database: Database, file: Option<File>, lease: Option<Lease>) -> Self {
        let inner = Inner {
            writer: Writer::new(database.clone()),
            readers: database.readers(),
            checkpointer: tokio::sync::Mutex::default(),
            database,
            lease,
            held: super::Held::default(),
            faults: super::Faults::default(),
            recovering: tokio::sync::watch::Sender::default(),
            outcome_written: tokio::sync::Notify::new(),
            erasures: super::tokens::Erasures::default(),
            live: std::sync::atomic::AtomicBool::new(true),
            commits: std::sync::atomic::AtomicU32::new(0),
            file,
        };
        Self(Arc::new(inner), Guards::NONE)
    }
}

impl Database {
    fn new(path: &Path, identity: Identity) -> Self {
        Self { path: path.to_owned(), identity, is_log_gone: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path leads to the file.
    pub(super) fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| Identity::of(&metadata) == self.identity)
    }

    /// The write-ahead log at the path, if there is one.
    pub(super) fn log(&self) -> Option<Identity> {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        std::fs::metadata(path).ok().map(|metadata| Identity::of(&metadata))
    }

    /// Notes whether the write-ahead log was deleted under the connections there are.
    pub(super) fn note_log(&self, is_gone: bool) {
        self.is_log_gone.store(is_gone, Ordering::Release);
    }

    /// The connection that writes. It leaves checkpoints to the one for them, for they take time.
    pub(super) async fn connect_writer(&self) -> Result<SqliteConnection, sqlx::Error> {
        self.connect_with(self.options(STEP).pragma("wal_autocheckpoint", "0")).await
    }

    /// A connection that waits so long for a lock.
    pub(super) async fn connect(&self, patience: Duration) -> Result<SqliteConnection, sqlx::Error> {
        self.connect_with(self.options(patience)).await
    }

    async fn connect_with(&self, options: SqliteConnectOptions) -> Result<SqliteConnection, sqlx::Error> {
        // Before, for SQLite would take the write-ahead log for that of the other file, and delete it.
        self.check()?;
        let connection = options.journal_mode(SqliteJournalMode::Wal).connect().await?;
        self.check()?;
        Ok(connection)
    }

    /// Readers stay as long as the pool, so that it need not look for the file again.
    fn readers(&self) -> SqlitePool {
        let database = Arc::new(self.clone());
        SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |_, _| {
                let database = database.clone();
                Box::pin(async move { database.check() })
            })
            .connect_lazy_with(self.options(PATIENCE).pragma("query_only", "ON"))
    }

    fn check(&self) -> Result<(), sqlx::Error> {
        let other = || io::Error::new(io::ErrorKind::NotFound, "another file, or none, is at the path of the ledger");
        if self.is_in_place() && !self.is_log_gone.load(Ordering::Acquire) {
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

impl Identity {
    /// Whether this process has the file open. Where there is no `/proc` nobody knows.
    pub(super) fn is_open_here(self) -> bool {
        let opened = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        opened.filter_map(|entry| std::fs::metadata(entry.path()).ok()).any(|file| Self::of(&file) == self)
    }

    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| i64::try_from(born.as_nanos()).ok());
        Self { device: metadata.dev(), inode: metadata.ino(), born }
    }

    pub(super) fn inode(self) -> i64 {
        self.inode.cast_signed()
    }

    pub(super) fn born(self) -> Option<i64> {
        self.born
    }

    /// Whether these are the numbers of this file. That of the device is none of them: it may be another after each boot.
    pub(super) fn is_that_of(self, inode: i64, born: Option<i64>) -> bool {
        self.inode() == inode && (self.born == born || self.born.is_none() || born.is_none())
    }
}

/// Locks the file, whatever its name is, and makes it if it is missing. The system frees the lock when the process ends.
///
/// SQLite's own locks on a file are lost when the process closes any handle of it: this one is opened before SQLite's, and
/// closed after them.
fn lock(path: &Path) -> Result<File, NotOpen> {
    let failed = |error| NotOpen::File(path.to_owned(), error);
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    // SQLite gives its other files the mode of this one.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(failed)?;
    try_lock(&file, path)?;
    // Servers of older versions lock a file beside it.
    let beside = with_suffix(path, ".lock");
    if let Ok(older) = File::open(&beside) {
        try_lock(&older, path)?;
        let _ = std::fs::remove_file(beside);
    }
    Ok(file)
}

fn try_lock(file: &File, path: &Path) -> Result<(), NotOpen> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(NotOpen::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(NotOpen::File(path.to_owned(), error)),
    }
}

/// Takes from others what rights they have to the files: a backup may have come back readable by all.
fn tighten(path: &Path, file: &File) -> io::Result<()> {
    let private = Permissions::from_mode(0o600);
    let is_open_to_others = |metadata: &Metadata| metadata.mode() & 0o077 != 0;
    let mut tightened = Vec::new();
    if is_open_to_others(&file.metadata()?) {
        file.set_permissions(private.clone())?;
        tightened.push(path.to_owned());
    }
    // SQLite's other files are beside the file itself, not beside a link to it.
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
            "A file of the ledger was open to other users: its mode is 0600 now."
        );
    }
    Ok(())
}

/// The path of a file beside another.
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
            Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false)
        });
        Box::pin(async { Ok(migrations.into()) })
    }
}
