//! Redaction of card numbers outside of a capture.

use std::time::Duration;

use super::super::*;
use super::harness::{TestCall, settings};
use crate::call::event::ModelEvent;
use crate::redact::{Private, REDACTED};

fn press_keys(call: &mut TestCall, keys: &str) {
    for key in keys.chars() {
        call.receive_frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
    }
}

/// The inputs of all model requests since an action.
fn requests_since(call: &TestCall, from: usize) -> Vec<String> {
    let request = |action: &Action| match action {
        Action::AskModel(request) => {
            Some(request.input.iter().map(|item| super::harness::format_item(item) + "\n").collect())
        }
        _ => None,
    };
    call.actions[from..].iter().filter_map(request).collect()
}

#[test]
fn a_number_that_is_read_out_in_two_parts_never_stands_in_one_request() {
    let mut call = TestCall::start();
    call.caller_says("My card is four two four two, double four twenty two");
    assert!(call.history().contains("double four"), "the first part alone is no card number");
    call.model_replies("Mm-hm, go on.", &[]);
    let second = call.caller_says("and then 4242, 4244");
    let history = call.history();
    assert!(
        history.contains(&format!("My card is {REDACTED}")) && history.contains(&format!("and then {REDACTED}")),
        "{history}"
    );
    assert!(history.contains("ask to use the keypad"), "{history}");
    for request in requests_since(&call, second) {
        assert!(!request.contains("four") && !request.contains("4242"), "{request}");
    }
}

#[test]
fn a_part_repeated_by_the_agent_is_redacted_too() {
    let mut call = TestCall::start();
    call.caller_says("4242 4242");
    call.model_replies("I have 4242 4242, go on.", &[]);
    call.caller_says("4242 4242");
    assert!(!call.history().contains("4242"), "{}", call.history());
}

#[test]
fn a_part_spoken_while_a_tool_runs_is_redacted_too() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    call.caller_says("4 2");
    call.caller_says("4 2 4 2 4 2");
    call.caller_says("4 2 4 2 4 2 4 2");
    call.twilio_answers(crate::payment::TwilioResponse::Created(super::harness::payment_sid("PK1")));
    assert!(!call.history().contains("4 2"), "{}", call.history());
}

#[test]
fn keys_outside_payments_are_inputs_like_any_other() {
    let mut call = TestCall::start_with(CallSettings {
        keypad: KeypadSettings { max_digits: 20, ..settings().keypad },
        ..settings()
    });
    press_keys(&mut call, "42424242#");
    assert!(call.history().contains("[on the keypad] 42424242"));
    call.model_replies("Yes?", &[]);
    call.caller_says("forty-two forty-two, four two four two");
    assert!(!call.history().contains("4242") && !call.history().contains("forty"), "{}", call.history());
    press_keys(&mut call, "4242424242424242#");
    assert!(call.history().ends_with(&format!("caller: [on the keypad] {REDACTED}\n")), "{}", call.history());
}

#[test]
fn during_a_capture_only_digits_are_redacted_from_a_sentence() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("cancel, I have two cards");
    assert!(call.history().contains("caller: cancel, I have two cards\n"));
    call.model_replies("Well.", &[]);
    call.caller_says("cancel, it is seven three one");
    assert!(call.history().contains(&format!("caller: cancel, it is {REDACTED}\n")), "{}", call.history());
}

#[test]
fn the_agent_says_no_card_number_and_everything_else_at_once() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    let from = call.model_emits(ModelEvent::TextDelta(Private::new("Your number is".to_owned())));
    assert_eq!(call.said_since(from), "Your number is");
    for token in [" 4242", " four", " two", " forty-two 4242 4242", ", and you"] {
        let from = call.model_emits(ModelEvent::TextDelta(Private::new(token.to_owned())));
        let said = call.said_since(from);
        assert!(said.trim().is_empty() || said == format!("{REDACTED}, and you"), "{said}");
    }
    call.model_emits(ModelEvent::TextDelta(Private::new(" owe $25".to_owned())));
    let from = call.model_emits(ModelEvent::Completed);
    assert_eq!(call.said_since(from), "25", "held back text is sent at the end of the response");
    call.caller_says("What?");
    assert!(
        call.history().contains(&format!("agent: Your number is {REDACTED}, and you owe $25\n")),
        "{}",
        call.history()
    );
}

