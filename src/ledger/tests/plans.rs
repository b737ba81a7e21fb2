//! Tests of how SQLite looks things up, since the ledger of a busy year has millions of events.

use super::*;

#[tokio::test]
async fn what_is_asked_of_one_payment_reads_the_events_of_no_other() {
    let test = TestLedger::new().await;
    let mut connection = test.ledger.0.database.connect(BUSY_TIMEOUT).await.unwrap();
    for query in [
        "SELECT count(*) FROM events WHERE payment_id = 'x' AND kind = 'asking'",
        "SELECT count(*) FROM events WHERE payment_id = 'x' AND kind IN ('opening', 'asking')",
        "SELECT data FROM events WHERE payment_id = 'x' AND kind = 'entered' ORDER BY id DESC LIMIT 1",
        "SELECT EXISTS (SELECT 1 FROM events WHERE payment_id = payments.id AND kind = 'ended') FROM payments",
    ] {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<&str> = steps.iter().map(|(.., step)| step.as_str()).collect();
        assert!(
            plan.iter().any(|step| step.contains("events_of_a_payment (payment_id=? AND kind=?)")),
            "{query}: {plan:?}"
        );
    }
}
