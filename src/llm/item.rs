//! The items of a response's output, read as far as they are used.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{elements, text};
use crate::call::MessagePhase;

/// An item of the output: of `response.output_item.added` and `.done`, or of the final snapshot.
pub(super) enum OutputItem<'a> {
    /// `message`: its phase, and the text of its parts, refusals included.
    Message { phase: Option<MessagePhase>, parts: Vec<Cow<'a, str>> },
    /// `function_call`
    Call(CallItem<'a>),
    /// `reasoning`, unchanged.
    Reasoning(&'a RawValue),
    /// Any other item, and a message that is not the model's.
    Other,
}

/// A function call. What is missing is empty, and so is an id of white space.
pub(super) struct CallItem<'a> {
    pub(super) call_id: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    /// JSON text.
    pub(super) arguments: Cow<'a, str>,
    pub(super) status: ItemStatus,
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemStatus {
    /// `completed`, or no status.
    Completed,
    /// `in_progress`, or a status that is not known.
    InProgress,
    /// `incomplete`, or failed.
    Incomplete,
}

#[derive(Deserialize)]
struct RawItem<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    #[serde(borrow)]
    phase: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    /// The form of Chat Completions.
    #[serde(borrow)]
    function: Option<&'a RawValue>,
}

impl<'a> OutputItem<'a> {
    /// Parses an item, and returns its id with it. An item that cannot be read is `Other`.
    pub(super) fn parse(raw: &'a RawValue) -> (Option<Cow<'a, str>>, Self) {
        let Some(item) = parse_object(raw) else { return (None, Self::Other) };
        let id = item.id.and_then(text).filter(|id| !id.trim().is_empty());
        let is_model = item.role.and_then(text).is_none_or(|role| role == "assistant");
        let inferred = || {
            let is_call = item.name.is_some() && item.arguments.is_some();
            if is_call {
                "function_call"
            } else if item.content.is_some() {
                "message"
            } else {
                ""
            }
        };
        let kind = item.r#type.and_then(text).unwrap_or_else(|| inferred().into());
        let parsed = match Some(kind.as_ref()) {
            Some("message") if is_model => Self::Message {
                phase: item.phase.and_then(text).and_then(|phase| MessagePhase::from_wire(&phase)),
                parts: item.content.map(read_parts).unwrap_or_default(),
            },
            Some("function_call") => Self::Call(CallItem::new(&item)),
            Some("reasoning") => Self::Reasoning(raw),
            _ => Self::Other,
        };
        (id, parsed)
    }
}

impl<'a> CallItem<'a> {
    fn new(item: &RawItem<'a>) -> Self {
        let function = item.function.and_then(parse_object);
        let of_function = function.as_ref();
        let non_empty = |raw: Option<&'a RawValue>| raw.and_then(text).filter(|text| !text.is_empty());
        let name = non_empty(item.name).or_else(|| non_empty(of_function?.name));
        let arguments = item.arguments.or(of_function.and_then(|function| function.arguments));
        Self {
            call_id: non_empty(item.call_id).filter(|id| !id.trim().is_empty()).unwrap_or_default(),
            name: name.unwrap_or_default(),
            arguments: arguments.map(read_arguments).unwrap_or_default(),
            status: match item.status.and_then(text).as_deref() {
                None | Some("" | "completed") => ItemStatus::Completed,
                Some("incomplete" | "failed" | "cancelled") => ItemStatus::Incomplete,
                Some(_) => ItemStatus::InProgress,
            },
        }
    }
}

/// Reads arguments that are JSON text, as the API says, or the object itself, or `null`.
pub(super) fn read_arguments(raw: &RawValue) -> Cow<'_, str> {
    match text(raw) {
        Some(arguments) => arguments,
        None if raw.get() == "null" => Cow::Borrowed(""),
        None => Cow::Borrowed(raw.get()),
    }
}

/// Reads the text of a content part, and `None` of a part that is not spoken.
pub(super) fn read_part(raw: &RawValue) -> Option<Cow<'_, str>> {
    let Some(part) = parse_object(raw) else { return text(raw) };
    match part.r#type.and_then(text).as_deref() {
        Some("refusal") => part.refusal.or(part.text).and_then(text),
        Some("output_text" | "text") | None => {
            let value = |raw| parse_object(raw)?.value.and_then(text);
            part.text.and_then(|raw| text(raw).or_else(|| value(raw)))
        }
        Some(_) => None,
    }
}

/// Reads the content of a message: a list of parts, or the text itself.
fn read_parts(raw: &RawValue) -> Vec<Cow<'_, str>> {
    match text(raw) {
        Some(text) => vec![text],
        None => elements(raw).into_iter().filter_map(read_part).collect(),
    }
}

/// Parses an object; an array would be read as the fields in order.
fn parse_object(raw: &RawValue) -> Option<RawItem<'_>> {
    if raw.get().starts_with('{') { serde_json::from_str(raw.get()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn call(json: &str) -> String {
        let (id, OutputItem::Call(call)) = OutputItem::parse(raw(json)) else { panic!("{json}") };
        format!("{} {} {} {} {:?}", id.unwrap_or_default(), call.call_id, call.name, call.arguments, call.status)
    }

    fn message(json: &str) -> Option<String> {
        match OutputItem::parse(raw(json)).1 {
            OutputItem::Message { parts, .. } => Some(parts.join("|")),
            _ => None,
        }
    }

    #[test]
    fn a_function_call_is_read_in_every_form() {
        for (json, read) in [
            (
                r#"{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"a\":1}","call_id":"call_1","name":"end-call"}"#,
                r#"fc_1 call_1 end-call {"a":1} Completed"#,
            ),
            (
                r#"{"id":"fc_1","type":"function_call","name":"x","arguments":{"a": 1}}"#,
                r#"fc_1  x {"a": 1} Completed"#,
            ),
            (r#"{"id":null,"type":"function_call","call_id":"c","name":"x","arguments":null}"#, " c x  Completed"),
            (r#"{"type":"function_call","call_id":"","function":{"name":"x","arguments":"{}"}}"#, "  x {} Completed"),
            (r#"{"type":"function_call","status":"incomplete"}"#, "    Incomplete"),
            (r#"{"type":"function_call","status":"in_progress"}"#, "    InProgress"),
            (r#"{"type":"function_call","status":null,"call_id":7,"name":[]}"#, "    Completed"),
        ] {
            assert_eq!(call(json), read, "{json}");
        }
    }

    #[test]
    fn the_text_of_a_message_is_read_in_every_form() {
        for (content, text) in [
            (r#"[{"type":"output_text","text":"a","annotations":[]},{"type":"refusal","refusal":"b"}]"#, "a|b"),
            (r#"[{"type":"text","text":"a"},{"type":"reasoning_text","text":"b"},{"type":"image"}]"#, "a"),
            (r#""caf\u00e9""#, "café"),
            (r#"[{"text":"a"}]"#, "a"),
            ("null", ""),
            ("7", ""),
        ] {
            assert_eq!(message(&format!(r#"{{"type":"message","content":{content}}}"#)).as_deref(), Some(text));
        }
        assert_eq!(message(r#"{"type":"message","role":"user","content":"a"}"#), None);
        assert_eq!(message(r#"["message"]"#), None);
        assert_eq!(message(r#"{"type":"web_search_call"}"#), None);
    }
}
