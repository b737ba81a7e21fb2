//! Tests of how SQLite looks things up, since the ledger of a busy year has millions of events.

use super::TestLedger;
use crate::ledger::{activity, callbacks, recorded_steps, recovery, requests, settlement, velocity};

#[tokio::test]
async fn what_is_asked_of_one_payment_reads_the_events_of_no_other() {
    let test = TestLedger::new().await;
    let mut connection = test.connect_other().await;
    let one = settlement::find_event("kind = 'ended' AND doubtful = 1");
    let of_caller = velocity::VelocityScope::of_caller().count_events_sql();
    for query in [
        requests::COUNT_REQUESTS,
        callbacks::COUNT_ENTRIES,
        recovery::COUNT_CANCELS,
        recorded_steps::FIND_STEPS,
        recorded_steps::FIND_CONSENT,
        velocity::FIND_ATTESTATION,
        velocity::COUNT_FAILED,
        velocity::FIND_ENTERED_LAST4,
        activity::COUNT_STEPS,
        &one,
        &of_caller,
    ] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<&str> = steps.iter().map(|(.., step)| step.as_str()).collect();
        assert!(
            plan.iter().any(|step| step.contains("events_of_a_payment (payment_id=? AND kind=?)")),
            "{query}: {plan:?}"
        );
        assert!(!plan.iter().any(|step| step.contains("SCAN events") || step.contains("events_by_kind")), "{plan:?}");
    }
}
