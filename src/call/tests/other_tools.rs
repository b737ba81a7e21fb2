//! Keypad input outside of payments, and the tools that do not concern payments.

use super::*;

fn press_keys(call: &mut TestCall, keys: &str) -> usize {
    let from = call.actions.len();
    for key in keys.chars() {
        call.receive_frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
    }
    from
}

#[test]
fn keys_outside_a_payment_are_one_input_after_hash_a_length_or_a_pause() {
    let with_pause = CallSettings { keypad: KeypadSettings { max_digits: 4, pause: 3 * SECOND }, ..settings() };
    let mut call = TestCall::start_with(with_pause);
    press_keys(&mut call, "12#");
    assert!(call.history().ends_with("caller: [on the keypad] 12\n"));
    call.model_replies("Twelve.", &[]);
    let from = press_keys(&mut call, "345");
    assert_eq!(call.actions.len(), from);
    call.advance(4 * SECOND);
    assert!(call.history().ends_with("caller: [on the keypad] 345\n"));
    call.model_replies("Three four five.", &[]);
    press_keys(&mut call, "6789");
    assert!(call.history().ends_with("caller: [on the keypad] 6789\n"));
    call.model_replies("Thank you.", &["start-capture"]);
    press_keys(&mut call, "1");
    call.advance(4 * SECOND);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(!call.history().contains("keypad] 1\n"), "keys are dropped while a payment is open");
}

#[test]
fn a_card_number_keyed_outside_a_payment_is_redacted() {
    let mut call =
        TestCall::start_with(CallSettings { keypad: KeypadSettings { max_digits: 20, pause: SECOND }, ..settings() });
    press_keys(&mut call, "4242424242424242#");
    assert!(call.history().ends_with("caller: [on the keypad] [digits removed]\n"));
}

#[test]
fn tones_recordings_and_languages_go_out_after_what_was_said() {
    let mut call = TestCall::start();
    call.caller_says("Dial for me");
    call.model_says("One moment.");
    call.model_calls("send-dtmf", r#"{"digits":"1w2#"}"#);
    assert_eq!(call.said_since(0), "One moment.");
    assert!(matches!(call.actions.last(), Some(Action::SendFrame(OutgoingFrame::SendDigits { .. }))));
    call.model_emits(ModelEvent::Completed);
    assert!(call.history().contains(r#""success":true"#));
}

#[test]
fn messages_go_to_the_caller_or_to_whom_the_operator_allows() {
    for (to, recipient) in [
        ("", Some("+14155550100")),
        (r#""to":"+14155550100","#, Some("+14155550100")),
        (r#""to":"+14155550199","#, Some("+14155550199")),
        (r#""to":"+14155550111","#, None),
    ] {
        let mut call = TestCall::start();
        call.caller_says("Send me a receipt");
        call.model_calls("send-sms", &format!(r#"{{{to}"message":"Paid with 4242424242424242."}}"#));
        call.model_emits(ModelEvent::Completed);
        match (call.running_tools.pop(), recipient) {
            (Some((run, Tool::SendSms { to, body })), Some(recipient)) => {
                assert_eq!((to.as_str(), body.reveal().as_str()), (recipient, "Paid with [digits removed]."));
                call.feed(CallEvent::ToolFinished { run, outcome: ToolOutcome::Sms(Ok(())) });
                assert!(call.history().contains("Do not send it again"));
            }
            (None, None) => assert!(call.history().contains("only to the number of this call")),
            (ran, _) => panic!("{to}: {ran:?}"),
        }
    }
}

#[test]
fn no_dtmf_is_sent_while_a_payment_is_open() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Press one");
    call.model_calls("send-dtmf", r#"{"digits":"1"}"#);
    call.model_emits(ModelEvent::Completed);
    assert!(call.running_tools.is_empty() && call.history().contains("no tones can be sent"));
}

#[test]
fn an_agent_that_only_listens_says_nothing_and_its_tools_run() {
    let mut call = TestCall::start_with(CallSettings { listen_only: true, ..settings() });
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["set-listen-mode"]);
    call.model_emits(ModelEvent::Failed);
    call.advance(3 * SILENCE_THRESHOLD);
    assert_eq!(call.said_since(0), "");
    call.caller_says("Hello?");
    call.model_calls("set-listen-mode", r#"{"enabled":false}"#);
    call.model_emits(ModelEvent::Completed);
    call.model_replies("Here I am.", &[]);
    assert_eq!(call.said_since(0), "Here I am.");
}

#[test]
fn change_context_keeps_the_summary_and_is_refused_while_a_payment_is_open() {
    let mut call = TestCall::start();
    let asks = |call: &mut TestCall| {
        call.caller_says("About my order");
        call.model_calls("change-context", r#"{"contextKey":"orders","summary":"Wants to know of an order."}"#);
        call.model_emits(ModelEvent::Completed);
    };
    asks(&mut call);
    let (run, Tool::ChangeContext { keys, .. }) = call.running_tools.remove(0) else { panic!() };
    assert_eq!((keys.context.as_deref(), keys.manifest.as_deref()), (Some("orders"), None));
    let from = call.feed(CallEvent::ToolFinished { run, outcome: ToolOutcome::Context(Ok(keys.clone())) });
    assert!(matches!(&call.actions[from..], [Action::ChangeContext(taken), Action::AskModel(_)] if *taken == keys));
    assert!(call.history().contains("The call so far: Wants to know of an order."));
    call.model_replies("Which one?", &[]);

    asks(&mut call);
    let refusal = ToolOutcome::Context(Err("there is no context orders".to_owned()));
    let from = call.tool_answers(refusal);
    assert!(!call.actions[from..].iter().any(|action| matches!(action, Action::ChangeContext(_))));
    call.model_replies("I cannot help with that.", &[]);

    call.reach_card_number("PK1");
    asks(&mut call);
    assert!(call.running_tools.is_empty() && call.history().contains("then change the context"));
}
