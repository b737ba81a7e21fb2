//! A call without a telephone: what a chat in writing relies on.

use super::*;
use crate::redact::Private;

fn chat() -> Line {
    let silence = Silence { enabled: false, ..settings().silence };
    Line::open_with(Settings { telephone: false, welcome_greeting: None, silence, ..settings() })
}

#[test]
fn nothing_is_said_before_somebody_says_something_nor_to_a_silence() {
    let mut line = chat();
    assert!(line.did.is_empty() && line.call.is_idle());
    line.passes(THRESHOLD * 10);
    assert!(line.did.is_empty());
    line.caller_says("Hello");
    assert!(!line.call.is_idle());
    line.model_replies("Hi.", &[]);
    assert!(line.call.is_idle());
    line.passes(THRESHOLD * 10);
    assert_eq!(line.said_since(0), "Hi.");
}

#[test]
fn no_tool_that_needs_a_telephone_is_run() {
    let mut line = chat();
    for name in TOOLS.iter().filter(|name| **name != "change-context") {
        line.caller_says("Please");
        line.model_calls(name, EVERY_ARGUMENT);
        line.model(ModelEvent::Done);
        assert!(line.running.is_empty(), "{name}");
        assert!(line.history().lines().last().unwrap().contains("only during a phone call"), "{name}");
        line.model_replies("I cannot do that here.", &[]);
        assert!(line.call.is_idle(), "{name}");
    }
    assert!(line.ends().is_empty() && line.records().is_empty());
}

#[test]
fn a_model_that_fails_says_nothing_and_hands_nobody_over() {
    let mut line = chat();
    for _ in 0..5 {
        line.caller_says("Hello");
        line.model(ModelEvent::Failed);
        assert!(line.call.is_idle());
    }
    assert!(line.said_since(0).is_empty() && line.ends().is_empty());
}

#[test]
fn an_instruction_is_the_developers_and_wakes_the_model() {
    let mut line = chat();
    line.feed(Event::Instructed(Private::new("Be brief. Not 4242 4242 4242 4242.".to_owned())));
    assert_eq!(line.history().lines().last(), Some("developer: Be brief. Not [digits removed]."));
    line.model_replies("Aye.", &[]);
    line.feed(Event::Instructed(Private::new("  ".to_owned())));
    assert!(line.call.is_idle());
}

#[test]
fn what_was_broken_off_is_not_taken_up_again_by_itself() {
    let mut line = chat();
    line.caller_says("Tell me a story");
    line.model_says("Once upon a time");
    line.caller_interrupts("Once upon");
    assert_eq!(line.asked, None);
    line.caller_says("Enough");
    assert!(line.history().ends_with("agent: Once upon\ncaller: Enough\n"), "{}", line.history());
}
