//! The body of a request: the constant part first, then the conversation.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Profile;
use crate::call::{ConversationItem, ToolCall};

/// A request to the Responses API.
#[derive(Serialize)]
pub(super) struct RequestBody<'a> {
    model: &'a str,
    instructions: &'a RawValue,
    tools: &'a RawValue,
    input: InputItems<'a>,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
}

impl<'a> RequestBody<'a> {
    /// With `encrypted_reasoning`, asks for reasoning items that can be sent back, since OpenAI stores nothing.
    pub(super) fn new(
        model: &'a str,
        profile: &'a Profile,
        input: &'a [ConversationItem],
        encrypted_reasoning: bool,
    ) -> Self {
        Self {
            model,
            instructions: &profile.instructions,
            tools: &profile.tools,
            input: InputItems(input),
            stream: true,
            store: false,
            include: if encrypted_reasoning { &["reasoning.encrypted_content"] } else { &[] },
        }
    }
}

struct InputItems<'a>(&'a [ConversationItem]);

impl Serialize for InputItems<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A function call may have its item ID only if the reasoning item before it is sent, too, and a reasoning item
        // may be sent only before a call. The API rejects either one alone, and would reject it in every later request
        // of the phone call.
        let mut has_reasoning = false;
        serializer.collect_seq(self.0.iter().enumerate().filter_map(|(at, item)| {
            has_reasoning = match item {
                ConversationItem::Reasoning(item) => {
                    has_encrypted_content(item) && is_followed_by_call(&self.0[at + 1..])
                }
                ConversationItem::ToolCall(_) | ConversationItem::ToolOutput { .. } => has_reasoning,
                ConversationItem::Developer(_) | ConversationItem::Caller(_) | ConversationItem::Agent(_) => false,
            };
            InputItem::new(item, has_reasoning)
        }))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum InputItem<'a> {
    Message {
        role: &'static str,
        content: &'a str,
    },
    Reasoning(&'a RawValue),
    FunctionCall {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        r#type: &'static str,
        call_id: &'a str,
        output: &'a str,
    },
}

impl<'a> InputItem<'a> {
    fn new(item: &'a ConversationItem, has_reasoning: bool) -> Option<Self> {
        Some(match item {
            ConversationItem::Developer(content) => Self::Message { role: "developer", content },
            ConversationItem::Caller(content) => Self::Message { role: "user", content },
            ConversationItem::Agent(content) => Self::Message { role: "assistant", content },
            ConversationItem::Reasoning(item) => has_reasoning.then_some(Self::Reasoning(item))?,
            ConversationItem::ToolCall(ToolCall { call_id, item_id, name, arguments }) => Self::FunctionCall {
                r#type: "function_call",
                id: item_id.as_deref().filter(|_| has_reasoning),
                call_id,
                name,
                arguments: valid_arguments(arguments.as_str()),
            },
            ConversationItem::ToolOutput { call_id, output } => {
                Self::FunctionCallOutput { r#type: "function_call_output", call_id, output }
            }
        })
    }
}

/// Whether a reasoning item can be sent back: with `store: false` it needs its encrypted content.
fn has_encrypted_content(item: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Reasoning<'a> {
        #[serde(borrow)]
        encrypted_content: Option<&'a RawValue>,
    }
    let item: Result<Reasoning<'_>, _> = serde_json::from_str(item.get());
    item.is_ok_and(|item| item.encrypted_content.is_some_and(|content| content.get().len() > r#""""#.len()))
}

fn is_followed_by_call(rest: &[ConversationItem]) -> bool {
    matches!(
        rest.iter().find(|item| !matches!(item, ConversationItem::Reasoning(_))),
        Some(ConversationItem::ToolCall(_))
    )
}

/// Replaces arguments that are not JSON, since they may invalidate the whole request. The call was already answered
/// with an error.
fn valid_arguments(arguments: &str) -> &str {
    let json: Result<&RawValue, _> = serde_json::from_str(arguments);
    if json.is_ok() { arguments } else { "{}" }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn input(items: &[ConversationItem]) -> String {
        serde_json::to_string(&InputItems(items)).unwrap()
    }

    #[test]
    fn the_body_is_serialized_exactly() {
        let profile = Profile::new("Be \"kind\".", &[raw(r#"{"type":"function","name":"end-call"}"#)]).unwrap();
        let items = [
            ConversationItem::Developer("The call began.".to_owned()),
            ConversationItem::Caller("Hi".to_owned()),
            ConversationItem::Agent("Hello".to_owned()),
            ConversationItem::Reasoning(raw(
                r#"{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"}"#,
            )),
            tool_call(1, "{}"),
            output(1),
        ];
        let body = serde_json::to_string(&RequestBody::new("gpt-5", &profile, &items, true)).unwrap();
        assert!(!body.contains(['\n', '\r']), "{body}");
        insta::assert_snapshot!(body.replace(",{", ",\n{"), @r#"
        {"model":"gpt-5","instructions":"Be \"kind\".","tools":[{"type":"function","name":"end-call"}],"input":[{"role":"developer","content":"The call began."},
        {"role":"user","content":"Hi"},
        {"role":"assistant","content":"Hello"},
        {"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"},
        {"type":"function_call","id":"fc_1","call_id":"call_1","name":"capture-card","arguments":"{}"},
        {"type":"function_call_output","call_id":"call_1","output":"{\"ok\":true}"}],"stream":true,"store":false,"include":["reasoning.encrypted_content"]}
        "#);
        let plain = serde_json::to_string(&RequestBody::new("gpt-4o", &profile, &[], false)).unwrap();
        assert!(plain.ends_with(r#""input":[],"stream":true,"store":false}"#), "{plain}");
    }

    #[test]
    fn reasoning_without_content_is_not_sent_and_its_calls_lose_their_id() {
        for reasoning in [
            r#"{"id":"rs_1","type":"reasoning","summary":[]}"#,
            r#"{"id":"rs_1","type":"reasoning","encrypted_content":null}"#,
            r#"{"id":"rs_1","type":"reasoning","encrypted_content":""}"#,
        ] {
            let sent = input(&[
                ConversationItem::Reasoning(raw(reasoning)),
                tool_call(1, "{}"),
                output(1),
                tool_call(2, "{}"),
            ]);
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
}
