//! Background maintenance of a server's ledger: renews the lease, writes buffered records, checks that the file is in
//! place and keeps the write-ahead log small.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::connection::BUSY_TIMEOUT;
use super::database::FileIdentity;
use super::{Ledger, LedgerError};

/// How often buffered records are retried, and the end of a write fault is detected.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// How often the lease is renewed and the file checked.
const RENEW_INTERVAL: Duration = Duration::from_secs(1);

/// A checkpoint follows the last one after this many transactions or this much time. A transaction writes about ten
/// pages of 4 KiB.
const CHECKPOINT_COMMITS: u32 = 250;
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

impl Ledger {
    /// Maintains the ledger. Never returns.
    pub async fn maintain(&self) {
        tokio::join!(self.flush_and_renew(), self.run_checkpoints());
    }

    async fn flush_and_renew(&self) {
        let mut tick = delayed_interval(TICK_INTERVAL);
        let mut beaten: Option<Instant> = None;
        let mut log = None;
        loop {
            tick.tick().await;
            let is_due = beaten.is_none_or(|beaten| beaten.elapsed() >= RENEW_INTERVAL);
            if is_due {
                beaten = Some(Instant::now());
                let is_log_gone = self.is_wal_gone(&mut log);
                self.0.faults.set_file_gone(is_log_gone || !self.0.database.is_at_path());
                if is_log_gone && let Err(error) = self.checkpoint_passive().await {
                    warn!(event = "ledger.wal_rescue_failed", %error, "The deleted write-ahead log could not be copied into the file yet.");
                }
            }
            // A failed write is registered where it happens.
            let has_to_write = is_due || self.0.write_buffer.count() > 0 || self.0.faults.is_unwritable();
            if has_to_write && self.renew_lease().await.is_ok() && self.0.faults.clear_unwritable() {
                // The buffered records are written by now, and their outcomes were not delivered during the fault.
                self.0.outcome_written.notify_one();
            }
        }
    }

    /// Whether the write-ahead log that this server writes to is no longer at its path. Commits are then lost in a
    /// crash, unless they were copied into the file. SQLite deletes a log only when no connection has it open.
    fn is_wal_gone(&self, known: &mut Option<FileIdentity>) -> bool {
        let log = self.0.database.wal_identity();
        let is_gone = *known != log && known.is_some_and(FileIdentity::is_open_in_process);
        if !is_gone {
            *known = log;
        }
        self.0.database.set_wal_gone(is_gone);
        is_gone
    }

    /// Writes the buffered records and renews the lease.
    async fn renew_lease(&self) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        if let Some(lease) = &self.0.lease {
            self.track_write_error(lease.renew(&mut writing.transaction).await.map_err(LedgerError::from))?;
        }
        writing.commit().await
    }

    async fn run_checkpoints(&self) {
        let mut tick = delayed_interval(TICK_INTERVAL);
        let mut checkpoint = Instant::now();
        loop {
            tick.tick().await;
            let is_due = self.0.commits.load(Ordering::Relaxed) >= CHECKPOINT_COMMITS
                || checkpoint.elapsed() >= CHECKPOINT_INTERVAL;
            if is_due {
                checkpoint = Instant::now();
            }
            if let Err(error) = self.checkpoint_if(is_due).await {
                warn!(event = "ledger.checkpoint_failed", %error, "The write-ahead log of the ledger could not be checkpointed.");
            }
        }
    }

    async fn checkpoint_if(&self, is_due: bool) -> Result<(), LedgerError> {
        if is_due {
            self.checkpoint().await?;
        }
        self.wipe_erased().await
    }

    /// Copies the write-ahead log into the file. Returns whether all of it was copied: the next write then begins the log
    /// anew. A server that is busy always writes while it is copied, so other writes wait while the last pages are.
    pub(super) async fn checkpoint(&self) -> Result<bool, LedgerError> {
        self.checkpoint_passive().await?;
        let _turn = self.0.writer.lock(Instant::now() + BUSY_TIMEOUT).await?;
        self.checkpoint_passive().await
    }

    /// Copies the write-ahead log into the file, and empties it. Returns whether it is empty: not while somebody reads.
    /// Other writes wait while the last pages are copied.
    pub(super) async fn empty_wal(&self) -> Result<bool, LedgerError> {
        self.checkpoint_passive().await?;
        let _turn = self.0.writer.lock(Instant::now() + BUSY_TIMEOUT).await?;
        Ok(self.checkpoint_passive().await? && self.truncate_wal().await?)
    }

    /// Copies the write-ahead log into the file, without blocking readers or writers. Returns whether all of it was
    /// copied.
    async fn checkpoint_passive(&self) -> Result<bool, LedgerError> {
        self.0.commits.store(0, Ordering::Relaxed);
        let (busy, pages, copied) = self.run_checkpoint("PRAGMA wal_checkpoint(PASSIVE)").await?;
        Ok(busy == 0 && pages == copied)
    }

    /// Empties the write-ahead log, unless a reader or a writer is active. Returns whether it is empty. Other writes
    /// wait meanwhile, so there must be little to copy.
    async fn truncate_wal(&self) -> Result<bool, LedgerError> {
        let (busy, ..) = self.run_checkpoint("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        Ok(busy == 0)
    }

    async fn run_checkpoint(&self, pragma: &'static str) -> Result<(i64, i64, i64), LedgerError> {
        let mut slot = self.0.checkpointer.lock().await;
        let mut connection: SqliteConnection = match slot.take() {
            Some(connection) => connection,
            None => self.0.database.connect(Duration::ZERO).await?,
        };
        let done = sqlx::query_as(pragma).fetch_one(&mut connection).await?;
        *slot = Some(connection);
        Ok(done)
    }
}

fn delayed_interval(every: Duration) -> tokio::time::Interval {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
