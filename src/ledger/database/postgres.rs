//! PostgreSQL: connections that use no state of a session.

use std::fmt;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::error::DatabaseError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _};
use tokio::time::{Instant, timeout};

use crate::config::PostgresUrl;
use crate::ids::CallSid;
use crate::ledger::connection::{self, BUSY_TIMEOUT, timed_out};
use crate::ledger::journal::place_of_state;
use crate::ledger::tokens;
use crate::sealing::{SealingKeys, unseal};

/// How long a look at a database may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of connections for writes, and of those that only read.
pub(super) const WRITERS: usize = 6;
const READERS: u32 = 4;

/// The first has the number that SQLite's tables had reached: up to 11 a number means the same on both engines. A migration only
/// adds, since two versions may share the tables during a deploy. The second ends the time of the single server.
pub(super) const MIGRATIONS: [super::MigrationText; 6] = [
    (9, "ledger", include_str!("../migrations/postgres/0009_ledger.sql")),
    (10, "servers", include_str!("../migrations/postgres/0010_servers.sql")),
    (11, "journal", include_str!("../migrations/postgres/0011_journal.sql")),
    (12, "commits", include_str!("../migrations/postgres/0012_commits.sql")),
    (13, "receipts", include_str!("../migrations/postgres/0013_receipts.sql")),
    (14, "do_not_call", include_str!("../migrations/postgres/0014_do_not_call.sql")),
];

/// Makes servers that start at the same time migrate one after the other. It lasts as long as the transaction.
pub(super) const LOCK_MIGRATIONS: &str = "SELECT pg_advisory_xact_lock(hashtextextended('migrations', 0))";

/// The statements that begin a write: each sees what others have committed before it, waits for a row no longer than
/// another write may take, and has an end even if this process is gone or frozen. The last one returns the id of the transaction.
pub(in crate::ledger) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 1000; \
     SET LOCAL idle_in_transaction_session_timeout = 3000; SELECT CAST(pg_current_xact_id() AS TEXT)";

/// Opens connections to the database.
#[derive(Clone)]
pub(in crate::ledger) struct PostgresServer(AnyConnectOptions);

/// Shows nothing: the options have the password.
impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresServer")
    }
}

impl PostgresServer {
    pub(super) fn new(url: &PostgresUrl) -> Result<Self, sqlx::Error> {
        check_files(url)?;
        Ok(Self(AnyConnectOptions::from_url(url.reveal())?.disable_statement_logging()))
    }

    pub(super) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        timeout(BUSY_TIMEOUT, self.0.connect()).await.map_err(|_| timed_out())?
    }

    pub(super) fn readers(&self) -> AnyPool {
        AnyPoolOptions::new().max_connections(READERS).acquire_timeout(BUSY_TIMEOUT).connect_lazy_with(self.0.clone())
    }
}

/// Checks that the files can be read which the URL names for TLS: the error of a connection does not name them.
fn check_files(url: &PostgresUrl) -> Result<(), sqlx::Error> {
    for (name, value) in url.reveal().query_pairs() {
        let is_file = matches!(&*name, "sslrootcert" | "sslcert" | "sslkey") && !value.starts_with("-----BEGIN");
        if let (true, Err(error)) = (is_file, std::fs::File::open(&*value)) {
            return Err(sqlx::Error::Configuration(
                format!("{name} names a file that cannot be read ({error})").into(),
            ));
        }
    }
    Ok(())
}

/// Whether a connection failed over TLS: the certificate of the server, or its lack of one.
pub(crate) fn is_tls_error(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).is_some(),
        _ => false,
    }
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
    /// The number of live calls, of at most 1,000, whose state none of the keys opens.
    pub unopened_calls: usize,
    /// Where the servers that share it are reached, at most 100 of them. One that has died may still be among them.
    pub servers: Vec<String>,
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
        let (mut servers, mut calls) = (Vec::new(), Vec::new());
        if is_ledger == 1 {
            let query = "SELECT id, token FROM payments WHERE token IS NOT NULL ORDER BY ended_at LIMIT 1000";
            tokens = sqlx::query_as(query).fetch_all(&mut *connection).await?;
            let query = "SELECT address FROM servers ORDER BY id LIMIT 100";
            servers = of_newer_table(sqlx::query_scalar(query).fetch_all(&mut *connection).await)?;
            let query = "SELECT call_sid, state FROM calls WHERE state IS NOT NULL LIMIT 1000";
            let rows: Vec<(String, String)> = of_newer_table(sqlx::query_as(query).fetch_all(connection).await)?;
            calls = rows.into_iter().map(|(call, state)| (CallSid::from_stored(call), state)).collect();
        }
        let is_unopened = |(id, token): &(String, String)| unseal(keys, tokens::place(id), token.clone()).is_err();
        let is_unopened_call =
            |(call, state): &(CallSid, String)| unseal(keys, place_of_state(call), state.clone()).is_err();
        Ok(Self {
            version,
            lacks,
            round_trip,
            is_ledger: is_ledger == 1,
            may_create: may_create == 1,
            unopened_tokens: tokens.iter().filter(|token| is_unopened(token)).count(),
            unopened_calls: calls.iter().filter(|call| is_unopened_call(call)).count(),
            servers,
        })
    }
}

/// The rows of a table that is missing where an older version has made the tables.
fn of_newer_table<T>(read: Result<Vec<T>, sqlx::Error>) -> Result<Vec<T>, sqlx::Error> {
    match read {
        Err(sqlx::Error::Database(error)) if is_missing_table(&*error) => Ok(Vec::new()),
        rows => rows,
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
