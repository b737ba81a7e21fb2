//! Payments that a velocity limit refuses, declined cards and stalled payments.

use super::*;

const REASON: &str = "No card payment can be taken. Offer a person (call live-agent-handoff).";
const DECLINE: [(&str, &str); 2] = [("Result", "payment-connector-error"), ("PayErrorCode", "64008")];
const WRONG: [(&str, &str); 3] =
    [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "invalid-card-number")];

fn is_give_up(tool: &Tool, sid: &str) -> bool {
    update_of(tool, "cancel-capture")
        .is_some_and(|update| update.payment_sid == payment_sid(sid) && update.abandon_reason.is_some())
}

#[test]
fn a_limit_at_the_start_opens_no_payment() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    call.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!call.inner.has_open_payment() && call.running_tools.is_empty());
    assert!(call.history().contains(REASON));
}

#[test]
fn a_limit_at_a_field_cancels_the_payment_and_offers_a_person() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.twilio_reports("PK1", &WRONG);
    call.model_replies("Sorry.", &["capture-card"]);
    call.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!call.inner.has_open_payment());
    assert!(matches!(call.running_tools.as_slice(), [(_, tool)] if is_give_up(tool, "PK1")));
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.history().contains(&format!("nothing was charged or stored. {REASON}")));
    assert!(matches!(call.ledger_entries().last(), Some(PaymentLogEntry::Abandoned { .. })));
    let told = call.actions.len();
    call.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    assert!(
        call.actions[told..].iter().all(|action| matches!(action, Action::Record(_))),
        "the cancellation was already announced"
    );
}

#[test]
fn a_limit_at_the_submission_cancels_the_payment() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!call.inner.has_open_payment());
    assert!(matches!(call.running_tools.as_slice(), [(_, tool)] if is_give_up(tool, "PK1")));
}

#[test]
fn in_the_guided_flow_a_limit_cancels_the_payment_and_asks_the_model() {
    let mut call = TestCall::start_with(guided_settings());
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(call.only_update("capture-card").is_some());
    call.tool_answers(ToolOutcome::LimitExceeded(REASON));
    assert!(!call.inner.has_open_payment());
    assert!(matches!(call.running_tools.as_slice(), [(_, tool)] if is_give_up(tool, "PK1")));
    call.twilio_answers(TwilioResponse::Accepted);
    call.advance(10 * SECOND);
    assert!(call.pending_request.is_some() && call.history().contains(REASON));
}

#[test]
fn after_a_second_decline_a_person_is_offered_first() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &DECLINE);
    let (card, person) = ("another card (call start-capture) or a person", "offer a person first");
    assert!(call.history().contains(card) && !call.history().contains(person));
    call.model_replies("Declined. Another card?", &[]);
    call.reach_finish("PK2");
    call.model_replies("", &["finish-capture"]);
    // Twilio may also report a decline by refusing `complete`.
    call.twilio_answers(TwilioResponse::Refused { code: Some(64012), reason: "The card was declined." });
    assert!(call.history().contains(&format!("Next: call cancel-capture, and {person}")));
}

#[test]
fn a_stalled_payment_is_cancelled_before_the_hand_off() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.advance(STALL_TIMEOUT + SECOND);
    call.model_replies("Do you want to try again?", &[]);
    call.advance(STALL_TIMEOUT + SECOND);
    call.model_replies("Shall I get somebody?", &[]);
    let from = call.advance(STALL_TIMEOUT + SECOND);
    let at = |wanted: fn(&Action) -> bool| call.actions[from..].iter().position(wanted).unwrap();
    let cancels = at(|action| matches!(action, Action::RunTool { tool, .. } if is_give_up(tool, "PK1")));
    let says = at(|action| matches!(action, Action::SendFrame(OutgoingFrame::Text { token, .. }) if token == HAND_OFF));
    assert!(cancels < says);
    assert!(matches!(
        call.ledger_entries()[..],
        [.., PaymentLogEntry::Stalled { times: 3, .. }, PaymentLogEntry::Abandoned { .. }]
    ));
    assert!(call.end_frames().is_empty(), "Twilio has not answered");
    call.twilio_answers(TwilioResponse::Accepted);
    call.advance(10 * SECOND);
    assert!(matches!(call.end_frames().as_slice(), [Some(data)] if data.contains("payment-stalled")));
    assert_eq!(call.running_tools.len(), 0, "the payment is cancelled once");
}
