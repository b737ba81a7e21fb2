//! Removes card numbers from JSON, so that it stays valid JSON.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::{REDACTED, has_card_number, redact_card_numbers};

/// JSON text without card numbers, such as tool arguments from the model. Every constructor redacts.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RedactedJson(String);

impl RedactedJson {
    /// Removes card numbers from `text`, which may be empty or invalid JSON.
    pub fn new(text: &str) -> Self {
        Self(redact_json(text).into_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Converts into the text.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Replaces the text if `cut` returns a new one.
    pub(super) fn update(&mut self, cut: impl FnOnce(&str) -> Option<String>) {
        if let Some(text) = cut(&self.0) {
            self.0 = text;
        }
    }
}

impl fmt::Debug for RedactedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

/// Removes every card number from JSON: in a string, in a number, which becomes a string, in a member name, or across
/// the items of an array. If that is not possible, the result is `{}`. Text that is not JSON is redacted as plain text.
pub fn redact_json(text: &str) -> Cow<'_, str> {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return redact_card_numbers(text) };
    match (redact_value(&mut value), has_card_number(text)) {
        (false, false) => Cow::Borrowed(text),
        (false, true) => Cow::Borrowed("{}"),
        (true, _) => Some(value.to_string()).filter(|text| !has_card_number(text)).unwrap_or("{}".to_owned()).into(),
    }
}

/// Whether a JSON value contains a card number.
pub fn json_has_card_number(value: &Value) -> bool {
    redact_value(&mut value.clone()) || has_card_number(&value.to_string())
}

/// Redacts a value in place; returns whether anything was removed.
fn redact_value(value: &mut Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => {
            let is_card = has_card_number(&number.to_string());
            if is_card {
                *value = REDACTED.into();
            }
            is_card
        }
        Value::String(text) if is_card_in_dtmf(text) => {
            REDACTED.clone_into(text);
            true
        }
        Value::String(text) => match redact_card_numbers(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(cut) => {
                *text = cut;
                true
            }
        },
        Value::Array(items) => {
            let mut cut = false;
            for item in items.iter_mut() {
                cut |= redact_value(item);
            }
            let scalars = items.iter().all(|item| !item.is_array() && !item.is_object());
            if scalars && has_card_number(&join_items(items)) {
                *value = REDACTED.into();
                return true;
            }
            cut
        }
        Value::Object(members) => {
            let mut cut = false;
            for member in members.values_mut() {
                cut |= redact_value(member);
            }
            if members.keys().any(|name| has_card_number(name)) {
                let renamed = std::mem::take(members).into_iter();
                let renamed = renamed.map(|(name, member)| (redact_card_numbers(&name).into_owned(), member));
                *members = renamed.collect::<Map<_, _>>();
                return true;
            }
            cut
        }
    }
}

/// Whether a text is DTMF digits that form a card number, possibly with DTMF pauses: `4242w4242`.
fn is_card_in_dtmf(text: &str) -> bool {
    let tones = text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'w' | 'W' | '*' | '#' | ',' | ' '));
    tones && has_card_number(&text.replace(|c: char| !c.is_ascii_digit(), ""))
}

/// The items of an array, joined by spaces.
fn join_items(items: &[Value]) -> String {
    let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    items.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn redacted_json_stays_json() {
        for (json, left) in [
            (
                r#"{"summary":"paid with 4242 4242 4242 4242","n":1}"#,
                r#"{"n":1,"summary":"paid with [digits removed]"}"#,
            ),
            (r#"{"chargeAmount":4242424242424242}"#, r#"{"chargeAmount":"[digits removed]"}"#),
            (r#"{"a":[4242,4242,4242,4242]}"#, r#"{"a":"[digits removed]"}"#),
            (r#"{"a":["4242","4242","4242",["4242"]]}"#, "{}"),
            (r#"{"4242424242424242":{"a":true}}"#, r#"{"[digits removed]":{"a":true}}"#),
            (r#"{"a":"4242\n4242\t4242\n4242"}"#, r#"{"a":"[digits removed]"}"#),
            (r#"{"a":"\u0034242424242424242"}"#, r#"{"a":"[digits removed]"}"#),
            (
                r#"{"a":"four two four two forty-two forty-two forty-two forty-two 4242"}"#,
                r#"{"a":"[digits removed]"}"#,
            ),
            (r#"{"digits":"4w2w4w2w4242w4242w4242#"}"#, r#"{"digits":"[digits removed]"}"#),
            (r#"{"a": 4242424242424242"#, r#"{"a": [digits removed]"#),
        ] {
            assert_eq!(redact_json(json), left);
            assert_eq!(serde_json::from_str::<Value>(left).is_ok(), serde_json::from_str::<Value>(json).is_ok());
        }
    }

    #[test]
    fn json_without_a_card_number_is_unchanged() {
        for json in [r#"{"chargeAmount": 25.00}"#, "", "{", r#"{"to":"+14155550100","digits":"1w23#"}"#] {
            assert_eq!(redact_json(json), json);
        }
    }

    proptest! {
        #[test]
        fn no_json_panics_or_keeps_a_card_number(json in r#"(\{|\}|\[|\]|"|:|,|4242| |4242424242424242|\\u0034|\\n|a|1){0,30}"#) {
            let cut = RedactedJson::new(&json);
            prop_assert!(!has_card_number(cut.as_str()));
            if let Ok(value) = serde_json::from_str::<Value>(cut.as_str()) {
                prop_assert!(!json_has_card_number(&value));
            }
        }
    }
}
