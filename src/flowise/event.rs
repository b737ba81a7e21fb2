//! The events of a prediction, as far as they matter to a caller.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An event of the stream. On the wire it is the JSON object `{"event": kind, "data": …}`; the kind is not in a field of
/// the server-sent event.
#[derive(PartialEq, Eq)]
pub(super) enum FlowiseEvent {
    /// `token`: a piece of the text, possibly empty.
    Token(String),
    /// `usageMetadata`: the numbers of input and output tokens.
    Usage {
        /// `input_tokens`.
        input: u64,
        /// `output_tokens`.
        output: u64,
    },
    /// `calledTools` or `usedTools`: the flow calls tools, or has called them. What they are is not read.
    Tools,
    /// `metadata`: the answer is complete, and the last `end` follows.
    Metadata,
    /// `error`: the prediction failed. Its text is not read, since it may repeat the conversation.
    Error,
    /// `abort`: the prediction was stopped.
    Abort,
    /// `end`: a step of the flow, or all of it, is complete.
    End,
    /// Another kind, such as the progress of the flow, or an event that cannot be read.
    Other,
}

/// Shows the kind of event and sizes, never the text.
impl fmt::Debug for FlowiseEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(text) => write!(f, "Token({} bytes)", text.len()),
            Self::Usage { input, output } => write!(f, "Usage({input}, {output})"),
            Self::Tools => f.write_str("Tools"),
            Self::Metadata => f.write_str("Metadata"),
            Self::Error => f.write_str("Error"),
            Self::Abort => f.write_str("Abort"),
            Self::End => f.write_str("End"),
            Self::Other => f.write_str("Other"),
        }
    }
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
}

/// The answer of a flow that does not stream. All other members are ignored: they repeat the conversation.
#[derive(Deserialize)]
struct JsonAnswer {
    text: Option<String>,
}

impl FlowiseEvent {
    /// Parses the data of a server-sent event.
    pub(super) fn parse(data: &str) -> Self {
        let Ok(RawEvent { event, data }) = serde_json::from_str(data) else { return Self::Other };
        let data = data.map_or("null", RawValue::get);
        match &*event {
            "token" => serde_json::from_str(data).map_or(Self::Other, Self::Token),
            "usageMetadata" => {
                let Usage { input_tokens, output_tokens } = serde_json::from_str(data).unwrap_or_default();
                Self::Usage { input: input_tokens, output: output_tokens }
            }
            "calledTools" | "usedTools" => Self::Tools,
            "metadata" => Self::Metadata,
            "error" => Self::Error,
            "abort" => Self::Abort,
            "end" => Self::End,
            _ => Self::Other,
        }
    }
}

/// Parses the answer of a flow that does not stream: its text, or `None` if it has none.
pub(super) fn parse_json_answer(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<JsonAnswer>(body).ok()?.text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_matters_to_a_caller_is_read_and_everything_else_is_skipped() {
        for (data, event) in [
            (r#"{"event":"token","data":"He\u00e9\n"}"#, FlowiseEvent::Token("Heé\n".to_owned())),
            (r#"{"event":"token","data":""}"#, FlowiseEvent::Token(String::new())),
            (r#"{"event":"token","data":null}"#, FlowiseEvent::Other),
            (r#"{"event":"error","data":"secret"}"#, FlowiseEvent::Error),
            (r#"{"event":"calledTools","data":[{}]}"#, FlowiseEvent::Tools),
            (r#"{"event":"metadata","data":{"chatId":"a"}}"#, FlowiseEvent::Metadata),
            (r#"{"event":"abort","data":"[DONE]"}"#, FlowiseEvent::Abort),
            (r#"{"data":"[DONE]","event":"end"}"#, FlowiseEvent::End),
            (r#"{"event":"usageMetadata","data":{"input_tokens":7}}"#, FlowiseEvent::Usage { input: 7, output: 0 }),
            (r#"{"event":"usageMetadata","data":"-"}"#, FlowiseEvent::Usage { input: 0, output: 0 }),
            (r#"{"event":"agentFlowEvent","data":"INPROGRESS"}"#, FlowiseEvent::Other),
            (r#"{"event":"thinking","data":"hm"}"#, FlowiseEvent::Other),
            (r#"{"event":7}"#, FlowiseEvent::Other),
            ("[DONE]", FlowiseEvent::Other),
            ("", FlowiseEvent::Other),
        ] {
            assert_eq!(FlowiseEvent::parse(data), event, "{data}");
        }
    }

    #[test]
    fn a_json_answer_is_its_text() {
        let text = |body: &str| parse_json_answer(body.as_bytes());
        assert_eq!(
            text(r#"{"text":"Hello.","question":"Hi","chatId":"1","agentFlowExecutedData":[{}]}"#).as_deref(),
            Some("Hello.")
        );
        for body in [r#"{"message":"no"}"#, r#"{"text":{}}"#, "[]", "Hello.", r#"{"text":"He"#] {
            assert_eq!(text(body), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_data_panics(data in "\\PC*") {
            let _ = FlowiseEvent::parse(&data);
            let _ = parse_json_answer(data.as_bytes());
        }
    }
}
