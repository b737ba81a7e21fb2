//! The calls whose end Twilio has reported, for a day: a server that is restarted begins none of them again.

use jiff::{SignedDuration, Timestamp};

use super::{Ledger, LedgerError, LedgerRecord, LedgerTransaction};
use crate::ids::CallSid;

/// How long the end of a call is known. Twilio ends a call after 24 hours.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

impl Ledger {
    /// Records that Twilio has reported the end of a call.
    pub async fn record_ended_call(&self, call: &CallSid) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::EndedCall(call.clone())).await.map(drop)
    }

    /// Returns the calls whose end Twilio has reported within the last 24 hours, at most `limit` of them, the newest first.
    pub async fn load_ended_calls(&self, limit: u32) -> Result<Vec<CallSid>, LedgerError> {
        let select = "SELECT call_sid FROM ended_calls WHERE ended_at >= ? ORDER BY ended_at DESC LIMIT ?";
        let calls = sqlx::query_scalar(select).bind(oldest_at(Timestamp::now())).bind(limit);
        let calls: Vec<String> = calls.fetch_all(&self.0.readers).await?;
        Ok(calls.iter().filter_map(|call| call.parse().ok()).collect())
    }
}

/// Writes the end of a call, and deletes those that have expired.
pub(super) async fn write_ended_call(writing: &mut LedgerTransaction, call: &CallSid) -> Result<(), LedgerError> {
    sqlx::query("DELETE FROM ended_calls WHERE ended_at < ?")
        .bind(oldest_at(writing.now))
        .execute(&mut *writing.transaction)
        .await?;
    sqlx::query("INSERT INTO ended_calls (call_sid, ended_at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(call.as_str())
        .bind(writing.now.as_millisecond())
        .execute(&mut *writing.transaction)
        .await?;
    Ok(())
}

fn oldest_at(now: Timestamp) -> i64 {
    now.checked_sub(LIFETIME).unwrap_or(Timestamp::MIN).as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::TempDirectory;

    #[tokio::test]
    async fn the_end_of_a_call_is_known_for_a_day() {
        let directory = TempDirectory::new();
        let ledger = Ledger::open(&directory.file()).await.unwrap();
        let [old, first, second] = ["CA1", "CA2", "CA3"].map(|sid| sid.parse::<CallSid>().unwrap());
        let write = async |call: &CallSid, hours_ago| {
            let mut writing = ledger.begin_write().await.unwrap();
            writing.now -= SignedDuration::from_hours(hours_ago);
            write_ended_call(&mut writing, call).await.unwrap();
            writing.commit().await.unwrap();
        };
        write(&old, 25).await;
        write(&first, 23).await;
        ledger.record_ended_call(&second).await.unwrap();
        ledger.record_ended_call(&first).await.unwrap();
        assert_eq!(ledger.load_ended_calls(9).await.unwrap(), [second.clone(), first]);
        assert_eq!(ledger.load_ended_calls(1).await.unwrap(), [second]);
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM ended_calls").fetch_one(&ledger.0.readers).await.unwrap();
        assert_eq!(count, 2, "the oldest is deleted");
    }
}
