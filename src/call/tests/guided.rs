//! The server leads through a payment.

use super::guided_consent::GO_ON;
use super::*;
use crate::payment::Entry;

/// The payment is open, and the server has asked for the card number.
pub(super) fn at_card_number() -> Line {
    let mut line = Line::open_with(guided());
    line.caller_says("Store my card");
    line.model_replies("Sure.", &["start-capture"]);
    let from = line.twilio_answers(Answer::Created(payment("PK1")));
    assert_eq!(line.said_since(from), "Please type your card number on the keypad, then press pound.");
    assert!(line.asked.is_none(), "the model has nothing to add");
    line.twilio_answers(Answer::Accepted);
    line
}

pub(super) fn entered(
    line: &mut Line,
    field: &'static str,
    required: &'static str,
    more: &[(&'static str, &'static str)],
) -> usize {
    let form = [("Capture", field), ("PartialResult", "false"), ("Required", required)];
    line.twilio_reports("PK1", &[&form[..], more].concat())
}

pub(super) fn card_is_in(line: &mut Line, kind: &'static str) -> usize {
    let more = [("PaymentCardNumber", "xxxxxxxxxxxx4242"), ("PaymentCardType", kind)];
    entered(line, "payment-card-number", "security-code,expiration-date", &more)
}

fn wrong_card(line: &mut Line) -> usize {
    let error = [("ErrorType", "invalid-card-number")];
    entered(line, "payment-card-number", "payment-card-number,security-code,expiration-date", &error)
}

/// What Twilio was asked for since `from`.
pub(super) fn asked_of_twilio(line: &Line, from: usize) -> Vec<Change> {
    let change = |action: &Action| match action {
        Action::RunTool {
            tool:
                Tool::CaptureCard(update)
                | Tool::CaptureSecurityCode(update)
                | Tool::CaptureExpiryDate(update)
                | Tool::CapturePostalCode(update)
                | Tool::FinishCapture(update)
                | Tool::CancelCapture(update),
            ..
        } => Some(update.change),
        _ => None,
    };
    line.did[from..].iter().filter_map(change).collect()
}

