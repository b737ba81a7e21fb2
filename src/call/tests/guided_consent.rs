//! While the server leads, silence is no consent, and a caller who wants to stop is understood.

use super::guided::{asked_of_twilio, at_card_number, card_is_in, entered};
use super::*;
use crate::payment::Purpose;

/// Everything but the last field is in, and the server has asked for that.
fn at_last_field() -> Line {
    let mut line = at_card_number();
    card_is_in(&mut line, "visa");
    line.twilio_answers(Answer::Accepted);
    entered(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    line.twilio_answers(Answer::Accepted);
    line
}

fn last_field(line: &mut Line) -> usize {
    entered(line, "expiration-date", "", &[("ExpirationDate", "1229")])
}

/// The caller said this during the last field, the model fails, and the field is in.
fn not_answered(words: &str) -> Line {
    let mut line = at_last_field();
    line.caller_says(words);
    line.model(ModelEvent::Failed);
    last_field(&mut line);
    line
}

pub(super) const GO_ON: &str = "Shall I go on with the payment? Say yes or press 1; say no or press 2.";

#[test]
fn nothing_is_submitted_before_the_caller_was_answered() {
    let mut line = at_last_field();
    line.caller_says("Is that all?");
    let from = last_field(&mut line);
    assert_eq!(asked_of_twilio(&line, from), []);
    line.model_replies("Yes, it is.", &[]);
    assert_eq!(asked_of_twilio(&line, from), [Change::Complete]);
    assert!(line.statements().is_empty(), "the model has answered");

    let mut line = at_last_field();
    line.frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
    let from = last_field(&mut line);
    assert_eq!(asked_of_twilio(&line, from), []);
    line.passes(4 * SECOND);
    assert_eq!(asked_of_twilio(&line, from), [Change::Complete], "it was only noise");
}

#[test]
fn words_that_nobody_answered_bar_the_submission_until_the_caller_says_yes() {
    let mut line = not_answered("Hello?");
    let from = line.passes(30 * SECOND);
    assert_eq!(
        (asked_of_twilio(&line, 0).contains(&Change::Complete), line.statements()),
        (false, vec![GO_ON.to_owned()])
    );
    let from = from.max(line.caller_says("Yes, please."));
    assert_eq!(asked_of_twilio(&line, from), [Change::Complete]);
    assert_eq!(line.said_since(from), "Thank you. One moment while that goes through.");
    assert!(line.asked.is_none(), "there is nothing to answer for the model");
    assert_eq!(line.answers()[0].purpose, Purpose::GoOn);
    line.twilio_answers(Answer::Accepted);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(
        line.history().contains("caller: Yes, please.\ndeveloper: Payment update: the server asked whether to go on")
    );
}

#[test]
fn a_model_that_is_slow_or_says_nothing_or_goes_in_circles_has_answered_nothing() {
    let mut line = at_last_field();
    line.caller_says("Hello?");
    let from = last_field(&mut line);
    line.passes(20 * SECOND);
    assert_eq!(asked_of_twilio(&line, from), [], "it may still answer");
    line.model(ModelEvent::Failed);
    assert_eq!(line.hears_statement(), GO_ON);

    let mut line = at_last_field();
    line.caller_says("Hello?");
    line.model(ModelEvent::Done);
    last_field(&mut line);
    assert_eq!(line.hears_statement(), GO_ON);

    let mut line = at_last_field();
    line.caller_says("Hello?");
    for _ in 0..20 {
        if line.asked.is_some() {
            line.model_replies("", &["refund"]);
        }
    }
    last_field(&mut line);
    assert_eq!(line.hears_statement(), GO_ON);
}

#[test]
fn an_answer_that_the_caller_did_not_hear_is_none() {
    let mut line = at_last_field();
    line.caller_says("Is that safe?");
    line.model_replies("Yes, nobody sees the digits.", &[]);
    line.caller_interrupts("Yes,");
    last_field(&mut line);
    assert_eq!(line.hears_statement(), GO_ON);

    let mut line = at_last_field();
    line.frame(r#"{"type":"prompt","voicePrompt":"Stop","last":false}"#);
    last_field(&mut line);
    line.passes(4 * SECOND);
    assert_eq!(line.hears_statement(), GO_ON, "words that the recogniser did not finish");
}

#[test]
fn words_from_earlier_in_the_payment_bar_it_too_and_a_later_answer_clears_them() {
    let mut line = at_card_number();
    line.caller_says("Hello?");
    line.model(ModelEvent::Failed);
    card_is_in(&mut line, "visa");
    line.twilio_answers(Answer::Accepted);
    entered(&mut line, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    line.twilio_answers(Answer::Accepted);
    let mut other = at_last_field();
    last_field(&mut line);
    assert_eq!(line.hears_statement(), GO_ON);

    other.caller_says("Hello?");
    other.model(ModelEvent::Failed);
    other.caller_says("Are you there?");
    other.model_replies("I am here.", &[]);
    let from = last_field(&mut other);
    assert_eq!(asked_of_twilio(&other, from), [Change::Complete]);
}

#[test]
fn a_no_to_going_on_cancels_the_payment_and_says_so() {
    for no in ["No.", "Stop, I do not want to pay"] {
        let mut line = not_answered("Hello?");
        line.hears_statement();
        let from = line.caller_says(no);
        assert_eq!(asked_of_twilio(&line, from), [Change::Cancel], "{no}");
        assert_eq!(line.said_since(from), "The payment is cancelled. Nothing was charged.");
        assert!(!line.call.has_open_payment());
        assert!(line.history().contains("the server cancelled the payment and said so"));
    }
    let mut line = not_answered("Hello?");
    line.hears_statement();
    let from = line.answers_by_key("2");
    assert_eq!(asked_of_twilio(&line, from), [Change::Cancel]);
}

#[test]
fn no_clear_answer_to_going_on_cancels_the_payment_and_a_person_takes_over() {
    let mut line = not_answered("Hello?");
    line.hears_statement();
    line.caller_says("What?");
    line.passes(10 * SECOND);
    let from = line.caller_says("I have 2 cards");
    assert_eq!(asked_of_twilio(&line, 0).last(), Some(&Change::Cancel));
    assert_eq!(line.said_since(from), format!("The payment is cancelled. Nothing was charged.{HAND_OFF}"));
    assert_eq!(line.statements().len(), 2);
    line.twilio_answers(Answer::Accepted);
    line.passes(20 * SECOND);
    assert!(matches!(line.ends().as_slice(), [Some(data)] if data.contains("payment-not-agreed")));
}

#[test]
fn silence_is_no_consent() {
    let mut line = not_answered("Hello?");
    line.passes(120 * SECOND);
    assert!(!asked_of_twilio(&line, 0).contains(&Change::Complete));
    assert_eq!((line.statements().len(), asked_of_twilio(&line, 0).last()), (2, Some(&Change::Cancel)));
}

#[test]
fn a_key_that_comes_right_after_the_last_field_is_no_consent() {
    let mut line = at_last_field();
    line.caller_says("Hello?");
    line.model(ModelEvent::Failed);
    line.passes(20 * SECOND);
    last_field(&mut line);
    assert_eq!(line.statements(), [GO_ON], "everybody is quiet");
    let from = line.answers_by_key("1");
    assert_eq!((asked_of_twilio(&line, from), line.answers().len()), (vec![], 0), "it may be a digit of the date");
    line.passes(4 * SECOND);
    let from = line.answers_by_key("1");
    assert_eq!(asked_of_twilio(&line, from), [Change::Complete]);
}

#[test]
fn a_payment_that_ends_meanwhile_is_not_asked_about_any_more() {
    let mut line = not_answered("Hello?");
    line.hears_statement();
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    assert!(!line.call.is_stating());
    line.model_replies("It is cancelled.", &[]);
    line.caller_says("Yes");
    assert!(line.answers().is_empty());
}

#[test]
fn a_clear_refusal_is_understood_by_the_server_itself() {
    for refusal in [
        "Cancel that, please",
        "stop, cancel it, I do not want to pay",
        "No.",
        "No quiero pagar",
        "Abbrechen bitte",
        "Arrêtez, je ne veux pas payer",
    ] {
        let mut line = at_last_field();
        let from = line.caller_says(refusal);
        assert_eq!(asked_of_twilio(&line, from), [Change::Cancel], "{refusal}");
        assert_eq!(line.said_since(from), "The payment is cancelled. Nothing was charged.", "{refusal}");
        assert!(!line.call.has_open_payment() && line.asked.is_some(), "{refusal}");
        assert!(line.history().contains("Next: ask what else you can do"), "{refusal}");
        // The date comes late, and the model fails: nothing is submitted all the same.
        let from = last_field(&mut line);
        line.model(ModelEvent::Failed);
        line.passes(20 * SECOND);
        assert!(!asked_of_twilio(&line, from).contains(&Change::Complete), "{refusal}");
    }
}

#[test]
fn what_is_no_clear_refusal_is_the_models_to_answer() {
    for words in ["Don't stop", "I have no idea where the code is", "Can I cancel later?", "No no, don't cancel"] {
        let mut line = at_last_field();
        let from = line.caller_says(words);
        assert_eq!((asked_of_twilio(&line, from), line.said_since(from)), (vec![], String::new()), "{words}");
        assert!(line.asked.is_some(), "{words}");
        line.model(ModelEvent::Failed);
        last_field(&mut line);
        assert_eq!(line.hears_statement(), GO_ON, "{words}");
    }
}

#[test]
fn what_is_submitted_already_is_not_cancelled() {
    let mut line = at_last_field();
    last_field(&mut line);
    line.twilio_answers(Answer::Accepted);
    let from = line.caller_says("Stop, cancel it");
    assert_eq!((asked_of_twilio(&line, from), line.said_since(from)), (vec![], String::new()));
    assert!(line.asked.is_some());
}
