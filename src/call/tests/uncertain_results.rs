//! Payments for which Twilio's responses and callbacks are late, repeated, missing or unexpected.

use super::*;
use crate::payment::{
    Amount, Currency, PaymentIntent, PaymentRecord, PaymentState, PriorPayment, PriorPayments, PriorSession,
};

#[test]
fn a_failed_entry_is_not_announced_after_the_payment_was_cancelled() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Please cancel that");
    let late = [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "input-timeout")];
    call.twilio_reports("PK1", &late);
    call.model_replies("Of course.", &["cancel-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.history().ends_with("Next: tell the caller so.\"}\n"), "{}", call.history());
}

#[test]
fn repeated_and_late_callbacks_are_ignored() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    let done =
        [&card_callback("false", "security-code,expiration-date")[..], &[("DateUpdated", "2026-01-01T00:00:09.000Z")]]
            .concat();
    let late =
        [&card_callback("true", "payment-card-number")[..], &[("DateUpdated", "2026-01-01T00:00:08.000Z")]].concat();
    call.twilio_reports("PK1", &done);
    call.model_replies("Got your card.", &[]);
    for again in [&done, &late] {
        assert_eq!(call.twilio_reports("PK1", again), call.actions.len());
    }
    call.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    call.model_replies("You pressed star.", &[]);
    let told = call.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    assert_eq!(told, call.actions.len(), "the first of two results without success counts");
}

#[test]
fn a_callback_may_arrive_before_the_create_response() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("", &["start-capture"]);
    call.twilio_reports("PK1", &[("PaymentMethod", "credit-card"), ("DateCreated", "2026-01-01T00:00:00.000Z")]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    assert!(call.only_update("capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
}

#[test]
fn only_a_request_without_a_response_is_repeated_with_the_same_key() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("", &["start-capture"]);
    let key = |tool: &Tool| match tool {
        Tool::StartCapture(create) => create.idempotency_key.clone(),
        Tool::UpdatePayment(update) => update.idempotency_key.clone(),
        other => panic!("{other:?}"),
    };
    let first = key(&call.running_tools[0].1);
    call.twilio_answers(TwilioResponse::Unknown);
    call.model_replies("", &["start-capture"]);
    assert_eq!(key(&call.running_tools[0].1), first);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    let card = key(&call.running_tools[0].1);
    assert_ne!(card, first);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("", &["capture-card"]);
    assert_ne!(key(&call.running_tools[0].1), card, "after an accepted request, the next one is new");
}

#[test]
fn a_field_whose_entry_was_reported_gets_a_new_key_though_the_response_is_lost() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    let first = call.only_update("capture-card").unwrap().idempotency_key.clone();
    let wrong = [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "input-timeout")];
    call.twilio_reports("PK1", &wrong);
    call.twilio_answers(TwilioResponse::Unknown);
    call.model_replies("", &["capture-card"]);
    assert_ne!(call.only_update("capture-card").unwrap().idempotency_key, first);
}

#[test]
fn complete_without_a_response_is_repeated_with_the_same_key() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    let first = call.only_update("finish-capture").unwrap().clone();
    call.twilio_answers(TwilioResponse::Unknown);
    call.model_replies("", &["finish-capture"]);
    let second = call.only_update("finish-capture").unwrap().clone();
    assert_eq!(first, second);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("", &["finish-capture"]);
    assert!(call.running_tools.is_empty() && call.history().contains("submitted already"));
}

/// Submits a payment whose `complete` request has no response.
fn reach_unanswered_completion() -> TestCall {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Unknown);
    call
}

#[test]
fn the_response_to_a_repeated_complete_does_not_settle_the_first() {
    let refused = TwilioResponse::Refused { code: None, reason: "No." };
    for answer in [TwilioResponse::Gone, refused, TwilioResponse::Unknown] {
        let mut call = reach_unanswered_completion();
        call.model_replies("", &["finish-capture"]);
        call.twilio_answers(answer);
        assert!(
            call.history().contains("Do not say that it worked") && !call.history().contains("nothing was submitted")
        );
        for tool in ["start-capture", "cancel-capture", "capture-card"] {
            call.model_replies("", &[tool]);
            assert!(call.running_tools.is_empty(), "{tool}: the first submission may have been charged");
        }
        call.model_replies("One moment.", &[]);
        call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
        assert!(call.history().contains("storing the card succeeded"));
        assert!(matches!(call.ledger_entries().last(), Some(PaymentLogEntry::Ended { .. })));
    }
}

