//! The server asks, and the caller answers.

use super::agreeing::{asked_for_25, charge, confirms, line, starts};
use super::*;
use crate::call::settings::Keypad;
use crate::payment::{Consent, Purpose};

#[test]
fn a_no_arms_nothing() {
    for no in [
        "No, absolutely not",
        "No.",
        "No, not 25 dollars, only 5",
        "Nein danke",
        "Stop, cancel it, I do not want to pay",
    ] {
        let mut line = asked_for_25();
        line.caller_says(no);
        assert!(line.history().contains("the caller said no to 25.00 USD, and nothing is charged"), "{no}");
        starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
        starts(&mut line, "");
        assert!(line.running.is_empty(), "{no}");
        assert_eq!(line.answers()[0].consent, Consent::No, "{no}");
    }
}

#[test]
fn what_is_unclear_is_asked_once_more_and_then_a_person_is_offered() {
    let mut line = asked_for_25();
    let from = line.caller_says("Yes, but only 5 dollars");
    assert!(line.asked.is_none(), "the model is not asked before the caller has answered");
    line.hears_statement();
    assert!(line.said_since(from).starts_with("That is 25 dollars"), "the same text once more");
    line.caller_says("What is that for?");
    assert!(line.history().contains("got no clear answer, so nothing is charged. Next: say so and offer a person"));
    assert!(
        line.history().contains("caller: Yes, but only 5 dollars") && line.history().contains("caller: What is that")
    );
    starts(&mut line, "");
    assert!(line.running.is_empty());
    assert_eq!(line.statements().len(), 2);
    assert!(line.answers().iter().all(|it| it.consent == Consent::Unclear) && line.answers().len() == 2);
}

#[test]
fn an_unclear_answer_may_be_followed_by_a_yes() {
    let mut line = asked_for_25();
    line.caller_says("Sorry?");
    line.hears_statement();
    line.caller_says("Yes, go ahead.");
    starts(&mut line, "");
    assert_eq!(charge(&line), Some(dollars("25")));
}

#[test]
fn a_key_answers_as_a_word_does() {
    for (key, answer) in [("1", Consent::Yes), ("2", Consent::No), ("7", Consent::Unclear), ("*", Consent::Unclear)] {
        let mut line = asked_for_25();
        line.answers_by_key(key);
        assert_eq!(line.answers()[0].consent, answer, "{key}");
    }
    let mut line = asked_for_25();
    line.answers_by_key("1#");
    assert!(line.history().contains("caller: [on the keypad] 1\ndeveloper: Payment update: the caller said yes"));
    line.passes(30 * SECOND);
    assert_eq!(line.answers().len(), 1);
}

#[test]
fn one_key_alone_is_an_answer_and_many_are_none() {
    for keys in ["11", "12", "1234", "4242424242424242", "*1", "1*"] {
        let mut line = asked_for_25();
        line.answers_by_key(keys);
        assert_eq!(line.answers()[0].consent, Consent::Unclear, "{keys}");
        assert_eq!(line.answers().len(), 1, "{keys}");
        line.hears_statement();
        line.answers_by_key(keys);
        assert!(line.history().contains("[on the keypad] something else"), "{keys}: {}", line.history());
    }
    for (key, word, answer) in
        [("1", "No", Consent::Unclear), ("2", "Yes", Consent::Unclear), ("1", "Yes", Consent::Yes)]
    {
        let mut line = asked_for_25();
        line.presses(key);
        line.caller_says(word);
        assert_eq!(line.answers()[0].consent, answer, "{key} and {word}");
    }
}

#[test]
fn an_answer_is_not_over_with_its_first_key_where_other_inputs_are() {
    let keypad = Keypad { max_digits: 1, pause: 3 * SECOND };
    let mut line = Line::open_with(Settings { keypad, ..settings() });
    line.caller_says("I want to pay");
    line.asks_for("25.00");
    line.answers_by_key("12");
    assert_eq!(line.answers()[0].consent, Consent::Unclear);
}

#[test]
fn a_yes_that_came_before_the_amount_can_have_been_heard_is_unclear() {
    let mut line = Line::open();
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    line.caller_says("I want to pay");
    line.asks_for("25.00");
    line.caller_says("Yes");
    assert_eq!(line.answers()[0].consent, Consent::Unclear, "it answers what was said before");
    line.hears_statement();
    line.passes(SECOND);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.passes(4 * SECOND);
    line.caller_says("Yes");
    assert_eq!(line.answers()[1].consent, Consent::Yes, "the amount was heard");

    let mut line = Line::open();
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    line.caller_says("I want to pay");
    line.asks_for("25.00");
    line.caller_says("No");
    assert_eq!(line.answers()[0].consent, Consent::No, "a no stays a no");
}

#[test]
fn keys_from_before_the_question_are_no_answer_to_it() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.presses("1");
    line.asks_for("25.00");
    assert!(line.answers().is_empty());
    line.answers_by_key("2");
    assert_eq!(line.answers()[0].consent, Consent::No);
    assert!(line.history().contains("caller: [on the keypad] 1\nagent: That is 25 dollars"), "{}", line.history());
}

#[test]
fn keys_right_after_a_payment_are_no_answer() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, "");
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["cancel-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.asks_for("30.00");
    line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    line.answers_by_key("1");
    assert_eq!(line.answers().len(), 1, "it may be a digit of the card that comes late");
    line.passes(4 * SECOND);
    line.answers_by_key("1");
    assert_eq!(line.answers()[1].consent, Consent::Yes);
}

