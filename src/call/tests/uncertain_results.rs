//! Payments for which Twilio's responses and callbacks are late, repeated, missing or unexpected.

use super::*;

#[test]
fn a_failed_entry_is_not_announced_after_the_payment_was_cancelled() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Please cancel that");
    let late = [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "input-timeout")];
    line.twilio_reports("PK1", &late);
    line.model_replies("Of course.", &["cancel-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(line.history().ends_with("Next: tell the caller so.\"}\n"), "{}", line.history());
}

#[test]
fn repeated_and_late_callbacks_are_ignored() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    let done =
        [&card_callback("false", "security-code,expiration-date")[..], &[("DateUpdated", "2026-01-01T00:00:09.000Z")]]
            .concat();
    let late =
        [&card_callback("true", "payment-card-number")[..], &[("DateUpdated", "2026-01-01T00:00:08.000Z")]].concat();
    line.twilio_reports("PK1", &done);
    line.model_replies("Got your card.", &[]);
    for again in [&done, &late] {
        assert_eq!(line.twilio_reports("PK1", again), line.actions.len());
    }
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("You pressed star.", &[]);
    let told = line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    assert_eq!(told, line.actions.len(), "the first of two results without success counts");
}

#[test]
fn a_callback_may_arrive_before_the_create_response() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    line.twilio_reports("PK1", &[("PaymentMethod", "credit-card"), ("DateCreated", "2026-01-01T00:00:00.000Z")]);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    line.model_replies("", &["capture-card"]);
    assert!(line.only_update("capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
}

#[test]
fn only_a_request_without_a_response_is_repeated_with_the_same_key() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    let key = |tool: &Tool| match tool {
        Tool::StartCapture(create) => create.idempotency_key.clone(),
        Tool::UpdatePayment(update) => update.idempotency_key.clone(),
        other => panic!("{other:?}"),
    };
    let first = key(&line.running_tools[0].1);
    line.twilio_answers(TwilioResponse::Unknown);
    line.model_replies("", &["start-capture"]);
    assert_eq!(key(&line.running_tools[0].1), first);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    line.model_replies("", &["capture-card"]);
    let card = key(&line.running_tools[0].1);
    assert_ne!(card, first);
    line.twilio_answers(TwilioResponse::Accepted);
    line.model_replies("", &["capture-card"]);
    assert_ne!(key(&line.running_tools[0].1), card, "after an accepted request, the next one is new");
}

#[test]
fn complete_without_a_response_is_repeated_with_the_same_key() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    let first = line.only_update("finish-capture").unwrap().clone();
    line.twilio_answers(TwilioResponse::Unknown);
    line.model_replies("", &["finish-capture"]);
    let second = line.only_update("finish-capture").unwrap().clone();
    assert_eq!(first, second);
    line.twilio_answers(TwilioResponse::Accepted);
    line.model_replies("", &["finish-capture"]);
    assert!(line.running_tools.is_empty() && line.history().contains("submitted already"));
}

/// Submits a payment whose `complete` request has no response.
fn reach_unanswered_completion() -> TestCall {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(TwilioResponse::Unknown);
    line
}

#[test]
fn the_response_to_a_repeated_complete_does_not_settle_the_first() {
    let refused = TwilioResponse::Refused { code: None, reason: "No." };
    for answer in [TwilioResponse::Gone, refused, TwilioResponse::Unknown] {
        let mut line = reach_unanswered_completion();
        line.model_replies("", &["finish-capture"]);
        line.twilio_answers(answer);
        assert!(
            line.history().contains("Do not say that it worked") && !line.history().contains("nothing was submitted")
        );
        for tool in ["start-capture", "cancel-capture", "capture-card"] {
            line.model_replies("", &[tool]);
            assert!(line.running_tools.is_empty(), "{tool}: the first submission may have been charged");
        }
        line.model_replies("One moment.", &[]);
        line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
        assert!(line.history().contains("storing the card succeeded"));
        assert!(matches!(line.ledger_entries().last(), Some(PaymentLogEntry::Ended { .. })));
    }
}

#[test]
fn the_hand_off_data_mentions_an_unknown_result() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    line.model_replies("One moment.", &[]);
    for _ in 0..3 {
        line.advance(STALL_TIMEOUT + 10 * SECOND);
        if line.pending_request.is_some() {
            line.model_replies("It takes longer than usual.", &[]);
        }
    }
    let handed = line.end_frames();
    assert!(matches!(handed.as_slice(), [Some(data)] if data.contains("its result was not known")));
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(
        matches!(line.ledger_entries().last(), Some(PaymentLogEntry::Ended { .. })),
        "the result is recorded after the hand-off too"
    );
}

#[test]
fn a_result_during_the_goodbye_is_announced_first() {
    let mut line = reach_unanswered_completion();
    line.caller_says("Give me a person");
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(line.history().contains("storing the card succeeded"));
    line.model_replies("Your card is stored, and I connect you.", &[]);
    line.advance(20 * SECOND);
    assert!(matches!(line.end_frames().as_slice(), [Some(_)]));
}

#[test]
fn a_cancel_without_a_response_is_repeated_at_the_end_of_the_call() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    let first = line.only_update("cancel-capture").unwrap().clone();
    line.twilio_answers(TwilioResponse::Unknown);
    line.feed(CallEvent::HungUp);
    assert!(line.only_update("cancel-capture").is_some_and(|again| *again == first));
    line.twilio_answers(TwilioResponse::Unknown);
    assert!(line.ledger_entries().iter().any(|entry| matches!(entry, PaymentLogEntry::CancelUnconfirmed { .. })));
}

