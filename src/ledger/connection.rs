//! The one connection that writes. After any failure it is discarded and the next write opens a new one, so that no
//! fault outlasts its cause.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout, timeout_at};

use super::LedgerError;
use super::database::Database;

/// How long a write waits for another write, of this process or another one. A caller is on the line meanwhile.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// SQLite's own busy timeout, after which the writer checks its deadline.
pub(super) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_millis(50);

/// How long a commit may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection that writes, if one is open.
#[derive(Debug)]
pub(super) struct LedgerWriter {
    database: Database,
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    is_closed: AtomicBool,
}

/// The lock that serialises writes. It guards the connection.
pub(super) type WriteLock = OwnedMutexGuard<Option<SqliteConnection>>;

/// A write transaction. If it is dropped before the commit, it is rolled back and its connection is discarded.
#[derive(Debug)]
pub(super) struct WriteTransaction(Option<WriteLock>);

impl LedgerWriter {
    pub(super) fn new(database: Database) -> Self {
        Self { database, connection: Arc::default(), is_closed: AtomicBool::new(false) }
    }

    /// Waits for the write lock until the deadline.
    pub(super) async fn lock(&self, until: Instant) -> Result<WriteLock, LedgerError> {
        let turn = timeout_at(until, self.connection.clone().lock_owned()).await.map_err(|_| LedgerError::Busy)?;
        if self.is_closed.load(Ordering::Acquire) {
            return Err(sqlx::Error::PoolClosed.into());
        }
        Ok(turn)
    }

    /// Begins a transaction. Tries at least once, and retries until the deadline while another process holds the
    /// database lock.
    pub(super) async fn begin(&self, mut turn: WriteLock, until: Instant) -> Result<WriteTransaction, LedgerError> {
        loop {
            match self.try_begin(turn.take()).await {
                Ok(connection) => {
                    *turn = Some(connection);
                    return Ok(WriteTransaction(Some(turn)));
                }
                Err(error) if is_busy(&error) && Instant::now() < until => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_begin(&self, connection: Option<SqliteConnection>) -> Result<SqliteConnection, sqlx::Error> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.database.connect_writer().await?,
        };
        // A transaction that begins with a read can fail later because another process has written meanwhile.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        Ok(connection)
    }

    /// Waits for the current write and closes the connection. Later writes fail.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let until = Instant::now() + BUSY_TIMEOUT;
        if let Ok(mut turn) = timeout_at(until, self.connection.clone().lock_owned()).await
            && let Some(connection) = turn.take()
        {
            close(connection).await;
        }
    }
}

impl WriteTransaction {
    /// Commits, and returns the write lock.
    pub(super) async fn commit(mut self) -> Result<WriteLock, LedgerError> {
        timeout(COMMIT_TIMEOUT, sqlx::query("COMMIT").execute(&mut *self)).await.map_err(|_| LedgerError::Busy)??;
        Ok(self.0.take().expect("a transaction has the write lock until it is committed"))
    }
}

impl Drop for WriteTransaction {
    fn drop(&mut self) {
        if let Some(turn) = &mut self.0 {
            **turn = None;
        }
    }
}

impl Deref for WriteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.0.as_deref().and_then(Option::as_ref).expect("a transaction has its connection until it is committed")
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.0.as_deref_mut().and_then(Option::as_mut).expect("a transaction has its connection until it is committed")
    }
}

/// Closes a connection. An error is ignored: nothing depends on it.
pub(super) async fn close(connection: SqliteConnection) {
    use sqlx::Connection as _;
    let _ = connection.close().await;
}

/// SQLite's primary result code.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// Whether another connection holds the lock: `SQLITE_BUSY` or `SQLITE_LOCKED`.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}
