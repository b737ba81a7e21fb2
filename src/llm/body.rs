//! The body of a request: the constant part first, then the conversation.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Profile;
use crate::call::{Item, ToolCall};

/// A request to the Responses API.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    instructions: &'a RawValue,
    tools: &'a RawValue,
    input: Input<'a>,
    stream: bool,
    store: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
}

impl<'a> Body<'a> {
    /// `encrypted_reasoning` asks for reasoning items that can be sent back, since nothing is stored at OpenAI.
    pub(super) fn new(model: &'a str, profile: &'a Profile, input: &'a [Item], encrypted_reasoning: bool) -> Self {
        Self {
            model,
            instructions: &profile.instructions,
            tools: &profile.tools,
            input: Input(input),
            stream: true,
            store: false,
            include: if encrypted_reasoning { &["reasoning.encrypted_content"] } else { &[] },
        }
    }
}

struct Input<'a>(&'a [Item]);

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A call may name its item only while the reasoning that led to it goes along, and that only before a call: the
        // API refuses either alone, and would refuse it again for the rest of the phone call.
        let mut reasoned = false;
        serializer.collect_seq(self.0.iter().enumerate().filter_map(|(at, item)| {
            reasoned = match item {
                Item::Reasoning(item) => can_go_back(item) && leads_to_a_call(&self.0[at + 1..]),
                Item::ToolCall(_) | Item::ToolOutput { .. } => reasoned,
                Item::Developer(_) | Item::Caller(_) | Item::Agent(_) => false,
            };
            InputItem::new(item, reasoned)
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
    fn new(item: &'a Item, reasoned: bool) -> Option<Self> {
        Some(match item {
            Item::Developer(content) => Self::Message { role: "developer", content },
            Item::Caller(content) => Self::Message { role: "user", content },
            Item::Agent(content) => Self::Message { role: "assistant", content },
            Item::Reasoning(item) => reasoned.then_some(Self::Reasoning(item))?,
            Item::ToolCall(ToolCall { call_id, item_id, name, arguments }) => Self::FunctionCall {
                r#type: "function_call",
                id: item_id.as_deref().filter(|_| reasoned),
                call_id,
                name,
                arguments: readable(arguments.as_str()),
            },
            Item::ToolOutput { call_id, output } => {
                Self::FunctionCallOutput { r#type: "function_call_output", call_id, output }
            }
        })
    }
}

/// Whether a reasoning item holds what it needs to be understood again: with `store: false`, its encrypted content.
fn can_go_back(item: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Reasoning<'a> {
        #[serde(borrow)]
        encrypted_content: Option<&'a RawValue>,
    }
    let item: Result<Reasoning<'_>, _> = serde_json::from_str(item.get());
    item.is_ok_and(|item| item.encrypted_content.is_some_and(|content| content.get().len() > r#""""#.len()))
}

fn leads_to_a_call(rest: &[Item]) -> bool {
    matches!(rest.iter().find(|item| !matches!(item, Item::Reasoning(_))), Some(Item::ToolCall(_)))
}

/// Arguments that are not JSON have been answered with an error already; sent back, they may break the whole request.
fn readable(arguments: &str) -> &str {
    let json: Result<&RawValue, _> = serde_json::from_str(arguments);
    if json.is_ok() { arguments } else { "{}" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn tool_call(n: u32, arguments: &str) -> Item {
        let item_id = Some(format!("fc_{n}"));
        Item::ToolCall(ToolCall::new(format!("call_{n}"), item_id, "capture-card".to_owned(), arguments))
    }

    fn output(n: u32) -> Item {
        Item::ToolOutput { call_id: format!("call_{n}"), output: r#"{"ok":true}"#.to_owned() }
    }

    fn input(items: &[Item]) -> String {
        serde_json::to_string(&Input(items)).unwrap()
    }

    #[test]
    fn the_body_is_exactly_this() {
        let profile = Profile::new("Be \"kind\".", &[raw(r#"{"type":"function","name":"end-call"}"#)]).unwrap();
        let items = [
            Item::Developer("The call began.".to_owned()),
            Item::Caller("Hi".to_owned()),
            Item::Agent("Hello".to_owned()),
            Item::Reasoning(raw(r#"{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"}"#)),
            tool_call(1, "{}"),
            output(1),
        ];
        assert_eq!(
            serde_json::to_string(&Body::new("gpt-5", &profile, &items, true)).unwrap(),
            concat!(
                r#"{"model":"gpt-5","instructions":"Be \"kind\".","tools":[{"type":"function","name":"end-call"}],"#,
                r#""input":[{"role":"developer","content":"The call began."},{"role":"user","content":"Hi"},"#,
                r#"{"role":"assistant","content":"Hello"},"#,
                r#"{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"x"},"#,
                r#"{"type":"function_call","id":"fc_1","call_id":"call_1","name":"capture-card","arguments":"{}"},"#,
                r#"{"type":"function_call_output","call_id":"call_1","output":"{\"ok\":true}"}],"#,
                r#""stream":true,"store":false,"include":["reasoning.encrypted_content"]}"#,
            )
        );
        let plain = serde_json::to_string(&Body::new("gpt-4o", &profile, &[], false)).unwrap();
        assert!(plain.ends_with(r#""input":[],"stream":true,"store":false}"#), "{plain}");
    }

    #[test]
    fn reasoning_without_its_content_stays_here_and_its_calls_lose_their_id() {
        for reasoning in [
            r#"{"id":"rs_1","type":"reasoning","summary":[]}"#,
            r#"{"id":"rs_1","type":"reasoning","encrypted_content":null}"#,
            r#"{"id":"rs_1","type":"reasoning","encrypted_content":""}"#,
        ] {
            let sent = input(&[Item::Reasoning(raw(reasoning)), tool_call(1, "{}"), output(1), tool_call(2, "{}")]);
            assert!(!sent.contains("rs_1") && !sent.contains("fc_"), "{sent}");
            assert!(sent.contains("call_1") && sent.contains("call_2"), "{sent}");
        }
    }

    #[test]
    fn reasoning_whose_call_never_came_stays_here() {
        let reasoning = || Item::Reasoning(raw(r#"{"id":"rs_1","encrypted_content":"x"}"#));
        assert_eq!(input(&[reasoning()]), "[]");
        let sent = input(&[reasoning(), Item::Caller("Wait".to_owned()), tool_call(1, "{}")]);
        assert!(!sent.contains("rs_1") && !sent.contains("fc_1"), "{sent}");
        assert_eq!(input(&[reasoning(), reasoning(), tool_call(1, "{}")]).matches("rs_1").count(), 2);
    }

    #[test]
    fn all_calls_that_one_reasoning_led_to_keep_their_id_and_later_ones_do_not() {
        let reasoning = Item::Reasoning(raw(r#"{"id":"rs_1","encrypted_content":"x"}"#));
        let calls = [reasoning, tool_call(1, "{}"), output(1), tool_call(2, "{}"), output(2)];
        let later = [Item::Caller("Hm".to_owned()), tool_call(3, "{}"), output(3)];
        let sent = input(&[&calls[..], &later[..]].concat());
        assert!(sent.contains("fc_1") && sent.contains("fc_2") && !sent.contains("fc_3"), "{sent}");
    }

    #[test]
    fn arguments_that_are_no_json_do_not_poison_the_conversation() {
        for broken in ["", "{", "no", "{} {}"] {
            let sent = input(&[tool_call(1, broken)]);
            assert!(sent.contains(r#""arguments":"{}""#), "{sent}");
        }
        assert!(input(&[tool_call(1, r#"{"a":1}"#)]).contains(r#""arguments":"{\"a\":1}""#));
    }
}
