//! Payments that a guard does not let go on, cards that are declined, and sessions that are stuck.

use super::*;

const REASON: &str = "No card payment can be taken. Offer a person (call live-agent-handoff).";
const DECLINE: [(&str, &str); 2] = [("Result", "payment-connector-error"), ("PayErrorCode", "64008")];
const WRONG: [(&str, &str); 3] =
    [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "invalid-card-number")];

fn gives_up(tool: &Tool, sid: &str) -> bool {
    matches!(tool, Tool::CancelCapture(update) if update.sid == payment(sid) && update.given_up.is_some())
}

#[test]
fn a_payment_that_is_barred_at_its_start_never_was() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.tool_answers(Outcome::Barred(REASON));
    assert!(!line.call.has_open_payment() && line.running.is_empty());
    assert!(line.history().contains(REASON));
}

#[test]
fn a_field_that_is_barred_cancels_the_payment_and_the_model_offers_a_person() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &WRONG);
    line.model_replies("Sorry.", &["capture-card"]);
    line.tool_answers(Outcome::Barred(REASON));
    assert!(!line.call.has_open_payment());
    assert!(matches!(line.running.as_slice(), [(_, tool)] if gives_up(tool, "PK1")));
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().contains(&format!("nothing was charged or stored. {REASON}")));
    assert!(matches!(line.records().last(), Some(Entry::Abandoned { .. })));
    let told = line.did.len();
    line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    assert!(line.did[told..].iter().all(|action| matches!(action, Action::Record(_))), "it was told before");
}

#[test]
fn a_submission_that_is_barred_cancels_the_payment() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.tool_answers(Outcome::Barred(REASON));
    assert!(!line.call.has_open_payment());
    assert!(matches!(line.running.as_slice(), [(_, tool)] if gives_up(tool, "PK1")));
}

#[test]
fn where_the_server_leads_a_bar_ends_the_payment_and_wakes_the_model() {
    let mut line = Line::open_with(guided());
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(_))]));
    line.tool_answers(Outcome::Barred(REASON));
    assert!(!line.call.has_open_payment());
    assert!(matches!(line.running.as_slice(), [(_, tool)] if gives_up(tool, "PK1")));
    line.twilio_answers(Answer::Accepted);
    line.passes(10 * SECOND);
    assert!(line.asked.is_some() && line.history().contains(REASON));
}

#[test]
fn after_a_second_decline_a_person_comes_first() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.twilio_reports("PK1", &DECLINE);
    let (card, person) = ("another card (call start-capture) or a person", "offer a person first");
    assert!(line.history().contains(card) && !line.history().contains(person));
    line.model_replies("Declined. Another card?", &[]);
    line.at_finish("PK2");
    line.model_replies("", &["finish-capture"]);
    // Twilio may also say so by refusing to complete.
    line.twilio_answers(Answer::Refused { code: Some(64012), reason: "The card was declined." });
    assert!(line.history().contains(&format!("Next: call cancel-capture, and {person}")));
}

#[test]
fn a_payment_that_is_stuck_is_cancelled_before_a_person_is_announced() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.passes(STALL + SECOND);
    line.model_replies("Do you want to try again?", &[]);
    line.passes(STALL + SECOND);
    line.model_replies("Shall I get somebody?", &[]);
    let from = line.passes(STALL + SECOND);
    let at = |wanted: fn(&Action) -> bool| line.did[from..].iter().position(wanted).unwrap();
    let cancels = at(|action| matches!(action, Action::RunTool { tool, .. } if gives_up(tool, "PK1")));
    let says = at(|action| matches!(action, Action::Say(Outgoing::Text { token, .. }) if token == HAND_OFF));
    assert!(cancels < says);
    assert!(matches!(line.records()[..], [.., Entry::Stalled { times: 3, .. }, Entry::Abandoned { .. }]));
    assert!(line.ends().is_empty(), "Twilio has not answered");
    line.twilio_answers(Answer::Accepted);
    line.passes(10 * SECOND);
    assert!(matches!(line.ends().as_slice(), [Some(data)] if data.contains("payment-stalled")));
    assert_eq!(line.running.len(), 0, "it is cancelled once");
}
