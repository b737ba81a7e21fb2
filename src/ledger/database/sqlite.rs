//! The database file: created with mode 0600 if it is missing, and locked by one server at a time.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions as _};
use tracing::warn;

use crate::ledger::OpenLedgerError;
use crate::ledger::connection::{BUSY_TIMEOUT, SQLITE_BUSY_TIMEOUT};

/// Number of read-only connections.
const READERS: u32 = 4;

/// The page cache of each of them: 256 KiB. They read little, and the kernel has the file in memory anyway.
const READER_CACHE: &str = "-256";

pub(in crate::ledger) const MIGRATIONS: [super::MigrationText; 13] = [
    (1, "payments", include_str!("../migrations/sqlite/0001_payments.sql")),
    (2, "guards", include_str!("../migrations/sqlite/0002_guards.sql")),
    (3, "orders", include_str!("../migrations/sqlite/0003_orders.sql")),
    (4, "lease", include_str!("../migrations/sqlite/0004_lease.sql")),
    (5, "operations", include_str!("../migrations/sqlite/0005_operations.sql")),
    (6, "call_ended", include_str!("../migrations/sqlite/0006_call_ended.sql")),
    (7, "call_stages", include_str!("../migrations/sqlite/0007_call_stages.sql")),
    (8, "events_of_a_payment", include_str!("../migrations/sqlite/0008_events_of_a_payment.sql")),
    (9, "columns_of_events", include_str!("../migrations/sqlite/0009_columns_of_events.sql")),
    (10, "servers", include_str!("../migrations/sqlite/0010_servers.sql")),
    (11, "journal", include_str!("../migrations/sqlite/0011_journal.sql")),
    (13, "receipts", include_str!("../migrations/sqlite/0013_receipts.sql")),
    (14, "do_not_call", include_str!("../migrations/sqlite/0014_do_not_call.sql")),
];

/// The identity of a file, independent of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) struct FileIdentity {
    device: u64,
    inode: u64,
    /// Creation time in nanoseconds since 1970, if the file system records it.
    created_ns: Option<i64>,
}

/// Opens connections to the database file, and refuses a file that has replaced it at its path.
#[derive(Debug, Clone)]
pub(in crate::ledger) struct SqliteFile {
    path: PathBuf,
    identity: FileIdentity,
    /// Whether the write-ahead log was deleted under the open connections. A new connection would create a second log.
    is_wal_gone: Arc<AtomicBool>,
}

impl SqliteFile {
    /// Locks the file of a server, and creates it if it is missing.
    pub(super) fn lock(path: &Path) -> Result<(Self, File), OpenLedgerError> {
        let file = lock_file(path)?;
        let failed = |error| OpenLedgerError::File(path.to_owned(), error);
        if !is_sqlite_or_empty(&file).map_err(failed)? {
            return Err(OpenLedgerError::NotALedger(path.to_owned()));
        }
        restrict_mode(path, &file).map_err(failed)?;
        let identity = FileIdentity::of(&file.metadata().map_err(failed)?);
        Ok((Self::new(path, identity), file))
    }

    /// Finds an existing file.
    pub(super) fn find(path: &Path) -> Result<Self, OpenLedgerError> {
        let missing = || OpenLedgerError::Missing(path.to_owned());
        let metadata = std::fs::metadata(path).ok().filter(Metadata::is_file).ok_or_else(missing)?;
        Ok(Self::new(path, FileIdentity::of(&metadata)))
    }

    fn new(path: &Path, identity: FileIdentity) -> Self {
        Self { path: path.to_owned(), identity, is_wal_gone: Arc::default() }
    }

