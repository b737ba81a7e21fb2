//! Receipts: one text message about a payment that succeeded.
//!
//! Twilio accepts no idempotency key for a text message, so that a receipt is claimed here before it is requested. Nobody
//! sends it a second time: if the answer is missing it is `unknown`, whoever asked. Only a request that had certainly no
//! effect is repeated.

use jiff::{SignedDuration, Timestamp};

use super::payment::PaymentKey;
use super::{Ledger, LedgerError, LedgerEvent, LedgerRecord, LedgerTransaction, Payment, PaymentState};
use crate::ids::{MessageSid, PaymentSid};
use crate::payment::PaymentId;

/// How long after the submission of the payment a receipt is still sent: a message about a call of days ago is taken for
/// fraud.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

/// How long a claim lasts: longer than a request to Twilio may take with all its attempts.
const CLAIM_LENGTH: SignedDuration = SignedDuration::from_secs(60);

/// How often a receipt is tried that was certainly not sent.
const MAX_ATTEMPTS: u32 = 6;

/// The delay before the second attempt. It doubles with each.
const FIRST_DELAY: SignedDuration = SignedDuration::from_secs(30);

/// The longest list of receipts that is read at once.
const MAX_LISTED: u32 = 32;

/// Finds receipts in a state whose time has come.
pub(super) const FIND_DUE: &str =
    "SELECT payment_id FROM receipts WHERE state = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3";

/// A receipt that this process alone may send.
#[derive(Debug)]
pub(crate) struct ClaimedReceipt {
    /// The payment, which has the recipient.
    pub payment: Payment,
    /// The language of the caller, as a BCP 47 code.
    pub language: String,
    /// The number of this attempt.
    pub attempt: u32,
}

/// What a claim found.
#[derive(Debug)]
pub(crate) enum ReceiptClaim {
    /// This process alone may send the receipt.
    Claimed(Box<ClaimedReceipt>),
    /// It was closed, and is never sent.
    Closed {
        /// The payment.
        payment: PaymentId,
        /// Why.
        result: ReceiptResult,
    },
    /// There is nothing to send: none is due, or another process has it.
    NotDue,
}

/// How an attempt to send a receipt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReceiptResult {
    /// Twilio took the message.
    Sent(MessageSid),
    /// The caller's number is withheld or takes no text messages; with Twilio's error code, if it was asked.
    Impossible(Option<u32>),
    /// Nobody knows whether it was sent. It is not repeated.
    Unknown,
    /// It was certainly not sent, and is tried again.
    NotSent(Option<u32>),
    /// It is not sent, for this reason.
    Dropped(&'static str),
}

impl ReceiptResult {
    /// The state of the receipt after this attempt.
    fn state(&self, attempt: u32) -> &'static str {
        match self {
            Self::Sent(_) => "sent",
            Self::Impossible(_) => "impossible",
            Self::Unknown => "unknown",
            Self::NotSent(_) if attempt < MAX_ATTEMPTS => "due",
            Self::NotSent(_) | Self::Dropped(_) => "dropped",
        }
    }
}

/// The result of an attempt, to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct ReceiptReport {
    /// The payment.
    pub payment: PaymentId,
    /// The number of the attempt.
    pub attempt: u32,
    /// How it ended.
    pub result: ReceiptResult,
    /// The version of the text.
    pub text_version: Option<String>,
}

impl Ledger {
    /// Claims the receipt of a payment session.
    pub(crate) async fn claim_receipt_of(&self, sid: &PaymentSid) -> Result<ReceiptClaim, LedgerError> {
        match super::payment::find_payment(&self.0.readers, PaymentKey::Sid(sid)).await? {
            Some(payment) => self.claim_receipt(payment.id, Timestamp::now()).await,
            None => Ok(ReceiptClaim::NotDue),
        }
    }