#[test]
fn a_yes_to_what_was_not_heard_whole_is_unclear_and_a_no_stays_a_no() {
    let mut line = asked_for_25();
    line.caller_interrupts("That is");
    line.caller_says("Yes");
    assert_eq!(line.answers()[0].consent, Consent::Unclear);
    line.passes(5 * SECOND);
    line.caller_says("Yes");
    assert_eq!(line.answers()[1].consent, Consent::Yes);

    let mut line = asked_for_25();
    line.caller_interrupts("That is");
    line.caller_says("No");
    assert_eq!(line.answers()[0].consent, Consent::No);

    let mut line = asked_for_25();
    let whole = line.statements()[0].clone();
    line.caller_interrupts(&whole);
    line.caller_says("Yes");
    assert_eq!(line.answers()[0].consent, Consent::Yes, "it was heard to its end");
}

#[test]
fn noise_over_the_question_has_it_said_again_and_not_for_ever() {
    let mut line = asked_for_25();
    for times in 2..=6 {
        line.caller_interrupts("That");
        line.passes(5 * SECOND);
        assert_eq!(line.statements().len(), times);
    }
    line.caller_interrupts("That");
    line.passes(5 * SECOND);
    assert!(line.history().contains("got no clear answer"));
}

#[test]
fn a_caller_who_does_not_answer_is_asked_again_and_is_not_reminded_meanwhile() {
    let mut line = asked_for_25();
    let from = line.passes(60 * SECOND);
    assert!(line.said_since(from).starts_with("That is 25 dollars") && line.asked.is_none());
    line.passes(30 * SECOND);
    assert!(line.history().contains("got no clear answer"), "and the call goes on");
    assert!(!line.said_since(from).contains("Still there?"));
}

#[test]
fn the_question_waits_until_everybody_is_quiet_and_then_comes_before_the_model() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_says("Let me just ask you that in full, as I have to do with every payment on this line.");
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model(ModelEvent::Done);
    line.passes(SECOND);
    assert!(line.statements().is_empty(), "the agent still speaks");
    line.frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
    line.passes(5 * SECOND);
    assert!(line.statements().is_empty(), "the caller speaks");
    line.caller_says("Yes");
    line.passes(10 * SECOND);
    assert_eq!((line.statements().len(), line.answers().len()), (1, 0), "what was said before is no answer");
    assert!(line.asked.is_none());
    line.caller_says("Yes");
    assert!(line.history().contains("caller: Yes\nagent: That is 25 dollars"), "{}", line.history());
}

#[test]
fn a_lost_socket_has_the_question_said_again() {
    let mut line = asked_for_25();
    line.feed(Event::SocketLost);
    line.passes(5 * SECOND);
    line.feed(Event::Resumed);
    line.passes(5 * SECOND);
    assert_eq!((line.statements().len(), line.answers().len()), (2, 0));
    line.caller_says("Yes");
    assert_eq!(line.answers()[0].consent, Consent::Yes);
}

#[test]
fn a_model_that_asks_again_and_again_while_nobody_answers_is_stopped() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    for _ in 0..20 {
        if line.asked.is_some() {
            line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
            line.model(ModelEvent::Done);
            line.passes(90 * SECOND);
        }
    }
    line.passes(30 * SECOND);
    assert!(matches!(line.ends().as_slice(), [Some(data)] if data.contains("model-unavailable")));
}

#[test]
fn the_evidence_says_what_was_asked_in_which_words_and_what_was_answered() {
    let mut line = Line::open_with(Settings { language: "es-MX".to_owned(), ..settings() });
    line.agrees_on("25.50");
    let text = "El importe es 25 dólares con 50 centavos y se cargará ahora a su tarjeta. Diga sí o marque 1; diga no o marque 2.";
    let answered = line.answers()[0].clone();
    assert_eq!(
        (answered.purpose, answered.text.as_str(), answered.language.as_str()),
        (Purpose::Charge(dollars("25.50")), text, "es-US")
    );
    assert_eq!(answered.consent, Consent::Yes);
    assert!(answered.version.len() == 8 && answered.version.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!format!("{answered:?}").contains("Yes,"));
    starts(&mut line, "");
    let [(_, Tool::StartCapture(create))] = line.running.as_slice() else { panic!() };
    assert_eq!((create.agreed.as_ref(), create.is_again()), (Some(&answered), false));
}

#[test]
fn a_bank_account_is_asked_about_as_one() {
    let mut line = line(r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee"}"#);
    line.caller_says("I want to pay");
    assert!(line.asks_for("25.00").contains("taken from your bank account now"));
}

#[test]
fn while_the_server_asks_nothing_else_is_begun() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    line.model_calls("start-capture", r#"{"chargeAmount":"0"}"#);
    line.model_calls("end-call", "");
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty());
    line.passes(5 * SECOND);
    line.caller_says("Yes");
    assert_eq!(line.history().matches("The server is just asking").count(), 3);
}

#[test]
fn an_agent_that_only_listens_cannot_have_the_caller_asked() {
    let mut line = Line::open_with(Settings { listen: true, ..settings() });
    line.caller_says("I want to pay");
    confirms(&mut line, r#"{"amount":"25.00"}"#);
    assert!(line.history().contains("You only listen now") && !line.call.is_stating());
}
