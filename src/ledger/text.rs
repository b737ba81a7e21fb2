//! Texts as both engines can store them: PostgreSQL takes no NUL character, neither in a text nor in JSON.

use serde_json::Value;

/// The text without NUL characters.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "")
}

/// The JSON without NUL characters in its texts. Names of members have none.
pub(super) fn storable_json(mut data: Value) -> String {
    let text = data.to_string();
    if !text.contains("\\u0000") {
        return text;
    }
    remove_nul(&mut data);
    data.to_string()
}

fn remove_nul(value: &mut Value) {
    match value {
        Value::String(text) => *text = storable(text),
        Value::Array(items) => items.iter_mut().for_each(remove_nul),
        Value::Object(members) => members.values_mut().for_each(remove_nul),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_nul_characters_are_removed() {
        let data = json!({"a": ["x\0y", {"b": "\0"}], "c": "\\u0000", "d": 1});
        assert_eq!(storable_json(data), r#"{"a":["xy",{"b":""}],"c":"\\u0000","d":1}"#);
    }
}