#[test]
fn held_back_digits_are_dropped_after_an_interrupt() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call.model_says("Your code is 4242");
    let from = call.caller_interrupts("Your code");
    call.advance(Duration::from_secs(5));
    assert!(!call.said_since(from).contains("4242") && !call.history().contains("4242"));
}

#[test]
fn a_card_number_in_an_interrupt_frame_is_redacted() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call.model_says("Your number is forty-two ");
    call.caller_interrupts("Something else: 4242 4242 4242 4242");
    call.caller_says("What?");
    assert!(call.history().contains(&format!("agent: Something else: {REDACTED}\n")), "{}", call.history());
}

#[test]
fn no_tool_gets_a_card_number() {
    let mut call = TestCall::start();
    call.caller_says("Send it to me");
    call.model_calls("send-sms", r#"{"message":"Your card: 4242\n4242 4242 4242"}"#);
    call.model_calls("send-dtmf", r#"{"digits":"4242w4242w4242w4242"}"#);
    call.model_calls("start-capture", r#"{"chargeAmount":4242424242424242}"#);
    call.model_calls("4242424242424242", "{}");
    call.model_emits(ModelEvent::Completed);
    let (_, Tool::SendSms { body, .. }) = &call.running_tools[0] else { panic!("a message") };
    assert_eq!(body.reveal(), &format!("Your card: {REDACTED}"));
    call.tool_answers(ToolOutcome::Sms(Ok(())));
    let (_, Tool::Business { name, .. }) = &call.running_tools[0] else { panic!("an unknown tool") };
    assert_eq!(name, "unknown");
    call.tool_answers(ToolOutcome::Business(Err(BusinessToolError::Unknown { names: Vec::new() })));
    let history = call.history();
    assert!(history.contains("The digits cannot be sent") && history.contains("chargeAmount"), "{history}");
    assert!(!call.last_request().input.iter().any(|item| matches!(item, ConversationItem::ToolCall(call) if call.arguments.as_str().contains("42424242") || call.name.contains("4242"))));
}

#[test]
fn data_that_came_with_the_call_holds_no_card_number() {
    let frame = r#"{"type":"setup","callSid":"CA1","customParameters":{"note":"4242\n4242 4242\t4242","4242424242424242":"x"}}"#;
    let Ok(crate::relay::IncomingFrame::Setup(setup)) = crate::relay::IncomingFrame::parse(frame) else {
        panic!("a setup frame")
    };
    let known = crate::payment::PriorPayments::default();
    let details =
        prompts::call_details(&setup, None, &Ok(crate::payment::PaymentSettings::sample_terms()), false, &known);
    assert!(!details.contains("4242") && details.contains(REDACTED), "{details}");
    let details = prompts::call_details(
        &setup,
        Some(r#"{"items":[{"note":["4242 4242","4242 4242"]}]}"#),
        &Ok(crate::payment::PaymentSettings::sample_terms()),
        false,
        &known,
    );
    assert!(!details.contains("4242"), "{details}");
}

#[test]
fn keys_right_after_the_end_of_a_payment_are_dropped() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    call.model_replies("It is cancelled.", &[]);
    press_keys(&mut call, "731#");
    call.caller_says("it was 731");
    assert!(!call.history().contains("731"), "{}", call.history());
    call.model_replies("Please use the keypad.", &[]);
    call.advance(std::time::Duration::from_secs(4));
    press_keys(&mut call, "731#");
    assert!(call.history().ends_with("caller: [on the keypad] 731\n"), "{}", call.history());
}
