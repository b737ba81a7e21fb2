//! How far calls have come, for a day: a server that is restarted takes no old token of them, and begins none that ended.

use jiff::{SignedDuration, Timestamp};

use super::{Ledger, LedgerError, LedgerRecord, LedgerTransaction};
use crate::call_stage::CallStage;
use crate::ids::CallSid;

/// How long a stage is known. Twilio ends a call after 24 hours.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

impl Ledger {
    /// Records that a call has reached a stage, unless it has come further already; or, with `None`, that it begins anew.
    pub(crate) async fn record_call_stage(&self, call: &CallSid, stage: Option<CallStage>) -> Result<(), LedgerError> {
        self.write_or_buffer(LedgerRecord::CallStage(call.clone(), stage)).await.map(drop)
    }

    /// Returns the stage that a call has reached within the last 24 hours.
    pub(crate) async fn load_call_stage(&self, call: &CallSid) -> Result<Option<CallStage>, LedgerError> {
        let select = "SELECT stage FROM call_stages WHERE call_sid = $1 AND recorded_at >= $2";
        let stage = sqlx::query_scalar(select).bind(call.as_str()).bind(oldest_at(Timestamp::now()));
        let stage: Option<i64> = stage.fetch_optional(&self.0.readers).await?;
        Ok(stage.and_then(CallStage::from_number))
    }

    /// Returns the calls that reached a stage within the last 24 hours, at most `limit` of them, the newest first.
    pub(crate) async fn load_call_stages(&self, limit: u32) -> Result<Vec<(CallSid, CallStage)>, LedgerError> {
        let select =
            "SELECT call_sid, stage FROM call_stages WHERE recorded_at >= $1 ORDER BY recorded_at DESC LIMIT $2";
        let calls = sqlx::query_as(select).bind(oldest_at(Timestamp::now())).bind(i64::from(limit));
        let calls: Vec<(String, i64)> = calls.fetch_all(&self.0.readers).await?;
        let parse = |(call, stage): (String, i64)| Some((call.parse().ok()?, CallStage::from_number(stage)?));
        Ok(calls.into_iter().filter_map(parse).collect())
    }
}

/// Writes the stage of a call, and deletes those that have expired.
pub(super) async fn write_call_stage(
    writing: &mut LedgerTransaction,
    call: &CallSid,
    stage: Option<CallStage>,
) -> Result<(), LedgerError> {
    sqlx::query("DELETE FROM call_stages WHERE recorded_at < $1")
        .bind(oldest_at(writing.now))
        .execute(&mut writing.transaction)
        .await?;
    let Some(stage) = stage else {
        let delete = sqlx::query("DELETE FROM call_stages WHERE call_sid = $1").bind(call.as_str());
        delete.execute(&mut writing.transaction).await?;
        return Ok(());
    };
    let insert = "INSERT INTO call_stages (call_sid, stage, recorded_at) VALUES ($1, $2, $3) \
                  ON CONFLICT (call_sid) DO UPDATE SET stage = $2, recorded_at = $3 WHERE call_stages.stage < $2";
    sqlx::query(insert)
        .bind(call.as_str())
        .bind(stage.to_number())
        .bind(writing.now.as_millisecond())
        .execute(&mut writing.transaction)
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
    async fn the_stage_of_a_call_is_known_for_a_day() {
        let directory = TempDirectory::new();
        let ledger = Ledger::open(&directory.file()).await.unwrap();
        let [old, first, second] = ["CA1", "CA2", "CA3"].map(|sid| sid.parse::<CallSid>().unwrap());
        let write = async |call: &CallSid, hours_ago| {
            let mut writing = ledger.begin_write().await.unwrap();
            writing.now -= SignedDuration::from_hours(hours_ago);
            write_call_stage(&mut writing, call, Some(CallStage::Ended)).await.unwrap();
            writing.commit().await.unwrap();
        };
        write(&old, 25).await;
        write(&first, 23).await;
        for stage in [CallStage::Connected(1), CallStage::HandedOver, CallStage::Connected(2)] {
            ledger.record_call_stage(&second, Some(stage)).await.unwrap();
            ledger.record_call_stage(&first, Some(stage)).await.unwrap();
        }
        let known = [(second.clone(), CallStage::HandedOver), (first, CallStage::Ended)];
        assert_eq!(ledger.load_call_stages(9).await.unwrap(), known);
        assert_eq!(ledger.load_call_stages(1).await.unwrap(), known[..1]);
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM call_stages").fetch_one(&ledger.0.readers).await.unwrap();
        assert_eq!(count, 2, "the oldest is deleted");
        ledger.record_call_stage(&second, None).await.unwrap();
        assert_eq!(ledger.load_call_stages(9).await.unwrap(), known[1..]);
    }
}
