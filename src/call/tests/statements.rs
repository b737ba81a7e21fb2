//! The server's statements and the caller's answers.

use super::charge_authorization::{ask_for_25, call_confirm_amount, call_start_capture, requested_charge, start_call};
use super::*;
use crate::call::settings::KeypadSettings;
use crate::payment::{ConsentAnswer, ConsentPurpose};

#[test]
fn a_no_authorizes_nothing() {
    for no in [
        "No, absolutely not",
        "No.",
        "No, not 25 dollars, only 5",
        "Nein danke",
        "Stop, cancel it, I do not want to pay",
    ] {
        let mut line = ask_for_25();
        line.caller_says(no);
        assert!(line.history().contains("the caller said no to 25.00 USD, and nothing is charged"), "{no}");
        call_start_capture(&mut line, r#"{"chargeAmount":"25.00"}"#);
        call_start_capture(&mut line, "");
        assert!(line.running_tools.is_empty(), "{no}");
        assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::No, "{no}");
    }
}

#[test]
fn an_unclear_answer_repeats_the_statement_once_and_then_offers_a_person() {
    let mut line = ask_for_25();
    let from = line.caller_says("Yes, but only 5 dollars");
    assert!(line.pending_request.is_none(), "no model request before the caller has answered");
    line.wait_for_statement();
    assert!(line.said_since(from).starts_with("That is 25 dollars"), "the statement is repeated");
    line.caller_says("What is that for?");
    assert!(line.history().contains("got no clear answer, so nothing is charged. Next: say so and offer a person"));
    assert!(
        line.history().contains("caller: Yes, but only 5 dollars") && line.history().contains("caller: What is that")
    );
    call_start_capture(&mut line, "");
    assert!(line.running_tools.is_empty());
    assert_eq!(line.statements().len(), 2);
    assert!(
        line.recorded_answers().iter().all(|it| it.answer == ConsentAnswer::Unclear)
            && line.recorded_answers().len() == 2
    );
}

#[test]
fn an_unclear_answer_may_be_followed_by_a_yes() {
    let mut line = ask_for_25();
    line.caller_says("Sorry?");
    line.wait_for_statement();
    line.caller_says("Yes, go ahead.");
    call_start_capture(&mut line, "");
    assert_eq!(requested_charge(&line), Some(usd("25")));
}

#[test]
fn a_statement_can_be_answered_with_a_key() {
    for (key, answer) in [
        ("1", ConsentAnswer::Yes),
        ("2", ConsentAnswer::No),
        ("7", ConsentAnswer::Unclear),
        ("*", ConsentAnswer::Unclear),
    ] {
        let mut line = ask_for_25();
        line.caller_answers_by_key(key);
        assert_eq!(line.recorded_answers()[0].answer, answer, "{key}");
    }
    let mut line = ask_for_25();
    line.caller_answers_by_key("1#");
    assert!(line.history().contains("caller: [on the keypad] 1\ndeveloper: Payment update: the caller said yes"));
    line.advance(30 * SECOND);
    assert_eq!(line.recorded_answers().len(), 1);
}

#[test]
fn only_a_single_key_is_an_answer() {
    for keys in ["11", "12", "1234", "4242424242424242", "*1", "1*"] {
        let mut line = ask_for_25();
        line.caller_answers_by_key(keys);
        assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::Unclear, "{keys}");
        assert_eq!(line.recorded_answers().len(), 1, "{keys}");
        line.wait_for_statement();
        line.caller_answers_by_key(keys);
        assert!(line.history().contains("[on the keypad] something else"), "{keys}: {}", line.history());
    }
    for (key, word, answer) in
        [("1", "No", ConsentAnswer::Unclear), ("2", "Yes", ConsentAnswer::Unclear), ("1", "Yes", ConsentAnswer::Yes)]
    {
        let mut line = ask_for_25();
        line.caller_presses(key);
        line.caller_says(word);
        assert_eq!(line.recorded_answers()[0].answer, answer, "{key} and {word}");
    }
}

#[test]
fn an_answer_by_key_ignores_the_maximum_input_length() {
    let keypad = KeypadSettings { max_digits: 1, pause: 3 * SECOND };
    let mut line = TestCall::start_with(CallSettings { keypad, ..settings() });
    line.caller_says("I want to pay");
    line.request_consent("25.00");
    line.caller_answers_by_key("12");
    assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::Unclear);
}

#[test]
fn a_yes_before_the_amount_was_spoken_is_unclear() {
    let mut line = TestCall::start();
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    line.caller_says("I want to pay");
    line.request_consent("25.00");
    line.caller_says("Yes");
    assert_eq!(
        line.recorded_answers()[0].answer,
        ConsentAnswer::Unclear,
        "the yes answers the speech before the statement"
    );
    line.wait_for_statement();
    line.advance(SECOND);
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.advance(4 * SECOND);
    line.caller_says("Yes");
    assert_eq!(line.recorded_answers()[1].answer, ConsentAnswer::Yes, "the caller has heard the amount");

    let mut line = TestCall::start();
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    line.caller_says("I want to pay");
    line.request_consent("25.00");
    line.caller_says("No");
    assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::No, "a no is a no");
}

#[test]
fn keys_before_the_statement_are_no_answer() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.caller_presses("1");
    line.request_consent("25.00");
    assert!(line.recorded_answers().is_empty());
    line.caller_answers_by_key("2");
    assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::No);
    assert!(line.history().contains("caller: [on the keypad] 1\nagent: That is 25 dollars"), "{}", line.history());
}

