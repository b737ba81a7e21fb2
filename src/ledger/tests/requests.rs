//! Tests of recorded requests and responses, and of refused requests.

use super::*;
use crate::redact::Private;
use crate::relay::IncomingFrame;

#[tokio::test]
async fn payment_is_recorded_from_the_request_to_the_result() {
    let mut test = TestLedger::new().await;
    let create = test.request_create("25").await.unwrap();
    let id = create.id;
    assert_eq!((test.state(id).await, test.event_kinds(id).await), (PaymentState::Opened, vec!["opening".to_owned()]));
    test.ledger.record_create_response(&create, &TwilioResponse::Created("PK1".parse().unwrap())).await.unwrap();
    let card = update(id, "PK1", UpdateAction::Capture(Field::CardNumber), 1);
    test.update_session(&card, &TwilioResponse::Accepted).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Capturing);
    let entered = [("Capture", "payment-card-number"), ("PartialResult", "false"), ("Required", "")];
    test.deliver_callback("PK1", &entered).await;
    test.ledger.record_update_request(&test.call, &update(id, "PK1", UpdateAction::Complete, 1)).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Submitted, "recorded before the request is sent");
    test.ledger
        .record_update_response(&update(id, "PK1", UpdateAction::Complete, 1), &TwilioResponse::Accepted)
        .await
        .unwrap();
    assert_eq!(test.deliver_callback("PK1", &CHARGED).await, RecordOutcome::Written);

    let payment = test.ledger.payment(id).await.unwrap().unwrap();
    assert_eq!((payment.state, payment.payment_sid.unwrap().as_str()), (PaymentState::Charged, "PK1"));
    assert_eq!(format!("{:?}", payment.amount.unwrap()), "25.00 USD");
    assert_eq!((payment.last4.as_deref(), payment.confirmation_code.as_deref()), (Some("4242"), Some("ch_1")));
    assert!(payment.submitted_at.is_some() && payment.ended_at.is_some() && !payment.holds_token);
    let kinds = ["opening", "answered", "opened", "asking", "answered", "entered", "asking", "answered", "ended"];
    assert_eq!(test.event_kinds(id).await, kinds);
}

#[tokio::test]
async fn refused_session_has_failed_unless_an_earlier_request_is_unanswered() {
    let mut test = TestLedger::new().await;
    let refused = TwilioResponse::Refused { code: Some(64004), reason: "no" };
    let first = test.request_create("25").await.unwrap();
    test.ledger.record_create_response(&first, &refused).await.unwrap();
    assert_eq!(test.state(first.id).await, PaymentState::Failed);
    assert_eq!(test.ledger.payment(first.id).await.unwrap().unwrap().result_code, Some(64004));

    let second = test.request_create("25").await.unwrap();
    test.ledger.record_create_response(&second, &TwilioResponse::Unknown).await.unwrap();
    test.ledger.record_create_request(&test.call, &second).await.unwrap();
    test.ledger.record_create_response(&second, &refused).await.unwrap();
    assert_eq!(test.state(second.id).await, PaymentState::Opened, "the first request may have succeeded");
}

#[tokio::test]
async fn refused_completion_may_be_retried_and_an_unanswered_one_only_with_its_key() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let complete = |n| update(id, "PK1", UpdateAction::Complete, n);
    test.update_session(&update(id, "PK1", UpdateAction::Capture(Field::CardNumber), 1), &TwilioResponse::Accepted)
        .await
        .unwrap();
    let refused = TwilioResponse::Refused { code: Some(64019), reason: "no" };
    test.update_session(&complete(1), &refused).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Capturing);
    test.update_session(&complete(2), &TwilioResponse::Unknown).await.unwrap();
    assert!(matches!(
        test.ledger.record_update_request(&test.call, &complete(3)).await,
        Err(RecordRequestError::NotSubmittable)
    ));
    test.update_session(&complete(2), &refused).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Submitted, "the refusal may be about the second request alone");
    test.deliver_callback("PK1", &CHARGED).await;
    assert!(matches!(
        test.ledger.record_update_request(&test.call, &complete(2)).await,
        Err(RecordRequestError::NotSubmittable)
    ));
    assert_eq!(test.state(id).await, PaymentState::Charged);
}

#[tokio::test]
async fn no_payment_starts_on_a_call_with_an_unsettled_payment() {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("25", "PK1").await;
    assert!(matches!(test.request_create("25").await, Err(RecordRequestError::EarlierUnsettled)));
    test.ledger.record_call_ended(&test.call).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Unknown);
    assert!(matches!(test.request_create("25").await, Err(RecordRequestError::EarlierUnsettled)));
    test.call = call("CA2");
    assert!(test.request_create("25").await.is_ok(), "another call is not blocked");
    test.call = call("CA1");
    test.deliver_callback("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    assert_eq!(test.state(id).await, PaymentState::Declined);
    assert!(test.request_create("25").await.is_ok());
}

