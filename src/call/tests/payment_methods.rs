//! Bank account payments, and fields that are entered twice.

use super::*;
use crate::payment::{EntryError, PaymentOptions};

const BY_ACCOUNT: &str = r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee"}"#;
const CARD_TWICE: &str = r#"{"requireMatchingInputs":"payment-card-number"}"#;

/// The fields of a callback for a completed entry.
fn field_callback<'a>(capture: &'a str, required: &'a str) -> [(&'a str, &'a str); 3] {
    [("Capture", capture), ("PartialResult", "false"), ("Required", required)]
}

fn requested_change(call: &TestCall) -> UpdateAction {
    match call.running_tools.as_slice() {
        [(_, Tool::UpdatePayment(update))] => update.action,
        running => panic!("{running:?}"),
    }
}

#[test]
fn a_bank_account_payment_captures_routing_and_account_number() {
    let mut call = TestCall::start_with_parameters(settings(), BY_ACCOUNT);
    call.caller_says("I want to pay");
    assert!(call.history().contains("taken from a bank account"), "{}", call.history());
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(call.history().contains("Next: call capture-bank-routing-number"));
    call.model_replies("", &["capture-card"]);
    assert!(call.history().contains("does not need the card number. Next: call capture-bank-routing-number"));

    call.model_replies("", &["capture-bank-routing-number"]);
    assert_eq!(requested_change(&call), UpdateAction::Capture(Field::BankRoutingNumber));
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.history().contains("nine digits"));
    call.model_replies("Routing number, please.", &[]);
    let entered =
        [&field_callback("bank-routing-number", "bank-account-number")[..], &[("BankRoutingNumber", "110000000")]];
    call.twilio_reports("PK1", &entered.concat());
    call.model_replies("Got it.", &["capture-bank-account-number"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Account number, please.", &[]);
    let wrong = [("Capture", "bank-account-number"), ("ErrorType", "invalid-bank-account-number")];
    call.twilio_reports("PK1", &wrong);
    assert!(call.history().contains("not a valid account number. Next: say so kindly and call capture-bank-account"));
    call.model_replies("Once more.", &["capture-bank-account-number"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Account number, please.", &[]);
    call.twilio_reports("PK1", &field_callback("bank-account-number", ""));
    call.model_replies("Got it.", &["finish-capture"]);
    assert_eq!(requested_change(&call), UpdateAction::Complete);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]);
    assert!(call.history().contains("the bank account was declined") && !call.history().contains("110000000"));
}

#[test]
fn a_matcher_field_is_captured_with_the_same_tool() {
    let mut call = TestCall::start_with_parameters(settings(), CARD_TWICE);
    call.reach_card_number("PK1");
    let first = "payment-card-number-matcher,security-code,expiration-date";
    call.twilio_reports("PK1", &field_callback("payment-card-number", first));
    assert!(call.history().contains("Still needed: repeated card number, security code, expiry date"));
    assert!(call.history().contains("and call capture-card, so that it is entered once more"));

    call.model_replies("Got it.", &["capture-card"]);
    assert_eq!(requested_change(&call), UpdateAction::Capture(Field::CardNumberMatcher));
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.history().contains("the same card number once more"));
    call.model_replies("Once more, please.", &[]);
    // A callback for the request itself still has the first value.
    let echo = [("Capture", "payment-card-number-matcher"), ("PartialResult", "false"), ("PaymentCardNumber", "x4242")];
    let before = call.actions.len();
    call.twilio_reports("PK1", &echo);
    assert_eq!(call.actions.len(), before);
    call.twilio_reports("PK1", &field_callback("payment-card-number-matcher", "security-code,expiration-date"));
    assert!(call.history().contains("the repeated card number is in"));
    call.model_replies("Thank you.", &["capture-card"]);
    assert_eq!(
        requested_change(&call),
        UpdateAction::Capture(Field::CardNumber),
        "both are entered, so the caller corrects the first"
    );
}

#[test]
fn after_a_mismatch_both_entries_are_repeated() {
    let mut call = TestCall::start_with_parameters(settings(), CARD_TWICE);
    call.reach_card_number("PK1");
    call.twilio_reports("PK1", &field_callback("payment-card-number", "payment-card-number-matcher,security-code"));
    call.model_replies("Got it.", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Once more, please.", &[]);
    let wrong = [("Capture", "payment-card-number-matcher"), ("ErrorType", "input-matching-failed")];
    call.twilio_reports("PK1", &wrong);
    assert!(call.history().contains("the card number was not taken: the two entries are not the same"));
    assert!(matches!(
        call.ledger_entries().last(),
        Some(PaymentLogEntry::WrongEntry { error: EntryError::Mismatch, .. })
    ));
    call.model_replies("Again, please.", &["capture-card"]);
    assert_eq!(requested_change(&call), UpdateAction::Capture(Field::CardNumber));
}

#[test]
fn a_call_with_invalid_payment_parameters_takes_no_payment() {
    for said in [r#"{"paymentMethod":"ach-debit"}"#, r#"{"bankAccountType":"consumer-savings"}"#] {
        let mut call = TestCall::start_with_parameters(settings(), said);
        assert!(call.inner.terms_error().is_some());
        call.caller_says("I want to pay");
        call.model_replies("", &["start-capture"]);
        assert!(call.running_tools.is_empty() && call.history().contains("offer a person"), "{said:?}");
        assert!(call.pending_request.is_some(), "the model can tell the caller");
    }
    let mut configured = settings();
    configured.payment.options =
        PaymentOptions { method: crate::payment::PaymentMethodName::AchDebit, ..PaymentOptions::default() };
    assert!(TestCall::start_with(configured).inner.terms_error().is_some(), "a bank account needs its holder's name");
}

#[test]
fn processor_parameters_are_not_shown_to_the_model() {
    let parameters =
        r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee","paymentParameters":"{\"Merchant\":\"7\"}","note":"Tea"}"#;
    let mut call = TestCall::start_with_parameters(settings(), parameters);
    call.caller_says("Hello");
    let shown = call.history();
    assert!(shown.contains(r#""note":"Tea""#) && !shown.contains("Ann") && !shown.contains("Merchant"), "{shown}");
}
