//! The connections that write: one of SQLite, which lets one write in at a time, and a few of PostgreSQL. After any failure
//! a connection is discarded and the next write opens a new one, so that no fault outlasts its cause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::LedgerError;
use super::database::{self, Database};

/// How long a write waits for another write, of this process or another one. A caller is on the line meanwhile.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// SQLite's own busy timeout, after which the writer checks its deadline.
pub(super) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_millis(50);

/// How long a commit may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before PostgreSQL is asked again how a commit ended.
const COMMIT_POLL: Duration = Duration::from_millis(50);

/// Opens the connections that write, and keeps those that are idle.
#[derive(Debug)]
pub(super) struct LedgerWriter {
    database: Database,
    turns: Arc<Semaphore>,
    /// The number of turns.
    count: u32,
    idle: Arc<IdleConnections>,
    is_closed: AtomicBool,
}

type IdleConnections = Mutex<Vec<AnyConnection>>;

/// A turn to write, and its connection. It returns the connection when it is dropped.
#[derive(Debug)]
pub(super) struct WriteLock {
    connection: Option<AnyConnection>,
    idle: Arc<IdleConnections>,
    _turn: OwnedSemaphorePermit,
}

/// A transaction of PostgreSQL, by which it can be asked later whether the transaction was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionId {
    /// Its number. After a crash or a fail-over another one may get it.
    number: String,
    /// The id of the row that it adds to `commits`.
    mark: Uuid,
}

/// How a transaction ended whose commit failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitFate {
    Committed,
    /// It was not committed, or the database has never heard of it.
    RolledBack,
    /// The database does not answer in time.
    InDoubt,
}

/// A write transaction. If it is dropped before the commit, it is rolled back and its connection is discarded.
#[derive(Debug)]
pub(super) struct WriteTransaction {
    turn: Option<WriteLock>,
    database: Database,
    /// Set with PostgreSQL.
    id: Option<TransactionId>,
    /// Whether it need not be known how it ended.
    is_repeatable: bool,
}

impl LedgerWriter {
    pub(super) fn new(database: Database) -> Self {
        let count = database.writers();
        let turns = Arc::new(Semaphore::new(count));
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self { database, turns, count, idle: Arc::default(), is_closed: AtomicBool::new(false) }
    }

    /// Waits for a turn to write until the deadline.
    pub(super) async fn lock(&self, until: Instant) -> Result<WriteLock, LedgerError> {
        let turn = timeout_at(until, self.turns.clone().acquire_owned()).await.map_err(|_| LedgerError::Busy)?;
        let turn = turn.map_err(|_| sqlx::Error::PoolClosed)?;
        if self.is_closed.load(Ordering::Acquire) {
            return Err(sqlx::Error::PoolClosed.into());
        }
        let connection = lock(&self.idle).pop();
        Ok(WriteLock { connection, idle: self.idle.clone(), _turn: turn })
    }

    /// Begins a transaction. Tries at least once, and retries until the deadline while another process holds the
    /// database lock.
    pub(super) async fn begin(&self, mut turn: WriteLock, until: Instant) -> Result<WriteTransaction, LedgerError> {
        loop {
            let kept = turn.connection.take();
            let is_kept = kept.is_some();
            match self.try_begin(kept).await {
                Ok((connection, id)) => {
                    turn.connection = Some(connection);
                    return Ok(WriteTransaction {
                        turn: Some(turn),
                        database: self.database.clone(),
                        id,
                        is_repeatable: false,
                    });
                }
                // The server may have closed an idle connection, such as by its own restart.
                Err(_) if is_kept && self.database.is_remote() => lock(&self.idle).clear(),
                Err(error) if is_busy(&error) && Instant::now() < until => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_begin(
        &self,
        connection: Option<AnyConnection>,
    ) -> Result<(AnyConnection, Option<TransactionId>), sqlx::Error> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.database.connect_writer().await?,
        };
        let id = match self.database {
            Database::Sqlite(_) => {
                // A transaction that begins with a read can fail later because another process has written meanwhile.
                sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
                None
            }
            Database::Postgres(_) => {
                let begin = sqlx::raw_sql(database::BEGIN).fetch_all(&mut connection);
                let rows = timeout(BUSY_TIMEOUT, begin).await.map_err(|_| timed_out())??;
                let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
                Some(TransactionId { number: row.try_get(0)?, mark: Uuid::new_v4() })
            }
        };
        Ok((connection, id))
    }

    /// Finds out how a transaction ended whose commit failed.
    pub(super) async fn find_commit(&self, id: &TransactionId, until: Instant) -> CommitFate {
        find_commit(&self.database, id, until).await
    }

    /// Waits for the current writes and closes the connections. Later writes fail.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let _turns = timeout(BUSY_TIMEOUT, self.turns.acquire_many(self.count)).await;
        let idle = std::mem::take(&mut *lock(&self.idle));
        for connection in idle {
            close(connection).await;
        }
    }
}