    pub(in crate::ledger) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Whether the file at the path is the one that was opened.
    pub(in crate::ledger) fn is_at_path(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| FileIdentity::of(&metadata) == self.identity)
    }

    /// The identity of the write-ahead log, if there is one.
    pub(in crate::ledger) fn wal_identity(&self) -> Option<FileIdentity> {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        std::fs::metadata(path).ok().map(|metadata| FileIdentity::of(&metadata))
    }

    /// Sets whether the write-ahead log was deleted under the open connections.
    pub(in crate::ledger) fn set_wal_gone(&self, is_gone: bool) {
        self.is_wal_gone.store(is_gone, Ordering::Release);
    }

    /// Opens the connection that writes. It runs no automatic checkpoints, since they take time: another connection
    /// does.
    pub(super) async fn connect_writer(&self) -> Result<AnyConnection, sqlx::Error> {
        self.connect_with(SQLITE_BUSY_TIMEOUT, "PRAGMA wal_autocheckpoint = 0;").await
    }

    /// Opens a connection that waits for a lock no longer than `patience`.
    pub(in crate::ledger) async fn connect(&self, patience: Duration) -> Result<AnyConnection, sqlx::Error> {
        self.connect_with(patience, "").await
    }

    async fn connect_with(&self, patience: Duration, pragmas: &str) -> Result<AnyConnection, sqlx::Error> {
        // Checked before connecting, too: SQLite would take the write-ahead log for that of the other file and delete
        // it.
        self.check_file()?;
        let mut connection = self.options()?.connect().await?;
        let pragmas = format!("{} PRAGMA journal_mode = WAL; {pragmas}", pragmas_of_all(patience));
        sqlx::raw_sql(AssertSqlSafe(pragmas)).execute(&mut connection).await?;
        self.check_file()?;
        Ok(connection)
    }

    /// The pool of readers. Its connections never expire, so that it need not open the file again.
    pub(super) fn readers(&self) -> Result<AnyPool, sqlx::Error> {
        let file = Arc::new(self.clone());
        let readers = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                let file = file.clone();
                Box::pin(async move {
                    file.check_file()?;
                    let own = format!("PRAGMA query_only = ON; PRAGMA cache_size = {READER_CACHE};");
                    let pragmas = format!("{} {own}", pragmas_of_all(BUSY_TIMEOUT));
                    sqlx::raw_sql(AssertSqlSafe(pragmas)).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(self.options()?);
        Ok(readers)
    }

    fn check_file(&self) -> Result<(), sqlx::Error> {
        let other = || io::Error::new(io::ErrorKind::NotFound, "the file of the ledger was deleted or replaced");
        if self.is_at_path() && !self.is_wal_gone.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(sqlx::Error::Io(other()))
        }
    }

    fn options(&self) -> Result<AnyConnectOptions, sqlx::Error> {
        // The first part of a relative path would be the host of the URL.
        let path = std::path::absolute(&self.path).map_err(sqlx::Error::Io)?;
        Ok(AnyConnectOptions::from_str(&file_url(&path))?.disable_statement_logging())
    }
}

/// The URL of a file. Each byte that a URL may read as something else is escaped, a percent sign among them.
fn file_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            url.push(char::from(*byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    url
}

/// The pragmas of each connection, which waits for a lock no longer than `patience`.
fn pragmas_of_all(patience: Duration) -> String {
    format!(
        "PRAGMA busy_timeout = {}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; \
         PRAGMA temp_store = MEMORY;",
        patience.as_millis()
    )
}

impl FileIdentity {
    /// Whether this process has the file open. Always `false` without `/proc`.
    pub(in crate::ledger) fn is_open_in_process(self) -> bool {
        let opened = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        opened.filter_map(|entry| std::fs::metadata(entry.path()).ok()).any(|file| Self::of(&file) == self)
    }

    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|born| i64::try_from(born.as_nanos()).ok());
        Self { device: metadata.dev(), inode: metadata.ino(), created_ns: born }
    }

    pub(in crate::ledger) fn inode(self) -> i64 {
        self.inode.cast_signed()
    }

    pub(in crate::ledger) fn created_ns(self) -> Option<i64> {
        self.created_ns
    }

    /// Whether this file has this inode and creation time. The device number is not compared: it may change with each
    /// boot.
    pub(in crate::ledger) fn is_same_file(self, inode: i64, born: Option<i64>) -> bool {
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
