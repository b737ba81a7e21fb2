//! Tests of well-formed and malformed events.

use proptest::prelude::*;

use super::*;

fn read(json: &str) -> Result<StreamEvent, ParseEventError> {
    StreamEvent::parse(&RawValue::from_string(json.to_owned()).unwrap())
}

#[test]
fn text_and_refusals_are_spoken() {
    for kind in ["response.output_text.delta", "response.refusal.delta"] {
        let json =
            format!(r#"{{"type":"{kind}","sequence_number":4,"item_id":"msg_1","delta":"caf\u00e9","logprobs":[]}}"#);
        assert!(matches!(read(&json), Ok(StreamEvent::Text(text)) if text == "café"));
    }
}

#[test]
fn a_function_call_is_parsed() {
    let Ok(StreamEvent::Call(call)) = read(
        r#"{"type":"response.output_item.done","output_index":1,"item":{"id":"fc_1","type":"function_call",
            "status":"completed","arguments":"{\"a\":\"1\"}","call_id":"call_1","name":"end-call","new":{}}}"#,
    ) else {
        panic!("no call");
    };
    let whole = ToolCall::new("call_1".to_owned(), Some("fc_1".to_owned()), "end-call".to_owned(), r#"{"a":"1"}"#);
    assert!(call == whole);
    assert_eq!(format!("{:?}", StreamEvent::Call(call)), "ToolCall(end-call call_1)");
    assert_eq!(format!("{:?}", StreamEvent::Text("secret".to_owned())), "Text");
}

#[test]
fn a_reasoning_item_is_kept_verbatim() {
    let item = r#"{"id":"rs_1", "type":"reasoning","summary":[],"encrypted_content":"x","new":1.0}"#;
    let event = read(&format!(r#"{{"type":"response.output_item.done","item":{item}}}"#));
    assert!(matches!(event, Ok(StreamEvent::Reasoning(raw)) if raw.get() == item));
}

#[test]
fn a_terminal_event_is_recognized_even_if_the_rest_is_unreadable() {
    let Ok(StreamEvent::Completed(usage)) = read(
        r#"{"type":"response.completed","response":{"output":[{"type":"news"}],"service_tier":"gold","usage":
            {"input_tokens":321,"input_tokens_details":{"cached_tokens":256},"output_tokens":45,
             "output_tokens_details":{"reasoning_tokens":7},"total_tokens":366}}}"#,
    ) else {
        panic!("not completed");
    };
    assert_eq!(usage, TokenUsage { input: 321, cached: 256, output: 45, reasoning: 7 });
    for json in [
        r#"{"type":"response.completed"}"#,
        r#"{"type":"response.completed","response":{"usage":null}}"#,
        r#"{"type":"response.completed","response":{"usage":{"input_tokens":"many"}}}"#,
    ] {
        assert!(matches!(read(json), Ok(StreamEvent::Completed(usage)) if usage == TokenUsage::default()), "{json}");
    }
    assert!(matches!(read(r#"{"type":"response.incomplete"}"#), Ok(StreamEvent::Incomplete(_))));
}

#[test]
fn an_error_is_recognized_in_every_form_and_its_message_is_omitted() {
    for json in [
        r#"{"type":"error","code":"server_error","message":"4242","param":null,"sequence_number":3}"#,
        r#"{"type":"error","error":{"type":"x","code":"server_error","message":"4242"}}"#,
        r#"{"error":{"code":"server_error","message":"4242"}}"#,
        r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"4242"}}}"#,
    ] {
        let Ok(StreamEvent::Failed(fault)) = read(json) else { panic!("no error: {json}") };
        assert!(fault.is_one_of(&["server_error"]), "{json}");
        assert!(!format!("{fault:?}").contains("4242"));
    }
    assert!(matches!(read(r#"{"type":"error"}"#), Ok(StreamEvent::Failed(_))));
}

#[test]
fn a_malformed_code_is_omitted() {
    for (code, kept) in
        [("429", Some("429")), ("null", None), (r#""a b""#, None), (r#"{"a":1}"#, None), ("[1]", Some("[1]"))]
    {
        assert_eq!(
            OpenAiErrorInfo::parse(&format!(r#"{{"error":{{"code":{code}}}}}"#)).code.as_deref(),
            kept,
            "{code}"
        );
    }
    assert_eq!(OpenAiErrorInfo::parse("<html>4242</html>"), OpenAiErrorInfo::default());
}

#[test]
fn an_unknown_event_is_skipped_and_a_malformed_one_is_named() {
    assert!(matches!(read(r#"{"type":"keepalive"}"#), Ok(StreamEvent::Other)));
    assert!(matches!(read(r#"{"type":"response.output_item.done","item":{"type":"news"}}"#), Ok(StreamEvent::Other)));
    let broken = read(r#"{"type":"response.output_text.delta","delta":4242}"#).unwrap_err();
    assert_eq!(broken.0.as_deref(), Some("response.output_text.delta"));
    for json in ["null", "4242", "[]", "{}", r#"{"type":7}"#, r#"{"type":null}"#] {
        assert!(matches!(read(json), Err(ParseEventError(None))), "{json}");
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
                let _ = StreamEvent::parse(&raw);
            }
        }
        let _ = OpenAiErrorInfo::parse(&rest);
    }
}
