//! Keys outside payments, and the tools that take no payment.

use super::*;

fn key(line: &mut Line, keys: &str) -> usize {
    let from = line.did.len();
    for key in keys.chars() {
        line.frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
    }
    from
}

#[test]
fn keys_outside_a_payment_are_one_input_after_hash_a_length_or_a_pause() {
    let with_pause = Settings { keypad: Keypad { max_digits: 4, pause: 3 * SECOND }, ..settings() };
    let mut line = Line::open_with(with_pause);
    key(&mut line, "12#");
    assert!(line.history().ends_with("caller: [on the keypad] 12\n"));
    line.model_replies("Twelve.", &[]);
    let from = key(&mut line, "345");
    assert_eq!(line.did.len(), from);
    line.passes(4 * SECOND);
    assert!(line.history().ends_with("caller: [on the keypad] 345\n"));
    line.model_replies("Three four five.", &[]);
    key(&mut line, "6789");
    assert!(line.history().ends_with("caller: [on the keypad] 6789\n"));
    line.model_replies("Thank you.", &["start-capture"]);
    key(&mut line, "1");
    line.passes(4 * SECOND);
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(!line.history().contains("keypad] 1\n"), "keys while a payment is open go nowhere");
}

#[test]
fn a_card_number_that_is_keyed_outside_a_payment_goes_no_further() {
    let mut line = Line::open_with(Settings { keypad: Keypad { max_digits: 20, pause: SECOND }, ..settings() });
    key(&mut line, "4242424242424242#");
    assert!(line.history().ends_with("caller: [on the keypad] [digits removed]\n"));
}

#[test]
fn tones_recordings_and_languages_go_out_after_what_was_said() {
    let mut line = Line::open();
    line.caller_says("Dial for me");
    line.model_says("One moment.");
    line.model_calls("send-dtmf", r#"{"digits":"1w2#"}"#);
    let (run, Tool::SendDtmf { digits }) = line.running.remove(0) else { panic!() };
    let from = line.feed(Event::ToolFinished { run, outcome: Outcome::Send(Outgoing::SendDigits { digits }) });
    assert!(matches!(&line.did[from..], [Action::Say(Outgoing::SendDigits { .. })]));
    line.model(ModelEvent::Done);
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
        let mut line = Line::open();
        line.caller_says("Send me a receipt");
        line.model_calls("send-sms", &format!(r#"{{{to}"message":"Paid with 4242424242424242."}}"#));
        line.model(ModelEvent::Done);
        match (line.running.pop(), recipient) {
            (Some((run, Tool::SendSms { to, body })), Some(recipient)) => {
                assert_eq!((to.as_str(), body.reveal().as_str()), (recipient, "Paid with [digits removed]."));
                line.feed(Event::ToolFinished { run, outcome: Outcome::Message(Ok(())) });
                assert!(line.history().contains("Do not send it again"));
            }
            (None, None) => assert!(line.history().contains("only to the number of this call")),
            (ran, _) => panic!("{to}: {ran:?}"),
        }
    }
}

#[test]
fn no_tones_go_out_while_a_payment_is_open() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Press one");
    line.model_calls("send-dtmf", r#"{"digits":"1"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty() && line.history().contains("no tones can be sent"));
}

#[test]
fn an_agent_that_only_listens_says_nothing_and_its_tools_run() {
    let mut line = Line::open_with(Settings { listen: true, ..settings() });
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["set-listen-mode"]);
    line.model(ModelEvent::Failed);
    line.passes(3 * THRESHOLD);
    assert_eq!(line.said_since(0), "");
    line.caller_says("Hello?");
    line.model_calls("set-listen-mode", r#"{"enabled":false}"#);
    line.model(ModelEvent::Done);
    line.tool_answers(Outcome::ListenMode { enabled: false });
    line.model_replies("Here I am.", &[]);
    assert_eq!(line.said_since(0), "Here I am.");
}

#[test]
fn another_context_is_taken_with_what_the_call_was_about_and_never_while_a_payment_is_open() {
    let mut line = Line::open();
    let asks = |line: &mut Line| {
        line.caller_says("About my order");
        line.model_calls("change-context", r#"{"contextKey":"orders","summary":"Wants to know of an order."}"#);
        line.model(ModelEvent::Done);
    };
    asks(&mut line);
    let (run, Tool::ChangeContext { keys, .. }) = line.running.remove(0) else { panic!() };
    assert_eq!((keys.context.as_deref(), keys.manifest.as_deref()), (Some("orders"), None));
    let from = line.feed(Event::ToolFinished { run, outcome: Outcome::Context(Ok(keys.clone())) });
    assert!(matches!(&line.did[from..], [Action::ChangeContext(taken), Action::AskModel(_)] if *taken == keys));
    assert!(line.history().contains("The call so far: Wants to know of an order."));
    line.model_replies("Which one?", &[]);

    asks(&mut line);
    let refusal = Outcome::Context(Err("there is no context orders".to_owned()));
    let from = line.tool_answers(refusal);
    assert!(!line.did[from..].iter().any(|action| matches!(action, Action::ChangeContext(_))));
    line.model_replies("I cannot help with that.", &[]);

    line.at_card_number("PK1");
    asks(&mut line);
    assert!(line.running.is_empty() && line.history().contains("then change the context"));
}
