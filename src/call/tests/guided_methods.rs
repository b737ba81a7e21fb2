//! The server leads through payments from bank accounts, and through fields that are entered twice.

use super::*;

const BY_ACCOUNT: &str = r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee"}"#;
const NUMBER_AND_CODE_TWICE: &str = r#"{"requireMatchingInputs":"payment-card-number,security-code"}"#;

/// The server leads on a call with these parameters, and has asked for the first field.
fn led(parameters: &str) -> (Line, String) {
    let mut line = Line::open_with_parameters(guided(), parameters);
    line.caller_says("Store it");
    line.model_replies("Sure.", &["start-capture"]);
    let from = line.twilio_answers(Answer::Created(payment("PK1")));
    let asked = line.said_since(from);
    line.twilio_answers(Answer::Accepted);
    (line, asked)
}

/// The entry of a field is over; what the caller hears then.
fn over(line: &mut Line, field: &'static str, required: &'static str, more: &[(&'static str, &'static str)]) -> String {
    let form = [("Capture", field), ("PartialResult", "false"), ("Required", required)];
    let from = line.twilio_reports("PK1", &[&form[..], more].concat());
    let asked = line.said_since(from);
    if !line.running.is_empty() {
        line.twilio_answers(Answer::Accepted);
    }
    asked
}

#[test]
fn an_account_is_asked_for_its_two_numbers_and_is_submitted_without_the_model() {
    let (mut line, asked) = led(BY_ACCOUNT);
    assert_eq!(asked, "Please type the nine digits of your bank's routing number on the keypad, then press pound.");
    let wrong = [("BankRoutingNumber", "123456789"), ("ErrorType", "invalid-bank-routing-number")];
    let asked = over(&mut line, "bank-routing-number", "bank-routing-number,bank-account-number", &wrong);
    assert!(asked.starts_with("That was not accepted. Please type the nine digits"), "{asked}");
    let routing = [("BankRoutingNumber", "110000000")];
    let asked = over(&mut line, "bank-routing-number", "bank-account-number", &routing);
    assert_eq!(asked, "Now your account number, then pound.");
    let account = [("BankRoutingNumber", "110000000"), ("BankAccountNumber", "*******92")];
    let asked = over(&mut line, "bank-account-number", "", &account);
    assert_eq!(asked, "Thank you. One moment while that goes through.");
    assert!(line.asked.is_none(), "no model between one and the next");
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok_1")]);
    let history = line.history();
    assert!(history.contains("storing the bank account succeeded"), "{history}");
    assert!(!history.contains("110000000") && !history.contains("123456789") && !history.contains("92"), "{history}");
}

#[test]
fn what_is_to_match_is_asked_for_once_more_and_from_the_beginning_if_it_does_not() {
    let (mut line, _) = led(NUMBER_AND_CODE_TWICE);
    let visa = [("PaymentCardNumber", "xxxxxxxxxxxx4242"), ("PaymentCardType", "amex")];
    let rest = "payment-card-number-matcher,security-code,security-code-matcher,expiration-date";
    let asked = over(&mut line, "payment-card-number", rest, &visa);
    assert_eq!(
        asked,
        "Once more, so that it is certain. Please type your card number on the keypad, then press pound."
    );
    let differs = [("ErrorType", "input-matching-failed")];
    let asked = over(&mut line, "payment-card-number-matcher", "", &differs);
    assert_eq!(asked, "That was not accepted. Please type your card number on the keypad, then press pound.");
    let asked = over(&mut line, "payment-card-number", rest, &visa);
    assert!(asked.starts_with("Once more"), "{asked}");
    let rest = "security-code,security-code-matcher,expiration-date";
    let asked = over(&mut line, "payment-card-number-matcher", rest, &[("PaymentCardNumberMatcher", "xxxx4242")]);
    assert_eq!(asked, "Now the security code, the four digits on the front, then pound.");
    let rest = "security-code-matcher,expiration-date";
    let asked = over(&mut line, "security-code", rest, &[("SecurityCode", "xxxx")]);
    assert!(asked.starts_with("Once more, so that it is certain. Now the security code, the four digits"), "{asked}");
    let asked = over(&mut line, "security-code-matcher", "expiration-date", &[("SecurityCode", "xxxx")]);
    assert_eq!(asked, "Now the expiry date as four digits, month and year, then pound.");
    let asked = over(&mut line, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(asked, "Thank you. One moment while that goes through.");
}

#[test]
fn a_question_between_the_two_entries_is_answered_and_the_repetition_is_still_waited_for() {
    let (mut line, _) = led(NUMBER_AND_CODE_TWICE);
    over(
        &mut line,
        "payment-card-number",
        "payment-card-number-matcher,security-code,security-code-matcher,expiration-date",
        &[("PaymentCardNumber", "xxxxxxxxxxxx4242")],
    );
    line.caller_says("Why twice?");
    line.model_replies("So that it is certain.", &[]);
    let from = line.caller_interrupts("So that");
    line.passes(Duration::from_secs(10));
    let said = line.said_since(from);
    assert!(said.is_empty() || said.contains("Once more, so that it is certain."), "{said}");
    let rest = "security-code,security-code-matcher,expiration-date";
    let asked = over(&mut line, "payment-card-number-matcher", rest, &[("PaymentCardNumberMatcher", "xxxx4242")]);
    assert!(asked.contains("Now the security code"), "{asked}");
}
