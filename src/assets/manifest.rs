//! Manifests: the tools that the model is told of.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::AssetError;
use super::file::File;
use super::json::{compact, invalid, text, without_place};
use crate::call::TOOLS;

/// A tool as the model is told of it. Written in the form of the Responses API.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "function")]
pub struct ToolDefinition {
    /// One of [`TOOLS`].
    pub name: String,
    /// What the tool does, for the model.
    pub description: String,
    /// The JSON schema of its arguments: an object, without white space.
    pub parameters: Box<RawValue>,
    /// Whether OpenAI is to hold the model to the schema; if it is not said, the Responses API decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// Reads a manifest: `{"tools": […]}` or the bare array. An entry may have the form of the Responses API, with
/// everything side by side, or that of Chat Completions, with everything in `function`.
pub(super) fn parse(file: &File) -> Result<Vec<ToolDefinition>, AssetError> {
    let entries: Result<Vec<&RawValue>, _> = if file.text.trim_start().starts_with('[') {
        serde_json::from_str(&file.text)
    } else {
        serde_json::from_str(&file.text).map(|Wrapped { tools }| tools)
    };
    let mut tools: Vec<ToolDefinition> = Vec::new();
    for entry in entries.map_err(|err| invalid(file, &err))? {
        let before = entry.get().as_ptr().addr() - file.text.as_ptr().addr();
        let first_line = 1 + file.text[..before].matches('\n').count();
        let refused = |line, what: String| AssetError::Invalid { file: file.label.clone(), line, what };

        let tool: Entry = serde_json::from_str(entry.get())
            .map_err(|err| refused(first_line + err.line().saturating_sub(1), without_place(&err)))?;
        let tool = tool.into_definition().map_err(|what| refused(first_line, what.to_owned()))?;
        if tools.iter().any(|earlier| earlier.name == tool.name) {
            return Err(refused(first_line, format!("the tool {} is there twice", tool.name)));
        }
        tools.push(tool);
    }
    Ok(tools)
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
}

/// An entry in either form.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    _kind: Option<Kind>,
    function: Option<Function>,
    name: Option<Name>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Function,
}

/// The form of Chat Completions, where a tool is not strict unless it says so; in the other form it is.
#[derive(Deserialize)]
struct Function {
    name: Name,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    #[serde(default)]
    strict: bool,
}

impl Entry {
    fn into_definition(self) -> Result<ToolDefinition, &'static str> {
        let (name, description, parameters, strict) = match (self.function, self.name) {
            (Some(function), None) => (function.name, function.description, function.parameters, Some(function.strict)),
            (None, Some(name)) => (name, self.description, self.parameters, self.strict),
            (None, None) => return Err("a tool without a name"),
            (Some(_), Some(_)) => return Err("a tool with a name beside its function: give it one or the other"),
        };
        Ok(ToolDefinition {
            name: name.0,
            description: description.unwrap_or_default(),
            parameters: schema(parameters.as_deref())?,
            strict,
        })
    }
}

/// The name of a tool that exists.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        text(json, "the name of a tool", |name| {
            let unknown = || format!("there is no tool {name:?}; there are {}", TOOLS.join(", "));
            TOOLS.contains(&name).then(|| Self(name.to_owned())).ok_or_else(unknown)
        })
    }
}

/// The schema as it goes to the model with every request: without white space. A tool without arguments needs none.
fn schema(parameters: Option<&RawValue>) -> Result<Box<RawValue>, &'static str> {
    let text = parameters.map_or(r#"{"type":"object","properties":{}}"#, RawValue::get);
    if !text.starts_with('{') {
        return Err("the parameters of a tool are a JSON schema, an object");
    }
    RawValue::from_string(compact(text)).map_err(|_| "the parameters of a tool are not JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Vec<ToolDefinition>, String> {
        parse(&File::new("assets/Tools.json", text)).map_err(|err| err.to_string())
    }

    fn written(text: &str) -> Value {
        serde_json::to_value(read(text).unwrap()).unwrap()
    }

    #[test]
    fn both_forms_are_written_as_the_responses_api_wants_them() {
        let flat = r#"[{ "type": "function", "name": "end-call", "description": "Ends \"it\".",
                         "parameters": { "type": "object" }, "strict": false }]"#;
        let chat = r#"{ "tools": [{ "type": "function", "function": {
                         "name": "end-call", "description": "Ends \"it\".", "parameters": { "type": "object" } } }] }"#;
        let tool = json!([{ "type": "function", "name": "end-call", "description": "Ends \"it\".",
                            "parameters": { "type": "object" }, "strict": false }]);
        assert_eq!(written(flat), tool);
        assert_eq!(written(chat), tool);
    }

    #[test]
    fn what_a_tool_does_not_say_is_left_to_the_api() {
        assert_eq!(
            written(r#"[{ "name": "end-call" }]"#),
            json!([{ "type": "function", "name": "end-call", "description": "",
                     "parameters": { "type": "object", "properties": {} } }])
        );
    }

    #[test]
    fn an_unknown_tool_is_refused_with_its_line() {
        let manifest = r#"{
  "tools": [
    { "name": "end-call" },
    {
      "type": "function",
      "function": {
        "name": "send-fax"
      }
    }
  ]
}"#;
        let err = read(manifest).unwrap_err();
        assert!(
            err.starts_with("assets/Tools.json:7: there is no tool \"send-fax\"; there are confirm-amount, "),
            "{err}"
        );
    }

    #[test]
    fn every_other_mistake_has_its_line_too() {
        for (manifest, place) in [
            ("", "1: "),
            ("{\n \"tools\": [\n", "3: "),
            ("[\n {\"name\": \"end-call\"}\n {\"name\": \"capture-card\"}]", "3: "),
            ("[\n {\"name\": \"end-call\"},\n {\"name\": \"end-call\"}]", "3: the tool end-call is there twice"),
            ("[\n {\"description\": \"?\"}]", "2: a tool without a name"),
            ("[\n {\"type\": \"web_search\"}]", "2: "),
            ("[{\"name\": \"end-call\",\n \"parameters\": [1]}]", "1: the parameters"),
            ("[]\n[]", "2: trailing characters"),
            ("\n{}", "2: missing field `tools`"),
            ("\n\"tools\"", "2: "),
        ] {
            let err = read(manifest).unwrap_err();
            assert!(err.starts_with(&format!("assets/Tools.json:{place}")), "{manifest}: {err}");
        }
    }

    #[test]
    fn only_white_space_outside_strings_goes() {
        assert_eq!(compact("{ \"a b\" :\n\t\"c \\\" d\\\\\" , \"e\": [ 1 ] }"), "{\"a b\":\"c \\\" d\\\\\",\"e\":[1]}");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_compact_means_the_same(text in "\\PC{0,40}", strings in prop::collection::vec("[ \"\\\\a\n]{0,6}", 0..4)) {
            let _ = read(&text);
            let value = json!({ "type": strings });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), value.to_string());
        }
    }
}