    /// Claims the receipt of a payment. No other process gets it then, also if this one dies.
    pub(crate) async fn claim_receipt(&self, id: PaymentId, now: Timestamp) -> Result<ReceiptClaim, LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.lock_call_of(id).await?;
        // The clock of the server that recorded the success may be ahead.
        let claim = sqlx::query_as(
            "UPDATE receipts SET state = 'sending', attempts = attempts + 1, due_at = $1 \
             WHERE payment_id = $2 AND state = 'due' AND (due_at <= $3 OR attempts = 0) RETURNING language, attempts",
        );
        let claim = claim.bind(after(now, CLAIM_LENGTH)).bind(id.to_string()).bind(now.as_millisecond());
        let claimed: Option<(String, i64)> = claim.fetch_optional(&mut writing.transaction).await?;
        let Some((language, attempts)) = claimed else { return Ok(ReceiptClaim::NotDue) };
        let attempt = u32::try_from(attempts).unwrap_or(u32::MAX);
        let payment = writing.find_payment(PaymentKey::Id(id)).await?;
        let payment = payment.ok_or(LedgerError::Unreadable("a receipt without a payment"))?;
        if let Some(result) = find_obstacle(&payment, now) {
            let report = ReceiptReport { payment: id, attempt, result: result.clone(), text_version: None };
            write_receipt_report(&mut writing, &report).await?;
            writing.commit().await?;
            return Ok(ReceiptClaim::Closed { payment: id, result });
        }
        writing.append_event(&payment, &LedgerEvent::ReceiptRequested { attempt, language: &language }, None).await?;
        writing.commit().await?;
        Ok(ReceiptClaim::Claimed(Box::new(ClaimedReceipt { payment, language, attempt })))
    }

    /// Records the result of an attempt, or buffers it until it can be written.
    pub(crate) async fn record_receipt(&self, report: ReceiptReport) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::Receipt(report)).await.map(drop)
    }

    /// The payments whose receipts have been due since `before`.
    pub(crate) async fn due_receipts(&self, before: Timestamp) -> Result<Vec<PaymentId>, LedgerError> {
        self.find_receipts("due", before).await
    }

    /// Makes receipts unknown whose claim is over: whoever had it died, or does not know itself. At the start of a server that
    /// has a file for itself all are over. Returns their payments.
    pub(crate) async fn end_receipt_claims(
        &self,
        now: Timestamp,
        is_start: bool,
    ) -> Result<Vec<PaymentId>, LedgerError> {
        let is_alone = is_start && !self.0.database.is_remote();
        let now = if is_alone { now.saturating_add(CLAIM_LENGTH).unwrap_or(now) } else { now };
        let mut ended = Vec::new();
        for id in self.find_receipts("sending", now).await? {
            let mut writing = self.begin_write().await?;
            writing.lock_call_of(id).await?;
            let claim = sqlx::query_scalar(
                "SELECT attempts FROM receipts WHERE payment_id = $1 AND state = 'sending' AND due_at <= $2",
            );
            let claim = claim.bind(id.to_string()).bind(now.as_millisecond());
            let attempts: Option<i64> = claim.fetch_optional(&mut writing.transaction).await?;
            let Some(attempts) = attempts else { continue };
            let attempt = u32::try_from(attempts).unwrap_or(u32::MAX);
            let report = ReceiptReport { payment: id, attempt, result: ReceiptResult::Unknown, text_version: None };
            write_receipt_report(&mut writing, &report).await?;
            writing.commit().await?;
            ended.push(id);
        }
        Ok(ended)
    }

    async fn find_receipts(&self, state: &'static str, before: Timestamp) -> Result<Vec<PaymentId>, LedgerError> {
        let found = sqlx::query_scalar(FIND_DUE).bind(state).bind(before.as_millisecond()).bind(i64::from(MAX_LISTED));
        let found: Vec<String> = found.fetch_all(&self.0.readers).await?;
        found.iter().map(|id| id.parse().map_err(|_| LedgerError::Unreadable("an id"))).collect()
    }
}

/// Why the receipt of a payment is not to be sent, if it is not.
fn find_obstacle(payment: &Payment, now: Timestamp) -> Option<ReceiptResult> {
    let submitted_at = payment.submitted_at.unwrap_or(payment.opened_at);
    match payment.state {
        PaymentState::Charged | PaymentState::Tokenized if now.duration_since(submitted_at) > MAX_AGE => {
            Some(ReceiptResult::Dropped("the payment was submitted more than 24 hours ago"))
        }
        PaymentState::Charged | PaymentState::Tokenized if payment.caller.is_none() => {
            Some(ReceiptResult::Impossible(None))
        }
        PaymentState::Charged | PaymentState::Tokenized => None,
        _ => Some(ReceiptResult::Dropped("the payment is not paid any more")),
    }
}

impl LedgerTransaction {
    /// Records that the caller gets a receipt, in this language, if the submission succeeds.
    pub(super) async fn await_receipt(&mut self, payment: &Payment, language: &str) -> Result<(), LedgerError> {
        sqlx::query(
            "INSERT INTO receipts (payment_id, state, language, due_at) VALUES ($1, 'awaited', $2, $3) \
             ON CONFLICT (payment_id) DO UPDATE SET language = excluded.language WHERE receipts.state = 'awaited'",
        )
        .bind(payment.id.to_string())
        .bind(language)
        .bind(self.now.as_millisecond())
        .execute(&mut self.transaction)
        .await?;
        Ok(())
    }

    /// Makes the receipt of a payment that has succeeded due, once.
    pub(super) async fn make_receipt_due(&mut self, payment: &Payment) -> Result<(), LedgerError> {
        sqlx::query("UPDATE receipts SET state = 'due', due_at = $1 WHERE payment_id = $2 AND state = 'awaited'")
            .bind(self.now.as_millisecond())
            .bind(payment.id.to_string())
            .execute(&mut self.transaction)
            .await?;
        Ok(())
    }
}

/// Writes the result of the last attempt. A later answer replaces `unknown`.
pub(super) async fn write_receipt_report(
    writing: &mut LedgerTransaction,
    report: &ReceiptReport,
) -> Result<(), LedgerError> {
    let ReceiptReport { payment, attempt, result, text_version } = report;
    let state = result.state(*attempt);
    let delay = FIRST_DELAY * 2_i32.saturating_pow(attempt.saturating_sub(1).min(MAX_ATTEMPTS));
    let updated = sqlx::query(
        "UPDATE receipts SET state = $1, due_at = $2 WHERE payment_id = $3 AND attempts = $4 AND state IN ('sending', 'unknown')",
    )
    .bind(state)
    .bind(after(writing.now, delay))
    .bind(payment.to_string())
    .bind(i64::from(*attempt))
    .execute(&mut writing.transaction)
    .await?;
    if updated.rows_affected() == 1 {
        let event = LedgerEvent::Receipt { state, result, text_version: text_version.as_deref() };
        writing.append_event_of(&payment.to_string(), &event, None).await?;
    }
    Ok(())
}

fn after(now: Timestamp, delay: SignedDuration) -> i64 {
    now.saturating_add(delay).unwrap_or(Timestamp::MAX).as_millisecond()
}
