//! Personal data of payments - the caller, the references, the description - and its erasure. Amounts, states and events
//! stay, and so does the hash that keeps an order from being paid twice.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Error, Event, Ledger, Writing};
use crate::phone_number::PhoneNumber;

/// How many payments are erased in one transaction: with an SSD it takes some 5 ms, for which other writes wait.
const BATCH: usize = 100;

/// How long nothing is erased between two transactions, at least. It is the turn of those that wait: SQLite does not queue
/// writers of other processes, but lets them try again after 1, 2, 5, 10 ms and so on.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a rebuild waits for another writer.
const REBUILD_PATIENCE: Duration = Duration::from_secs(10);

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
    /// Erases the personal data of a caller's payments, some in each transaction. If it is cut short the rest is left to another
    /// run. `progress` gets how many payments are done, of how many.
    pub async fn erase_caller(
        &self,
        caller: &PhoneNumber,
        progress: impl FnMut(usize, usize) + Send,
    ) -> Result<Erased, Error> {
        let which = format!("SELECT seq FROM payments WHERE caller = ? AND {IS_OVER} ORDER BY seq");
        let found = sqlx::query_scalar(&which).bind(caller.as_str()).fetch_all(&self.0.readers).await?;
        let erased = self.erase(&found, progress).await?;
        let left = sqlx::query_scalar("SELECT count(*) FROM payments WHERE caller = ?").bind(caller.as_str());
        let left: i64 = left.fetch_one(&self.0.readers).await?;
        // What an earlier erasure left in the write-ahead log goes as well.
        self.0.erasures.note();
        Ok(Erased { erased, left: left.unsigned_abs() })
    }

    /// Writes the file anew. SQLite overwrites what is deleted, but not where a row stood before its page was split. Other writes
    /// wait for as long as it takes, some seconds for each gigabyte, and it needs as much room again.
    pub async fn rebuild(&self) -> Result<(), Error> {
        let mut connection = self.0.database.connect(REBUILD_PATIENCE).await?;
        sqlx::query("PRAGMA temp_store = FILE").execute(&mut connection).await?;
        sqlx::query("VACUUM").execute(&mut connection).await?;
        self.0.erasures.note();
        Ok(())
    }

    /// Erases the personal data of the payments that were over before then, some in each transaction, and returns how many they
    /// were. What ended in the future ended before the clock was set back.
    pub async fn erase_personal_data(&self, before: Timestamp) -> Result<u64, Error> {
        let which = format!(
            "SELECT seq FROM payments WHERE {HAS_ANY} AND opened_at < ?1 AND coalesce(ended_at, opened_at) < ?1 \
             AND {IS_OVER} ORDER BY opened_at"
        );
        let found = sqlx::query_scalar(&which).bind(before.as_millisecond()).fetch_all(&self.0.readers).await?;
        self.erase(&found, |_, _| {}).await
    }

    /// Erases the personal data of these payments, and returns how many they were. They are looked for before, by a reader, for
    /// that takes longer the more there are.
    async fn erase(&self, found: &[i64], mut progress: impl FnMut(usize, usize) + Send) -> Result<u64, Error> {
        let (mut erased, mut done) = (0, 0);
        for batch in found.chunks(BATCH) {
            let begun = Instant::now();
            let mut writing = self.write().await?;
            erased += writing.erase_personal_data(batch).await?;
            writing.commit().await?;
            done += batch.len();
            progress(done, found.len());
            if done < found.len() {
                sleep(begun.elapsed().max(PAUSE)).await;
            }
        }
        Ok(erased)
    }
}

impl Writing {
    /// Erases the personal data of these payments, as far as they are still over. SQLite overwrites what was there with zeros in
    /// the file, which is `secure_delete`.
    async fn erase_personal_data(&mut self, payments: &[i64]) -> Result<u64, Error> {
        let update = format!(
            "UPDATE payments SET caller = NULL, call_reference = NULL, order_reference = NULL, description = NULL \
             WHERE seq IN (SELECT value FROM json_each(?)) AND {HAS_ANY} AND {IS_OVER} RETURNING id"
        );
        let ids: Vec<String> = sqlx::query_scalar(&update)
            .bind(serde_json::json!(payments).to_string())
            .fetch_all(&mut *self.transaction)
            .await?;
        let erased = ids.len() as u64;
        let ids = serde_json::json!(ids).to_string();
        sqlx::query(
            "UPDATE outbox SET outcome = json_replace(outcome, '$.callReference', NULL, '$.orderReference', NULL, \
             '$.description', NULL) WHERE payment_id IN (SELECT value FROM json_each(?))",
        )
        .bind(&ids)
        .execute(&mut *self.transaction)
        .await?;
        let event = Event::PersonalDataErased;
        sqlx::query("INSERT INTO events (payment_id, at, kind, data) SELECT value, ?, ?, ? FROM json_each(?)")
            .bind(self.now.as_millisecond())
            .bind(event.kind())
            .bind(event.data().to_string())
            .bind(&ids)
            .execute(&mut *self.transaction)
            .await?;
        self.ledger.0.erasures.note();
        Ok(erased)
    }
}
