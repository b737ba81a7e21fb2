//! A copy of the ledger, made while a server uses it: for its user alone, and without payment tokens.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::Ledger;

/// How long the copy waits for a writer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("{} exists: a backup overwrites nothing", .0.display())]
    Exists(PathBuf),
    /// The file.
    #[error("{} cannot be written", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// SQLite.
    #[error("the ledger cannot be copied")]
    Database(#[from] sqlx::Error),
    /// The copy is not sound: so is, most likely, the ledger.
    #[error("the copy is damaged ({0}): check the ledger itself with `PRAGMA integrity_check`")]
    Damaged(String),
}

impl Ledger {
    /// Copies the ledger into a new file, of mode 0600 and without tokens. It is there once it is whole; until then it is
    /// `FILE.part`.
    pub async fn backup(&self, file: &Path) -> Result<(), BackupError> {
        let at = |error| BackupError::File(file.to_owned(), error);
        if file.try_exists().map_err(at)? {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let copied = self.copy_to(&part).await;
        let moved = copied.and_then(|()| std::fs::rename(&part, file).map_err(at));
        if moved.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        moved?;
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(at)
    }

    async fn copy_to(&self, part: &Path) -> Result<(), BackupError> {
        let at = |error| BackupError::File(part.to_owned(), error);
        match std::fs::remove_file(part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
        // SQLite writes into an empty file, and leaves its mode as it is.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).map_err(at)?;
        let name = part.to_str().ok_or_else(|| at(io::Error::from(io::ErrorKind::InvalidFilename)))?;
        let mut ledger = options(self.path()).connect().await?;
        sqlx::query("VACUUM INTO ?").bind(name).execute(&mut ledger).await?;
        ledger.close().await?;
        strip(part).await?;
        File::open(part).and_then(|file| file.sync_all()).map_err(at)
    }
}

/// Takes out what belongs in no copy, and checks the rest.
async fn strip(copy: &Path) -> Result<(), BackupError> {
    // No page with a token is written to another file.
    let mut copy = options(copy).journal_mode(SqliteJournalMode::Memory).connect().await?;
    sqlx::query("UPDATE payments SET token = NULL WHERE token IS NOT NULL").execute(&mut copy).await?;
    // No server works on the copy. A ledger of an older version has no lease.
    let lease = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'lease')";
    if sqlx::query_scalar(lease).fetch_one(&mut copy).await? {
        sqlx::query("UPDATE lease SET owner = NULL").execute(&mut copy).await?;
    }
    let findings: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_all(&mut copy).await?;
    copy.close().await?;
    match &findings[..] {
        [fine] if fine == "ok" => Ok(()),
        _ => Err(BackupError::Damaged(findings.join("; "))),
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(PATIENCE)
        // While it copies SQLite moves rows, and leaves them behind in free parts of pages without this.
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}