#[test]
fn a_cancelled_payment_is_recorded_and_announced_once() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    line.twilio_answers(TwilioResponse::Accepted);
    assert_eq!(line.history().matches("nothing was charged").count(), 1, "{}", line.history());
    assert!(matches!(line.ledger_entries().last(), Some(PaymentLogEntry::Ended { .. })));
}

#[test]
fn an_unconfirmed_session_can_be_replaced_by_another_amount() {
    let mut line = TestCall::start();
    line.caller_agrees_to("25.00");
    line.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    line.model_emits(ModelEvent::Completed);
    line.twilio_answers(TwilioResponse::Unknown);
    line.model_replies("One moment.", &[]);
    line.caller_says("Make it 30");
    line.model_calls("confirm-amount", r#"{"amount":"30.00"}"#);
    line.model_emits(ModelEvent::Completed);
    assert!(!line.inner.has_open_question() && line.history().contains("Finish it or call cancel-capture"));
    line.model_replies("", &["cancel-capture"]);
    assert!(line.history().contains("The payment is given up"));
    line.request_consent("30.00");
    line.caller_says("Yes");
    line.model_calls("start-capture", r#"{"chargeAmount":"30.00"}"#);
    line.model_emits(ModelEvent::Completed);
    // A callback for the first session arrives: the session is cancelled and not taken for the second.
    line.twilio_reports("PK25", &[("ChargeAmount", "25.00")]);
    assert!(
        update_of(&line.running_tools[1].1, "cancel-capture")
            .is_some_and(|update| update.payment_sid == payment_sid("PK25"))
    );
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK30")));
    line.model_replies("", &["capture-card"]);
    assert!(line.running_tools.iter().any(|(_, tool)| {
        update_of(tool, "capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK30"))
    }));
}

#[test]
fn a_refused_card_is_not_submitted_repeatedly() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    for _ in 0..3 {
        line.model_replies("", &["finish-capture"]);
        line.twilio_answers(TwilioResponse::Refused { code: Some(64008), reason: "The card was not accepted." });
        assert!(line.history().contains("Next: call cancel-capture, and offer another card"));
    }
    line.model_replies("", &["finish-capture"]);
    assert!(line.running_tools.is_empty() && line.history().contains("refused too often"));
}

#[test]
fn caller_questions_do_not_delay_the_detection_of_a_lost_result() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    line.model_replies("One moment.", &[]);
    line.advance(STALL_TIMEOUT / 2);
    line.caller_says("Did it work?");
    line.model_replies("Not yet.", &[]);
    line.advance(STALL_TIMEOUT / 2 + SECOND);
    assert!(line.history().contains("there is no answer from the payment provider yet"));
}

#[test]
fn a_corrected_field_is_not_complete_before_a_key_is_pressed() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    line.model_replies("Got your card.", &[]);
    line.caller_says("That was the wrong one");
    line.model_replies("", &["capture-card"]);
    line.twilio_answers(TwilioResponse::Accepted);
    line.model_replies("Once more, please.", &[]);
    let mask = [("Capture", "payment-card-number"), ("PaymentCardNumber", "xxxxxxxxxxxx4242")];
    let with = |partial: &'static str| [&mask[..], &[("PartialResult", partial)]].concat();
    assert_eq!(line.twilio_reports("PK1", &with("false")), line.actions.len(), "a callback for the request itself");
    line.twilio_reports("PK1", &with("true"));
    line.twilio_reports("PK1", &with("false"));
    assert!(line.pending_request.is_some());
}

#[test]
fn a_stalled_payment_leads_to_a_retry_and_then_a_person() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.advance(STALL_TIMEOUT + SECOND);
    assert!(line.history().contains("wants to try again, and if so call capture-card"));
    line.model_replies("Shall we try again?", &[]);
    line.advance(STALL_TIMEOUT + SECOND);
    assert!(line.history().contains("offer to connect the caller with a person"));
    line.model_replies("A person?", &[]);
    line.advance(STALL_TIMEOUT + 10 * SECOND);
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(matches!(line.end_frames().as_slice(), [Some(data)] if data.contains("payment-stalled")));
}

#[test]
fn a_session_of_an_unknown_payment_is_cancelled() {
    let mut line = TestCall::start();
    line.twilio_reports("PK9", &[("PaymentMethod", "credit-card")]);
    assert!(line.only_update("cancel-capture").is_some_and(|update| update.payment_sid == payment_sid("PK9")));
}

#[test]
fn a_success_without_a_submission_is_neither_announced_nor_recorded() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(!line.history().contains("succeeded") && line.history().contains("it may have been charged"));
    line.twilio_reports("PK9", &[("Result", "success"), ("PaymentToken", "tok")]);
    let succeeded = |entry: &&PaymentLogEntry| {
        matches!(entry, PaymentLogEntry::Ended { outcome: crate::payment::PaymentOutcome::Succeeded, .. })
    };
    assert_eq!(line.ledger_entries().into_iter().filter(succeeded).count(), 0);
}

#[test]
fn an_unconfirmed_success_prevents_another_charge() {
    let mut line = TestCall::start_with_parameters(settings(), r#"{"amountDue":"25.00"}"#);
    line.reach_card_number("PK1");
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(line.history().contains("it may have been charged"));
    line.model_replies("Once more?", &["start-capture"]);
    assert!(line.running_tools.is_empty() && line.history().contains("may have been charged; a person looks it up"));
    assert!(
        !line.history().contains("is paid already"),
        "an unconfirmed success is not called paid: {}",
        line.history()
    );
}
