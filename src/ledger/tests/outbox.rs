//! Outcomes on their way to the business.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn every_outcome_waits_with_all_that_the_business_wants_to_know() {
    let mut desk = Desk::new().await;
    desk.call.reference = Some(crate::redact::Private::new("order-7".to_owned()));
    let id = desk.submitted("25", "PK1").await;
    assert!(desk.ledger.due(Timestamp::now(), 9).await.unwrap().is_empty());
    desk.told("PK1", &CHARGED).await;
    let [due] = &desk.ledger.due(Timestamp::now(), 9).await.unwrap()[..] else { panic!() };
    let mut body: Value = serde_json::from_str(due.body.expose_secret()).unwrap();
    assert!(body["at"].take().as_str().unwrap().ends_with('Z'));
    let event = body["eventId"].take();
    assert!(event.as_str().unwrap().parse::<Uuid>().is_ok());
    let told = json!({"eventId": null, "type": "payment.charged", "id": id.to_string(), "state": "charged", "at": null,
        "callSid": "CA1", "paymentSid": "PK1", "callReference": "order-7", "orderReference": null, "description": null,
        "method": "credit-card", "live": true, "amount": "25.00", "minor": 2500, "currency": "USD", "refundedMinor": 0,
        "last4": "4242", "confirmationCode": "ch_1", "paymentToken": null, "profileId": null, "error": null,
        "refund": null});
    assert_eq!(body, told);
}

#[tokio::test]
async fn an_outcome_that_is_not_taken_comes_back_later_and_one_that_is_never_again() {
    let mut desk = Desk::new().await;
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    let now = Timestamp::now();
    let first = desk.ledger.due(now, 9).await.unwrap().remove(0);
    assert!(
        first.body.expose_secret().contains(r#""error":{"result":"payment-connector-error","code":64008,"text":null}"#)
    );
    let later = now + SignedDuration::from_secs(60);
    desk.ledger.postponed(&first, later).await.unwrap();
    assert!(desk.ledger.due(now, 9).await.unwrap().is_empty());
    assert_eq!(desk.ledger.next_due(now).await.unwrap().unwrap().as_second(), later.as_second());
    let mut desk = desk.restarted().await;
    let again = desk.ledger.due(later, 9).await.unwrap().remove(0);
    assert_eq!((again.attempts, again.body.expose_secret()), (1, first.body.expose_secret()));
    desk.ledger.delivered(&again).await.unwrap();
    desk.ledger.delivered(&again).await.unwrap();
    assert!(desk.ledger.due(later, 9).await.unwrap().is_empty());
    assert_eq!(desk.ledger.backlog().await.unwrap(), Backlog { waiting: 0, oldest: None });
    assert_eq!(
        desk.opened("1", "PK2").await,
        desk.ledger.payments(&Filter { since: None, state: Some(State::Opened), after: None, limit: 9 }).await.unwrap()
            [0]
        .id
    );
}

#[tokio::test]
async fn of_two_outcomes_the_older_goes_first() {
    let mut desk = Desk::new().await;
    desk.submitted("25", "PK1").await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    desk.told("PK1", &CHARGED).await;
    for state in ["unknown", "charged"] {
        let due = desk.ledger.due(Timestamp::now(), 9).await.unwrap();
        let [due] = &due[..] else { panic!("{due:?}") };
        assert!(due.body.expose_secret().contains(&format!(r#""state":"{state}""#)));
        desk.ledger.delivered(due).await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_delays_nothing_beyond_the_longest_wait() {
    let mut desk = Desk::new().await;
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &CHARGED).await;
    let now = Timestamp::now();
    let due = desk.ledger.due(now, 9).await.unwrap().remove(0);
    desk.ledger.postponed(&due, now + LONGEST_WAIT).await.unwrap();
    assert!(desk.ledger.due(now, 9).await.unwrap().is_empty());
    let set_back = now - SignedDuration::from_hours(5);
    assert_eq!(desk.ledger.due(set_back, 9).await.unwrap().len(), 1);
    assert_eq!(desk.ledger.backlog().await.unwrap().age(set_back), Some(SignedDuration::ZERO));
}

#[tokio::test]
async fn everything_that_waits_can_be_made_due_now() {
    let mut desk = Desk::new().await;
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &CHARGED).await;
    let due = desk.ledger.due(Timestamp::now(), 9).await.unwrap().remove(0);
    desk.ledger.postponed(&due, Timestamp::now() + SignedDuration::from_mins(46)).await.unwrap();
    assert!(desk.ledger.due(Timestamp::now(), 9).await.unwrap().is_empty());
    assert_eq!(desk.ledger.deliver_now().await.unwrap().waiting, 1);
    assert_eq!(desk.ledger.due(Timestamp::now(), 9).await.unwrap().len(), 1);
}

fn body(due: &Due) -> Value {
    serde_json::from_str(due.body.expose_secret()).unwrap()
}

#[tokio::test]
async fn an_event_keeps_its_id_over_attempts_and_restarts_and_each_has_its_own() {
    let mut desk = Desk::new().await;
    desk.submitted("25", "PK1").await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    let first = desk.ledger.due(Timestamp::now(), 9).await.unwrap().remove(0);
    assert_eq!(body(&first)["type"], "payment.unknown", "told as soon as it is known");
    desk.ledger.postponed(&first, Timestamp::now()).await.unwrap();
    let desk = desk.restarted().await;
    let again = desk.ledger.due(Timestamp::now(), 9).await.unwrap().remove(0);
    assert_eq!(body(&first)["eventId"], body(&again)["eventId"]);
    desk.ledger.delivered(&again).await.unwrap();
    desk.told("PK1", &CHARGED).await;
    let later = desk.ledger.due(Timestamp::now(), 9).await.unwrap().remove(0);
    assert_eq!(body(&later)["type"], "payment.charged");
    assert_ne!(body(&first)["eventId"], body(&later)["eventId"]);
}

#[tokio::test]
async fn what_an_older_version_left_to_be_delivered_has_an_id_and_a_type() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    let older = json!({"id": id.to_string(), "state": "declined", "at": "2026-11-22T12:00:00Z", "callSid": "CA1",
        "callReference": null, "amount": "25.00", "minor": 2500, "currency": "USD", "last4": null,
        "confirmationCode": null, "paymentToken": null, "profileId": null, "error": {"result": null, "code": 64008}});
    let mut writing = desk.ledger.write().await.unwrap();
    sqlx::query("INSERT INTO outbox (payment_id, outcome, written_at, due_at) VALUES (?, ?, 0, 0)")
        .bind(id.to_string())
        .bind(older.to_string())
        .execute(&mut *writing.transaction)
        .await
        .unwrap();
    writing.commit().await.unwrap();
    let [first, again] = [(); 2].map(|()| desk.ledger.due(Timestamp::now(), 9));
    let (first, again) = (body(&first.await.unwrap()[0]), body(&again.await.unwrap()[0]));
    assert!(first == again && first["eventId"].is_string() && first["type"] == "payment.declined", "{first}");
}

#[tokio::test]
async fn a_payment_of_test_mode_says_so_for_ever() {
    let mut desk = Desk::new().await;
    desk.ledger.set_live(false);
    let id = desk.submitted("25", "PK1").await;
    desk.ledger.set_live(true);
    desk.told("PK1", &CHARGED).await;
    assert!(!desk.ledger.payment(id).await.unwrap().unwrap().live);
    assert_eq!(body(&desk.ledger.due(Timestamp::now(), 9).await.unwrap()[0])["live"], false);
}
