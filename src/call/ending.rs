//! The end of a call: why the agent's part ended, and what the model wrote down for those who come after.

use serde_json::{Map, Value};

use crate::redact::{Private, has_card_number, redact_card_numbers};

/// The maximum number of arguments that are kept.
const MAX_ARGUMENTS: usize = 16;

/// The maximum size of all kept arguments, as JSON text, in bytes.
const MAX_BYTES: usize = 4_096;

/// The maximum length of the name of an argument, in bytes.
const MAX_NAME: usize = 64;

/// The maximum length of a text, in characters. The rest is cut off.
pub(super) const MAX_TEXT: usize = 1_000;

/// Arguments that are the server's own: the call supplies them.
const OWN: [&str; 2] = ["callSid", "paymentSid"];

/// Why the agent's part of a call ended, and what is known at its end.
#[derive(Debug, Default)]
pub(crate) struct CallEnding {
    /// `agent-ended`, `hand-off`, `silence`, or the reason code of a hand-off by the server. `None` if neither the agent
    /// nor the server ended the call.
    pub(crate) reason: Option<&'static str>,
    /// The hand-off data, as JSON text, if a person takes over.
    pub(crate) handoff_data: Option<Private<String>>,
    /// What the model wrote down.
    pub(crate) notes: ClosingNotes,
}

/// The arguments of `end-call` and `live-agent-handoff`, without card numbers, and bounded.
#[derive(Debug, Default)]
pub(crate) struct ClosingNotes {
    /// `conversationSummary`. Empty if there is none.
    pub(crate) summary: Private<String>,
    /// All other arguments.
    pub(crate) arguments: Private<Map<String, Value>>,
}

impl ClosingNotes {
    /// Reads the arguments of a tool call: JSON text, which may be invalid. `summaries` are the names of the summary,
    /// `known` the arguments that are read elsewhere.
    pub(super) fn parse(json: &str, summaries: &[&str], known: &[&str]) -> Self {
        let mut members: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
        let summaries: Vec<_> = summaries.iter().map(|name| members.remove(*name)).collect();
        let summary = summaries.into_iter().flatten().find_map(|summary| match summary {
            Value::String(text) => Some(bound_text(&text)),
            _ => None,
        });
        let mut arguments = Map::new();
        let mut bytes = 0;
        for (name, value) in members {
            let is_wanted = !OWN.contains(&name.as_str()) && !known.contains(&name.as_str());
            if !is_wanted || name.len() > MAX_NAME || has_card_number(&name) || arguments.len() == MAX_ARGUMENTS {
                continue;
            }
            let value = match value {
                Value::Null => continue,
                Value::String(text) => Value::String(bound_text(&text)),
                value => value,
            };
            let size = name.len() + value.to_string().len();
            if bytes + size <= MAX_BYTES {
                bytes += size;
                arguments.insert(name, value);
            }
        }
        Self { summary: Private::new(summary.unwrap_or_default()), arguments: Private::new(arguments) }
    }

    /// Notes of the server: only a summary.
    pub(super) fn from_summary(summary: &str) -> Self {
        Self { summary: Private::new(summary.to_owned()), ..Self::default() }
    }
}

/// Removes card numbers from a text of the model, and cuts it to [`MAX_TEXT`].
pub(super) fn bound_text(text: &str) -> String {
    let end = text.char_indices().nth(MAX_TEXT).map_or(text.len(), |(at, _)| at);
    redact_card_numbers(&text[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn notes(arguments: &Value) -> ClosingNotes {
        ClosingNotes::parse(&arguments.to_string(), &["conversationSummary", "summary"], &["reason"])
    }

    #[test]
    fn all_arguments_but_our_own_are_kept() {
        let notes = notes(&json!({"callSid": "CA1", "conversationSummary": "The bill is paid.", "reason": "x",
            "mood": "happy", "score": 5, "open": null, "tags": ["a", "b"]}));
        assert_eq!(notes.summary.reveal(), "The bill is paid.");
        assert_eq!(json!(notes.arguments.reveal()), json!({"mood": "happy", "score": 5, "tags": ["a", "b"]}));
    }

    #[test]
    fn the_arguments_are_bounded() {
        let many: Map<String, Value> = (0..99).map(|n| (format!("n{n}"), Value::from(n))).collect();
        assert_eq!(notes(&Value::Object(many)).arguments.reveal().len(), MAX_ARGUMENTS);
        let long = "é".repeat(5_000);
        let notes = notes(&json!({"summary": long, "a": long, "b": long, "c": long, "d": [long]}));
        assert_eq!(notes.summary.reveal().chars().count(), MAX_TEXT);
        assert!(json!(notes.arguments.reveal()).to_string().len() <= MAX_BYTES + 99);
    }

    #[test]
    fn invalid_arguments_are_no_notes() {
        for json in ["", "{", "[]", "null", r#"{"conversationSummary": 5}"#] {
            let notes = ClosingNotes::parse(json, &["conversationSummary"], &[]);
            assert!(notes.summary.reveal().is_empty() && notes.arguments.reveal().is_empty(), "{json}");
        }
    }

    #[test]
    fn no_card_number_is_kept() {
        let notes = notes(&json!({"summary": "4242 4242 4242 4242", "note": "card 4242424242424242"}));
        assert_eq!(notes.summary.reveal(), "[digits removed]");
        assert_eq!(json!(notes.arguments.reveal()), json!({"note": "card [digits removed]"}));
    }
}
