//! Consent in the guided flow: unanswered speech blocks the submission, silence is no consent, and a refusal cancels
//! the payment.

use super::guided_flow::{reach_card_number, report_card_number, report_field, twilio_changes_since};
use super::*;
use crate::payment::ConsentPurpose;

/// Enters all fields but the last, which the server has requested.
fn reach_last_field() -> TestCall {
    let mut call = reach_card_number();
    report_card_number(&mut call, "visa");
    call.twilio_answers(TwilioResponse::Accepted);
    report_field(&mut call, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    call.twilio_answers(TwilioResponse::Accepted);
    call
}

fn enter_last_field(call: &mut TestCall) -> usize {
    report_field(call, "expiration-date", "", &[("ExpirationDate", "1229")])
}

/// The caller says this during the last field, the model fails, and the field is entered.
fn reach_end_unanswered(words: &str) -> TestCall {
    let mut call = reach_last_field();
    call.caller_says(words);
    call.model_emits(ModelEvent::Failed);
    enter_last_field(&mut call);
    call
}

pub(super) const GO_ON: &str = "Shall I go on with the payment? Say yes or press 1; say no or press 2.";

#[test]
fn nothing_is_submitted_before_the_caller_is_answered() {
    let mut call = reach_last_field();
    call.caller_says("Is that all?");
    let from = enter_last_field(&mut call);
    assert_eq!(twilio_changes_since(&call, from), []);
    call.model_replies("Yes, it is.", &[]);
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Complete]);
    assert!(call.statements().is_empty(), "the model has answered");

    let mut call = reach_last_field();
    call.receive_frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
    let from = enter_last_field(&mut call);
    assert_eq!(twilio_changes_since(&call, from), []);
    call.advance(4 * SECOND);
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Complete], "speech without a prompt is noise");
}

#[test]
fn unanswered_speech_blocks_the_submission_until_a_yes() {
    let mut call = reach_end_unanswered("Hello?");
    let from = call.advance(30 * SECOND);
    assert_eq!(
        (twilio_changes_since(&call, 0).contains(&UpdateAction::Complete), call.statements()),
        (false, vec![GO_ON.to_owned()])
    );
    let from = from.max(call.caller_says("Yes, please."));
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Complete]);
    assert_eq!(call.said_since(from), "Thank you. One moment while that goes through.");
    assert!(call.pending_request.is_none(), "the model has nothing to answer");
    assert_eq!(call.recorded_answers()[0].purpose, ConsentPurpose::SubmitOpenPayment);
    call.twilio_answers(TwilioResponse::Accepted);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(
        call.history().contains("caller: Yes, please.\ndeveloper: Payment update: the server asked whether to go on")
    );
}

#[test]
fn a_slow_empty_or_looping_response_is_no_answer() {
    let mut call = reach_last_field();
    call.caller_says("Hello?");
    let from = enter_last_field(&mut call);
    call.advance(20 * SECOND);
    assert_eq!(twilio_changes_since(&call, from), [], "the response may still come");
    call.model_emits(ModelEvent::Failed);
    assert_eq!(call.wait_for_statement(), GO_ON);

    let mut call = reach_last_field();
    call.caller_says("Hello?");
    call.model_emits(ModelEvent::Completed);
    enter_last_field(&mut call);
    assert_eq!(call.wait_for_statement(), GO_ON);

    let mut call = reach_last_field();
    call.caller_says("Hello?");
    for _ in 0..20 {
        if call.pending_request.is_some() {
            call.model_replies("", &["refund"]);
        }
    }
    enter_last_field(&mut call);
    assert_eq!(call.wait_for_statement(), GO_ON);
}

#[test]
fn an_interrupted_response_is_no_answer() {
    let mut call = reach_last_field();
    call.caller_says("Is that safe?");
    call.model_replies("Yes, nobody sees the digits.", &[]);
    call.caller_interrupts("Yes,");
    enter_last_field(&mut call);
    assert_eq!(call.wait_for_statement(), GO_ON);

    let mut call = reach_last_field();
    call.receive_frame(r#"{"type":"prompt","voicePrompt":"Stop","last":false}"#);
    enter_last_field(&mut call);
    call.advance(4 * SECOND);
    assert_eq!(call.wait_for_statement(), GO_ON, "a partial prompt is unanswered speech");
}

#[test]
fn earlier_unanswered_speech_blocks_until_a_later_answer() {
    let mut call = reach_card_number();
    call.caller_says("Hello?");
    call.model_emits(ModelEvent::Failed);
    report_card_number(&mut call, "visa");
    call.twilio_answers(TwilioResponse::Accepted);
    report_field(&mut call, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    call.twilio_answers(TwilioResponse::Accepted);
    let mut other = reach_last_field();
    enter_last_field(&mut call);
    assert_eq!(call.wait_for_statement(), GO_ON);

    other.caller_says("Hello?");
    other.model_emits(ModelEvent::Failed);
    other.caller_says("Are you there?");
    other.model_replies("I am here.", &[]);
    let from = enter_last_field(&mut other);
    assert_eq!(twilio_changes_since(&other, from), [UpdateAction::Complete]);
}

#[test]
fn a_no_to_continuing_cancels_the_payment() {
    for no in ["No.", "Stop, I do not want to pay"] {
        let mut call = reach_end_unanswered("Hello?");
        call.wait_for_statement();
        let from = call.caller_says(no);
        assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Cancel], "{no}");
        assert_eq!(call.said_since(from), "The payment is cancelled. Nothing was charged.");
        assert!(!call.inner.has_open_payment());
        assert!(call.history().contains("the server cancelled the payment and said so"));
    }
    let mut call = reach_end_unanswered("Hello?");
    call.wait_for_statement();
    let from = call.caller_answers_by_key("2");
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Cancel]);
}

