//! Calls that another server goes on with.

use super::guided_flow::{report_card_number, report_field, twilio_changes_since};
use super::guided_flow_consent::GO_ON;
use super::*;
use crate::payment::{PaymentIntent, PaymentRecord, PaymentState, PriorPayment, PriorPayments, PriorSession};

const SECURITY_CODE: &str = "Now the security code, three digits, or four on American Express, then pound.";

const TAKEN_UP: &str = "this call goes on on another one";

/// The server that has the call dies, and another one goes on with it.
fn die(call: TestCall) -> TestCall {
    call.resume_elsewhere(false, &PriorPayments::default())
}

/// The requests to Twilio that were repeated, with their keys.
fn keys(call: &TestCall) -> Vec<String> {
    let key = |(_, tool): &(ToolRunId, Tool)| match tool {
        Tool::StartCapture(create) => Some(create.idempotency_key.as_str().to_owned()),
        Tool::UpdatePayment(update) => Some(update.idempotency_key.as_str().to_owned()),
        _ => None,
    };
    call.running_tools.iter().filter_map(key).collect()
}

/// The ledger knows a payment of 25 dollars on this call, which was charged.
fn charged(sid: &str) -> PriorPayments {
    let paid = PriorPayment { state: PaymentState::Charged, charge: Some(usd("25")), at: jiff::Timestamp::UNIX_EPOCH };
    let intent = PaymentIntent { charge: Some(usd("25")), bank_debit: false, submitted: true, refusal: None };
    let record = PaymentRecord { state: PaymentState::Charged, intent, has_doubtful_success: false };
    let session = PriorSession { sid: payment_sid(sid), record, by_bank_account: false };
    PriorPayments { on_call: vec![paid], sessions: vec![session], ..PriorPayments::default() }
}

/// The claim of the call came late: only then the ledger could say what its last server had begun.
#[test]
fn payments_that_become_known_later_leave_those_of_the_call_as_they_are() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    let known = PriorPayments {
        sessions: ["PK1", "PK2"].map(|sid| charged(sid).sessions.remove(0)).into(),
        ..PriorPayments::default()
    };
    call.feed(CallEvent::PaymentsKnown(Box::new(known)));
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    call.model_replies("One moment.", &[]);
    assert!(call.history().contains("storing the card succeeded"), "{}", call.history());
    let ended = ["PK1", "PK2"].map(|sid| call.inner.payments.is_closed(&payment_sid(sid)));
    assert_eq!(ended, [true, true]);
}

/// Money may have moved for a payment of the last server of the call.
#[test]
fn the_amount_due_is_kept_while_a_submission_of_another_server_has_no_result() {
    let unsettled = |state| {
        let mut known = charged("PK1");
        known.on_call.clear();
        known.sessions[0].record.state = state;
        let mut call = TestCall::start();
        call.feed(CallEvent::PaymentsKnown(Box::new(known)));
        call.inner.payments.has_unsettled_submission()
    };
    assert_eq!([PaymentState::Submitted, PaymentState::Unknown].map(unsettled), [true, true]);
    assert_eq!([PaymentState::Declined, PaymentState::Charged].map(unsettled), [false, false]);
}

#[test]
fn the_conversation_goes_on_where_it_was() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("How much?", &[]);
    let call = die(call);
    let history = call.history();
    assert!(history.contains("caller: I want to pay\nagent: How much?\n") && history.contains(TAKEN_UP), "{history}");
    assert_eq!(history.matches(GREETING).count(), 1, "it is not greeted again");
}

#[test]
fn a_call_that_is_handed_over_while_nobody_speaks_goes_on_in_silence() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("How much?", &[]);
    call.advance(10 * SECOND);
    assert!(call.inner.is_quiet());
    let mut call = call.resume_elsewhere(true, &PriorPayments::default());
    assert!(call.pending_request.is_none() && call.said_since(0).is_empty());
    call.caller_says("Ten dollars");
    let history = call.history();
    assert!(history.contains("agent: How much?\ncaller: Ten dollars") && !history.contains(TAKEN_UP), "{history}");
}

