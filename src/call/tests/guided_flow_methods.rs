//! The guided flow with bank account payments and with fields that are entered twice.

use super::*;

const BY_ACCOUNT: &str = r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee"}"#;
const NUMBER_AND_CODE_TWICE: &str = r#"{"requireMatchingInputs":"payment-card-number,security-code"}"#;

/// Starts a guided payment on a call with these parameters. Returns the text that requests the first field.
fn start_guided_call(parameters: &str) -> (TestCall, String) {
    let mut call = TestCall::start_with_parameters(guided_settings(), parameters);
    call.caller_says("Store it");
    call.model_replies("Sure.", &["start-capture"]);
    let from = call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    let asked = call.said_since(from);
    call.twilio_answers(TwilioResponse::Accepted);
    (call, asked)
}

/// Twilio reports a completed entry. Returns the text that the caller hears then.
fn enter_field(
    call: &mut TestCall,
    field: &'static str,
    required: &'static str,
    more: &[(&'static str, &'static str)],
) -> String {
    let form = [("Capture", field), ("PartialResult", "false"), ("Required", required)];
    let from = call.twilio_reports("PK1", &[&form[..], more].concat());
    let asked = call.said_since(from);
    if !call.running_tools.is_empty() {
        call.twilio_answers(TwilioResponse::Accepted);
    }
    asked
}

#[test]
fn a_bank_account_payment_is_submitted_without_the_model() {
    let (mut call, asked) = start_guided_call(BY_ACCOUNT);
    assert_eq!(asked, "Please type the nine digits of your bank's routing number on the keypad, then press pound.");
    let wrong = [("BankRoutingNumber", "123456789"), ("ErrorType", "invalid-bank-routing-number")];
    let asked = enter_field(&mut call, "bank-routing-number", "bank-routing-number,bank-account-number", &wrong);
    assert!(asked.starts_with("That was not accepted. Please type the nine digits"), "{asked}");
    let routing = [("BankRoutingNumber", "110000000")];
    let asked = enter_field(&mut call, "bank-routing-number", "bank-account-number", &routing);
    assert_eq!(asked, "Now your account number, then pound.");
    let account = [("BankRoutingNumber", "110000000"), ("BankAccountNumber", "*******92")];
    let asked = enter_field(&mut call, "bank-account-number", "", &account);
    assert_eq!(asked, "Thank you. One moment while that goes through.");
    assert!(call.pending_request.is_none(), "no model request between two fields");
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok_1")]);
    let history = call.history();
    assert!(history.contains("storing the bank account succeeded"), "{history}");
    assert!(!history.contains("110000000") && !history.contains("123456789") && !history.contains("92"), "{history}");
}

#[test]
fn a_matcher_field_is_requested_again_and_restarts_on_a_mismatch() {
    let (mut call, _) = start_guided_call(NUMBER_AND_CODE_TWICE);
    let visa = [("PaymentCardNumber", "xxxxxxxxxxxx4242"), ("PaymentCardType", "amex")];
    let rest = "payment-card-number-matcher,security-code,security-code-matcher,expiration-date";
    let asked = enter_field(&mut call, "payment-card-number", rest, &visa);
    assert_eq!(
        asked,
        "Once more, so that it is certain. Please type your card number on the keypad, then press pound."
    );
    let differs = [("ErrorType", "input-matching-failed")];
    let asked = enter_field(&mut call, "payment-card-number-matcher", "", &differs);
    assert_eq!(asked, "That was not accepted. Please type your card number on the keypad, then press pound.");
    let asked = enter_field(&mut call, "payment-card-number", rest, &visa);
    assert!(asked.starts_with("Once more"), "{asked}");
    let rest = "security-code,security-code-matcher,expiration-date";
    let asked =
        enter_field(&mut call, "payment-card-number-matcher", rest, &[("PaymentCardNumberMatcher", "xxxx4242")]);
    assert_eq!(asked, "Now the security code, the four digits on the front, then pound.");
    let rest = "security-code-matcher,expiration-date";
    let asked = enter_field(&mut call, "security-code", rest, &[("SecurityCode", "xxxx")]);
    assert!(asked.starts_with("Once more, so that it is certain. Now the security code, the four digits"), "{asked}");
    let asked = enter_field(&mut call, "security-code-matcher", "expiration-date", &[("SecurityCode", "xxxx")]);
    assert_eq!(asked, "Now the expiry date as four digits, month and year, then pound.");
    let asked = enter_field(&mut call, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(asked, "Thank you. One moment while that goes through.");
}

#[test]
fn a_question_between_the_two_entries_is_answered_and_the_flow_continues() {
    let (mut call, _) = start_guided_call(NUMBER_AND_CODE_TWICE);
    enter_field(
        &mut call,
        "payment-card-number",
        "payment-card-number-matcher,security-code,security-code-matcher,expiration-date",
        &[("PaymentCardNumber", "xxxxxxxxxxxx4242")],
    );
    call.caller_says("Why twice?");
    call.model_replies("So that it is certain.", &[]);
    let from = call.caller_interrupts("So that");
    call.advance(Duration::from_secs(10));
    let said = call.said_since(from);
    assert!(said.is_empty() || said.contains("Once more, so that it is certain."), "{said}");
    let rest = "security-code,security-code-matcher,expiration-date";
    let asked =
        enter_field(&mut call, "payment-card-number-matcher", rest, &[("PaymentCardNumberMatcher", "xxxx4242")]);
    assert!(asked.contains("Now the security code"), "{asked}");
}
