//! Events as the API sends them, and as it should not.

use proptest::prelude::*;

use super::*;

fn read(json: &str) -> Result<Event, Broken> {
    Event::read(&RawValue::from_string(json.to_owned()).unwrap())
}

#[test]
fn words_come_from_text_and_refusals() {
    for kind in ["response.output_text.delta", "response.refusal.delta"] {
        let json =
            format!(r#"{{"type":"{kind}","sequence_number":4,"item_id":"msg_1","delta":"caf\u00e9","logprobs":[]}}"#);
        assert!(matches!(read(&json), Ok(Event::Text(text)) if text == "café"));
    }
}

#[test]
fn a_call_is_read_whole() {
    let Ok(Event::Call(call)) = read(
        r#"{"type":"response.output_item.done","output_index":1,"item":{"id":"fc_1","type":"function_call",
            "status":"completed","arguments":"{\"a\":\"1\"}","call_id":"call_1","name":"end-call","new":{}}}"#,
    ) else {
        panic!("no call");
    };
    let whole = ToolCall::new("call_1".to_owned(), Some("fc_1".to_owned()), "end-call".to_owned(), r#"{"a":"1"}"#);
    assert!(call == whole);
    assert_eq!(format!("{:?}", Event::Call(call)), "ToolCall(end-call call_1)");
    assert_eq!(format!("{:?}", Event::Text("secret".to_owned())), "Text");
}

#[test]
fn a_reasoning_item_is_kept_letter_by_letter() {
    let item = r#"{"id":"rs_1", "type":"reasoning","summary":[],"encrypted_content":"x","new":1.0}"#;
    let event = read(&format!(r#"{{"type":"response.output_item.done","item":{item}}}"#));
    assert!(matches!(event, Ok(Event::Reasoning(raw)) if raw.get() == item));
}

#[test]
fn the_end_is_an_end_whatever_else_it_holds() {
    let Ok(Event::Completed(usage)) = read(
        r#"{"type":"response.completed","response":{"output":[{"type":"news"}],"service_tier":"gold","usage":
            {"input_tokens":321,"input_tokens_details":{"cached_tokens":256},"output_tokens":45,
             "output_tokens_details":{"reasoning_tokens":7},"total_tokens":366}}}"#,
    ) else {
        panic!("not completed");
    };
    assert_eq!(usage, Usage { input: 321, cached: 256, output: 45, reasoning: 7 });
    for json in [
        r#"{"type":"response.completed"}"#,
        r#"{"type":"response.completed","response":{"usage":null}}"#,
        r#"{"type":"response.completed","response":{"usage":{"input_tokens":"many"}}}"#,
    ] {
        assert!(matches!(read(json), Ok(Event::Completed(usage)) if usage == Usage::default()), "{json}");
    }
    assert!(matches!(read(r#"{"type":"response.incomplete"}"#), Ok(Event::Incomplete(_))));
}

#[test]
fn an_error_is_one_in_every_form_and_its_message_is_left_out() {
    for json in [
        r#"{"type":"error","code":"server_error","message":"4242","param":null,"sequence_number":3}"#,
        r#"{"type":"error","error":{"type":"x","code":"server_error","message":"4242"}}"#,
        r#"{"error":{"code":"server_error","message":"4242"}}"#,
        r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"4242"}}}"#,
    ] {
        let Ok(Event::Failed(fault)) = read(json) else { panic!("no fault: {json}") };
        assert!(fault.is(&["server_error"]), "{json}");
        assert!(!format!("{fault:?}").contains("4242"));
    }
    assert!(matches!(read(r#"{"type":"error"}"#), Ok(Event::Failed(_))));
}

#[test]
fn a_code_that_is_none_is_not_repeated() {
    for (code, kept) in
        [("429", Some("429")), ("null", None), (r#""a b""#, None), (r#"{"a":1}"#, None), ("[1]", Some("[1]"))]
    {
        assert_eq!(Fault::read(&format!(r#"{{"error":{{"code":{code}}}}}"#)).code.as_deref(), kept, "{code}");
    }
    assert_eq!(Fault::read("<html>4242</html>"), Fault::default());
}

#[test]
fn what_is_unknown_is_skipped_and_what_is_broken_is_named() {
    assert!(matches!(read(r#"{"type":"keepalive"}"#), Ok(Event::Other)));
    assert!(matches!(read(r#"{"type":"response.output_item.done","item":{"type":"news"}}"#), Ok(Event::Other)));
    let broken = read(r#"{"type":"response.output_text.delta","delta":4242}"#).unwrap_err();
    assert_eq!(broken.0.as_deref(), Some("response.output_text.delta"));
    for json in ["null", "4242", "[]", "{}", r#"{"type":7}"#, r#"{"type":null}"#] {
        assert!(matches!(read(json), Err(Broken(None))), "{json}");
    }
}

proptest! {
    #[test]
    fn no_event_panics(kind in "response\\.(output_item\\.done|completed|failed|output_text\\.delta)", rest in "\\PC{0,40}") {
        for json in [
            format!(r#"{{"type":"{kind}","item":{rest}}}"#),
            format!(r#"{{"type":"{kind}","response":{rest},"error":{rest}}}"#),
            format!(r#"{{"type":"{kind}","delta":{rest}}}"#),
        ] {
            if let Ok(raw) = RawValue::from_string(json) {
                let _ = Event::read(&raw);
            }
        }
        let _ = Fault::read(&rest);
    }
}
