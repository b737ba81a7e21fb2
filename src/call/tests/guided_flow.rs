//! The guided flow: the server asks for the fields without the model.

use super::guided_flow_consent::GO_ON;
use super::*;
use crate::payment::PaymentLogEntry;

/// Opens a guided payment, in which the server has requested the card number.
pub(super) fn reach_card_number() -> TestCall {
    let mut line = TestCall::start_with(guided_settings());
    line.caller_says("Store my card");
    line.model_replies("Sure.", &["start-capture"]);
    let from = line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert_eq!(line.said_since(from), "Please type your card number on the keypad, then press pound.");
    assert!(line.pending_request.is_none(), "the model has nothing to add");
    line.twilio_answers(TwilioResponse::Accepted);
    line
}

pub(super) fn report_field(
    line: &mut TestCall,
    field: &'static str,
    required: &'static str,
    more: &[(&'static str, &'static str)],
) -> usize {
    let form = [("Capture", field), ("PartialResult", "false"), ("Required", required)];
    line.twilio_reports("PK1", &[&form[..], more].concat())
}

pub(super) fn report_card_number(line: &mut TestCall, kind: &'static str) -> usize {
    let more = [("PaymentCardNumber", "xxxxxxxxxxxx4242"), ("PaymentCardType", kind)];
    report_field(line, "payment-card-number", "security-code,expiration-date", &more)
}

fn report_invalid_card(line: &mut TestCall) -> usize {
    let error = [("ErrorType", "invalid-card-number")];
    report_field(line, "payment-card-number", "payment-card-number,security-code,expiration-date", &error)
}

/// The payment changes that were requested from Twilio since action `from`.
pub(super) fn twilio_changes_since(line: &TestCall, from: usize) -> Vec<UpdateAction> {
    let change = |action: &Action| match action {
        Action::RunTool { tool: Tool::UpdatePayment(update), .. } => Some(update.action),
        _ => None,
    };
    line.actions[from..].iter().filter_map(change).collect()
}

