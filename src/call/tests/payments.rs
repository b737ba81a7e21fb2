//! The steps of a payment.

use super::*;

#[test]
fn sids_from_the_model_are_ignored() {
    let mut line = TestCall::start();
    line.caller_agrees_to("25.00");
    line.model_calls("start-capture", r#"{"callSid":"CA666","chargeAmount":"25.00"}"#);
    line.model_emits(ModelEvent::Completed);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    line.model_calls("capture-card", r#"{"callSid":"CA666","paymentSid":"PK666"}"#);
    assert!(line.only_update("capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
}

#[test]
fn an_invalid_tool_call_is_answered_without_calling_twilio() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("", &["finish-capture"]);
    assert!(line.running_tools.is_empty() && line.history().contains("call start-capture first"));
    line.model_replies("", &["start-capture"]);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    for (name, answer) in [
        ("start-capture", "open already. Next: call capture-card"),
        ("finish-capture", "Still missing: card number, security code, expiry date"),
        ("capture-security-code", "Next: call capture-card"),
        ("capture-postal-code", "does not need the postal code"),
        ("refund", "There is no tool of that name"),
    ] {
        line.model_replies("", &[name]);
        assert!(line.running_tools.is_empty() && line.history().contains(answer), "{name}: {}", line.history());
    }
}

#[test]
fn keys_of_a_payment_show_as_one_item_and_wake_nobody() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    let from = line.actions.len();
    for mask in ["x", "xx", "xxx"] {
        line.twilio_reports(
            "PK1",
            &[("Capture", "payment-card-number"), ("PartialResult", "true"), ("PaymentCardNumber", mask)],
        );
        line.receive_frame(r#"{"type":"dtmf","digit":"4"}"#);
    }
    assert_eq!(line.actions.len(), from);
    line.caller_says("Is it working?");
    assert_eq!(line.history().matches("Payment in progress").count(), 1);
    assert!(line.history().contains("the card number is being entered on the keypad"));
}

#[test]
fn a_callback_for_the_request_itself_is_not_a_captured_field() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    let echo = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("Required", "payment-card-number,security-code,expiration-date"),
    ];
    assert_eq!(line.twilio_reports("PK1", &echo), line.actions.len());
}

#[test]
fn an_invalid_entry_requests_the_same_field_again() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    let wrong = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("ErrorType", "invalid-card-number"),
        ("Required", "payment-card-number"),
    ];
    line.twilio_reports("PK1", &wrong);
    assert!(line.history().contains("not a valid card number. Next: say so kindly and call capture-card"));
    line.model_replies("That did not work.", &["capture-card"]);
    assert!(line.only_update("capture-card").is_some());
}

#[test]
fn success_is_announced_only_after_the_result() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    assert!(line.history().contains(
        "Still needed: nothing. Next: confirm in two to four words, as a statement, and call finish-capture"
    ));
    line.model_replies("Got the date.", &["finish-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(line.history().contains("that is not yet a success"));
    line.model_replies("It is being processed.", &[]);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok_secret"), ("ExpirationDate", "1229")]);
    assert!(line.history().contains("Payment update: storing the card succeeded"));
    for secret in ["tok_secret", "1229", "4242"] {
        assert!(!line.history().contains(secret), "{secret}");
    }
    assert!(
        matches!(line.ledger_entries().last(), Some(PaymentLogEntry::Ended { ending, .. }) if ending.payment_token.is_some())
    );
}

#[test]
fn a_decline_offers_another_card() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    // The result arrives before the response to the request.
    line.twilio_reports(
        "PK1",
        &[("Result", "payment-connector-error"), ("PayErrorCode", "64008"), ("PaymentError", "card is declined")],
    );
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(line.history().contains("the card was declined and nothing was charged"));
    line.model_replies("It was declined.", &["start-capture"]);
    assert!(matches!(line.running_tools.as_slice(), [(_, Tool::StartCapture(_))]));
}

#[test]
fn digits_spoken_during_a_capture_are_redacted() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Cancel, 4242 4242 is one of my 2 cards");
    assert!(line.history().contains("caller: Cancel, [digits removed] is one of my 2 cards"));
    assert!(line.history().contains("entered on the keypad only"));
}

#[test]
fn the_postal_code_is_captured_if_configured() {
    let mut with_postal_code = settings();
    with_postal_code.payment.postal_code = true;
    let mut line = TestCall::start_with(with_postal_code);
    line.reach_finish("PK1");
    assert!(line.history().contains(
        "Still needed: postal code. Next: confirm in two to four words, as a statement, and call capture-postal-code"
    ));
    line.model_replies("", &["capture-postal-code"]);
    assert!(
        update_of(&line.running_tools[0].1, "capture-postal-code")
            .is_some_and(|update| update.action == UpdateAction::Capture(Field::PostalCode))
    );
}
