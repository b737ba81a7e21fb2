//! The file of a server's ledger. It outlives the server, and faults can be injected from outside.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::create_temporary_directory;
use super::transcript::{Transcript, TranscriptEvent};

/// The mount options of a disk that can be filled.
const DISK_OPTIONS: &str = "size=2m,mode=700";

/// A ledger in a temporary directory. Clones share it; the last one removes the directory on drop.
#[derive(Debug, Clone)]
pub(super) struct LedgerFile(Arc<LedgerDirectory>);

#[derive(Debug)]
struct LedgerDirectory {
    directory: TempDir,
    /// Whether the directory is a separate small disk.
    is_disk: bool,
    /// The connection that holds the write lock.
    lock: Mutex<Option<SqliteConnection>>,
}

/// A fault of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LedgerFileFault {
    /// The disk is full. If no disk could be mounted, the file is locked instead.
    DiskFull,
    /// Another process holds the write lock, for longer than the server waits.
    Locked,
}

impl LedgerFile {
    /// Creates the directory of a ledger, on a small disk if requested and if this process may mount one.
    pub(super) fn new(small_disk: bool) -> anyhow::Result<Self> {
        let directory = create_temporary_directory()?;
        let is_disk = small_disk && mount(directory.path());
        Ok(Self(Arc::new(LedgerDirectory { directory, is_disk, lock: Mutex::default() })))
    }

    /// The path of the file.
    pub(super) fn path(&self) -> PathBuf {
        self.0.directory.path().join("ledger.db")
    }

    fn filler(&self) -> PathBuf {
        self.0.directory.path().join("filler")
    }

    /// Makes writes to the file fail from now on.
    pub(super) async fn inject_fault(&self, fault: LedgerFileFault, transcript: &Transcript) -> anyhow::Result<()> {
        if fault == LedgerFileFault::DiskFull && self.0.is_disk {
            let mut filler = std::fs::File::create(self.filler()).context("the disk cannot be filled")?;
            while filler.write(&[0; 1024]).is_ok_and(|written| written > 0) {}
            transcript.record(TranscriptEvent::LedgerFaultChanged { what: "the disk is full" });
            return Ok(());
        }
        let options = SqliteConnectOptions::new().filename(self.path()).disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await.context("the ledger cannot be opened")?;
        connection.execute("BEGIN IMMEDIATE").await.context("the ledger cannot be locked")?;
        *self.0.lock.lock().await = Some(connection);
        transcript.record(TranscriptEvent::LedgerFaultChanged { what: "another process locks it" });
        Ok(())
    }

    /// Removes the fault.
    pub(super) async fn clear_fault(&self, transcript: &Transcript) -> anyhow::Result<()> {
        let has_room = std::fs::remove_file(self.filler()).is_ok();
        let locked = self.0.lock.lock().await.take();
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
    pub(super) fn record_evidence(&self, transcript: &Transcript) {
        for file in std::fs::read_dir(self.0.directory.path()).into_iter().flatten().flatten() {
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