#[test]
fn keys_right_after_a_payment_are_no_answer() {
    let mut line = TestCall::start();
    line.caller_agrees_to("25.00");
    call_start_capture(&mut line, "");
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    line.model_replies("", &["cancel-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    line.request_consent("30.00");
    line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    line.caller_answers_by_key("1");
    assert_eq!(line.recorded_answers().len(), 1, "the key may be a late digit of the card number");
    line.advance(4 * SECOND);
    line.caller_answers_by_key("1");
    assert_eq!(line.recorded_answers()[1].answer, ConsentAnswer::Yes);
}

#[test]
fn a_yes_to_an_interrupted_statement_is_unclear_and_a_no_is_a_no() {
    let mut line = ask_for_25();
    line.caller_interrupts("That is");
    line.caller_says("Yes");
    assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::Unclear);
    line.advance(5 * SECOND);
    line.caller_says("Yes");
    assert_eq!(line.recorded_answers()[1].answer, ConsentAnswer::Yes);

    let mut line = ask_for_25();
    line.caller_interrupts("That is");
    line.caller_says("No");
    assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::No);

    let mut line = ask_for_25();
    let whole = line.statements()[0].clone();
    line.caller_interrupts(&whole);
    line.caller_says("Yes");
    assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::Yes, "the statement was heard to its end");
}

#[test]
fn noise_repeats_the_statement_up_to_a_limit() {
    let mut line = ask_for_25();
    for times in 2..=6 {
        line.caller_interrupts("That");
        line.advance(5 * SECOND);
        assert_eq!(line.statements().len(), times);
    }
    line.caller_interrupts("That");
    line.advance(5 * SECOND);
    assert!(line.history().contains("got no clear answer"));
}

#[test]
fn an_unanswered_statement_is_repeated_without_reminders() {
    let mut line = ask_for_25();
    let from = line.advance(60 * SECOND);
    assert!(line.said_since(from).starts_with("That is 25 dollars") && line.pending_request.is_none());
    line.advance(30 * SECOND);
    assert!(line.history().contains("got no clear answer"), "the call continues");
    assert!(!line.said_since(from).contains("Still there?"));
}

#[test]
fn the_statement_waits_for_silence_and_precedes_the_model() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_says("Let me just ask you that in full, as I have to do with every payment on this line.");
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model_emits(ModelEvent::Completed);
    line.advance(SECOND);
    assert!(line.statements().is_empty(), "the agent is speaking");
    line.receive_frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
    line.advance(5 * SECOND);
    assert!(line.statements().is_empty(), "the caller is speaking");
    line.caller_says("Yes");
    line.advance(10 * SECOND);
    assert_eq!(
        (line.statements().len(), line.recorded_answers().len()),
        (1, 0),
        "speech before the statement is no answer"
    );
    assert!(line.pending_request.is_none());
    line.caller_says("Yes");
    assert!(line.history().contains("caller: Yes\nagent: That is 25 dollars"), "{}", line.history());
}

#[test]
fn a_lost_socket_repeats_the_statement() {
    let mut line = ask_for_25();
    line.feed(CallEvent::SocketLost);
    line.advance(5 * SECOND);
    line.feed(CallEvent::SocketResumed);
    line.advance(5 * SECOND);
    assert_eq!((line.statements().len(), line.recorded_answers().len()), (2, 0));
    line.caller_says("Yes");
    assert_eq!(line.recorded_answers()[0].answer, ConsentAnswer::Yes);
}

#[test]
fn a_model_that_repeats_an_unanswered_statement_is_stopped() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    for _ in 0..20 {
        if line.pending_request.is_some() {
            line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
            line.model_emits(ModelEvent::Completed);
            line.advance(90 * SECOND);
        }
    }
    line.advance(30 * SECOND);
    assert!(matches!(line.end_frames().as_slice(), [Some(data)] if data.contains("model-unavailable")));
}

#[test]
fn the_recorded_answer_holds_the_statement_its_language_and_the_consent() {
    let mut line = TestCall::start_with(CallSettings { language: "es-MX".to_owned(), ..settings() });
    line.caller_agrees_to("25.50");
    let text = "El importe es 25 dólares con 50 centavos y se cargará ahora a su tarjeta. Diga sí o marque 1; diga no o marque 2.";
    let answered = line.recorded_answers()[0].clone();
    assert_eq!(
        (answered.purpose, answered.text.as_str(), answered.language.as_str()),
        (ConsentPurpose::Charge(usd("25.50")), text, "es-US")
    );
    assert_eq!(answered.answer, ConsentAnswer::Yes);
    assert!(answered.text_version.len() == 8 && answered.text_version.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!format!("{answered:?}").contains("Yes,"));
    call_start_capture(&mut line, "");
    let [(_, Tool::StartCapture(create))] = line.running_tools.as_slice() else { panic!() };
    assert_eq!((create.consent.as_ref(), create.is_repeat_charge()), (Some(&answered), false));
}

#[test]
fn the_statement_for_a_bank_account_names_it() {
    let mut line = start_call(r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee"}"#);
    line.caller_says("I want to pay");
    assert!(line.request_consent("25.00").contains("taken from your bank account now"));
}

#[test]
fn no_other_tool_runs_during_a_statement() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    line.model_calls("start-capture", r#"{"chargeAmount":"0"}"#);
    line.model_calls("end-call", "");
    line.model_emits(ModelEvent::Completed);
    assert!(line.running_tools.is_empty());
    line.advance(5 * SECOND);
    line.caller_says("Yes");
    assert_eq!(line.history().matches("The server is just asking").count(), 3);
}

#[test]
fn in_listen_mode_confirm_amount_is_refused() {
    let mut line = TestCall::start_with(CallSettings { listen_only: true, ..settings() });
    line.caller_says("I want to pay");
    call_confirm_amount(&mut line, r#"{"amount":"25.00"}"#);
    assert!(line.history().contains("You only listen now") && !line.inner.has_open_question());
}
