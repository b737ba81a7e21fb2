//! The steps of a payment.

use super::*;

#[test]
fn sids_from_the_model_are_ignored() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call.model_calls("start-capture", r#"{"callSid":"CA666","chargeAmount":"25.00"}"#);
    call.model_emits(ModelEvent::Completed);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_calls("capture-card", r#"{"callSid":"CA666","paymentSid":"PK666"}"#);
    assert!(call.only_update("capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
}

#[test]
fn an_invalid_tool_call_is_answered_without_calling_twilio() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("", &["finish-capture"]);
    assert!(call.running_tools.is_empty() && call.history().contains("call start-capture first"));
    call.model_replies("", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    for (name, answer) in [
        ("start-capture", "open already. Next: call capture-card"),
        ("finish-capture", "Still missing: card number, security code, expiry date"),
        ("capture-security-code", "Next: call capture-card"),
        ("capture-postal-code", "does not need the postal code"),
        ("refund", "While a payment is open no such tool can be used"),
    ] {
        call.model_replies("", &[name]);
        assert!(call.running_tools.is_empty() && call.history().contains(answer), "{name}: {}", call.history());
    }
}

#[test]
fn keys_of_a_payment_show_as_one_item_and_wake_nobody() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    let from = call.actions.len();
    for mask in ["x", "xx", "xxx"] {
        call.twilio_reports(
            "PK1",
            &[("Capture", "payment-card-number"), ("PartialResult", "true"), ("PaymentCardNumber", mask)],
        );
        call.receive_frame(r#"{"type":"dtmf","digit":"4"}"#);
    }
    assert_eq!(call.actions.len(), from);
    call.caller_says("Is it working?");
    assert_eq!(call.history().matches("Payment in progress").count(), 1);
    assert!(call.history().contains("the card number is being entered on the keypad"));
}

#[test]
fn a_callback_for_the_request_itself_is_not_a_captured_field() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    let echo = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("Required", "payment-card-number,security-code,expiration-date"),
    ];
    assert_eq!(call.twilio_reports("PK1", &echo), call.actions.len());
}

#[test]
fn an_invalid_entry_requests_the_same_field_again() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    let wrong = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("ErrorType", "invalid-card-number"),
        ("Required", "payment-card-number"),
    ];
    call.twilio_reports("PK1", &wrong);
    assert!(call.history().contains("not a valid card number. Next: say so kindly and call capture-card"));
    call.model_replies("That did not work.", &["capture-card"]);
    assert!(call.only_update("capture-card").is_some());
}

#[test]
fn success_is_announced_only_after_the_result() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    assert!(call.history().contains(
        "Still needed: nothing. Next: confirm in two to four words, as a statement, and call finish-capture"
    ));
    call.model_replies("Got the date.", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.history().contains("that is not yet a success"));
    call.model_replies("It is being processed.", &[]);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok_secret"), ("ExpirationDate", "1229")]);
    assert!(call.history().contains("Payment update: storing the card succeeded"));
    for secret in ["tok_secret", "1229", "4242"] {
        assert!(!call.history().contains(secret), "{secret}");
    }
    assert!(
        matches!(call.ledger_entries().last(), Some(PaymentLogEntry::Ended { ending, .. }) if ending.payment_token.is_some())
    );
}

#[test]
fn a_decline_offers_another_card() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    // The result arrives before the response to the request.
    call.twilio_reports(
        "PK1",
        &[("Result", "payment-connector-error"), ("PayErrorCode", "64008"), ("PaymentError", "card is declined")],
    );
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.history().contains("the card was declined and nothing was charged"));
    call.model_replies("It was declined.", &["start-capture"]);
    assert!(matches!(call.running_tools.as_slice(), [(_, Tool::StartCapture(_))]));
}

#[test]
fn digits_spoken_during_a_capture_are_redacted() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Cancel, 4242 4242 is one of my 2 cards");
    assert!(
        call.history().contains("caller: Cancel, [digits removed] is [digits removed] of my [digits removed] cards")
    );
    assert!(call.history().contains("entered on the keypad only"));
}

#[test]
fn the_postal_code_is_captured_if_configured() {
    let mut with_postal_code = settings();
    with_postal_code.payment.postal_code = true;
    let mut call = TestCall::start_with(with_postal_code);
    call.reach_finish("PK1");
    assert!(call.history().contains(
        "Still needed: postal code. Next: confirm in two to four words, as a statement, and call capture-postal-code"
    ));
    call.model_replies("", &["capture-postal-code"]);
    assert!(
        update_of(&call.running_tools[0].1, "capture-postal-code")
            .is_some_and(|update| update.action == UpdateAction::Capture(Field::PostalCode))
    );
}
