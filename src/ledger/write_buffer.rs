//! Buffers records in memory while the ledger cannot be written. They are written in order, before anything else.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::error;
use uuid::Uuid;

use super::connection::{BUSY_TIMEOUT, CommitFate, TransactionId, WriteLock};
use super::velocity::AppliedLimits;
use super::{
    CallData, CallEnd, Ledger, LedgerError, LedgerTransaction, OrphanedPayment, ReceiptReport, RecordOutcome, call_end,
    call_stages, callbacks, orders, outbound_rules, receipts, recordings, recovery, requests,
};
use crate::call_stage::CallStage;
use crate::calling_rules::CallConsent;
use crate::ids::CallSid;
use crate::payment::{
    ConsentRecord, CreatePayment, NoticeKind, PaymentCallback, PaymentId, SpokenStatement, TwilioResponse,
    UpdatePayment,
};
use crate::recording::{RecordingAnswer, RecordingStep};

/// The maximum number of buffered records. A payment has about ten.
pub(super) const MAX_BUFFERED: usize = 4_096;

/// The maximum number of records that are written in one transaction.
pub(super) const BATCH: usize = 64;

/// How long a buffered record is left alone that another session keeps locked.
const BLOCKED_PAUSE: Duration = Duration::from_secs(1);

/// How long a record waits for a lock of another process, or for anything during a fault: Twilio waits for the
/// response. For other writes of this process it waits longer, since a buffered record is lost in a crash.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// A fact that has to be recorded whatever the limits say.
pub(super) enum LedgerRecord {
    /// A status callback.
    Callback(Box<PaymentCallback>),
    /// Twilio's response to a request to create a session.
    CreateResponse(Box<CreatePayment>, TwilioResponse),
    /// A request to cancel a session.
    CancelRequest(CallData, Box<UpdatePayment>),
    /// Twilio's response to an update.
    UpdateResponse(Box<UpdatePayment>, TwilioResponse),
    /// The caller's answer to a statement of the server.
    Statement(CallSid, Box<ConsentRecord>),
    /// The result of an attempt to send a receipt.
    Receipt(ReceiptReport),
    /// The caller has heard a notice.
    Notice(CallSid, NoticeKind, Box<SpokenStatement>),
    /// The consent on which a call was placed.
    CallConsent(CallSid, Box<CallConsent>),
    /// How a step of the recording of a call ended.
    RecordingStep(CallSid, RecordingStep, RecordingAnswer),
    /// The call has ended.
    CallEnded(CallData),
    /// The call has ended, and the business is to know it; with the id of that event.
    CallEndReport(Box<CallEnd>, Uuid),
    /// The call has reached a stage, or begins anew.
    CallStage(CallSid, Option<CallStage>),
    /// The recovery of an orphaned payment is finished.
    RecoveryFinished(Box<OrphanedPayment>),
}

