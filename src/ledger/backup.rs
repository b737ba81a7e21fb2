//! A copy of the ledger, made while a server uses it: for its user alone, and without payment tokens.
//!
//! Row by row, for a copy of pages would have the tokens in it until they are taken out.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::Ledger;

/// How long the copy waits for a lock on the ledger. Beside a server that writes it needs none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("{} exists: a backup overwrites nothing", .0.display())]
    Exists(PathBuf),
    /// Another backup is being made into the same file, or one was killed.
    #[error("{} exists: if no other backup is being made, delete it and run this again", .0.display())]
    Unfinished(PathBuf),
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

/// The copy before it is whole. The file is removed when this is dropped.
#[derive(Debug)]
struct Part(PathBuf);

impl Ledger {
    /// Copies the ledger into a new file, of mode 0600 and without tokens. It is there once it is whole; until then it is
    /// `FILE.part`, which is removed if the copy fails or is dropped. No write waits for it.
    pub async fn backup(&self, file: &Path) -> Result<(), BackupError> {
        let at = |error| BackupError::File(file.to_owned(), error);
        if file.try_exists().map_err(at)? {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let part = Part::create(file)?;
        part.fill(self.path()).await?;
        part.become_whole(file).map_err(at)
    }
}

impl Part {
    fn create(file: &Path) -> Result<Self, BackupError> {
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // SQLite writes into an empty file, and leaves its mode as it is.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
            Ok(_) => Ok(Self(part)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::Unfinished(part)),
            Err(error) => Err(BackupError::File(part, error)),
        }
    }

    async fn fill(&self, ledger: &Path) -> Result<(), BackupError> {
        let at = |error| BackupError::File(self.0.clone(), error);
        let name = ledger.to_str().ok_or_else(|| at(io::ErrorKind::InvalidFilename.into()))?;
        let mut copy = options(&self.0).connect().await?;
        sqlx::query("ATTACH DATABASE ? AS ledger").bind(name).execute(&mut copy).await?;
        copy_all(&mut copy).await?;
        let findings: Vec<String> = sqlx::query_scalar("PRAGMA main.integrity_check(1)").fetch_all(&mut copy).await?;
        copy.close().await?;
        match &findings[..] {
            [fine] if fine == "ok" => {}
            _ => return Err(BackupError::Damaged(findings.join("; "))),
        }
        File::open(&self.0).and_then(|file| file.sync_all()).map_err(at)
    }

    fn become_whole(self, file: &Path) -> io::Result<()> {
        std::fs::rename(&self.0, file)?;
        // Another backup may make a file of this name from now on.
        std::mem::forget(self);
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Copies the schema and the rows of `ledger` into `main`, as they are at one moment.
async fn copy_all(copy: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // It reads from the ledger and writes into the copy alone, so it takes no lock that keeps a writer waiting.
    sqlx::query("BEGIN").execute(&mut *copy).await?;
    let schema: Vec<(bool, String, String)> = sqlx::query_as(
        "SELECT type = 'table', name, sql FROM ledger.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY rowid",
    )
    .fetch_all(&mut *copy)
    .await?;
    let (tables, others): (Vec<_>, Vec<_>) = schema.into_iter().partition(|(is_table, ..)| *is_table);
    for (_, table, sql) in &tables {
        sqlx::query(sql).execute(&mut *copy).await?;
        copy_rows(copy, table).await?;
    }
    // SQLite has made it with the tables, and counted in it. Without it a number could be given twice.
    let sequence = "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE name = 'sqlite_sequence')";
    if sqlx::query_scalar(sequence).fetch_one(&mut *copy).await? {
        sqlx::query("DELETE FROM main.sqlite_sequence").execute(&mut *copy).await?;
        copy_rows(copy, "sqlite_sequence").await?;
    }
    for (.., sql) in &others {
        sqlx::query(sql).execute(&mut *copy).await?;
    }
    sqlx::query("COMMIT").execute(&mut *copy).await?;
    Ok(())
}

async fn copy_rows(copy: &mut SqliteConnection, table: &str) -> Result<(), sqlx::Error> {
    let columns = "SELECT name FROM pragma_table_info(?, 'ledger') ORDER BY cid";
    let columns: Vec<String> = sqlx::query_scalar(columns).bind(table).fetch_all(&mut *copy).await?;
    let quoted: Vec<_> = columns.iter().map(|column| quote(column)).collect();
    let values: Vec<_> =
        columns.iter().zip(&quoted).map(|(column, quoted)| value_in_copy(table, column).unwrap_or(quoted)).collect();
    let (table, columns, values) = (quote(table), quoted.join(", "), values.join(", "));
    let insert = format!("INSERT INTO main.{table} ({columns}) SELECT {values} FROM ledger.{table} ORDER BY rowid");
    sqlx::query(&insert).execute(copy).await?;
    Ok(())
}

/// What stands in a column of the copy instead of what the ledger has there, as SQL.
fn value_in_copy(table: &str, column: &str) -> Option<&'static str> {
    match (table, column) {
        // An event on its way to the business has none: it is put in when it is sent.
        ("payments", "token") | ("lease", "born") => Some("NULL"),
        // The server of the ledger may still run. One that is started on the copy is refused, unless it takes over.
        ("lease", "owner") => Some("'backup'"),
        ("lease", "inode") => Some("0"),
        _ => None,
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn options(copy: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(copy)
        .create_if_missing(false)
        // A copy that fails is removed: it needs no journal beside it.
        .journal_mode(SqliteJournalMode::Memory)
        // A table may be filled before one that it refers to.
        .foreign_keys(false)
        .busy_timeout(PATIENCE)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}
