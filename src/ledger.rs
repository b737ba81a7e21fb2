//! The ledger of payments: a row for each payment and an append-only table of its events, in SQLite or PostgreSQL.
//!
//! Each request is recorded before it is sent to Twilio, and each callback before it is answered. The ledger does not
//! call Twilio's REST API and knows no sessions: its callers decide what is requested, and when.
//!
#![doc = include_str!("ledger/README.md")]

mod activity;
mod backup;
mod call_end;
mod call_stages;
mod callbacks;
mod calls;
mod checkpoints;
mod connection;
mod database;
mod error;
mod event;
mod event_kind;
mod fault;
mod group_commit;
mod history;
mod journal;
mod lease;
mod limited;
mod maintenance;
mod missed_callbacks;
mod orders;
mod outbound_orders;
mod outbound_rules;
mod outbox;
mod payment;
mod personal_data;
mod receipts;
mod recorded_steps;
mod recordings;
mod recovery;
mod refunds;
mod report;
mod requests;
mod sealed;
mod search;
mod servers;
#[cfg(test)]
mod tests;
mod velocity;
mod view;
mod write_buffer;
#[cfg(test)]
pub(crate) use tests::{TempDirectory, ledger_with_token};
mod settlement;
mod text;
mod tokens;
mod totals;

pub use crate::payment::{ParseStateError, PaymentState};
pub use activity::{Activity, Funnel, GUARDS};
pub use backup::BackupError;
pub use call_end::CallEnd;
pub use callbacks::RecordOutcome;
pub(crate) use calls::{CallOwner, ClaimedCall, OwnedCall, OwnerlessCall, PutAwayCall};
pub use connection::TransactionId;
pub use database::DatabaseProbe;
pub(crate) use database::is_tls_error;
pub use error::{LedgerError, OpenLedgerError, RecordRequestError, SettleError};
pub use event_kind::EventKind;
pub use fault::LedgerFault;
pub use history::{DeliveryRecord, PaymentHistory};
pub(crate) use journal::{JournalEntry, LeftCall, LeftPayment};
pub(crate) use outbound_orders::{NewOrder, StoredDocument};
pub use outbox::{Backlog, DeliverySubject, DueDelivery, MAX_RETRY_DELAY, WebhookEvent};
pub use payment::{EventRecord, Payment, PaymentFilter};
pub use personal_data::ErasureResult;
pub(crate) use receipts::{ClaimedReceipt, ReceiptClaim, ReceiptReport, ReceiptResult};
pub use recovery::OrphanedPayment;
pub use refunds::{Refund, RefundError, RefundKind};
pub use report::{PaymentsCsv, PaymentsTable};
pub use requests::CallData;
pub use search::PaymentSearch;
pub(crate) use servers::ServerRecord;
pub use settlement::{SettledOutcome, Settlement};
pub use totals::{PaymentTotal, TotalsCsv, TotalsTable};
pub use velocity::LimitExceeded;
pub use view::PaymentView;

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::AnyConnection;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;
use tracing::error;

use crate::ids::CallSid;
use crate::payment::{CardTestingPattern, PaymentId, UnknownReason};
use crate::sealing::SealingKeys;
use crate::telemetry::{Telemetry, TelemetrySlot};
use connection::{BUSY_TIMEOUT, LedgerWriter, WriteLock, WriteTransaction};
use database::Database;
use event::LedgerEvent;
use fault::FaultTracker;
use group_commit::WaitingRecords;
use lease::Lease;
use limited::Readers;
use payment::PaymentKey;
use text::storable_json;
use velocity::AppliedLimits;
use write_buffer::{LedgerRecord, WriteBuffer};

/// The ledger of this process. Clones share the database. A newly opened ledger applies no limits: see
/// [`with_limits`](Self::with_limits).
#[derive(Debug, Clone)]
pub struct Ledger(Arc<LedgerInner>, AppliedLimits);

#[derive(Debug)]
struct LedgerInner {
    database: Database,
    writer: LedgerWriter,
    readers: Readers,
    /// SQLite's connection for checkpoints. It does not wait for locks.
    checkpointer: Mutex<Option<AnyConnection>>,
    /// Transactions since the last checkpoint.
    commits: AtomicU32,
    write_buffer: WriteBuffer,
    waiting_records: WaitingRecords,
    faults: FaultTracker,
    /// It was logged that something is sealed with another key.
    has_warned_of_key: AtomicBool,
    /// Payments that an earlier server or a broken session left open, until their recovery is finished.
    recovering: watch::Sender<HashSet<(CallSid, PaymentId)>>,
    /// Notified when an outcome was written to the outbox.
    outcome_written: Notify,
    /// Tracks erased data that may still be in the write-ahead log.
    erasures: tokens::ErasureTracker,
    telemetry: TelemetrySlot,
    /// Whether payments move real money.
    live: AtomicBool,
    /// The keys of payment tokens, if they are sealed.
    sealing_keys: OnceLock<SealingKeys>,
    /// It is given up after the connections are closed.
    claim: FileClaim,
}

