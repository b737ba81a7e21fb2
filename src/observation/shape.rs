//! The shape of JSON, of a form and of attributes: what is left of a value once its content is masked.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::words;

/// The longest masked value, in characters.
const MAX_MASK: usize = 64;

/// The largest number of items of an array, and of members of an object, that are described.
const MAX_ITEMS: usize = 100;

/// The deepest nesting that is described.
const MAX_DEPTH: usize = 8;

/// The type of a value, with its length and its masked content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Shape {
    /// `null`.
    Null,
    /// A boolean, as it is.
    Boolean {
        /// The boolean.
        value: bool,
    },
    /// A number.
    Number {
        /// The number with each digit as `9`.
        value: String,
    },
    /// A text.
    String {
        /// The length in characters.
        length: usize,
        /// Letters as `x` and digits as `9`, or a known word as it is. Absent if it was said, or may quote what was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// An identifier of Twilio's.
    Sid {
        /// The two letters that say what it identifies.
        prefix: String,
        /// The length in characters.
        length: usize,
    },
    /// An array.
    Array {
        /// The number of items.
        length: usize,
        /// The first of them.
        items: Vec<Shape>,
    },
    /// An object.
    Object {
        /// Its members.
        members: Vec<Member>,
    },
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The name; masked if it is not one of a protocol.
    pub name: String,
    /// The value.
    #[serde(flatten)]
    pub shape: Shape,
}

/// What is kept of the texts in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    /// Their masks.
    Masked,
    /// Their masks; the names of members are the operator's own, and masked, too.
    OwnNames,
    /// Only their lengths: they were said.
    Lengths,
}

impl Shape {
    /// Describes a frame.
    pub fn of_frame(frame: &Value) -> Self {
        Self::of_json("", frame, Texts::Masked, 0)
    }

    fn of_json(name: &str, value: &Value, texts: Texts, depth: usize) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Boolean { value: *value },
            Value::Number(number) => Self::Number { value: mask(&number.to_string()) },
            Value::String(text) if texts == Texts::Lengths => {
                Self::String { length: text.chars().count(), value: None }
            }
            Value::String(text) => Self::of_text(name, text),
            Value::Array(items) => {
                let described = items.iter().take(if depth < MAX_DEPTH { MAX_ITEMS } else { 0 });
                let items_described = described.map(|item| Self::of_json(name, item, texts, depth + 1)).collect();
                Self::Array { length: items.len(), items: items_described }
            }
            Value::Object(members) => {
                // The value of this event is what the agent has said.
                let is_played = members.get("name").is_some_and(|name| name == "tokensPlayed");
                let described = members.iter().take(if depth < MAX_DEPTH { MAX_ITEMS } else { 0 });
                let describe = |(name, value): (&String, &Value)| {
                    let own = match name.as_str() {
                        "customParameters" => Texts::OwnNames,
                        "value" if is_played => Texts::Lengths,
                        name if words::is_spoken(name) => Texts::Lengths,
                        _ => texts,
                    };
                    let kept = if texts == Texts::OwnNames { mask(name) } else { keep_name(name) };
                    Member { name: kept, shape: Self::of_json(name, value, own, depth + 1) }
                };
                Self::Object { members: described.map(describe).collect() }
            }
        }
    }

    /// Describes the text of a member, a field, a header or an attribute.
    fn of_text(name: &str, text: &str) -> Self {
        let length = text.chars().count();
        if is_sid(text) {
            return Self::Sid { prefix: text.chars().take(2).collect(), length };
        }
        if words::is_spoken(name) {
            return Self::String { length, value: None };
        }
        let value = if words::is_known(name, text) { text.to_owned() } else { mask(text) };
        Self::String { length, value: Some(value) }
    }

    /// The member of an object with this name.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object { members } => members.iter().find(|member| member.name == name).map(|member| &member.shape),
            _ => None,
        }
    }

    /// The value of a text, if a known word or a mask was kept.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::String { value, .. } => value.as_deref(),
            _ => None,
        }
    }

    /// The name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean { .. } => "boolean",
            Self::Number { .. } => "number",
            Self::String { .. } | Self::Sid { .. } => "string",
            Self::Array { .. } => "array",
            Self::Object { .. } => "object",
        }
    }
}

impl Member {
    /// Describes a field of a form, a header or an attribute.
    pub fn of_text(name: &str, value: &str) -> Self {
        Self { name: keep_name(name), shape: Shape::of_text(name, value) }
    }
}

fn keep_name(name: &str) -> String {
    if words::is_protocol_name(name) { name.to_owned() } else { mask(name) }
}

/// Whether the text is an identifier of Twilio's: two letters, and 32 hexadecimal digits.
fn is_sid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 34
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..].iter().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(c))
}

