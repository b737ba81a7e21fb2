//! Payment tokens, which are kept only until they are delivered, and then gone from the file.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::payment::Find;
use super::{Error, Event, Ledger, Payment, Writing};

impl Ledger {
    /// Forgets outcomes that nobody asks for, where there is nobody to deliver them to: those written before then.
    pub async fn drop_outcomes(&self, before: Timestamp) -> Result<(), Error> {
        let mut writing = self.write().await?;
        sqlx::query("DELETE FROM outbox WHERE delivered_at IS NULL AND written_at < ?")
            .bind(before.as_millisecond())
            .execute(&mut *writing.transaction)
            .await?;
        writing.commit().await
    }

    /// Erases the tokens of payments that ended before then, unless they wait for their delivery.
    pub async fn erase_tokens(&self, before: Timestamp) -> Result<(), Error> {
        let mut writing = self.write().await?;
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM payments WHERE token IS NOT NULL AND ended_at < ? \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE payment_id = payments.id AND delivered_at IS NULL)",
        )
        .bind(before.as_millisecond())
        .fetch_all(&mut *writing.transaction)
        .await?;
        for id in ids {
            let id = id.parse().map_err(|_| Error::Unreadable("an id"))?;
            if let Some(payment) = writing.find(Find::Id(id)).await? {
                writing.erase_token(&payment).await?;
            }
        }
        writing.commit().await
    }

    /// Empties the write-ahead log if a token was erased, for its pages are there as they were before. As long as a reader needs
    /// them that cannot be done, and has to be tried again.
    pub async fn wipe_erased(&self) -> Result<(), Error> {
        if self.0.to_be_wiped.load(Ordering::Acquire) { self.wipe().await } else { Ok(()) }
    }

    /// No write waits for it longer than it takes to copy the pages of one.
    pub(super) async fn wipe(&self) -> Result<(), Error> {
        // Before: what is erased meanwhile needs another time.
        self.0.to_be_wiped.store(false, Ordering::Release);
        let wiped = self.empty_log().await;
        if !matches!(wiped, Ok(true)) {
            self.0.to_be_wiped.store(true, Ordering::Release);
        }
        wiped.map(drop)
    }

    async fn empty_log(&self) -> Result<bool, Error> {
        Ok(self.copy_back().await? && self.truncate().await?)
    }
}

impl Writing {
    /// SQLite overwrites the token with zeros in the file, which is `secure_delete`.
    pub(super) async fn erase_token(&mut self, payment: &Payment) -> Result<(), Error> {
        let erased = sqlx::query("UPDATE payments SET token = NULL WHERE id = ? AND token IS NOT NULL")
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        if erased.rows_affected() > 0 {
            self.append(payment, &Event::Erased, None).await?;
            self.ledger.0.to_be_wiped.store(true, Ordering::Release);
        }
        Ok(())
    }
}
