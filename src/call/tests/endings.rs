//! Silence detection, closings, hand-offs, hang-ups and lost sockets.

use super::*;

#[test]
fn noise_during_a_hand_off_does_not_stop_it() {
    let mut line = TestCall::start();
    line.caller_says("Give me a person");
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.caller_interrupts("I");
    line.advance(4 * SECOND);
    assert!(line.pending_request.is_some() && line.history().contains("If it was only noise, take leave again"));
}

#[test]
fn silence_detection_pauses_while_a_payment_is_open() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    let from = line.advance(STALL_TIMEOUT - SECOND);
    assert_eq!(line.said_since(from), "");
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("Cancelled.", &[]);
    let from = line.advance(SILENCE_THRESHOLD - SECOND);
    assert_eq!(line.said_since(from), "");
    let from = line.advance(5 * SECOND);
    assert_eq!(line.said_since(from), "Still there?");
}

#[test]
fn silence_returns_to_what_it_was_whatever_the_model_forgets() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Hm");
    line.model_calls("set-silence-detection", r#"{"enabled":false}"#);
    line.model_emits(ModelEvent::Completed);
    line.model_replies("Yes?", &[]);
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("Cancelled.", &[]);
    let from = line.advance(SILENCE_THRESHOLD + 15 * SECOND);
    assert_eq!(line.said_since(from), "Still there?");
}

#[test]
fn a_silent_caller_is_reminded_and_in_the_end_the_call_ends() {
    let mut line = TestCall::start();
    let from = line.advance(5 * SILENCE_THRESHOLD);
    assert_eq!(line.said_since(from), format!("Still there?Hello?{GOODBYE}"));
    assert_eq!(line.end_frames(), [None]);
}

#[test]
fn the_agents_speech_and_response_time_are_not_silence() {
    let mut line = TestCall::start();
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.advance(SECOND);
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    line.caller_says("Tell me a long story");
    let from = line.advance(2 * SILENCE_THRESHOLD);
    line.model_replies("Once upon a time.", &[]);
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.advance(SILENCE_THRESHOLD / 2);
    assert_eq!(line.said_since(from), "Once upon a time.");
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    let from = line.advance(SILENCE_THRESHOLD - SECOND);
    assert_eq!(line.said_since(from), "");
}

#[test]
fn end_is_sent_after_the_goodbye_was_heard() {
    let mut line = TestCall::start();
    line.caller_says("That is all");
    line.model_replies("", &["end-call"]);
    line.model_replies("Have a nice day.", &[]);
    assert!(line.end_frames().is_empty(), "the goodbye is still being spoken");
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    assert_eq!(line.end_frames(), [None]);
}

#[test]
fn a_goodbye_in_the_response_with_end_call_is_the_last_one() {
    let mut line = TestCall::start();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    assert_eq!(line.pending_request, None);
    line.advance(10 * SECOND);
    assert_eq!(line.end_frames(), [None]);
}

#[test]
fn a_caller_who_interrupts_the_goodbye_keeps_the_call() {
    let mut line = TestCall::start();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.caller_interrupts("Goodbye");
    line.caller_says("No wait");
    assert!(line.history().contains("so it goes on"));
    line.model_replies("Yes?", &[]);
    line.advance(10 * SECOND);
    assert!(line.end_frames().is_empty());
}

#[test]
fn a_caller_who_speaks_over_the_goodbye_keeps_the_call() {
    let mut line = TestCall::start();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.caller_says("No wait");
    assert!(line.history().contains("so it goes on"));
    line.model_replies("Yes?", &[]);
    line.advance(10 * SECOND);
    assert!(line.end_frames().is_empty());
}

#[test]
fn a_call_that_is_closing_ends_once_its_socket_is_back() {
    let mut line = TestCall::start();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.feed(CallEvent::SocketLost);
    line.advance(10 * SECOND);
    assert!(line.end_frames().is_empty(), "end cannot be sent without a socket");
    line.feed(CallEvent::SocketResumed);
    assert_eq!((line.end_frames(), line.pending_request), (vec![None], None));
}

