//! Payments that a velocity limit refuses, declined cards and stalled payments.

use super::*;

const REASON: &str = "No card payment can be taken. Offer a person (call live-agent-handoff).";
const DECLINE: [(&str, &str); 2] = [("Result", "payment-connector-error"), ("PayErrorCode", "64008")];
const WRONG: [(&str, &str); 3] =
    [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "invalid-card-number")];

fn is_give_up(tool: &Tool, sid: &str) -> bool {
    update_of(tool, "cancel-capture")
        .is_some_and(|update| update.payment_sid == payment_sid(sid) && update.give_up_reason.is_some())
}

#[test]
fn a_limit_at_the_start_opens_no_payment() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!line.inner.has_open_payment() && line.running_tools.is_empty());
    assert!(line.history().contains(REASON));
}

#[test]
fn a_limit_at_a_field_cancels_the_payment_and_offers_a_person() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.twilio_reports("PK1", &WRONG);
    line.model_replies("Sorry.", &["capture-card"]);
    line.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!line.inner.has_open_payment());
    assert!(matches!(line.running_tools.as_slice(), [(_, tool)] if is_give_up(tool, "PK1")));
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(line.history().contains(&format!("nothing was charged or stored. {REASON}")));
    assert!(matches!(line.ledger_entries().last(), Some(PaymentLogEntry::Abandoned { .. })));
    let told = line.actions.len();
    line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    assert!(
        line.actions[told..].iter().all(|action| matches!(action, Action::Record(_))),
        "the cancellation was already announced"
    );
}

#[test]
fn a_limit_at_the_submission_cancels_the_payment() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!line.inner.has_open_payment());
    assert!(matches!(line.running_tools.as_slice(), [(_, tool)] if is_give_up(tool, "PK1")));
}

#[test]
fn in_the_guided_flow_a_limit_cancels_the_payment_and_asks_the_model() {
    let mut line = TestCall::start_with(guided_settings());
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(line.only_update("capture-card").is_some());
    line.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!line.inner.has_open_payment());
    assert!(matches!(line.running_tools.as_slice(), [(_, tool)] if is_give_up(tool, "PK1")));
    line.twilio_answers(TwilioResponse::Accepted);
    line.advance(10 * SECOND);
    assert!(line.pending_request.is_some() && line.history().contains(REASON));
}

#[test]
fn after_a_second_decline_a_person_is_offered_first() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    line.model_replies("One moment.", &[]);
    line.twilio_reports("PK1", &DECLINE);
    let (card, person) = ("another card (call start-capture) or a person", "offer a person first");
    assert!(line.history().contains(card) && !line.history().contains(person));
    line.model_replies("Declined. Another card?", &[]);
    line.reach_finish("PK2");
    line.model_replies("", &["finish-capture"]);
    // Twilio may also report a decline by refusing `complete`.
    line.twilio_answers(TwilioResponse::Refused { code: Some(64012), reason: "The card was declined." });
    assert!(line.history().contains(&format!("Next: call cancel-capture, and {person}")));
}

#[test]
fn a_stalled_payment_is_cancelled_before_the_hand_off() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.advance(STALL_TIMEOUT + SECOND);
    line.model_replies("Do you want to try again?", &[]);
    line.advance(STALL_TIMEOUT + SECOND);
    line.model_replies("Shall I get somebody?", &[]);
    let from = line.advance(STALL_TIMEOUT + SECOND);
    let at = |wanted: fn(&Action) -> bool| line.actions[from..].iter().position(wanted).unwrap();
    let cancels = at(|action| matches!(action, Action::RunTool { tool, .. } if is_give_up(tool, "PK1")));
    let says = at(|action| matches!(action, Action::SendFrame(OutgoingFrame::Text { token, .. }) if token == HAND_OFF));
    assert!(cancels < says);
    assert!(matches!(
        line.ledger_entries()[..],
        [.., PaymentLogEntry::Stalled { times: 3, .. }, PaymentLogEntry::Abandoned { .. }]
    ));
    assert!(line.end_frames().is_empty(), "Twilio has not answered");
    line.twilio_answers(TwilioResponse::Accepted);
    line.advance(10 * SECOND);
    assert!(matches!(line.end_frames().as_slice(), [Some(data)] if data.contains("payment-stalled")));
    assert_eq!(line.running_tools.len(), 0, "the payment is cancelled once");
}
