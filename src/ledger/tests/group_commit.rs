//! Tests of records that arrive together.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::*;

/// Sessions with the SIDs `PK0`, `PK1` and so on, each of a call of its own.
async fn sessions(test: &mut TestLedger, count: usize) {
    for n in 0..count {
        test.call = call(&format!("CA{n}"));
        test.create_session("25", &format!("PK{n}")).await;
    }
}

fn code_entered(sid: &str) -> PaymentCallback {
    status(sid, &[("Capture", "security-code"), ("PartialResult", "false"), ("SecurityCode", "xxx")])
}

#[tokio::test]
async fn records_that_arrive_together_share_transactions_and_each_is_written_once() {
    const COUNT: usize = 100;
    let mut test = TestLedger::new().await;
    sessions(&mut test, COUNT).await;
    let before = test.ledger.0.commits.load(Ordering::Relaxed);
    let callbacks: Vec<_> = (0..COUNT).map(|n| code_entered(&format!("PK{n}"))).collect();
    // Each is delivered twice at the same time.
    let outcomes = join_all(callbacks.iter().chain(&callbacks).map(|own| test.ledger.record_callback(own))).await;
    let count = |outcome| outcomes.iter().filter(|done| matches!(done, Ok(known) if *known == outcome)).count();
    assert_eq!((count(RecordOutcome::Written), count(RecordOutcome::Unchanged)), (COUNT, COUNT));
    let commits = test.ledger.0.commits.load(Ordering::Relaxed) - before;
    assert!(commits <= 8, "{commits} commits for {} records", 2 * COUNT);
}

#[tokio::test]
async fn a_record_that_cannot_be_written_costs_the_others_nothing() {
    let mut test = TestLedger::new().await;
    sessions(&mut test, 10).await;
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.payment_id = \
        (SELECT id FROM payments WHERE payment_sid = 'PK3') BEGIN SELECT RAISE(ABORT, 'refused'); END";
    let mut connection = test.ledger.0.database.connect().await.unwrap();
    sqlx::query(trigger).execute(&mut connection).await.unwrap();
    let callbacks: Vec<_> = (0..10).map(|n| code_entered(&format!("PK{n}"))).collect();
    let outcomes = join_all(callbacks.iter().map(|own| test.ledger.record_callback(own))).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(matches!(outcome, Ok(RecordOutcome::Written)), n != 3, "{n}: {outcome:?}");
    }
}

#[tokio::test]
async fn whoever_leaves_before_its_group_is_written_leaves_nothing_behind() {
    let mut test = TestLedger::new().await;
    sessions(&mut test, 2).await;
    let turn = test.ledger.0.writer.lock(tokio::time::Instant::now() + BUSY_TIMEOUT).await.unwrap();
    let (gone, stays) = (code_entered("PK0"), code_entered("PK1"));
    let mut leaving = Box::pin(test.ledger.record_callback(&gone));
    assert!(futures_util::poll!(&mut leaving).is_pending());
    drop(leaving);
    let mut staying = Box::pin(test.ledger.record_callback(&stays));
    assert!(futures_util::poll!(&mut staying).is_pending());
    drop(turn);
    assert_eq!(staying.await.unwrap(), RecordOutcome::Written);
    assert_eq!(test.ledger.record_callback(&gone).await.unwrap(), RecordOutcome::Written, "it was not written before");
}
