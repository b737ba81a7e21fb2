//! The one connection that writes. Whatever fails, it is thrown away and the next write opens another, so that no fault
//! outlives its cause.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;
use super::database::Database;

/// How long a write waits for another, of this process or of another. A caller is on the telephone.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How long SQLite itself waits for a lock before the writer looks at the clock.
pub(super) const STEP: Duration = Duration::from_millis(50);

/// How long the disk may take to commit.
const COMMIT_LIMIT: Duration = Duration::from_secs(5);

/// The connection that writes, if one is open.
#[derive(Debug)]
pub(super) struct Writer {
    database: Database,
    connection: Arc<Mutex<Option<SqliteConnection>>>,
    is_closed: AtomicBool,
}

/// The turn to write.
pub(super) type Turn = OwnedMutexGuard<Option<SqliteConnection>>;

/// A transaction that writes. If it is dropped before it is committed it is undone, and its connection thrown away.
#[derive(Debug)]
pub(super) struct Transaction(Option<Turn>);

impl Writer {
    pub(super) fn new(database: Database) -> Self {
        Self { database, connection: Arc::default(), is_closed: AtomicBool::new(false) }
    }

    /// Waits for the turn to write.
    pub(super) async fn turn(&self, until: Instant) -> Result<Turn, Error> {
        let turn = timeout_at(until, self.connection.clone().lock_owned()).await.map_err(|_| Error::Busy)?;
        if self.is_closed.load(Ordering::Acquire) {
            return Err(sqlx::Error::PoolClosed.into());
        }
        Ok(turn)
    }

    /// Begins a transaction. It is tried once at least, and as long as another process holds the lock until then.
    pub(super) async fn begin(&self, mut turn: Turn, until: Instant) -> Result<Transaction, Error> {
        loop {
            match self.try_begin(turn.take()).await {
                Ok(connection) => {
                    *turn = Some(connection);
                    return Ok(Transaction(Some(turn)));
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
        // A transaction that began with reading could find that another process has written meanwhile.
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        Ok(connection)
    }

    /// Finishes what is being written; nothing is written afterwards.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let until = Instant::now() + PATIENCE;
        if let Ok(mut turn) = timeout_at(until, self.connection.clone().lock_owned()).await
            && let Some(connection) = turn.take()
        {
            close(connection).await;
        }
    }
}

impl Transaction {
    /// Commits it. The turn to write goes on.
    pub(super) async fn commit(mut self) -> Result<Turn, Error> {
        timeout(COMMIT_LIMIT, sqlx::query("COMMIT").execute(&mut *self)).await.map_err(|_| Error::Busy)??;
        Ok(self.0.take().expect("a transaction has the turn until it is committed"))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(turn) = &mut self.0 {
            **turn = None;
        }
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.0.as_deref().and_then(Option::as_ref).expect("a transaction has its connection until it is committed")
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.0.as_deref_mut().and_then(Option::as_mut).expect("a transaction has its connection until it is committed")
    }
}

/// Closes a connection; that it cannot be closed in order harms nothing.
pub(super) async fn close(connection: SqliteConnection) {
    use sqlx::Connection as _;
    let _ = connection.close().await;
}

/// SQLite's primary result code.
pub(super) fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// Whether another connection holds the lock: `SQLITE_BUSY` or `SQLITE_LOCKED`.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(5 | 6))
}