/// Masks a text: letters become `x`, digits `9`; spaces and the punctuation of protocols stay.
fn mask(text: &str) -> String {
    let mask = |c: char| match c {
        _ if c.is_alphabetic() => 'x',
        _ if c.is_numeric() => '9',
        ' ' | '+' | '-' | '_' | '.' | ':' | '/' | '@' | ',' | ';' | '=' | '#' | '*' | '&' | '?' => c,
        _ => '?',
    };
    text.chars().take(MAX_MASK).map(mask).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{observe_answer, observe_frame, observe_webhook};
    use super::*;

    #[test]
    fn names_types_and_lengths_are_kept_and_values_masked() {
        let frame = json!({
            "type": "prompt", "voicePrompt": "My card is 4111", "lang": "fr", "last": true, "confidence": 0.87,
            "turnState": {"eagerEot": "Maybe 7", "segments": [null, 12]},
        });
        assert_eq!(
            serde_json::to_value(Shape::of_frame(&frame)).unwrap(),
            json!({"type": "object", "members": [
                {"name": "confidence", "type": "number", "value": "9.99"},
                {"name": "lang", "type": "string", "length": 2, "value": "fr"},
                {"name": "last", "type": "boolean", "value": true},
                {"name": "turnState", "type": "object", "members": [
                    {"name": "eagerEot", "type": "string", "length": 7, "value": "xxxxx 9"},
                    {"name": "segments", "type": "array", "length": 2, "items": [
                        {"type": "null"}, {"type": "number", "value": "99"}]},
                ]},
                {"name": "type", "type": "string", "length": 6, "value": "prompt"},
                {"name": "voicePrompt", "type": "string", "length": 15},
            ]})
        );
        let setup = json!({
            "type": "setup", "callSid": format!("CA{:032x}", 77), "from": "+15550100001", "direction": "inbound",
            "customParameters": {"secretName": "abc"}, "4111111111111111": 1,
        });
        let Shape::Object { members } = Shape::of_frame(&setup) else { panic!() };
        let find = |name: &str| members.iter().find(|member| member.name == name).map(|member| member.shape.clone());
        assert_eq!(find("callSid"), Some(Shape::Sid { prefix: "CA".to_owned(), length: 34 }));
        assert_eq!(find("from").unwrap().text(), Some("+99999999999"));
        assert_eq!(find("direction").unwrap().text(), Some("inbound"));
        assert_eq!(find("customParameters").unwrap().member("xxxxxxxxxx").unwrap().text(), Some("xxx"));
        assert!(find("9999999999999999").is_some(), "{members:?}");
    }

    /// Fields that the recording writes itself.
    const OWN_WORDS: &str = "atMs direction kind type name value length members socket shape frame object string number \
        boolean null array items webhook path query headers form answer status elements attributes sid prefix \
        unreadableFrame voicePrompt utteranceUntilInterrupt customParameters newMember token description digit \
        tokensPlayed info /connectConversationRelay PaymentError Unknown Response Say xxxx 9999";

    fn assert_nothing_is_kept(secret: &str, line: &str) {
        let letters: Vec<char> = secret.chars().collect();
        for run in letters.windows(4).map(|run| run.iter().collect::<String>()) {
            let is_mask = run.chars().all(|c| !c.is_alphanumeric() || matches!(c, 'x' | '9'));
            let is_own = OWN_WORDS.contains(&run) || super::words::is_known("lang", secret);
            assert!(is_mask || is_own || !line.contains(&run), "{run:?} of {secret:?} is in {line}");
        }
    }

    proptest! {
        #[test]
        fn no_run_of_four_characters_is_kept_wherever_it_is(secret in "[a-zA-Z0-9 äß4]{4,40}") {
            let frames = [
                json!({"type": "prompt", "voicePrompt": secret, "newMember": secret}),
                json!({"type": "prompt", "newMember": {"newMember": [secret, {"newMember": secret}]}}),
                json!({"type": "interrupt", "utteranceUntilInterrupt": secret}),
                json!({"type": "info", "name": "tokensPlayed", "value": secret}),
                json!({"type": secret, "token": secret, "description": secret}),
                json!({"type": "setup", "customParameters": {&secret: secret}}),
                json!(secret),
            ];
            for frame in frames {
                let line = serde_json::to_string(&observe_frame(1, &frame.to_string())).unwrap();
                assert_nothing_is_kept(&secret, &line);
            }
            let form = ["Unknown", "PaymentError"].map(|name| (name.to_owned(), secret.clone()));
            let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
            let webhook = observe_webhook("/connectConversationRelay", &query, &[("x-twilio-new", &secret)], &form);
            assert_nothing_is_kept(&secret, &serde_json::to_string(&webhook).unwrap());
            let twiml = format!("<Response><Say>{secret}</Say><Say value=\"{secret}\"/></Response>");
            let answer = observe_answer("/connectConversationRelay", 200, twiml.as_bytes());
            assert_nothing_is_kept(&secret, &serde_json::to_string(&answer).unwrap());
        }

        #[test]
        fn a_description_is_read_back(text in "\\PC{0,40}", number in any::<f64>()) {
            let frame = json!({"type": text, "a": [text, null, true], "b": {"c": number}});
            let shape = Shape::of_frame(&frame);
            let written = serde_json::to_string(&shape).unwrap();
            prop_assert_eq!(serde_json::from_str::<Shape>(&written).unwrap(), shape);
        }
    }

    #[test]
    fn deep_and_long_json_is_described_in_bounds() {
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!([deep, "y"]);
        }
        let long = json!({"type": "prompt", "a": vec![1; 10_000], "b": deep, "voicePrompt": "a".repeat(50_000)});
        assert!(serde_json::to_string(&Shape::of_frame(&long)).unwrap().len() < 10_000);
    }
}
