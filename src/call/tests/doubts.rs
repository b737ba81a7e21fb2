//! Payments when Twilio answers late, twice, not at all, or otherwise than expected.

use super::*;

#[test]
fn a_step_that_is_told_after_the_payment_moved_on_is_not_told() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Please cancel that");
    let late = [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "input-timeout")];
    line.twilio_reports("PK1", &late);
    line.model_replies("Of course.", &["cancel-capture"]);
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().ends_with("Next: tell the caller so.\"}\n"), "{}", line.history());
}

#[test]
fn callbacks_that_come_twice_late_or_for_a_payment_that_is_over_mean_nothing() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let done =
        [&card("false", "security-code,expiration-date")[..], &[("DateUpdated", "2026-01-01T00:00:09.000Z")]].concat();
    let late = [&card("true", "payment-card-number")[..], &[("DateUpdated", "2026-01-01T00:00:08.000Z")]].concat();
    line.twilio_reports("PK1", &done);
    line.model_replies("Got your card.", &[]);
    for again in [&done, &late] {
        assert_eq!(line.twilio_reports("PK1", again), line.did.len());
    }
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("You pressed star.", &[]);
    let told = line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    assert_eq!(told, line.did.len(), "of two results without success the first counts");
}

#[test]
fn the_callback_may_come_before_the_answer_to_create() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    line.twilio_reports("PK1", &[("PaymentMethod", "credit-card"), ("DateCreated", "2026-01-01T00:00:00.000Z")]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["capture-card"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(update))] if update.sid == payment("PK1")));
}

#[test]
fn a_request_without_an_answer_is_repeated_with_its_key_and_only_that_one() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    let key = |tool: &Tool| match tool {
        Tool::StartCapture(create) => create.key.clone(),
        Tool::CaptureCard(update) | Tool::FinishCapture(update) => update.key.clone(),
        other => panic!("{other:?}"),
    };
    let first = key(&line.running[0].1);
    line.twilio_answers(Answer::Unknown);
    line.model_replies("", &["start-capture"]);
    assert_eq!(key(&line.running[0].1), first);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["capture-card"]);
    let card = key(&line.running[0].1);
    assert_ne!(card, first);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("", &["capture-card"]);
    assert_ne!(key(&line.running[0].1), card, "an accepted request was carried out: this is a new one");
}

#[test]
fn complete_without_an_answer_is_sent_again_only_with_the_same_key() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    let (_, Tool::FinishCapture(first)) = line.running[0].clone() else { panic!() };
    line.twilio_answers(Answer::Unknown);
    line.model_replies("", &["finish-capture"]);
    let (_, Tool::FinishCapture(second)) = line.running[0].clone() else { panic!() };
    assert_eq!(first, second);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("", &["finish-capture"]);
    assert!(line.running.is_empty() && line.history().contains("submitted already"));
}

/// Twilio took the completion, and its answer was lost.
fn with_an_unanswered_completion() -> Line {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Unknown);
    line
}

#[test]
fn whatever_answers_the_repetition_of_a_completion_tells_nothing_of_the_first() {
    let refused = Answer::Refused { code: None, reason: "No." };
    for answer in [Answer::Gone, refused, Answer::Unknown] {
        let mut line = with_an_unanswered_completion();
        line.model_replies("", &["finish-capture"]);
        line.twilio_answers(answer);
        assert!(
            line.history().contains("Do not say that it worked") && !line.history().contains("nothing was submitted")
        );
        for tool in ["start-capture", "cancel-capture", "capture-card"] {
            line.model_replies("", &[tool]);
            assert!(line.running.is_empty(), "{tool}: the first may have been charged");
        }
        line.model_replies("One moment.", &[]);
        line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
        assert!(line.history().contains("storing the card succeeded"));
        assert!(matches!(line.records().last(), Some(Entry::Ended { .. })));
    }
}

#[test]
fn a_person_who_takes_over_is_told_of_a_result_that_is_open() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    for _ in 0..3 {
        line.passes(STALL + 10 * SECOND);
        if line.asked.is_some() {
            line.model_replies("It takes longer than usual.", &[]);
        }
    }
    let handed = line.ends();
    assert!(matches!(handed.as_slice(), [Some(data)] if data.contains("its result was not known")));
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(matches!(line.records().last(), Some(Entry::Ended { .. })), "and in any case it is written down");
}

#[test]
fn a_result_that_comes_during_the_goodbye_is_told_before_it() {
    let mut line = with_an_unanswered_completion();
    line.caller_says("Give me a person");
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(line.history().contains("storing the card succeeded"));
    line.model_replies("Your card is stored, and I connect you.", &[]);
    line.passes(20 * SECOND);
    assert!(matches!(line.ends().as_slice(), [Some(_)]));
}

#[test]
fn a_cancelling_without_an_answer_is_repeated_when_the_call_ends() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    let (_, Tool::CancelCapture(first)) = line.running[0].clone() else { panic!() };
    line.twilio_answers(Answer::Unknown);
    line.feed(Event::HungUp);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(again))] if *again == first));
    line.twilio_answers(Answer::Unknown);
    assert!(line.records().iter().any(|entry| matches!(entry, Entry::NotCancelled { .. })));
}

