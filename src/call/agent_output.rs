//! What the model says, writes and keys: digits that become a card number over time are cut, ids and names included.

use super::history::CardSource;
use super::tool_request::SEND_DTMF;
use super::{Call, ConversationItem, ToolCall};
use crate::redact::{CardParts, DetectedCard, REDACTED, RedactedJson, StreamedText, join_scalars};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The minimum number of digits with which a name is part of what the model writes. `sms2` is a name.
const MIN_NAME_DIGITS: usize = 4;

impl Call {
    /// Removes from the next words of a response what completes a card number, from the history what it began with.
    pub(super) fn redact_agent_words(&mut self, words: StreamedText) -> String {
        let redacted = self.agent_redactor.redact_streamed(words);
        self.remove_agent_cards(&redacted.cards);
        redacted.text
    }

    /// Does the same with a tool call.
    pub(super) fn redact_tool_call(&mut self, mut call: ToolCall) -> ToolCall {
        let id = id_digits(&call.call_id).unwrap_or_default();
        let name = if count_digits(&call.name) < MIN_NAME_DIGITS { "" } else { &call.name };
        let written = [name, id, &join_scalars(call.arguments.as_str())].join(" / x / ");
        let mut cards = self.agent_redactor.find_cards(&written);
        if call.name == SEND_DTMF {
            // Tones have no words between them, only pauses: however they are divided, they are one number.
            let mut tones = join_scalars(call.arguments.as_str());
            tones.retain(|c| c.is_ascii_digit());
            let found = self.tone_redactor.redact_keys(&tones).cards;
            if !found.is_empty() {
                call.arguments = RedactedJson::new(&serde_json::json!({"digits": REDACTED}).to_string());
            }
            cards.extend(found);
        }
        // More words of the response are an input of their own.
        self.agent_redactor.begin_input();
        if !cards.is_empty() {
            let parts = CardParts::new(&cards, |_| true);
            call.redact_parts(&parts);
            call.replace_card_id(&parts);
        }
        self.remove_agent_cards(&cards);
        call
    }

    /// Keeps a reasoning item, unless its text completes a card number: the item can only be sent back as it is.
    pub(super) fn keep_reasoning(&mut self, item: Box<RawValue>) {
        let cards = self.agent_redactor.find_cards(&reasoning_text(&item));
        self.agent_redactor.begin_input();
        self.remove_agent_cards(&cards);
        if cards.is_empty() {
            self.history.push(ConversationItem::Reasoning(item));
        }
    }

    fn remove_agent_cards(&mut self, cards: &[DetectedCard]) {
        self.turn.redact_cards(cards, CardSource::Agent, &mut self.history);
        self.speech.redact_cards(cards);
    }
}

/// The text of a reasoning item: its summary and, from some servers, the reasoning itself. Its encrypted form is no text.
pub(super) fn reasoning_text(item: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Reasoning {
        #[serde(default)]
        id: Option<String>,
        #[serde(default)]
        summary: Option<Vec<Part>>,
        #[serde(default)]
        content: Option<Vec<Part>>,
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        text: Option<String>,
    }
    let Ok(item) = serde_json::from_str::<Reasoning>(item.get()) else { return join_scalars(item.get()) };
    let id = item.id.as_deref().and_then(id_digits).unwrap_or_default().to_owned();
    let parts = [item.summary, item.content].into_iter().flatten().flatten();
    std::iter::once(id).chain(parts.filter_map(|part| part.text)).collect::<Vec<_>>().join("\n / x / ")
}

/// The digits of an id such as `call_4242`, unless they stand among letters: random ids have digits, too.
fn id_digits(id: &str) -> Option<&str> {
    let digits = id.trim_start_matches(|c: char| !c.is_ascii_digit());
    let is_plain = digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '_' | ' '));
    (is_plain && count_digits(digits) >= MIN_NAME_DIGITS).then_some(digits)
}

fn count_digits(text: &str) -> usize {
    text.chars().filter(|c| c.is_numeric()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_digits_of_plain_ids_count() {
        assert_eq!(id_digits("call_42424242"), Some("42424242"));
        assert_eq!((id_digits("call_4a2b4c2d4242"), id_digits("call_7"), id_digits("call_abc")), (None, None, None));
    }

    #[test]
    fn the_text_of_reasoning_has_no_encrypted_content() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let item =
            raw(r#"{"id":"rs_0a1","summary":[{"type":"summary_text","text":"a 42"}],"encrypted_content":"4242"}"#);
        assert_eq!(reasoning_text(&item), "\n / x / a 42");
        assert_eq!(reasoning_text(&raw(r#"{"summary":"odd 42"}"#)), "odd 42");
        assert_eq!(reasoning_text(&raw(r#"{"id":"rs_1","summary":[],"content":null}"#)), "");
    }
}
