//! Silence detection, closings, hand-offs, hang-ups and lost sockets.

use super::*;

#[test]
fn noise_during_a_hand_off_does_not_stop_it() {
    let mut call = TestCall::start();
    call.caller_says("Give me a person");
    call.model_hands_off();
    call.model_replies("I connect you.", &[]);
    call.caller_interrupts("I");
    call.advance(4 * SECOND);
    assert!(call.pending_request.is_some() && call.history().contains("A noise cut off your last words"));
    call.model_replies("I connect you now.", &[]);
    call.advance(10 * SECOND);
    assert!(matches!(call.end_frames().as_slice(), [Some(_)]));
}

#[test]
fn courtesy_over_the_goodbye_does_not_take_it_back() {
    for words in ["Okay.", "Thank you, goodbye.", "Danke, tschüss!", "Gracias."] {
        let mut call = TestCall::start();
        call.caller_says("That is all");
        call.model_replies("Goodbye then.", &["end-call"]);
        call.caller_says(words);
        assert_eq!(call.pending_request, None, "{words}");
        call.advance(10 * SECOND);
        assert_eq!(call.end_frames(), [None], "{words}");
    }
}

#[test]
fn courtesy_that_interrupts_the_goodbye_ends_the_call_at_once() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("Goodbye then, have a nice day.", &["end-call"]);
    call.caller_interrupts("Goodbye");
    assert!(call.end_frames().is_empty(), "the caller's words are not known yet");
    call.caller_says("Thanks, bye");
    assert_eq!((call.end_frames(), call.pending_request), (vec![None], None));
}

#[test]
fn courtesy_that_interrupts_a_streaming_goodbye_ends_the_call() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("", &["end-call"]);
    call.model_says("Goodbye then, ");
    call.caller_interrupts("Goodbye");
    assert_eq!(call.pending_request, None);
    call.caller_says("Bye");
    assert_eq!((call.end_frames(), call.pending_request), (vec![None], None));
}

#[test]
fn courtesy_before_the_goodbye_does_not_replace_it() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("", &["end-call"]);
    call.caller_says("Okay");
    call.model_replies("Goodbye then.", &[]);
    call.advance(10 * SECOND);
    assert_eq!((call.end_frames(), call.said_since(0)), (vec![None], "Goodbye then.".to_owned()));
}

#[test]
fn courtesy_during_a_hand_off_announcement_does_not_stop_it() {
    for interrupted in [false, true] {
        let mut call = TestCall::start();
        call.caller_says("Give me a person");
        call.model_hands_off();
        call.model_replies("I connect you.", &[]);
        if interrupted {
            call.caller_interrupts("I");
        }
        call.caller_says("Okay, thank you");
        call.advance(10 * SECOND);
        assert!(matches!(call.end_frames().as_slice(), [Some(_)]), "{interrupted}");
    }
}

#[test]
fn more_than_courtesy_takes_the_end_back() {
    for words in ["Okay, but wait", "Thank you very much, one more question", "Okay?", "No", "Hello"] {
        let mut call = TestCall::start();
        call.caller_says("That is all");
        call.model_replies("Goodbye then.", &["end-call"]);
        call.caller_interrupts("Goodbye");
        call.caller_says(words);
        assert!(call.pending_request.is_some() && call.history().contains("so it goes on"), "{words}");
    }
}

#[test]
fn courtesy_without_a_goodbye_is_answered() {
    let mut call = TestCall::start();
    call.caller_says("Okay, thank you");
    assert!(call.pending_request.is_some());
}

