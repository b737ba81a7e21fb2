//! What the rules for outbound calls need: the numbers that are not called any more, and the consent to be called.

use jiff::Timestamp;
use serde_json::json;

use super::orders::write_call_event;
use super::payment::read_timestamp;
use super::{CallData, Ledger, LedgerError, LedgerRecord, LedgerTransaction};
use crate::calling_rules::CallConsent;
use crate::ids::CallSid;
use crate::phone_number::PhoneNumber;

impl Ledger {
    /// Adds a number to those that are not called any more. It is there once this has succeeded.
    pub(crate) async fn add_do_not_call(&self, call: &CallData, number: &PhoneNumber) -> Result<(), LedgerError> {
        let mut writing = self.begin_write().await?;
        let insert = "INSERT INTO do_not_call (number, at, call_sid) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let added = sqlx::query(insert)
            .bind(number.as_str())
            .bind(writing.now.as_millisecond())
            .bind(call.call_sid.as_str())
            .execute(&mut writing.transaction)
            .await?;
        if added.rows_affected() == 1 {
            write_call_event(&mut writing, &call.call_sid, "do-not-call", json!({})).await?;
        }
        writing.commit().await
    }

    /// Since when a number is not called any more, if it is one.
    pub(crate) async fn find_do_not_call(&self, number: &PhoneNumber) -> Result<Option<Timestamp>, LedgerError> {
        let query = sqlx::query_scalar("SELECT at FROM do_not_call WHERE number = $1").bind(number.as_str());
        let at: Option<i64> = query.fetch_optional(&self.0.readers).await?;
        at.map(read_timestamp).transpose()
    }

    /// Records the consent on which a call was placed.
    pub(crate) async fn record_call_consent(&self, call: &CallSid, consent: &CallConsent) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::CallConsent(call.clone(), Box::new(consent.clone()))).await.map(drop)
    }
}

pub(super) async fn write_call_consent(
    writing: &mut LedgerTransaction,
    call: &CallSid,
    consent: &CallConsent,
) -> Result<(), LedgerError> {
    let CallConsent { kind, at, reference } = consent;
    let data = json!({"kind": kind, "at": at.to_string(), "reference": reference.reveal()});
    write_call_event(writing, call, "consent", data).await
}
