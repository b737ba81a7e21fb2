//! The ledger of a server: a file, or a database of PostgreSQL. It outlives the server, and faults can be injected from
//! outside.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::create_temporary_directory;
use super::transcript::{Transcript, TranscriptEvent};
use crate::config::{DatabaseUrl, PostgresUrl};

/// A key for the tokens in a database.
pub(crate) const SEALING_KEY: &str = "c2ltdWxhdGVkIGtleSBvZiAzMiBieXRlcyBpbiBhbGw=";

/// The mount options of a disk that can be filled.
const DISK_OPTIONS: &str = "size=2m,mode=700";

/// A ledger. Clones share it; the last one of a file removes its directory on drop.
#[derive(Debug, Clone)]
pub(super) enum ScenarioLedger {
    File(Arc<LedgerDirectory>),
    Postgres(Arc<LedgerDatabase>),
}

/// The directory of a file.
#[derive(Debug)]
pub(super) struct LedgerDirectory {
    directory: TempDir,
    /// Whether the directory is a separate small disk.
    is_disk: bool,
    /// The connection that holds the write lock.
    lock: Mutex<Option<SqliteConnection>>,
}

/// A database of its own on a server of PostgreSQL.
#[derive(Debug)]
pub(super) struct LedgerDatabase {
    /// The URL with which databases are created.
    server: PostgresUrl,
    name: String,
}

/// A fault of a ledger. With PostgreSQL each of them closes all connections to it, and refuses new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LedgerFault {
    /// The disk is full. If no disk could be mounted, the file is locked instead.
    DiskFull,
    /// Another process holds the write lock, for longer than the server waits.
    Locked,
}

impl ScenarioLedger {
    /// Creates a ledger: on this server of PostgreSQL, or in a file, on a small disk if requested and if this process may
    /// mount one.
    pub(super) async fn new(server: Option<&PostgresUrl>, small_disk: bool) -> anyhow::Result<Self> {
        match server {
            Some(server) => Ok(Self::Postgres(Arc::new(LedgerDatabase::new(server).await?))),
            None => Ok(Self::File(Arc::new(LedgerDirectory::new(small_disk)?))),
        }
    }

    /// Where it is.
    pub(super) fn url(&self) -> anyhow::Result<DatabaseUrl> {
        match self {
            Self::File(directory) => Ok(directory.path().into()),
            Self::Postgres(database) => Ok(DatabaseUrl::Postgres(database.url()?)),
        }
    }

    /// The variables of the server.
    pub(super) fn vars(&self) -> anyhow::Result<Vec<(String, String)>> {
        let url = |url: String| ("DATABASE_URL".to_owned(), url);
        match self {
            Self::File(directory) => Ok(vec![url(format!("sqlite://{}", directory.path().display()))]),
            Self::Postgres(database) => Ok(vec![
                url(database.url()?.reveal().to_string()),
                ("SEALING_KEY".to_owned(), SEALING_KEY.to_owned()),
                ("INSTANCE_ADDRESS".to_owned(), "http://localhost".to_owned()),
            ]),
        }
    }

    /// Makes writes fail from now on.
    pub(super) async fn inject_fault(&self, fault: LedgerFault, transcript: &Transcript) -> anyhow::Result<()> {
        match self {
            Self::File(directory) => directory.inject_fault(fault, transcript).await,
            Self::Postgres(database) => {
                database.permit_connections(false).await?;
                transcript.record(TranscriptEvent::LedgerFaultChanged { what: "the database refuses connections" });
                Ok(())
            }
        }
    }

    /// Removes the fault.
    pub(super) async fn clear_fault(&self, transcript: &Transcript) -> anyhow::Result<()> {
        match self {
            Self::File(directory) => directory.clear_fault(transcript).await,
            Self::Postgres(database) => {
                database.permit_connections(true).await?;
                transcript.record(TranscriptEvent::LedgerFaultChanged { what: "it can be written again" });
                Ok(())
            }
        }
    }

    /// Records the content of the ledger as evidence. A database is removed then.
    pub(super) async fn record_evidence(&self, transcript: &Transcript) -> anyhow::Result<()> {
        match self {
            Self::File(directory) => directory.record_evidence(transcript),
            Self::Postgres(database) => {
                for row in database.take_rows().await? {
                    transcript.record_evidence("a row of the ledger", row);
                }
            }
        }
        Ok(())
    }
}