#[test]
fn a_hand_off_cancels_the_open_payment_first() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Give me a person");
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.advance(10 * SECOND);
    assert!(line.end_frames().is_empty());
    assert!(line.only_update("cancel-capture").is_some_and(|update| update.action == UpdateAction::Cancel));
    line.twilio_answers(TwilioResponse::Accepted);
    let ends = line.end_frames();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(data.contains(r#""reasonCode":"live-agent-handoff""#) && data.contains("wants to pay"));
}

#[test]
fn a_hand_off_during_a_submission_mentions_the_unknown_result() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.advance(10 * SECOND);
    let ends = line.end_frames();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(data.contains("wants to pay A payment was submitted, and its result was not known yet."), "{data}");
}

#[test]
fn a_hang_up_during_a_capture_cancels_the_payment_and_closes_the_call() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Hm");
    line.feed(CallEvent::HungUp);
    assert_eq!(line.pending_request, None, "the model request is cancelled");
    assert!(line.only_update("cancel-capture").is_some());
    assert!(!line.actions.iter().any(|action| matches!(action, Action::Close)));
    line.twilio_answers(TwilioResponse::Gone);
    assert!(matches!(line.actions.last(), Some(Action::Close)));
}

#[test]
fn a_hang_up_during_the_create_request_cancels_the_payment() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    line.feed(CallEvent::HungUp);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(line.only_update("cancel-capture").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(matches!(line.actions.last(), Some(Action::Close)));
}

#[test]
fn a_call_that_ends_without_the_result_is_recorded_as_unresolved() {
    let mut line = TestCall::start();
    line.reach_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(TwilioResponse::Accepted);
    line.feed(CallEvent::HungUp);
    assert!(matches!(line.ledger_entries().last(), Some(PaymentLogEntry::Unresolved { .. })));
    assert!(matches!(line.actions.last(), Some(Action::Close)));
}

#[test]
fn a_resumed_call_continues_where_it_was() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Is it working?");
    line.model_says("Yes, please ");
    let from = line.feed(CallEvent::SocketLost);
    line.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    line.advance(RESUME_TIMEOUT - SECOND);
    assert_eq!((line.pending_request, line.said_since(from).as_str()), (None, ""), "nothing is sent without a socket");
    line.feed(CallEvent::SocketResumed);
    assert!(line.history().contains("the card number is in") && line.history().contains("connection was lost"));
    line.model_replies("Got your card.", &["capture-security-code"]);
    assert!(line.only_update("capture-security-code").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
}

#[test]
fn a_resumed_call_keeps_its_language() {
    let mut line = TestCall::start();
    let mut switches_to = |arguments: &str| {
        line.caller_says("Another language, please");
        line.model_calls("switch-language", arguments);
        line.model_emits(ModelEvent::Completed);
        line.model_replies("Here we go.", &[]);
    };
    switches_to(r#"{"ttsLanguage":"en-AU"}"#);
    switches_to(r#"{"transcriptionLanguage":"en-AU"}"#);
    line.advance(5 * SECOND);
    line.feed(CallEvent::SocketLost);
    let from = line.feed(CallEvent::SocketResumed);
    let [Action::SendFrame(OutgoingFrame::Language(languages))] = &line.actions[from..] else { panic!("one frame") };
    let both = LanguageSwitch::Both { tts_language: "en-AU".to_owned(), transcription_language: "en-AU".to_owned() };
    assert_eq!(*languages, both);
}

#[test]
fn a_resumed_call_without_open_work_stays_silent() {
    let mut line = TestCall::start();
    line.caller_says("Hello");
    line.model_replies("Hi.", &[]);
    line.advance(5 * SECOND);
    line.feed(CallEvent::SocketLost);
    let from = line.feed(CallEvent::SocketResumed);
    assert_eq!(line.actions.len(), from);
    line.caller_says("Are you there?");
    assert!(line.pending_request.is_some());
}

#[test]
fn a_call_that_is_not_resumed_ends_like_a_hang_up() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.feed(CallEvent::SocketLost);
    line.advance(RESUME_TIMEOUT + SECOND);
    assert!(line.only_update("cancel-capture").is_some());
    line.twilio_answers(TwilioResponse::Accepted);
    assert!(matches!(line.actions.last(), Some(Action::Close)));
}
