//! Removes card numbers from what the ledger contains, although nothing with one is written there: evidence leaves the
//! server.

use serde_json::Value;
use uuid::Uuid;

use crate::ids::CallSid;
use crate::redact::{has_card_number, redact_card_numbers};

/// The text without card numbers. Identifiers stay as they are: among many of them, some have digits that pass as a card
/// number.
pub(super) fn clean_text(text: &str) -> String {
    if is_identifier(text) { text.to_owned() } else { redact_card_numbers(text).into_owned() }
}

/// The JSON without card numbers in its texts and numbers, and without the member of a payment token.
pub(super) fn clean_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = clean_text(text),
        Value::Number(number) if has_card_number(&number.to_string()) => {
            *value = Value::String(clean_text(&number.to_string()));
        }
        Value::Array(items) => items.iter_mut().for_each(clean_json),
        Value::Object(members) => {
            members.remove("paymentToken");
            members.values_mut().for_each(clean_json);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a text is a SID of Twilio, an id of this program, or an idempotency key, which begins with one. None of them
/// has a card number in the place of its digits.
fn is_identifier(text: &str) -> bool {
    let is_id = |(id, rest): (&str, &str)| Uuid::try_parse(id).is_ok() && !has_card_number(rest);
    text.parse::<CallSid>().is_ok() || text.split_at_checked(36).is_some_and(is_id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn card_numbers_and_tokens_are_removed_and_identifiers_stay() {
        let key = "11111111-1111-5111-9111-111111111111-payment-card-number-1";
        let mut value = json!({
            "key": key, "sid": "PK4242424242424242abcdef0123456789", "note": "card 4242 4242 4242 4242", "code": 64008,
            "number": 4_242_424_242_424_242_u64, "nested": [{"paymentToken": "tok_1", "text": "4000056655665556"}],
            "other": "PK42424242424242424242424242424242",
        });
        clean_json(&mut value);
        let text = value.to_string();
        assert!(text.contains(key) && text.contains("PK4242424242424242abcdef") && text.contains("64008"), "{text}");
        for hidden in ["4242 4242", "4242424242424242\"", ":4242", "tok_1", "paymentToken", "4000056655665556"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}
