//! The events of a streamed response, decoded only as far as they are used. Unknown events are skipped, since OpenAI
//! adds new ones. A terminal event counts as such even if the rest of it cannot be read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error_info::{ErrorInfo, loggable_code};
use super::item::{OutputItem, read_arguments, read_part};
use super::json::{elements, number, text};
use crate::telemetry::TokenUsage;

/// The maximum number of items of a response. OpenAI's have a few.
pub(super) const MAX_ITEMS: u64 = 256;

/// An event, reduced to what this program uses. A whole response in one JSON object is an event, too.
pub(super) enum StreamEvent<'a> {
    /// `response.output_item.added`: an item begins.
    ItemAdded(ItemKey<'a>, OutputItem<'a>),
    /// Text to speak: `response.output_text.delta`, or `response.refusal.delta`, which is spoken, too.
    Text { key: ItemKey<'a>, part: u64, sequence: Option<u64>, delta: Cow<'a, str> },
    /// The whole text of a part: `response.output_text.done`, `response.refusal.done` or `response.content_part.done`.
    TextDone { key: ItemKey<'a>, part: u64, text: Cow<'a, str> },
    /// `response.function_call_arguments.delta`
    Arguments { key: ItemKey<'a>, sequence: Option<u64>, delta: Cow<'a, str> },
    /// `response.function_call_arguments.done`
    ArgumentsDone { key: ItemKey<'a>, name: Cow<'a, str>, arguments: Cow<'a, str> },
    /// `response.output_item.done`
    ItemDone(ItemKey<'a>, OutputItem<'a>),
    /// `response.completed` or `response.incomplete`: the response has ended.
    Ended(ResponseSnapshot<'a>),
    /// `response.failed` or `error`.
    Failed(ErrorInfo),
    /// Any other event.
    Other,
}

/// By what an event names its item. Servers differ in which of the two they send, and in whether it stays the same.
#[derive(Debug, Clone, Default)]
pub(super) struct ItemKey<'a> {
    /// `item_id`, or the `id` of the item.
    pub(super) id: Option<Cow<'a, str>>,
    /// `output_index`
    pub(super) index: Option<u64>,
}

/// The response as the terminal event has it.
#[derive(Default)]
pub(super) struct ResponseSnapshot<'a> {
    /// The response was cut off by a limit or a filter.
    pub(super) is_incomplete: bool,
    /// All items, at most servers.
    pub(super) output: Vec<(ItemKey<'a>, OutputItem<'a>)>,
    pub(super) usage: TokenUsage,
}

/// An event could not be read. Holds its type, if that could be read.
#[derive(Debug)]
pub(super) struct ParseEventError(pub(super) Option<String>);

/// An event of text as OpenAI sends it, which is nearly every event. Read in one pass; whatever differs is read as a
/// [`RawEvent`].
#[derive(Deserialize)]
struct TextDelta<'a> {
    #[serde(borrow)]
    r#type: &'a str,
    #[serde(borrow)]
    item_id: &'a str,
    output_index: u64,
    #[serde(default)]
    content_index: u64,
    sequence_number: u64,
    #[serde(borrow)]
    delta: Cow<'a, str>,
}

impl<'a> TextDelta<'a> {
    const TYPE: &'static str = "response.output_text.delta";

