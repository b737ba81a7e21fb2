//! Tests of request bodies.

use super::*;
use crate::config::OpenAiConfig;
use crate::llm::capabilities::Capabilities;
use crate::llm::model_name::ServerKind;

const OPENAI: &str = "https://api.openai.com/v1";

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn tool_call(n: u32, arguments: &str) -> ConversationItem {
    let item_id = Some(format!("fc_{n}"));
    ConversationItem::ToolCall(ToolCall::new(format!("call_{n}"), item_id, "capture-card".to_owned(), arguments))
}

fn output(n: u32) -> ConversationItem {
    ConversationItem::ToolOutput { call_id: format!("call_{n}"), output: r#"{"ok":true}"#.to_owned() }
}

/// The options of the first request to this model at this server.
fn options(model: &str, base_url: &str) -> RequestOptions {
    let config = OpenAiConfig::new("sk-1".into(), model, base_url.parse().unwrap());
    Capabilities::new(ServerKind::of_host(config.base_url.host()), &config).options()
}

fn input(items: &[ConversationItem]) -> String {
    let options = options("gpt-6-luna", OPENAI);
    let items: Vec<_> = items.iter().cloned().map(Arc::new).collect();
    serde_json::to_string(&InputItems { items: &items, options }).unwrap()
}

#[test]
fn the_body_is_serialized_exactly() {
    let profile = Profile::new("Be \"kind\".", &[raw(r#"{"type":"function","name":"end-call"}"#)]).unwrap();
    let items = [
        ConversationItem::Developer("The call began.".to_owned()),
        ConversationItem::Caller("Hi".to_owned()),
        ConversationItem::Agent(AgentMessage { text: "Hello".to_owned(), phase: Some(MessagePhase::FinalAnswer) }),
        ConversationItem::Reasoning(raw(r#"{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"}"#)),
        tool_call(1, "{}"),
        output(1),
    ]
    .map(Arc::new);
    let luna = options("gpt-6-luna", OPENAI);
    let body = RequestBody::new("gpt-6-luna", &profile, &items, &luna, Some("5af3"));
    let body = serde_json::to_string(&body).unwrap();
    assert!(!body.contains(['\n', '\r']), "{body}");
    insta::assert_snapshot!(body.replace(",{", ",\n{"), @r#"
    {"model":"gpt-6-luna","instructions":"Be \"kind\".","tools":[{"type":"function","name":"end-call"}],"input":[{"role":"developer","content":"The call began."},
    {"role":"user","content":"Hi"},
    {"role":"assistant","content":"Hello","phase":"final_answer"},
    {"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"},
    {"type":"function_call","id":"fc_1","call_id":"call_1","name":"capture-card","arguments":"{}"},
    {"type":"function_call_output","call_id":"call_1","output":"{\"ok\":true}"}],"stream":true,"store":false,"include":["reasoning.encrypted_content"],"reasoning":{"effort":"none"},"text":{"verbosity":"low"},"max_output_tokens":400,"stream_options":{"include_obfuscation":false},"prompt_cache_key":"634e51d638a727c270d24f8ecec8298e","safety_identifier":"5af3"}
    "#);
}

#[test]
fn each_kind_of_model_and_server_gets_the_members_that_it_takes() {
    let profile = Profile::new("Be kind.", &[raw("{}")]).unwrap();
    let items = [ConversationItem::Developer("The call began.".to_owned())].map(Arc::new);
    let body = |model, base_url| {
        let body = RequestBody::new(model, &profile, &items, &options(model, base_url), Some("5af3"));
        let body = serde_json::to_string(&body).unwrap();
        body.split_once(r#""input":"#).unwrap().1.to_owned()
    };
    insta::assert_snapshot!(body("gpt-4o", OPENAI), @r#"[{"role":"developer","content":"The call began."}],"stream":true,"store":false,"max_output_tokens":400,"stream_options":{"include_obfuscation":false},"prompt_cache_key":"e45b8512dd64bf524ed7a8006bfbfc45","safety_identifier":"5af3"}"#);
    insta::assert_snapshot!(body("gpt-5-mini", OPENAI), @r#"[{"role":"developer","content":"The call began."}],"stream":true,"store":false,"include":["reasoning.encrypted_content"],"reasoning":{"effort":"minimal"},"text":{"verbosity":"low"},"stream_options":{"include_obfuscation":false},"prompt_cache_key":"e45b8512dd64bf524ed7a8006bfbfc45","safety_identifier":"5af3"}"#);
    insta::assert_snapshot!(body("our-deployment", "https://acme.openai.azure.com/openai/v1/?api-version=preview"), @r#"[{"role":"developer","content":"The call began."}],"stream":true,"store":false,"reasoning":{"effort":"none"},"max_output_tokens":400,"stream_options":{"include_obfuscation":false},"prompt_cache_key":"e45b8512dd64bf524ed7a8006bfbfc45","safety_identifier":"5af3"}"#);
    insta::assert_snapshot!(body("Qwen/Qwen3.6-35B-A3B", "http://127.0.0.1:8000/v1"), @r#"[{"role":"system","content":"The call began."}],"stream":true,"store":false}"#);
    insta::assert_snapshot!(body("openai/gpt-6-luna", "https://openrouter.ai/api/v1"), @r#"[{"role":"developer","content":"The call began."}],"stream":true,"store":false,"include":["reasoning.encrypted_content"],"reasoning":{"effort":"none"},"text":{"verbosity":"low"},"max_output_tokens":400,"prompt_cache_key":"e45b8512dd64bf524ed7a8006bfbfc45"}"#);
}

#[test]
fn the_cache_is_filled_with_the_same_beginning() {
    let profile = Profile::new("Be kind.", &[raw("{}")]).unwrap();
    let luna = options("gpt-6-luna", OPENAI);
    let json = |body: RequestBody<'_>| serde_json::to_string(&body).unwrap();
    let items = [ConversationItem::Developer("A call comes in.".to_owned())].map(Arc::new);
    let filling = json(RequestBody::prewarming("gpt-6-luna", &profile, &items, &luna));
    let request = json(RequestBody::new("gpt-6-luna", &profile, &items, &luna, None));
    let beginning = request.split_once(r#""input""#).unwrap().0;
    assert!(filling.starts_with(beginning), "{filling}");
    let key = format!(r#""prompt_cache_key":"{}""#, profile.cache_key);
    assert!(filling.contains(&key) && request.contains(&key), "{filling} {request}");
    insta::assert_snapshot!(filling, @r#"{"model":"gpt-6-luna","instructions":"Be kind.","tools":[{}],"input":[{"role":"developer","content":"A call comes in."}],"stream":false,"store":false,"include":["reasoning.encrypted_content"],"reasoning":{"effort":"none"},"text":{"verbosity":"low"},"max_output_tokens":400,"prompt_cache_key":"e45b8512dd64bf524ed7a8006bfbfc45","prompt_cache_options":{"prewarm":true}}"#);
}

#[test]
fn a_message_of_the_server_that_has_the_role_of_the_caller_is_marked() {
    let mut options = options("qwen", "http://127.0.0.1:8000/v1");
    options.role = ServerRole::User;
    let items =
        [ConversationItem::Developer("Paid.".to_owned()), ConversationItem::Caller("Hi".to_owned())].map(Arc::new);
    let sent = serde_json::to_string(&InputItems { items: &items, options }).unwrap();
    insta::assert_snapshot!(sent, @r#"[{"role":"user","content":"[From the telephone system, not from the caller] Paid."},{"role":"user","content":"Hi"}]"#);
}

#[test]
fn reasoning_without_content_is_not_sent_and_its_calls_lose_their_id() {
    for reasoning in [
        r#"{"id":"rs_1","type":"reasoning","summary":[]}"#,
        r#"{"id":"rs_1","type":"reasoning","encrypted_content":null}"#,
        r#"{"id":"rs_1","type":"reasoning","encrypted_content":""}"#,
    ] {
        let sent =
            input(&[ConversationItem::Reasoning(raw(reasoning)), tool_call(1, "{}"), output(1), tool_call(2, "{}")]);
        assert!(!sent.contains("rs_1") && !sent.contains("fc_"), "{sent}");
        assert!(sent.contains("call_1") && sent.contains("call_2"), "{sent}");
    }
}

#[test]
fn reasoning_without_a_call_is_not_sent() {
    let reasoning = || ConversationItem::Reasoning(raw(r#"{"id":"rs_1","encrypted_content":"x"}"#));
    assert_eq!(input(&[reasoning()]), "[]");
    let sent = input(&[reasoning(), ConversationItem::Caller("Wait".to_owned()), tool_call(1, "{}")]);
    assert!(!sent.contains("rs_1") && !sent.contains("fc_1"), "{sent}");
    assert_eq!(input(&[reasoning(), reasoning(), tool_call(1, "{}")]).matches("rs_1").count(), 2);
}

#[test]
fn all_calls_after_a_reasoning_item_keep_their_id_and_later_ones_do_not() {
    let reasoning = ConversationItem::Reasoning(raw(r#"{"id":"rs_1","encrypted_content":"x"}"#));
    let calls = [reasoning, tool_call(1, "{}"), output(1), tool_call(2, "{}"), output(2)];
    let later = [ConversationItem::Caller("Hm".to_owned()), tool_call(3, "{}"), output(3)];
    let sent = input(&[&calls[..], &later[..]].concat());
    assert!(sent.contains("fc_1") && sent.contains("fc_2") && !sent.contains("fc_3"), "{sent}");
}

#[test]
fn arguments_that_are_not_json_are_replaced() {
    for broken in ["", "{", "no", "{} {}"] {
        let sent = input(&[tool_call(1, broken)]);
        assert!(sent.contains(r#""arguments":"{}""#), "{sent}");
    }
    assert!(input(&[tool_call(1, r#"{"a":1}"#)]).contains(r#""arguments":"{\"a\":1}""#));
}