/// What keeps other servers from a file.
#[derive(Debug)]
enum FileClaim {
    /// Nothing: the ledger was opened for a command, or is in PostgreSQL.
    None,
    /// The lease, and the lock of the file, which ends with the process.
    Server(Lease, File),
}

impl Ledger {
    /// Sets whether payments that start from now on move real money. The default is `true`.
    pub fn set_live(&self, live: bool) {
        self.0.live.store(live, Ordering::Relaxed);
    }

    /// Seals payment tokens from now on, and opens those that these keys have sealed. Keys that were set before stay.
    pub fn set_sealing_keys(&self, keys: SealingKeys) {
        let _ = self.0.sealing_keys.set(keys);
    }

    /// Reports what is written to this hub from now on.
    pub(crate) fn set_telemetry(&self, telemetry: &Arc<Telemetry>) {
        self.0.telemetry.set(telemetry);
    }

    /// Counts a refusal of a velocity limit.
    pub(crate) fn report_limit(&self, limit: LimitExceeded) {
        self.0.telemetry.record(|telemetry| telemetry.record_velocity_limit(limit.kind()));
    }

    /// The number of records that wait in memory until the ledger can be written.
    pub(crate) fn buffered_records(&self) -> usize {
        self.0.write_buffer.count()
    }

    /// The current fault, if any.
    pub fn fault(&self) -> Option<LedgerFault> {
        self.0.faults.worst()
    }

    /// Writes the buffered records, releases the lease and closes the file.
    pub async fn close(&self) {
        self.close_by(Instant::now() + 5 * BUSY_TIMEOUT).await;
    }

    /// As [`close`](Self::close), with a time from which buffered records are no longer tried. They are lost.
    pub(crate) async fn close_by(&self, deadline: Instant) {
        self.flush_before_close(deadline).await;
        if let Err(error) = self.release_lease().await {
            error!(event = "ledger.lease_release_failed", %error, "The lease of the ledger could not be released.");
        }
        self.0.readers.pool.close().await;
        self.0.writer.close().await;
        if let Some(checkpointer) = self.0.checkpointer.lock().await.take() {
            connection::close(checkpointer).await;
        }
        if let FileClaim::Server(_, file) = &self.0.claim {
            drop(file.unlock());
        }
    }

    async fn release_lease(&self) -> Result<(), LedgerError> {
        let FileClaim::Server(lease, _) = &self.0.claim else { return Ok(()) };
        let mut writing = self.begin_write().await?;
        lease.release(&mut writing.transaction).await?;
        writing.commit().await
    }

    /// Begins a write transaction. It is rolled back if it is dropped before the commit.
    async fn begin_write(&self) -> Result<LedgerTransaction, LedgerError> {
        self.begin_write_within(BUSY_TIMEOUT, BUSY_TIMEOUT).await
    }

    /// Begins a write transaction for a request that starts, continues or submits a payment. Fails if the lease is lost
    /// or the file is gone.
    async fn begin_decision(&self) -> Result<LedgerTransaction, RecordRequestError> {
        let check = || {
            self.0
                .faults
                .fault_stopping_payments()
                .map_or(Ok(()), |fault| Err(RecordRequestError::LedgerUnavailable(fault)))
        };
        check()?;
        let writing = self.begin_write().await?;
        // The lease is checked when the transaction begins.
        check()?;
        Ok(writing)
    }

    /// Begins a write transaction within `patience`, and waits for a lock of another process no longer than `lock`. The
    /// buffered records are written first.
    async fn begin_write_within(&self, patience: Duration, lock: Duration) -> Result<LedgerTransaction, LedgerError> {
        let begun = self.begin_after_buffered(Instant::now() + patience, lock).await;
        self.track_begin(begun, lock)
    }

