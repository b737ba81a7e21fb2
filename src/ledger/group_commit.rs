//! Records that wait for the write lock together share one transaction: to begin it and to commit it, which waits for the
//! disk, costs more than they do.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::write_buffer::{BATCH, BufferedRecord, LOCK_TIMEOUT};
use super::{Ledger, LedgerError, LedgerTransaction, RecordOutcome};

/// The records that wait for the write lock, oldest first.
#[derive(Default)]
pub(super) struct WaitingRecords(Mutex<VecDeque<WaitingRecord>>);

/// A record, and whoever waits for it. Dropped without an answer if its group could not be written.
struct WaitingRecord {
    entry: BufferedRecord,
    written: oneshot::Sender<RecordOutcome>,
}

impl WaitingRecords {
    fn add(&self, entry: BufferedRecord) -> oneshot::Receiver<RecordOutcome> {
        let (written, outcome) = oneshot::channel();
        self.lock().push_back(WaitingRecord { entry, written });
        outcome
    }

    /// Takes the oldest that somebody waits for.
    fn take_group(&self) -> Vec<WaitingRecord> {
        let mut waiting = self.lock();
        waiting.retain(|record| !record.written.is_closed());
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<WaitingRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Writes a record with all others that wait meanwhile. Whoever gets the write lock writes for the others. If a group
    /// cannot be written each of its records is written alone, so that none suffers from another.
    ///
    /// PostgreSQL takes several writes at a time, and groups their commits itself.
    pub(super) async fn write_in_group(
        &self,
        entry: &BufferedRecord,
        patience: Duration,
    ) -> Result<RecordOutcome, LedgerError> {
        if self.0.database.is_remote() {
            if self.is_blocked(entry).await? {
                return Err(LedgerError::Busy);
            }
            return self.write_alone(entry, patience).await;
        }
        let until = Instant::now() + patience;
        let mut outcome = self.0.waiting_records.add(entry.clone());
        let turn = tokio::select! {
            biased;
            written = &mut outcome => return self.finish_in_group(written.ok(), entry, until).await,
            turn = self.0.writer.lock(until) => turn,
        };
        let turn = self.track_begin(turn, LOCK_TIMEOUT)?;
        // It may have been written in the moment in which the lock was released.
        match outcome.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) => {}
            written => {
                drop(turn);
                return self.finish_in_group(written.ok(), entry, until).await;
            }
        }
        let begun = self.begin_holding(turn, until, LOCK_TIMEOUT).await;
        if let Some(writing) = self.track_begin(begun, LOCK_TIMEOUT)? {
            write_group(writing, self.0.waiting_records.take_group()).await;
        }
        self.finish_in_group(outcome.try_recv().ok(), entry, until).await
    }

    /// Returns the outcome of a record, or writes it alone.
    async fn finish_in_group(
        &self,
        written: Option<RecordOutcome>,
        entry: &BufferedRecord,
        until: Instant,
    ) -> Result<RecordOutcome, LedgerError> {
        match written {
            Some(outcome) => Ok(outcome),
            None => self.write_alone(entry, until.saturating_duration_since(Instant::now())).await,
        }
    }

    async fn write_alone(&self, entry: &BufferedRecord, patience: Duration) -> Result<RecordOutcome, LedgerError> {
        let mut writing = self.begin_write_within(patience, LOCK_TIMEOUT).await?;
        let recorded = self.track_write_error(writing.apply_record(entry).await)?;
        writing.commit_record(entry).await?;
        Ok(recorded)
    }
}

/// Writes a group, and answers those who wait once it is committed. Answers nobody if any of it cannot be written.
async fn write_group(mut writing: LedgerTransaction, group: Vec<WaitingRecord>) {
    let mut outcomes = Vec::with_capacity(group.len());
    for record in &group {
        match writing.apply_record(&record.entry).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(_) => return,
        }
    }
    if writing.commit().await.is_ok() {
        for (record, outcome) in group.into_iter().zip(outcomes) {
            // Who has left meanwhile has buffered the record, and it changes nothing again.
            let _ = record.written.send(outcome);
        }
    }
}

/// Shows the number of records, not their content.
impl fmt::Debug for WaitingRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitingRecords({})", self.lock().len())
    }
}
