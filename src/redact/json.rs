//! Removes card numbers from JSON, so that it stays valid JSON.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

use super::redactor::{CardParts, DetectedCard, Redactor};
use super::{REDACTED, has_card_number, redact_card_numbers};

/// The maximum number of values with digits in a document that is searched for a card number in parts. A larger one is
/// a list of records, in which parts are found by chance.
const MAX_VALUES: usize = 24;

/// The minimum number of digits with which a member's name is a value, too. `line2` is a name.
const MIN_NAME_DIGITS: usize = 4;

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
    let was_cut = redact_value(&mut value);
    match (cut_split_numbers(&mut value) || was_cut, has_card_number(text)) {
        (false, false) => Cow::Borrowed(text),
        (false, true) => Cow::Borrowed("{}"),
        (true, _) => Some(value.to_string()).filter(|text| !has_card_number(text)).unwrap_or("{}".to_owned()).into(),
    }
}

/// Whether a JSON value contains a card number, in one value or in parts in several.
pub fn json_has_card_number(value: &Value) -> bool {
    redact_value(&mut value.clone()) || has_card_number(&value.to_string()) || !find_split_numbers(value).is_empty()
}

/// Joins all values of JSON text, in order, with a word between them, so that digits of different values do not run
/// together. Phone numbers with a plus are left out: they are no parts of a card number, and keep none apart. Text that is
/// not JSON is returned as it is.
pub fn join_scalars(text: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let mut values = Vec::new();
    collect_values(&value, ValuePlace::default(), &mut values);
    let is_phone =
        |text: &str| text.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    values.retain(|(_, text)| !is_phone(text));
    values.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" / x / ")
}

/// Removes the parts of card numbers that stand in several values. Returns whether there were any.
fn cut_split_numbers(value: &mut Value) -> bool {
    let cards = find_split_numbers(value);
    if !cards.is_empty() {
        cut_parts(value, &CardParts::new(&cards, |_| true));
    }
    !cards.is_empty()
}

/// Finds the card numbers that stand in parts in several values of a document.
fn find_split_numbers(value: &Value) -> Vec<DetectedCard> {
    let mut values = Vec::new();
    collect_values(value, ValuePlace::default(), &mut values);
    values.retain(|(_, text)| text.contains(char::is_numeric) || text.contains(' '));
    if values.len() > MAX_VALUES {
        return Vec::new();
    }
    let mut redactor = Redactor::default();
    redactor.begin_input();
    let mut listed: Vec<&str> = Vec::new();
    let mut cards = Vec::new();
    for (place, text) in &values {
        // The same member of several records, or what is no part by its name.
        let is_other = (place.is_listed && listed.contains(&place.name)) || is_other_number(place.name);
        if place.is_listed {
            listed.push(place.name);
        }
        let text = if is_other { format!("+{text}") } else { text.clone() };
        cards.extend(redactor.read_value(&text).into_iter().filter(DetectedCard::is_in_parts));
    }
    cards
}

/// Whether the name of a member says that its digits are a phone number, a date, an amount or a postal code.
fn is_other_number(name: &str) -> bool {
    const WORDS: [&str; 22] = [
        "phone", "tel", "mobile", "fax", "zip", "post", "plz", "date", "time", "year", "amount", "due", "price",
        "total", "quantity", "count", "version", "since", "address", "street", "house", "born",
    ];
    let name = name.to_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Where a value stands in a document.
#[derive(Clone, Copy, Default)]
struct ValuePlace<'a> {
    /// The name of the member that it belongs to, or empty.
    name: &'a str,
    /// Whether that member is one of a record in a list.
    is_listed: bool,
}

