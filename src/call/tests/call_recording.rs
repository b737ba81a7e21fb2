//! The recording of a call: announced before it starts, paused before a field is captured, and on again after the payment.

use proptest::prelude::*;

use super::guided_flow::twilio_changes_since;
use super::*;
use crate::payment::{NoticeKind, PriorPayments};
use crate::recording::RecordingAnswer::{AlreadyBegun, Done, Gone, Refused, Unknown};
use crate::recording::RecordingStep::{Pause, Resume, Start, Stop};
use crate::recording::{KnownRecording, RecordingAnswer, RecordingStage, RecordingStep};

const TEMPLATES: &[(&str, &str)] = &[("en-US", "This call is recorded by {business}.")];
const ANNOUNCEMENT: &str = "This call is recorded by Acme.";
const NOT_PAUSED: &str = "could not be paused";

fn recording(pauses_for_capture: bool) -> CallSettings {
    let announcement = ComplianceText::new(Vec::new(), TEMPLATES).fill(&[(BUSINESS, "Acme")]);
    CallSettings { recording: Some(RecordingSettings { announcement, pauses_for_capture }), ..settings() }
}

fn done() -> RecordingAnswer {
    Done(Some("RE1".parse().unwrap()))
}

const REFUSED: RecordingAnswer = Refused { code: Some(21218) };

/// The steps that Twilio was asked for.
fn asked(call: &TestCall) -> Vec<RecordingStep> {
    let step = |action: &Action| match action {
        Action::ControlRecording(request) => Some(request.step),
        _ => None,
    };
    call.actions.iter().filter_map(step).collect()
}

/// Twilio answers the step that it was asked for last.
fn twilio_answers_step(call: &mut TestCall, answer: RecordingAnswer) -> usize {
    let step = *asked(call).last().expect("a step was asked for");
    call.feed(CallEvent::RecordingAnswered { step, answer })
}

/// A call whose caller has heard the announcement, and which is being recorded.
fn recorded() -> TestCall {
    recorded_with(recording(true))
}

fn recorded_with(settings: CallSettings) -> TestCall {
    let mut call = TestCall::start_with(settings);
    call.advance(10 * SECOND);
    assert_eq!(asked(&call), [Start]);
    twilio_answers_step(&mut call, done());
    call
}

/// The caller wants to pay, and the model asks for a session.
fn start_payment(call: &mut TestCall) {
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
}

fn requests(call: &TestCall) -> Vec<String> {
    call.running_tools.iter().map(|(_, tool)| tool.name().to_owned()).collect()
}

/// The ledger knows how the recording stands.
fn known(stage: RecordingStage) -> PriorPayments {
    let recording = KnownRecording { is_announced: true, stage, sid: Some("RE1".parse().unwrap()) };
    PriorPayments { recording, ..PriorPayments::default() }
}

#[test]
fn nothing_is_recorded_before_the_caller_has_heard_so() {
    let mut call = TestCall::start_with(recording(true));
    assert_eq!(call.said_since(0), ANNOUNCEMENT, "right after the greeting");
    call.caller_interrupts("Wel");
    let from = call.caller_says("Hi");
    assert_eq!(call.said_since(from), ANNOUNCEMENT, "it was cut off with the greeting");
    assert!(asked(&call).is_empty(), "it was not heard yet");
    let announced = |call: &TestCall| {
        call.ledger_entries()
            .iter()
            .filter(|entry| matches!(entry, PaymentLogEntry::NoticeHeard(NoticeKind::Recording, heard) if heard.text == ANNOUNCEMENT))
            .count()
    };
    assert_eq!(announced(&call), 0);
    call.model_replies("Hello.", &[]);
    call.advance(10 * SECOND);
    assert_eq!((asked(&call), announced(&call)), (vec![Start], 1));
    call.advance(60 * SECOND);
    assert_eq!(call.said_since(from).matches(ANNOUNCEMENT).count(), 1);
}

#[test]
fn a_call_that_is_not_recorded_asks_twilio_for_nothing() {
    for settings in [settings(), CallSettings { listen_only: true, ..recording(true) }] {
        let mut call = TestCall::start_with(settings);
        call.reach_card_number("PK1");
        call.advance(30 * SECOND);
        assert!(asked(&call).is_empty());
        assert_eq!(call.said_since(0).matches(ANNOUNCEMENT).count(), 0);
    }
    let mut machine = TestCall::start_with(recording(true));
    machine.feed(CallEvent::MachineAnswered);
    machine.advance(30 * SECOND);
    assert!(asked(&machine).is_empty(), "a machine is not recorded");
}

