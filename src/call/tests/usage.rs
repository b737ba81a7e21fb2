//! The limits on one call: text messages, tones, recordings, its length, and machines that answer.

use super::*;
use crate::phone_number::AllowedDestinations;
use crate::relay::OutgoingFrame;
use crate::usage_limits::{UsageLimit, UsageLimits};

const MINUTE: Duration = Duration::from_secs(60);

/// Settings in which nobody is asked whether they are still there.
fn patient_settings() -> CallSettings {
    let settings = settings();
    CallSettings { silence: SilenceSettings { enabled: false, ..settings.silence.clone() }, ..settings }
}

fn reports(call: &TestCall, limit: UsageLimit) -> usize {
    call.actions.iter().filter(|action| matches!(action, Action::ReportLimit(reported) if *reported == limit)).count()
}

fn statements(call: &TestCall) -> Vec<&str> {
    let statement = |action| match action {
        &Action::SendFrame(OutgoingFrame::Text {
            ref token,
            last: true,
            interruptible: Some(false),
            preemptible: Some(false),
            ..
        }) => Some(token.as_str()),
        _ => None,
    };
    call.actions.iter().filter_map(statement).collect()
}

/// The text messages that the call wants sent: each is accepted at once.
fn send_accepted_messages(call: &mut TestCall) -> usize {
    let mut sent = 0;
    while let Some((run, tool)) = call.running_tools.pop() {
        sent += usize::from(matches!(tool, Tool::SendSms { .. }));
        call.feed(CallEvent::ToolFinished { run, outcome: ToolOutcome::Sms(Ok(())) });
    }
    sent
}

