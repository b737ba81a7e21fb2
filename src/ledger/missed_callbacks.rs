//! Callbacks that could not be sent on to the server that has their call. It takes them with its next beat.
//!
//! They are recorded in the ledger like all others. What is left here is only what the call has to hear.

use sqlx::Row as _;

use super::{Ledger, LedgerError, LedgerTransaction};
use crate::ids::CallSid;
use crate::sealing::SealedPlace;
use crate::server_id::ServerId;

fn place(call: &CallSid) -> SealedPlace<'_> {
    SealedPlace { column: "missed_callbacks.callback", row: call.as_str() }
}

impl Ledger {
    /// Leaves a callback for the server that has its call.
    pub(crate) async fn leave_callback(&self, call: &CallSid, callback: &str) -> Result<(), LedgerError> {
        let sealed = self.seal(place(call), callback);
        let mut writing = self.begin_write().await?;
        sqlx::query("INSERT INTO missed_callbacks (call_sid, callback, left_at) VALUES ($1, $2, $3)")
            .bind(call.as_str())
            .bind(sealed)
            .bind(writing.now.as_millisecond())
            .execute(&mut writing.transaction)
            .await?;
        writing.commit().await
    }

    /// Takes the callbacks that other servers have left for calls of this one, in order. What was sealed with another key is
    /// left out.
    pub(crate) async fn take_missed_callbacks(&self, server: ServerId) -> Result<Vec<(CallSid, String)>, LedgerError> {
        let is_any =
            "SELECT 1 FROM missed_callbacks WHERE call_sid IN (SELECT call_sid FROM calls WHERE owner = $1) LIMIT 1";
        let is_any = sqlx::query(is_any).bind(server.to_string()).fetch_optional(&self.0.readers).await?;
        if is_any.is_none() {
            return Ok(Vec::new());
        }
        let mut writing = self.begin_write().await?;
        let take = "DELETE FROM missed_callbacks WHERE call_sid IN (SELECT call_sid FROM calls WHERE owner = $1) \
                    RETURNING id, call_sid, callback";
        let rows = sqlx::query(take).bind(server.to_string()).fetch_all(&mut writing.transaction).await?;
        writing.commit().await?;
        let mut taken = Vec::new();
        for row in rows {
            let (id, call): (i64, CallSid) = (row.try_get(0)?, CallSid::from_stored(row.try_get(1)?));
            if let Some(callback) = self.unseal(place(&call), row.try_get(2)?) {
                taken.push((id, call, callback));
            }
        }
        taken.sort_by_key(|(id, ..)| *id);
        Ok(taken.into_iter().map(|(_, call, callback)| (call, callback)).collect())
    }
}

impl LedgerTransaction {
    /// Removes what was left for a call that is over.
    pub(super) async fn remove_missed_callbacks_of(&mut self, call: &CallSid) -> Result<(), LedgerError> {
        let remove = sqlx::query("DELETE FROM missed_callbacks WHERE call_sid = $1").bind(call.as_str());
        remove.execute(&mut self.transaction).await?;
        Ok(())
    }

    /// Removes what was left before a time, in milliseconds.
    pub(super) async fn remove_expired_callbacks(&mut self, before: i64) -> Result<(), LedgerError> {
        let remove = sqlx::query("DELETE FROM missed_callbacks WHERE left_at < $1").bind(before);
        remove.execute(&mut self.transaction).await?;
        Ok(())
    }
}