#[test]
fn the_next_field_is_asked_for_with_the_callback_and_without_the_model() {
    let mut line = at_card_number();
    let from = card_is_in(&mut line, "visa");
    assert_eq!(asked_of_twilio(&line, from), [Change::Capture(Field::SecurityCode)]);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    line.twilio_answers(Answer::Accepted);
    let from = entered(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    assert_eq!(asked_of_twilio(&line, from), [Change::Capture(Field::ExpirationDate)]);
    line.twilio_answers(Answer::Accepted);
    let from = entered(&mut line, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(asked_of_twilio(&line, from), [Change::Complete]);
    assert_eq!(line.said_since(from), "Thank you. One moment while that goes through.");
    assert!(line.asked.is_none());
    line.twilio_answers(Answer::Accepted);
    assert!(line.records().iter().any(|entry| matches!(entry, Entry::Submitted { .. })));

    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    let history = line.history();
    for told in ["the server leads through it", "the expiry date is in", "storing the card succeeded"] {
        assert!(history.contains(told), "{told} in {history}");
    }
    assert!(history.contains("agent: Now the expiry date") && !history.contains("1229"));
}

#[test]
fn the_security_code_of_an_american_express_card_has_four_digits() {
    let mut line = at_card_number();
    let from = card_is_in(&mut line, "amex");
    assert!(line.said_since(from).contains("the four digits on the front"));
    let mut line = at_card_number();
    let from = card_is_in(&mut line, "");
    assert!(line.said_since(from).contains("three digits, or four on American Express"));
}

#[test]
fn the_texts_follow_the_language_of_the_call() {
    let mut line = Line::open_with(Settings { languages: vec!["en-US".into(), "es-MX".into()], ..guided() });
    line.caller_says("En español, por favor");
    line.model_calls("switch-language", r#"{"ttsLanguage":"es-MX"}"#);
    line.model(ModelEvent::Done);
    let (run, Tool::SwitchLanguage(languages)) = line.running.remove(0) else { panic!("a switch") };
    line.feed(Event::ToolFinished { run, outcome: Outcome::Send(Outgoing::Language(languages)) });
    line.model_replies("Claro.", &["start-capture"]);
    let from = line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(line.said_since(from).starts_with("Por favor, marque"));

    let mut line = Line::open_with(Settings { language: "de-AT".into(), ..guided() });
    line.caller_says("Bitte die Karte speichern");
    line.model_replies("Gern.", &["start-capture"]);
    let from = line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(line.said_since(from).starts_with("Bitte geben Sie Ihre Kartennummer"));
}

#[test]
fn a_wrong_entry_is_asked_for_again_three_times_and_then_the_model_leads() {
    let mut line = at_card_number();
    for _ in 0..3 {
        let from = wrong_card(&mut line);
        assert_eq!(asked_of_twilio(&line, from), [Change::Capture(Field::CardNumber)]);
        assert!(line.said_since(from).starts_with("That was not accepted. Please type your card number"));
        line.twilio_answers(Answer::Accepted);
    }
    let from = wrong_card(&mut line);
    assert_eq!((asked_of_twilio(&line, from), line.said_since(from)), (vec![], String::new()));
    assert!(line.history().contains("4 times by now"));
    line.model_replies("Once more?", &["capture-card"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(_))]), "the model may lead now");
}

#[test]
fn while_the_server_leads_the_model_cannot() {
    let mut line = at_card_number();
    line.caller_says("And now?");
    line.model_replies("", &["capture-security-code", "finish-capture"]);
    assert!(line.running.is_empty());
    assert_eq!(line.history().matches("the server leads through it").count(), 3);
    assert!(line.history().contains("The server asks for the fields by itself."));
}

#[test]
fn a_question_is_answered_and_the_entry_goes_on() {
    let mut line = at_card_number();
    line.caller_says("Is that safe?");
    line.model_says("Yes, nobody ");
    // The field is in while the model speaks: Twilio is asked at once, and the text waits for the end of the sentence.
    let from = card_is_in(&mut line, "visa");
    assert_eq!((asked_of_twilio(&line, from).len(), line.said_since(from)), (1, String::new()));
    line.model_says("sees it.");
    let from = line.model(ModelEvent::Done);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    assert!(line.asked.is_none());
}

#[test]
fn a_response_that_has_not_begun_gives_way_and_is_asked_for_again() {
    let mut line = at_card_number();
    line.caller_says("Is that safe?");
    let first = line.asked;
    let from = card_is_in(&mut line, "visa");
    assert!(line.said_since(from).starts_with("Now the security code"));
    assert!(line.asked.is_some() && line.asked != first);
    line.model_replies("Yes, it is.", &[]);
}

#[test]
fn without_the_model_the_payment_goes_on_and_its_result_is_told() {
    let mut line = at_card_number();
    for _ in 0..5 {
        line.caller_says("What was that?");
        let from = line.model(ModelEvent::Failed);
        assert_eq!(line.said_since(from), "Please type your card number on the keypad, then press pound.");
    }
    card_is_in(&mut line, "visa");
    line.twilio_answers(Answer::Accepted);
    entered(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    line.twilio_answers(Answer::Accepted);
    entered(&mut line, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(line.hears_statement(), GO_ON);
    line.caller_says("Yes");
    line.twilio_answers(Answer::Accepted);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    let from = line.model(ModelEvent::Failed);
    assert_eq!(line.said_since(from), "Your payment details are stored. Thank you.");
    assert!(line.asked.is_none() && line.ends().is_empty());
    line.caller_says("Thanks");
    let from = line.model(ModelEvent::Failed);
    assert_eq!(line.said_since(from), SORRY, "it is told once");
}

#[test]
fn a_result_that_comes_during_the_goodbye_is_told_before_it() {
    let mut line = at_card_number();
    line.caller_says("Goodbye");
    line.model_calls("end-call", "");
    line.model(ModelEvent::Done);
    line.tool_answers(Outcome::EndCall);
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    let from = line.model(ModelEvent::Failed);
    assert_eq!(line.said_since(from), format!("I am sorry, that did not go through.{GOODBYE}"));
}

#[test]
fn a_text_that_was_cut_off_by_noise_is_said_again_and_not_if_the_caller_spoke() {
    let mut line = at_card_number();
    line.caller_interrupts("Please type");
    let from = line.passes(2 * SECOND);
    assert_eq!(line.said_since(from), "");
    let from = line.passes(2 * SECOND);
    assert_eq!(line.said_since(from), "Please type your card number on the keypad, then press pound.");
    line.caller_interrupts("Please");
    line.caller_says("I know");
    line.model_replies("Good.", &[]);
    let from = line.passes(10 * SECOND);
    assert_eq!(line.said_since(from), "");
}

#[test]
fn a_payment_that_stands_still_is_asked_for_once_more_by_the_server_and_then_by_the_model() {
    let mut line = at_card_number();
    let from = line.passes(STALL + SECOND);
    assert!(line.said_since(from).starts_with("Please type your card number") && line.asked.is_none());
    line.passes(STALL);
    assert!(line.history().contains("offer to connect the caller with a person"));
}

#[test]
fn a_request_without_an_answer_is_repeated_with_its_key_and_then_the_model_leads() {
    let mut line = Line::open_with(guided());
    line.caller_says("Store my card");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    let Tool::CaptureCard(first) = line.running[0].1.clone() else { panic!() };
    for _ in 0..2 {
        line.twilio_answers(Answer::Unknown);
        assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(again))] if again.key == first.key));
    }
    line.twilio_answers(Answer::Unknown);
    assert!(line.running.is_empty() && line.history().contains("call capture-card again"));
    line.model_replies("One moment.", &["capture-card"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(again))] if again.key == first.key));
}

