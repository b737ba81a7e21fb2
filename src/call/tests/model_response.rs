//! Prompts, interrupts, tool calls and model failures.

use super::*;

#[test]
fn a_prompt_is_answered_token_by_token() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    assert_eq!(
        call.history().lines().skip(1).collect::<Vec<_>>(),
        [format!("agent: {GREETING}").as_str(), "caller: Hello"]
    );
    let from = call.actions.len();
    call.model_replies("Hi there, you.", &[]);
    assert_eq!(
        call.actions[from..].iter().map(|action| format!("{action:?}")).collect::<Vec<_>>(),
        [
            "SendFrame(Text(3 bytes, last: false))",
            "SendFrame(Text(7 bytes, last: false))",
            "SendFrame(Text(4 bytes, last: false))",
            "SendFrame(Text(0 bytes, last: true))"
        ]
    );
}

#[test]
fn what_a_caller_waits_for_answers_that_bring_nothing_adds_up() {
    let seconds = Duration::from_secs;
    let mut call = TestCall::start();
    call.caller_says("One");
    for (wait, waited) in [(3, 3), (2, 5)] {
        call.advance(seconds(wait));
        call.caller_says("Hello?");
        assert_eq!(call.last_request().waited, seconds(waited));
    }
    call.model_says("Yes? ");
    call.advance(seconds(1));
    call.caller_says("Two");
    assert_eq!(call.last_request().waited, Duration::ZERO, "an answer has begun");
    call.advance(seconds(4));
    call.model_emits(ModelEvent::Failed);
    call.caller_says("Three");
    assert_eq!(call.last_request().waited, Duration::ZERO, "the caller has heard that there is none");
}

#[test]
fn a_partial_prompt_starts_no_response() {
    let mut call = TestCall::start();
    for words in ["I want", "I want to"] {
        call.receive_frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","last":false}}"#));
    }
    assert!(call.actions.is_empty());
}

#[test]
fn a_new_prompt_cancels_the_response_and_keeps_the_sent_text() {
    let mut call = TestCall::start();
    call.caller_says("One");
    call.model_says("First reply ");
    let from = call.caller_says("Two");
    let kinds: Vec<_> = call.actions[from..].iter().map(|action| format!("{action:?}")).collect();
    assert!(
        matches!(kinds.as_slice(), [stop, close, ask] if stop == "StopModel" && close.contains("last: true") && ask.starts_with("AskModel"))
    );
    assert!(call.history().contains("agent: First reply \ncaller: Two"));
}

