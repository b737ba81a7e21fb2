//! Silence, goodbyes, hand-offs, hang-ups, and sockets that break.

use super::*;

#[test]
fn noise_over_a_hand_off_does_not_leave_the_caller_alone() {
    let mut line = Line::open();
    line.caller_says("Give me a person");
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.caller_interrupts("I");
    line.passes(4 * SECOND);
    assert!(line.asked.is_some() && line.history().contains("If it was only noise, take leave again"));
}

#[test]
fn silence_is_not_watched_while_a_payment_is_open_and_again_afterwards() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let from = line.passes(STALL - SECOND);
    assert_eq!(line.said_since(from), "");
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("Cancelled.", &[]);
    let from = line.passes(THRESHOLD - SECOND);
    assert_eq!(line.said_since(from), "");
    let from = line.passes(5 * SECOND);
    assert_eq!(line.said_since(from), "Still there?");
}

#[test]
fn silence_returns_to_what_it_was_whatever_the_model_forgets() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Hm");
    line.model_calls("set-silence-detection", r#"{"enabled":false}"#);
    line.model(ModelEvent::Done);
    line.tool_answers(Outcome::SilenceDetection { enabled: false });
    line.model_replies("Yes?", &[]);
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("Cancelled.", &[]);
    let from = line.passes(THRESHOLD + 15 * SECOND);
    assert_eq!(line.said_since(from), "Still there?");
}

#[test]
fn a_silent_caller_is_reminded_and_in_the_end_the_call_ends() {
    let mut line = Line::open();
    let from = line.passes(5 * THRESHOLD);
    assert_eq!(line.said_since(from), format!("Still there?Hello?{GOODBYE}"));
    assert_eq!(line.ends(), [None]);
}

#[test]
fn the_agents_own_speech_and_thinking_are_not_the_callers_silence() {
    let mut line = Line::open();
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.passes(SECOND);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    line.caller_says("Tell me a long story");
    let from = line.passes(2 * THRESHOLD);
    line.model_replies("Once upon a time.", &[]);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.passes(THRESHOLD / 2);
    assert_eq!(line.said_since(from), "Once upon a time.");
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    let from = line.passes(THRESHOLD - SECOND);
    assert_eq!(line.said_since(from), "");
}

#[test]
fn end_is_sent_after_the_goodbye_was_heard() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("", &["end-call"]);
    line.tool_answers(Outcome::EndCall);
    line.model_replies("Have a nice day.", &[]);
    assert!(line.ends().is_empty(), "the goodbye is still being spoken");
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    assert_eq!(line.ends(), [None]);
}

#[test]
fn a_goodbye_that_was_said_with_the_call_needs_no_second_one() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.tool_answers(Outcome::EndCall);
    assert_eq!(line.asked, None);
    line.passes(10 * SECOND);
    assert_eq!(line.ends(), [None]);
}

#[test]
fn a_caller_who_speaks_over_the_goodbye_is_not_hung_up_on() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.tool_answers(Outcome::EndCall);
    line.caller_interrupts("Goodbye");
    line.caller_says("No wait");
    assert!(line.history().contains("so it goes on"));
    line.model_replies("Yes?", &[]);
    line.passes(10 * SECOND);
    assert!(line.ends().is_empty());
}

#[test]
fn an_end_call_that_is_running_when_the_caller_speaks_ends_nothing() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.caller_says("No wait");
    line.tool_answers(Outcome::EndCall);
    assert!(line.history().contains("so it goes on"));
    line.model_replies("Yes?", &[]);
    line.passes(10 * SECOND);
    assert!(line.ends().is_empty());
}

#[test]
fn a_hand_off_cancels_the_open_payment_first() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Give me a person");
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.passes(10 * SECOND);
    assert!(line.ends().is_empty());
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(update))] if update.change == Change::Cancel));
    line.twilio_answers(Answer::Accepted);
    let ends = line.ends();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(data.contains(r#""reasonCode":"live-agent-handoff""#) && data.contains("wants to pay"));
}

#[test]
fn the_person_who_takes_over_is_told_that_a_result_is_not_known() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_hands_off();
    line.model_replies("I connect you.", &[]);
    line.passes(10 * SECOND);
    let ends = line.ends();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(data.contains("wants to pay A payment was submitted, and its result was not known yet."), "{data}");
}