#[test]
fn the_hand_off_data_mentions_an_unknown_result() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    for _ in 0..3 {
        call.advance(STALL_TIMEOUT + 10 * SECOND);
        if call.pending_request.is_some() {
            call.model_replies("It takes longer than usual.", &[]);
        }
    }
    let handed = call.end_frames();
    assert!(matches!(handed.as_slice(), [Some(data)] if data.contains("its result was not known")));
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(
        matches!(call.ledger_entries().last(), Some(PaymentLogEntry::Ended { .. })),
        "the result is recorded after the hand-off too"
    );
}

#[test]
fn a_result_during_the_goodbye_is_announced_first() {
    let mut call = reach_unanswered_completion();
    call.caller_says("Give me a person");
    call.model_hands_off();
    call.model_replies("I connect you.", &[]);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(call.history().contains("storing the card succeeded"));
    call.model_replies("Your card is stored, and I connect you.", &[]);
    call.advance(20 * SECOND);
    assert!(matches!(call.end_frames().as_slice(), [Some(_)]));
}

#[test]
fn a_cancel_without_a_response_is_repeated_at_the_end_of_the_call() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Cancel that");
    call.model_replies("", &["cancel-capture"]);
    let first = call.only_update("cancel-capture").unwrap().clone();
    call.twilio_answers(TwilioResponse::Unknown);
    call.feed(CallEvent::HungUp);
    assert!(call.only_update("cancel-capture").is_some_and(|again| *again == first));
    call.twilio_answers(TwilioResponse::Unknown);
    assert!(call.ledger_entries().iter().any(|entry| matches!(entry, PaymentLogEntry::CancelUnconfirmed { .. })));
}

#[test]
fn a_cancelled_payment_is_recorded_and_announced_once() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Cancel that");
    call.model_replies("", &["cancel-capture"]);
    call.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    call.twilio_answers(TwilioResponse::Accepted);
    assert_eq!(call.history().matches("nothing was charged").count(), 1, "{}", call.history());
    assert!(matches!(call.ledger_entries().last(), Some(PaymentLogEntry::Ended { .. })));
}

#[test]
fn an_unconfirmed_session_can_be_replaced_by_another_amount() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    call.model_emits(ModelEvent::Completed);
    call.twilio_answers(TwilioResponse::Unknown);
    call.model_replies("One moment.", &[]);
    call.caller_says("Make it 30");
    call.model_calls("confirm-amount", r#"{"amount":"30.00"}"#);
    call.model_emits(ModelEvent::Completed);
    assert!(!call.inner.has_open_question() && call.history().contains("Finish it or call cancel-capture"));
    call.model_replies("", &["cancel-capture"]);
    assert!(call.history().contains("The payment is given up"));
    call.request_consent("30.00");
    call.caller_says("Yes");
    call.model_calls("start-capture", r#"{"chargeAmount":"30.00"}"#);
    call.model_emits(ModelEvent::Completed);
    // A callback for the first session arrives: the session is cancelled and not taken for the second.
    call.twilio_reports("PK25", &[("ChargeAmount", "25.00")]);
    assert!(
        update_of(&call.running_tools[1].1, "cancel-capture")
            .is_some_and(|update| update.payment_sid == payment_sid("PK25"))
    );
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK30")));
    call.model_replies("", &["capture-card"]);
    assert!(call.running_tools.iter().any(|(_, tool)| {
        update_of(tool, "capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK30"))
    }));
}

#[test]
fn a_refused_card_is_not_submitted_repeatedly() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    for _ in 0..3 {
        call.model_replies("", &["finish-capture"]);
        call.twilio_answers(TwilioResponse::Refused { code: Some(64008), reason: "The card was not accepted." });
        assert!(call.history().contains("Next: call cancel-capture, and offer another card"));
    }
    call.model_replies("", &["finish-capture"]);
    assert!(call.running_tools.is_empty() && call.history().contains("refused too often"));
}

#[test]
fn caller_questions_do_not_delay_the_detection_of_a_lost_result() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.advance(STALL_TIMEOUT / 2);
    call.caller_says("Did it work?");
    call.model_replies("Not yet.", &[]);
    call.advance(STALL_TIMEOUT / 2 + SECOND);
    assert!(call.history().contains("there is no answer from the payment provider yet"));
}

#[test]
fn a_corrected_field_is_not_complete_before_a_key_is_pressed() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    call.model_replies("Got your card.", &[]);
    call.caller_says("That was the wrong one");
    call.model_replies("", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Once more, please.", &[]);
    let mask = [("Capture", "payment-card-number"), ("PaymentCardNumber", "xxxxxxxxxxxx4242")];
    let with = |partial: &'static str| [&mask[..], &[("PartialResult", partial)]].concat();
    assert_eq!(call.twilio_reports("PK1", &with("false")), call.actions.len(), "a callback for the request itself");
    call.twilio_reports("PK1", &with("true"));
    call.twilio_reports("PK1", &with("false"));
    assert!(call.pending_request.is_some());
}

