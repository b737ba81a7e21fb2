//! The search for payments, and what happened to those of a period.

use super::*;

/// A charged payment, one of which a field was entered, one that was only opened, and one that was declined. A later
/// session of a call abandons the earlier ones.
async fn ledger_of_a_day() -> (TestLedger, [PaymentId; 4]) {
    let mut test = TestLedger::new().await;
    let charged = test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    let entered = test.create_session("26", "PK2").await;
    let card = UpdateAction::Capture(Field::CardNumber);
    test.update_session(&update(entered, "PK2", card, 1), &TwilioResponse::Accepted).await.unwrap();
    let mask =
        [("Capture", "payment-card-number"), ("PartialResult", "false"), ("PaymentCardNumber", "xxxxxxxxxxxx4242")];
    test.deliver_callback("PK2", &mask).await;
    let wrong = [("Capture", "payment-card-number"), ("PartialResult", "true"), ("ErrorType", "invalid-card-number")];
    test.deliver_callback("PK2", &wrong).await;
    let opened = test.create_session("27", "PK3").await;
    let declined = test.submit_payment("28", "PK4").await;
    test.deliver_callback("PK4", &[("Result", "payment-connector-error"), ("PayErrorCode", "64012")]).await;
    (test, [charged, entered, opened, declined])
}

#[tokio::test]
async fn a_day_is_counted_by_step_state_and_guard() {
    let (test, _) = ledger_of_a_day().await;
    let activity = test.ledger.activity_since(Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(activity.funnel, Funnel { started: 4, entered: 3, submitted: 2, succeeded: 1 });
    let sum = |hours: &std::collections::BTreeMap<i64, std::collections::BTreeMap<&str, u64>>, name| -> u64 {
        hours.values().filter_map(|counts| counts.get(name)).sum()
    };
    for (state, count) in [("charged", 1), ("abandoned", 2), ("declined", 1), ("unknown", 0)] {
        assert_eq!(sum(&activity.states, state), count, "{state}: {activity:?}");
    }
    assert_eq!((sum(&activity.guards, "wrong"), sum(&activity.guards, "card-failed")), (1, 1));
    let hour = Timestamp::now().as_second() / 3600;
    assert!(activity.states.keys().all(|at| (hour - 1..=hour).contains(at)), "{activity:?}");
    assert_eq!(test.ledger.activity_since(Timestamp::MAX).await.unwrap(), Activity::default());
}

#[tokio::test]
async fn a_search_finds_the_newest_first_and_goes_on_from_there() {
    let (test, [charged, entered, opened, declined]) = ledger_of_a_day().await;
    let find = async |search: PaymentSearch| -> Vec<PaymentId> {
        test.ledger.search(&search).await.unwrap().into_iter().map(|payment| payment.id).collect()
    };
    let all = PaymentSearch { limit: 9, ..PaymentSearch::default() };
    assert_eq!(find(all.clone()).await, [declined, opened, entered, charged]);
    assert_eq!(find(PaymentSearch { limit: 2, ..all.clone() }).await, [declined, opened]);
    assert_eq!(find(PaymentSearch { before: Some(opened), ..all.clone() }).await, [entered, charged]);
    let state = Some(PaymentState::Declined);
    assert_eq!(find(PaymentSearch { state, ..all.clone() }).await, [declined]);
    for (text, found) in [
        ("pk3", vec![opened]),
        ("%", vec![]),
        ("4242", vec![entered, charged]),
        (" ", vec![declined, opened, entered, charged]),
    ] {
        assert_eq!(find(PaymentSearch { text: Some(text.to_owned()), ..all.clone() }).await, found, "{text}");
    }
    let by_id = PaymentSearch { text: Some(charged.to_string().to_uppercase()), ..all.clone() };
    assert_eq!(find(by_id).await, [charged]);
    assert_eq!(find(PaymentSearch { since: Some(Timestamp::MAX), ..all }).await, []);
}
