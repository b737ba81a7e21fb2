//! Card numbers that come where they do not belong.

use super::super::bench::{Line, settings};
use super::super::*;
use crate::call::event::ModelEvent;
use crate::redact::CUT;

fn keys(line: &mut Line, keys: &str) {
    for key in keys.chars() {
        line.frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
    }
}

/// Whatever the model was asked from this action on.
fn shown_since(line: &Line, from: usize) -> Vec<String> {
    let request = |action: &Action| match action {
        Action::AskModel(request) => Some(request.input.iter().map(|item| bench::line(item) + "\n").collect()),
        _ => None,
    };
    line.did[from..].iter().filter_map(request).collect()
}

#[test]
fn a_number_that_is_read_out_in_two_parts_never_stands_in_one_request() {
    let mut line = Line::open();
    line.caller_says("My card is four two four two, double four twenty two");
    assert!(line.history().contains("double four"), "nobody can know yet");
    line.model_replies("Mm-hm, go on.", &[]);
    let second = line.caller_says("and then 4242, 4244");
    let history = line.history();
    assert!(
        history.contains(&format!("My card is {CUT}")) && history.contains(&format!("and then {CUT}")),
        "{history}"
    );
    assert!(history.contains("ask to use the keypad"), "{history}");
    for request in shown_since(&line, second) {
        assert!(!request.contains("four") && !request.contains("4242"), "{request}");
    }
}

#[test]
fn a_part_that_the_agent_repeated_is_cut_from_its_words_too() {
    let mut line = Line::open();
    line.caller_says("4242 4242");
    line.model_replies("I have 4242 4242, go on.", &[]);
    line.caller_says("4242 4242");
    assert!(!line.history().contains("4242"), "{}", line.history());
}

#[test]
fn a_part_that_came_before_a_tool_had_answered_is_cut_too() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.caller_says("4 2");
    line.caller_says("4 2 4 2 4 2");
    line.caller_says("4 2 4 2 4 2 4 2");
    line.twilio_answers(crate::payment::Answer::Created(bench::payment("PK1")));
    assert!(!line.history().contains("4 2"), "{}", line.history());
}

#[test]
fn keys_outside_payments_are_inputs_like_any_other() {
    let mut line = Line::open_with(Settings { keypad: Keypad { max_digits: 20, ..settings().keypad }, ..settings() });
    keys(&mut line, "42424242#");
    assert!(line.history().contains("[on the keypad] 42424242"));
    line.model_replies("Yes?", &[]);
    line.caller_says("forty-two forty-two, four two four two");
    assert!(!line.history().contains("4242") && !line.history().contains("forty"), "{}", line.history());
    keys(&mut line, "4242424242424242#");
    assert!(line.history().ends_with(&format!("caller: [on the keypad] {CUT}\n")), "{}", line.history());
}

#[test]
fn while_a_card_is_entered_the_rest_of_a_sentence_goes_through() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("cancel, I have two cards");
    assert!(line.history().contains("caller: cancel, I have two cards\n"));
    line.model_replies("Well.", &[]);
    line.caller_says("cancel, it is seven three one");
    assert!(line.history().contains(&format!("caller: cancel, it is {CUT}\n")), "{}", line.history());
}

#[test]
fn the_agent_says_no_card_number_and_everything_else_at_once() {
    let mut line = Line::open();
    line.caller_says("Hello");
    let from = line.model(ModelEvent::Delta(Private::new("Your number is".to_owned())));
    assert_eq!(line.said_since(from), "Your number is");
    for token in [" 4242", " four", " two", " forty-two 4242 4242", ", and you"] {
        let from = line.model(ModelEvent::Delta(Private::new(token.to_owned())));
        let said = line.said_since(from);
        assert!(said.trim().is_empty() || said == format!("{CUT}, and you"), "{said}");
    }
    line.model(ModelEvent::Delta(Private::new(" owe $25".to_owned())));
    let from = line.model(ModelEvent::Done);
    assert_eq!(line.said_since(from), "25", "what was held is said in the end");
    line.caller_says("What?");
    assert!(line.history().contains(&format!("agent: Your number is {CUT}, and you owe $25\n")), "{}", line.history());
}

#[test]
fn what_was_held_back_is_never_said_after_an_interruption() {
    let mut line = Line::open();
    line.caller_says("Hello");
    line.model_says("Your code is 4242");
    let from = line.caller_interrupts("Your code");
    line.passes(Duration::from_secs(5));
    assert!(!line.said_since(from).contains("4242") && !line.history().contains("4242"));
}

#[test]
fn what_twilio_says_was_heard_holds_no_card_number() {
    let mut line = Line::open();
    line.caller_says("Hello");
    line.model_says("Your number is forty-two ");
    line.caller_interrupts("Something else: 4242 4242 4242 4242");
    line.caller_says("What?");
    assert!(line.history().contains(&format!("agent: Something else: {CUT}\n")), "{}", line.history());
}

#[test]
fn no_tool_gets_a_card_number() {
    let mut line = Line::open();
    line.caller_says("Send it to me");
    line.model_calls("send-sms", r#"{"message":"Your card: 4242\n4242 4242 4242"}"#);
    line.model_calls("send-dtmf", r#"{"digits":"4242w4242w4242w4242"}"#);
    line.model_calls("start-capture", r#"{"chargeAmount":4242424242424242}"#);
    line.model_calls("4242424242424242", "{}");
    line.model(ModelEvent::Done);
    let (_, Tool::SendSms { body, .. }) = &line.running[0] else { panic!("a message") };
    assert_eq!(body.reveal(), &format!("Your card: {CUT}"));
    line.tool_answers(Outcome::Message(Ok(())));
    let history = line.history();
    assert!(history.contains("The digits cannot be sent") && history.contains("chargeAmount"), "{history}");
    assert!(!line.request().input.iter().any(|item| matches!(item, Item::ToolCall(call) if call.arguments.as_str().contains("42424242") || call.name.contains("4242"))));
}

#[test]
fn data_that_came_with_the_call_holds_no_card_number() {
    let frame = r#"{"type":"setup","callSid":"CA1","customParameters":{"note":"4242\n4242 4242\t4242","4242424242424242":"x"}}"#;
    let Ok(crate::relay::Incoming::Setup(setup)) = crate::relay::Incoming::parse(frame) else {
        panic!("a setup frame")
    };
    let known = payment::Known::default();
    let details = words::call_details(&setup, None, &Ok(payment::Settings::sample_terms()), false, &known);
    assert!(!details.contains("4242") && details.contains(CUT), "{details}");
    let details = words::call_details(
        &setup,
        Some(r#"{"items":[{"note":["4242 4242","4242 4242"]}]}"#),
        &Ok(payment::Settings::sample_terms()),
        false,
        &known,
    );
    assert!(!details.contains("4242"), "{details}");
}

#[test]
fn a_key_that_the_end_of_the_payment_has_overtaken_goes_nowhere() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("It is cancelled.", &[]);
    keys(&mut line, "731#");
    line.caller_says("it was 731");
    assert!(!line.history().contains("731"), "{}", line.history());
    line.model_replies("Please use the keypad.", &[]);
    line.passes(std::time::Duration::from_secs(4));
    keys(&mut line, "731#");
    assert!(line.history().ends_with("caller: [on the keypad] 731\n"), "{}", line.history());
}
