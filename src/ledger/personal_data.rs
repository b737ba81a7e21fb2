//! Erases personal data: the caller, the references and the description of payments, and the ends of calls that wait for
//! delivery. Amounts, states and events of payments stay, and so does the hash that prevents a second payment of an order.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use sqlx::AssertSqlSafe;
use tokio::time::{Instant, sleep};

use super::outbox::{self, erase_members};
use super::payment::state_list;
use super::{Ledger, LedgerError, LedgerEvent, LedgerTransaction, PaymentState, call_end};
use crate::phone_number::PhoneNumber;

/// Payments per transaction. It takes about 5 ms on an SSD, and other writes wait for it.
const BATCH: u32 = 100;

/// The shortest pause between two transactions. Waiting writers get the lock in it: SQLite does not queue writers of
/// other processes, which retry after 1, 2, 5, 10 ms and so on.
const PAUSE: Duration = Duration::from_millis(10);

/// How long a rebuild waits for another writer.
const REBUILD_PATIENCE: Duration = Duration::from_secs(10);

/// SQL condition: the payment has personal data.
const HAS_PERSONAL_DATA: &str =
    "(caller IS NOT NULL OR call_reference IS NOT NULL OR order_reference IS NOT NULL OR description IS NOT NULL)";

/// SQL condition: the payment is settled, all its events are delivered, and its receipt is not about to be sent. Other payments may still need their personal
/// data.
fn is_finished() -> String {
    let settled = state_list(PaymentState::is_settled);
    format!(
        "state IN {settled} AND NOT EXISTS (SELECT 1 FROM outbox WHERE payment_id = payments.id AND delivered_at IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM receipts WHERE payment_id = payments.id AND state IN ('due', 'sending'))"
    )
}

/// The result of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasureResult {
    /// Number of payments whose personal data was erased.
    pub erased: u64,
    /// Number of payments that keep it, since they have not ended or have an event that is not delivered, and of ends of calls
    /// that are sealed with a key that this process does not have.
    pub kept: u64,
}

impl Ledger {
    /// Erases the personal data of a caller's payments, in several transactions. If it is interrupted, another run
    /// erases the rest. `progress` gets the number of processed payments and their total.
    pub async fn erase_caller(
        &self,
        caller: &PhoneNumber,
        progress: impl FnMut(usize, usize) + Send,
    ) -> Result<ErasureResult, LedgerError> {
        let finished = is_finished();
        let which = format!("SELECT seq FROM payments WHERE caller = $1 AND {finished} ORDER BY seq");
        let found = sqlx::query_scalar(AssertSqlSafe(which)).bind(caller.as_str()).fetch_all(&self.0.readers).await?;
        let erased = self.erase_in_batches(&found, progress).await?;
        let sealed = self.erase_call_ends(Some(caller), None).await?;
        let left = sqlx::query_scalar("SELECT count(*) FROM payments WHERE caller = $1").bind(caller.as_str());
        let left: i64 = left.fetch_one(&self.0.readers).await?;
        // Data that an earlier erasure left in the write-ahead log is wiped as well.
        self.0.erasures.mark_erased();
        Ok(ErasureResult { erased, kept: left.unsigned_abs() + sealed })
    }

    /// Rebuilds the file with `VACUUM`. SQLite overwrites deleted data, but not where a row stood before its page was
    /// split. Does nothing if the ledger is not in a file. Other writes wait meanwhile, some seconds for each gigabyte, and it needs as much free space as the file
    /// has.
    pub async fn vacuum(&self) -> Result<(), LedgerError> {
        let Some(file) = self.0.database.file() else { return Ok(()) };
        let mut connection = file.connect(REBUILD_PATIENCE).await?;
        sqlx::query("PRAGMA temp_store = FILE").execute(&mut connection).await?;
        sqlx::query("VACUUM").execute(&mut connection).await?;
        self.0.erasures.mark_erased();
        Ok(())
    }

    /// Erases the personal data of payments that ended before `before`, in several transactions, and returns their
    /// number. A payment that ends in the future, since the clock was set back, keeps it until then.
    pub async fn erase_personal_data(&self, before: Timestamp) -> Result<u64, LedgerError> {
        let finished = is_finished();
        let which = format!(
            "SELECT seq FROM payments WHERE {HAS_PERSONAL_DATA} AND opened_at < $1 AND coalesce(ended_at, opened_at) < $1 \
             AND {finished} ORDER BY opened_at"
        );
        let found =
            sqlx::query_scalar(AssertSqlSafe(which)).bind(before.as_millisecond()).fetch_all(&self.0.readers).await?;
        let erased = self.erase_in_batches(&found, |_, _| {}).await?;
        self.erase_call_ends(None, Some(before)).await?;
        Ok(erased)
    }

