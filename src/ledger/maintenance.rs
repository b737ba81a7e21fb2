//! Background maintenance of a server's ledger: writes buffered records, notices the end of a fault, and makes sure that a
//! file is in place and that no other server has taken it.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tracing::warn;

use super::database::{FileIdentity, SqliteFile};
use super::{FileClaim, Ledger, LedgerError};

/// How often buffered records are retried, and the end of a write fault is detected.
pub(super) const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// How often the lease is renewed, and the file checked.
const RENEW_INTERVAL: Duration = Duration::from_secs(1);

/// How often is deleted what says how writes ended, and what is deleted then: what an outage of a day may still need is kept.
const FORGET_INTERVAL: Duration = Duration::from_secs(600);
const FORGET_COMMITS: &str =
    "DELETE FROM commits WHERE at < CAST(EXTRACT(EPOCH FROM now()) * 1000 AS BIGINT) - 86400000";

impl Ledger {
    /// Maintains the ledger. Never returns.
    pub async fn maintain(&self) {
        tokio::join!(self.flush_and_renew(), self.run_checkpoints());
    }

    async fn flush_and_renew(&self) {
        let mut tick = delayed_interval(TICK_INTERVAL);
        let mut beaten: Option<Instant> = None;
        let mut log = None;
        let mut forgotten: Option<Instant> = None;
        loop {
            tick.tick().await;
            let is_due = beaten.is_none_or(|beaten| beaten.elapsed() >= RENEW_INTERVAL);
            if is_due {
                beaten = Some(Instant::now());
                if let Some(file) = self.0.database.file() {
                    self.check_file(file, &mut log).await;
                }
            }
            // A failed write is registered where it happens.
            let has_to_write = is_due || self.0.write_buffer.count() > 0 || self.0.faults.is_unwritable();
            if has_to_write && self.renew_lease().await.is_ok() && self.0.faults.clear_unwritable() {
                // The buffered records are written by now, and their outcomes were not delivered during the fault.
                self.0.outcome_written.notify_one();
            }
            let is_to_forget = forgotten.is_none_or(|forgotten| forgotten.elapsed() >= FORGET_INTERVAL);
            if self.0.database.is_remote() && is_to_forget && !self.0.faults.is_unwritable() {
                forgotten = Some(Instant::now());
                let _ = self.forget_commits().await;
            }
        }
    }

    async fn check_file(&self, file: &SqliteFile, log: &mut Option<FileIdentity>) {
        let is_log_gone = is_wal_gone(file, log);
        self.0.faults.set_file_gone(is_log_gone || !file.is_at_path());
        if is_log_gone && let Err(error) = self.rescue_wal(file).await {
            warn!(event = "ledger.wal_rescue_failed", %error, "The deleted write-ahead log could not be copied into the file yet.");
        }
    }

    /// Writes the buffered records and renews the lease of a file.
    async fn renew_lease(&self) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.transaction.set_repeatable();
        if let FileClaim::Server(lease, _) = &self.0.claim {
            self.track_write_error(lease.renew(&mut writing.transaction).await.map_err(LedgerError::from))?;
        }
        writing.commit().await
    }

    /// Deletes what says how writes ended that nobody asks about any more.
    async fn forget_commits(&self) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.transaction.set_repeatable();
        sqlx::query(FORGET_COMMITS).execute(&mut writing.transaction).await?;
        writing.commit().await
    }
}

/// Whether the write-ahead log that this server writes to is no longer at its path. Commits are then lost in a crash, unless
/// they were copied into the file. SQLite deletes a log only when no connection has it open.
fn is_wal_gone(file: &SqliteFile, known: &mut Option<FileIdentity>) -> bool {
    let log = file.wal_identity();
    let is_gone = *known != log && known.is_some_and(FileIdentity::is_open_in_process);
    if !is_gone {
        *known = log;
    }
    file.set_wal_gone(is_gone);
    is_gone
}

pub(super) fn delayed_interval(every: Duration) -> Interval {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
