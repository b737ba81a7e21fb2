//! The guided flow: the server asks for the fields without the model.

use super::guided_flow_consent::GO_ON;
use super::*;
use crate::payment::PaymentLogEntry;

/// Opens a guided payment, in which the server has requested the card number.
pub(super) fn reach_card_number() -> TestCall {
    let mut call = TestCall::start_with(guided_settings());
    call.caller_says("Store my card");
    call.model_replies("Sure.", &["start-capture"]);
    let from = call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert_eq!(call.said_since(from), "Please type your card number on the keypad, then press pound.");
    assert!(call.pending_request.is_none(), "the model has nothing to add");
    call.twilio_answers(TwilioResponse::Accepted);
    call
}

pub(super) fn report_field(
    call: &mut TestCall,
    field: &'static str,
    required: &'static str,
    more: &[(&'static str, &'static str)],
) -> usize {
    let form = [("Capture", field), ("PartialResult", "false"), ("Required", required)];
    call.twilio_reports("PK1", &[&form[..], more].concat())
}

pub(super) fn report_card_number(call: &mut TestCall, kind: &'static str) -> usize {
    let more = [("PaymentCardNumber", "xxxxxxxxxxxx4242"), ("PaymentCardType", kind)];
    report_field(call, "payment-card-number", "security-code,expiration-date", &more)
}

fn report_invalid_card(call: &mut TestCall) -> usize {
    let error = [("ErrorType", "invalid-card-number")];
    report_field(call, "payment-card-number", "payment-card-number,security-code,expiration-date", &error)
}

/// The payment changes that were requested from Twilio since action `from`.
pub(super) fn twilio_changes_since(call: &TestCall, from: usize) -> Vec<UpdateAction> {
    let change = |action: &Action| match action {
        Action::RunTool { tool: Tool::UpdatePayment(update), .. } => Some(update.action),
        _ => None,
    };
    call.actions[from..].iter().filter_map(change).collect()
}

#[test]
fn a_callback_requests_the_next_field_without_the_model() {
    let mut call = reach_card_number();
    let from = report_card_number(&mut call, "visa");
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Capture(Field::SecurityCode)]);
    assert_eq!(call.said_since(from), "Now the security code, the three digits on the back, then pound.");
    call.twilio_answers(TwilioResponse::Accepted);
    let from = report_field(&mut call, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Capture(Field::ExpirationDate)]);
    call.twilio_answers(TwilioResponse::Accepted);
    let from = report_field(&mut call, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Complete]);
    assert_eq!(call.said_since(from), "Thank you. One moment while that goes through.");
    assert!(call.pending_request.is_none());
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.ledger_entries().iter().any(|entry| matches!(entry, PaymentLogEntry::Submitted { .. })));

    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    let history = call.history();
    for told in ["the server leads through it", "the expiry date is in", "storing the card succeeded"] {
        assert!(history.contains(told), "{told} in {history}");
    }
    assert!(history.contains("agent: Now the expiry date") && !history.contains("1229"));
}

#[test]
fn the_security_code_of_an_american_express_card_has_four_digits() {
    let mut call = reach_card_number();
    let from = report_card_number(&mut call, "amex");
    assert!(call.said_since(from).contains("the four digits on the front"));
    let mut call = reach_card_number();
    let from = report_card_number(&mut call, "");
    assert!(call.said_since(from).contains("three digits, or four on American Express"));
}

#[test]
fn the_texts_are_in_the_language_of_the_call() {
    let mut call =
        TestCall::start_with(CallSettings { languages: vec!["en-US".into(), "es-MX".into()], ..guided_settings() });
    call.caller_says("En español, por favor");
    call.model_calls("switch-language", r#"{"ttsLanguage":"es-MX"}"#);
    call.model_emits(ModelEvent::Completed);
    call.model_replies("Claro.", &["start-capture"]);
    let from = call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(call.said_since(from).starts_with("Por favor, marque"));

    let mut call = TestCall::start_with(CallSettings { language: "de-AT".into(), ..guided_settings() });
    call.caller_says("Bitte die Karte speichern");
    call.model_replies("Gern.", &["start-capture"]);
    let from = call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(call.said_since(from).starts_with("Bitte geben Sie Ihre Kartennummer"));
}

#[test]
fn after_three_repeated_entries_the_model_takes_over() {
    let mut call = reach_card_number();
    for _ in 0..3 {
        let from = report_invalid_card(&mut call);
        assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Capture(Field::CardNumber)]);
        assert!(call.said_since(from).starts_with("That was not accepted. Please type your card number"));
        call.twilio_answers(TwilioResponse::Accepted);
    }
    let from = report_invalid_card(&mut call);
    assert_eq!((twilio_changes_since(&call, from), call.said_since(from)), (vec![], String::new()));
    assert!(call.history().contains("4 times by now"));
    call.model_replies("Once more?", &["capture-card"]);
    assert!(call.only_update("capture-card").is_some(), "the model may capture now");
}