#[test]
fn the_session_is_asked_for_once_the_pause_is_confirmed() {
    let mut call = recorded();
    start_payment(&mut call);
    assert_eq!((asked(&call), requests(&call)), (vec![Start, Pause], vec![]));
    call.advance(5 * SECOND);
    assert!(requests(&call).is_empty(), "it waits");
    twilio_answers_step(&mut call, done());
    assert_eq!(requests(&call), ["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    call.enter_all_fields("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.advance(5 * SECOND);
    assert_eq!(asked(&call), [Start, Pause], "one pause for all fields, and none ends before the result");
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert_eq!(asked(&call), [Start, Pause, Resume], "all fields are in");
}

#[test]
fn a_payment_that_is_cancelled_leaves_time_for_the_last_keys() {
    let mut call = recorded();
    start_payment(&mut call);
    twilio_answers_step(&mut call, done());
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Card number.", &[]);
    call.caller_says("No, stop");
    call.model_replies("", &["cancel-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("It is cancelled.", &[]);
    assert_eq!(asked(&call), [Start, Pause]);
    call.advance(4 * SECOND);
    assert_eq!(asked(&call), [Start, Pause, Resume]);
    twilio_answers_step(&mut call, done());
    // It begins again.
    start_payment(&mut call);
    assert_eq!((asked(&call).last(), requests(&call)), (Some(&Pause), vec![]));
    twilio_answers_step(&mut call, done());
    assert_eq!(requests(&call), ["start-capture"]);
}

#[test]
fn a_recording_stays_paused_where_a_cancellation_is_not_confirmed() {
    let mut call = recorded();
    start_payment(&mut call);
    twilio_answers_step(&mut call, done());
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Card number.", &[]);
    call.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    call.model_replies("", &["capture-security-code"]);
    call.tool_answers(ToolOutcome::LimitExceeded("The card is blocked."));
    assert!(call.only_update("cancel-capture").is_some());
    call.twilio_answers(TwilioResponse::Unknown);
    call.model_replies("Sorry.", &[]);
    call.advance(10 * SECOND);
    assert!(call.inner.phase.is_live());
    assert_eq!(asked(&call), [Start, Pause]);
}

#[test]
fn without_a_pause_nothing_is_asked_of_the_caller() {
    for answer in [REFUSED, Gone, Unknown] {
        let mut call = recorded();
        start_payment(&mut call);
        twilio_answers_step(&mut call, answer.clone());
        assert!(requests(&call).is_empty() && !call.inner.payments.is_open(), "{answer:?}");
        assert!(call.history().contains(NOT_PAUSED), "{answer:?}: {}", call.history());
        let began: Vec<_> = call.actions.iter().filter(|action| matches!(action, Action::RunTool { .. })).collect();
        assert!(began.is_empty(), "{answer:?}");
        // The next attempt is another one.
        call.model_replies("Sorry. Once more?", &[]);
        call.advance(5 * SECOND);
        if asked(&call).last() == Some(&Resume) {
            twilio_answers_step(&mut call, REFUSED);
        }
        start_payment(&mut call);
        assert_eq!(asked(&call).last(), Some(&Pause), "{answer:?}");
        twilio_answers_step(&mut call, done());
        assert_eq!(requests(&call), ["start-capture"], "{answer:?}");
    }
}

#[test]
fn in_the_guided_flow_nothing_is_asked_either() {
    let mut call = recorded_with(CallSettings { is_guided: true, ..recording(true) });
    start_payment(&mut call);
    let from = twilio_answers_step(&mut call, Unknown);
    assert_eq!(call.said_since(from), "");
    assert!(call.history().contains(NOT_PAUSED));
    call.model_replies("Sorry. A person can help.", &[]);
    assert!(!call.inner.is_server_leading() && requests(&call).is_empty());
}

#[test]
fn a_pause_that_comes_late_is_no_pause() {
    let mut call = recorded();
    start_payment(&mut call);
    call.feed(CallEvent::HungUp);
    assert!(call.actions.iter().any(|action| matches!(action, Action::Close)), "nobody waits for it");
    let from = twilio_answers_step(&mut call, done());
    assert!(call.actions[from..].is_empty());
}

#[test]
fn a_step_that_may_still_happen_is_followed_by_a_stop() {
    // A resumption that comes late would undo the next pause.
    let mut call = recorded();
    start_payment(&mut call);
    twilio_answers_step(&mut call, done());
    call.twilio_answers(TwilioResponse::Refused { code: None, reason: "No." });
    call.model_replies("Sorry.", &[]);
    call.advance(5 * SECOND);
    assert_eq!(asked(&call).last(), Some(&Resume));
    twilio_answers_step(&mut call, Unknown);
    assert_eq!(asked(&call).last(), Some(&Stop));
    twilio_answers_step(&mut call, Unknown);
    start_payment(&mut call);
    assert_eq!(asked(&call).last(), Some(&Stop), "a pause would not be enough");
    twilio_answers_step(&mut call, REFUSED);
    assert!(call.history().contains(NOT_PAUSED) && requests(&call).is_empty());
    call.model_replies("Sorry.", &[]);
    start_payment(&mut call);
    twilio_answers_step(&mut call, done());
    assert_eq!(requests(&call), ["start-capture"]);
    call.advance(60 * SECOND);
    assert_eq!(asked(&call).last(), Some(&Stop), "it is over");
}

#[test]
fn a_start_in_progress_is_waited_for() {
    let mut call = TestCall::start_with(recording(true));
    call.advance(10 * SECOND);
    start_payment(&mut call);
    assert_eq!((asked(&call), requests(&call)), (vec![Start], vec![]));
    twilio_answers_step(&mut call, done());
    assert_eq!((asked(&call), requests(&call)), (vec![Start, Pause], vec![]));
    for (answer, then) in [(REFUSED, vec![Start]), (Unknown, vec![Start, Stop]), (AlreadyBegun, vec![Start, Pause])] {
        let mut call = TestCall::start_with(recording(true));
        call.advance(10 * SECOND);
        start_payment(&mut call);
        twilio_answers_step(&mut call, answer.clone());
        let is_begun = requests(&call) == ["start-capture"];
        assert_eq!((asked(&call), is_begun), (then, answer == REFUSED), "{answer:?}");
    }
}

#[test]
fn without_pause_during_capture_the_recording_goes_on() {
    let mut call = recorded_with(recording(false));
    start_payment(&mut call);
    assert_eq!((asked(&call), requests(&call)), (vec![Start], vec!["start-capture".to_owned()]));
}

#[test]
fn another_server_knows_that_it_is_paused() {
    let mut call = recorded();
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    twilio_answers_step(&mut call, done());
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    let call = call.resume_elsewhere(false, &known(RecordingStage::Paused));
    assert_eq!((asked(&call), requests(&call)), (vec![], vec!["capture-card".to_owned()]));
    assert_eq!(call.said_since(0).matches(ANNOUNCEMENT).count(), 0, "it is not announced again");
}

#[test]
fn another_server_that_does_not_know_pauses_again() {
    for stage in [RecordingStage::Running, RecordingStage::Uncertain] {
        let taken_up = || {
            let mut call = recorded_with(CallSettings { is_guided: true, ..recording(true) });
            start_payment(&mut call);
            twilio_answers_step(&mut call, done());
            call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
            call.resume_elsewhere(false, &known(stage))
        };
        let mut call = taken_up();
        assert_eq!((asked(&call), requests(&call)), (vec![Pause], vec![]));
        assert_eq!(call.said_since(0), "", "no field is asked for");
        let from = twilio_answers_step(&mut call, done());
        assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Capture(Field::CardNumber)]);
        let mut call = taken_up();
        let from = twilio_answers_step(&mut call, Unknown);
        assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Cancel], "{stage:?}");
        assert!(call.history().contains(NOT_PAUSED));
    }
}

