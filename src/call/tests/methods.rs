//! Payments from a bank account, and fields that are entered twice.

use super::*;
use crate::payment::{EntryError, Options};

const BY_ACCOUNT: &str = r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee"}"#;
const CARD_TWICE: &str = r#"{"requireMatchingInputs":"payment-card-number"}"#;

/// A callback that ends the entry of a field.
fn over<'a>(capture: &'a str, required: &'a str) -> [(&'a str, &'a str); 3] {
    [("Capture", capture), ("PartialResult", "false"), ("Required", required)]
}

fn asked_for(line: &Line) -> Change {
    match line.running.as_slice() {
        [
            (
                _,
                Tool::CaptureCard(update)
                | Tool::CaptureBankRoutingNumber(update)
                | Tool::CaptureBankAccountNumber(update)
                | Tool::FinishCapture(update),
            ),
        ] => update.change,
        running => panic!("{running:?}"),
    }
}

#[test]
fn a_bank_account_is_asked_for_its_two_numbers() {
    let mut line = Line::open_with_parameters(settings(), BY_ACCOUNT);
    line.caller_says("I want to pay");
    assert!(line.history().contains("taken from a bank account"), "{}", line.history());
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(line.history().contains("Next: call capture-bank-routing-number"));
    line.model_replies("", &["capture-card"]);
    assert!(line.history().contains("does not need the card number. Next: call capture-bank-routing-number"));

    line.model_replies("", &["capture-bank-routing-number"]);
    assert_eq!(asked_for(&line), Change::Capture(Field::BankRoutingNumber));
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().contains("nine digits"));
    line.model_replies("Routing number, please.", &[]);
    let entered = [&over("bank-routing-number", "bank-account-number")[..], &[("BankRoutingNumber", "110000000")]];
    line.twilio_reports("PK1", &entered.concat());
    line.model_replies("Got it.", &["capture-bank-account-number"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Account number, please.", &[]);
    let wrong = [("Capture", "bank-account-number"), ("ErrorType", "invalid-bank-account-number")];
    line.twilio_reports("PK1", &wrong);
    assert!(line.history().contains("not a valid account number. Next: say so kindly and call capture-bank-account"));
    line.model_replies("Once more.", &["capture-bank-account-number"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Account number, please.", &[]);
    line.twilio_reports("PK1", &over("bank-account-number", ""));
    line.model_replies("Got it.", &["finish-capture"]);
    assert_eq!(asked_for(&line), Change::Complete);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.twilio_reports("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]);
    assert!(line.history().contains("the bank account was declined") && !line.history().contains("110000000"));
}

#[test]
fn a_field_that_is_to_match_is_entered_twice_by_the_same_tool() {
    let mut line = Line::open_with_parameters(settings(), CARD_TWICE);
    line.at_card_number("PK1");
    let first = "payment-card-number-matcher,security-code,expiration-date";
    line.twilio_reports("PK1", &over("payment-card-number", first));
    assert!(line.history().contains("Still needed: repeated card number, security code, expiry date"));
    assert!(line.history().contains("and call capture-card, so that it is entered once more"));

    line.model_replies("Got it.", &["capture-card"]);
    assert_eq!(asked_for(&line), Change::Capture(Field::CardNumberMatcher));
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().contains("the same card number once more"));
    line.model_replies("Once more, please.", &[]);
    // The echo of the request: the first value stands there still.
    let echo = [("Capture", "payment-card-number-matcher"), ("PartialResult", "false"), ("PaymentCardNumber", "x4242")];
    let before = line.did.len();
    line.twilio_reports("PK1", &echo);
    assert_eq!(line.did.len(), before);
    line.twilio_reports("PK1", &over("payment-card-number-matcher", "security-code,expiration-date"));
    assert!(line.history().contains("the repeated card number is in"));
    line.model_replies("Thank you.", &["capture-card"]);
    assert_eq!(asked_for(&line), Change::Capture(Field::CardNumber), "both are in: the caller corrects the first");
}

#[test]
fn two_entries_that_differ_are_both_entered_anew() {
    let mut line = Line::open_with_parameters(settings(), CARD_TWICE);
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &over("payment-card-number", "payment-card-number-matcher,security-code"));
    line.model_replies("Got it.", &["capture-card"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Once more, please.", &[]);
    let wrong = [("Capture", "payment-card-number-matcher"), ("ErrorType", "input-matching-failed")];
    line.twilio_reports("PK1", &wrong);
    assert!(line.history().contains("the card number was not taken: the two entries are not the same"));
    assert!(matches!(line.records().last(), Some(Entry::Wrong { error: EntryError::Mismatch, .. })));
    line.model_replies("Again, please.", &["capture-card"]);
    assert_eq!(asked_for(&line), Change::Capture(Field::CardNumber));
}

#[test]
fn a_call_whose_parameters_contradict_twilio_takes_no_payment_and_goes_on() {
    for said in [r#"{"paymentMethod":"ach-debit"}"#, r#"{"bankAccountType":"consumer-savings"}"#] {
        let mut line = Line::open_with_parameters(settings(), said);
        assert!(line.call.bad_terms().is_some());
        line.caller_says("I want to pay");
        line.model_replies("", &["start-capture"]);
        assert!(line.running.is_empty() && line.history().contains("offer a person"), "{said:?}");
        assert!(line.asked.is_some(), "the caller is told");
    }
    let mut configured = settings();
    configured.payment.options = Options { method: crate::payment::MethodName::AchDebit, ..Options::default() };
    assert!(Line::open_with(configured).call.bad_terms().is_some(), "an account has a holder");
}

#[test]
fn what_only_the_processor_needs_is_not_shown_to_the_model() {
    let parameters =
        r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee","paymentParameters":"{\"Merchant\":\"7\"}","note":"Tea"}"#;
    let mut line = Line::open_with_parameters(settings(), parameters);
    line.caller_says("Hello");
    let shown = line.history();
    assert!(shown.contains(r#""note":"Tea""#) && !shown.contains("Ann") && !shown.contains("Merchant"), "{shown}");
}
