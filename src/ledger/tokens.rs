//! Payment tokens: kept until they are delivered or their retention ends, then erased from the file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::payment::PaymentKey;
use super::{Ledger, LedgerError, LedgerEvent, LedgerTransaction, Payment, PaymentState};
use crate::payment::PaymentId;
use crate::sealing::SealedPlace;

/// Counts erasures, and those after which the write-ahead log was emptied. An erasure is counted after its transaction
/// or within it, and the log is not emptied while a transaction is open.
#[derive(Debug)]
pub(super) struct ErasureTracker {
    erased: AtomicU64,
    wiped: AtomicU64,
}

impl Default for ErasureTracker {
    /// Begins with one erasure: data that the last server erased may still be in the log.
    fn default() -> Self {
        Self { erased: AtomicU64::new(1), wiped: AtomicU64::new(0) }
    }
}

impl ErasureTracker {
    pub(super) fn mark_erased(&self) {
        self.erased.fetch_add(1, Ordering::Release);
    }

    /// The number of erasures.
    pub(super) fn count(&self) -> u64 {
        self.erased.load(Ordering::Acquire)
    }

    /// Sets how many erasures the write-ahead log no longer has.
    pub(super) fn set_wiped(&self, count: u64) {
        self.wiped.fetch_max(count, Ordering::Release);
    }

    pub(super) fn is_wipe_pending(&self) -> bool {
        self.wiped.load(Ordering::Acquire) < self.erased.load(Ordering::Acquire)
    }
}

/// Where the token of a payment is kept.
pub(super) fn place(payment_id: &str) -> SealedPlace<'_> {
    SealedPlace { column: "payments.token", row: payment_id }
}

impl Ledger {
    /// When the newest event of a payment was recorded.
    pub async fn last_event_at(&self) -> Result<Option<Timestamp>, LedgerError> {
        let newest = sqlx::query_scalar("SELECT at FROM events ORDER BY id DESC LIMIT 1");
        let newest: Option<i64> = newest.fetch_optional(&self.0.readers).await?;
        Ok(newest.and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    /// Deletes the outcomes that were written before `before`, for a server without a webhook.
    pub async fn delete_outcomes(&self, before: Timestamp) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        sqlx::query("DELETE FROM outbox WHERE delivered_at IS NULL AND written_at < $1")
            .bind(before.as_millisecond())
            .execute(&mut writing.transaction)
            .await?;
        writing.commit().await
    }

    /// Records that the undelivered tokens of payments that ended before `before` will be erased, `retention` after
    /// that end. Returns each payment once, also across restarts.
    pub async fn mark_expiring_tokens(
        &self,
        before: Timestamp,
        retention: Duration,
    ) -> Result<Vec<PaymentId>, LedgerError> {
        let mut writing = self.begin_write().await?;
        let mut expiring = Vec::new();
        for payment in writing.find_with_token(before).await? {
            let ended = payment.ended_at.unwrap_or(writing.now);
            let at = ended.checked_add(retention).unwrap_or(Timestamp::MAX);
            // With a fixed delivery key the event is appended once.
            if writing.is_token_needed(&payment).await?
                && writing.append_event(&payment, &LedgerEvent::TokenExpiring { at }, Some("token-expires")).await?
            {
                expiring.push(payment.id);
            }
        }
        writing.commit().await?;
        Ok(expiring)
    }

    /// Erases the tokens of payments that ended before `before`, and returns the payments whose token was not
    /// delivered.
    pub async fn erase_tokens(&self, before: Timestamp) -> Result<Vec<PaymentId>, LedgerError> {
        let mut writing = self.begin_write().await?;
        let mut undelivered = Vec::new();
        for payment in writing.find_with_token(before).await? {
            if writing.erase_token(&payment).await? {
                undelivered.push(payment.id);
            }
        }
        writing.commit().await?;
        Ok(undelivered)
    }
}

impl LedgerTransaction {
    /// The payments with a token that ended before `before`. A payment that ends in the future, since the clock was set
    /// back, is not among them.
    async fn find_with_token(&mut self, before: Timestamp) -> Result<Vec<Payment>, LedgerError> {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT id FROM payments WHERE token IS NOT NULL AND ended_at < $1 ORDER BY ended_at")
                .bind(before.as_millisecond())
                .fetch_all(&mut self.transaction)
                .await?;
        let mut payments = Vec::new();
        for id in ids {
            let id = id.parse().map_err(|_| LedgerError::Unreadable("an id"))?;
            payments.extend(self.find_payment(PaymentKey::Id(id)).await?);
        }
        Ok(payments)
    }

    /// Whether the token of a payment is still to be delivered: an outcome is not delivered yet, or one will follow.
    /// That a payment is unknown is delivered without its token.
    pub(super) async fn is_token_needed(&mut self, payment: &Payment) -> Result<bool, LedgerError> {
        Ok(payment.state == PaymentState::Unknown || self.has_undelivered_outcome(payment.id).await?)
    }

    async fn has_undelivered_outcome(&mut self, id: PaymentId) -> Result<bool, LedgerError> {
        let waits = sqlx::query("SELECT 1 FROM outbox WHERE payment_id = $1 AND delivered_at IS NULL LIMIT 1");
        Ok(waits.bind(id.to_string()).fetch_optional(&mut self.transaction).await?.is_some())
    }

    /// Erases a token. Returns whether a token was erased that was not delivered. SQLite overwrites it in the file with
    /// zeros (`secure_delete`).
    pub(super) async fn erase_token(&mut self, payment: &Payment) -> Result<bool, LedgerError> {
        let erased = sqlx::query("UPDATE payments SET token = NULL WHERE id = $1 AND token IS NOT NULL")
            .bind(payment.id.to_string())
            .execute(&mut self.transaction)
            .await?;
        if erased.rows_affected() == 0 {
            return Ok(false);
        }
        let undelivered = self.is_token_needed(payment).await?;
        self.append_event(payment, &LedgerEvent::TokenErased { undelivered }, None).await?;
        self.ledger.0.erasures.mark_erased();
        Ok(undelivered)
    }
}
