//! Backup of the ledger while a server uses it: a copy of mode 0600 without payment tokens.
//!
//! It is copied row by row: a copy of the pages would contain the tokens until they are removed from it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};

use super::Ledger;

/// How long the backup waits for a lock on the ledger. A running server does not block it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A backup that failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target file exists. A backup overwrites nothing.
    #[error("{} exists: a backup overwrites nothing", .0.display())]
    Exists(PathBuf),
    /// `FILE.part` exists: another backup writes it, or an earlier backup was killed.
    #[error("{} exists: if no other backup is being made, delete it and run this again", .0.display())]
    Unfinished(PathBuf),
    /// The ledger is not in a file.
    #[error("the ledger is in PostgreSQL: back it up with pg_dump, or as its provider does")]
    Postgres,
    /// A file could not be read or written.
    #[error("{} cannot be written", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// SQLite reported an error.
    #[error("the ledger cannot be copied")]
    Database(#[from] sqlx::Error),
    /// The copy failed the integrity check. The ledger itself is probably damaged, too.
    #[error("the copy is damaged ({0}): check the ledger itself with `PRAGMA integrity_check`")]
    Damaged(String),
}

/// The unfinished copy, `FILE.part`. The file is removed on drop.
#[derive(Debug)]
struct PartialCopy(PathBuf);

impl Ledger {
    /// Copies the ledger into a new file of mode 0600, without tokens. The copy is `FILE.part` until it is complete;
    /// that file is removed if the copy fails or is dropped. Writers do not wait for a backup.
    pub async fn backup(&self, file: &Path) -> Result<(), BackupError> {
        let at = |error| BackupError::File(file.to_owned(), error);
        let ledger = self.0.database.file().ok_or(BackupError::Postgres)?;
        if file.try_exists().map_err(at)? {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let part = PartialCopy::create(file)?;
        part.copy_from(ledger.path()).await?;
        part.rename_to(file).map_err(at)
    }
}

impl PartialCopy {
    fn create(file: &Path) -> Result<Self, BackupError> {
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // SQLite accepts an empty file and keeps its mode.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
            Ok(_) => Ok(Self(part)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(BackupError::Unfinished(part)),
            Err(error) => Err(BackupError::File(part, error)),
        }
    }

    async fn copy_from(&self, ledger: &Path) -> Result<(), BackupError> {
        let at = |error| BackupError::File(self.0.clone(), error);
        let name = ledger.to_str().ok_or_else(|| at(io::ErrorKind::InvalidFilename.into()))?;
        let mut copy = copy_options(&self.0).connect().await?;
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

    fn rename_to(self, file: &Path) -> io::Result<()> {
        std::fs::rename(&self.0, file)?;
        // From now on the name may belong to another backup: the file must not be removed on drop.
        std::mem::forget(self);
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

impl Drop for PartialCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Copies the schema and the rows of one snapshot of `ledger` into `main`.
async fn copy_all(copy: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // The transaction only reads the ledger, so it takes no lock that blocks a writer.
    sqlx::query("BEGIN").execute(&mut *copy).await?;
    let schema: Vec<(bool, String, String)> = sqlx::query_as(
        "SELECT type = 'table', name, sql FROM ledger.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY rowid",
    )
    .fetch_all(&mut *copy)
    .await?;
    let (tables, others): (Vec<_>, Vec<_>) = schema.into_iter().partition(|(is_table, ..)| *is_table);
    for (_, table, sql) in tables {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *copy).await?;
        copy_rows(copy, &table).await?;
    }
    // SQLite has created and filled `sqlite_sequence` with the tables. Without the ledger's values a row number could
    // be assigned twice.
    let sequence = "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE name = 'sqlite_sequence')";
    if sqlx::query_scalar(sequence).fetch_one(&mut *copy).await? {
        sqlx::query("DELETE FROM main.sqlite_sequence").execute(&mut *copy).await?;
        copy_rows(copy, "sqlite_sequence").await?;
    }
    for (.., sql) in others {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *copy).await?;
    }
    sqlx::query("COMMIT").execute(&mut *copy).await?;
    Ok(())
}

async fn copy_rows(copy: &mut SqliteConnection, table: &str) -> Result<(), sqlx::Error> {
    let columns = "SELECT name FROM pragma_table_info($1, 'ledger') ORDER BY cid";
    let columns: Vec<String> = sqlx::query_scalar(columns).bind(table).fetch_all(&mut *copy).await?;
    let quoted: Vec<_> = columns.iter().map(|column| quote_identifier(column)).collect();
    let values: Vec<_> =
        columns.iter().zip(&quoted).map(|(column, quoted)| value_in_copy(table, column).unwrap_or(quoted)).collect();
    let (table, columns, values) = (quote_identifier(table), quoted.join(", "), values.join(", "));
    let insert = format!("INSERT INTO main.{table} ({columns}) SELECT {values} FROM ledger.{table} ORDER BY rowid");
    sqlx::query(AssertSqlSafe(insert)).execute(copy).await?;
    Ok(())
}

/// The SQL expression that replaces a column's value in the copy.
fn value_in_copy(table: &str, column: &str) -> Option<&'static str> {
    match (table, column) {
        // The outbox contains no tokens: they are added when an event is sent.
        ("payments", "token") | ("lease", "born") => Some("NULL"),
        // The server of the ledger may still run. A server that is started on the copy is refused, unless it takes the
        // copy over.
        ("lease", "owner") => Some("'backup'"),
        ("lease", "inode") => Some("0"),
        _ => None,
    }
}

fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn copy_options(copy: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(copy)
        .create_if_missing(false)
        // A copy that fails is removed, so it needs no journal file.
        .journal_mode(SqliteJournalMode::Memory)
        // A table may be filled before a table that it references.
        .foreign_keys(false)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}
