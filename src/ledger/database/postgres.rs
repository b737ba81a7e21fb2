//! PostgreSQL: connections that use no state of a session, and the lock that one server has.

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::error::DatabaseError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _};
use tokio::time::timeout;

use crate::config::PostgresUrl;
use crate::ledger::connection::{self, BUSY_TIMEOUT, timed_out};

/// Number of connections for writes, and of those that only read.
pub(super) const WRITERS: usize = 6;
const READERS: u32 = 4;

/// The first has the number that SQLite's tables have reached: from there on both engines count alike. A migration only
/// adds, since two versions may share the tables during a deploy.
pub(super) const MIGRATIONS: [super::MigrationText; 1] =
    [(9, "ledger", include_str!("../migrations/postgres/0009_ledger.sql"))];

/// The advisory lock that a server holds. It is a hash of the name of the program.
const SERVER_LOCK: &str =
    "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('crelay-payments', 0)) THEN 1 ELSE 0 END";

/// Opens connections to the database.
#[derive(Debug, Clone)]
pub(in crate::ledger) struct PostgresServer(AnyConnectOptions);

/// The lock of the one server that uses the database. It is held by a connection, and ends with it.
#[derive(Debug)]
pub(in crate::ledger) struct ServerLock(AnyConnection);

impl PostgresServer {
    pub(super) fn new(url: &PostgresUrl) -> Result<Self, sqlx::Error> {
        Ok(Self(AnyConnectOptions::from_url(url.reveal())?.disable_statement_logging()))
    }

    pub(super) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        timeout(BUSY_TIMEOUT, self.0.connect()).await.map_err(|_| timed_out())?
    }

    pub(super) fn readers(&self) -> AnyPool {
        AnyPoolOptions::new().max_connections(READERS).acquire_timeout(BUSY_TIMEOUT).connect_lazy_with(self.0.clone())
    }

    /// Takes the lock of the one server. `None` if another server has it.
    pub(in crate::ledger) async fn take_server_lock(&self) -> Result<Option<ServerLock>, sqlx::Error> {
        let mut connection = self.connect().await?;
        let taken = sqlx::query_scalar::<_, i64>(SERVER_LOCK).fetch_one(&mut connection);
        let taken = timeout(BUSY_TIMEOUT, taken).await.map_err(|_| timed_out())??;
        Ok((taken == 1).then_some(ServerLock(connection)))
    }
}

impl ServerLock {
    /// Gives up the lock.
    pub(in crate::ledger) async fn release(self) {
        connection::close(self.0).await;
    }

    /// Whether the connection that holds it lives.
    pub(in crate::ledger) async fn is_held(&mut self) -> bool {
        let answer = sqlx::query("SELECT 1").execute(&mut self.0);
        matches!(timeout(BUSY_TIMEOUT, answer).await, Ok(Ok(_)))
    }
}

/// Whether a table is missing (`undefined_table`).
pub(super) fn is_missing_table(error: &dyn DatabaseError) -> bool {
    error.code().as_deref() == Some("42P01")
}