#[test]
fn a_field_that_is_being_entered_when_the_server_dies_is_given_up_without_a_pause() {
    let mut call = recorded();
    start_payment(&mut call);
    twilio_answers_step(&mut call, done());
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Card number.", &[]);
    let mut call = call.resume_elsewhere(false, &known(RecordingStage::Uncertain));
    assert_eq!(asked(&call), [Pause]);
    let from = twilio_answers_step(&mut call, REFUSED);
    assert_eq!(twilio_changes_since(&call, from), [UpdateAction::Cancel]);
}

#[test]
fn a_call_whose_payment_ended_while_nobody_had_it_is_recorded_again() {
    let call = recorded();
    let mut call = call.resume_elsewhere(false, &known(RecordingStage::Paused));
    call.advance(4 * SECOND);
    assert_eq!(asked(&call), [Resume]);
    // Its last server may have let it go on before.
    let mut call = recorded().resume_elsewhere(false, &known(RecordingStage::Paused));
    start_payment(&mut call);
    assert_eq!((asked(&call), requests(&call)), (vec![Pause], vec![]));
}

#[test]
fn a_recording_that_becomes_known_later_is_paused_too() {
    let mut call = TestCall::start_with(settings());
    call.feed(CallEvent::PaymentsKnown(Box::new(known(RecordingStage::Running))));
    start_payment(&mut call);
    assert_eq!((asked(&call), requests(&call)), (vec![Pause], vec![]), "although this server does not record");
}