impl LedgerRecord {
    fn call(&self) -> RecordCall<'_> {
        match self {
            Self::Callback(status) => RecordCall::Sid(&status.call_sid),
            Self::CreateResponse(create, _) => RecordCall::OfPayment(create.id),
            Self::UpdateResponse(update, _) => RecordCall::OfPayment(update.id),
            Self::Receipt(report) => RecordCall::OfPayment(report.payment),
            Self::CancelRequest(call, _) | Self::CallEnded(call) => RecordCall::Sid(&call.call_sid),
            Self::Statement(call, _)
            | Self::Notice(call, ..)
            | Self::CallConsent(call, _)
            | Self::RecordingStep(call, ..)
            | Self::CallStage(call, _) => RecordCall::Sid(call),
            Self::CallEndReport(end, _) => RecordCall::Sid(&end.call.call_sid),
            Self::RecoveryFinished(left) => RecordCall::Sid(&left.call.call_sid),
        }
    }

    /// The kind of record and its SID or idempotency key, for the log.
    fn subject(&self) -> (&'static str, &str) {
        match self {
            Self::Callback(status) => ("callback", status.payment_sid.as_str()),
            Self::CreateResponse(create, _) => ("create_response", create.idempotency_key.as_str()),
            Self::CancelRequest(_, update) => ("cancel_request", update.payment_sid.as_str()),
            Self::UpdateResponse(update, _) => ("update_response", update.payment_sid.as_str()),
            Self::Receipt(_) => ("receipt", ""),
            Self::Statement(call, _) => ("statement", call.as_str()),
            Self::Notice(call, ..) => ("notice", call.as_str()),
            Self::CallConsent(call, _) => ("call_consent", call.as_str()),
            Self::RecordingStep(call, ..) => ("recording_step", call.as_str()),
            Self::CallEnded(call) => ("call_ended", call.call_sid.as_str()),
            Self::CallEndReport(end, _) => ("call_end_report", end.call.call_sid.as_str()),
            Self::CallStage(call, _) => ("call_stage", call.as_str()),
            Self::RecoveryFinished(left) => ("recovery_finished", left.call.call_sid.as_str()),
        }
    }
}

/// The call of a record.
enum RecordCall<'a> {
    Sid(&'a CallSid),
    OfPayment(PaymentId),
}

/// The buffered records.
#[derive(Default)]
pub(super) struct WriteBuffer {
    records: Mutex<VecDeque<BufferedRecord>>,
    /// The calls with a record that another session kept locked, until when they are left alone. Held by whoever writes the
    /// records.
    blocked: tokio::sync::Mutex<HashMap<String, Instant>>,
}

/// A record, and what counted when the fact happened.
#[derive(Clone)]
pub(super) struct BufferedRecord {
    /// When the fact happened.
    happened_at: Timestamp,
    /// The limits that applied then.
    limits: AppliedLimits,
    record: Arc<LedgerRecord>,
    /// The transaction of PostgreSQL that is to write it. Set while its end is not known.
    transaction: Arc<Mutex<Option<TransactionId>>>,
}