#[test]
fn no_clear_answer_to_continuing_cancels_the_payment_and_hands_off() {
    let mut call = reach_end_unanswered("Hello?");
    call.wait_for_statement();
    call.caller_says("What?");
    call.advance(10 * SECOND);
    let from = call.caller_says("I have 2 cards");
    assert_eq!(twilio_changes_since(&call, 0).last(), Some(&UpdateAction::Cancel));
    assert_eq!(call.said_since(from), format!("The payment is cancelled. Nothing was charged.{HAND_OFF}"));
    assert_eq!(call.statements().len(), 2);
    call.twilio_answers(TwilioResponse::Accepted);
    call.advance(20 * SECOND);
    assert!(matches!(call.end_frames().as_slice(), [Some(data)] if data.contains("payment-not-agreed")));
}

#[test]
fn silence_is_no_consent() {
    let mut call = reach_end_unanswered("Hello?");
    call.advance(120 * SECOND);
    assert!(!twilio_changes_since(&call, 0).contains(&UpdateAction::Complete));
    assert_eq!((call.statements().len(), twilio_changes_since(&call, 0).last()), (2, Some(&UpdateAction::Cancel)));
}

#[test]
fn a_key_that_comes_right_after_the_last_field_is_no_consent() {
    let mut call = reach_last_field();
    call.caller_says("Hello?");
    call.model_emits(ModelEvent::Failed);
    call.advance(20 * SECOND);
    enter_last_field(&mut call);
    assert_eq!(call.statements(), [GO_ON], "the statement is said once all is silent");
    let from = call.caller_answers_by_key("1");
    assert_eq!(
        (twilio_changes_since(&call, from), call.recorded_answers().len()),
        (vec![], 0),
        "the key may be a late digit of the expiry date"
    );
    call.advance(4 * SECOND);
    let from = call.caller_answers_by_key("1");
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Complete]);
}

#[test]
fn a_payment_that_ends_closes_its_statement() {
    let mut call = reach_end_unanswered("Hello?");
    call.wait_for_statement();
    call.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    assert!(!call.inner.has_open_question());
    call.model_replies("It is cancelled.", &[]);
    call.caller_says("Yes");
    assert!(call.recorded_answers().is_empty());
}

#[test]
fn a_clear_refusal_cancels_the_payment_without_the_model() {
    for refusal in [
        "Cancel that, please",
        "stop, cancel it, I do not want to pay",
        "No.",
        "No quiero pagar",
        "Abbrechen bitte",
        "Arrêtez, je ne veux pas payer",
    ] {
        let mut call = reach_last_field();
        let from = call.caller_says(refusal);
        assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Cancel], "{refusal}");
        assert_eq!(call.said_since(from), "The payment is cancelled. Nothing was charged.", "{refusal}");
        assert!(!call.inner.has_open_payment() && call.pending_request.is_some(), "{refusal}");
        assert!(call.history().contains("Next: ask what else you can do"), "{refusal}");
        // A late expiry date and a model failure do not lead to a submission.
        let from = enter_last_field(&mut call);
        call.model_emits(ModelEvent::Failed);
        call.advance(20 * SECOND);
        assert!(!twilio_changes_since(&call, from).contains(&UpdateAction::Complete), "{refusal}");
    }
}

#[test]
fn an_unclear_refusal_is_left_to_the_model() {
    for words in ["Don't stop", "I have no idea where the code is", "Can I cancel later?", "No no, don't cancel"] {
        let mut call = reach_last_field();
        let from = call.caller_says(words);
        assert_eq!((twilio_changes_since(&call, from), call.said_since(from)), (vec![], String::new()), "{words}");
        assert!(call.pending_request.is_some(), "{words}");
        call.model_emits(ModelEvent::Failed);
        enter_last_field(&mut call);
        assert_eq!(call.wait_for_statement(), GO_ON, "{words}");
    }
}

#[test]
fn a_submitted_payment_is_not_cancelled() {
    let mut call = reach_last_field();
    enter_last_field(&mut call);
    call.twilio_answers(TwilioResponse::Accepted);
    let from = call.caller_says("Stop, cancel it");
    assert_eq!((twilio_changes_since(&call, from), call.said_since(from)), (vec![], String::new()));
    assert!(call.pending_request.is_some());
}