    /// Registers a failed begin as a fault. A busy database is none if the wait for the lock was short.
    fn track_begin<T>(&self, begun: Result<T, LedgerError>, lock: Duration) -> Result<T, LedgerError> {
        if lock < BUSY_TIMEOUT && begun.as_ref().is_err_and(LedgerError::is_busy) {
            begun
        } else {
            self.track_write_error(begun)
        }
    }

    async fn begin_after_buffered(&self, until: Instant, lock: Duration) -> Result<LedgerTransaction, LedgerError> {
        let began = Instant::now();
        if self.0.database.is_remote() && self.0.write_buffer.count() > 0 {
            Box::pin(self.flush_each(until)).await?;
        }
        loop {
            let turn = self.0.writer.lock(until).await?;
            if let Some(writing) = self.begin_holding(turn, until, lock).await? {
                return Ok(LedgerTransaction { began, ..writing });
            }
        }
    }

    /// Begins a transaction with the write lock, after the buffered records. `None` if one of them was lost, and the lock
    /// with it.
    async fn begin_holding(
        &self,
        turn: WriteLock,
        until: Instant,
        lock: Duration,
    ) -> Result<Option<LedgerTransaction>, LedgerError> {
        let until = until.min(Instant::now() + lock);
        if self.0.database.is_remote() {
            return self.begin(turn, until).await.map(Some);
        }
        match Box::pin(self.flush_buffer(turn, until)).await? {
            Some(turn) => self.begin(turn, until).await.map(Some),
            None => Ok(None),
        }
    }

    async fn begin(&self, turn: WriteLock, until: Instant) -> Result<LedgerTransaction, LedgerError> {
        let transaction = self.0.writer.begin(turn, until).await?;
        let mut writing = LedgerTransaction {
            transaction,
            now: Timestamp::now(),
            ledger: self.clone(),
            has_outcome: false,
            alerts: Vec::new(),
            began: Instant::now(),
            reached_states: Vec::new(),
        };
        if let FileClaim::Server(lease, _) = &self.0.claim
            && !lease.is_held(&mut writing.transaction).await?
        {
            self.0.faults.set_lease_lost();
        }
        Ok(writing)
    }

    /// Registers a failed write as a fault.
    fn track_write_error<T>(&self, done: Result<T, LedgerError>) -> Result<T, LedgerError> {
        done.inspect_err(|error| self.0.faults.set_unwritable(error))
    }

    fn track_refused_write<T>(&self, done: Result<T, RecordRequestError>) -> Result<T, RecordRequestError> {
        done.inspect_err(|refused| {
            if let RecordRequestError::Ledger(error) = refused {
                self.0.faults.set_unwritable(error);
            }
        })
    }
}

/// A write transaction, and the one timestamp of all that it writes.
struct LedgerTransaction {
    transaction: WriteTransaction,
    now: Timestamp,
    ledger: Ledger,
    /// Whether it adds an outcome to the outbox.
    has_outcome: bool,
    /// Alerts to log after the commit.
    alerts: Vec<Alert>,
    /// Since when it is wanted.
    began: Instant,
    /// The states that payments reach by it.
    reached_states: Vec<PaymentState>,
}

/// A condition that an operator has to act on.
#[derive(Debug)]
enum Alert {
    CardTesting {
        call: CallSid,
        pattern: CardTestingPattern,
    },
    /// Twilio reported a success that other data contradicts. The payment becomes unknown.
    DoubtfulSuccess {
        id: PaymentId,
        call: CallSid,
        doubt: UnknownReason,
    },
    /// Twilio reported a success of a payment that had already ended without one.
    LateSuccess {
        id: PaymentId,
        call: CallSid,
        before: PaymentState,
    },
}

impl Alert {
    fn log(&self) {
        match self {
            Self::CardTesting { call, pattern } => {
                error!(
                    event = "payment.card_testing", call_sid = %call, %pattern,
                    "The declines match a card-testing pattern."
                );
            }
            Self::DoubtfulSuccess { id, call, doubt } => error!(
                event = "payment.doubtful_success",
                payment_id = %id,
                call_sid = %call,
                reason = %doubt,
                "Twilio reported a success that other data contradicts: the payment is unknown until it is settled."
            ),
            Self::LateSuccess { id, call, before } => error!(
                event = "payment.late_success",
                payment_id = %id,
                call_sid = %call,
                previous_state = %before,
                "A payment succeeded after it had ended without success."
            ),
        }
    }
}

impl LedgerTransaction {
    async fn commit(self) -> Result<(), LedgerError> {
        self.commit_keeping_lock().await.map(drop)
    }