#[tokio::test]
async fn amount_due_on_a_call_is_charged_once_across_restarts() {
    let mut test = TestLedger::new().await;
    let due = |amount: &str| [("amountDue".to_owned(), amount.to_owned())].into_iter().collect();
    test.terms = PaymentSettings::sample().parse_terms(&due("25")).unwrap().into();
    test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    let charged = test.submit_payment("25", "PK2").await;
    test.deliver_callback("PK2", &CHARGED).await;
    let mut test = test.restart().await;
    assert_eq!(test.state(charged).await, PaymentState::Charged);
    // The call continues with a server that knows only the amount due.
    assert!(matches!(test.request_create("25").await, Err(RecordRequestError::AlreadyPaid)));
    test.terms = PaymentSettings::sample_terms();
    assert!(test.request_create("25").await.is_ok(), "a new consent is not blocked");
    test.call = call("CA2");
    test.terms = PaymentSettings::sample().parse_terms(&due("25")).unwrap().into();
    assert!(test.request_create("25").await.is_ok(), "another call is not blocked");
}

#[tokio::test]
async fn open_payment_is_abandoned_by_the_next_and_by_the_end_of_the_call() {
    let mut test = TestLedger::new().await;
    let forgotten = test.request_create("25").await.unwrap().id;
    let open = test.create_session("30", "PK2").await;
    assert_eq!((test.state(forgotten).await, test.state(open).await), (PaymentState::Abandoned, PaymentState::Opened));
    test.ledger.record_call_ended(&test.call).await.unwrap();
    assert_eq!(test.state(open).await, PaymentState::Abandoned);
    test.ledger.record_call_ended(&test.call).await.unwrap();
    assert_eq!(test.event_kinds(open).await.iter().filter(|kind| *kind == "given-up").count(), 1);
}

#[tokio::test]
async fn unrequested_session_is_recorded_before_it_is_cancelled() {
    let mut test = TestLedger::new().await;
    let id = test.ids.generate();
    assert!(matches!(
        test.ledger.record_update_request(&test.call, &update(id, "PK9", UpdateAction::Complete, 1)).await,
        Err(RecordRequestError::NotSubmittable)
    ));
    test.update_session(&update(id, "PK9", UpdateAction::Cancel, 1), &TwilioResponse::Accepted).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Opened, "an accepted request is not a result");
    test.deliver_callback("PK9", &[("Result", "transaction-cancelled")]).await;
    assert_eq!(test.state(id).await, PaymentState::Cancelled);
    assert_eq!(test.event_kinds(id).await, ["found", "asking", "answered", "ended"]);
}

#[tokio::test]
async fn events_are_never_changed_and_payments_never_deleted() {
    let mut test = TestLedger::new().await;
    test.create_session("25", "PK1").await;
    for forbidden in ["UPDATE events SET kind = 'x'", "DELETE FROM events", "DELETE FROM payments"] {
        let error = test.execute(forbidden).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
    }
}

#[tokio::test]
async fn control_characters_in_a_reference_are_replaced() {
    let mut test = TestLedger::new().await;
    test.call.call_reference = Some(Private::new("7\u{1b}[2J\u{1b}]0;x\u{7}\n9 charged".to_owned()));
    test.request_create("25").await.unwrap();
    let all = test.ledger.payments(&PaymentFilter { since: None, state: None, after: None, limit: 9 }).await.unwrap();
    let table = PaymentsTable(&all).to_string();
    assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{table:?}");
    assert_eq!(table.lines().count(), 4, "header, payment, blank line, totals: {table}");
}

#[test]
fn card_number_at_the_end_of_a_long_reference_is_removed() {
    for before in 230..256 {
        let reference = format!("{}4242424242424242", "x".repeat(before));
        let setup =
            format!(r#"{{"type":"setup","callSid":"CA1","customParameters":{{"callReference":"{reference}"}}}}"#);
        let Ok(IncomingFrame::Setup(setup)) = IncomingFrame::parse(&setup) else { panic!("a setup frame") };
        let kept = CallData::from_setup(&setup).call_reference.unwrap();
        assert!(!kept.reveal().contains("42") && kept.reveal().chars().count() <= 256, "{before}");
    }
}

#[tokio::test]
async fn payment_in_a_removed_currency_is_still_read() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    test.execute("UPDATE payments SET currency = 'QQQ'").await.unwrap();
    let test = test.restart().await;
    assert_eq!(test.ledger.orphan_all_payments().await.len(), 1);
    let all = test.ledger.payments(&PaymentFilter { since: None, state: None, after: None, limit: 9 }).await.unwrap();
    assert_eq!(format!("{:?}", all[0].amount.unwrap()), "25.00 QQQ");
    assert!(
        PaymentsTable(&all).to_string().contains("25.00 QQQ")
            && PaymentsCsv(&all).to_string().contains("25.00,2500,QQQ")
    );

    test.execute("UPDATE payments SET currency = 'no code'").await.unwrap();
    assert!(matches!(test.ledger.payment(id).await, Err(LedgerError::Unreadable("a currency"))));
}
