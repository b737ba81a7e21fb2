//! A call without a telephone, as a chat over `/conversation` uses it.

use super::*;
use crate::redact::Private;

fn start_chat() -> TestCall {
    let silence = SilenceSettings { enabled: false, ..settings().silence };
    TestCall::start_with(CallSettings { has_telephone: false, welcome_greeting: None, silence, ..settings() })
}

#[test]
fn a_chat_has_no_greeting_and_no_reminders() {
    let mut line = start_chat();
    assert!(line.actions.is_empty() && line.inner.is_idle());
    line.advance(SILENCE_THRESHOLD * 10);
    assert!(line.actions.is_empty());
    line.caller_says("Hello");
    assert!(!line.inner.is_idle());
    line.model_replies("Hi.", &[]);
    assert!(line.inner.is_idle());
    line.advance(SILENCE_THRESHOLD * 10);
    assert_eq!(line.said_since(0), "Hi.");
}

#[test]
fn no_tool_that_needs_a_telephone_is_run() {
    let mut line = start_chat();
    for name in ToolSpec::names().into_iter().filter(|name| *name != "change-context") {
        line.caller_says("Please");
        line.model_calls(name, ALL_TOOL_ARGUMENTS);
        line.model_emits(ModelEvent::Completed);
        assert!(line.running_tools.is_empty(), "{name}");
        assert!(line.history().lines().last().unwrap().contains("only during a phone call"), "{name}");
        line.model_replies("I cannot do that here.", &[]);
        assert!(line.inner.is_idle(), "{name}");
    }
    assert!(line.end_frames().is_empty() && line.ledger_entries().is_empty());
}

#[test]
fn a_model_failure_in_a_chat_sends_nothing() {
    let mut line = start_chat();
    for _ in 0..5 {
        line.caller_says("Hello");
        line.model_emits(ModelEvent::Failed);
        assert!(line.inner.is_idle());
    }
    assert!(line.said_since(0).is_empty() && line.end_frames().is_empty());
}

#[test]
fn an_instruction_is_a_developer_message_and_starts_a_response() {
    let mut line = start_chat();
    line.feed(CallEvent::OperatorMessage(Private::new("Be brief. Not 4242 4242 4242 4242.".to_owned())));
    assert_eq!(line.history().lines().last(), Some("developer: Be brief. Not [digits removed]."));
    line.model_replies("Aye.", &[]);
    line.feed(CallEvent::OperatorMessage(Private::new("  ".to_owned())));
    assert!(line.inner.is_idle());
}

#[test]
fn an_interrupted_chat_response_is_not_resumed() {
    let mut line = start_chat();
    line.caller_says("Tell me a story");
    line.model_says("Once upon a time");
    line.caller_interrupts("Once upon");
    assert_eq!(line.pending_request, None);
    line.caller_says("Enough");
    assert!(line.history().ends_with("agent: Once upon\ncaller: Enough\n"), "{}", line.history());
}