impl LedgerDatabase {
    async fn new(server: &PostgresUrl) -> anyhow::Result<Self> {
        let name = format!("crelay_simulated_{}", Uuid::new_v4().simple());
        let database = Self { server: server.clone(), name };
        database.run("CREATE DATABASE {}").await.context("no database can be created in PostgreSQL")?;
        Ok(database)
    }

    fn url(&self) -> anyhow::Result<PostgresUrl> {
        let mut url = self.server.reveal().clone();
        url.set_path(&self.name);
        Ok(url.as_str().parse()?)
    }

    /// Permits connections to the database, or closes all and refuses new ones.
    async fn permit_connections(&self, permitted: bool) -> anyhow::Result<()> {
        self.run(&format!("ALTER DATABASE {{}} ALLOW_CONNECTIONS {permitted}")).await?;
        if !permitted {
            self.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'").await?;
        }
        Ok(())
    }

    /// Reads all rows as JSON, and removes the database.
    async fn take_rows(&self) -> anyhow::Result<Vec<String>> {
        let mut rows = Vec::new();
        let mut connection = PgConnection::connect(self.url()?.reveal().as_str()).await?;
        for table in ["payments", "events", "outbox", "call_events", "refunds", "call_stages"] {
            let select = AssertSqlSafe(format!("SELECT CAST(to_jsonb({table}) AS TEXT) FROM {table}"));
            rows.extend(sqlx::query_scalar::<_, String>(select).fetch_all(&mut connection).await?);
        }
        connection.close().await?;
        self.run("DROP DATABASE {} WITH (FORCE)").await?;
        Ok(rows)
    }

    /// Runs a statement with the name of the database in it.
    async fn run(&self, statement: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(self.server.reveal().as_str()).await?;
        connection.execute(AssertSqlSafe(statement.replace("{}", &self.name))).await?;
        connection.close().await?;
        Ok(())
    }
}

impl LedgerDirectory {
    /// Creates the directory of a ledger, on a small disk if requested and if this process may mount one.
    fn new(small_disk: bool) -> anyhow::Result<Self> {
        let directory = create_temporary_directory()?;
        let is_disk = small_disk && mount(directory.path());
        Ok(Self { directory, is_disk, lock: Mutex::default() })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("ledger.db")
    }

    fn filler(&self) -> PathBuf {
        self.directory.path().join("filler")
    }

    /// Makes writes to the file fail from now on.
    async fn inject_fault(&self, fault: LedgerFault, transcript: &Transcript) -> anyhow::Result<()> {
        if fault == LedgerFault::DiskFull && self.is_disk {
            let mut filler = std::fs::File::create(self.filler()).context("the disk cannot be filled")?;
            while filler.write(&[0; 1024]).is_ok_and(|written| written > 0) {}
            transcript.record(TranscriptEvent::LedgerFaultChanged { what: "the disk is full" });
            return Ok(());
        }
        let options = SqliteConnectOptions::new().filename(self.path()).disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await.context("the ledger cannot be opened")?;
        connection.execute("BEGIN IMMEDIATE").await.context("the ledger cannot be locked")?;
        *self.lock.lock().await = Some(connection);
        transcript.record(TranscriptEvent::LedgerFaultChanged { what: "another process locks it" });
        Ok(())
    }

    /// Removes the fault.
    async fn clear_fault(&self, transcript: &Transcript) -> anyhow::Result<()> {
        let has_room = std::fs::remove_file(self.filler()).is_ok();
        let locked = self.lock.lock().await.take();
        let was_locked = locked.is_some();
        if let Some(mut connection) = locked {
            connection.execute("ROLLBACK").await.context("the lock cannot be freed")?;
            connection.close().await.context("the ledger cannot be closed")?;
        }
        if has_room || was_locked {
            transcript.record(TranscriptEvent::LedgerFaultChanged { what: "it can be written again" });
        }
        Ok(())
    }

    /// Records the content of the ledger's files as evidence.
    fn record_evidence(&self, transcript: &Transcript) {
        for file in std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            transcript.record_evidence("a file of the ledger", String::from_utf8_lossy(&bytes));
        }
    }
}

/// Mounts a small disk at a directory. False if this process may not.
fn mount(directory: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", DISK_OPTIONS, "tmpfs"]).arg(directory).stdout(Stdio::null()).stderr(Stdio::null());
    mount.status().is_ok_and(|status| status.success())
}

impl Drop for LedgerDirectory {
    fn drop(&mut self) {
        if self.is_disk {
            let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
        }
    }
}
