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
    let told = json!({"id": id.to_string(), "state": "charged", "at": null, "callSid": "CA1", "callReference": "order-7",
        "amount": "25.00", "minor": 2500, "currency": "USD", "last4": "4242", "confirmationCode": "ch_1",
        "paymentToken": null, "profileId": null, "error": null});
    assert_eq!(body, told);
}

#[tokio::test]
async fn an_outcome_that_is_not_taken_comes_back_later_and_one_that_is_never_again() {
    let mut desk = Desk::new().await;
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    let now = Timestamp::now();
    let first = desk.ledger.due(now, 9).await.unwrap().remove(0);
    assert!(first.body.expose_secret().contains(r#""error":{"result":"payment-connector-error","code":64008}"#));
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
