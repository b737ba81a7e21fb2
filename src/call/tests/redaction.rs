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
fn during_a_capture_no_digit_passes() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    for (said, heard) in [
        ("cancel, I have two cards", format!("cancel, I have {REDACTED} cards")),
        ("cancel, it is seven three one", format!("cancel, it is {REDACTED}")),
        ("digit 4", format!("digit {REDACTED}")),
        ("then I see 44 on it", format!("then I see {REDACTED} on it")),
        ("what is once more due", "what is once more due".to_owned()),
    ] {
        call.caller_says(said);
        assert!(call.history().contains(&format!("caller: {heard}\n")), "{}", call.history());
        call.model_replies("Well.", &[]);
    }
}

fn prompt_in(call: &mut TestCall, lang: &str, words: &str) {
    call.receive_frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","lang":"{lang}","last":true}}"#));
}

#[test]
fn during_a_capture_words_whose_digits_cannot_be_told_do_not_pass() {
    for (heard, lang) in [("multi", "tlh"), ("multi", ""), ("multi", "multi"), ("tlh-KL", "")] {
        let settings = CallSettings { heard_language: heard.to_owned(), ..settings() };
        let mut call = TestCall::start_with(settings);
        prompt_in(&mut call, lang, "zba kro 44");
        assert!(call.history().contains("caller: zba kro 44\n"), "no payment is open: {}", call.history());
        call.model_replies("Well.", &[]);
        call.reach_card_number("PK1");
        prompt_in(&mut call, lang, "avbryt vlem kro zba 731 loS");
        let history = call.history();
        assert!(history.contains("The caller spoke") && history.contains("means: cancel"), "{history}");
        assert!(!history.contains("vlem") && !history.contains("731"), "{history}");
        call.model_replies("Well.", &[]);
        prompt_in(&mut call, "de-DE", "abbrechen, es sind zwei");
        assert!(call.history().contains(&format!("abbrechen, es sind {REDACTED}")), "{}", call.history());
        call.model_replies("Well.", &[]);
        prompt_in(&mut call, "tr-TR", "iptal, dörtte");
        assert!(call.history().contains(&format!("iptal, {REDACTED}")), "{}", call.history());
    }
}

#[test]
fn digits_are_counted_over_prompts_with_other_words() {
    let pairs = ["44", "85", "27", "57", "42", "30", "83", "27"];
    let mut call = TestCall::start();
    for (n, pair) in pairs.iter().enumerate() {
        call.caller_says(&format!("and then I see {pair} on it"));
        if n + 1 < pairs.len() {
            call.model_replies(&format!("I have {pair}, go on."), &[]);
        }
    }
    let history = call.history();
    assert!(!history.contains(|c: char| c.is_ascii_digit()), "{history}");
    assert_eq!(history.matches(&format!("and then I see {REDACTED} on it")).count(), 8, "{history}");
    assert!(history.contains("ask to use the keypad"), "{history}");
    assert!(!requests_since(&call, 0).last().unwrap().contains("27"));
}

#[test]
fn what_the_agent_says_over_time_is_no_card_number() {
    let mut call = TestCall::start();
    call.caller_says("What was it?");
    call.model_replies("The first half is 4485 2757, I think.", &[]);
    call.caller_says("And then?");
    call.model_replies("The second half of it is 4230 8327, I think.", &[]);
    call.caller_says("Thank you");
    let history = call.history();
    assert!(!history.contains("4485") && !history.contains("8327"), "{history}");
    assert!(history.contains(&format!("agent: The second half of it is {REDACTED}, I think.\n")), "{history}");

    call.model_says("There is a 44 and an 85 and a 27 and then a 57 before the 42 and 30 behind, with 83 and finally ");
    let from = call.model_emits(ModelEvent::TextDelta(Private::new("a 27 at the end.".to_owned())));
    call.model_emits(ModelEvent::Completed);
    assert!(!call.said_since(from).contains("27"), "{}", call.said_since(from));
    call.caller_says("Thank you");
    assert!(!call.history().contains(|c: char| c.is_ascii_digit()), "{}", call.history());
}

