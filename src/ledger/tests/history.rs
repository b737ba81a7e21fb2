//! Tests that all that is known of a payment is read.

use serde_json::Value;

use super::*;
use crate::payment::{ConsentAnswer, ConsentPurpose, ConsentRecord};

#[tokio::test]
async fn all_that_is_known_of_a_payment_is_read_at_once() {
    let mut test = TestLedger::new().await;
    let agreed = ConsentRecord {
        purpose: ConsentPurpose::Charge(Amount::parse("25", Currency::USD).unwrap().unwrap()),
        text: "That is 25 dollars.".to_owned(),
        sha256: crate::payment::text_sha256("as spoken"),
        language: "en-US".to_owned(),
        text_version: "0a1b2c3d".to_owned(),
        answer: ConsentAnswer::Yes,
    };
    test.ledger.record_statement(&test.call, &agreed).await.unwrap();
    let id = test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    let history = test.ledger.history_of_payment(id).await.unwrap().unwrap();
    assert_eq!((history.payment.id, history.payment.state), (id, PaymentState::Charged));
    assert_eq!(history.events.len(), test.ledger.events(id).await.unwrap().len());
    assert_eq!(history.statements.len(), 1);
    assert!(history.deliveries[0].delivered_at.is_none() && history.direction.is_none());

    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    test.ledger.postpone_delivery(&due, Timestamp::now()).await.unwrap();
    test.ledger.record_delivered(&due).await.unwrap();
    let history = test.ledger.history_of_payment(id).await.unwrap().unwrap();
    let [told] = &history.deliveries[..] else { panic!("{:?}", history.deliveries) };
    assert!(told.delivered_at >= Some(told.written_at) && told.failed_attempts == 1);
    let event: Value = serde_json::from_str(told.event.get()).unwrap();
    assert_eq!((&event["type"], &event["paymentToken"]), (&"payment.charged".into(), &Value::Null));
    let of_call = test.ledger.payments_of_call(&test.call.call_sid).await.unwrap();
    assert_eq!(of_call.iter().map(|payment| payment.id).collect::<Vec<_>>(), [id]);
    assert!(test.ledger.history_of_payment(test.ids.generate()).await.unwrap().is_none());
}

#[tokio::test]
async fn the_direction_of_a_call_is_known_until_its_end_is_delivered() {
    let mut test = TestLedger::new().await;
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    let id = test.submit_payment("25", "PK1").await;
    let end = CallEnd {
        call: test.call.clone(),
        outbound: true,
        started_at: Timestamp::now(),
        reason: "caller-hung-up",
        handoff: None,
        summary: Private::new(String::new()),
        arguments: Private::new(serde_json::Map::new()),
        is_recovered: false,
    };
    test.ledger.report_call_end(end).await.unwrap();
    let history = test.ledger.history_of_payment(id).await.unwrap().unwrap();
    assert_eq!(history.direction.as_deref(), Some("outbound"));
    for due in test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap() {
        test.ledger.record_delivered(&due).await.unwrap();
    }
    assert_eq!(test.ledger.history_of_payment(id).await.unwrap().unwrap().direction, None);
}
