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
        let mut call = ask_for_25();
        call.caller_says(no);
        assert!(call.history().contains("the caller said no to 25.00 USD, and nothing is charged"), "{no}");
        call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
        call_start_capture(&mut call, "");
        assert!(call.running_tools.is_empty(), "{no}");
        assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::No, "{no}");
    }
}

#[test]
fn an_unclear_answer_repeats_the_statement_once_and_then_offers_a_person() {
    let mut call = ask_for_25();
    let from = call.caller_says("Yes, but only 5 dollars");
    assert!(call.pending_request.is_none(), "no model request before the caller has answered");
    call.wait_for_statement();
    assert!(call.said_since(from).starts_with("That is 25 dollars"), "the statement is repeated");
    call.caller_says("What is that for?");
    assert!(call.history().contains("got no clear answer, so nothing is charged. Next: say so and offer a person"));
    assert!(
        call.history().contains("caller: Yes, but only 5 dollars") && call.history().contains("caller: What is that")
    );
    call_start_capture(&mut call, "");
    assert!(call.running_tools.is_empty());
    assert_eq!(call.statements().len(), 2);
    assert!(
        call.recorded_answers().iter().all(|it| it.answer == ConsentAnswer::Unclear)
            && call.recorded_answers().len() == 2
    );
}

#[test]
fn an_unclear_answer_may_be_followed_by_a_yes() {
    let mut call = ask_for_25();
    call.caller_says("Sorry?");
    call.wait_for_statement();
    call.caller_says("Yes, go ahead.");
    call_start_capture(&mut call, "");
    assert_eq!(requested_charge(&call), Some(usd("25")));
}

#[test]
fn a_statement_can_be_answered_with_a_key() {
    for (key, answer) in [
        ("1", ConsentAnswer::Yes),
        ("2", ConsentAnswer::No),
        ("7", ConsentAnswer::Unclear),
        ("*", ConsentAnswer::Unclear),
    ] {
        let mut call = ask_for_25();
        call.caller_answers_by_key(key);
        assert_eq!(call.recorded_answers()[0].answer, answer, "{key}");
    }
    let mut call = ask_for_25();
    call.caller_answers_by_key("1#");
    assert!(call.history().contains("caller: [on the keypad] 1\ndeveloper: Payment update: the caller said yes"));
    call.advance(30 * SECOND);
    assert_eq!(call.recorded_answers().len(), 1);
}

#[test]
fn only_a_single_key_is_an_answer() {
    for keys in ["11", "12", "1234", "4242424242424242", "*1", "1*"] {
        let mut call = ask_for_25();
        call.caller_answers_by_key(keys);
        assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::Unclear, "{keys}");
        assert_eq!(call.recorded_answers().len(), 1, "{keys}");
        call.wait_for_statement();
        call.caller_answers_by_key(keys);
        assert!(call.history().contains("[on the keypad] something else"), "{keys}: {}", call.history());
    }
    for (key, word, answer) in
        [("1", "No", ConsentAnswer::Unclear), ("2", "Yes", ConsentAnswer::Unclear), ("1", "Yes", ConsentAnswer::Yes)]
    {
        let mut call = ask_for_25();
        call.caller_presses(key);
        call.caller_says(word);
        assert_eq!(call.recorded_answers()[0].answer, answer, "{key} and {word}");
    }
}

#[test]
fn an_answer_by_key_ignores_the_maximum_input_length() {
    let keypad = KeypadSettings { max_digits: 1, pause: 3 * SECOND };
    let mut call = TestCall::start_with(CallSettings { keypad, ..settings() });
    call.caller_says("I want to pay");
    call.request_consent("25.00");
    call.caller_answers_by_key("12");
    assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::Unclear);
}

#[test]
fn a_yes_before_the_amount_was_spoken_is_unclear() {
    let mut call = TestCall::start();
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    call.caller_says("I want to pay");
    call.request_consent("25.00");
    call.caller_says("Yes");
    assert_eq!(
        call.recorded_answers()[0].answer,
        ConsentAnswer::Unclear,
        "the yes answers the speech before the statement"
    );
    call.wait_for_statement();
    call.advance(SECOND);
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    call.advance(4 * SECOND);
    call.caller_says("Yes");
    assert_eq!(call.recorded_answers()[1].answer, ConsentAnswer::Yes, "the caller has heard the amount");

    let mut call = TestCall::start();
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    call.caller_says("I want to pay");
    call.request_consent("25.00");
    call.caller_says("No");
    assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::No, "a no is a no");
}

#[test]
fn keys_before_the_statement_are_no_answer() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.caller_presses("1");
    call.request_consent("25.00");
    assert!(call.recorded_answers().is_empty());
    call.caller_answers_by_key("2");
    assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::No);
    assert!(call.history().contains("caller: [on the keypad] 1\nagent: That is 25 dollars"), "{}", call.history());
}

#[test]
fn keys_right_after_a_payment_are_no_answer() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call_start_capture(&mut call, "");
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["cancel-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.request_consent("30.00");
    call.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    call.caller_answers_by_key("1");
    assert_eq!(call.recorded_answers().len(), 1, "the key may be a late digit of the card number");
    call.advance(4 * SECOND);
    call.caller_answers_by_key("1");
    assert_eq!(call.recorded_answers()[1].answer, ConsentAnswer::Yes);
}