#[test]
fn what_the_agent_writes_over_time_is_no_card_number() {
    for calls in [
        [("send-sms", r#"{"message":"begin 4485 2757 x"}"#), ("send-sms", r#"{"message":"y 4230 8327 end"}"#)],
        [("send-dtmf", r#"{"digits":"44852757"}"#), ("send-dtmf", r#"{"digits":"42308327#"}"#)],
        [("note-44852757", "{}"), ("note-42308327", "{}")],
        [
            ("send-sms", r#"{"to":"+15550100001","message":"see 448527574230832"}"#),
            ("send-sms", r#"{"to":"+15550100001","message":"and then 7"}"#),
        ],
        [("send-sms", r#"{"message":"4485a2757"}"#), ("send-sms", r#"{"message":"4230b8327"}"#)],
        [("send-sms", r#"{"a":"4485a2757b42"}"#), ("send-sms", r#"{"message":"4c4d8e5f2g7h5j7k4l2m3n0p8q3r2s7"}"#)],
    ] {
        let mut call = TestCall::start();
        call.caller_says("Do it");
        for (name, arguments) in calls {
            call.model_calls(name, arguments);
        }
        call.model_emits(ModelEvent::Completed);
        while let Some((_, tool)) = call.running_tools.first() {
            let unknown = BusinessToolError::Unknown { names: Vec::new() };
            call.tool_answers(match tool {
                Tool::Business { .. } => ToolOutcome::Business(Err(unknown)),
                _ => ToolOutcome::Sms(Ok(())),
            });
        }
        call.caller_says("Thank you");
        let items = &call.last_request().input;
        let mut last = items.iter().filter_map(|item| match &**item {
            ConversationItem::ToolCall(call) => Some(format!("{} {}", call.name, call.arguments.as_str())),
            _ => None,
        });
        let last = last.next_back().unwrap();
        assert!(!last.contains("8327") && !last.contains("q3r2"), "{last}");
        assert!(last.contains("removed") || last.contains("unknown"), "{last}");
    }
}

#[test]
fn tones_are_no_card_number_however_they_are_divided() {
    let divided = |number: &str, sizes: &[usize]| {
        let mut rest = number;
        let mut parts = Vec::new();
        for size in sizes {
            let (part, after) = rest.split_at(*size);
            parts.push(part.to_owned());
            rest = after;
        }
        parts
    };
    let visa = ["4485275742308327", "4539148803436467", "4242424242424242"];
    let splits: [&[usize]; 9] =
        [&[1; 16], &[2; 8], &[4; 4], &[15, 1], &[14, 2], &[13, 3], &[5, 5, 5, 1], &[8, 5, 3], &[1, 15]];
    let mut cases: Vec<Vec<String>> =
        splits.iter().flat_map(|sizes| visa.map(|number| divided(number, sizes))).collect();
    cases.push(divided("378282246310005", &[1; 15]));
    cases.push(divided("378282246310005", &[4, 6, 5]));
    for parts in cases {
        for end in ["", "w", "#", "ww"] {
            let mut call = TestCall::start();
            call.caller_says("Do it");
            let from = call.actions.len();
            for parts in parts.chunks(8) {
                // A response has at most eight tool calls.
                for part in parts {
                    call.model_calls("send-dtmf", &format!(r#"{{"digits":"{part}{end}"}}"#));
                }
                call.model_emits(ModelEvent::Completed);
            }
            let is_tone = |action: &&Action| matches!(action, Action::SendFrame(OutgoingFrame::SendDigits { .. }));
            let sent = call.actions[from..].iter().filter(is_tone).count();
            assert!(sent < parts.len(), "{parts:?} with {end:?} are sent whole");
        }
    }
}

#[test]
fn no_id_and_no_reasoning_of_the_model_brings_a_card_number_back() {
    let reasoning = |text: &str| {
        let item = serde_json::json!({"id": "rs_1", "type": "reasoning", "encrypted_content": "x", "summary": [{"type": "summary_text", "text": text}]});
        ModelEvent::Reasoning(serde_json::value::RawValue::from_string(item.to_string()).unwrap())
    };
    let mut call = TestCall::start();
    call.caller_says("Do it");
    call.model_emits(reasoning("the caller has 4485 2757 4230 8327"));
    call.model_emits(reasoning("the caller said 4485 2757 first"));
    for id in ["call_4485275742308327", "call_44852757", "call_42308327"] {
        let call_event = ToolCall::new(
            id.to_owned(),
            Some("fc_4485275742308327".to_owned()),
            "send-dtmf".to_owned(),
            r#"{"digits":"1"}"#,
        );
        call.model_emits(ModelEvent::ToolCall(call_event));
    }
    call.model_emits(ModelEvent::Completed);
    call.caller_says("Thank you");
    let history = call.history();
    assert!(!history.contains("8327") && !history.contains("reasoning"), "{history}");
    assert!(
        !call
            .last_request()
            .input
            .iter()
            .any(|item| matches!(**item, ConversationItem::ToolCall(ref call) if call.item_id.is_some()))
    );
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
    assert!(!call.last_request().input.iter().any(|item| matches!(&**item, ConversationItem::ToolCall(call) if call.arguments.as_str().contains("42424242") || call.name.contains("4242"))));
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