#[test]
fn what_twilio_refuses_is_the_models() {
    let mut line = at_card_number();
    card_is_in(&mut line, "visa");
    line.twilio_answers(Answer::Refused { code: Some(64020), reason: "The value does not fit." });
    assert!(line.running.is_empty());
    assert!(line.history().contains("the request for the security code was refused. The value does not fit."));
    line.model_replies("", &["capture-security-code"]);
    assert_eq!(line.running.len(), 1);
}

#[test]
fn an_answer_that_was_overtaken_by_its_callback_changes_nothing() {
    for late in [Answer::Refused { code: None, reason: "No." }, Answer::Unknown] {
        let mut line = Line::open_with(guided());
        line.caller_says("Store my card");
        line.model_replies("Sure.", &["start-capture"]);
        line.twilio_answers(Answer::Created(payment("PK1")));
        card_is_in(&mut line, "visa");
        let from = line.twilio_answers(late);
        assert_eq!((asked_of_twilio(&line, from), line.asked), (vec![], None));
        line.twilio_answers(Answer::Accepted);
        let from = entered(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
        assert!(line.said_since(from).starts_with("Now the expiry date"), "the server leads on");
    }
}

#[test]
fn a_caller_who_cancels_is_not_asked_any_further() {
    let mut line = at_card_number();
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    let from = card_is_in(&mut line, "visa");
    line.twilio_answers(Answer::Refused { code: None, reason: "No." });
    assert_eq!((asked_of_twilio(&line, from), line.said_since(from)), (vec![], String::new()));
}

#[test]
fn a_session_that_shows_up_after_its_answer_got_lost_is_led_through_all_the_same() {
    let mut line = Line::open_with(guided());
    line.caller_says("Store my card");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(Answer::Unknown);
    line.model_replies("One moment.", &[]);
    let from = line.twilio_reports("PK1", &[("PaymentMethod", "credit-card")]);
    assert_eq!(asked_of_twilio(&line, from), [Change::Capture(Field::CardNumber)]);
    assert!(line.said_since(from).starts_with("Please type your card number") && line.asked.is_none());
    line.caller_says("Does it work now?");
    assert!(line.history().contains("it is open after all"));
    line.model_replies("", &["start-capture"]);
    assert_eq!(line.running.len(), 1, "no second session");
}

#[test]
fn a_goodbye_stops_the_flow_and_a_caller_who_stays_starts_it_again() {
    let mut line = at_card_number();
    line.caller_says("A person, please");
    line.model_says("I connect you.");
    line.model_hands_off();
    let from = card_is_in(&mut line, "visa");
    assert_eq!((asked_of_twilio(&line, from), line.said_since(from)), (vec![], String::new()));
    let from = line.caller_says("No wait, I go on");
    assert_eq!(asked_of_twilio(&line, from), [Change::Capture(Field::SecurityCode)]);
    assert!(line.said_since(from).starts_with("Now the security code"));
}

#[test]
fn a_new_socket_is_told_what_is_waited_for() {
    let mut line = at_card_number();
    line.feed(Event::SocketLost);
    let from = card_is_in(&mut line, "visa");
    assert_eq!((asked_of_twilio(&line, from), line.said_since(from)), (vec![], String::new()));
    let from = line.feed(Event::Resumed);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    line.twilio_answers(Answer::Accepted);
    line.feed(Event::SocketLost);
    let from = line.feed(Event::Resumed);
    assert_eq!(line.said_since(from), "Now the security code, the three digits on the back, then pound.");
    assert!(line.asked.is_none());
}
