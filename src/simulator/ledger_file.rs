//! The file of a server's ledger: it outlives the server, and can be made to fail from outside, as a disk does.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::tape::{Event, Tape};

/// The tables that every step of a payment is written to.
const TABLES: [&str; 4] = ["payments", "events", "outbox", "call_events"];

/// A ledger in a directory of its own. Clones share it; the directory goes away with the last.
#[derive(Debug, Clone)]
pub struct LedgerFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// What makes the file fail.
    fault: Mutex<Option<(Fault, SqliteConnection)>>,
}

/// How the file fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing can be written: the disk is full. SQLite undoes the transaction by itself then, and so does this.
    Full,
    /// Another process holds the write lock, for longer than the server waits.
    Locked,
}

impl LedgerFile {
    /// A ledger that is yet to be made.
    pub fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4()));
        Self(Arc::new(Shared { directory, fault: Mutex::default() }))
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.directory.join("ledger.db")
    }

    /// From now on the file cannot be written.
    pub async fn fail(&self, fault: Fault, tape: &Tape) -> anyhow::Result<()> {
        let options = SqliteConnectOptions::new().filename(self.path()).disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await.context("the ledger cannot be opened")?;
        match fault {
            Fault::Full => {
                for (table, change) in changes() {
                    let fails = format!(
                        "CREATE TRIGGER full_{table}_{change} BEFORE {change} ON {table} \
                         BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END"
                    );
                    connection.execute(fails.as_str()).await.context("the ledger cannot be made to fail")?;
                }
                tape.write(Event::LedgerFault { what: "the disk is full" });
            }
            Fault::Locked => {
                connection.execute("BEGIN IMMEDIATE").await.context("the ledger cannot be locked")?;
                tape.write(Event::LedgerFault { what: "the ledger is locked" });
            }
        }
        *self.0.fault.lock().await = Some((fault, connection));
        Ok(())
    }

    /// The file can be written again.
    pub async fn heal(&self, tape: &Tape) -> anyhow::Result<()> {
        let Some((fault, mut connection)) = self.0.fault.lock().await.take() else { return Ok(()) };
        match fault {
            Fault::Full => {
                for (table, change) in changes() {
                    let heals = format!("DROP TRIGGER full_{table}_{change}");
                    connection.execute(heals.as_str()).await.context("the ledger cannot be healed")?;
                }
            }
            Fault::Locked => drop(connection.execute("ROLLBACK").await.context("the lock cannot be freed")?),
        }
        tape.write(Event::LedgerFault { what: "the ledger can be written again" });
        connection.close().await.context("the ledger cannot be closed")
    }

    /// Keeps what is written in it as evidence.
    pub fn keep(&self, tape: &Tape) {
        for file in std::fs::read_dir(&self.0.directory).into_iter().flatten().flatten() {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            tape.keep("a file of the ledger", String::from_utf8_lossy(&bytes));
        }
    }
}

fn changes() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.into_iter().flat_map(|table| ["INSERT", "UPDATE"].map(|change| (table, change)))
}

impl Drop for Shared {
    fn drop(&mut self) {
        // It is in the system's directory for such things: what cannot be removed goes away sometime.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