#[test]
fn without_an_interrupt_tokens_played_determines_the_history() {
    let mut call = TestCall::start();
    call.receive_frame(r#"{"type":"info","name":"tokensPlayed","value":"Welcome!"}"#);
    call.caller_says("One");
    call.model_says("First clause. Second clause.");
    call.receive_frame(r#"{"type":"info","name":"tokensPlayed","value":"First clause."}"#);
    call.caller_says("Two");
    assert!(call.history().contains("agent: First clause.\ncaller: Two"), "{}", call.history());
    call.receive_frame(r#"{"type":"info","name":"tokensPlayed","value":" Second"}"#);
    call.caller_says("Three");
    assert!(call.history().contains("agent: First clause. Second\ncaller: Two"), "{}", call.history());
}

#[test]
fn each_phase_of_a_response_is_an_item_that_keeps_its_phase() {
    let mut call = TestCall::start();
    call.caller_says("What do I owe?");
    call.model_emits(ModelEvent::MessagePhase(MessagePhase::Commentary));
    call.model_says("One moment. ");
    call.model_emits(ModelEvent::MessagePhase(MessagePhase::FinalAnswer));
    call.model_says("It is five dollars.");
    call.model_emits(ModelEvent::Completed);
    call.caller_interrupts("One moment. It is");
    call.caller_says("Thanks");
    let phases: Vec<_> = call
        .last_request()
        .input
        .iter()
        .filter_map(|item| match &**item {
            ConversationItem::Agent(message) => Some((message.text.as_str(), message.phase)),
            _ => None,
        })
        .collect();
    let expected =
        [(GREETING, None), ("One moment.", Some(MessagePhase::Commentary)), ("It is", Some(MessagePhase::FinalAnswer))];
    assert_eq!(phases, expected);
}

#[test]
fn the_text_after_a_tool_call_has_no_phase_of_a_message_before_it() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call.model_emits(ModelEvent::MessagePhase(MessagePhase::Commentary));
    call.model_says("One moment. ");
    call.model_calls("set-silence-detection", r#"{"enabled":true}"#);
    call.model_says("Done.");
    call.model_emits(ModelEvent::Completed);
    call.caller_says("Thanks");
    let phase_of = |text: &str| {
        call.last_request().input.iter().find_map(|item| match &**item {
            ConversationItem::Agent(message) if message.text == text => Some(message.phase),
            _ => None,
        })
    };
    assert_eq!(phase_of("One moment. "), Some(Some(MessagePhase::Commentary)));
    assert_eq!(phase_of("Done."), Some(None));
}

#[test]
fn after_an_interrupt_the_history_holds_the_heard_text() {
    let mut call = TestCall::start();
    call.caller_says("One");
    call.model_replies("This is a rather long answer.", &[]);
    call.caller_interrupts("This is a");
    call.caller_says("Stop");
    assert!(call.history().contains("agent: This is a\ncaller: Stop"), "{}", call.history());
}

#[test]
fn an_interrupt_after_the_key_that_caused_it_cuts_the_history() {
    let keypad = KeypadSettings { max_digits: 1, ..settings().keypad };
    let mut call = TestCall::start_with(CallSettings { keypad, ..settings() });
    call.caller_says("One");
    call.model_replies("This is a rather long answer.", &[]);
    call.receive_frame(r#"{"type":"dtmf","digit":"1"}"#);
    call.caller_interrupts("This is a");
    call.advance(4 * SECOND);
    assert!(call.history().contains("agent: This is a\ncaller: "), "{}", call.history());
}

#[test]
fn an_interrupt_after_earlier_keys_are_submitted_cuts_the_history() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_says("Let me see.");
    call.receive_frame(r#"{"type":"dtmf","digit":"1"}"#);
    call.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    call.model_emits(ModelEvent::Completed);
    assert!(call.inner.is_question_asked(), "the question submits the key that was pressed before it");
    call.caller_interrupts("Let me");
    call.caller_says("Stop");
    call.caller_says("Stop");
    let history = call.history();
    assert!(history.contains("agent: Let me\n") && !history.contains("see"), "{history}");
}

#[test]
fn an_interrupt_after_an_operator_message_cuts_the_history() {
    let mut call = TestCall::start();
    call.caller_says("One");
    call.model_replies("This is a rather long answer.", &[]);
    call.feed(CallEvent::OperatorMessage(crate::redact::Private::new("Be brief.".to_owned())));
    call.caller_interrupts("This is a");
    call.caller_says("Stop");
    assert!(call.history().contains("agent: This is a\ndeveloper: Be brief."), "{}", call.history());
}

#[test]
fn an_interrupt_of_the_first_utterance_removes_the_second() {
    let mut call = TestCall::start();
    call.caller_says("One");
    call.model_replies("Let me see.", &["set-silence-detection"]);
    call.model_replies("There it is.", &[]);
    call.caller_interrupts("Let me");
    call.caller_says("Stop");
    assert!(
        call.history().contains("agent: Let me\n") && !call.history().contains("There it is"),
        "{}",
        call.history()
    );
}

#[test]
fn a_running_tool_finishes_after_an_interrupt() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("One moment.", &["start-capture"]);
    call.caller_interrupts("One");
    let from = call.caller_says("Hurry");
    assert_eq!(call.actions.len(), from, "no model request before the tool has finished");
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    let history = call.history();
    let (output, prompt) = (history.find("output: ").unwrap(), history.find("caller: Hurry").unwrap());
    assert!(history.contains("The payment session is open") && output < prompt, "{history}");
}

#[test]
fn tool_calls_not_started_before_a_prompt_are_skipped() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("", &["start-capture", "capture-card"]);
    call.caller_says("Wait");
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(call.running_tools.is_empty());
    assert!(call.history().contains("so it was not done"), "{}", call.history());
}

#[test]
fn several_tool_calls_run_in_order_with_one_follow_up() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("", &["start-capture", "set-silence-detection", "capture-card"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    // set-silence-detection without its argument is answered at once, and capture-card is next.
    assert!(call.only_update("capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
    let from = call.twilio_answers(TwilioResponse::Accepted);
    assert_eq!(call.actions[from..].iter().filter(|action| matches!(action, Action::AskModel(_))).count(), 1);
}

#[test]
fn after_an_interrupt_by_noise_the_response_is_requested_again() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    call.model_says("Got your ");
    call.caller_interrupts("Got");
    assert_eq!(call.pending_request, None);
    call.advance(4 * SECOND);
    assert!(call.pending_request.is_some(), "the outstanding response is requested");
}

#[test]
fn after_three_model_failures_the_call_is_handed_off() {
    let mut call = TestCall::start();
    for words in [MODEL_UNAVAILABLE, MODEL_UNAVAILABLE, HAND_OFF] {
        call.caller_says("Hello?");
        let from = call.model_emits(ModelEvent::Failed);
        assert_eq!(call.said_since(from), words);
    }
    call.advance(10 * SECOND);
    assert!(matches!(call.end_frames().as_slice(), [Some(data)] if data.contains("model-unavailable")));
}

#[test]
fn an_empty_response_is_a_failure() {
    let mut call = TestCall::start();
    call.caller_says("Hello?");
    call.model_emits(ModelEvent::Completed);
    assert!(call.history().contains("Answer in words."), "it is asked again, once");
    let from = call.model_emits(ModelEvent::Completed);
    assert_eq!(call.said_since(from), MODEL_UNAVAILABLE);
}

#[test]
fn reasoning_is_kept_only_with_its_tool_call() {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let mut call = TestCall::start();
    call.caller_says("One");
    call.model_emits(ModelEvent::Reasoning(raw(r#"{"id":"rs_1"}"#)));
    call.model_replies("Hello.", &[]);
    call.caller_says("Two");
    assert!(!call.history().contains("rs_1"));
    call.model_emits(ModelEvent::Reasoning(raw(r#"{"id":"rs_2"}"#)));
    call.model_replies("", &["set-silence-detection"]);
    assert!(call.history().contains("reasoning: {\"id\":\"rs_2\"}\ncall: set-silence-detection"), "{}", call.history());
}

#[test]
fn a_model_that_only_calls_tools_is_stopped() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    for _ in 0..50 {
        if call.pending_request.is_some() {
            call.model_replies("", &["finish-capture"]);
        }
    }
    assert_eq!((call.pending_request, call.said_since(0)), (None, HAND_OFF.to_owned()));
}

fn raw(text: &str) -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string(text.to_owned()).unwrap()
}

#[test]
fn an_utterance_that_a_filter_refuses_is_left_out_for_the_rest_of_the_call() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call.model_replies("Hi.", &[]);
    call.caller_says("something rude");
    let from = call.model_emits(ModelEvent::InputRefused(InputRefusal::Content));
    assert!(call.pending_request.is_some(), "the model is asked again");
    assert_eq!(call.said_since(from), "");
    assert!(call.history().contains("Hello") && !call.history().contains("rude"), "{}", call.history());
    assert!(call.history().ends_with("in other words.\n"), "{}", call.history());
    call.model_replies("Sorry?", &[]);
    call.caller_says("Sorry, I meant to pay.");
    assert!(!call.history().contains("rude"));
}

#[test]
fn reasoning_that_a_server_refuses_is_not_sent_again() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call.model_emits(ModelEvent::Reasoning(raw(r#"{"id":"rs_1"}"#)));
    call.model_replies("", &["set-silence-detection"]);
    assert!(call.history().contains("rs_1"));
    call.model_emits(ModelEvent::InputRefused(InputRefusal::Reasoning));
    assert!(call.history().contains("Hello") && !call.history().contains("rs_1"), "{}", call.history());
    call.model_emits(ModelEvent::Reasoning(raw(r#"{"id":"rs_2"}"#)));
    call.model_replies("", &["set-silence-detection"]);
    assert!(!call.history().contains("rs_2"), "{}", call.history());
}

#[test]
fn a_conversation_that_is_too_long_loses_its_oldest_turns() {
    let mut call = TestCall::start();
    for words in ["One", "Two", "Three", "Four"] {
        call.caller_says(&format!("{words} {}", "blah ".repeat(200)));
        call.model_replies("Yes.", &[]);
    }
    call.caller_says("Five");
    call.model_emits(ModelEvent::InputRefused(InputRefusal::Length));
    let history = call.history();
    assert!(history.starts_with("developer: ") && history.ends_with("caller: Five\n"), "{history}");
    assert!(!history.contains("One") && history.contains("Four"), "{history}");
}

#[test]
fn input_that_is_refused_again_and_again_ends_in_an_apology() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    let mut from = 0;
    for _ in 0..2 {
        from = call.model_emits(ModelEvent::InputRefused(InputRefusal::Other));
    }
    assert_eq!((call.pending_request, call.said_since(from)), (None, MODEL_UNAVAILABLE.to_owned()));
}

#[test]
fn a_tool_call_that_is_delivered_again_runs_once() {
    let mut call = TestCall::start();
    let sms = || ToolCall::new("call_1".to_owned(), None, "send-sms".to_owned(), r#"{"message":"Hi"}"#);
    call.caller_says("Hello");
    call.model_emits(ModelEvent::ToolCall(sms()));
    call.model_emits(ModelEvent::Completed);
    call.tool_answers(ToolOutcome::Sms(Ok(())));
    call.model_emits(ModelEvent::ToolCall(sms()));
    call.model_emits(ModelEvent::Completed);
    assert!(call.running_tools.is_empty());
    let history = call.history();
    assert!(history.contains("output: call_again_1") && history.contains("is not run again"), "{history}");
    assert_eq!(history.matches("call: send-sms call_1").count(), 1, "{history}");
}

#[test]
fn what_the_caller_hears_in_place_of_the_model_is_reported() {
    let mut call = TestCall::start();
    for reported in [
        r#"Apology("the response failed")"#,
        r#"Apology("the response failed")"#,
        r#"HandOff("the model failed three times in a row")"#,
    ] {
        call.caller_says("Hello?");
        let from = call.model_emits(ModelEvent::Failed);
        let is_report = |action: &&Action| matches!(action, Action::ReportModelOutage(_));
        let reports: Vec<_> =
            call.actions[from..].iter().filter(is_report).map(|action| format!("{action:?}")).collect();
        assert_eq!(reports, [format!("ReportModelOutage({reported})")]);
    }
}

#[test]
fn blanks_before_a_tool_call_open_no_talk_cycle() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    let from = call.actions.len();
    call.model_says("\n\n");
    call.model_calls("set-silence-detection", r#"{"enabled":true}"#);
    call.model_emits(ModelEvent::Completed);
    let frames = call.actions[from..].iter().filter(|action| matches!(action, Action::SendFrame(_)));
    assert_eq!(frames.count(), 0);
    assert!(call.pending_request.is_some(), "the model is asked for words");
}

#[test]
fn markdown_is_not_spoken_and_the_history_holds_what_was_spoken() {
    let mut call = TestCall::start();
    call.caller_says("What is due?");
    let from = call.actions.len();
    call.model_replies("**Total:** $25.00 \u{1f389}\n- *Co-pay*\n- [Terms](https://example.com)", &[]);
    assert_eq!(call.said_since(from), "Total: $25.00 \nCo-pay.\nTerms.");
    call.caller_says("Thank you for that");
    assert!(call.history().contains("agent: Total: $25.00 \nCo-pay.\nTerms.\n"), "{}", call.history());
}

#[test]
fn mark_up_hides_no_card_number() {
    for hidden in ["4242**4242**4242**4242", "4242 <b>4242</b>\u{200b}4242[4242](x)", "&#52;242\\-4242-4242-4242"] {
        let mut call = TestCall::start();
        call.caller_says("Read it to me");
        let from = call.actions.len();
        call.model_replies(&format!("It is {hidden}, right?"), &[]);
        assert_eq!(call.said_since(from), "It is [digits removed], right?", "{hidden}");
    }
}

#[test]
fn two_texts_of_a_response_are_set_apart() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    let from = call.actions.len();
    call.model_says("One moment.");
    call.model_calls("set-silence-detection", r#"{"enabled":true}"#);
    call.model_replies("Done.", &[]);
    assert_eq!(call.said_since(from), "One moment. Done.");
}

#[test]
fn a_tool_output_that_a_filter_refuses_is_left_out_and_not_what_the_caller_said() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call.model_calls("set-silence-detection", r#"{"enabled":false}"#);
    call.model_emits(ModelEvent::Completed);
    assert!(call.history().contains("Silence detection"), "{}", call.history());
    call.model_emits(ModelEvent::InputRefused(InputRefusal::Content));
    let history = call.history();
    assert!(history.contains("Hello") && !history.contains("Silence detection"), "{history}");
    assert!(history.contains("its output was left out") && !history.contains("call_1"), "{history}");
    call.model_emits(ModelEvent::InputRefused(InputRefusal::Content));
    assert!(!call.history().contains("Hello"), "then the next suspect");
    call.model_emits(ModelEvent::Failed);
    call.caller_says("Well?");
    let history = call.history();
    assert!(history.contains("Hello") && history.contains("Silence detection"), "it did not help: {history}");
}

#[test]
fn what_was_left_out_stays_out_once_a_response_with_a_tool_call_shows_that_it_helped() {
    let mut call = TestCall::start();
    call.caller_says("something rude");
    call.model_emits(ModelEvent::InputRefused(InputRefusal::Content));
    call.model_calls("set-silence-detection", r#"{"enabled":false}"#);
    call.model_emits(ModelEvent::Completed);
    call.model_emits(ModelEvent::Failed);
    call.caller_says("Well?");
    assert!(!call.history().contains("rude"), "{}", call.history());
}

#[test]
fn what_is_put_back_has_no_part_of_a_card_number_that_was_completed_meanwhile() {
    let mut call = TestCall::start();
    call.caller_says("my card is 4242 4242");
    call.model_emits(ModelEvent::InputRefused(InputRefusal::Content));
    call.caller_says("4242 4242");
    call.model_emits(ModelEvent::Failed);
    call.caller_says("Well?");
    let history = call.history();
    assert!(history.contains("my card is") && !history.contains("4242"), "{history}");
}