#[test]
fn a_callback_requests_the_next_field_without_the_model() {
    let mut line = reach_card_number();
    let from = report_card_number(&mut line, "visa");
    assert_eq!(twilio_changes_since(&line, from), [UpdateAction::Capture(Field::SecurityCode)]);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    line.twilio_answers(TwilioResponse::Accepted);
    let from = report_field(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    assert_eq!(twilio_changes_since(&line, from), [UpdateAction::Capture(Field::ExpirationDate)]);
    line.twilio_answers(TwilioResponse::Accepted);
    let from = report_field(&mut line, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(twilio_changes_since(&line, from), [UpdateAction::Complete]);
    assert_eq!(line.said_since(from), "Thank you. One moment while that goes through.");
    assert!(line.pending_request.is_none());
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(line.ledger_entries().iter().any(|entry| matches!(entry, PaymentLogEntry::Submitted { .. })));

    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    let history = line.history();
    for told in ["the server leads through it", "the expiry date is in", "storing the card succeeded"] {
        assert!(history.contains(told), "{told} in {history}");
    }
    assert!(history.contains("agent: Now the expiry date") && !history.contains("1229"));
}

#[test]
fn the_security_code_of_an_american_express_card_has_four_digits() {
    let mut line = reach_card_number();
    let from = report_card_number(&mut line, "amex");
    assert!(line.said_since(from).contains("the four digits on the front"));
    let mut line = reach_card_number();
    let from = report_card_number(&mut line, "");
    assert!(line.said_since(from).contains("three digits, or four on American Express"));
}

#[test]
fn the_texts_are_in_the_language_of_the_call() {
    let mut line =
        TestCall::start_with(CallSettings { languages: vec!["en-US".into(), "es-MX".into()], ..guided_settings() });
    line.caller_says("En español, por favor");
    line.model_calls("switch-language", r#"{"ttsLanguage":"es-MX"}"#);
    line.model_emits(ModelEvent::Completed);
    line.model_replies("Claro.", &["start-capture"]);
    let from = line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(line.said_since(from).starts_with("Por favor, marque"));

    let mut line = TestCall::start_with(CallSettings { language: "de-AT".into(), ..guided_settings() });
    line.caller_says("Bitte die Karte speichern");
    line.model_replies("Gern.", &["start-capture"]);
    let from = line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(line.said_since(from).starts_with("Bitte geben Sie Ihre Kartennummer"));
}

#[test]
fn after_three_repeated_entries_the_model_takes_over() {
    let mut line = reach_card_number();
    for _ in 0..3 {
        let from = report_invalid_card(&mut line);
        assert_eq!(twilio_changes_since(&line, from), [UpdateAction::Capture(Field::CardNumber)]);
        assert!(line.said_since(from).starts_with("That was not accepted. Please type your card number"));
        line.twilio_answers(TwilioResponse::Accepted);
    }
    let from = report_invalid_card(&mut line);
    assert_eq!((twilio_changes_since(&line, from), line.said_since(from)), (vec![], String::new()));
    assert!(line.history().contains("4 times by now"));
    line.model_replies("Once more?", &["capture-card"]);
    assert!(line.only_update("capture-card").is_some(), "the model may capture now");
}

#[test]
fn during_the_guided_flow_the_model_cannot_capture() {
    let mut line = reach_card_number();
    line.caller_says("And now?");
    line.model_replies("", &["capture-security-code", "finish-capture"]);
    assert!(line.running_tools.is_empty());
    assert_eq!(line.history().matches("the server leads through it").count(), 3);
    assert!(line.history().contains("The server asks for the fields by itself."));
}

#[test]
fn a_question_is_answered_and_the_entry_goes_on() {
    let mut line = reach_card_number();
    line.caller_says("Is that safe?");
    line.model_says("Yes, nobody ");
    // The field is entered while the model speaks: the next field is requested at once, and its text waits for the end
    // of the response.
    let from = report_card_number(&mut line, "visa");
    assert_eq!((twilio_changes_since(&line, from).len(), line.said_since(from)), (1, String::new()));
    line.model_says("sees it.");
    let from = line.model_emits(ModelEvent::Completed);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    assert!(line.pending_request.is_none());
}

#[test]
fn a_response_without_text_is_cancelled_for_the_next_field_and_requested_again() {
    let mut line = reach_card_number();
    line.caller_says("Is that safe?");
    let first = line.pending_request;
    let from = report_card_number(&mut line, "visa");
    assert!(line.said_since(from).starts_with("Now the security code"));
    assert!(line.pending_request.is_some() && line.pending_request != first);
    line.model_replies("Yes, it is.", &[]);
}

#[test]
fn the_guided_flow_works_while_the_model_fails() {
    let mut line = reach_card_number();
    for _ in 0..5 {
        line.caller_says("What was that?");
        let from = line.model_emits(ModelEvent::Failed);
        assert_eq!(line.said_since(from), "Please type your card number on the keypad, then press pound.");
    }
    report_card_number(&mut line, "visa");
    line.twilio_answers(TwilioResponse::Accepted);
    report_field(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    line.twilio_answers(TwilioResponse::Accepted);
    report_field(&mut line, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(line.wait_for_statement(), GO_ON);
    line.caller_says("Yes");
    line.twilio_answers(TwilioResponse::Accepted);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    let from = line.model_emits(ModelEvent::Failed);
    assert_eq!(line.said_since(from), "Your payment details are stored. Thank you.");
    assert!(line.pending_request.is_none() && line.end_frames().is_empty());
    line.caller_says("Thanks");
    let from = line.model_emits(ModelEvent::Failed);
    assert_eq!(line.said_since(from), MODEL_UNAVAILABLE, "the result is announced once");
}

#[test]
fn a_result_during_the_goodbye_is_announced_first() {
    let mut line = reach_card_number();
    line.caller_says("Goodbye");
    line.model_calls("end-call", "");
    line.model_emits(ModelEvent::Completed);
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    let from = line.model_emits(ModelEvent::Failed);
    assert_eq!(line.said_since(from), format!("I am sorry, that did not go through.{GOODBYE}"));
}

#[test]
fn an_interrupted_text_is_repeated_unless_the_caller_spoke() {
    let mut line = reach_card_number();
    line.caller_interrupts("Please type");
    let from = line.advance(2 * SECOND);
    assert_eq!(line.said_since(from), "");
    let from = line.advance(2 * SECOND);
    assert_eq!(line.said_since(from), "Please type your card number on the keypad, then press pound.");
    line.caller_interrupts("Please");
    line.caller_says("I know");
    line.model_replies("Good.", &[]);
    let from = line.advance(10 * SECOND);
    assert_eq!(line.said_since(from), "");
}

#[test]
fn a_stalled_payment_is_repeated_by_the_server_then_by_the_model() {
    let mut line = reach_card_number();
    let from = line.advance(STALL_TIMEOUT + SECOND);
    assert!(line.said_since(from).starts_with("Please type your card number") && line.pending_request.is_none());
    line.advance(STALL_TIMEOUT);
    assert!(line.history().contains("offer to connect the caller with a person"));
}

#[test]
fn a_request_without_a_response_is_repeated_and_then_the_model_takes_over() {
    let mut line = TestCall::start_with(guided_settings());
    line.caller_says("Store my card");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    let first = line.only_update("capture-card").unwrap().clone();
    for _ in 0..2 {
        line.twilio_answers(TwilioResponse::Unknown);
        assert!(line.only_update("capture-card").is_some_and(|again| again.idempotency_key == first.idempotency_key));
    }
    line.twilio_answers(TwilioResponse::Unknown);
    assert!(line.running_tools.is_empty() && line.history().contains("call capture-card again"));
    line.model_replies("One moment.", &["capture-card"]);
    assert!(line.only_update("capture-card").is_some_and(|again| again.idempotency_key == first.idempotency_key));
}

#[test]
fn a_request_that_twilio_refuses_is_left_to_the_model() {
    let mut line = reach_card_number();
    report_card_number(&mut line, "visa");
    line.twilio_answers(TwilioResponse::Refused { code: Some(64020), reason: "The value does not fit." });
    assert!(line.running_tools.is_empty());
    assert!(line.history().contains("the request for the security code was refused. The value does not fit."));
    line.model_replies("", &["capture-security-code"]);
    assert_eq!(line.running_tools.len(), 1);
}

#[test]
fn a_response_after_its_callback_changes_nothing() {
    for late in [TwilioResponse::Refused { code: None, reason: "No." }, TwilioResponse::Unknown] {
        let mut line = TestCall::start_with(guided_settings());
        line.caller_says("Store my card");
        line.model_replies("Sure.", &["start-capture"]);
        line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
        report_card_number(&mut line, "visa");
        let from = line.twilio_answers(late);
        assert_eq!((twilio_changes_since(&line, from), line.pending_request), (vec![], None));
        line.twilio_answers(TwilioResponse::Accepted);
        let from = report_field(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
        assert!(line.said_since(from).starts_with("Now the expiry date"), "the guided flow continues");
    }
}

#[test]
fn after_a_cancel_no_further_field_is_requested() {
    let mut line = reach_card_number();
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    let from = report_card_number(&mut line, "visa");
    line.twilio_answers(TwilioResponse::Refused { code: None, reason: "No." });
    assert_eq!((twilio_changes_since(&line, from), line.said_since(from)), (vec![], String::new()));
}

#[test]
fn a_session_without_a_create_response_is_guided_after_its_callback() {
    let mut line = TestCall::start_with(guided_settings());
    line.caller_says("Store my card");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(TwilioResponse::Unknown);
    line.model_replies("One moment.", &[]);
    let from = line.twilio_reports("PK1", &[("PaymentMethod", "credit-card")]);
    assert_eq!(twilio_changes_since(&line, from), [UpdateAction::Capture(Field::CardNumber)]);
    assert!(line.said_since(from).starts_with("Please type your card number") && line.pending_request.is_none());
    line.caller_says("Does it work now?");
    assert!(line.history().contains("it is open after all"));
    line.model_replies("", &["start-capture"]);
    assert_eq!(line.running_tools.len(), 1, "no second session");
}

#[test]
fn a_goodbye_stops_the_flow_and_a_caller_who_stays_starts_it_again() {
    let mut line = reach_card_number();
    line.caller_says("A person, please");
    line.model_says("I connect you.");
    line.model_hands_off();
    let from = report_card_number(&mut line, "visa");
    assert_eq!((twilio_changes_since(&line, from), line.said_since(from)), (vec![], String::new()));
    let from = line.caller_says("No wait, I go on");
    assert_eq!(twilio_changes_since(&line, from), [UpdateAction::Capture(Field::SecurityCode)]);
    assert!(line.said_since(from).starts_with("Now the security code"));
}

#[test]
fn a_resumed_socket_repeats_the_request_for_the_field() {
    let mut line = reach_card_number();
    line.feed(CallEvent::SocketLost);
    let from = report_card_number(&mut line, "visa");
    assert_eq!((twilio_changes_since(&line, from), line.said_since(from)), (vec![], String::new()));
    let from = line.feed(CallEvent::SocketResumed);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    line.twilio_answers(TwilioResponse::Accepted);
    line.feed(CallEvent::SocketLost);
    let from = line.feed(CallEvent::SocketResumed);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    assert!(line.pending_request.is_none());
}
