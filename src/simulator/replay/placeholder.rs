//! Values in place of those that a recording masks, by type and name.

use serde_json::{Map, Number, Value};

use crate::observation::{Member, Shape, is_known_word};
use crate::simulator::relay::{CALLER_NUMBER, SERVER_NUMBER};

/// The placeholders of one call.
#[derive(Debug)]
pub(super) struct Placeholders {
    call_sid: String,
    account_sid: String,
}

impl Placeholders {
    /// Creates the placeholders of a call.
    pub(super) fn new(call_sid: String, account_sid: String) -> Self {
        Self { call_sid, account_sid }
    }

    /// The SID of the call.
    pub(super) fn call_sid(&self) -> &str {
        &self.call_sid
    }

    /// The SID of the account.
    pub(super) fn account_sid(&self) -> &str {
        &self.account_sid
    }

    /// Makes a JSON value of a shape.
    pub(super) fn fill(&self, name: &str, shape: &Shape) -> Value {
        match shape {
            Shape::Null => Value::Null,
            Shape::Boolean { value } => Value::Bool(*value),
            Shape::Number { value } => {
                let number = value.replace('9', "1").parse::<Number>();
                number.map_or_else(|_| Value::from(1), Value::Number)
            }
            Shape::String { .. } | Shape::Sid { .. } => Value::String(self.fill_text(name, shape)),
            Shape::Array { items, .. } => items.iter().map(|item| self.fill(name, item)).collect(),
            Shape::Object { members } => {
                let members = members.iter().map(|it| (it.name.clone(), self.fill(&it.name, &it.shape)));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// Makes the fields of a form.
    pub(super) fn fill_form(&self, form: &[Member]) -> Vec<(String, String)> {
        form.iter().map(|field| (field.name.clone(), self.fill_text(&field.name, &field.shape))).collect()
    }

    fn fill_text(&self, name: &str, shape: &Shape) -> String {
        match shape {
            Shape::Sid { prefix, .. } => match prefix.as_str() {
                "CA" => self.call_sid.clone(),
                "AC" => self.account_sid.clone(),
                prefix => format!("{prefix}{:032x}", 1),
            },
            Shape::String { value: Some(value), .. } if is_known_word(name, value) => value.clone(),
            Shape::String { value: Some(mask), .. } if is_phone_number(mask) => match name {
                "to" | "To" | "Called" | "forwardedFrom" | "ForwardedFrom" => SERVER_NUMBER.to_owned(),
                _ => CALLER_NUMBER.to_owned(),
            },
            // Masked card data stays masked: Twilio masks it with x.
            Shape::String { value: Some(mask), .. } if name.starts_with("Payment") => mask.replace('9', "1"),
            Shape::String { value: Some(mask), .. } => mask.replace('x', "a").replace('9', "1"),
            Shape::String { value: None, length } => "la ".repeat(length / 3 + 1).chars().take(*length).collect(),
            _ => String::new(),
        }
    }
}

fn is_phone_number(mask: &str) -> bool {
    mask.len() > 5 && mask.strip_prefix('+').is_some_and(|digits| digits.bytes().all(|digit| digit == b'9'))
}