#[test]
fn a_caller_who_was_not_answered_is_answered_after_a_hand_over() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    assert!(!call.inner.is_quiet());
    let call = call.resume_elsewhere(true, &PriorPayments::default());
    assert!(call.history().contains("caller: I want to pay") && call.pending_request.is_some());
    assert!(!call.history().contains(TAKEN_UP), "nothing is lost: {}", call.history());
}

#[test]
fn a_tool_that_was_running_has_an_unknown_end() {
    let mut call = TestCall::start();
    call.caller_says("Text me");
    call.model_calls("send-sms", r#"{"message":"Hi"}"#);
    call.model_emits(ModelEvent::Completed);
    let call = die(call);
    assert!(call.running_tools.is_empty(), "it is not run again");
    let history = call.history();
    assert_eq!(history.matches("call: send-sms").count(), history.matches("output: call_1").count(), "{history}");
    assert!(history.contains("not known whether it has done its work"), "{history}");
}

#[test]
fn a_session_that_was_being_opened_is_asked_for_again_with_its_key() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    let asked = keys(&call);
    let mut call = die(call);
    assert_eq!(keys(&call), asked);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("Sorry, the line broke.", &[]);
    assert!(call.history().contains("the payment session is open"), "{}", call.history());
    call.model_replies("", &["capture-card"]);
    assert_eq!(keys(&call).len(), 1);
}

#[test]
fn a_field_whose_request_was_unanswered_is_asked_for_again_with_its_key() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    let asked = keys(&call);
    let mut call = die(call);
    assert_eq!(keys(&call), asked);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Sorry, the line broke. Please enter the card number.", &[]);
    call.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    assert!(call.history().contains("the card number is in"), "{}", call.history());
}

#[test]
fn a_submission_that_was_unanswered_is_repeated_once_with_its_key() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    let asked = keys(&call);
    let mut call = die(call);
    assert_eq!(keys(&call), asked);
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(keys(&call).is_empty());
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    call.model_replies("One moment.", &[]);
    assert!(call.history().contains("storing the card succeeded"), "{}", call.history());
}

#[test]
fn an_accepted_submission_waits_for_its_result() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    let mut call = die(call);
    assert!(keys(&call).is_empty() && call.inner.has_open_payment());
    call.model_replies("Sorry, the line broke. It is being processed.", &[]);
    call.feed(CallEvent::HungUp);
    assert!(keys(&call).is_empty(), "a submitted payment is not cancelled");
}

#[test]
fn a_result_that_came_while_nobody_had_the_call_is_told() {
    for is_handed_over in [false, true] {
        let mut call = TestCall::start();
        call.caller_says("I want to pay");
        call.model_replies("One moment.", &[]);
        let mut call = call.resume_elsewhere(is_handed_over, &charged("PK1"));
        assert!(call.history().contains("25.00 USD was paid"), "{}", call.history());
        assert!(call.history().contains("Next: tell the caller the result"));
        call.model_emits(ModelEvent::Failed);
        call.advance(10 * SECOND);
        assert!(call.said_since(0).contains("Your payment went through"), "{}", call.said_since(0));
    }
}

#[test]
fn a_field_that_was_entered_while_nobody_had_the_call_is_gone_on_from() {
    let entered = [payment_status("PK1", &card_callback("false", "security-code,expiration-date"))];
    let wrong = [("Capture", "payment-card-number"), ("ErrorType", "invalid-card-number")];
    let wrong = [payment_status("PK1", &wrong)];
    for (reports, told) in [
        (&entered[..], "Payment update: the card number is in. Still needed: security code, expiry date"),
        (&wrong, "Payment update: the card number was not taken. Next: say so kindly, and"),
    ] {
        let mut call = TestCall::start();
        call.reach_card_number("PK1");
        let call = call.resume_elsewhere_after(true, &PriorPayments::default(), reports);
        assert!(call.pending_request.is_some() && call.history().contains(told), "{}", call.history());
        assert!(!call.history().contains("The connection broke"), "the caller has noticed nothing");
    }
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    let call = call.resume_elsewhere(true, &PriorPayments::default());
    assert!(call.pending_request.is_none(), "the field is still being entered");
}