/// Collects the values of a document in order, and the names that have digits like a value.
fn collect_values<'a>(value: &'a Value, place: ValuePlace<'a>, values: &mut Vec<(ValuePlace<'a>, String)>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => values.push((place, number.to_string())),
        Value::String(text) => values.push((place, text.clone())),
        Value::Array(items) => {
            for item in items {
                let is_listed = place.is_listed || item.is_object();
                collect_values(item, ValuePlace { is_listed, ..place }, values);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                if name.chars().filter(|c| c.is_numeric()).count() >= MIN_NAME_DIGITS {
                    values.push((ValuePlace::default(), name.clone()));
                }
                collect_values(member, ValuePlace { name, ..place }, values);
            }
        }
    }
}

fn cut_parts(value: &mut Value, parts: &CardParts<'_>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            if parts.are_in(&number.to_string()) {
                *value = REDACTED.into();
            }
        }
        Value::String(text) => {
            if let Cow::Owned(cut) = parts.redact(text) {
                *text = cut;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| cut_parts(item, parts)),
        Value::Object(members) => {
            for member in members.values_mut() {
                cut_parts(member, parts);
            }
            if members.keys().any(|name| parts.are_in(name)) {
                let renamed = std::mem::take(members).into_iter();
                *members = renamed.map(|(name, member)| (parts.redact(&name).into_owned(), member)).collect();
            }
        }
    }
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
            (
                r#"{"a":["4242","4242","4242",["4242"]]}"#,
                r#"{"a":["[digits removed]","[digits removed]","[digits removed]",["[digits removed]"]]}"#,
            ),
            (r#"{"4242424242424242":{"a":true}}"#, r#"{"[digits removed]":{"a":true}}"#),
            (r#"{"a":"4242\n4242\t4242\n4242"}"#, r#"{"a":"[digits removed]"}"#),
            (r#"{"a":"\u0034242424242424242"}"#, r#"{"a":"[digits removed]"}"#),
            (
                r#"{"a":"four two four two forty-two forty-two forty-two forty-two 4242"}"#,
                r#"{"a":"[digits removed]"}"#,
            ),
            (r#"{"digits":"4w2w4w2w4242w4242w4242#"}"#, r#"{"digits":"[digits removed]"}"#),
            (r#"{"a": 4242424242424242"#, r#"{"a": [digits removed]"#),
            (r#"{"a":"4242 4242","b":"4242 4242"}"#, r#"{"a":"[digits removed]","b":"[digits removed]"}"#),
            (
                r#"{"a":"it begins with 42424242","n":{"b":42424242}}"#,
                r#"{"a":"it begins with [digits removed]","n":{"b":"[digits removed]"}}"#,
            ),
            (
                r#"{"a":{"z":"42424242"},"b":{"z":"42424242"}}"#,
                r#"{"a":{"z":"[digits removed]"},"b":{"z":"[digits removed]"}}"#,
            ),
            (r#"{"k42424242":true,"m42424242":1}"#, r#"{"k[digits removed]":true,"m[digits removed]":1}"#),
            (
                r#"{"a":"3782","b":{"c":822463},"d":"10005"}"#,
                r#"{"a":"[digits removed]","b":{"c":"[digits removed]"},"d":"[digits removed]"}"#,
            ),
            (
                r#"{"a":"4242x4242q4242z4242"}"#,
                r#"{"a":"[digits removed]x[digits removed]q[digits removed]z[digits removed]"}"#,
            ),
        ] {
            assert_eq!(redact_json(json), left);
            assert_eq!(serde_json::from_str::<Value>(left).is_ok(), serde_json::from_str::<Value>(json).is_ok());
        }
    }

    #[test]
    fn json_without_a_card_number_is_unchanged() {
        for json in [
            r#"{"chargeAmount": 25.00}"#,
            "",
            "{",
            r#"{"to":"+14155550100","digits":"1w23#"}"#,
            r#"{"phone":"42424242","order":"42424242"}"#,
            r#"{"phoneNumber":"4242424242","orderReference":"424242"}"#,
            r#"{"customer":"42424242","since":"4242","address":"4242 Main St"}"#,
            r#"{"items":[{"id":4242},{"id":4242},{"id":4242},{"id":4242}]}"#,
            r#"{"order":"4242","date":"2026-11-26","amount":"42.42","due":"4242"}"#,
        ] {
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
