//! PostgreSQL: connections that use no state of a session, and the lock that one server has.

use std::fmt;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::error::DatabaseError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _};
use tokio::time::{Instant, sleep, timeout};

use crate::config::PostgresUrl;
use crate::ledger::connection::{self, BUSY_TIMEOUT, timed_out};
use crate::ledger::tokens;
use crate::sealing::{SealingKeys, unseal};

/// How long a look at a database may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of connections for writes, and of those that only read.
pub(super) const WRITERS: usize = 6;
const READERS: u32 = 4;

/// The first has the number that SQLite's tables have reached: from there on both engines count alike. A migration only
/// adds, since two versions may share the tables during a deploy.
pub(super) const MIGRATIONS: [super::MigrationText; 1] =
    [(9, "ledger", include_str!("../migrations/postgres/0009_ledger.sql"))];

/// The pause before the lock of another server is tried again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The advisory lock that a server holds. It is a hash of the name of the program.
const SERVER_LOCK: &str =
    "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('crelay-payments', 0)) THEN 1 ELSE 0 END";

/// Opens connections to the database.
#[derive(Clone)]
pub(in crate::ledger) struct PostgresServer(AnyConnectOptions);

/// Shows nothing: the options have the password.
impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresServer")
    }
}

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

    /// Takes the lock of the one server. `None` if another server keeps it for a while: one that has just ended may not be
    /// known to have.
    pub(in crate::ledger) async fn take_server_lock(&self) -> Result<Option<ServerLock>, sqlx::Error> {
        let until = Instant::now() + BUSY_TIMEOUT;
        let mut connection = self.connect().await?;
        loop {
            let taken = sqlx::query_scalar::<_, i64>(SERVER_LOCK).fetch_one(&mut connection);
            let taken = timeout(BUSY_TIMEOUT, taken).await.map_err(|_| timed_out())?? == 1;
            if taken || Instant::now() > until {
                return Ok(taken.then_some(ServerLock(connection)));
            }
            sleep(LOCK_POLL).await;
        }
    }
}

/// What a database is like.
#[derive(Debug)]
pub struct DatabaseProbe {
    /// The version of PostgreSQL, such as `15.18`.
    pub version: String,
    /// Whether the version has what the ledger needs.
    pub is_new_enough: bool,
    /// How long it takes to ask.
    pub round_trip: Duration,
    /// Whether it has the tables of a ledger.
    pub is_ledger: bool,
    /// Whether this user may create tables.
    pub may_create: bool,
    /// The number of payment tokens, of at most 1,000, that none of the keys opens.
    pub unopened_tokens: usize,
}

/// The oldest version with `pg_current_xact_id`, as PostgreSQL writes it in one number.
const OLDEST_VERSION: i64 = 130_000;

impl DatabaseProbe {
    /// Looks at a database without changing it.
    pub async fn of(url: &PostgresUrl, keys: Option<&SealingKeys>) -> Result<Self, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let server = PostgresServer::new(url)?;
        let mut connection = server.connect().await?;
        let probe = Self::read(&mut connection, keys);
        let probe = timeout(PROBE_TIMEOUT, probe).await.map_err(|_| timed_out())?;
        connection::close(connection).await;
        probe
    }

    async fn read(connection: &mut AnyConnection, keys: Option<&SealingKeys>) -> Result<Self, sqlx::Error> {
        let (version, is_new_enough) = read_version(connection).await?;
        let asked = Instant::now();
        let query = "SELECT CASE WHEN has_schema_privilege(current_schema(), 'CREATE') THEN 1 ELSE 0 END, \
                     CASE WHEN to_regclass('payments') IS NULL THEN 0 ELSE 1 END";
        let (may_create, is_ledger): (i64, i64) = sqlx::query_as(query).fetch_one(&mut *connection).await?;
        let round_trip = asked.elapsed();
        let mut tokens: Vec<(String, String)> = Vec::new();
        if is_ledger == 1 {
            let query = "SELECT id, token FROM payments WHERE token IS NOT NULL ORDER BY ended_at LIMIT 1000";
            tokens = sqlx::query_as(query).fetch_all(connection).await?;
        }
        let is_unopened = |(id, token): &(String, String)| unseal(keys, tokens::place(id), token.clone()).is_err();
        Ok(Self {
            version,
            is_new_enough,
            round_trip,
            is_ledger: is_ledger == 1,
            may_create: may_create == 1,
            unopened_tokens: tokens.iter().filter(|token| is_unopened(token)).count(),
        })
    }
}

/// The version of PostgreSQL, and whether it is new enough.
pub(super) async fn read_version(connection: &mut AnyConnection) -> Result<(String, bool), sqlx::Error> {
    let query = "SELECT current_setting('server_version'), CAST(current_setting('server_version_num') AS BIGINT)";
    let (version, number): (String, i64) = sqlx::query_as(query).fetch_one(connection).await?;
    // Debian adds its own version.
    let version = version.split(' ').next().unwrap_or_default().to_owned();
    Ok((version, number >= OLDEST_VERSION))
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