#[test]
fn a_yes_to_an_interrupted_statement_is_unclear_and_a_no_is_a_no() {
    let mut call = ask_for_25();
    call.caller_interrupts("That is");
    call.caller_says("Yes");
    assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::Unclear);
    call.advance(5 * SECOND);
    call.caller_says("Yes");
    assert_eq!(call.recorded_answers()[1].answer, ConsentAnswer::Yes);

    let mut call = ask_for_25();
    call.caller_interrupts("That is");
    call.caller_says("No");
    assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::No);

    let mut call = ask_for_25();
    let whole = call.statements()[0].clone();
    call.caller_interrupts(&whole);
    call.caller_says("Yes");
    assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::Yes, "the statement was heard to its end");
}

#[test]
fn noise_repeats_the_statement_up_to_a_limit() {
    let mut call = ask_for_25();
    for times in 2..=6 {
        call.caller_interrupts("That");
        call.advance(5 * SECOND);
        assert_eq!(call.statements().len(), times);
    }
    call.caller_interrupts("That");
    call.advance(5 * SECOND);
    assert!(call.history().contains("got no clear answer"));
}

#[test]
fn an_unanswered_statement_is_repeated_without_reminders() {
    let mut call = ask_for_25();
    let from = call.advance(60 * SECOND);
    assert!(call.said_since(from).starts_with("That is 25 dollars") && call.pending_request.is_none());
    call.advance(30 * SECOND);
    assert!(call.history().contains("got no clear answer"), "the call continues");
    assert!(!call.said_since(from).contains("Still there?"));
}

#[test]
fn the_statement_waits_for_silence_and_precedes_the_model() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_says("Let me just ask you that in full, as I have to do with every payment on this line.");
    call.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    call.model_emits(ModelEvent::Completed);
    call.advance(SECOND);
    assert!(call.statements().is_empty(), "the agent is speaking");
    call.receive_frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
    call.advance(5 * SECOND);
    assert!(call.statements().is_empty(), "the caller is speaking");
    call.caller_says("Yes");
    call.advance(10 * SECOND);
    assert_eq!(
        (call.statements().len(), call.recorded_answers().len()),
        (1, 0),
        "speech before the statement is no answer"
    );
    assert!(call.pending_request.is_none());
    call.caller_says("Yes");
    assert!(call.history().contains("caller: Yes\nagent: That is 25 dollars"), "{}", call.history());
}

#[test]
fn a_lost_socket_repeats_the_statement() {
    let mut call = ask_for_25();
    call.feed(CallEvent::SocketLost);
    call.advance(5 * SECOND);
    call.feed(CallEvent::SocketResumed);
    call.advance(5 * SECOND);
    assert_eq!((call.statements().len(), call.recorded_answers().len()), (2, 0));
    call.caller_says("Yes");
    assert_eq!(call.recorded_answers()[0].answer, ConsentAnswer::Yes);
}

#[test]
fn a_model_that_repeats_an_unanswered_statement_is_stopped() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    for _ in 0..20 {
        if call.pending_request.is_some() {
            call.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
            call.model_emits(ModelEvent::Completed);
            call.advance(90 * SECOND);
        }
    }
    call.advance(30 * SECOND);
    assert!(matches!(call.end_frames().as_slice(), [Some(data)] if data.contains("model-unavailable")));
}

#[test]
fn the_recorded_answer_holds_the_statement_its_language_and_the_consent() {
    let mut call = TestCall::start_with(CallSettings { language: "es-MX".to_owned(), ..settings() });
    call.caller_agrees_to("25.50");
    let text = "El importe es 25 dólares con 50 centavos y se cargará ahora a su tarjeta. Diga sí o marque 1; diga no o marque 2.";
    let answered = call.recorded_answers()[0].clone();
    assert_eq!(
        (answered.purpose, answered.text.as_str(), answered.language.as_str()),
        (ConsentPurpose::Charge(usd("25.50")), text, "es-US")
    );
    assert_eq!(answered.answer, ConsentAnswer::Yes);
    assert!(answered.text_version.len() == 8 && answered.text_version.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!format!("{answered:?}").contains("Yes,"));
    call_start_capture(&mut call, "");
    let [(_, Tool::StartCapture(create))] = call.running_tools.as_slice() else { panic!() };
    assert_eq!((create.consent.as_ref(), create.is_repeat_charge()), (Some(&answered), false));
}

#[test]
fn the_statement_for_a_bank_account_names_it() {
    let mut call = start_call(r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee"}"#);
    call.caller_says("I want to pay");
    assert!(call.request_consent("25.00").contains("taken from your bank account now"));
}

#[test]
fn no_other_tool_runs_during_a_statement() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    call.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    call.model_calls("start-capture", r#"{"chargeAmount":"0"}"#);
    call.model_calls("end-call", "");
    call.model_emits(ModelEvent::Completed);
    assert!(call.running_tools.is_empty());
    call.advance(5 * SECOND);
    call.caller_says("Yes");
    assert_eq!(call.history().matches("The server is just asking").count(), 3);
}

#[test]
fn in_listen_mode_confirm_amount_is_refused() {
    let mut call = TestCall::start_with(CallSettings { listen_only: true, ..settings() });
    call.caller_says("I want to pay");
    call_confirm_amount(&mut call, r#"{"amount":"25.00"}"#);
    assert!(call.history().contains("You only listen now") && !call.inner.has_open_question());
}