#[test]
fn nothing_takes_back_the_hand_off_of_a_call_whose_model_is_down() {
    for interrupted in [false, true] {
        let mut call = TestCall::start();
        for _ in 0..3 {
            call.caller_says("Hello?");
            call.model_emits(ModelEvent::Failed);
        }
        if interrupted {
            call.caller_interrupts("One");
        }
        call.caller_says("No wait, I want to pay");
        call.receive_frame(r#"{"type":"dtmf","digit":"1"}"#);
        call.advance(10 * SECOND);
        assert_eq!(call.pending_request, None);
        let ends = call.end_frames();
        assert!(matches!(ends.as_slice(), [Some(data)] if data.contains("model-unavailable")), "{ends:?}");
    }
}

#[test]
fn a_call_without_its_agent_is_handed_to_a_person_whatever_the_caller_says() {
    for welcome_greeting in [None, Some("Hello.".to_owned())] {
        let mut call = TestCall::start_with(CallSettings { has_agent: false, welcome_greeting, ..settings() });
        assert_eq!(call.said_since(0), settings().messages.hand_off);
        call.caller_interrupts("");
        call.caller_says("Wait, I want to pay");
        call.caller_presses("1#");
        call.advance(60 * SECOND);
        let ended = call.end_frames();
        let [Some(data)] = ended.as_slice() else { panic!("{ended:?}") };
        assert!(data.contains(r#""reasonCode":"agent-unavailable""#), "{data}");
        let asked = call.actions.iter().any(|action| matches!(action, Action::AskModel(_)));
        assert!(!asked, "the model is never asked");
    }
}

#[test]
fn silence_detection_pauses_while_a_payment_is_open() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    let from = call.advance(STALL_TIMEOUT - SECOND);
    assert_eq!(call.said_since(from), "");
    call.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    call.model_replies("Cancelled.", &[]);
    let from = call.advance(SILENCE_THRESHOLD - SECOND);
    assert_eq!(call.said_since(from), "");
    let from = call.advance(5 * SECOND);
    assert_eq!(call.said_since(from), "Still there?");
}

#[test]
fn silence_returns_to_what_it_was_whatever_the_model_forgets() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Hm");
    call.model_calls("set-silence-detection", r#"{"enabled":false}"#);
    call.model_emits(ModelEvent::Completed);
    call.model_replies("Yes?", &[]);
    call.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    call.model_replies("Cancelled.", &[]);
    let from = call.advance(SILENCE_THRESHOLD + 15 * SECOND);
    assert_eq!(call.said_since(from), "Still there?");
}

#[test]
fn a_silent_caller_is_reminded_and_in_the_end_the_call_ends() {
    let mut call = TestCall::start();
    let from = call.advance(5 * SILENCE_THRESHOLD);
    assert_eq!(call.said_since(from), format!("Still there?Hello?{GOODBYE}"));
    assert_eq!(call.end_frames(), [None]);
}

#[test]
fn the_agents_speech_and_response_time_are_not_silence() {
    let mut call = TestCall::start();
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    call.advance(SECOND);
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    call.caller_says("Tell me a long story");
    let from = call.advance(2 * SILENCE_THRESHOLD);
    call.model_replies("Once upon a time.", &[]);
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    call.advance(SILENCE_THRESHOLD / 2);
    assert_eq!(call.said_since(from), "Once upon a time.");
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    let from = call.advance(SILENCE_THRESHOLD - SECOND);
    assert_eq!(call.said_since(from), "");
}

#[test]
fn end_is_sent_after_the_goodbye_was_heard() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("", &["end-call"]);
    call.model_replies("Have a nice day.", &[]);
    assert!(call.end_frames().is_empty(), "the goodbye is still being spoken");
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    assert_eq!(call.end_frames(), [None]);
}

#[test]
fn a_goodbye_in_the_response_with_end_call_is_the_last_one() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("Goodbye then.", &["end-call"]);
    assert_eq!(call.pending_request, None);
    call.advance(10 * SECOND);
    assert_eq!(call.end_frames(), [None]);
}

#[test]
fn a_caller_who_interrupts_the_goodbye_keeps_the_call() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("Goodbye then.", &["end-call"]);
    call.caller_interrupts("Goodbye");
    call.caller_says("No wait");
    assert!(call.history().contains("so it goes on"));
    call.model_replies("Yes?", &[]);
    call.advance(10 * SECOND);
    assert!(call.end_frames().is_empty());
}

#[test]
fn a_caller_who_speaks_over_the_goodbye_keeps_the_call() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("Goodbye then.", &["end-call"]);
    call.caller_says("No wait");
    assert!(call.history().contains("so it goes on"));
    call.model_replies("Yes?", &[]);
    call.advance(10 * SECOND);
    assert!(call.end_frames().is_empty());
}

#[test]
fn a_call_that_is_closing_ends_once_its_socket_is_back() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_replies("Goodbye then.", &["end-call"]);
    call.feed(CallEvent::SocketLost);
    call.advance(10 * SECOND);
    assert!(call.end_frames().is_empty(), "end cannot be sent without a socket");
    call.feed(CallEvent::SocketResumed);
    assert_eq!((call.end_frames(), call.pending_request), (vec![None], None));
}

#[test]
fn a_hand_off_cancels_the_open_payment_first() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Give me a person");
    call.model_hands_off();
    call.model_replies("I connect you.", &[]);
    call.advance(10 * SECOND);
    assert!(call.end_frames().is_empty());
    assert!(call.only_update("cancel-capture").is_some_and(|update| update.action == UpdateAction::Cancel));
    call.twilio_answers(TwilioResponse::Accepted);
    let ends = call.end_frames();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(data.contains(r#""reasonCode":"live-agent-handoff""#) && data.contains("wants to pay"));
}

#[test]
fn a_hand_off_during_a_submission_mentions_the_unknown_result() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_hands_off();
    call.model_replies("I connect you.", &[]);
    call.advance(10 * SECOND);
    let ends = call.end_frames();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(data.contains("wants to pay A payment was submitted, and its result was not known yet."), "{data}");
}

#[test]
fn a_hang_up_during_a_capture_cancels_the_payment_and_closes_the_call() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Hm");
    call.feed(CallEvent::HungUp);
    assert_eq!(call.pending_request, None, "the model request is cancelled");
    assert!(call.only_update("cancel-capture").is_some());
    assert!(!call.actions.iter().any(|action| matches!(action, Action::Close)));
    call.twilio_answers(TwilioResponse::Gone);
    assert!(matches!(call.actions.last(), Some(Action::Close)));
}

