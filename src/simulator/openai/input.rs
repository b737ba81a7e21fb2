//! Parses the `input` of a Responses request strictly into items.

use serde_json::Value;

/// An item of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ModelInputItem {
    /// A developer or system message.
    Developer(String),
    /// A user message.
    User(String),
    /// An assistant message.
    Assistant(String),
    /// A tool call.
    Call {
        /// `call_id`.
        call_id: String,
        /// `id`, if present.
        id: Option<String>,
        /// The name of the tool.
        name: String,
        /// The arguments as JSON text.
        arguments: String,
    },
    /// The output of a tool.
    Output {
        /// `call_id`.
        call_id: String,
        /// The output as sent.
        output: String,
    },
    /// A reasoning item.
    Reasoning {
        /// `rs_…`.
        id: String,
        /// Whether it has its encrypted content.
        encrypted: bool,
    },
}

impl ModelInputItem {
    /// Parses an item. An error says what is wrong with it.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let needed = |name: &str| text(name).ok_or_else(|| format!("an input item has no {name}"));
        match value.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => {
                let content = content(value.get("content").unwrap_or(&Value::Null))?;
                check_phase(value)?;
                match needed("role")?.as_str() {
                    "developer" | "system" => Ok(Self::Developer(content)),
                    "user" => Ok(Self::User(content)),
                    "assistant" => Ok(Self::Assistant(content)),
                    role => Err(format!("{role:?} is not a role")),
                }
            }
            "function_call" => Ok(Self::Call {
                call_id: needed("call_id")?,
                id: text("id"),
                name: needed("name")?,
                arguments: needed("arguments")?,
            }),
            "function_call_output" => Ok(Self::Output { call_id: needed("call_id")?, output: needed("output")? }),
            "reasoning" => Ok(Self::Reasoning {
                id: needed("id")?,
                encrypted: value.get("encrypted_content").is_some_and(Value::is_string),
            }),
            other => Err(format!("an input item of the type {other:?}")),
        }
    }
}

/// Checks the phase of a message: only an assistant message may have one.
fn check_phase(message: &Value) -> Result<(), String> {
    let is_assistant = message["role"] == "assistant";
    match message.get("phase").map(|phase| phase.as_str().unwrap_or_default()) {
        None => Ok(()),
        Some("commentary" | "final_answer") if is_assistant => Ok(()),
        Some(_) => Err("a message has a phase that it must not have".to_owned()),
    }
}

/// Parses the content of a message: a text, or parts with texts.
fn content(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text.clone()),
        Value::Array(parts) if !parts.is_empty() => parts
            .iter()
            .map(|part| part.get("text").and_then(Value::as_str))
            .collect::<Option<String>>()
            .ok_or_else(|| "a part of a message has no text".to_owned()),
        _ => Err("a message has no content".to_owned()),
    }
}