#[test]
fn five_text_messages_are_sent_on_a_call_however_many_the_model_wants() {
    let mut call = TestCall::start();
    let mut sent = 0;
    for _ in 0..3 {
        call.caller_says("Send it to me");
        for _ in 0..32 {
            call.model_calls("send-sms", r#"{"message":"Here it is."}"#);
        }
        call.model_emits(ModelEvent::Completed);
        sent += send_accepted_messages(&mut call);
        if call.pending_request.is_some() {
            call.model_replies("Done.", &[]);
        }
    }
    // Eight tool calls of a response are performed.
    assert_eq!((sent, reports(&call, UsageLimit::MessagesPerCall)), (5, 3 * 8 - 5));
    call.caller_says("And again");
    assert!(call.history().contains("No more text messages can be sent on this call"));
}

#[test]
fn tones_and_recordings_are_limited() {
    let usage_limits = UsageLimits { tones_per_call: Some(10), recordings_per_call: Some(3), ..UsageLimits::default() };
    let mut call = TestCall::start_with(CallSettings { usage_limits, ..settings() });
    call.caller_says("Dial");
    for digits in ["12345678", "123", "12", "1"] {
        call.model_calls("send-dtmf", &format!(r#"{{"digits":"{digits}"}}"#));
    }
    for times in [2, 2, 1] {
        call.model_calls("play-media", &format!(r#"{{"source":"https://media.example.com/a.mp3","loop":{times}}}"#));
    }
    let frames = |is: fn(&OutgoingFrame) -> bool| {
        call.actions.iter().filter(|action| matches!(action, Action::SendFrame(frame) if is(frame))).count()
    };
    assert_eq!(frames(|frame| matches!(frame, OutgoingFrame::SendDigits { .. })), 2);
    assert_eq!(frames(|frame| matches!(frame, OutgoingFrame::Play { .. })), 2);
    assert_eq!(reports(&call, UsageLimit::TonesPerCall), 2);
    assert_eq!(reports(&call, UsageLimit::RecordingsPerCall), 1);
}

#[test]
fn a_callers_number_that_the_server_does_not_call_gets_no_text_message() {
    let german = AllowedDestinations::new(Vec::new(), &"+4930123456".parse().unwrap());
    for to in ["", r#""to":"+14155550100","#] {
        let mut call = TestCall::start_with(CallSettings { destinations: Arc::new(german.clone()), ..settings() });
        call.caller_says("Send me a receipt");
        call.model_calls("send-sms", &format!(r#"{{{to}"message":"Paid."}}"#));
        // A number that the operator allows by itself is reached all the same.
        call.model_calls("send-sms", r#"{"to":"+14155550199","message":"Paid."}"#);
        assert!(
            matches!(call.running_tools.as_slice(), [(_, Tool::SendSms { to, .. })] if to.as_str() == "+14155550199")
        );
        send_accepted_messages(&mut call);
        call.model_emits(ModelEvent::Completed);
        assert!(call.history().contains("No text message can be sent to the number of this caller"), "{to}");
        assert_eq!(reports(&call, UsageLimit::Destinations), 1, "{to}");
    }
}

#[test]
fn a_call_is_told_two_minutes_before_its_end_and_ends() {
    let mut call = TestCall::start_with(patient_settings());
    call.caller_says("Hello");
    call.model_replies("Hello.", &[]);
    call.advance(58 * MINUTE - SECOND);
    assert!(statements(&call).is_empty());
    call.advance(SECOND);
    assert_eq!(statements(&call), [CALL_ENDS_SOON]);
    call.advance(2 * MINUTE - SECOND);
    assert!(call.end_frames().is_empty());
    call.advance(10 * SECOND);
    assert_eq!(statements(&call), [CALL_ENDS_SOON, TIME_IS_UP]);
    assert_eq!((call.end_frames(), reports(&call, UsageLimit::CallLength)), (vec![None], 1));
    assert_eq!(call.inner.take_ending().reason, Some("time-limit"));
}

#[test]
fn the_warning_waits_for_the_models_words_and_what_the_caller_says_does_not_prevent_the_end() {
    let mut call = TestCall::start_with(patient_settings());
    call.advance(58 * MINUTE - SECOND);
    call.caller_says("Tell me a story");
    call.model_says("Once upon");
    call.advance(5 * SECOND);
    assert!(statements(&call).is_empty(), "the server does not speak inside the model's words");
    call.model_emits(ModelEvent::Completed);
    assert_eq!(statements(&call), [CALL_ENDS_SOON]);
    call.advance(3 * MINUTE);
    call.caller_says("But I want to go on talking");
    assert_eq!(call.pending_request, None);
    call.advance(30 * SECOND);
    assert_eq!(call.end_frames(), [None]);
}

#[test]
fn an_open_payment_is_not_cut_at_the_limit() {
    let mut call =
        TestCall::start_with(CallSettings { stall_timeout: Duration::from_secs(3_600), ..patient_settings() });
    call.advance(57 * MINUTE);
    call.reach_card_number("PK1");
    call.advance(4 * MINUTE);
    assert!(statements(&call).is_empty() && call.inner.has_open_payment(), "nothing is said over the card entry");
    assert!(call.end_frames().is_empty());
    // Five minutes later it ends all the same, and the payment is cancelled.
    call.advance(4 * MINUTE);
    call.advance(30 * SECOND);
    assert_eq!(statements(&call), [TIME_IS_UP]);
    assert!(call.only_update("cancel-capture").is_some());
}

#[test]
fn a_payment_that_ends_after_the_limit_lets_the_caller_hear_the_result() {
    let mut call =
        TestCall::start_with(CallSettings { stall_timeout: Duration::from_secs(3_600), ..patient_settings() });
    call.advance(58 * MINUTE + 30 * SECOND);
    call.reach_card_number("PK1");
    call.advance(2 * MINUTE);
    call.caller_says("Cancel it, please");
    call.model_replies("", &["cancel-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("It is cancelled.", &[]);
    call.advance(10 * SECOND);
    assert_eq!(statements(&call).last(), Some(&TIME_IS_UP));
    assert_eq!(call.end_frames(), [None]);
}

#[test]
fn a_call_that_never_becomes_quiet_ends_like_a_hang_up() {
    let mut call = TestCall::start_with(patient_settings());
    call.caller_says("Hello");
    // The model never completes its response.
    call.model_says("Well");
    for _ in 0..70 {
        call.advance(MINUTE);
        call.receive_frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
    }
    assert!(call.inner.phase.is_closed(), "{:?}", call.inner);
}

#[test]
fn without_a_limit_a_call_goes_on() {
    let usage_limits = UsageLimits { call_length: None, ..UsageLimits::default() };
    let mut call = TestCall::start_with(CallSettings { usage_limits, ..patient_settings() });
    call.advance(20 * 60 * MINUTE);
    assert!(statements(&call).is_empty() && call.end_frames().is_empty());
}

#[test]
fn a_machine_hears_one_sentence_and_no_agent() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Please leave a message");
    call.model_says("I am calling about");
    call.feed(CallEvent::MachineAnswered);
    call.feed(CallEvent::MachineAnswered);
    assert_eq!((statements(&call), call.pending_request), (vec![MACHINE], None));
    call.advance(10 * SECOND);
    assert!(call.only_update("cancel-capture").is_some(), "the payment is cancelled");
    call.twilio_answers(TwilioResponse::Accepted);
    call.caller_says("Beep");
    assert_eq!(call.end_frames(), [None]);
    assert_eq!(call.inner.take_ending().reason, Some("answering-machine"));
}