#[test]
fn during_the_guided_flow_the_model_cannot_capture() {
    let mut call = reach_card_number();
    call.caller_says("And now?");
    call.model_replies("", &["capture-security-code", "finish-capture"]);
    assert!(call.running_tools.is_empty());
    assert_eq!(call.history().matches("the server leads through it").count(), 3);
    assert!(call.history().contains("The server asks for the fields by itself."));
}

#[test]
fn a_question_is_answered_and_the_entry_goes_on() {
    let mut call = reach_card_number();
    call.caller_says("Is that safe?");
    call.model_says("Yes, nobody ");
    // The field is entered while the model speaks: the next field is requested at once, and its text waits for the end
    // of the response.
    let from = report_card_number(&mut call, "visa");
    assert_eq!((twilio_changes_since(&call, from).len(), call.said_since(from)), (1, String::new()));
    call.model_says("sees it.");
    let from = call.model_emits(ModelEvent::Completed);
    assert_eq!(call.said_since(from), "Now the security code, the three digits on the back, then pound.");
    assert!(call.pending_request.is_none());
}

#[test]
fn a_response_without_text_is_cancelled_for_the_next_field_and_requested_again() {
    let mut call = reach_card_number();
    call.caller_says("Is that safe?");
    let first = call.pending_request;
    let from = report_card_number(&mut call, "visa");
    assert!(call.said_since(from).starts_with("Now the security code"));
    assert!(call.pending_request.is_some() && call.pending_request != first);
    call.model_replies("Yes, it is.", &[]);
}

