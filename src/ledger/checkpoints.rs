//! Keeps SQLite's write-ahead log small, and without what was erased. PostgreSQL looks after its own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::connection::{BUSY_TIMEOUT, WriteLock};
use super::database::SqliteFile;
use super::maintenance::{TICK_INTERVAL, delayed_interval};
use super::{Ledger, LedgerError};

/// A checkpoint follows the last one after this many transactions or this much time. A transaction writes about ten
/// pages of 4 KiB.
const COMMITS: u32 = 250;
const INTERVAL: Duration = Duration::from_secs(60);

impl Ledger {
    /// Runs checkpoints. Returns at once if the ledger is not in a file.
    pub(super) async fn run_checkpoints(&self) {
        let Some(file) = self.0.database.file() else { return };
        let mut tick = delayed_interval(TICK_INTERVAL);
        let mut last = Instant::now();
        loop {
            tick.tick().await;
            let is_due = self.0.commits.load(Ordering::Relaxed) >= COMMITS || last.elapsed() >= INTERVAL;
            if is_due {
                last = Instant::now();
            }
            if let Err(error) = self.checkpoint_if(is_due, file).await {
                warn!(event = "ledger.checkpoint_failed", %error, "The write-ahead log of the ledger could not be checkpointed.");
            }
        }
    }

    async fn checkpoint_if(&self, is_due: bool, file: &SqliteFile) -> Result<(), LedgerError> {
        if is_due {
            self.copy_wal(file).await?;
        }
        self.wipe_erased().await
    }

    /// Empties the write-ahead log if data was erased, since it contains the old pages. This fails while a reader needs
    /// them, and has to be repeated. Does nothing if the ledger is not in a file.
    pub async fn wipe_erased(&self) -> Result<(), LedgerError> {
        let Some(file) = self.0.database.file().filter(|_| self.is_wipe_pending()) else { return Ok(()) };
        // Read before: an erasure in the meantime needs another run.
        let erased = self.0.erasures.count();
        if self.empty_wal(file).await? {
            self.0.erasures.set_wiped(erased);
        }
        Ok(())
    }

    /// Whether erased data may still be in the write-ahead log.
    pub fn is_wipe_pending(&self) -> bool {
        self.0.database.file().is_some() && self.0.erasures.is_wipe_pending()
    }

    /// Copies the write-ahead log into the file. Returns whether all of it was copied: the next write then begins the log
    /// anew. A server that is busy always writes while it is copied, so other writes wait while the last pages are, and as
    /// long as the lock is kept that this returns.
    pub(super) async fn copy_wal(&self, file: &SqliteFile) -> Result<(bool, WriteLock), LedgerError> {
        self.checkpoint_passive(file).await?;
        let turn = self.0.writer.lock(Instant::now() + BUSY_TIMEOUT).await?;
        Ok((self.checkpoint_passive(file).await?, turn))
    }

    /// Copies the write-ahead log into the file, and empties it. Returns whether it is empty: not while somebody reads.
    pub(super) async fn empty_wal(&self, file: &SqliteFile) -> Result<bool, LedgerError> {
        let (is_copied, _turn) = self.copy_wal(file).await?;
        Ok(is_copied && self.truncate_wal(file).await?)
    }

    /// Copies a write-ahead log that was deleted while it was open.
    pub(super) async fn rescue_wal(&self, file: &SqliteFile) -> Result<(), LedgerError> {
        self.checkpoint_passive(file).await.map(drop)
    }

    /// Copies the write-ahead log into the file, without blocking readers or writers. Returns whether all of it was
    /// copied.
    async fn checkpoint_passive(&self, file: &SqliteFile) -> Result<bool, LedgerError> {
        self.0.commits.store(0, Ordering::Relaxed);
        let (busy, pages, copied) = self.run_checkpoint("PRAGMA wal_checkpoint(PASSIVE)", file).await?;
        Ok(busy == 0 && pages == copied)
    }

    /// Empties the write-ahead log, unless a reader or a writer is active. Returns whether it is empty. Other writes
    /// wait meanwhile, so there must be little to copy.
    async fn truncate_wal(&self, file: &SqliteFile) -> Result<bool, LedgerError> {
        let (busy, ..) = self.run_checkpoint("PRAGMA wal_checkpoint(TRUNCATE)", file).await?;
        Ok(busy == 0)
    }

    async fn run_checkpoint(&self, pragma: &'static str, file: &SqliteFile) -> Result<(i64, i64, i64), LedgerError> {
        let mut slot = self.0.checkpointer.lock().await;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => file.connect(Duration::ZERO).await?,
        };
        let done = sqlx::query_as(pragma).fetch_one(&mut connection).await?;
        *slot = Some(connection);
        Ok(done)
    }
}
