//! Tests of well-formed and malformed events.

use proptest::prelude::*;

use super::*;

/// The event in short form.
fn read(json: &str) -> String {
    let show = |key: &ItemKey<'_>| format!("{}@{:?}", key.id.as_deref().unwrap_or("-"), key.index);
    let item = |item: &OutputItem<'_>| match item {
        OutputItem::Message { parts, .. } => format!("message {}", parts.join("|")),
        OutputItem::Call(call) => format!("call {} {} {}", call.call_id, call.name, call.arguments),
        OutputItem::Reasoning(raw) => format!("reasoning {}", raw.get()),
        OutputItem::Other => "other".to_owned(),
    };
    match StreamEvent::parse("", json) {
        Ok(StreamEvent::Text { key, part, sequence, delta }) => format!("{} {part} {sequence:?} {delta}", show(&key)),
        Ok(StreamEvent::TextDone { key, part, text }) => format!("{} {part} done {text}", show(&key)),
        Ok(StreamEvent::Arguments { key, delta, .. }) => format!("{} arguments {delta}", show(&key)),
        Ok(StreamEvent::ArgumentsDone { key, name, arguments }) => format!("{} {name} done {arguments}", show(&key)),
        Ok(StreamEvent::ItemAdded(key, added)) => format!("{} added {}", show(&key), item(&added)),
        Ok(StreamEvent::ItemDone(key, done)) => format!("{} done {}", show(&key), item(&done)),
        Ok(StreamEvent::Ended(end)) => {
            let output: Vec<_> = end.output.iter().map(|(key, it)| format!("{} {}", show(key), item(it))).collect();
            format!("{} [{}]", if end.is_incomplete { "incomplete" } else { "completed" }, output.join(", "))
        }
        Ok(StreamEvent::Failed(info)) => format!("failed {}", info.code.unwrap_or_default()),
        Ok(StreamEvent::Other) => "other".to_owned(),
        Err(ParseEventError(kind)) => format!("unreadable {}", kind.unwrap_or_default()),
    }
}