#[test]
fn a_result_that_the_last_server_had_not_told_yet_is_told() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    // Twilio's response to the submission is late.
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    let call = call.resume_elsewhere(false, &charged("PK1"));
    assert!(call.history().contains("25.00 USD was paid") && call.pending_request.is_some(), "{}", call.history());
}

#[test]
fn keys_are_dropped_while_nobody_knows_what_the_last_server_had_begun() {
    let unread = PriorPayments { is_unread: true, ..PriorPayments::default() };
    let mut call = TestCall::start_after(settings(), "{}", None, &unread);
    call.caller_presses("737#");
    call.caller_says("It is seven three seven");
    call.model_replies("One moment.", &[]);
    assert!(!call.history().contains("737") && !call.history().contains("seven three"), "{}", call.history());
    call.feed(CallEvent::PaymentsKnown(Box::default()));
    call.advance(4 * SECOND);
    call.caller_presses("42#");
    assert!(call.history().contains("42"), "nothing was begun: {}", call.history());
}

#[test]
fn a_result_that_was_told_is_not_told_again() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    call.model_replies("It is stored.", &[]);
    let call = call.resume_elsewhere(true, &charged("PK1"));
    assert!(call.pending_request.is_none() && call.said_since(0).is_empty());
}

#[test]
fn a_question_about_an_amount_is_asked_again() {
    for is_handed_over in [false, true] {
        let mut call = TestCall::start();
        call.caller_says("I want to pay");
        let question = call.request_consent("25");
        let mut call = call.resume_elsewhere(is_handed_over, &PriorPayments::default());
        assert_eq!(call.wait_for_statement(), question);
        call.caller_says("Yes");
        call.model_replies("Thank you.", &["start-capture"]);
        assert!(call.history().contains("Say nothing: a payment update brings the answer"), "{}", call.history());
        assert_eq!(call.recorded_answers().len(), 1);
    }
}

#[test]
fn the_server_goes_on_to_lead_and_asks_before_it_submits() {
    let mut call = super::guided_flow::reach_card_number();
    report_card_number(&mut call, "visa");
    call.twilio_answers(TwilioResponse::Accepted);
    let mut call = die(call);
    assert_eq!(call.said_since(0), SECURITY_CODE, "the type of the card is not kept");
    let from = report_field(&mut call, "security-code", "expiration-date", &[("SecurityCode", "xxx")]);
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Capture(Field::ExpirationDate)]);
    call.twilio_answers(TwilioResponse::Accepted);
    report_field(&mut call, "expiration-date", "", &[("ExpirationDate", "1229")]);
    assert_eq!(call.wait_for_statement(), GO_ON, "what the caller has said last may be lost");
    let from = call.caller_says("Yes");
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Complete]);
}

#[test]
fn what_was_switched_stays_switched() {
    let mut call = TestCall::start();
    call.caller_says("Speak Australian");
    call.model_calls("switch-language", r#"{"ttsLanguage":"en-AU"}"#);
    call.model_calls("set-silence-detection", r#"{"enabled":false}"#);
    call.model_emits(ModelEvent::Completed);
    let state = call.inner.state(false);
    let call = die(call);
    assert_eq!(call.inner.state(false), state);
    let switched = |action: &Action| matches!(action, Action::SendFrame(OutgoingFrame::Language(_)));
    assert!(call.actions.iter().any(switched), "the new session begins in the language of its TwiML");
}

#[test]
fn a_card_number_that_goes_on_after_the_death_of_its_server_is_removed() {
    let mut call = TestCall::start();
    call.caller_says("My card is 4242 4242");
    call.model_replies("Go on.", &[]);
    let mut call = die(call);
    call.model_replies("Sorry, go on.", &[]);
    call.caller_says("4242 4242");
    let history = call.history();
    assert!(!history.contains("4242"), "{history}");
}

#[test]
fn the_length_of_a_call_counts_from_its_beginning() {
    let mut limited = settings();
    limited.silence.enabled = false;
    limited.usage_limits.call_length = Some(Duration::from_mins(10));
    let mut call = die(TestCall::start_with(limited));
    call.model_replies("Sorry, the line broke.", &[]);
    let from = call.advance(Duration::from_mins(7) + 10 * SECOND);
    assert!(call.said_since(from).contains(CALL_ENDS_SOON), "it was taken up after a minute");
}
