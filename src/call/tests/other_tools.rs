//! Keypad input outside of payments, and the tools that do not concern payments.

use super::*;

fn press_keys(line: &mut TestCall, keys: &str) -> usize {
    let from = line.actions.len();
    for key in keys.chars() {
        line.receive_frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
    }
    from
}

#[test]
fn keys_outside_a_payment_are_one_input_after_hash_a_length_or_a_pause() {
    let with_pause = CallSettings { keypad: KeypadSettings { max_digits: 4, pause: 3 * SECOND }, ..settings() };
    let mut line = TestCall::start_with(with_pause);
    press_keys(&mut line, "12#");
    assert!(line.history().ends_with("caller: [on the keypad] 12\n"));
    line.model_replies("Twelve.", &[]);
    let from = press_keys(&mut line, "345");
    assert_eq!(line.actions.len(), from);
    line.advance(4 * SECOND);
    assert!(line.history().ends_with("caller: [on the keypad] 345\n"));
    line.model_replies("Three four five.", &[]);
    press_keys(&mut line, "6789");
    assert!(line.history().ends_with("caller: [on the keypad] 6789\n"));
    line.model_replies("Thank you.", &["start-capture"]);
    press_keys(&mut line, "1");
    line.advance(4 * SECOND);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(!line.history().contains("keypad] 1\n"), "keys are dropped while a payment is open");
}

#[test]
fn a_card_number_keyed_outside_a_payment_is_redacted() {
    let mut line =
        TestCall::start_with(CallSettings { keypad: KeypadSettings { max_digits: 20, pause: SECOND }, ..settings() });
    press_keys(&mut line, "4242424242424242#");
    assert!(line.history().ends_with("caller: [on the keypad] [digits removed]\n"));
}

#[test]
fn tones_recordings_and_languages_go_out_after_what_was_said() {
    let mut line = TestCall::start();
    line.caller_says("Dial for me");
    line.model_says("One moment.");
    line.model_calls("send-dtmf", r#"{"digits":"1w2#"}"#);
    assert_eq!(line.said_since(0), "One moment.");
    assert!(matches!(line.actions.last(), Some(Action::SendFrame(OutgoingFrame::SendDigits { .. }))));
    line.model_emits(ModelEvent::Completed);
    assert!(line.history().contains(r#""success":true"#));
}

#[test]
fn messages_go_to_the_caller_or_to_whom_the_operator_allows() {
    for (to, recipient) in [
        ("", Some("+14155550100")),
        (r#""to":"+14155550100","#, Some("+14155550100")),
        (r#""to":"+14155550199","#, Some("+14155550199")),
        (r#""to":"+14155550111","#, None),
    ] {
        let mut line = TestCall::start();
        line.caller_says("Send me a receipt");
        line.model_calls("send-sms", &format!(r#"{{{to}"message":"Paid with 4242424242424242."}}"#));
        line.model_emits(ModelEvent::Completed);
        match (line.running_tools.pop(), recipient) {
            (Some((run, Tool::SendSms { to, body })), Some(recipient)) => {
                assert_eq!((to.as_str(), body.reveal().as_str()), (recipient, "Paid with [digits removed]."));
                line.feed(CallEvent::ToolFinished { run, outcome: ToolOutcome::Sms(Ok(())) });
                assert!(line.history().contains("Do not send it again"));
            }
            (None, None) => assert!(line.history().contains("only to the number of this call")),
            (ran, _) => panic!("{to}: {ran:?}"),
        }
    }
}

#[test]
fn no_dtmf_is_sent_while_a_payment_is_open() {
    let mut line = TestCall::start();
    line.reach_card_number("PK1");
    line.caller_says("Press one");
    line.model_calls("send-dtmf", r#"{"digits":"1"}"#);
    line.model_emits(ModelEvent::Completed);
    assert!(line.running_tools.is_empty() && line.history().contains("no tones can be sent"));
}

#[test]
fn an_agent_that_only_listens_says_nothing_and_its_tools_run() {
    let mut line = TestCall::start_with(CallSettings { listen_only: true, ..settings() });
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    line.model_replies("", &["set-listen-mode"]);
    line.model_emits(ModelEvent::Failed);
    line.advance(3 * SILENCE_THRESHOLD);
    assert_eq!(line.said_since(0), "");
    line.caller_says("Hello?");
    line.model_calls("set-listen-mode", r#"{"enabled":false}"#);
    line.model_emits(ModelEvent::Completed);
    line.model_replies("Here I am.", &[]);
    assert_eq!(line.said_since(0), "Here I am.");
}

#[test]
fn change_context_keeps_the_summary_and_is_refused_while_a_payment_is_open() {
    let mut line = TestCall::start();
    let asks = |line: &mut TestCall| {
        line.caller_says("About my order");
        line.model_calls("change-context", r#"{"contextKey":"orders","summary":"Wants to know of an order."}"#);
        line.model_emits(ModelEvent::Completed);
    };
    asks(&mut line);
    let (run, Tool::ChangeContext { keys, .. }) = line.running_tools.remove(0) else { panic!() };
    assert_eq!((keys.context.as_deref(), keys.manifest.as_deref()), (Some("orders"), None));
    let from = line.feed(CallEvent::ToolFinished { run, outcome: ToolOutcome::Context(Ok(keys.clone())) });
    assert!(matches!(&line.actions[from..], [Action::ChangeContext(taken), Action::AskModel(_)] if *taken == keys));
    assert!(line.history().contains("The call so far: Wants to know of an order."));
    line.model_replies("Which one?", &[]);

    asks(&mut line);
    let refusal = ToolOutcome::Context(Err("there is no context orders".to_owned()));
    let from = line.tool_answers(refusal);
    assert!(!line.actions[from..].iter().any(|action| matches!(action, Action::ChangeContext(_))));
    line.model_replies("I cannot help with that.", &[]);

    line.reach_card_number("PK1");
    asks(&mut line);
    assert!(line.running_tools.is_empty() && line.history().contains("then change the context"));
}
