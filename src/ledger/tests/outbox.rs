//! Tests of the outbox.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn webhook_event_contains_all_fields() {
    let mut test = TestLedger::new().await;
    test.call.call_reference = Some(crate::redact::Private::new("order-7".to_owned()));
    let id = test.submit_payment("25", "PK1").await;
    assert!(test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().is_empty());
    test.deliver_callback("PK1", &CHARGED).await;
    let [due] = &test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap()[..] else { panic!() };
    let mut body: Value = serde_json::from_str(due.body.as_ref().unwrap().expose_secret()).unwrap();
    assert!(body["at"].take().as_str().unwrap().ends_with('Z'));
    let event = body["eventId"].take();
    assert!(event.as_str().unwrap().parse::<Uuid>().is_ok());
    let expected = json!({"eventId": null, "type": "payment.charged", "id": id.to_string(), "state": "charged", "at": null,
        "callSid": "CA1", "paymentSid": "PK1", "callReference": "order-7", "orderReference": null, "description": null,
        "method": "credit-card", "live": true, "amount": "25.00", "minor": 2500, "currency": "USD", "refundedMinor": 0,
        "last4": "4242", "confirmationCode": "ch_1", "paymentToken": null, "profileId": null, "error": null,
        "authorization": null, "refund": null});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn postponed_outcome_is_retried_and_delivered_outcome_is_not() {
    let mut test = TestLedger::new().await;
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    let now = Timestamp::now();
    let first = test.ledger.due_deliveries(now, 9).await.unwrap().remove(0);
    assert!(
        first
            .body
            .as_ref()
            .unwrap()
            .expose_secret()
            .contains(r#""error":{"result":"payment-connector-error","code":64008,"text":null}"#)
    );
    let later = now + SignedDuration::from_secs(60);
    test.ledger.postpone_delivery(&first, later).await.unwrap();
    assert!(test.ledger.due_deliveries(now, 9).await.unwrap().is_empty());
    assert_eq!(test.ledger.next_delivery_at(now).await.unwrap().unwrap().as_second(), later.as_second());
    let mut test = test.restart().await;
    let again = test.ledger.due_deliveries(later, 9).await.unwrap().remove(0);
    assert_eq!(
        (again.attempts, again.body.as_ref().unwrap().expose_secret()),
        (1, first.body.as_ref().unwrap().expose_secret())
    );
    test.ledger.record_delivered(&again).await.unwrap();
    test.ledger.record_delivered(&again).await.unwrap();
    assert!(test.ledger.due_deliveries(later, 9).await.unwrap().is_empty());
    assert_eq!(test.ledger.backlog().await.unwrap(), Backlog { waiting: 0, oldest: None });
    assert_eq!(
        test.create_session("1", "PK2").await,
        test.ledger
            .payments(&PaymentFilter { since: None, state: Some(PaymentState::Opened), after: None, limit: 9 })
            .await
            .unwrap()[0]
            .id
    );
}

#[tokio::test]
async fn older_outcome_of_a_payment_is_delivered_first() {
    let mut test = TestLedger::new().await;
    test.submit_payment("25", "PK1").await;
    test.ledger.record_call_ended(&test.call).await.unwrap();
    test.deliver_callback("PK1", &CHARGED).await;
    for state in ["unknown", "charged"] {
        let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
        let [due] = &due[..] else { panic!("{due:?}") };
        assert!(due.body.as_ref().unwrap().expose_secret().contains(&format!(r#""state":"{state}""#)));
        test.ledger.record_delivered(due).await.unwrap();
    }
}

#[tokio::test]
async fn clock_set_back_delays_no_delivery_beyond_the_longest_delay() {
    let mut test = TestLedger::new().await;
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    let now = Timestamp::now();
    let due = test.ledger.due_deliveries(now, 9).await.unwrap().remove(0);
    test.ledger.postpone_delivery(&due, now + MAX_RETRY_DELAY).await.unwrap();
    assert!(test.ledger.due_deliveries(now, 9).await.unwrap().is_empty());
    let set_back = now - SignedDuration::from_hours(5);
    assert_eq!(test.ledger.due_deliveries(set_back, 9).await.unwrap().len(), 1);
    assert_eq!(test.ledger.backlog().await.unwrap().age(set_back), Some(SignedDuration::ZERO));
}

#[tokio::test]
async fn undelivered_outcomes_can_be_made_due_now() {
    let mut test = TestLedger::new().await;
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &CHARGED).await;
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    test.ledger.postpone_delivery(&due, Timestamp::now() + SignedDuration::from_mins(46)).await.unwrap();
    assert!(test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().is_empty());
    assert_eq!(test.ledger.make_deliveries_due().await.unwrap().waiting, 1);
    assert_eq!(test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().len(), 1);
}

fn body(due: &DueDelivery) -> Value {
    serde_json::from_str(due.body.as_ref().unwrap().expose_secret()).unwrap()
}

#[tokio::test]
async fn event_id_is_unique_and_stable_across_attempts_and_restarts() {
    let mut test = TestLedger::new().await;
    test.submit_payment("25", "PK1").await;
    test.ledger.record_call_ended(&test.call).await.unwrap();
    let first = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    assert_eq!(body(&first)["type"], "payment.unknown", "delivered as soon as it is known");
    test.ledger.postpone_delivery(&first, Timestamp::now()).await.unwrap();
    let test = test.restart().await;
    let again = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    assert_eq!(body(&first)["eventId"], body(&again)["eventId"]);
    test.ledger.record_delivered(&again).await.unwrap();
    test.deliver_callback("PK1", &CHARGED).await;
    let later = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    assert_eq!(body(&later)["type"], "payment.charged");
    assert_ne!(body(&first)["eventId"], body(&later)["eventId"]);
}

#[tokio::test]
async fn outcome_of_an_older_version_gets_an_id_and_a_type() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    let older = json!({"id": id.to_string(), "state": "declined", "at": "2026-11-22T12:00:00Z", "callSid": "CA1",
        "callReference": null, "amount": "25.00", "minor": 2500, "currency": "USD", "last4": null,
        "confirmationCode": null, "paymentToken": null, "profileId": null, "error": {"result": null, "code": 64008}});
    let mut writing = test.ledger.begin_write().await.unwrap();
    sqlx::query("INSERT INTO outbox (payment_id, outcome, written_at, due_at) VALUES ($1, $2, 0, 0)")
        .bind(id.to_string())
        .bind(older.to_string())
        .execute(&mut writing.transaction)
        .await
        .unwrap();
    writing.commit().await.unwrap();
    let [first, again] = [(); 2].map(|()| test.ledger.due_deliveries(Timestamp::now(), 9));
    let (first, again) = (body(&first.await.unwrap()[0]), body(&again.await.unwrap()[0]));
    assert!(first == again && first["eventId"].is_string() && first["type"] == "payment.declined", "{first}");
}

#[tokio::test]
async fn payment_of_test_mode_stays_marked() {
    let mut test = TestLedger::new().await;
    test.ledger.set_live(false);
    let id = test.submit_payment("25", "PK1").await;
    test.ledger.set_live(true);
    test.deliver_callback("PK1", &CHARGED).await;
    assert!(!test.ledger.payment(id).await.unwrap().unwrap().live);
    assert_eq!(body(&test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap()[0])["live"], false);
}

#[tokio::test]
async fn a_sealed_token_is_delivered_by_whoever_has_its_key() {
    const OTHER_KEY: &str = "b3RoZXIga2V5IG9mIDMyIGJ5dGVzLCBpdCBpcyBpbi4=";
    let mut test = TestLedger::new().await;
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    test.submit_payment("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    assert_eq!(test.count("SELECT count(*) FROM payments WHERE token LIKE 'sealed:1:%'").await, 1);
    let both = format!("{OTHER_KEY},{SEALING_KEY}");
    for (keys, opens) in [(SEALING_KEY, true), (OTHER_KEY, false), ("", false), (&*both, true)] {
        test = test.restart().await;
        if let Ok(keys) = keys.parse() {
            test.ledger.set_sealing_keys(keys);
        }
        let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
        assert_eq!(due[0].body.as_ref().is_ok_and(|body| body.expose_secret().contains("tok_hush-hush")), opens);
        assert_eq!(due[0].body.is_ok(), opens, "it is not delivered without its token");
    }
}

#[tokio::test]
async fn a_submission_and_its_outcome_name_what_the_caller_authorised() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let spoken = "Ann Lee authorizes a debit of 25 dollars.";
    let authorization = crate::payment::ConsentRecord {
        purpose: crate::payment::ConsentPurpose::BankDebit(Amount::parse("25", Currency::USD).unwrap().unwrap()),
        text: spoken.replace("Ann Lee", "{name}"),
        sha256: crate::payment::text_sha256(spoken),
        language: "en-US".to_owned(),
        text_version: "0a1b2c3d".to_owned(),
        answer: crate::payment::ConsentAnswer::Yes,
    };
    let capture = update(id, "PK1", UpdateAction::Capture(Field::BankAccountNumber), 1);
    test.update_session(&capture, &TwilioResponse::Accepted).await.unwrap();
    let complete = update(id, "PK1", UpdateAction::Complete, 1);
    let complete = UpdatePayment { authorization: Some(Box::new(authorization.clone())), ..complete };
    for answer in [TwilioResponse::Unknown, TwilioResponse::Accepted] {
        test.update_session(&complete, &answer).await.unwrap();
    }
    let kinds = test.event_kinds(id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "authorized").count(), 1, "it is repeated: {kinds:?}");
    assert_eq!(test.read_consent(id).await, None, "it is no consent to the payment");
    test.deliver_callback("PK1", &CHARGED).await;
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
    let body: Value = serde_json::from_str(due[0].body.as_ref().unwrap().expose_secret()).unwrap();
    let told = &body["authorization"];
    assert_eq!((&told["purpose"], &told["sha256"]), (&"bank-debit".into(), &authorization.sha256.clone().into()));
    assert_eq!((&told["textVersion"], &told["language"]), (&"0a1b2c3d".into(), &"en-US".into()));
    assert!(told["id"].as_str().is_some_and(|id| id.parse::<uuid::Uuid>().is_ok()) && told["at"].is_string(), "{told}");
    assert_ne!(test.is_in_files("Ann Lee"), Some(true), "the name of the payer is not recorded");

    test.submit_payment("5", "PK2").await;
    test.deliver_callback("PK2", &CHARGED).await;
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
    let body: Value = serde_json::from_str(due[1].body.as_ref().unwrap().expose_secret()).unwrap();
    assert_eq!(body["authorization"], Value::Null);
}