#[test]
fn an_announcement_that_begins_after_the_greeting_has_ended_is_heard_once_it_was_played() {
    let mut call = TestCall::start_with(recording(true));
    for (name, value) in [
        ("agentSpeaking", "on"),
        ("tokensPlayed", GREETING),
        ("agentSpeaking", "off"),
        ("agentSpeaking", "on"),
        ("tokensPlayed", "This call is recorded by"),
    ] {
        call.receive_frame(&format!(r#"{{"type":"info","name":"{name}","value":"{value}"}}"#));
        assert_eq!(asked(&call), [], "{value}");
    }
    call.receive_frame(r#"{"type":"info","name":"tokensPlayed","value":" Acme."}"#);
    assert_eq!(asked(&call), [Start]);
}

/// What happens to a call that is recorded.
#[derive(Debug, Clone)]
enum Step {
    CallerSays,
    ModelCalls(&'static str),
    TwilioAnswers(u8),
    RecordingReports(RecordingAnswer),
    CardEntered,
    PaymentEnds(&'static str),
    Seconds(u8),
    SocketLost,
    SocketResumed,
    TakenOver,
}

fn step() -> impl Strategy<Value = Step> {
    let tools = ["start-capture", "start-capture", "capture-card", "cancel-capture", "finish-capture"];
    prop_oneof![
        2 => Just(Step::CallerSays),
        6 => prop::sample::select(tools.to_vec()).prop_map(Step::ModelCalls),
        5 => (0..4_u8).prop_map(Step::TwilioAnswers),
        6 => prop::sample::select(vec![done(), done(), done(), Refused { code: None }, Gone, Unknown]).prop_map(Step::RecordingReports),
        1 => Just(Step::CardEntered),
        1 => prop::sample::select(vec!["success", "payment-connector-error"]).prop_map(Step::PaymentEnds),
        3 => (1..12_u8).prop_map(Step::Seconds),
        1 => Just(Step::SocketLost),
        1 => Just(Step::SocketResumed),
        1 => Just(Step::TakenOver),
    ]
}

/// Twilio's side of the recording, and what the ledger has of it.
#[derive(Default)]
struct TwilioSide {
    ledger: KnownRecording,
    /// Whether anything may be recorded now.
    may_record: bool,
    /// The same before the last step.
    could_record: bool,
    /// The payments that were open when the call was looked at last.
    open_before: usize,
    /// A request without an answer may still make it record.
    is_late_request_possible: bool,
    asked: Option<RecordingStep>,
    checked: usize,
}

impl TwilioSide {
    fn answer(&mut self, answer: &RecordingAnswer) -> Option<RecordingStep> {
        let step = self.asked.take()?;
        let is_done = matches!(answer, Done(_));
        match step {
            // There is no recording.
            _ if *answer == Gone && self.ledger.sid.is_none() => self.may_record = false,
            Start | Resume if *answer == Unknown => self.is_late_request_possible = true,
            Start | Resume if !is_done => self.may_record = self.could_record,
            Pause if is_done => self.may_record = false,
            Stop if is_done => (self.may_record, self.is_late_request_possible) = (false, false),
            _ => {}
        }
        self.ledger.record(step, Some(answer));
        Some(step)
    }

    /// Checks what the call has asked for since the last time.
    fn check(&mut self, call: &TestCall) -> Result<(), TestCaseError> {
        for action in &call.actions[self.checked..] {
            match action {
                Action::ControlRecording(request) => {
                    prop_assert!(self.asked.is_none(), "one step after the other");
                    prop_assert!(
                        request.step != Start || self.ledger.stage == RecordingStage::NotBegun,
                        "it starts once"
                    );
                    if matches!(request.step, Start | Resume) {
                        let is_open = self.open_before > 0 && call.inner.payments.is_open();
                        prop_assert!(!is_open, "{:?} during a payment", request.step);
                        self.could_record = std::mem::replace(&mut self.may_record, true);
                    }
                    self.asked = Some(request.step);
                    self.ledger.record(request.step, None);
                }
                Action::RunTool { tool, .. } => {
                    let lets_enter = match tool {
                        Tool::StartCapture(_) => true,
                        Tool::UpdatePayment(update) => matches!(update.action, UpdateAction::Capture(_)),
                        _ => false,
                    };
                    let may_record = self.may_record || self.is_late_request_possible;
                    prop_assert!(!lets_enter || !may_record, "{} while it may be recorded", tool.name());
                }
                _ => {}
            }
        }
        self.checked = call.actions.len();
        self.open_before = usize::from(call.inner.payments.is_open());
        Ok(())
    }
}

proptest! {
    /// Whatever happens, nobody is asked for a field while something may be recorded.
    #[test]
    fn no_field_is_asked_for_while_something_is_recorded(is_guided: bool, steps in prop::collection::vec(step(), 0..60)) {
        let mut call = TestCall::start_with(CallSettings { is_guided, ..recording(true) });
        let mut twilio = TwilioSide::default();
        let mut session = 0;
        for step in steps {
            match step {
                Step::CallerSays => drop(call.caller_says("Well")),
                Step::ModelCalls(tool) if call.pending_request.is_some() => call.model_replies("Sure.", &[tool]),
                Step::TwilioAnswers(kind) if !call.running_tools.is_empty() => {
                    session += 1;
                    let is_start = matches!(call.running_tools[0].1, Tool::StartCapture(_));
                    call.twilio_answers(match kind {
                        0 => TwilioResponse::Unknown,
                        1 => TwilioResponse::Refused { code: None, reason: "No." },
                        _ if is_start => TwilioResponse::Created(payment_sid(&format!("PK{session}"))),
                        _ => TwilioResponse::Accepted,
                    });
                }
                Step::RecordingReports(answer) => {
                    if let Some(step) = twilio.answer(&answer) {
                        call.feed(CallEvent::RecordingAnswered { step, answer });
                    }
                }
                Step::CardEntered => {
                    if let Some(sid) = call.inner.payments.open().and_then(|open| open.sid().cloned()) {
                        call.twilio_reports(sid.as_str(), &card_callback("false", "security-code,expiration-date"));
                    }
                }
                Step::PaymentEnds(result) => {
                    if let Some(sid) = call.inner.payments.open().and_then(|open| open.sid().cloned()) {
                        call.twilio_reports(sid.as_str(), &[("Result", result)]);
                    }
                }
                Step::Seconds(seconds) => drop(call.advance(u32::from(seconds) * SECOND)),
                Step::SocketLost => drop(call.feed(CallEvent::SocketLost)),
                Step::SocketResumed => drop(call.feed(CallEvent::SocketResumed)),
                Step::TakenOver => {
                    twilio.check(&call)?;
                    let is_announced = call.inner.notices.is_heard(NoticeKind::Recording);
                    // What its server had asked for has arrived, and its answer is lost.
                    twilio.may_record |= std::mem::take(&mut twilio.is_late_request_possible);
                    twilio.asked = None;
                    twilio.ledger.is_announced = is_announced;
                    let known = PriorPayments { recording: twilio.ledger.clone(), ..PriorPayments::default() };
                    call = call.resume_elsewhere(false, &known);
                    twilio.checked = 0;
                }
                Step::ModelCalls(_) | Step::TwilioAnswers(_) => {}
            }
            twilio.check(&call)?;
        }
    }
}