#[test]
fn a_cancelled_payment_is_written_down_as_ended_and_told_once() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    line.twilio_answers(Answer::Accepted);
    assert_eq!(line.history().matches("nothing was charged").count(), 1, "{}", line.history());
    assert!(matches!(line.records().last(), Some(Entry::Ended { .. })));
}

#[test]
fn a_session_that_was_never_confirmed_can_be_given_up_for_another_amount() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    line.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    line.model(ModelEvent::Done);
    line.twilio_answers(Answer::Unknown);
    line.model_replies("One moment.", &[]);
    line.caller_says("Make it 30");
    line.model_calls("confirm-amount", r#"{"amount":"30.00"}"#);
    line.model(ModelEvent::Done);
    assert!(!line.call.is_stating() && line.history().contains("Finish it or call cancel-capture"));
    line.model_replies("", &["cancel-capture"]);
    assert!(line.history().contains("The payment is given up"));
    line.asks_for("30.00");
    line.caller_says("Yes");
    line.model_calls("start-capture", r#"{"chargeAmount":"30.00"}"#);
    line.model(ModelEvent::Done);
    // The first shows up after all: it is not taken for the second.
    line.twilio_reports("PK25", &[("ChargeAmount", "25.00")]);
    assert!(matches!(&line.running[1].1, Tool::CancelCapture(update) if update.sid == payment("PK25")));
    line.twilio_answers(Answer::Created(payment("PK30")));
    line.model_replies("", &["capture-card"]);
    assert!(
        line.running.iter().any(|(_, tool)| matches!(tool, Tool::CaptureCard(update) if update.sid == payment("PK30")))
    );
}

#[test]
fn a_card_that_is_refused_at_once_is_not_submitted_again_and_again() {
    let mut line = Line::open();
    line.at_finish("PK1");
    for _ in 0..3 {
        line.model_replies("", &["finish-capture"]);
        line.twilio_answers(Answer::Refused { code: Some(64008), reason: "The card was not accepted." });
        assert!(line.history().contains("Next: call cancel-capture, and offer another card"));
    }
    line.model_replies("", &["finish-capture"]);
    assert!(line.running.is_empty() && line.history().contains("refused too often"));
}

#[test]
fn a_caller_who_keeps_asking_does_not_keep_a_lost_result_from_being_noticed() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.passes(STALL / 2);
    line.caller_says("Did it work?");
    line.model_replies("Not yet.", &[]);
    line.passes(STALL / 2 + SECOND);
    assert!(line.history().contains("there is no answer from the payment provider yet"));
}

#[test]
fn a_correction_is_not_taken_for_entered_before_a_key_was_pressed() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &card("false", "security-code,expiration-date"));
    line.model_replies("Got your card.", &[]);
    line.caller_says("That was the wrong one");
    line.model_replies("", &["capture-card"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Once more, please.", &[]);
    let mask = [("Capture", "payment-card-number"), ("PaymentCardNumber", "xxxxxxxxxxxx4242")];
    let with = |partial: &'static str| [&mask[..], &[("PartialResult", partial)]].concat();
    assert_eq!(line.twilio_reports("PK1", &with("false")), line.did.len(), "the echo of our own request");
    line.twilio_reports("PK1", &with("true"));
    line.twilio_reports("PK1", &with("false"));
    assert!(line.asked.is_some());
}

#[test]
fn a_payment_that_stands_still_is_offered_a_retry_then_a_person() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.passes(STALL + SECOND);
    assert!(line.history().contains("wants to try again, and if so call capture-card"));
    line.model_replies("Shall we try again?", &[]);
    line.passes(STALL + SECOND);
    assert!(line.history().contains("offer to connect the caller with a person"));
    line.model_replies("A person?", &[]);
    line.passes(STALL + 10 * SECOND);
    line.twilio_answers(Answer::Accepted);
    assert!(matches!(line.ends().as_slice(), [Some(data)] if data.contains("payment-stalled")));
}

#[test]
fn a_session_that_shows_up_after_it_was_given_up_is_cancelled() {
    let mut line = Line::open();
    line.twilio_reports("PK9", &[("PaymentMethod", "credit-card")]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(update))] if update.sid == payment("PK9")));
}

#[test]
fn a_success_of_what_was_never_submitted_is_neither_told_nor_written_down_as_one() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(!line.history().contains("succeeded") && line.history().contains("it may have been charged"));
    line.twilio_reports("PK9", &[("Result", "success"), ("PaymentToken", "tok")]);
    let succeeded = |entry: &&Entry| matches!(entry, Entry::Ended { outcome: crate::payment::Outcome::Succeeded, .. });
    assert_eq!(line.records().into_iter().filter(succeeded).count(), 0);
}

#[test]
fn what_was_reported_as_a_success_is_not_charged_again_though_it_is_not_believed() {
    let mut line = Line::open_with_parameters(settings(), r#"{"amountDue":"25.00"}"#);
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(line.history().contains("it may have been charged"));
    line.model_replies("Once more?", &["start-capture"]);
    assert!(line.running.is_empty() && line.history().contains("may have been charged; a person looks it up"));
    assert!(!line.history().contains("is paid already"), "nothing is claimed that is not known: {}", line.history());
}