#[test]
fn a_hang_up_during_the_create_request_cancels_the_payment() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("", &["start-capture"]);
    call.feed(CallEvent::HungUp);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(call.only_update("cancel-capture").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(matches!(call.actions.last(), Some(Action::Close)));
}

#[test]
fn a_call_that_ends_without_the_result_is_recorded_as_unresolved() {
    let mut call = TestCall::start();
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.feed(CallEvent::HungUp);
    assert!(matches!(call.ledger_entries().last(), Some(PaymentLogEntry::Unresolved { .. })));
    assert!(matches!(call.actions.last(), Some(Action::Close)));
}

#[test]
fn a_resumed_call_continues_where_it_was() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Is it working?");
    call.model_says("Yes, please ");
    let from = call.feed(CallEvent::SocketLost);
    call.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    call.advance(RESUME_TIMEOUT - SECOND);
    assert_eq!((call.pending_request, call.said_since(from).as_str()), (None, ""), "nothing is sent without a socket");
    call.feed(CallEvent::SocketResumed);
    assert!(call.history().contains("the card number is in") && call.history().contains("connection was lost"));
    call.model_replies("Got your card.", &["capture-security-code"]);
    assert!(call.only_update("capture-security-code").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
}

#[test]
fn a_resumed_call_keeps_its_language() {
    let mut call = TestCall::start();
    let mut switches_to = |arguments: &str| {
        call.caller_says("Another language, please");
        call.model_calls("switch-language", arguments);
        call.model_emits(ModelEvent::Completed);
        call.model_replies("Here we go.", &[]);
    };
    switches_to(r#"{"ttsLanguage":"en-AU"}"#);
    switches_to(r#"{"transcriptionLanguage":"en-AU"}"#);
    call.advance(5 * SECOND);
    call.feed(CallEvent::SocketLost);
    let from = call.feed(CallEvent::SocketResumed);
    let [Action::SendFrame(OutgoingFrame::Language(languages))] = &call.actions[from..] else { panic!("one frame") };
    let both = LanguageSwitch::Both { tts_language: "en-AU".to_owned(), transcription_language: "en-AU".to_owned() };
    assert_eq!(*languages, both);
}

#[test]
fn a_resumed_call_without_open_work_stays_silent() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call.model_replies("Hi.", &[]);
    call.advance(5 * SECOND);
    call.feed(CallEvent::SocketLost);
    let from = call.feed(CallEvent::SocketResumed);
    assert_eq!(call.actions.len(), from);
    call.caller_says("Are you there?");
    assert!(call.pending_request.is_some());
}

#[test]
fn a_call_that_is_not_resumed_ends_like_a_hang_up() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.feed(CallEvent::SocketLost);
    call.advance(RESUME_TIMEOUT + SECOND);
    assert!(call.only_update("cancel-capture").is_some());
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(matches!(call.actions.last(), Some(Action::Close)));
}

#[test]
fn the_hand_off_data_holds_every_argument_of_the_model() {
    let mut call = TestCall::start();
    call.caller_says("Give me a person");
    call.model_calls(
        "live-agent-handoff",
        r#"{"callSid":"CA9","reason":"asked","conversationSummary":"Wants to pay.","mood":"angry","card":"4242 4242 4242 4242"}"#,
    );
    call.model_emits(ModelEvent::Completed);
    call.model_replies("I connect you.", &[]);
    call.advance(10 * SECOND);
    let ends = call.end_frames();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    let expected = r#"{"reasonCode":"live-agent-handoff","reason":"asked","conversationSummary":"Wants to pay.","arguments":{"card":"[digits removed]","mood":"angry"}}"#;
    assert_eq!(data, expected);
    let ending = call.inner.take_ending();
    assert_eq!((ending.reason, ending.handoff_data.unwrap().reveal().as_str()), (Some("hand-off"), expected));
}

#[test]
fn what_end_call_writes_down_is_kept_even_if_the_caller_hangs_up_first() {
    for hangs_up in [false, true] {
        let mut call = TestCall::start();
        call.caller_says("That is all");
        call.model_says("Goodbye then.");
        call.model_calls("end-call", r#"{"conversationSummary":"All is paid.","score":5}"#);
        call.model_emits(ModelEvent::Completed);
        if !hangs_up {
            call.advance(10 * SECOND);
        }
        call.feed(CallEvent::HungUp);
        let ending = call.inner.take_ending();
        assert_eq!(ending.reason, (!hangs_up).then_some("agent-ended"));
        assert_eq!(ending.notes.summary.reveal(), "All is paid.");
        assert_eq!(ending.notes.arguments.reveal()["score"], 5);
        assert!(ending.handoff_data.is_none());
    }
}

#[test]
fn a_call_that_goes_on_forgets_what_end_call_wrote_down() {
    let mut call = TestCall::start();
    call.caller_says("That is all");
    call.model_says("Goodbye then.");
    call.model_calls("end-call", r#"{"conversationSummary":"All is paid."}"#);
    call.model_emits(ModelEvent::Completed);
    call.caller_says("No wait");
    call.feed(CallEvent::HungUp);
    let ending = call.inner.take_ending();
    assert!(ending.reason.is_none() && ending.notes.summary.reveal().is_empty());
}
