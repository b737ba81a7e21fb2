//! Tests that personal data is erased, and nothing else.

use super::*;

/// Charges a caller for an order.
async fn charge_order(test: &mut TestLedger, n: u32) -> PaymentId {
    test.call = call(&format!("CA{n}"));
    test.call.set_call_reference(&format!("hush-reference-{n}"));
    test.call.set_order_reference(&format!("hush-order-{n}"));
    let parameters = [("description".to_owned(), format!("hush-description-{n}"))].into_iter().collect();
    test.terms = PaymentSettings::sample().parse_terms(&parameters).unwrap().into();
    let sid = format!("PK{n}");
    let id = test.submit_payment("25", &sid).await;
    let mut success = status(&sid, &CHARGED);
    success.call_sid = test.call.call_sid.clone();
    test.ledger.record_callback(&success).await.unwrap();
    id
}

async fn deliver_all(test: &TestLedger) {
    while let Some(due) = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().pop() {
        test.ledger.record_delivered(&due).await.unwrap();
    }
}

#[tokio::test]
async fn erased_data_of_a_caller_is_in_no_byte_of_the_files() {
    let mut test = TestLedger::new().await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(charge_order(&mut test, n).await);
    }
    deliver_all(&test).await;
    let caller = "+15550100001".parse().unwrap();
    for text in ["hush-reference-59", "hush-description"] {
        assert_ne!(test.is_in_files(text), Some(false), "{text}");
    }
    let erased = test.ledger.erase_caller(&caller, |_, _| {}).await.unwrap();
    assert_eq!(erased, ErasureResult { erased: 60, kept: 0 });
    test.ledger.vacuum().await.unwrap();
    test.ledger.wipe_erased().await.unwrap();
    assert!(!test.ledger.is_wipe_pending());
    for text in ["hush", "15550100001"] {
        assert_ne!(test.is_in_files(text), Some(true), "{text}");
    }
    let payment = test.ledger.payment(ids[0]).await.unwrap().unwrap();
    assert_eq!((payment.state, payment.amount.map(Amount::minor)), (PaymentState::Charged, Some(2500)));
    assert_eq!(payment.last4.as_deref(), Some("4242"));
    assert_eq!(test.event_kinds(ids[0]).await.last().unwrap(), "personal-data-erased");
    test.call.set_call_reference("hush-reference-7");
    test.call.set_order_reference("hush-order-7");
    test.call.call_sid = "CA99".parse().unwrap();
    assert!(
        matches!(test.request_create("25").await, Err(RecordRequestError::OrderHasPayment(_))),
        "the order stays paid"
    );
}

#[tokio::test]
async fn unfinished_or_undelivered_payment_keeps_its_caller() {
    let mut test = TestLedger::new().await;
    let delivered = charge_order(&mut test, 1).await;
    deliver_all(&test).await;
    let undelivered = charge_order(&mut test, 2).await;
    test.call = call("CA3");
    test.call.set_call_reference("another");
    let submitted = test.submit_payment("25", "PK3").await;
    let erased = test.ledger.erase_caller(&"+15550100001".parse().unwrap(), |_, _| {}).await.unwrap();
    assert_eq!(erased, ErasureResult { erased: 1, kept: 2 });
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(24);
    assert_eq!(test.ledger.erase_personal_data(later).await.unwrap(), 0);
    for (id, has_caller) in [(delivered, false), (undelivered, true), (submitted, true)] {
        assert_eq!(test.ledger.payment(id).await.unwrap().unwrap().caller.is_some(), has_caller);
    }
}

#[tokio::test]
async fn many_payments_are_erased_in_many_transactions() {
    let mut test = TestLedger::new().await;
    charge_order(&mut test, 1).await;
    deliver_all(&test).await;
    test.duplicate_payments(2000).await;
    let commits = || test.ledger.0.commits.load(Ordering::Relaxed);
    let before = commits();
    let mut steps = Vec::new();
    let caller = "+15550100001".parse().unwrap();
    let erased = test.ledger.erase_caller(&caller, |done, all| steps.push((done, all))).await.unwrap();
    assert_eq!(erased, ErasureResult { erased: 2001, kept: 0 });
    assert_eq!(commits() - before, 21, "a hundred payments each");
    assert_eq!((steps.len(), steps[0], steps[20]), (21, (100, 2001), (2001, 2001)));
    let kept =
        "SELECT count(*) FROM payments WHERE coalesce(caller, call_reference, order_reference, description) IS NOT NULL";
    assert_eq!(test.count(kept).await, 0);
}

#[tokio::test]
async fn interrupted_erasure_is_finished_by_another_run() {
    let mut test = TestLedger::new().await;
    charge_order(&mut test, 1).await;
    deliver_all(&test).await;
    test.duplicate_payments(1000).await;
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let erase = test.ledger.clone();
    // Interrupts the first transaction or the pause after it.
    let cut = tokio::time::timeout(std::time::Duration::from_millis(5), erase.erase_personal_data(later)).await;
    assert!(cut.is_err());
    test.call = call("CA2");
    test.call.caller = None;
    let (rest, _) = tokio::join!(erase.erase_personal_data(later), test.create_session("25", "PK2"));
    assert!(rest.unwrap() > 0);
    assert_eq!(erase.erase_personal_data(later).await.unwrap(), 0);
    let events = "SELECT count(*) FROM events WHERE kind = 'personal-data-erased'";
    assert_eq!(test.count(events).await, 1001, "each once");
}

#[tokio::test]
async fn totals_are_by_day_currency_and_state() {
    let mut test = TestLedger::new().await;
    let refunded = charge_order(&mut test, 1).await;
    charge_order(&mut test, 2).await;
    let part =
        Refund { kind: RefundKind::Refund, amount: "10".into(), reference: "re_1".into(), at: None, operator: None };
    test.ledger.record_refund(refunded, &part).await.unwrap();
    test.ledger.set_live(false);
    test.call = call("CA3");
    test.submit_payment("0", "PK3").await;
    let totals = test.ledger.totals(None).await.unwrap();
    let csv = TotalsCsv(&totals).to_string();
    let lines: Vec<&str> = csv.lines().skip(1).map(|line| line.split_once(',').unwrap().1).collect();
    assert_eq!(lines, [",submitted,test,1,,0,,0", "USD,charged,live,2,50.00,5000,10.00,1000"], "{csv}");
    assert!(TotalsTable(&totals).to_string().contains("charged    live        2            50.00            10.00"));
    assert!(test.ledger.totals(Some(Timestamp::now() + jiff::SignedDuration::from_hours(1))).await.unwrap().is_empty());
}