#[test]
fn the_guided_flow_works_while_the_model_fails() {
    let mut call = reach_card_number();
    for _ in 0..5 {
        call.caller_says("What was that?");
        let from = call.model_emits(ModelEvent::Failed);
        assert_eq!(call.said_since(from), "Please type your card number on the keypad, then press pound.");
    }
    report_card_number(&mut call, "visa");
    call.twilio_answers(TwilioResponse::Accepted);
    report_field(&mut call, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    call.twilio_answers(TwilioResponse::Accepted);
    report_field(&mut call, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(call.wait_for_statement(), GO_ON);
    call.caller_says("Yes");
    call.twilio_answers(TwilioResponse::Accepted);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    let from = call.model_emits(ModelEvent::Failed);
    assert_eq!(call.said_since(from), "Your payment details are stored. Thank you.");
    assert!(call.pending_request.is_none() && call.end_frames().is_empty());
    call.caller_says("Thanks");
    let from = call.model_emits(ModelEvent::Failed);
    assert_eq!(call.said_since(from), MODEL_UNAVAILABLE, "the result is announced once");
}

#[test]
fn a_result_during_the_goodbye_is_announced_first() {
    let mut call = reach_card_number();
    call.caller_says("Goodbye");
    call.model_calls("end-call", "");
    call.model_emits(ModelEvent::Completed);
    call.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    let from = call.model_emits(ModelEvent::Failed);
    assert_eq!(call.said_since(from), format!("I am sorry, that did not go through.{GOODBYE}"));
}

#[test]
fn an_interrupted_text_is_repeated_unless_the_caller_spoke() {
    let mut call = reach_card_number();
    call.caller_interrupts("Please type");
    let from = call.advance(2 * SECOND);
    assert_eq!(call.said_since(from), "");
    let from = call.advance(2 * SECOND);
    assert_eq!(call.said_since(from), "Please type your card number on the keypad, then press pound.");
    call.caller_interrupts("Please");
    call.caller_says("I know");
    call.model_replies("Good.", &[]);
    let from = call.advance(10 * SECOND);
    assert_eq!(call.said_since(from), "");
}

#[test]
fn a_stalled_payment_is_repeated_by_the_server_then_by_the_model() {
    let mut call = reach_card_number();
    let from = call.advance(STALL_TIMEOUT + SECOND);
    assert!(call.said_since(from).starts_with("Please type your card number") && call.pending_request.is_none());
    call.advance(STALL_TIMEOUT);
    assert!(call.history().contains("offer to connect the caller with a person"));
}

#[test]
fn a_request_without_a_response_is_repeated_and_then_the_model_takes_over() {
    let mut call = TestCall::start_with(guided_settings());
    call.caller_says("Store my card");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    let first = call.only_update("capture-card").unwrap().clone();
    for _ in 0..2 {
        call.twilio_answers(TwilioResponse::Unknown);
        assert!(call.only_update("capture-card").is_some_and(|again| again.idempotency_key == first.idempotency_key));
    }
    call.twilio_answers(TwilioResponse::Unknown);
    assert!(call.running_tools.is_empty() && call.history().contains("call capture-card again"));
    call.model_replies("One moment.", &["capture-card"]);
    assert!(call.only_update("capture-card").is_some_and(|again| again.idempotency_key == first.idempotency_key));
}

#[test]
fn a_request_that_twilio_refuses_is_left_to_the_model() {
    let mut call = reach_card_number();
    report_card_number(&mut call, "visa");
    call.twilio_answers(TwilioResponse::Refused { code: Some(64020), reason: "The value does not fit." });
    assert!(call.running_tools.is_empty());
    assert!(call.history().contains("the request for the security code was refused. The value does not fit."));
    call.model_replies("", &["capture-security-code"]);
    assert_eq!(call.running_tools.len(), 1);
}

#[test]
fn a_response_after_its_callback_changes_nothing() {
    for late in [TwilioResponse::Refused { code: None, reason: "No." }, TwilioResponse::Unknown] {
        let mut call = TestCall::start_with(guided_settings());
        call.caller_says("Store my card");
        call.model_replies("Sure.", &["start-capture"]);
        call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
        report_card_number(&mut call, "visa");
        let from = call.twilio_answers(late);
        assert_eq!((twilio_changes_since(&call, from), call.pending_request), (vec![], None));
        call.twilio_answers(TwilioResponse::Accepted);
        let from = report_field(&mut call, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
        assert!(call.said_since(from).starts_with("Now the expiry date"), "the guided flow continues");
    }
}

#[test]
fn after_a_cancel_no_further_field_is_requested() {
    let mut call = reach_card_number();
    call.caller_says("Cancel that");
    call.model_replies("", &["cancel-capture"]);
    let from = report_card_number(&mut call, "visa");
    call.twilio_answers(TwilioResponse::Refused { code: None, reason: "No." });
    assert_eq!((twilio_changes_since(&call, from), call.said_since(from)), (vec![], String::new()));
}

#[test]
fn a_session_without_a_create_response_is_guided_after_its_callback() {
    let mut call = TestCall::start_with(guided_settings());
    call.caller_says("Store my card");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Unknown);
    call.model_replies("One moment.", &[]);
    let from = call.twilio_reports("PK1", &[("PaymentMethod", "credit-card")]);
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Capture(Field::CardNumber)]);
    assert!(call.said_since(from).starts_with("Please type your card number") && call.pending_request.is_none());
    call.caller_says("Does it work now?");
    assert!(call.history().contains("it is open after all"));
    call.model_replies("", &["start-capture"]);
    assert_eq!(call.running_tools.len(), 1, "no second session");
}

#[test]
fn a_goodbye_stops_the_flow_and_a_caller_who_stays_starts_it_again() {
    let mut call = reach_card_number();
    call.caller_says("A person, please");
    call.model_says("I connect you.");
    call.model_hands_off();
    let from = report_card_number(&mut call, "visa");
    assert_eq!((twilio_changes_since(&call, from), call.said_since(from)), (vec![], String::new()));
    let from = call.caller_says("No wait, I go on");
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Capture(Field::SecurityCode)]);
    assert!(call.said_since(from).starts_with("Now the security code"));
}

#[test]
fn a_resumed_socket_repeats_the_request_for_the_field() {
    let mut call = reach_card_number();
    call.feed(CallEvent::SocketLost);
    let from = report_card_number(&mut call, "visa");
    assert_eq!((twilio_changes_since(&call, from), call.said_since(from)), (vec![], String::new()));
    let from = call.feed(CallEvent::SocketResumed);
    assert_eq!(call.said_since(from), "Now the security code, the three digits on the back, then pound.");
    call.twilio_answers(TwilioResponse::Accepted);
    call.feed(CallEvent::SocketLost);
    let from = call.feed(CallEvent::SocketResumed);
    assert_eq!(call.said_since(from), "Now the security code, the three digits on the back, then pound.");
    assert!(call.pending_request.is_none());
}
