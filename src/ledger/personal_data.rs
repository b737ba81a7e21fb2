//! Personal data of payments - the caller, the references, the description - and its erasure. Amounts, states and events
//! stay, and so does the hash that keeps an order from being paid twice.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::payment::Find;
use super::{Error, Event, Ledger, Writing};
use crate::phone_number::PhoneNumber;

/// How many payments are erased in one transaction: a caller may be waiting for the next.
const BATCH: u32 = 200;

/// Whether a payment has personal data, as SQL.
const HAS_ANY: &str =
    "(caller IS NOT NULL OR call_reference IS NOT NULL OR order_reference IS NOT NULL OR description IS NOT NULL)";

/// Whether a payment is over and all its events are delivered, as SQL. The others may still need what would be erased.
const IS_OVER: &str = "state NOT IN ('opened', 'capturing', 'submitted', 'pending', 'unknown') \
     AND NOT EXISTS (SELECT 1 FROM outbox WHERE payment_id = payments.id AND delivered_at IS NULL)";

/// The result of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Payments whose personal data is gone.
    pub erased: u64,
    /// Payments that keep it, since they are not over or have an event that is not delivered.
    pub left: u64,
}

impl Ledger {
    /// Erases the personal data of a caller's payments.
    pub async fn erase_caller(&self, caller: &PhoneNumber) -> Result<Erased, Error> {
        let mut erased = 0;
        loop {
            let which = format!("SELECT id FROM payments WHERE caller = ?1 AND {IS_OVER} ORDER BY seq LIMIT ?2");
            let count = self.erase(&which, caller.as_str()).await?;
            if count == 0 {
                break;
            }
            erased += count;
        }
        let left = sqlx::query_scalar("SELECT count(*) FROM payments WHERE caller = ?").bind(caller.as_str());
        let left: i64 = left.fetch_one(&self.0.readers).await?;
        // What an earlier erasure left in the write-ahead log goes as well.
        self.0.to_be_wiped.store(true, Ordering::Release);
        Ok(Erased { erased, left: left.unsigned_abs() })
    }

    /// Erases the personal data of some of the payments that were over before then, and returns how many: 0 if none is left.
    /// What ended in the future ended before the clock was set back.
    pub async fn erase_personal_data(&self, before: Timestamp) -> Result<u64, Error> {
        let which = format!(
            "SELECT id FROM payments WHERE {HAS_ANY} AND opened_at < ?1 AND coalesce(ended_at, opened_at) < ?1 \
             AND {IS_OVER} ORDER BY opened_at LIMIT ?2"
        );
        self.erase(&which, before.as_millisecond()).await
    }

    /// Erases the personal data of the payments that a query finds.
    async fn erase<'q>(
        &self,
        which: &'q str,
        value: impl sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + 'q,
    ) -> Result<u64, Error> {
        let mut writing = self.write().await?;
        let ids: Vec<String> =
            sqlx::query_scalar(which).bind(value).bind(BATCH).fetch_all(&mut *writing.transaction).await?;
        for id in &ids {
            writing.erase_payment(id).await?;
        }
        writing.commit().await?;
        Ok(ids.len() as u64)
    }
}

impl Writing {
    /// SQLite overwrites what was there with zeros in the file, which is `secure_delete`.
    async fn erase_payment(&mut self, id: &str) -> Result<(), Error> {
        sqlx::query(
            "UPDATE payments SET caller = NULL, call_reference = NULL, order_reference = NULL, description = NULL WHERE id = ?",
        )
        .bind(id)
        .execute(&mut *self.transaction)
        .await?;
        sqlx::query(
            "UPDATE outbox SET outcome = json_replace(outcome, '$.callReference', NULL, '$.orderReference', NULL, \
             '$.description', NULL) WHERE payment_id = ?",
        )
        .bind(id)
        .execute(&mut *self.transaction)
        .await?;
        let id = id.parse().map_err(|_| Error::Unreadable("an id"))?;
        let payment = self.find(Find::Id(id)).await?.ok_or(Error::Unreadable("a row that was just written"))?;
        self.append(&payment, &Event::PersonalDataErased, None).await?;
        self.ledger.0.to_be_wiped.store(true, Ordering::Release);
        Ok(())
    }
}
