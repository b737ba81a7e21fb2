//! The events of a streamed response, decoded only as far as they are used. Unknown events are skipped, since OpenAI
//! adds new ones. A terminal event counts as such even if the rest of it cannot be read.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::{MessagePhase, ToolCall};

/// An event, reduced to what this program uses.
pub(super) enum StreamEvent {
    /// Text to speak: `response.output_text.delta`, or `response.refusal.delta`, which is spoken, too.
    Text(String),
    /// A part of the arguments of a function call: the response has started.
    Arguments,
    /// A complete function call.
    Call(ToolCall),
    /// A complete reasoning item.
    Reasoning(Box<RawValue>),
    /// A message begins that has this phase.
    MessagePhase(MessagePhase),
    /// A complete message; its text came in deltas.
    Message,
    /// `response.completed`.
    Completed(TokenUsage),
    /// `response.incomplete`: the response was cut off by a limit or a filter.
    Incomplete(TokenUsage),
    /// `response.failed` or `error`.
    Failed(OpenAiErrorInfo),
    /// Any other event.
    Other,
}

/// The token usage of a response; 0 where unknown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TokenUsage {
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
}

/// `code`, `type` and `param` of an OpenAI error. Its message is omitted, since it may repeat what was said on the
/// call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OpenAiErrorInfo {
    pub(super) code: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) param: Option<String>,
}

/// An event could not be read. Holds its type, if that could be read.
#[derive(Debug)]
pub(super) struct ParseEventError(pub(super) Option<String>);

#[derive(Deserialize)]
struct EventHead<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct TextDelta {
    delta: String,
}

#[derive(Deserialize)]
struct OutputItemDone<'a> {
    #[serde(borrow)]
    item: &'a RawValue,
}

#[derive(Deserialize)]
struct FunctionCallItem {
    id: Option<String>,
    call_id: String,
    name: String,
    #[serde(default)]
    arguments: String,
}

impl StreamEvent {
    /// Parses one event.
    pub(super) fn parse(raw: &RawValue) -> Result<Self, ParseEventError> {
        let kind = event_type(raw).ok_or(ParseEventError(None))?;
        Self::parse_as(&kind, raw).map_err(|_| ParseEventError(loggable_code(&kind)))
    }

    fn parse_as(kind: &str, raw: &RawValue) -> serde_json::Result<Self> {
        let json = raw.get();
        Ok(match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                Self::Text(serde_json::from_str::<TextDelta>(json)?.delta)
            }
            "response.function_call_arguments.delta" => Self::Arguments,
            "response.output_item.added" => parse_phase(json).map_or(Self::Other, Self::MessagePhase),
            "response.output_item.done" => Self::parse_item(serde_json::from_str::<OutputItemDone<'_>>(json)?.item)?,
            "response.completed" => Self::Completed(parse_usage(json)),
            "response.incomplete" => Self::Incomplete(parse_usage(json)),
            "response.failed" | "error" => Self::Failed(OpenAiErrorInfo::parse(json)),
            _ => Self::Other,
        })
    }

    fn parse_item(item: &RawValue) -> serde_json::Result<Self> {
        Ok(match event_type(item).as_deref() {
            Some("function_call") => {
                let FunctionCallItem { id, call_id, name, arguments } = serde_json::from_str(item.get())?;
                Self::Call(ToolCall::new(call_id, id, name, &arguments))
            }
            Some("reasoning") => Self::Reasoning(item.to_owned()),
            Some("message") => Self::Message,
            _ => Self::Other,
        })
    }
}