    /// Erases the personal data of events about calls that are not delivered yet: those of `caller`, and those written
    /// before `before`. There are few, since a delivered one is deleted. Returns the number of those that are sealed with a
    /// key that this process does not have, which keep it.
    async fn erase_call_ends(
        &self,
        caller: Option<&PhoneNumber>,
        before: Option<Timestamp>,
    ) -> Result<u64, LedgerError> {
        let (mut last, mut kept, caller) = (0, 0, caller.map(PhoneNumber::as_str));
        loop {
            let rows = sqlx::query_as(
                "SELECT id, call_sid, caller, outcome FROM outbox WHERE id > $1 AND call_sid IS NOT NULL \
                 AND (caller = $2 OR written_at < $3) ORDER BY id LIMIT $4",
            );
            let rows = rows.bind(last).bind(caller).bind(before.map(Timestamp::as_millisecond)).bind(i64::from(BATCH));
            let rows: Vec<(i64, String, Option<String>, String)> = rows.fetch_all(&self.0.readers).await?;
            let Some((newest, ..)) = rows.last() else { return Ok(kept) };
            last = *newest;
            let mut erased = Vec::new();
            for (id, call, caller, stored) in rows {
                let keys = self.0.sealing_keys.get();
                let Ok(event) = call_end::open_event(keys, &call, stored.clone()) else {
                    kept += 1;
                    continue;
                };
                let without = erase_members(event.expose_secret(), &call_end::PERSONAL_MEMBERS)?;
                if caller.is_some() || without.is_some() {
                    erased.push((id, without.map_or(stored, |event| call_end::seal_event(keys, &call, event))));
                }
            }
            if !erased.is_empty() {
                let mut writing = self.begin_write().await?;
                for (id, outcome) in erased {
                    writing.replace_outcome(id, outcome).await?;
                }
                writing.commit().await?;
                self.0.erasures.mark_erased();
            }
        }
    }

    /// Erases the personal data of these payments, and returns their number. A reader selects them beforehand, since
    /// that takes longer the more there are.
    async fn erase_in_batches(
        &self,
        found: &[i64],
        mut progress: impl FnMut(usize, usize) + Send,
    ) -> Result<u64, LedgerError> {
        let (mut erased, mut done) = (0, 0);
        for batch in found.chunks(BATCH as usize) {
            let begun = Instant::now();
            let mut writing = self.begin_write().await?;
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

impl LedgerTransaction {
    /// Erases the personal data of those payments that are still finished. SQLite overwrites the old values in the file
    /// with zeros (`secure_delete`).
    async fn erase_personal_data(&mut self, payments: &[i64]) -> Result<u64, LedgerError> {
        let finished = is_finished();
        let update = format!(
            "UPDATE payments SET caller = NULL, call_reference = NULL, order_reference = NULL, description = NULL \
             WHERE seq = $1 AND {HAS_PERSONAL_DATA} AND {finished} RETURNING id"
        );
        let mut erased = 0;
        for seq in payments {
            let id: Option<String> = sqlx::query_scalar(AssertSqlSafe(update.clone()))
                .bind(seq)
                .fetch_optional(&mut self.transaction)
                .await?;
            if let Some(id) = id {
                self.erase_outcomes_of(&id).await?;
                self.append_event_of(&id, &LedgerEvent::PersonalDataErased, None).await?;
                erased += 1;
            }
        }
        self.ledger.0.erasures.mark_erased();
        Ok(erased)
    }

    /// Erases the personal data of the events about a payment that were delivered.
    async fn erase_outcomes_of(&mut self, id: &str) -> Result<(), LedgerError> {
        let outcomes: Vec<(i64, String)> = sqlx::query_as("SELECT id, outcome FROM outbox WHERE payment_id = $1")
            .bind(id)
            .fetch_all(&mut self.transaction)
            .await?;
        for (id, outcome) in outcomes {
            if let Some(erased) = erase_members(&outcome, &outbox::PERSONAL_MEMBERS)? {
                self.replace_outcome(id, erased).await?;
            }
        }
        Ok(())
    }

    /// Replaces an event by one without personal data.
    async fn replace_outcome(&mut self, id: i64, outcome: String) -> Result<(), LedgerError> {
        sqlx::query("UPDATE outbox SET caller = NULL, outcome = $1 WHERE id = $2")
            .bind(outcome)
            .bind(id)
            .execute(&mut self.transaction)
            .await?;
        Ok(())
    }
}