impl WriteTransaction {
    /// Commits, and returns the write lock.
    ///
    /// # Errors
    ///
    /// [`LedgerError::InDoubt`] if PostgreSQL did not say in time whether it was committed.
    pub(super) async fn commit(mut self) -> Result<WriteLock, LedgerError> {
        let until = Instant::now() + COMMIT_TIMEOUT;
        let id = self.id.clone().filter(|_| !self.is_repeatable);
        // One message to PostgreSQL, which need not be prepared; a statement that SQLite has prepared already.
        let commit = if let Some(id) = &id {
            let mark = format!("INSERT INTO commits (id) VALUES ('{}'); COMMIT", id.mark);
            sqlx::raw_sql(AssertSqlSafe(mark)).execute(self.connection()).boxed()
        } else if self.is_remote() {
            sqlx::raw_sql("COMMIT").execute(self.connection()).boxed()
        } else {
            sqlx::query("COMMIT").execute(self.connection()).boxed()
        };
        let commit = timeout_at(until, commit).await;
        let failed = match commit {
            Ok(Ok(_)) => return Ok(self.take_turn()),
            Ok(Err(error)) => LedgerError::from(error),
            Err(_) => LedgerError::Busy,
        };
        let Some(id) = id else { return Err(failed) };
        if let Some(turn) = &mut self.turn {
            turn.connection = None;
        }
        match find_commit(&self.database, &id, until).await {
            CommitFate::Committed => Ok(self.take_turn()),
            CommitFate::RolledBack => Err(failed),
            CommitFate::InDoubt => Err(LedgerError::InDoubt(id)),
        }
    }

    fn take_turn(&mut self) -> WriteLock {
        self.turn.take().expect("a transaction has its turn until it is committed")
    }

    /// The connection, without a limit for its statements.
    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        let connection = self.turn.as_mut().and_then(|turn| turn.connection.as_mut());
        connection.expect("a transaction has its connection until it is committed")
    }

    /// Makes this transaction of PostgreSQL wait only shortly for what others have locked.
    pub(super) async fn wait_less(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("SET LOCAL lock_timeout = 250").execute(self).await.map(drop)
    }

    /// Leaves out what is written to find out how the transaction ended. It is one that is done anew if its commit fails,
    /// whether or not it was committed.
    pub(super) fn set_repeatable(&mut self) {
        self.is_repeatable = true;
    }

    /// The id of the transaction, with PostgreSQL.
    pub(super) fn id(&self) -> Option<&TransactionId> {
        self.id.as_ref()
    }

    /// Whether the database is at the other end of a network.
    pub(super) fn is_remote(&self) -> bool {
        self.id.is_some()
    }

    /// Waits until nobody else decides about this, and keeps others from it until the transaction ends. Each statement after
    /// this one sees what the last holder has committed. For PostgreSQL only: in SQLite nobody else writes meanwhile.
    pub(super) async fn lock(&mut self, what: &str) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(what).execute(self).await?;
        Ok(())
    }
}

/// Whether a transaction is still in progress. A standby does not show yet what its primary has committed, and that
/// transaction is in progress until it is one itself.
const IS_IN_PROGRESS: &str =
    "SELECT CASE WHEN pg_is_in_recovery() THEN 'in progress' ELSE pg_xact_status(CAST($1 AS xid8)) END";

/// Asks until the deadline how a transaction ended.
async fn find_commit(database: &Database, id: &TransactionId, until: Instant) -> CommitFate {
    let ask = async || {
        let mut connection = database.connect_writer().await?;
        let status = sqlx::query_scalar(IS_IN_PROGRESS).bind(id.number.clone());
        let status: Result<Option<String>, sqlx::Error> = status.fetch_one(&mut connection).await;
        let is_in_progress = match status {
            Ok(status) => status.is_some_and(|status| status == "in progress"),
            // A number that is yet to come: the transaction is lost, or the database was restored from an earlier state.
            Err(error) if sql_state(&error).is_some_and(|state| state.starts_with("22")) => false,
            Err(error) => return Err(error),
        };
        if is_in_progress {
            return Ok(None);
        }
        let mark = sqlx::query_scalar("SELECT count(*) FROM commits WHERE id = $1").bind(id.mark.to_string());
        let count: i64 = mark.fetch_one(&mut connection).await?;
        close(connection).await;
        Ok::<_, sqlx::Error>(Some(count > 0))
    };
    loop {
        match timeout_at(until, ask()).await {
            Ok(Ok(Some(true))) => return CommitFate::Committed,
            Ok(Ok(Some(false))) => return CommitFate::RolledBack,
            Ok(Ok(None) | Err(_)) => {}
            Err(_) => return CommitFate::InDoubt,
        }
        sleep(COMMIT_POLL).await;
    }
}

impl Drop for WriteTransaction {
    fn drop(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.connection = None;
        }
    }
}

impl Drop for WriteLock {
    fn drop(&mut self) {
        lock(&self.idle).extend(self.connection.take());
    }
}

fn lock(idle: &IdleConnections) -> std::sync::MutexGuard<'_, Vec<AnyConnection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// Closes a connection. An error is ignored: nothing depends on it.
pub(super) async fn close(connection: AnyConnection) {
    use sqlx::Connection as _;
    let _ = timeout(BUSY_TIMEOUT, connection.close()).await;
}

/// SQLite's primary result code.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    code(error).filter(|code| code.len() != SQLSTATE_LENGTH)?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// PostgreSQL's code of an error: five letters and digits, of which the first two are its class.
pub(super) fn sql_state(error: &sqlx::Error) -> Option<String> {
    code(error).filter(|code| code.len() == SQLSTATE_LENGTH)
}

const SQLSTATE_LENGTH: usize = 5;

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// Whether another connection holds the lock: `SQLITE_BUSY` or `SQLITE_LOCKED`.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}
