//! A payment, step by step.

use super::*;

#[test]
fn the_values_that_the_model_sends_for_sids_are_not_used() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    line.model_calls("start-capture", r#"{"callSid":"CA666","chargeAmount":"25.00"}"#);
    line.model(ModelEvent::Done);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_calls("capture-card", r#"{"callSid":"CA666","paymentSid":"PK666"}"#);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(update))] if update.sid == payment("PK1")));
}

#[test]
fn a_tool_that_does_not_fit_is_answered_and_twilio_is_not_called() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["finish-capture"]);
    assert!(line.running.is_empty() && line.history().contains("call start-capture first"));
    line.model_replies("", &["start-capture"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    for (name, answer) in [
        ("start-capture", "open already. Next: call capture-card"),
        ("finish-capture", "Still missing: card number, security code, expiry date"),
        ("capture-security-code", "Next: call capture-card"),
        ("capture-postal-code", "does not need the postal code"),
        ("refund", "There is no tool of that name"),
    ] {
        line.model_replies("", &[name]);
        assert!(line.running.is_empty() && line.history().contains(answer), "{name}: {}", line.history());
    }
}

#[test]
fn keys_of_a_payment_show_as_one_item_and_wake_nobody() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let from = line.did.len();
    for mask in ["x", "xx", "xxx"] {
        line.twilio_reports(
            "PK1",
            &[("Capture", "payment-card-number"), ("PartialResult", "true"), ("PaymentCardNumber", mask)],
        );
        line.frame(r#"{"type":"dtmf","digit":"4"}"#);
    }
    assert_eq!(line.did.len(), from);
    line.caller_says("Is it working?");
    assert_eq!(line.history().matches("Payment in progress").count(), 1);
    assert!(line.history().contains("the card number is being entered on the keypad"));
}

#[test]
fn the_echo_of_our_own_request_is_not_a_captured_field() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let echo = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("Required", "payment-card-number,security-code,expiration-date"),
    ];
    assert_eq!(line.twilio_reports("PK1", &echo), line.did.len());
}

#[test]
fn a_wrong_entry_leads_to_the_same_field_again() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let wrong = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("ErrorType", "invalid-card-number"),
        ("Required", "payment-card-number"),
    ];
    line.twilio_reports("PK1", &wrong);
    assert!(line.history().contains("not a valid card number. Next: say so kindly and call capture-card"));
    line.model_replies("That did not work.", &["capture-card"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(_))]));
}

#[test]
fn success_is_announced_only_after_the_result() {
    let mut line = Line::open();
    line.at_finish("PK1");
    assert!(line.history().contains(
        "Still needed: nothing. Next: confirm in two to four words, as a statement, and call finish-capture"
    ));
    line.model_replies("Got the date.", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().contains("that is not yet a success"));
    line.model_replies("It is being processed.", &[]);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok_secret"), ("ExpirationDate", "1229")]);
    assert!(line.history().contains("Payment update: storing the card succeeded"));
    for secret in ["tok_secret", "1229", "4242"] {
        assert!(!line.history().contains(secret), "{secret}");
    }
    assert!(matches!(line.records().last(), Some(Entry::Ended { ending, .. }) if ending.token.is_some()));
}

#[test]
fn a_decline_offers_another_card() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    // The result overtakes the answer to the request.
    line.twilio_reports(
        "PK1",
        &[("Result", "payment-connector-error"), ("PayErrorCode", "64008"), ("PaymentError", "card is declined")],
    );
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().contains("the card was declined and nothing was charged"));
    line.model_replies("It was declined.", &["start-capture"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::StartCapture(_))]));
}

#[test]
fn digits_spoken_while_a_card_is_entered_are_cut_out_and_the_rest_goes_through() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Cancel, 4242 4242 is one of my 2 cards");
    assert!(line.history().contains("caller: Cancel, [digits removed] is one of my 2 cards"));
    assert!(line.history().contains("entered on the keypad only"));
}

#[test]
fn the_postal_code_is_asked_for_where_it_is_needed() {
    let mut with_postal_code = settings();
    with_postal_code.payment.postal_code = true;
    let mut line = Line::open_with(with_postal_code);
    line.at_finish("PK1");
    assert!(line.history().contains(
        "Still needed: postal code. Next: confirm in two to four words, as a statement, and call capture-postal-code"
    ));
    line.model_replies("", &["capture-postal-code"]);
    assert!(
        matches!(&line.running[0].1, Tool::CapturePostalCode(update) if update.change == Change::Capture(Field::PostalCode))
    );
}