#[test]
fn a_stalled_payment_leads_to_a_retry_and_then_a_person() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.advance(STALL_TIMEOUT + SECOND);
    assert!(call.history().contains("wants to try again, and if so call capture-card"));
    call.model_replies("Shall we try again?", &[]);
    call.advance(STALL_TIMEOUT + SECOND);
    assert!(call.history().contains("offer to connect the caller with a person"));
    call.model_replies("A person?", &[]);
    call.advance(STALL_TIMEOUT + 10 * SECOND);
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(matches!(call.end_frames().as_slice(), [Some(data)] if data.contains("payment-stalled")));
}

#[test]
fn a_session_of_an_unknown_payment_is_cancelled() {
    let mut call = TestCall::start();
    call.twilio_reports("PK9", &[("PaymentMethod", "credit-card")]);
    assert!(call.only_update("cancel-capture").is_some_and(|update| update.payment_sid == payment_sid("PK9")));
}

#[test]
fn a_success_without_a_submission_is_neither_announced_nor_recorded() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(!call.history().contains("succeeded") && call.history().contains("it may have been charged"));
    call.twilio_reports("PK9", &[("Result", "success"), ("PaymentToken", "tok")]);
    let succeeded = |entry: &&PaymentLogEntry| {
        matches!(entry, PaymentLogEntry::Ended { outcome: crate::payment::PaymentOutcome::Succeeded, .. })
    };
    assert_eq!(call.ledger_entries().into_iter().filter(succeeded).count(), 0);
}

#[test]
fn an_unconfirmed_success_prevents_another_charge() {
    let mut call = TestCall::start_with_parameters(settings(), r#"{"amountDue":"25.00"}"#);
    call.reach_card_number("PK1");
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(call.history().contains("it may have been charged"));
    call.model_replies("Once more?", &["start-capture"]);
    assert!(call.running_tools.is_empty() && call.history().contains("may have been charged; a person looks it up"));
    assert!(
        !call.history().contains("is paid already"),
        "an unconfirmed success is not called paid: {}",
        call.history()
    );
}

#[test]
fn only_a_refusal_of_twilio_is_logged_as_one() {
    for (code, is_logged) in [(Some(64019), true), (None, false)] {
        let mut call = TestCall::start();
        call.reach_finish("PK1");
        call.model_replies("", &["finish-capture"]);
        call.twilio_answers(TwilioResponse::Refused { code, reason: "No." });
        let logged = |action: &Action| matches!(action, Action::Record(entry) if matches!(**entry, PaymentLogEntry::Refused { .. }));
        assert_eq!(call.actions.iter().any(logged), is_logged, "{code:?}");
    }
}

/// A call that goes on elsewhere after its server died, with a payment of 25 dollars that it had submitted.
fn after_a_submission() -> TestCall {
    let charge = Amount::parse("25", Currency::USD).unwrap();
    let intent = PaymentIntent { charge, bank_debit: false, submitted: true, refusal: None };
    let record = PaymentRecord { state: PaymentState::Unknown, intent, has_doubtful_success: false };
    let session = PriorSession { sid: payment_sid("PK1"), record, by_bank_account: false };
    let known = PriorPayments {
        on_call: vec![PriorPayment { state: PaymentState::Unknown, charge, at: jiff::Timestamp::UNIX_EPOCH }],
        sessions: vec![session],
        ..PriorPayments::default()
    };
    TestCall::start_after(settings(), "{}", None, &known)
}

#[test]
fn a_call_that_goes_on_elsewhere_hears_the_result_of_what_was_submitted_before() {
    let mut call = after_a_submission();
    call.twilio_reports("PK1", &card_callback("true", "payment-card-number"));
    assert!(call.running_tools.is_empty(), "the session of the last server is not cancelled as a foreign one");
    call.twilio_reports(
        "PK1",
        &[("Result", "success"), ("PaymentConfirmationCode", "ch_1"), ("ChargeAmount", "25.00")],
    );
    call.caller_says("Did it work?");
    assert!(call.history().contains("the payment of 25.00 USD succeeded"), "{}", call.history());
}

#[test]
fn a_call_that_goes_on_elsewhere_cancels_sessions_that_nobody_knows() {
    let mut call = after_a_submission();
    call.twilio_reports("PK2", &card_callback("true", "payment-card-number"));
    assert!(matches!(&call.running_tools[0].1, Tool::UpdatePayment(update) if update.action == UpdateAction::Cancel));
}
