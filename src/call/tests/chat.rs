//! A call without a telephone, as a chat over `/conversation` uses it.

use super::*;
use crate::redact::Private;

fn start_chat() -> TestCall {
    let silence = SilenceSettings { enabled: false, ..settings().silence };
    TestCall::start_with(CallSettings { has_telephone: false, welcome_greeting: None, silence, ..settings() })
}

#[test]
fn a_chat_has_no_greeting_and_no_reminders() {
    let mut call = start_chat();
    assert!(call.actions.is_empty() && call.inner.is_idle());
    call.advance(SILENCE_THRESHOLD * 10);
    assert!(call.actions.is_empty());
    call.caller_says("Hello");
    assert!(!call.inner.is_idle());
    call.model_replies("Hi.", &[]);
    assert!(call.inner.is_idle());
    call.advance(SILENCE_THRESHOLD * 10);
    assert_eq!(call.said_since(0), "Hi.");
}

#[test]
fn no_tool_that_needs_a_telephone_is_run() {
    let mut call = start_chat();
    for name in ToolSpec::names().into_iter().filter(|name| *name != "change-context") {
        call.caller_says("Please");
        call.model_calls(name, ALL_TOOL_ARGUMENTS);
        call.model_emits(ModelEvent::Completed);
        assert!(call.running_tools.is_empty(), "{name}");
        assert!(call.history().lines().last().unwrap().contains("only during a phone call"), "{name}");
        call.model_replies("I cannot do that here.", &[]);
        assert!(call.inner.is_idle(), "{name}");
    }
    assert!(call.end_frames().is_empty() && call.ledger_entries().is_empty());
}

#[test]
fn a_model_failure_in_a_chat_sends_nothing() {
    let mut call = start_chat();
    for _ in 0..5 {
        call.caller_says("Hello");
        call.model_emits(ModelEvent::Failed);
        assert!(call.inner.is_idle());
    }
    assert!(call.said_since(0).is_empty() && call.end_frames().is_empty());
}

#[test]
fn an_instruction_is_a_developer_message_and_starts_a_response() {
    let mut call = start_chat();
    call.feed(CallEvent::OperatorMessage(Private::new("Be brief. Not 4242 4242 4242 4242.".to_owned())));
    assert_eq!(call.history().lines().last(), Some("developer: Be brief. Not [digits removed]."));
    call.model_replies("Aye.", &[]);
    call.feed(CallEvent::OperatorMessage(Private::new("  ".to_owned())));
    assert!(call.inner.is_idle());
}

#[test]
fn an_interrupted_chat_response_is_not_resumed() {
    let mut call = start_chat();
    call.caller_says("Tell me a story");
    call.model_says("Once upon a time");
    call.caller_interrupts("Once upon");
    assert_eq!(call.pending_request, None);
    call.caller_says("Enough");
    assert!(call.history().ends_with("agent: Once upon\ncaller: Enough\n"), "{}", call.history());
}
