//! PostgreSQL: connections that use no state of a session, and the lock that one server has.

use std::fmt;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::error::DatabaseError;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions as _};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

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

/// The advisory locks: the one that a server holds while it runs, and the one under which the owner of the lease is read and
/// changed. They are hashes of names.
const SERVER_LOCK: &str = "hashtextextended('crelay-payments', 0)";
const LEASE_LOCK: &str = "hashtextextended('crelay-payments lease', 0)";

/// How long a starting server waits for the lock of another one.
const LOCK_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the lock has to be free if its last holder did not give it up: it may only have lost its connection, and takes
/// the lock again within [`TICK_INTERVAL`](crate::ledger::maintenance::TICK_INTERVAL).
const LOST_LOCK_PATIENCE: Duration = Duration::from_millis(1_500);

/// The pause before the lock of another server is tried again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// How long the writes of another server may take to end before its lease is taken: longer than PostgreSQL keeps one that
/// does nothing.
const TAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Opens connections to the database.
#[derive(Clone)]
pub(in crate::ledger) struct PostgresServer(AnyConnectOptions);

/// Shows nothing: the options have the password.
impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresServer")
    }
}

/// What keeps other servers from the database: a lock that ends with its connection, and a row that each write checks.
#[derive(Debug)]
pub(in crate::ledger) struct PostgresLease {
    owner: String,
    /// The connection that holds the lock. `None` while it is lost.
    lock: Mutex<Option<AnyConnection>>,
}

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
    pub(super) async fn wait_for_server_lock(&self) -> Result<Option<AnyConnection>, sqlx::Error> {
        let until = Instant::now() + LOCK_TIMEOUT;
        let mut connection = self.connect().await?;
        let patience = if has_owner(&mut connection).await? { LOST_LOCK_PATIENCE } else { Duration::ZERO };
        let mut free_since = None;
        while Instant::now() < until {
            let is_free = ask(&mut connection, &try_lock(&format!("pg_advisory_unlock({SERVER_LOCK})"))).await?;
            if !is_free {
                free_since = None;
            } else if free_since.get_or_insert_with(Instant::now).elapsed() >= patience
                && ask(&mut connection, &try_lock("TRUE")).await?
            {
                return Ok(Some(connection));
            }
            sleep(LOCK_POLL).await;
        }
        Ok(None)
    }

    /// Takes the lease for the holder of the lock, once the writes of the last owner have ended.
    pub(super) async fn take_lease(&self, lock: AnyConnection) -> Result<PostgresLease, sqlx::Error> {
        let owner = Uuid::new_v4().to_string();
        let mut connection = self.connect().await?;
        // The owner is a UUID, which needs no quoting.
        let take = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({LEASE_LOCK}); \
             UPDATE lease SET owner = '{owner}', epoch = epoch + 1 WHERE id = 1; COMMIT"
        );
        let taken = sqlx::raw_sql(AssertSqlSafe(take)).execute(&mut connection);
        timeout(TAKE_TIMEOUT, taken).await.map_err(|_| timed_out())??;
        connection::close(connection).await;
        Ok(PostgresLease { owner, lock: Mutex::new(Some(lock)) })
    }
}

impl PostgresLease {
    /// The statements that begin a write: each sees what others have committed before it, waits for a row no longer than
    /// another write may take, and has an end even if this process is gone. The last one returns the id of the transaction
    /// and the owner of the lease, which stays the same until the transaction ends.
    pub(in crate::ledger) fn begin_statement() -> String {
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 1000; \
             SET LOCAL idle_in_transaction_session_timeout = 10000; SELECT pg_advisory_xact_lock_shared({LEASE_LOCK}); \
             SELECT CAST(pg_current_xact_id() AS TEXT), owner FROM lease"
        )
    }

    pub(in crate::ledger) fn owner(&self) -> &str {
        &self.owner
    }

    /// Takes the lock again if its connection is lost.
    pub(in crate::ledger) async fn renew_lock(&self, server: &PostgresServer) -> Result<(), sqlx::Error> {
        let mut lock = self.lock.lock().await;
        if let Some(connection) = &mut *lock
            && ask(connection, "SELECT 1").await.is_ok()
        {
            return Ok(());
        }
        *lock = None;
        let mut connection = server.connect().await?;
        if ask(&mut connection, &try_lock("TRUE")).await? {
            *lock = Some(connection);
        }
        Ok(())
    }

    /// Gives up the lock.
    pub(in crate::ledger) async fn release_lock(&self) {
        if let Some(connection) = self.lock.lock().await.take() {
            connection::close(connection).await;
        }
    }
}

/// Tries to take the lock of the server, and if it is free does `then`, which is true.
fn try_lock(then: &str) -> String {
    format!("SELECT CASE WHEN pg_try_advisory_lock({SERVER_LOCK}) THEN CASE WHEN {then} THEN 1 ELSE 0 END ELSE 0 END")
}

/// Asks whether something is so: the statement selects 1 or 0.
async fn ask(connection: &mut AnyConnection, statement: &str) -> Result<bool, sqlx::Error> {
    let answer = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement.to_owned())).fetch_one(connection);
    Ok(timeout(BUSY_TIMEOUT, answer).await.map_err(|_| timed_out())?? == 1)
}

/// Whether the last owner of the lease has not given it up.
async fn has_owner(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let has_lease = "SELECT CASE WHEN to_regclass('lease') IS NULL THEN 0 ELSE 1 END";
    Ok(ask(connection, has_lease).await?
        && ask(connection, "SELECT CASE WHEN owner IS NULL THEN 0 ELSE 1 END FROM lease").await?)
}

/// What a database is like.
#[derive(Debug)]
pub struct DatabaseProbe {
    /// The version of PostgreSQL, such as `15.18`.
    pub version: String,
    /// What the ledger needs and the server lacks, as a clause about the server.
    pub lacks: Option<String>,
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
        let (version, lacks) = read_server(connection).await?;
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
            lacks,
            round_trip,
            is_ledger: is_ledger == 1,
            may_create: may_create == 1,
            unopened_tokens: tokens.iter().filter(|token| is_unopened(token)).count(),
        })
    }
}

/// The version of the server, and what it lacks.
pub(super) async fn read_server(connection: &mut AnyConnection) -> Result<(String, Option<String>), sqlx::Error> {
    let query = "SELECT current_setting('server_version'), CAST(current_setting('server_version_num') AS BIGINT), \
                 current_setting('server_encoding'), current_setting('transaction_read_only')";
    let (version, number, encoding, read_only): (String, i64, String, String) =
        sqlx::query_as(query).fetch_one(connection).await?;
    // Debian adds its own version.
    let version = version.split(' ').next().unwrap_or_default().to_owned();
    let lacks = if number < OLDEST_VERSION {
        Some(format!("is PostgreSQL {version}: it has to be 13 or newer"))
    } else if encoding != "UTF8" {
        Some(format!("has the encoding {encoding}: create it with ENCODING 'UTF8'"))
    } else if read_only == "on" {
        Some("is read-only: it is a standby, or default_transaction_read_only is set".to_owned())
    } else {
        None
    };
    Ok((version, lacks))
}

/// Whether a table is missing (`undefined_table`).
pub(super) fn is_missing_table(error: &dyn DatabaseError) -> bool {
    error.code().as_deref() == Some("42P01")
}
