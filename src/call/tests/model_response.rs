//! Prompts, interrupts, tool calls and model failures.

use super::*;

#[test]
fn a_prompt_is_answered_token_by_token() {
    let mut line = TestCall::start();
    line.caller_says("Hello");
    assert_eq!(
        line.history().lines().skip(1).collect::<Vec<_>>(),
        [format!("agent: {GREETING}").as_str(), "caller: Hello"]
    );
    let from = line.actions.len();
    line.model_replies("Hi there, you.", &[]);
    assert_eq!(
        line.actions[from..].iter().map(|action| format!("{action:?}")).collect::<Vec<_>>(),
        [
            "SendFrame(Text(3 bytes, last: false))",
            "SendFrame(Text(7 bytes, last: false))",
            "SendFrame(Text(4 bytes, last: false))",
            "SendFrame(Text(0 bytes, last: true))"
        ]
    );
}

#[test]
fn a_partial_prompt_starts_no_response() {
    let mut line = TestCall::start();
    for words in ["I want", "I want to"] {
        line.receive_frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","last":false}}"#));
    }
    assert!(line.actions.is_empty());
}

#[test]
fn a_new_prompt_cancels_the_response_and_keeps_the_sent_text() {
    let mut line = TestCall::start();
    line.caller_says("One");
    line.model_says("First reply ");
    let from = line.caller_says("Two");
    let kinds: Vec<_> = line.actions[from..].iter().map(|action| format!("{action:?}")).collect();
    assert!(
        matches!(kinds.as_slice(), [stop, close, ask] if stop == "StopModel" && close.contains("last: true") && ask.starts_with("AskModel"))
    );
    assert!(line.history().contains("agent: First reply \ncaller: Two"));
}

#[test]
fn without_an_interrupt_tokens_played_determines_the_history() {
    let mut line = TestCall::start();
    line.receive_frame(r#"{"type":"info","name":"tokensPlayed","value":"Welcome!"}"#);
    line.caller_says("One");
    line.model_says("First clause. Second clause.");
    line.receive_frame(r#"{"type":"info","name":"tokensPlayed","value":"First clause."}"#);
    line.caller_says("Two");
    assert!(line.history().contains("agent: First clause.\ncaller: Two"), "{}", line.history());
    line.receive_frame(r#"{"type":"info","name":"tokensPlayed","value":" Second"}"#);
    line.caller_says("Three");
    assert!(line.history().contains("agent: First clause. Second\ncaller: Two"), "{}", line.history());
}

#[test]
fn after_an_interrupt_the_history_holds_the_heard_text() {
    let mut line = TestCall::start();
    line.caller_says("One");
    line.model_replies("This is a rather long answer.", &[]);
    line.caller_interrupts("This is a");
    line.caller_says("Stop");
    assert!(line.history().contains("agent: This is a\ncaller: Stop"), "{}", line.history());
}

#[test]
fn an_interrupt_of_the_first_utterance_removes_the_second() {
    let mut line = TestCall::start();
    line.caller_says("One");
    line.model_replies("Let me see.", &["set-silence-detection"]);
    line.model_replies("There it is.", &[]);
    line.caller_interrupts("Let me");
    line.caller_says("Stop");
    assert!(
        line.history().contains("agent: Let me\n") && !line.history().contains("There it is"),
        "{}",
        line.history()
    );
}

#[test]
fn a_running_tool_finishes_after_an_interrupt() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("One moment.", &["start-capture"]);
    line.caller_interrupts("One");
    let from = line.caller_says("Hurry");
    assert_eq!(line.actions.len(), from, "no model request before the tool has finished");
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    let history = line.history();
    let (output, prompt) = (history.find("output: ").unwrap(), history.find("caller: Hurry").unwrap());
    assert!(history.contains("The payment session is open") && output < prompt, "{history}");
}

#[test]
fn tool_calls_not_started_before_a_prompt_are_skipped() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture", "capture-card"]);
    line.caller_says("Wait");
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(line.running_tools.is_empty());
    assert!(line.history().contains("so it was not done"), "{}", line.history());
}

#[test]
fn several_tool_calls_run_in_order_with_one_follow_up() {
    let mut line = TestCall::start();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture", "set-silence-detection", "capture-card"]);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    // set-silence-detection without its argument is answered at once, and capture-card is next.
    assert!(line.only_update("capture-card").is_some_and(|update| update.payment_sid == payment_sid("PK1")));
    let from = line.twilio_answers(TwilioResponse::Accepted);
    assert_eq!(line.actions[from..].iter().filter(|action| matches!(action, Action::AskModel(_))).count(), 1);
}

#[test]
fn after_an_interrupt_by_noise_the_response_is_requested_again() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.twilio_reports("PK1", &card_callback("false", "security-code,expiration-date"));
    line.model_says("Got your ");
    line.caller_interrupts("Got");
    assert_eq!(line.pending_request, None);
    line.advance(4 * SECOND);
    assert!(line.pending_request.is_some(), "the outstanding response is requested");
}

#[test]
fn after_three_model_failures_the_call_is_handed_off() {
    let mut line = TestCall::start();
    for words in [MODEL_UNAVAILABLE, MODEL_UNAVAILABLE, HAND_OFF] {
        line.caller_says("Hello?");
        let from = line.model_emits(ModelEvent::Failed);
        assert_eq!(line.said_since(from), words);
    }
    line.advance(10 * SECOND);
    assert!(matches!(line.end_frames().as_slice(), [Some(data)] if data.contains("model-unavailable")));
}

#[test]
fn an_empty_response_is_a_failure() {
    let mut line = TestCall::start();
    line.caller_says("Hello?");
    let from = line.model_emits(ModelEvent::Completed);
    assert_eq!(line.said_since(from), MODEL_UNAVAILABLE);
}

#[test]
fn reasoning_is_kept_only_with_its_tool_call() {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let mut line = TestCall::start();
    line.caller_says("One");
    line.model_emits(ModelEvent::Reasoning(raw(r#"{"id":"rs_1"}"#)));
    line.model_replies("Hello.", &[]);
    line.caller_says("Two");
    assert!(!line.history().contains("rs_1"));
    line.model_emits(ModelEvent::Reasoning(raw(r#"{"id":"rs_2"}"#)));
    line.model_replies("", &["set-silence-detection"]);
    assert!(line.history().contains("reasoning: {\"id\":\"rs_2\"}\ncall: set-silence-detection"), "{}", line.history());
}

#[test]
fn a_model_that_only_calls_tools_is_stopped() {
    let mut line = TestCall::start();
    line.caller_says("Hello");
    for _ in 0..50 {
        if line.pending_request.is_some() {
            line.model_replies("", &["refund"]);
        }
    }
    assert_eq!((line.pending_request, line.said_since(0)), (None, HAND_OFF.to_owned()));
}