#[test]
fn text_is_read_from_deltas_and_from_done_events() {
    for (json, event) in [
        (
            r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":1,"content_index":2,"delta":"caf\u00e9","logprobs":[]}"#,
            "msg_1@Some(1) 2 Some(4) café",
        ),
        (r#"{"delta":"a","type":"response.refusal.delta","item_id":null,"output_index":"3"}"#, "-@Some(3) 0 None a"),
        (r#"{"type":"response.output_text.done","item_id":"","text":"a"}"#, "-@None 0 done a"),
        (r#"{"type":"response.refusal.done","refusal":"a"}"#, "-@None 0 done a"),
        (r#"{"type":"response.content_part.done","part":{"type":"output_text","text":"a"}}"#, "-@None 0 done a"),
        (r#"{"type":"response.content_part.done","part":{"type":"reasoning_text","text":"a"}}"#, "other"),
        (r#"{"type":"response.reasoning_text.delta","delta":"a"}"#, "other"),
    ] {
        assert_eq!(read(json), event, "{json}");
    }
}

#[test]
fn the_name_of_an_event_changes_nothing_of_a_text() {
    for json in [
        r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":1,"content_index":2,"delta":"caf\u00e9","logprobs":[],"obfuscation":"a7"}"#,
        r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"m\u0073g_1","output_index":1,"delta":"a"}"#,
        r#"{"type":"response.output_text.delta","sequence_number":null,"item_id":"","output_index":"1","delta":"a"}"#,
        r#"{"delta":"a","item_id":"msg_1"}"#,
        r#"{"type":"response.refusal.delta","sequence_number":4,"item_id":"msg_1","output_index":1,"delta":"a"}"#,
        r#"{"type":"response.output_text.done","sequence_number":4,"item_id":"msg_1","output_index":1,"delta":"a","text":"b"}"#,
    ] {
        let text_of = |event: Result<StreamEvent<'_>, ParseEventError>| match event {
            Ok(StreamEvent::Text { key, part, sequence, delta }) => format!("{key:?} {part} {sequence:?} {delta}"),
            Ok(StreamEvent::TextDone { text, .. }) => format!("done {text}"),
            _ => "no text".to_owned(),
        };
        let type_in_json = json.contains("type");
        let plain = if type_in_json { "" } else { "response.output_text.delta" };
        let named = text_of(StreamEvent::parse("response.output_text.delta", json));
        assert_eq!(named, text_of(StreamEvent::parse(plain, json)), "{json}");
        assert_ne!(named, "no text", "{json}");
    }
}

#[test]
fn the_beginning_of_a_response_is_skipped_but_not_what_is_joined_to_it() {
    let delta =
        r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"m","output_index":0,"delta":"a"}"#;
    let created = r#"{"type":"response.created","response":{"instructions":"x"}}"#;
    assert!(matches!(StreamEvent::parse("response.created", created), Ok(StreamEvent::Other)));
    for between in ["\n", "", " "] {
        let joined = format!("{created}{between}{delta}");
        assert!(StreamEvent::parse("response.created", &joined).is_err(), "read one by one: {joined}");
    }
}

#[test]
fn a_call_is_read_from_its_item_and_from_its_arguments() {
    for (json, event) in [
        (
            r#"{"type":"response.output_item.done","output_index":1,"item":{"id":"fc_1","type":"function_call","arguments":"{}","call_id":"call_1","name":"end-call","new":{}}}"#,
            "fc_1@Some(1) done call call_1 end-call {}",
        ),
        (
            r#"{"type":"response.output_item.added","item_id":"fc_1","item":{"type":"function_call","call_id":"call_1","name":"x"}}"#,
            "fc_1@None added call call_1 x ",
        ),
        (r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","delta":"{"}"#, "fc_1@None arguments {"),
        (
            r#"{"type":"response.function_call_arguments.done","arguments":{"a":1},"name":"x"}"#,
            r#"-@None x done {"a":1}"#,
        ),
    ] {
        assert_eq!(read(json), event, "{json}");
    }
}

#[test]
fn a_reasoning_item_is_kept_verbatim() {
    let item = r#"{"id":"rs_1", "type":"reasoning","summary":[],"encrypted_content":"x","new":1.0}"#;
    let event = read(&format!(r#"{{"type":"response.output_item.done","item":{item}}}"#));
    assert_eq!(event, format!("rs_1@None done reasoning {item}"));
}

#[test]
fn the_end_has_the_snapshot_wherever_it_stands() {
    for (json, event) in [
        (r#"{"type":"response.completed"}"#, "completed []"),
        (r#"{"type":"response.completed","response":{"usage":null,"output":7}}"#, "completed []"),
        (r#"{"type":"response.incomplete"}"#, "incomplete []"),
        (r#"{"type":"response.completed","response":{"status":"incomplete"}}"#, "incomplete []"),
        (
            r#"{"type":"response.completed","response":{"output":[{"type":"news"},{"id":"m","type":"message","content":"a"}]}}"#,
            "completed [-@Some(0) other, m@Some(1) message a]",
        ),
        (
            r#"{"type":"response.completed","response":{},"output":[{"type":"message","content":"a"}]}"#,
            "completed [-@Some(0) message a]",
        ),
        (r#"{"object":"response","output":[{"type":"message","content":"a"}]}"#, "completed [-@Some(0) message a]"),
        (r#"{"response":{"status":"completed","output":[]},"output_text":"a"}"#, "completed [-@None message a]"),
        (r#"{"object":"response","status":"failed","output":[],"error":{"code":"busy"}}"#, "failed busy"),
        (r#"{"type":"response.completed","response":{"error":{"code":"busy"}}}"#, "failed busy"),
        (r#"{"type":"response.failed","response":{"error":{"code":"busy"}}}"#, "failed busy"),
        (r#"{"error":{"code":"busy"}}"#, "failed busy"),
        (r#"{"type":"error"}"#, "failed "),
        (
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"},"output":[]}}"#,
            "failed content_filter",
        ),
        (
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#,
            "incomplete []",
        ),
    ] {
        assert_eq!(read(json), event, "{json}");
    }
}

#[test]
fn the_token_usage_is_read() {
    let json = r#"{"type":"response.completed","response":{"service_tier":"gold","usage":
        {"input_tokens":321,"input_tokens_details":{"cached_tokens":256},"output_tokens":45,
         "output_tokens_details":{"reasoning_tokens":7},"total_tokens":366}}}"#;
    let Ok(StreamEvent::Ended(end)) = StreamEvent::parse("", json) else { panic!("no end") };
    assert_eq!(end.usage, TokenUsage { input: 321, cached: 256, output: 45, reasoning: 7 });
}

#[test]
fn an_unknown_event_is_skipped_and_a_malformed_one_is_named() {
    assert_eq!(read(r#"{"type":"keepalive"}"#), "other");
    assert_eq!(read(r#"{"type":"response.output_item.done","item":{"type":"news"}}"#), "-@None done other");
    assert_eq!(read(r#"{"type":"response.output_text.delta","delta":4242}"#), "unreadable response.output_text.delta");
    for json in ["null", "4242", "[]", "{}", r#"{"type":7}"#, r#"{"type":null}"#, "[DONE]", ""] {
        assert_eq!(read(json), "unreadable ", "{json}");
    }
    let named = StreamEvent::parse("response.output_text.done", r#"{"text":"a"}"#);
    assert!(matches!(named, Ok(StreamEvent::TextDone { .. })));
}

proptest! {
    #[test]
    fn no_event_panics(kind in "response\\.(output_item\\.done|completed|failed|output_text\\.delta)", rest in "\\PC{0,40}") {
        for json in [
            format!(r#"{{"type":"{kind}","item":{rest}}}"#),
            format!(r#"{{"type":"{kind}","response":{rest},"error":{rest}}}"#),
            format!(r#"{{"type":"{kind}","delta":{rest}}}"#),
        ] {
            let _ = read(&json);
        }
    }
}
