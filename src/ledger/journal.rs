//! What another server needs to take a live call up: its conversation, and what else is known of it. Both are sealed, and
//! are written beside the call, which never waits for them. They go with the row of the call.

use sqlx::Row as _;

use super::payment::find_by_call;
use super::{Ledger, LedgerError, LedgerTransaction, Payment};
use crate::call_claim::{CallClaim, ClaimState};
use crate::ids::CallSid;
use crate::payment::{ConsentRecord, RecordedStep};
use crate::sealing::SealedPlace;
use crate::server_id::ServerId;

/// What has changed of a live call since it was last written.
#[derive(Debug)]
pub(crate) struct JournalEntry {
    /// The call.
    pub(crate) call: CallSid,
    /// The claim of this server to it. Nothing is written once another server has the call.
    pub(crate) claim: CallClaim,
    /// Whether all items are here, and those that were written before are to go.
    pub(crate) is_whole: bool,
    /// The items of the conversation that have changed, by their positions, as JSON. `None` where one was removed.
    pub(crate) items: Vec<(i64, Option<String>)>,
    /// What else is known of the call, as JSON, if that has changed.
    pub(crate) state: Option<String>,
}

/// What the last owner of a call has left.
#[derive(Debug)]
pub(crate) struct LeftCall {
    /// What is known of the call besides the conversation, as JSON.
    pub(crate) state: Option<String>,
    /// The items of the conversation in order, as JSON. Those that no key opens are left out.
    pub(crate) items: Vec<String>,
    /// The payment that is in progress.
    pub(crate) payment: Option<LeftPayment>,
}

/// A payment that the last owner of its call has left in progress.
#[derive(Debug)]
pub(crate) struct LeftPayment {
    /// The payment.
    pub(crate) payment: Payment,
    /// The statement that the caller agreed to before it began.
    pub(crate) consent: Option<ConsentRecord>,
    /// What was asked, answered and reported of it.
    pub(crate) steps: Vec<RecordedStep>,
    /// The server to which Twilio reports on it, where several share the ledger.
    pub(crate) reported_to: Option<ServerId>,
}

fn place_of_item(row: &str) -> SealedPlace<'_> {
    SealedPlace { column: "journal.item", row }
}

pub(super) fn place_of_state(call: &CallSid) -> SealedPlace<'_> {
    SealedPlace { column: "calls.state", row: call.as_str() }
}

impl Ledger {
    /// Opens what is kept of a call besides its conversation.
    pub(super) fn unseal_state(&self, call: &CallSid, state: Option<String>) -> Option<String> {
        self.unseal(place_of_state(call), state?)
    }

    /// Whether conversations are kept: there is a key to seal them with.
    pub(crate) fn keeps_journal(&self) -> bool {
        self.0.sealing_keys.get().is_some()
    }

    /// Writes what has changed of some calls. What another server has meanwhile is left out.
    pub(crate) async fn write_journal(&self, entries: &[JournalEntry]) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        writing.transaction.set_repeatable();
        if writing.transaction.is_remote() {
            // After a crash of the database the last moments may be missing: no call and no payment waits for them.
            sqlx::raw_sql("SET LOCAL synchronous_commit = off").execute(&mut writing.transaction).await?;
        }
        for entry in entries {
            if writing.hold_claim(&entry.call, &entry.claim).await? {
                writing.write_journal_entry(entry).await?;
            }
        }
        writing.commit().await
    }
}

impl LedgerTransaction {
    /// Whether a server has a call. No other one gets it until this transaction ends.
    async fn hold_claim(&mut self, call: &CallSid, claim: &CallClaim) -> Result<bool, LedgerError> {
        let ClaimState::Held(epoch) = claim.state() else { return Ok(false) };
        let select = if self.transaction.is_remote() {
            "SELECT 1 FROM calls WHERE call_sid = $1 AND owner = $2 AND epoch = $3 FOR SHARE"
        } else {
            "SELECT 1 FROM calls WHERE call_sid = $1 AND owner = $2 AND epoch = $3"
        };
        let select = sqlx::query(select).bind(call.as_str()).bind(claim.server().to_string()).bind(epoch);
        Ok(select.fetch_optional(&mut self.transaction).await?.is_some())
    }

    async fn write_journal_entry(&mut self, entry: &JournalEntry) -> Result<(), LedgerError> {
        if entry.is_whole {
            self.remove_journal_of(&entry.call).await?;
        }
        for (position, item) in &entry.items {
            let Some(item) = item else {
                sqlx::query("DELETE FROM journal WHERE call_sid = $1 AND position = $2")
                    .bind(entry.call.as_str())
                    .bind(*position)
                    .execute(&mut self.transaction)
                    .await?;
                continue;
            };
            let sealed = self.ledger.seal(place_of_item(&item_row(&entry.call, *position)), item);
            let upsert = "INSERT INTO journal (call_sid, position, item) VALUES ($1, $2, $3) \
                          ON CONFLICT (call_sid, position) DO UPDATE SET item = excluded.item";
            sqlx::query(upsert)
                .bind(entry.call.as_str())
                .bind(*position)
                .bind(sealed)
                .execute(&mut self.transaction)
                .await?;
        }
        if let Some(state) = &entry.state {
            let sealed = self.ledger.seal(place_of_state(&entry.call), state);
            let update = sqlx::query("UPDATE calls SET state = $2 WHERE call_sid = $1");
            update.bind(entry.call.as_str()).bind(sealed).execute(&mut self.transaction).await?;
        }
        Ok(())
    }

    /// Removes the conversation of a call.
    pub(super) async fn remove_journal_of(&mut self, call: &CallSid) -> Result<(), LedgerError> {
        let remove = sqlx::query("DELETE FROM journal WHERE call_sid = $1").bind(call.as_str());
        remove.execute(&mut self.transaction).await?;
        Ok(())
    }

    /// Reads what the last owner of a call has left, with the newest of its payments that are in progress. The others are
    /// returned as well. The call is locked, so that all is there that was asked.
    pub(super) async fn read_left_call(
        &mut self,
        call: &CallSid,
        state: Option<String>,
    ) -> Result<(LeftCall, Vec<Payment>), LedgerError> {
        let state = self.ledger.unseal_state(call, state);
        let select = "SELECT position, item FROM journal WHERE call_sid = $1 ORDER BY position";
        let mut items = Vec::new();
        for row in sqlx::query(select).bind(call.as_str()).fetch_all(&mut self.transaction).await? {
            let row_name = item_row(call, row.try_get(0)?);
            items.extend(self.ledger.unseal(place_of_item(&row_name), row.try_get(1)?));
        }
        let mut open = find_by_call(&mut self.transaction, call).await?;
        open.retain(|payment| payment.state.is_in_progress());
        let payment = match open.pop() {
            Some(payment) => Some(self.read_left_payment(payment).await?),
            None => None,
        };
        Ok((LeftCall { state, items, payment }, open))
    }

    async fn read_left_payment(&mut self, payment: Payment) -> Result<LeftPayment, LedgerError> {
        let (steps, consent) = (self.read_recorded_steps(&payment).await?, self.read_consent(&payment).await?);
        let reported_to = self.read_reporting_server(&payment).await?;
        Ok(LeftPayment { payment, consent, steps, reported_to })
    }
}

fn item_row(call: &CallSid, position: i64) -> String {
    format!("{call} {position}")
}