impl BufferedRecord {
    fn transaction(&self) -> MutexGuard<'_, Option<TransactionId>> {
        self.transaction.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteBuffer {
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Adds a record. Returns `false` if the buffer is full.
    fn push(&self, entry: BufferedRecord) -> bool {
        let mut queue = self.lock();
        let has_room = queue.len() < MAX_BUFFERED;
        if has_room {
            queue.push_back(entry);
        }
        has_room
    }

    /// The oldest records. Only who holds the write lock of SQLite, or `blocked` with PostgreSQL, may read and remove them.
    fn oldest(&self, count: usize) -> Vec<BufferedRecord> {
        self.lock().iter().take(count).cloned().collect()
    }

    fn remove_oldest(&self, count: usize) {
        self.lock().drain(..count);
    }

    fn remove_entry(&self, entry: &BufferedRecord) {
        self.lock().retain(|other| !Arc::ptr_eq(&other.record, &entry.record));
    }

    fn remove(&self, at: usize) {
        self.lock().remove(at);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<BufferedRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Writes a record, or buffers it until it can be written. Fails if the buffer is full, or if the record can never
    /// be written.
    pub(super) async fn write_or_buffer(&self, record: LedgerRecord) -> Result<RecordOutcome, LedgerError> {
        let entry = BufferedRecord {
            happened_at: Timestamp::now(),
            limits: self.1.clone(),
            record: Arc::new(record),
            transaction: Arc::default(),
        };
        let patience =
            if self.0.write_buffer.count() > 0 || self.0.faults.is_unwritable() { LOCK_TIMEOUT } else { BUSY_TIMEOUT };
        let write = Box::pin(self.write_in_group(&entry, patience));
        let written = timeout(patience + LOCK_TIMEOUT, write).await;
        let written = written.unwrap_or_else(|_| {
            let late = Err(LedgerError::Busy);
            // PostgreSQL may wait for what another session keeps locked. If it does not answer at all, that is noticed anyway.
            if self.0.database.is_remote() { late } else { self.track_write_error(late) }
        });
        match written {
            Err(error) if error.is_transient() && self.0.write_buffer.push(entry) => Ok(RecordOutcome::Buffered),
            done => done,
        }
    }

    /// Writes the buffered records in order. Returns `None` if the write lock was released over a record that can never
    /// be written.
    pub(super) async fn flush_buffer(
        &self,
        mut turn: WriteLock,
        until: Instant,
    ) -> Result<Option<WriteLock>, LedgerError> {
        loop {
            let entries = self.0.write_buffer.oldest(BATCH);
            if entries.is_empty() {
                return Ok(Some(turn));
            }
            let mut writing = self.begin(turn, until).await?;
            for (at, entry) in entries.iter().enumerate() {
                match writing.apply_record(entry).await {
                    Ok(_) => {}
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => {
                        report_lost_record(entry, &error);
                        self.0.write_buffer.remove(at);
                        return Ok(None);
                    }
                }
            }
            turn = writing.commit_keeping_lock().await?;
            self.0.write_buffer.remove_oldest(entries.len());
        }
    }

    /// Writes the buffered records to PostgreSQL, each in a transaction of its own: with the locks of several, two could wait
    /// for each other. What another session keeps locked is left for a second, with all that follows about the same call.
    pub(super) async fn flush_each(&self, until: Instant) -> Result<(), LedgerError> {
        let mut blocked = timeout_at(until, self.0.write_buffer.blocked.lock()).await.map_err(|_| LedgerError::Busy)?;
        blocked.retain(|_, until| *until > Instant::now());
        for entry in self.0.write_buffer.oldest(MAX_BUFFERED) {
            if Instant::now() > until {
                return Err(LedgerError::Busy);
            }
            let call = self.find_call(&entry).await?;
            if blocked.contains_key(&call) {
                continue;
            }
            match self.flush_one(&entry, until).await {
                Ok(()) => self.0.write_buffer.remove_entry(&entry),
                Err(error) if error.is_lock_timeout() => drop(blocked.insert(call, Instant::now() + BLOCKED_PAUSE)),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    report_lost_record(&entry, &error);
                    self.0.write_buffer.remove_entry(&entry);
                }
            }
        }
        Ok(())
    }

    /// Whether a record waits for an earlier one about the same call that another session keeps locked.
    pub(super) async fn is_blocked(&self, entry: &BufferedRecord) -> Result<bool, LedgerError> {
        let is_any_blocked = !self.0.write_buffer.blocked.lock().await.is_empty();
        if !is_any_blocked || self.0.write_buffer.count() == 0 {
            return Ok(false);
        }
        let call = self.find_call(entry).await?;
        Ok(self.0.write_buffer.blocked.lock().await.contains_key(&call))
    }

    async fn flush_one(&self, entry: &BufferedRecord, until: Instant) -> Result<(), LedgerError> {
        match self.find_commit(entry, until).await {
            CommitFate::Committed => return Ok(()),
            CommitFate::RolledBack => {}
            CommitFate::InDoubt => return Err(LedgerError::Busy),
        }
        let turn = self.0.writer.lock(until).await?;
        let mut writing = self.begin(turn, until).await?;
        writing.transaction.wait_less().await?;
        writing.apply_record(entry).await?;
        writing.commit_record(entry).await.map(drop)
    }

    /// The call of a record. Empty if it is about a payment that the ledger does not know.
    async fn find_call(&self, entry: &BufferedRecord) -> Result<String, LedgerError> {
        Ok(match entry.record.call() {
            RecordCall::Sid(call) => call.to_string(),
            RecordCall::OfPayment(id) => {
                let payment = self.payment(id).await?;
                payment.map(|payment| payment.call_sid.to_string()).unwrap_or_default()
            }
        })
    }

    /// Finds out whether a record was written by a transaction whose end is not known.
    async fn find_commit(&self, entry: &BufferedRecord, until: Instant) -> CommitFate {
        let transaction = entry.transaction().clone();
        let Some(transaction) = transaction else { return CommitFate::RolledBack };
        let fate = self.0.writer.find_commit(&transaction, until).await;
        if fate == CommitFate::RolledBack {
            *entry.transaction() = None;
        }
        fate
    }

    /// Writes the buffered records before the ledger is closed, with retries until the deadline.
    pub(super) async fn flush_before_close(&self, deadline: Instant) {
        let flush = async {
            while self.0.write_buffer.count() > 0 && self.begin_write().await.is_err() {
                tokio::time::sleep(LOCK_TIMEOUT).await;
            }
        };
        let _ = timeout_at(deadline, flush).await;
        let lost = self.0.write_buffer.count();
        if lost > 0 {
            error!(
                event = "ledger.buffer_lost",
                lost, "The server stops, and buffered records that could not be written are lost."
            );
        }
    }
}

fn report_lost_record(entry: &BufferedRecord, error: &LedgerError) {
    let (kind, of) = entry.record.subject();
    error!(event = "ledger.record_lost", kind, of, %error, "A record that can never be written is dropped.");
}

impl LedgerTransaction {
    /// Commits a record. If the end of the transaction is not known, the record remembers it.
    pub(super) async fn commit_record(self, entry: &BufferedRecord) -> Result<WriteLock, LedgerError> {
        *entry.transaction() = self.transaction.id().cloned();
        let committed = self.commit_keeping_lock().await;
        if committed.as_ref().is_err_and(|error| !matches!(error, LedgerError::InDoubt(_))) {
            *entry.transaction() = None;
        }
        committed
    }

