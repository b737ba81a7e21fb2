//! Payment tokens, which are kept until they are delivered or their retention is over, and then gone from the file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::payment::Find;
use super::{Error, Event, Ledger, Payment, State, Writing};
use crate::payment::PaymentId;

/// How often something was erased, and up to which time the write-ahead log was emptied after. Each is noted after it, or in its
/// transaction, and while one is open the log is not emptied.
#[derive(Debug)]
pub(super) struct Erasures {
    made: AtomicU64,
    wiped: AtomicU64,
}

impl Default for Erasures {
    /// What the last server erased may still stand in the log.
    fn default() -> Self {
        Self { made: AtomicU64::new(1), wiped: AtomicU64::new(0) }
    }
}

impl Erasures {
    pub(super) fn note(&self) {
        self.made.fetch_add(1, Ordering::Release);
    }

    fn are_in_log(&self) -> bool {
        self.wiped.load(Ordering::Acquire) < self.made.load(Ordering::Acquire)
    }
}

impl Ledger {
    /// Deletes the outcomes written before then, where there is no receiver.
    pub async fn drop_outcomes(&self, before: Timestamp) -> Result<(), Error> {
        let mut writing = self.write().await?;
        sqlx::query("DELETE FROM outbox WHERE delivered_at IS NULL AND written_at < ?")
            .bind(before.as_millisecond())
            .execute(&mut *writing.transaction)
            .await?;
        writing.commit().await
    }

    /// The payments that ended before then, whose token was not delivered and will be erased `retention` after their end.
    /// Each is returned once, over restarts too.
    pub async fn expiring_tokens(&self, before: Timestamp, retention: Duration) -> Result<Vec<PaymentId>, Error> {
        let mut writing = self.write().await?;
        let mut expiring = Vec::new();
        for payment in writing.with_token(before).await? {
            let ended = payment.ended_at.unwrap_or(writing.now);
            let at = ended.checked_add(retention).unwrap_or(Timestamp::MAX);
            // One delivery key: the event is appended once.
            if writing.is_token_wanted(&payment).await?
                && writing.append(&payment, &Event::TokenExpires { at }, Some("token-expires")).await?
            {
                expiring.push(payment.id);
            }
        }
        writing.commit().await?;
        Ok(expiring)
    }

    /// Erases the tokens of payments that ended before then, and returns the payments whose token was never delivered.
    pub async fn erase_tokens(&self, before: Timestamp) -> Result<Vec<PaymentId>, Error> {
        let mut writing = self.write().await?;
        let mut undelivered = Vec::new();
        for payment in writing.with_token(before).await? {
            if writing.erase_token(&payment).await? {
                undelivered.push(payment.id);
            }
        }
        writing.commit().await?;
        Ok(undelivered)
    }

    /// Empties the write-ahead log if a token was erased, for its pages are there as they were before. As long as a reader needs
    /// them that cannot be done, and has to be tried again.
    pub async fn wipe_erased(&self) -> Result<(), Error> {
        if self.is_to_be_wiped() { self.wipe().await } else { Ok(()) }
    }

    /// Whether what was erased may still stand in the write-ahead log.
    pub fn is_to_be_wiped(&self) -> bool {
        self.0.erasures.are_in_log()
    }

    /// No write waits for it longer than it takes to copy the pages of one.
    pub(super) async fn wipe(&self) -> Result<(), Error> {
        // Before: what is erased meanwhile needs another time.
        let made = self.0.erasures.made.load(Ordering::Acquire);
        if self.empty_log().await? {
            self.0.erasures.wiped.fetch_max(made, Ordering::Release);
        }
        Ok(())
    }

    async fn empty_log(&self) -> Result<bool, Error> {
        Ok(self.copy_back().await? && self.truncate().await?)
    }
}

impl Writing {
    /// The payments that ended before then and have a token. What ended in the future ended before the clock was set back.
    async fn with_token(&mut self, before: Timestamp) -> Result<Vec<Payment>, Error> {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT id FROM payments WHERE token IS NOT NULL AND ended_at < ? ORDER BY ended_at")
                .bind(before.as_millisecond())
                .fetch_all(&mut *self.transaction)
                .await?;
        let mut payments = Vec::new();
        for id in ids {
            let id = id.parse().map_err(|_| Error::Unreadable("an id"))?;
            payments.extend(self.find(Find::Id(id)).await?);
        }
        Ok(payments)
    }

    /// Whether the token of a payment is still to be delivered: an event waits, or one will come. That a payment is unknown is
    /// told without its token.
    pub(super) async fn is_token_wanted(&mut self, payment: &Payment) -> Result<bool, Error> {
        Ok(payment.state == State::Unknown || self.is_undelivered(payment.id).await?)
    }

    async fn is_undelivered(&mut self, id: PaymentId) -> Result<bool, Error> {
        let waits = "SELECT EXISTS (SELECT 1 FROM outbox WHERE payment_id = ? AND delivered_at IS NULL)";
        Ok(sqlx::query_scalar(waits).bind(id.to_string()).fetch_one(&mut *self.transaction).await?)
    }

    /// Erases a token, and returns whether one was erased that was not delivered. SQLite overwrites it with zeros in the file,
    /// which is `secure_delete`.
    pub(super) async fn erase_token(&mut self, payment: &Payment) -> Result<bool, Error> {
        let erased = sqlx::query("UPDATE payments SET token = NULL WHERE id = ? AND token IS NOT NULL")
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        if erased.rows_affected() == 0 {
            return Ok(false);
        }
        let undelivered = self.is_token_wanted(payment).await?;
        self.append(payment, &Event::Erased { undelivered }, None).await?;
        self.ledger.0.erasures.note();
        Ok(undelivered)
    }
}
