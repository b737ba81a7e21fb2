//! Manifests: the definitions of the tools that the model may call.

mod http_tool;

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::AssetError;
use super::de::{compact, message_without_position, text};
use super::file::AssetFile;
use crate::business_tools::BusinessTool;
use crate::call::ToolSpec;

/// A tool definition. Serializes in the form of the Responses API.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename = "function")]
pub struct ToolDefinition {
    /// The name of a built-in tool, or of one of the business.
    pub name: String,
    /// The description for the model.
    pub description: String,
    /// The JSON schema of the arguments, an object without white space.
    pub parameters: Box<RawValue>,
    /// Whether OpenAI enforces the schema; if `None`, the Responses API decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// Where the tool is, if it is the business's own. The model is not told.
    #[serde(skip)]
    pub business: Option<Arc<BusinessTool>>,
}

/// Parses a manifest: `{"tools": […]}` or the bare array. An entry has the form of the Responses API, with all members
/// at the top level, or that of Chat Completions, with all members in `function`. An entry with `http` is a tool of the
/// business.
pub(super) fn parse(file: &AssetFile) -> Result<Vec<ToolDefinition>, AssetError> {
    let entries: Result<Vec<&RawValue>, _> = if file.text.trim_start().starts_with('[') {
        serde_json::from_str(&file.text)
    } else {
        serde_json::from_str(&file.text).map(|ManifestObject { tools }| tools)
    };
    let mut tools: Vec<ToolDefinition> = Vec::new();
    for entry in entries.map_err(|err| file.json_error(&err))? {
        let before = entry.get().as_ptr().addr() - file.text.as_ptr().addr();
        let first_line = 1 + file.text[..before].matches('\n').count();
        let invalid_entry = |line, what: String| AssetError::Invalid { file: file.label.clone(), line, what };

        let invalid_json = |err: &serde_json::Error| {
            invalid_entry(first_line + err.line().saturating_sub(1), message_without_position(err))
        };
        let tool = if http_tool::is_http_entry(entry) {
            serde_json::from_str(entry.get()).map(http_tool::HttpToolEntry::into_definition)
        } else {
            serde_json::from_str(entry.get()).map(ToolEntry::into_definition)
        };
        let tool =
            tool.map_err(|err| invalid_json(&err))?.map_err(|what| invalid_entry(first_line, what.to_owned()))?;
        if tools.iter().any(|earlier| earlier.name == tool.name) {
            return Err(invalid_entry(first_line, format!("the tool {} appears twice", tool.name)));
        }
        tools.push(tool);
    }
    Ok(tools)
}

#[derive(Deserialize)]
struct ManifestObject<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
}

/// An entry of a manifest in either form.
#[derive(Deserialize)]
struct ToolEntry {
    #[serde(rename = "type")]
    _kind: Option<ToolType>,
    function: Option<ChatFunction>,
    name: Option<ToolName>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ToolType {
    Function,
}

/// The form of Chat Completions. There, `strict` is false by default; in the form of the Responses API it is true.
#[derive(Deserialize)]
struct ChatFunction {
    name: ToolName,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    #[serde(default)]
    strict: bool,
}

impl ToolEntry {
    fn into_definition(self) -> Result<ToolDefinition, &'static str> {
        let (name, description, parameters, strict) = match (self.function, self.name) {
            (Some(function), None) => (function.name, function.description, function.parameters, Some(function.strict)),
            (None, Some(name)) => (name, self.description, self.parameters, self.strict),
            (None, None) => return Err("a tool has no name"),
            (Some(_), Some(_)) => return Err("a tool has both a name and a function: remove one of them"),
        };
        Ok(ToolDefinition {
            name: name.0.to_owned(),
            description: description.unwrap_or_default(),
            parameters: compact_schema(parameters.as_deref())?,
            strict,
            business: None,
        })
    }
}

/// The name of an existing tool.
struct ToolName(&'static str);

impl<'de> Deserialize<'de> for ToolName {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        text(json, "the name of a tool", |name| {
            let unknown = || format!("there is no tool {name:?}; there are {}", ToolSpec::names().join(", "));
            ToolSpec::find(name).map(|tool| Self(tool.name)).ok_or_else(unknown)
        })
    }
}

/// Removes white space from a schema, which is sent to the model with every request. A tool without arguments needs no
/// schema.
fn compact_schema(parameters: Option<&RawValue>) -> Result<Box<RawValue>, &'static str> {
    let text = parameters.map_or(r#"{"type":"object","properties":{}}"#, RawValue::get);
    if !text.starts_with('{') {
        return Err("the parameters of a tool must be a JSON schema, an object");
    }
    RawValue::from_string(compact(text)).map_err(|_| "the parameters of a tool are not JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Vec<ToolDefinition>, String> {
        parse(&AssetFile::new("assets/Tools.json", text)).map_err(|err| err.to_string())
    }

    fn written(text: &str) -> Value {
        serde_json::to_value(read(text).unwrap()).unwrap()
    }

    #[test]
    fn both_forms_are_serialized_in_the_form_of_the_responses_api() {
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
    fn missing_members_of_a_tool_are_left_to_the_api() {
        assert_eq!(
            written(r#"[{ "name": "end-call" }]"#),
            json!([{ "type": "function", "name": "end-call", "description": "",
                     "parameters": { "type": "object", "properties": {} } }])
        );
    }

    #[test]
    fn an_unknown_tool_is_rejected_with_its_line() {
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
    fn every_other_error_has_its_line_too() {
        for (manifest, place) in [
            ("", "1: "),
            ("{\n \"tools\": [\n", "3: "),
            ("[\n {\"name\": \"end-call\"}\n {\"name\": \"capture-card\"}]", "3: "),
            ("[\n {\"name\": \"end-call\"},\n {\"name\": \"end-call\"}]", "3: the tool end-call appears twice"),
            ("[\n {\"description\": \"?\"}]", "2: a tool has no name"),
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
    fn only_white_space_outside_strings_is_removed() {
        assert_eq!(compact("{ \"a b\" :\n\t\"c \\\" d\\\\\" , \"e\": [ 1 ] }"), "{\"a b\":\"c \\\" d\\\\\",\"e\":[1]}");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_compact_json_has_the_same_value(text in "\\PC{0,40}", strings in prop::collection::vec("[ \"\\\\a\n]{0,6}", 0..4)) {
            let _ = read(&text);
            let value = json!({ "type": strings });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), value.to_string());
        }
    }
}