    /// Writes a record with the time and the limits of when it happened.
    pub(super) async fn apply_record(&mut self, entry: &BufferedRecord) -> Result<RecordOutcome, LedgerError> {
        self.now = entry.happened_at;
        self.ledger = Ledger(self.ledger.0.clone(), entry.limits.clone());
        match entry.record.call() {
            RecordCall::Sid(call) => self.lock_call(call).await?,
            RecordCall::OfPayment(id) => self.lock_call_of(id).await?,
        }
        match &*entry.record {
            LedgerRecord::Callback(status) => return callbacks::write_callback(self, status).await,
            LedgerRecord::CreateResponse(create, answer) => {
                requests::write_create_response(self, create, answer).await?;
            }
            LedgerRecord::CancelRequest(call, update) => requests::write_cancel_request(self, call, update).await?,
            LedgerRecord::UpdateResponse(update, answer) => {
                requests::write_update_response(self, update, answer).await?;
            }
            LedgerRecord::Receipt(report) => receipts::write_receipt_report(self, report).await?,
            LedgerRecord::Statement(call, agreed) => orders::write_statement(self, call, agreed).await?,
            LedgerRecord::Notice(call, kind, heard) => orders::write_notice(self, call, *kind, heard).await?,
            LedgerRecord::CallConsent(call, consent) => outbound_rules::write_call_consent(self, call, consent).await?,
            LedgerRecord::RecordingStep(call, step, answer) => {
                recordings::write_step(self, call, *step, Some(answer)).await?;
            }
            LedgerRecord::CallEnded(call) => drop(requests::write_call_ended(self, call).await?),
            LedgerRecord::CallEndReport(end, id) => call_end::write_call_end(self, end, *id).await?,
            LedgerRecord::CallStage(call, stage) => call_stages::write_call_stage(self, call, *stage).await?,
            LedgerRecord::RecoveryFinished(left) => recovery::write_recovery_finished(self, left).await?,
        }
        Ok(RecordOutcome::Written)
    }
}

/// Shows the number of records, not their content.
impl fmt::Debug for WriteBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteBuffer({})", self.count())
    }
}