#[test]
fn a_hang_up_in_mid_card_cancels_the_payment_and_closes() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Hm");
    line.feed(Event::HungUp);
    assert_eq!(line.asked, None, "the model's stream is dropped");
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(_))]));
    assert!(!line.did.iter().any(|action| matches!(action, Action::Close)));
    line.twilio_answers(Answer::Gone);
    assert!(matches!(line.did.last(), Some(Action::Close)));
}

#[test]
fn a_payment_that_is_just_being_opened_when_the_caller_hangs_up_is_cancelled_too() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    line.feed(Event::HungUp);
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(update))] if update.sid == payment("PK1")));
    line.twilio_answers(Answer::Accepted);
    assert!(matches!(line.did.last(), Some(Action::Close)));
}

#[test]
fn a_call_that_ends_while_the_result_is_open_is_recorded_as_unresolved() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.feed(Event::HungUp);
    assert!(matches!(line.records().last(), Some(Entry::Unresolved { .. })));
    assert!(matches!(line.did.last(), Some(Action::Close)));
}

#[test]
fn a_call_whose_socket_broke_is_taken_up_where_it_was() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Is it working?");
    line.model_says("Yes, please ");
    let from = line.feed(Event::SocketLost);
    line.twilio_reports("PK1", &card("false", "security-code,expiration-date"));
    line.passes(RESUME - SECOND);
    assert_eq!((line.asked, line.said_since(from).as_str()), (None, ""), "nobody would hear it");
    line.feed(Event::Resumed);
    assert!(line.history().contains("the card number is in") && line.history().contains("connection was lost"));
    line.model_replies("Got your card.", &["capture-security-code"]);
    assert!(
        matches!(line.running.as_slice(), [(_, Tool::CaptureSecurityCode(update))] if update.sid == payment("PK1"))
    );
}

#[test]
fn a_call_that_is_taken_up_again_is_still_in_the_language_that_was_switched_to() {
    let mut line = Line::open();
    let mut switches_to = |arguments: &str| {
        line.caller_says("Another language, please");
        line.model_calls("switch-language", arguments);
        line.model(ModelEvent::Done);
        let (run, Tool::SwitchLanguage(languages)) = line.running.remove(0) else { panic!("a switch") };
        line.feed(Event::ToolFinished { run, outcome: Outcome::Send(Outgoing::Language(languages)) });
        line.model_replies("Here we go.", &[]);
    };
    switches_to(r#"{"ttsLanguage":"en-AU"}"#);
    switches_to(r#"{"transcriptionLanguage":"en-AU"}"#);
    line.passes(5 * SECOND);
    line.feed(Event::SocketLost);
    let from = line.feed(Event::Resumed);
    let [Action::Say(Outgoing::Language(languages))] = &line.did[from..] else { panic!("one frame") };
    let both = Languages::Both { tts_language: "en-AU".to_owned(), transcription_language: "en-AU".to_owned() };
    assert_eq!(*languages, both);
}

#[test]
fn a_call_that_was_quiet_when_its_socket_broke_stays_quiet() {
    let mut line = Line::open();
    line.caller_says("Hello");
    line.model_replies("Hi.", &[]);
    line.passes(5 * SECOND);
    line.feed(Event::SocketLost);
    let from = line.feed(Event::Resumed);
    assert_eq!(line.did.len(), from);
    line.caller_says("Are you there?");
    assert!(line.asked.is_some());
}

#[test]
fn a_call_whose_socket_does_not_come_back_ends_as_a_hang_up_does() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.feed(Event::SocketLost);
    line.passes(RESUME + SECOND);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(_))]));
    line.twilio_answers(Answer::Accepted);
    assert!(matches!(line.did.last(), Some(Action::Close)));
}
