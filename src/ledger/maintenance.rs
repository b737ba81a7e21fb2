//! What a server does for its ledger all the time: shows that it lives, writes what is held, looks whether the file is still
//! there, and keeps the write-ahead log small.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::database::Identity;
use super::{Error, Ledger};

/// How often it is tried to write what is held, and how soon it is noticed that writes work again.
const TICK: Duration = Duration::from_millis(250);

/// How often the lease is renewed and the file looked at.
const BEAT: Duration = Duration::from_secs(1);

/// So many transactions after a checkpoint, or so long, there is another. A transaction writes some ten pages of 4 KiB.
const COMMITS: u32 = 250;
const LONGEST: Duration = Duration::from_secs(60);

impl Ledger {
    /// Keeps the ledger well, for ever.
    pub async fn maintain(&self) {
        tokio::join!(self.keep_writing(), self.keep_small());
    }

    async fn keep_writing(&self) {
        let mut tick = ticking(TICK);
        let mut beaten: Option<Instant> = None;
        let mut log = None;
        loop {
            tick.tick().await;
            let is_due = beaten.is_none_or(|beaten| beaten.elapsed() >= BEAT);
            if is_due {
                beaten = Some(Instant::now());
                let is_log_gone = self.is_log_gone(&mut log);
                self.0.faults.note_file(is_log_gone || !self.0.database.is_in_place());
                if is_log_gone && let Err(error) = self.copy_back().await {
                    warn!(event = "ledger.checkpoint_failed", %error, "What is in the deleted write-ahead log cannot be saved yet.");
                }
            }
            // A failure is noted where it happens.
            let has_to_write = is_due || self.0.held.count() > 0 || self.0.faults.is_unwritable();
            if has_to_write && self.beat().await.is_ok() && self.0.faults.note_success() {
                // What was held is written by now, and was not delivered as long as there was a fault.
                self.0.outcome_written.notify_one();
            }
        }
    }

    /// Whether the write-ahead log that this server writes to is not the one at its path. Then what it commits is lost at a crash,
    /// unless it was copied into the file. SQLite itself deletes a log only when nobody has it open.
    fn is_log_gone(&self, known: &mut Option<Identity>) -> bool {
        let log = self.0.database.log();
        let is_gone = *known != log && known.is_some_and(Identity::is_open_here);
        if !is_gone {
            *known = log;
        }
        self.0.database.note_log(is_gone);
        is_gone
    }

    /// Writes what is held, and that this server lives.
    async fn beat(&self) -> Result<(), Error> {
        let mut writing = self.write().await?;
        if let Some(lease) = &self.0.lease {
            self.note(lease.beat(&mut writing.transaction).await.map_err(Error::from))?;
        }
        writing.commit().await
    }

    async fn keep_small(&self) {
        let mut tick = ticking(TICK);
        let mut checkpoint = Instant::now();
        loop {
            tick.tick().await;
            let is_due = self.0.commits.load(Ordering::Relaxed) >= COMMITS || checkpoint.elapsed() >= LONGEST;
            if is_due {
                checkpoint = Instant::now();
            }
            if let Err(error) = self.empty_log_if(is_due).await {
                warn!(event = "ledger.checkpoint_failed", %error, "The write-ahead log of the ledger is not emptied.");
            }
        }
    }

    async fn empty_log_if(&self, is_due: bool) -> Result<(), Error> {
        if is_due {
            self.copy_back().await?;
        }
        self.wipe_erased().await
    }

    /// Copies what is in the write-ahead log into the file, beside readers and writers: whether all of it was.
    pub(super) async fn copy_back(&self) -> Result<bool, Error> {
        self.0.commits.store(0, Ordering::Relaxed);
        let (busy, pages, copied) = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)").await?;
        Ok(busy == 0 && pages == copied)
    }

    /// Empties the write-ahead log, unless a reader or a writer is busy: whether it is empty. For as long as it takes nobody
    /// else writes, so there must be little to copy.
    pub(super) async fn truncate(&self) -> Result<bool, Error> {
        let (busy, ..) = self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        Ok(busy == 0)
    }

    async fn checkpoint(&self, pragma: &'static str) -> Result<(i64, i64, i64), Error> {
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

fn ticking(every: Duration) -> tokio::time::Interval {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}
