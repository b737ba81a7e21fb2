//! Talking: prompts, interruptions, tools, and a model that fails.

use super::*;

#[test]
fn a_prompt_is_answered_token_by_token() {
    let mut line = Line::open();
    line.caller_says("Hello");
    assert_eq!(
        line.history().lines().skip(1).collect::<Vec<_>>(),
        [format!("agent: {GREETING}").as_str(), "caller: Hello"]
    );
    let from = line.did.len();
    line.model_replies("Hi there, you.", &[]);
    assert_eq!(
        line.did[from..].iter().map(|action| format!("{action:?}")).collect::<Vec<_>>(),
        [
            "Say(Text(3 bytes, last: false))",
            "Say(Text(7 bytes, last: false))",
            "Say(Text(4 bytes, last: false))",
            "Say(Text(0 bytes, last: true))"
        ]
    );
}

#[test]
fn a_partial_prompt_never_starts_a_reply() {
    let mut line = Line::open();
    for words in ["I want", "I want to"] {
        line.frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","last":false}}"#));
    }
    assert!(line.did.is_empty());
}

#[test]
fn a_new_prompt_stops_the_reply_under_way_and_what_was_sent_stays() {
    let mut line = Line::open();
    line.caller_says("One");
    line.model_says("First reply ");
    let from = line.caller_says("Two");
    let kinds: Vec<_> = line.did[from..].iter().map(|action| format!("{action:?}")).collect();
    assert!(
        matches!(kinds.as_slice(), [stop, close, ask] if stop == "StopModel" && close.contains("last: true") && ask.starts_with("AskModel"))
    );
    assert!(line.history().contains("agent: First reply \ncaller: Two"));
}

#[test]
fn without_an_interrupt_what_twilio_reports_as_played_counts_and_may_still_grow() {
    let mut line = Line::open();
    line.frame(r#"{"type":"info","name":"tokensPlayed","value":"Welcome!"}"#);
    line.caller_says("One");
    line.model_says("First clause. Second clause.");
    line.frame(r#"{"type":"info","name":"tokensPlayed","value":"First clause."}"#);
    line.caller_says("Two");
    assert!(line.history().contains("agent: First clause.\ncaller: Two"), "{}", line.history());
    line.frame(r#"{"type":"info","name":"tokensPlayed","value":" Second"}"#);
    line.caller_says("Three");
    assert!(line.history().contains("agent: First clause. Second\ncaller: Two"), "{}", line.history());
}

#[test]
fn after_an_interrupt_the_history_holds_what_was_heard() {
    let mut line = Line::open();
    line.caller_says("One");
    line.model_replies("This is a rather long answer.", &[]);
    line.caller_interrupts("This is a");
    line.caller_says("Stop");
    assert!(line.history().contains("agent: This is a\ncaller: Stop"), "{}", line.history());
}

#[test]
fn an_interrupt_of_the_first_of_two_utterances_takes_both() {
    let mut line = Line::open();
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
fn a_tool_that_runs_when_the_caller_interrupts_is_finished_and_its_result_kept() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("One moment.", &["start-capture"]);
    line.caller_interrupts("One");
    let from = line.caller_says("Hurry");
    assert_eq!(line.did.len(), from, "the model is not asked before the tool has answered");
    line.twilio_answers(Answer::Created(payment("PK1")));
    let history = line.history();
    let (output, prompt) = (history.find("output: ").unwrap(), history.find("caller: Hurry").unwrap());
    assert!(history.contains("The payment session is open") && output < prompt, "{history}");
}

#[test]
fn calls_that_were_not_begun_when_the_caller_spoke_are_answered_as_not_run() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture", "capture-card"]);
    line.caller_says("Wait");
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(line.running.is_empty());
    assert!(line.history().contains("so it was not done"), "{}", line.history());
}

#[test]
fn several_calls_run_in_order_with_one_follow_up() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture", "set-silence-detection", "capture-card"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    // set-silence-detection without its argument is answered at once; capture-card is next.
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(update))] if update.sid == payment("PK1")));
    let from = line.twilio_answers(Answer::Accepted);
    assert_eq!(line.did[from..].iter().filter(|action| matches!(action, Action::AskModel(_))).count(), 1);
}

#[test]
fn noise_that_interrupts_does_not_leave_the_caller_in_silence() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &card("false", "security-code,expiration-date"));
    line.model_says("Got your ");
    line.caller_interrupts("Got");
    assert_eq!(line.asked, None);
    line.passes(4 * SECOND);
    assert!(line.asked.is_some(), "the agent takes up what it owes");
}

#[test]
fn a_model_that_fails_is_spoken_for_and_after_three_times_a_person_takes_over() {
    let mut line = Line::open();
    for words in [SORRY, SORRY, HAND_OFF] {
        line.caller_says("Hello?");
        let from = line.model(ModelEvent::Failed);
        assert_eq!(line.said_since(from), words);
    }
    line.passes(10 * SECOND);
    assert!(matches!(line.ends().as_slice(), [Some(data)] if data.contains("model-unavailable")));
}

#[test]
fn a_response_without_words_or_calls_is_a_failure() {
    let mut line = Line::open();
    line.caller_says("Hello?");
    let from = line.model(ModelEvent::Done);
    assert_eq!(line.said_since(from), SORRY);
}

#[test]
fn reasoning_travels_with_its_call_and_not_without() {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let mut line = Line::open();
    line.caller_says("One");
    line.model(ModelEvent::Reasoning(raw(r#"{"id":"rs_1"}"#)));
    line.model_replies("Hello.", &[]);
    line.caller_says("Two");
    assert!(!line.history().contains("rs_1"));
    line.model(ModelEvent::Reasoning(raw(r#"{"id":"rs_2"}"#)));
    line.model_replies("", &["set-silence-detection"]);
    assert!(line.history().contains("reasoning: {\"id\":\"rs_2\"}\ncall: set-silence-detection"), "{}", line.history());
}

#[test]
fn a_model_that_only_calls_tools_is_stopped_in_the_end() {
    let mut line = Line::open();
    line.caller_says("Hello");
    for _ in 0..50 {
        if line.asked.is_some() {
            line.model_replies("", &["refund"]);
        }
    }
    assert_eq!((line.asked, line.said_since(0)), (None, HAND_OFF.to_owned()));
}
