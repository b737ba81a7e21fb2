//! The body of a request: the constant part first, then the conversation.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Profile;
use super::capabilities::{RequestOptions, ServerRole};
use super::refusal::OptionalField;
use crate::call::{AgentMessage, ConversationItem, MessagePhase, ToolCall};
use crate::config::{ReasoningEffort, ServiceTier};

/// What a message of this server begins with if it must have the role `user`.
const SERVER_MARK: &str = "[From the telephone system, not from the caller] ";

/// A request to the Responses API.
#[derive(Clone, Copy, Serialize)]
pub(super) struct RequestBody<'a> {
    model: &'a str,
    instructions: &'a RawValue,
    tools: &'a RawValue,
    input: InputItems<'a>,
    /// Absent over a WebSocket, which streams always.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    store: bool,
    /// Asks for reasoning items that can be sent back, since OpenAI stores nothing.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<ServiceTier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_options: Option<PromptCacheOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    safety_identifier: Option<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
struct Reasoning {
    effort: ReasoningEffort,
}

#[derive(Clone, Copy, Serialize)]
struct TextFormat {
    verbosity: &'static str,
}

/// Without obfuscation, text deltas have no random padding.
#[derive(Clone, Copy, Serialize)]
struct StreamOptions {
    include_obfuscation: bool,
}

#[derive(Clone, Copy, Serialize)]
struct PromptCacheOptions {
    prewarm: bool,
}

impl<'a> RequestBody<'a> {
    /// A request for a streamed response. `safety_identifier` identifies the caller.
    pub(super) fn new(
        model: &'a str,
        profile: &'a Profile,
        input: &'a [Arc<ConversationItem>],
        options: &RequestOptions,
        safety_identifier: Option<&'a str>,
    ) -> Self {
        let has = |field| options.has(field);
        Self {
            model,
            instructions: &profile.instructions.json,
            tools: &profile.tools.json,
            input: InputItems { items: input, options: *options },
            stream: Some(true),
            store: false,
            include: if has(OptionalField::Include) { &["reasoning.encrypted_content"] } else { &[] },
            reasoning: options.effort.map(|effort| Reasoning { effort }),
            text: has(OptionalField::Verbosity).then_some(TextFormat { verbosity: "low" }),
            service_tier: options.service_tier,
            max_output_tokens: options.max_output_tokens,
            stream_options: has(OptionalField::StreamOptions).then_some(StreamOptions { include_obfuscation: false }),
            prompt_cache_key: has(OptionalField::PromptCacheKey).then_some(&*profile.cache_key),
            prompt_cache_options: None,
            safety_identifier: safety_identifier.filter(|_| has(OptionalField::SafetyIdentifier)),
        }
    }

    /// About the size of the body, in bytes, so that its buffer need not grow.
    pub(super) fn estimated_bytes(&self) -> usize {
        /// More than all other members.
        const MEMBERS: usize = 1024;
        let items = self.input.items.iter().map(|item| item.json_bytes()).sum::<usize>();
        MEMBERS + self.instructions.get().len() + self.tools.get().len() + items
    }

    /// The message that requests the same response over a WebSocket, in this lane.
    pub(super) fn over_socket(&self, stream_id: &'a str) -> CreateMessage<'a> {
        CreateMessage { r#type: "response.create", stream_id, body: Self { stream: None, ..*self } }
    }

    /// A request that fills the prompt cache with what all calls of a profile begin with, and generates nothing. Its
    /// response is not streamed.
    pub(super) fn prewarming(
        model: &'a str,
        profile: &'a Profile,
        input: &'a [Arc<ConversationItem>],
        options: &RequestOptions,
    ) -> Self {
        Self {
            stream: Some(false),
            stream_options: None,
            prompt_cache_options: Some(PromptCacheOptions { prewarm: true }),
            ..Self::new(model, profile, input, options, None)
        }
    }
}

/// The message that requests a response over a WebSocket.
#[derive(Serialize)]
pub(super) struct CreateMessage<'a> {
    r#type: &'static str,
    /// The lane, which all events of the response name.
    stream_id: &'a str,
    #[serde(flatten)]
    body: RequestBody<'a>,
}

#[derive(Clone, Copy)]
struct InputItems<'a> {
    items: &'a [Arc<ConversationItem>],
    options: RequestOptions,
}

impl Serialize for InputItems<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A function call may have its item ID only if the reasoning item before it is sent, too, and a reasoning item
        // may be sent only before a call. The API rejects either one alone, and would reject it in every later request
        // of the phone call.
        let mut has_reasoning = false;
        serializer.collect_seq(self.items.iter().enumerate().filter_map(|(at, item)| {
            has_reasoning = match &**item {
                ConversationItem::Reasoning(item) => {
                    has_encrypted_content(item) && is_followed_by_call(&self.items[at + 1..])
                }
                ConversationItem::ToolCall(_) | ConversationItem::ToolOutput { .. } => has_reasoning,
                ConversationItem::Developer(_) | ConversationItem::Caller(_) | ConversationItem::Agent(_) => false,
            };
            InputItem::new(item, has_reasoning, &self.options)
        }))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum InputItem<'a> {
    Message {
        role: &'static str,
        content: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<&'static str>,
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
    fn new(item: &'a ConversationItem, has_reasoning: bool, options: &RequestOptions) -> Option<Self> {
        Some(match item {
            ConversationItem::Developer(text) => Self::server_message(text, options.role),
            ConversationItem::Caller(text) => Self::Message { role: "user", content: text.into(), phase: None },
            ConversationItem::Agent(AgentMessage { text, phase }) => {
                let phase = phase.filter(|_| options.has(OptionalField::MessagePhase));
                Self::Message { role: "assistant", content: text.into(), phase: phase.map(MessagePhase::as_str) }
            }
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

impl<'a> InputItem<'a> {
    /// A message of this server to the model.
    fn server_message(text: &'a str, role: ServerRole) -> Self {
        let (role, content) = match role {
            ServerRole::Developer => ("developer", text.into()),
            ServerRole::System => ("system", text.into()),
            ServerRole::User => ("user", format!("{SERVER_MARK}{text}").into()),
        };
        Self::Message { role, content, phase: None }
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

fn is_followed_by_call(rest: &[Arc<ConversationItem>]) -> bool {
    let next = rest.iter().map(|item| &**item).find(|item| !matches!(item, ConversationItem::Reasoning(_)));
    matches!(next, Some(ConversationItem::ToolCall(_)))
}

/// Replaces arguments that are not JSON, since they may invalidate the whole request. The call was already answered
/// with an error.
fn valid_arguments(arguments: &str) -> &str {
    let json: Result<&RawValue, _> = serde_json::from_str(arguments);
    if json.is_ok() { arguments } else { "{}" }
}

#[cfg(test)]
mod tests;
