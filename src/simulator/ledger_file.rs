//! The file of a server's ledger: it outlives the server, and can be made to fail from outside, as a disk does.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::tape::{Event, Tape};

/// How much room there is on a disk that can be filled.
const ROOM: &str = "size=2m,mode=700";

/// A ledger in a directory of its own. Clones share it; the directory goes away with the last.
#[derive(Debug, Clone)]
pub struct LedgerFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    /// The directory is a disk of its own, and a small one.
    is_disk: bool,
    /// What holds the lock.
    lock: Mutex<Option<SqliteConnection>>,
}

/// How the file fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full. Where no disk could be mounted the file is locked instead.
    Full,
    /// Another process holds the write lock, for longer than the server waits.
    Locked,
}

impl LedgerFile {
    /// A ledger that is yet to be made; on a disk that can be filled, if this process may mount one.
    pub fn new(small_disk: bool) -> Self {
        let directory = std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4()));
        let is_disk = small_disk && mount(&directory);
        Self(Arc::new(Shared { directory, is_disk, lock: Mutex::default() }))
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.directory.join("ledger.db")
    }

    fn filler(&self) -> PathBuf {
        self.0.directory.join("filler")
    }

    /// From now on the file cannot be written.
    pub async fn fail(&self, fault: Fault, tape: &Tape) -> anyhow::Result<()> {
        if fault == Fault::Full && self.0.is_disk {
            let mut filler = std::fs::File::create(self.filler()).context("the disk cannot be filled")?;
            while filler.write(&[0; 1024]).is_ok_and(|written| written > 0) {}
            tape.write(Event::LedgerFault { what: "the disk is full" });
            return Ok(());
        }
        let options = SqliteConnectOptions::new().filename(self.path()).disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await.context("the ledger cannot be opened")?;
        connection.execute("BEGIN IMMEDIATE").await.context("the ledger cannot be locked")?;
        *self.0.lock.lock().await = Some(connection);
        tape.write(Event::LedgerFault { what: "another process locks it" });
        Ok(())
    }

    /// The file can be written again.
    pub async fn heal(&self, tape: &Tape) -> anyhow::Result<()> {
        let has_room = std::fs::remove_file(self.filler()).is_ok();
        let locked = self.0.lock.lock().await.take();
        let was_locked = locked.is_some();
        if let Some(mut connection) = locked {
            connection.execute("ROLLBACK").await.context("the lock cannot be freed")?;
            connection.close().await.context("the ledger cannot be closed")?;
        }
        if has_room || was_locked {
            tape.write(Event::LedgerFault { what: "it can be written again" });
        }
        Ok(())
    }

    /// Keeps what is written in it as evidence.
    pub fn keep(&self, tape: &Tape) {
        for file in std::fs::read_dir(&self.0.directory).into_iter().flatten().flatten() {
            let bytes = std::fs::read(file.path()).unwrap_or_default();
            tape.keep("a file of the ledger", String::from_utf8_lossy(&bytes));
        }
    }
}

/// Makes a small disk of a directory: false if this process may not.
fn mount(directory: &PathBuf) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", ROOM, "tmpfs"]).arg(directory).stdout(Stdio::null()).stderr(Stdio::null());
    std::fs::create_dir(directory).is_ok() && mount.status().is_ok_and(|status| status.success())
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_disk {
            let _ = Command::new("umount").arg("-l").arg(&self.directory).status();
        }
        // It is in the system's directory for such things: what cannot be removed goes away sometime.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