    /// Commits, and returns the write lock.
    async fn commit_keeping_lock(self) -> Result<WriteLock, LedgerError> {
        let Self { transaction, ledger, has_outcome: outcome, alerts, began, reached_states, .. } = self;
        let turn = ledger.track_write_error(transaction.commit().await)?;
        ledger.0.commits.fetch_add(1, Ordering::Relaxed);
        if outcome {
            ledger.0.outcome_written.notify_one();
        }
        alerts.iter().for_each(Alert::log);
        ledger.0.telemetry.record(|telemetry| {
            telemetry.record_ledger_write(began.elapsed());
            for state in reached_states {
                telemetry.record_payment_state(state);
            }
        });
        Ok(turn)
    }

    /// Keeps other writes about the payments of a call waiting until the transaction ends. Each write begins with it.
    async fn lock_call(&mut self, call: &CallSid) -> Result<(), LedgerError> {
        if self.transaction.is_remote() {
            self.transaction.lock(&format!("call {call}")).await?;
        }
        Ok(())
    }

    /// The same for the call of a payment, if there is such a payment.
    async fn lock_call_of(&mut self, id: PaymentId) -> Result<(), LedgerError> {
        if !self.transaction.is_remote() {
            return Ok(());
        }
        // The call of a payment never changes.
        match self.find_payment(PaymentKey::Id(id)).await? {
            Some(payment) => self.lock_call(&payment.call_sid).await,
            None => Ok(()),
        }
    }

    async fn find_payment(&mut self, which: PaymentKey<'_>) -> Result<Option<Payment>, LedgerError> {
        payment::find_payment(&mut self.transaction, which).await
    }

    /// Appends an event. Appends nothing and returns `false` if the payment already has an event with this delivery
    /// key.
    async fn append_event(
        &mut self,
        payment: &Payment,
        event: &LedgerEvent<'_>,
        delivery: Option<&str>,
    ) -> Result<bool, LedgerError> {
        self.append_event_of(&payment.id.to_string(), event, delivery).await
    }

    async fn append_event_of(
        &mut self,
        payment_id: &str,
        event: &LedgerEvent<'_>,
        delivery: Option<&str>,
    ) -> Result<bool, LedgerError> {
        let appended = sqlx::query(
            "INSERT INTO events (payment_id, at, kind, data, delivery) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(payment_id)
        .bind(self.now.as_millisecond())
        .bind(event.kind().as_str())
        .bind(storable_json(event.data()))
        .bind(delivery)
        .execute(&mut self.transaction)
        .await?;
        Ok(appended.rows_affected() == 1)
    }

    /// Changes the state of a payment if the transition is valid, and returns whether it did. A state that is reported
    /// to the business is added to the outbox in the same transaction.
    async fn advance(&mut self, payment: &mut Payment, next: PaymentState) -> Result<bool, LedgerError> {
        if !payment.state.may_become(next) {
            return Ok(false);
        }
        self.set_state(payment, next).await?;
        Ok(true)
    }

    /// Changes the state of a payment without checking the transition: for operators' corrections and contradicted
    /// successes.
    async fn set_state(&mut self, payment: &mut Payment, next: PaymentState) -> Result<(), LedgerError> {
        self.change_state(payment, next).await?;
        if next.is_reported() { self.enqueue_outcome(payment).await } else { Ok(()) }
    }

    /// Changes the state without adding it to the outbox, for a caller that adds it with more data.
    async fn change_state(&mut self, payment: &mut Payment, next: PaymentState) -> Result<(), LedgerError> {
        if payment.state != next {
            self.reached_states.push(next);
        }
        payment.state = next;
        let now = self.now.as_millisecond();
        sqlx::query(
            "UPDATE payments SET state = $1, submitted_at = coalesce($2, submitted_at), \
             ended_at = coalesce($3, ended_at) WHERE id = $4",
        )
        .bind(next.as_str())
        .bind((next == PaymentState::Submitted).then_some(now))
        .bind(next.is_reported().then_some(now))
        .bind(payment.id.to_string())
        .execute(&mut self.transaction)
        .await?;
        if next.is_reported() {
            payment.ended_at = Some(self.now);
        }
        if matches!(next, PaymentState::Charged | PaymentState::Tokenized) {
            self.make_receipt_due(payment).await?;
        }
        Ok(())
    }

    /// Adds the current state of a payment to the outbox.
    async fn enqueue_outcome(&mut self, payment: &Payment) -> Result<(), LedgerError> {
        self.has_outcome = true;
        outbox::enqueue(self, payment).await
    }
}
