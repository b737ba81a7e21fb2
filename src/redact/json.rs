//! JSON without card numbers: it stays JSON, whatever is cut out of it.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::{CUT, has_card_number, without_card_numbers};

/// JSON text in which no card number stands, such as the arguments that a model wrote. There is no other way to make one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ShieldedJson(String);

impl ShieldedJson {
    /// Cuts card numbers out of `text`, which may also be empty or broken.
    pub fn new(text: &str) -> Self {
        Self(json_without_card_numbers(text).into_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, given up.
    pub fn into_string(self) -> String {
        self.0
    }

    /// Cuts more out of it: what no longer is JSON is of no use to anybody.
    pub(super) fn cut(&mut self, cut: impl FnOnce(&str) -> Option<String>) {
        if let Some(text) = cut(&self.0) {
            self.0 = text;
        }
    }
}

impl fmt::Debug for ShieldedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private]")
    }
}

/// Cuts every card number out of JSON: in a text, in a number, which becomes a text, in a name, or over the items of a list.
/// What cannot be cut and stay JSON becomes `{}`; what is no JSON is cut as any text is.
pub fn json_without_card_numbers(text: &str) -> Cow<'_, str> {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return without_card_numbers(text) };
    match (shield(&mut value), has_card_number(text)) {
        (false, false) => Cow::Borrowed(text),
        (false, true) => Cow::Borrowed("{}"),
        (true, _) => Some(value.to_string()).filter(|text| !has_card_number(text)).unwrap_or("{}".to_owned()).into(),
    }
}

/// Whether a card number stands anywhere in a value.
pub fn json_has_card_number(value: &Value) -> bool {
    shield(&mut value.clone()) || has_card_number(&value.to_string())
}

/// Whether something was cut.
fn shield(value: &mut Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => {
            let is_card = has_card_number(&number.to_string());
            if is_card {
                *value = CUT.into();
            }
            is_card
        }
        Value::String(text) if is_card_in_tones(text) => {
            CUT.clone_into(text);
            true
        }
        Value::String(text) => match without_card_numbers(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(cut) => {
                *text = cut;
                true
            }
        },
        Value::Array(items) => {
            let mut cut = false;
            for item in items.iter_mut() {
                cut |= shield(item);
            }
            let scalars = items.iter().all(|item| !item.is_array() && !item.is_object());
            if scalars && has_card_number(&texts(items)) {
                *value = CUT.into();
                return true;
            }
            cut
        }
        Value::Object(members) => {
            let mut cut = false;
            for member in members.values_mut() {
                cut |= shield(member);
            }
            if members.keys().any(|name| has_card_number(name)) {
                let renamed = std::mem::take(members).into_iter();
                let renamed = renamed.map(|(name, member)| (without_card_numbers(&name).into_owned(), member));
                *members = renamed.collect::<Map<_, _>>();
                return true;
            }
            cut
        }
    }
}

/// Whether these are keypad tones that make up a card number, with the pauses that tones may have: `4242w4242`.
fn is_card_in_tones(text: &str) -> bool {
    let tones = text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'w' | 'W' | '*' | '#' | ',' | ' '));
    tones && has_card_number(&text.replace(|c: char| !c.is_ascii_digit(), ""))
}

/// The items of a list as they would be read out.
fn texts(items: &[Value]) -> String {
    let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    items.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_cut_stays_json() {
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
            assert_eq!(json_without_card_numbers(json), left);
            assert_eq!(serde_json::from_str::<Value>(left).is_ok(), serde_json::from_str::<Value>(json).is_ok());
        }
    }

    #[test]
    fn what_holds_no_card_number_is_left_as_it_was_written() {
        for json in [r#"{"chargeAmount": 25.00}"#, "", "{", r#"{"to":"+14155550100","digits":"1w23#"}"#] {
            assert_eq!(json_without_card_numbers(json), json);
        }
    }

    proptest! {
        #[test]
        fn no_json_panics_or_keeps_a_card_number(json in r#"(\{|\}|\[|\]|"|:|,|4242| |4242424242424242|\\u0034|\\n|a|1){0,30}"#) {
            let cut = ShieldedJson::new(&json);
            prop_assert!(!has_card_number(cut.as_str()));
            if let Ok(value) = serde_json::from_str::<Value>(cut.as_str()) {
                prop_assert!(!json_has_card_number(&value));
            }
        }
    }
}
