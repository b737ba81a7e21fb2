//! The events of a streamed response, decoded no further than they are used. Unknown ones are skipped, since OpenAI
//! adds some; a terminal one counts as such even if the rest of it cannot be read.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::ToolCall;

/// What an event means here.
pub(super) enum Event {
    /// Words to say: `response.output_text.delta`, or `response.refusal.delta`, which is spoken too.
    Text(String),
    /// A part of a call's arguments: the model has begun to answer.
    Arguments,
    /// A call, whole.
    Call(ToolCall),
    /// A reasoning item, whole.
    Reasoning(Box<RawValue>),
    /// A message, whole; its text has come in deltas.
    Message,
    /// `response.completed`.
    Completed(Usage),
    /// `response.incomplete`: a limit or a filter cut it off.
    Incomplete(Usage),
    /// `response.failed` or `error`.
    Failed(Fault),
    /// Something else.
    Other,
}

/// What the response cost, in tokens; 0 for what was not told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
}

/// What went wrong in OpenAI's own words for it: `code`, `type` and `param` of an error, but never its message, which may
/// repeat what was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) param: Option<String>,
}

/// An event that cannot be read, by its type, if even that can.
#[derive(Debug)]
pub(super) struct Broken(pub(super) Option<String>);

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Delta {
    delta: String,
}

#[derive(Deserialize)]
struct ItemDone<'a> {
    #[serde(borrow)]
    item: &'a RawValue,
}

#[derive(Deserialize)]
struct FunctionCall {
    id: Option<String>,
    call_id: String,
    name: String,
    #[serde(default)]
    arguments: String,
}

impl Event {
    /// Reads one event.
    pub(super) fn read(raw: &RawValue) -> Result<Self, Broken> {
        let kind = kind_of(raw).ok_or(Broken(None))?;
        Self::read_as(&kind, raw).map_err(|_| Broken(word(&kind)))
    }

    fn read_as(kind: &str, raw: &RawValue) -> serde_json::Result<Self> {
        let json = raw.get();
        Ok(match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                Self::Text(serde_json::from_str::<Delta>(json)?.delta)
            }
            "response.function_call_arguments.delta" => Self::Arguments,
            "response.output_item.done" => Self::item(serde_json::from_str::<ItemDone<'_>>(json)?.item)?,
            "response.completed" => Self::Completed(usage(json)),
            "response.incomplete" => Self::Incomplete(usage(json)),
            "response.failed" | "error" => Self::Failed(Fault::read(json)),
            _ => Self::Other,
        })
    }

    fn item(item: &RawValue) -> serde_json::Result<Self> {
        Ok(match kind_of(item).as_deref() {
            Some("function_call") => {
                let FunctionCall { id, call_id, name, arguments } = serde_json::from_str(item.get())?;
                Self::Call(ToolCall::new(call_id, id, name, &arguments))
            }
            Some("reasoning") => Self::Reasoning(item.to_owned()),
            Some("message") => Self::Message,
            _ => Self::Other,
        })
    }
}

impl Fault {
    /// Reads the error out of an error body, an `error` event in either of its forms, or a failed response.
    pub(super) fn read(json: &str) -> Self {
        #[derive(Deserialize, Default)]
        struct Nest<'a> {
            #[serde(borrow)]
            error: Option<&'a RawValue>,
            #[serde(borrow)]
            response: Option<&'a RawValue>,
        }
        #[derive(Deserialize, Default)]
        struct Words<'a> {
            #[serde(borrow)]
            code: Option<&'a RawValue>,
            #[serde(borrow)]
            r#type: Option<&'a RawValue>,
            #[serde(borrow)]
            param: Option<&'a RawValue>,
        }
        let nest = |json| serde_json::from_str::<Nest<'_>>(json).unwrap_or_default();
        let outer = nest(json);
        let error = outer.error.or_else(|| nest(outer.response?.get()).error).map_or(json, RawValue::get);
        let words: Words<'_> = serde_json::from_str(error).unwrap_or_default();
        let read = |raw: Option<&RawValue>| {
            // A code is a text at OpenAI and may be a number elsewhere.
            let text = raw?.get();
            word(serde_json::from_str::<String>(text).as_deref().unwrap_or(text))
        };
        let kind = read(words.r#type).filter(|kind| kind != "error");
        Self { code: read(words.code), kind, param: read(words.param) }
    }

    /// Whether this is one of `words`, by code or by type.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        [&self.code, &self.kind].into_iter().flatten().any(|word| words.contains(&word.as_str()))
    }
}

/// The type of an event or item. An `error` event has been seen without one.
fn kind_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let head: Head<'_> = serde_json::from_str(raw.get()).ok()?;
    if !head.r#type.is_empty() {
        return Some(head.r#type);
    }
    (Fault::read(raw.get()) != Fault::default()).then_some(Cow::Borrowed("error"))
}

/// A word that may be logged: short, and made like a code. `null` is none.
fn word(text: &str) -> Option<String> {
    let fits = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-[]".contains(&byte));
    (fits && !text.is_empty() && text != "null").then(|| text.to_owned())
}

fn usage(json: &str) -> Usage {
    #[derive(Deserialize)]
    struct Terminal {
        response: Reported,
    }
    #[derive(Deserialize)]
    struct Reported {
        usage: Counts,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Counts {
        input_tokens: u64,
        input_tokens_details: Option<Details>,
        output_tokens: u64,
        output_tokens_details: Option<Details>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Details {
        cached_tokens: u64,
        reasoning_tokens: u64,
    }
    let Ok(Terminal { response: Reported { usage } }) = serde_json::from_str(json) else {
        return Usage::default();
    };
    Usage {
        input: usage.input_tokens,
        cached: usage.input_tokens_details.unwrap_or_default().cached_tokens,
        output: usage.output_tokens,
        reasoning: usage.output_tokens_details.unwrap_or_default().reasoning_tokens,
    }
}

/// The kind of event and nothing of what it says.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Arguments => f.write_str("Arguments"),
            Self::Call(call) => write!(f, "{call:?}"),
            Self::Reasoning(_) => f.write_str("Reasoning"),
            Self::Message => f.write_str("Message"),
            Self::Completed(usage) => write!(f, "Completed({usage:?})"),
            Self::Incomplete(usage) => write!(f, "Incomplete({usage:?})"),
            Self::Failed(fault) => write!(f, "Failed({fault:?})"),
            Self::Other => f.write_str("Other"),
        }
    }
}

#[cfg(test)]
mod tests;