impl OpenAiErrorInfo {
    /// Parses the error of an error body, of an `error` event in either of its forms, or of a failed response.
    pub(super) fn parse(json: &str) -> Self {
        #[derive(Deserialize, Default)]
        struct Envelope<'a> {
            #[serde(borrow)]
            error: Option<&'a RawValue>,
            #[serde(borrow)]
            response: Option<&'a RawValue>,
        }
        #[derive(Deserialize, Default)]
        struct ErrorObject<'a> {
            #[serde(borrow)]
            code: Option<&'a RawValue>,
            #[serde(borrow)]
            r#type: Option<&'a RawValue>,
            #[serde(borrow)]
            param: Option<&'a RawValue>,
        }
        let parse_envelope = |json| serde_json::from_str::<Envelope<'_>>(json).unwrap_or_default();
        let outer = parse_envelope(json);
        let error = outer.error.or_else(|| parse_envelope(outer.response?.get()).error).map_or(json, RawValue::get);
        let fields: ErrorObject<'_> = serde_json::from_str(error).unwrap_or_default();
        let read = |raw: Option<&RawValue>| {
            // A code is a string at OpenAI, and may be a number at compatible APIs.
            let text = raw?.get();
            loggable_code(serde_json::from_str::<String>(text).as_deref().unwrap_or(text))
        };
        let kind = read(fields.r#type).filter(|kind| kind != "error");
        Self { code: read(fields.code), kind, param: read(fields.param) }
    }

    /// Whether the code or the type is one of `words`.
    pub(super) fn is_one_of(&self, words: &[&str]) -> bool {
        [&self.code, &self.kind].into_iter().flatten().any(|word| words.contains(&word.as_str()))
    }
}

/// The type of an event or item. An `error` event was observed without a type.
fn event_type(raw: &RawValue) -> Option<Cow<'_, str>> {
    let head: EventHead<'_> = serde_json::from_str(raw.get()).ok()?;
    if !head.r#type.is_empty() {
        return Some(head.r#type);
    }
    (OpenAiErrorInfo::parse(raw.get()) != OpenAiErrorInfo::default()).then_some(Cow::Borrowed("error"))
}

/// A code that is safe to log: at most 64 characters of letters, digits and `._-[]`. `null` is omitted.
fn loggable_code(text: &str) -> Option<String> {
    let fits = text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-[]".contains(&byte));
    (fits && !text.is_empty() && text != "null").then(|| text.to_owned())
}

/// The phase of the message in `response.output_item.added`.
fn parse_phase(json: &str) -> Option<MessagePhase> {
    #[derive(Deserialize)]
    struct OutputItemAdded<'a> {
        #[serde(borrow)]
        item: MessageItem<'a>,
    }
    #[derive(Deserialize)]
    struct MessageItem<'a> {
        #[serde(borrow)]
        phase: Cow<'a, str>,
    }
    let added: OutputItemAdded<'_> = serde_json::from_str(json).ok()?;
    MessagePhase::from_wire(&added.item.phase)
}

fn parse_usage(json: &str) -> TokenUsage {
    #[derive(Deserialize)]
    struct TerminalEvent {
        response: ResponseObject,
    }
    #[derive(Deserialize)]
    struct ResponseObject {
        usage: UsageObject,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct UsageObject {
        input_tokens: u64,
        input_tokens_details: Option<TokenDetails>,
        output_tokens: u64,
        output_tokens_details: Option<TokenDetails>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct TokenDetails {
        cached_tokens: u64,
        reasoning_tokens: u64,
    }
    let Ok(TerminalEvent { response: ResponseObject { usage } }) = serde_json::from_str(json) else {
        return TokenUsage::default();
    };
    TokenUsage {
        input: usage.input_tokens,
        cached: usage.input_tokens_details.unwrap_or_default().cached_tokens,
        output: usage.output_tokens,
        reasoning: usage.output_tokens_details.unwrap_or_default().reasoning_tokens,
    }
}

/// Shows the kind of the event, and not its contents.
impl fmt::Debug for StreamEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Arguments => f.write_str("Arguments"),
            Self::Call(call) => write!(f, "{call:?}"),
            Self::Reasoning(_) => f.write_str("Reasoning"),
            Self::MessagePhase(phase) => write!(f, "MessagePhase({phase:?})"),
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