    fn parse(json: &'a str) -> Option<StreamEvent<'a>> {
        let Self { r#type, item_id, output_index, content_index: part, sequence_number, delta } =
            serde_json::from_str(json).ok()?;
        let key = ItemKey { id: Some(Cow::Borrowed(item_id)), index: Some(output_index) };
        let is_text = r#type == Self::TYPE && !item_id.is_empty();
        is_text.then_some(StreamEvent::Text { key, part, sequence: Some(sequence_number), delta })
    }
}

/// The end of a response as OpenAI sends it. It repeats instructions and tools, so that it is the longest event: it is read in one
/// pass, and whatever differs as a [`RawEvent`].
#[derive(Deserialize)]
struct CompletedEvent<'a> {
    #[serde(borrow)]
    r#type: &'a str,
    #[serde(borrow)]
    response: RawSnapshot<'a>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    output_text: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> CompletedEvent<'a> {
    const TYPE: &'static str = "response.completed";

    fn parse(json: &'a str) -> Option<StreamEvent<'a>> {
        let Self { r#type, response, output, output_text, error } = serde_json::from_str(json).ok()?;
        let beside = RawEvent { output, output_text, error, ..RawEvent::default() };
        (r#type == Self::TYPE).then(|| beside.into_end_with(&response, r#type, json))
    }
}

/// The events that say that a response has begun. They repeat its instructions and tools, and nothing of them is used.
const BEGINNINGS: [&str; 3] = ["response.created", "response.in_progress", "response.queued"];

/// Whether data is surely not that of several events, which a gateway has joined under one name.
fn is_one_text(json: &str) -> bool {
    !["\n", "}{", "} {"].iter().any(|between| json.contains(between))
}

#[derive(Deserialize, Default)]
struct RawEvent<'a> {
    #[serde(borrow)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow)]
    item_id: Option<&'a RawValue>,
    #[serde(borrow)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow)]
    content_index: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    part: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    output_text: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl<'a> StreamEvent<'a> {
    /// Parses one event. `name` is its `event` field, which names the type if the JSON does not.
    pub(super) fn parse(name: &str, json: &'a str) -> Result<Self, ParseEventError> {
        if !json.starts_with('{') {
            return Err(ParseEventError(None));
        }
        if BEGINNINGS.contains(&name) && is_one_text(json) {
            return Ok(StreamEvent::Other);
        }
        if name == TextDelta::TYPE
            && let Some(event) = TextDelta::parse(json)
        {
            return Ok(event);
        }
        if name == CompletedEvent::TYPE
            && let Some(event) = CompletedEvent::parse(json)
        {
            return Ok(event);
        }
        let raw: RawEvent<'a> = serde_json::from_str(json).map_err(|_| ParseEventError(None))?;
        let kind = raw.r#type.and_then(text).filter(|kind| !kind.is_empty());
        let kind = kind.as_deref().or_else(|| raw.inferred_type()).unwrap_or(name);
        if kind.is_empty() {
            return Err(ParseEventError(None));
        }
        raw.into_event(kind, json).ok_or_else(|| ParseEventError(loggable_code(kind)))
    }
}

impl<'a> RawEvent<'a> {
    /// The type of an object without one: a whole response, or an error.
    fn inferred_type(&self) -> Option<&'static str> {
        let is_response = self.output.is_some() || self.output_text.is_some() || self.response.is_some();
        if is_response { Some("response.completed") } else { self.error.is_some().then_some("error") }
    }

    /// `None` if what the type promises is missing.
    fn into_event(self, kind: &str, json: &'a str) -> Option<StreamEvent<'a>> {
        let key = || ItemKey {
            id: self.item_id.and_then(text).filter(|id| !id.is_empty()),
            index: self.output_index.and_then(number),
        };
        let part = self.content_index.and_then(number).unwrap_or_default();
        let sequence = self.sequence_number.and_then(number);
        Some(match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                StreamEvent::Text { key: key(), part, sequence, delta: self.delta.and_then(text)? }
            }
            "response.output_text.done" => StreamEvent::TextDone { key: key(), part, text: self.text.and_then(text)? },
            "response.refusal.done" => {
                StreamEvent::TextDone { key: key(), part, text: self.refusal.or(self.text).and_then(text)? }
            }
            "response.content_part.done" => match self.part.and_then(read_part) {
                Some(text) => StreamEvent::TextDone { key: key(), part, text },
                None => StreamEvent::Other,
            },
            "response.function_call_arguments.delta" => {
                StreamEvent::Arguments { key: key(), sequence, delta: self.delta.and_then(text)? }
            }
            "response.function_call_arguments.done" => StreamEvent::ArgumentsDone {
                key: key(),
                name: self.name.and_then(text).unwrap_or_default(),
                arguments: read_arguments(self.arguments?),
            },
            "response.output_item.added" | "response.output_item.done" => {
                let (id, item) = OutputItem::parse(self.item?);
                let key = ItemKey { id: id.or(key().id), ..key() };
                let is_done = kind.ends_with("done");
                if is_done { StreamEvent::ItemDone(key, item) } else { StreamEvent::ItemAdded(key, item) }
            }
            "response.completed" | "response.incomplete" | "response.done" => self.into_end(kind, json),
            "response.failed" | "response.cancelled" | "response.error" | "error" => {
                StreamEvent::Failed(ErrorInfo::parse(json))
            }
            _ => StreamEvent::Other,
        })
    }

    fn into_end(self, kind: &str, json: &'a str) -> StreamEvent<'a> {
        let response = self.response.filter(|response| response.get().starts_with('{'));
        let response = response.map_or(json, RawValue::get);
        self.into_end_with(&serde_json::from_str(response).unwrap_or_default(), kind, json)
    }

    /// The end of the response. What says `completed` around a failed response without output is a failure.
    fn into_end_with(self, snapshot: &RawSnapshot<'a>, kind: &str, json: &'a str) -> StreamEvent<'a> {
        let status = snapshot.status.and_then(text).unwrap_or_default();
        let items = snapshot.output.or(self.output).map(elements).unwrap_or_default();
        let mut output: Vec<_> = (0..MAX_ITEMS).zip(items).map(|(index, raw)| parse_item(index, raw)).collect();
        let has_message = output.iter().any(|(_, item)| matches!(item, OutputItem::Message { .. }));
        let text = snapshot.output_text.or(self.output_text).and_then(text).filter(|_| !has_message);
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            output.push((ItemKey::default(), OutputItem::Message { phase: None, parts: vec![text] }));
        }
        let reason = snapshot.incomplete_details.and_then(read_reason).unwrap_or_default();
        if output.is_empty() && reason.contains("content_filter") {
            let info = ErrorInfo { code: Some("content_filter".to_owned()), ..ErrorInfo::default() };
            return StreamEvent::Failed(info);
        }
        let is_failed = matches!(&*status, "failed" | "cancelled") || snapshot.error.or(self.error).is_some();
        if is_failed && output.is_empty() {
            return StreamEvent::Failed(ErrorInfo::parse(json));
        }
        let is_incomplete = kind == "response.incomplete" || status == "incomplete" || is_failed;
        StreamEvent::Ended(ResponseSnapshot { is_incomplete, output, usage: parse_usage(snapshot.usage) })
    }
}

#[derive(Deserialize, Default)]
struct RawSnapshot<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    output_text: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Why a response is incomplete.
fn read_reason(details: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Details<'a> {
        #[serde(borrow)]
        reason: Option<&'a RawValue>,
    }
    let details: Details<'_> = serde_json::from_str(details.get()).ok()?;
    details.reason.and_then(text)
}

/// Parses an item of the snapshot, whose index is its place.
fn parse_item(index: u64, raw: &RawValue) -> (ItemKey<'_>, OutputItem<'_>) {
    let (id, item) = OutputItem::parse(raw);
    (ItemKey { id, index: Some(index) }, item)
}

/// The most tokens of a response that are counted, in each direction. A server that reports more is wrong.
const MAX_TOKENS: u64 = 100_000_000;

fn parse_usage(raw: Option<&RawValue>) -> TokenUsage {
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
    let bounded = |tokens: u64| tokens.min(MAX_TOKENS);
    let usage: UsageObject = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    TokenUsage {
        input: bounded(usage.input_tokens),
        cached: usage.input_tokens_details.unwrap_or_default().cached_tokens.min(bounded(usage.input_tokens)),
        output: bounded(usage.output_tokens),
        reasoning: usage.output_tokens_details.unwrap_or_default().reasoning_tokens.min(bounded(usage.output_tokens)),
    }
}

#[cfg(test)]
mod tests;
