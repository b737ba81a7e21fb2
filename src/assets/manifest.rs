//! Manifests: the definitions of the tools that the model may call.

mod http_tool;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::de::{message_without_position, text};
use super::file::AssetFile;
use super::{AssetError, AssetWarning};
use crate::business_tools::BusinessTool;
use crate::call::{Argument, ToolSpec};
use crate::tool_schema::{self, MAX_TOOLS, ToolSchema};

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

/// The tools of a manifest, and what its author probably did not intend.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) tools: Vec<ToolDefinition>,
    pub(super) warnings: Vec<AssetWarning>,
}

/// Arguments that manifests of the reference implementation declare, and that the server supplies itself.
const SERVER_ARGUMENTS: [&str; 3] = ["callSid", "paymentSid", "statusCallback"];

/// Parses a manifest: `{"tools": […]}` or the bare array. An entry has the form of the Responses API, with all members
/// at the top level, or that of Chat Completions, with all members in `function`. An entry with `http` is a tool of the
/// business.
pub(super) fn parse(file: &AssetFile) -> Result<Manifest, AssetError> {
    let entries: Result<Vec<&RawValue>, _> = if file.text.trim_start().starts_with('[') {
        serde_json::from_str(&file.text)
    } else {
        serde_json::from_str(&file.text).map(|ManifestObject { tools }| tools)
    };
    let mut manifest = Manifest { tools: Vec::new(), warnings: Vec::new() };
    for entry in entries.map_err(|err| describe_other_file(file).unwrap_or_else(|| file.json_error(&err)))? {
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
        let (tool, warnings) =
            tool.map_err(|err| invalid_json(&err))?.map_err(|what| invalid_entry(first_line, what.to_owned()))?;
        if manifest.tools.iter().any(|earlier| earlier.name == tool.name) {
            return Err(invalid_entry(first_line, format!("the tool {} appears twice", tool.name)));
        }
        let label = |what| AssetWarning::Tool { file: file.label.clone(), line: first_line, what };
        manifest.warnings.extend(warnings.into_iter().map(|what| label(format!("{}: {what}", tool.name))));
        manifest.tools.push(tool);
        if manifest.tools.len() == MAX_TOOLS + 1 {
            let what = format!("OpenAI refuses every request with more than {MAX_TOOLS} tools");
            manifest.warnings.push(label(what));
        }
    }
    Ok(manifest)
}

/// The error for a file that is no manifest but the server configuration of an older version, under its name then.
fn describe_other_file(file: &AssetFile) -> Option<AssetError> {
    const SECTIONS: [&str; 3] = ["ConversationRelay", "UsedConfig", "AssetLoader"];
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(&file.text).ok()?;
    let what = "is a server configuration: rename it to serverConfig.json".to_owned();
    let is_config = SECTIONS.iter().any(|section| members.contains_key(*section));
    is_config.then(|| AssetError::Invalid { file: file.label.clone(), line: 1, what })
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
    /// Converts the entry into the definition that is sent, and what its author probably did not intend.
    fn into_definition(self) -> Result<(ToolDefinition, Vec<String>), &'static str> {
        let (ToolName(tool), description, parameters, strict) = match (self.function, self.name) {
            (Some(function), None) => (function.name, function.description, function.parameters, Some(function.strict)),
            (None, Some(name)) => (name, self.description, self.parameters, self.strict),
            (None, None) => return Err("a tool has no name"),
            (Some(_), Some(_)) => return Err("a tool has both a name and a function: remove one of them"),
        };
        let ToolSchema { json, strict, declared, mut warnings, .. } =
            tool_schema::parse(parameters.as_deref(), strict)?;
        warnings.extend(argument_warnings(tool, &declared));
        let description = description.unwrap_or_default();
        let name = tool.name.to_owned();
        Ok((ToolDefinition { name, description, parameters: json, strict, business: None }, warnings))
    }
}

/// Compares the arguments that a schema declares with those that the tool reads.
fn argument_warnings(tool: &ToolSpec, declared: &[String]) -> Vec<String> {
    let is_declared = |argument: &Argument| argument.names().any(|name| declared.iter().any(|other| other == name));
    let needed = tool.arguments.iter().filter(|argument| argument.is_required && !is_declared(argument));
    let needed = needed.map(|argument| {
        let names: Vec<&str> = argument.names().collect();
        format!("the tool needs the argument {}, which its schema does not declare", names.join(" or "))
    });
    let is_read = |name: &str| {
        let known = tool.arguments.iter().flat_map(Argument::names).chain(SERVER_ARGUMENTS);
        tool.takes_any_argument() || known.into_iter().any(|known| known == name)
    };
    let reads: Vec<&str> = tool.arguments.iter().map(|argument| argument.name).collect();
    let reads = if reads.is_empty() { "none".to_owned() } else { reads.join(", ") };
    let unread = declared.iter().filter(|name| !is_read(name));
    let unread = unread
        .map(|name| format!("the schema declares the argument {name}, which the tool does not read; it reads {reads}"));
    needed.chain(unread).collect()
}

/// The name of an existing tool.
struct ToolName(&'static ToolSpec);

impl<'de> Deserialize<'de> for ToolName {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        text(json, "the name of a tool", |name| {
            let unknown = || format!("there is no tool {name:?}; there are {}", ToolSpec::names().join(", "));
            ToolSpec::find(name).map(Self).ok_or_else(unknown)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Vec<ToolDefinition>, String> {
        parse(&AssetFile::new("assets/Tools.json", text)).map(|manifest| manifest.tools).map_err(|err| err.to_string())
    }

    fn warnings(text: &str) -> Vec<String> {
        let manifest = parse(&AssetFile::new("assets/Tools.json", text)).unwrap();
        manifest.warnings.iter().map(ToString::to_string).collect()
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
                            "parameters": { "type": "object", "properties": {} }, "strict": false }]);
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
    fn an_argument_that_the_tool_needs_or_does_not_read_is_a_warning() {
        let manifest = r#"[
  { "name": "change-context", "parameters": { "properties": { "target": { "type": "string" }, "summary": { "type": "string" } } } },
  { "name": "capture-card", "parameters": { "properties": { "callSid": {}, "paymentSid": {}, "statusCallback": {}, "hint": {} } } },
  { "name": "end-call", "parameters": { "properties": { "conversationSummary": {}, "mood": {} } } }
]"#;
        let expected = [
            "assets/Tools.json:2: change-context: the tool needs the argument contextKey or newContext or context, which its schema does not declare",
            "assets/Tools.json:2: change-context: the schema declares the argument target, which the tool does not read; it reads contextKey, manifestKey, summary",
            "assets/Tools.json:3: capture-card: the schema declares the argument hint, which the tool does not read; it reads none",
        ];
        assert_eq!(warnings(manifest), expected);
    }

    #[test]
    fn more_tools_than_openai_takes_are_a_warning() {
        let manifest = |count: usize| {
            let tool = |at| json!({ "name": format!("tool-{at}"), "http": { "url": "https://shop.example.com" } });
            json!((0..count).map(tool).collect::<Vec<_>>()).to_string()
        };
        assert!(warnings(&manifest(128)).is_empty());
        let expected = "assets/Tools.json:1: OpenAI refuses every request with more than 128 tools";
        assert_eq!(warnings(&manifest(130)), [expected]);
    }

    #[test]
    fn the_arguments_of_the_reference_manifests_are_no_warnings() {
        for (tool, arguments) in [
            ("change-context", &["newContext", "handoffSummary"][..]),
            ("change-context", &["newContext", "newManifest", "handoffSummary"]),
            ("send-dtmf", &["dtmfDigit"]),
            ("send-sms", &["to", "message"]),
            ("switch-language", &["ttsLanguage", "transcriptionLanguage"]),
            ("set-silence-detection", &["enabled"]),
            ("set-listen-mode", &["enabled"]),
            ("live-agent-handoff", &["incident_sys_id", "callSid", "callSummary", "sentiment", "ticketNumber"]),
            ("end-call", &["conversationSummary"]),
            ("start-capture", &["callSid", "chargeAmount"]),
            ("capture-card", &["statusCallback", "callSid", "paymentSid"]),
        ] {
            let properties: serde_json::Map<_, _> =
                arguments.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
            let tool = json!({ "name": tool, "parameters": { "type": "object", "properties": properties, "required": arguments } });
            assert_eq!(warnings(&json!([tool]).to_string()), Vec::<String>::new());
        }
    }

    #[test]
    fn strict_is_kept_or_switched_off_with_a_warning_in_both_forms() {
        let parameters = |extra: &str| json!({ "type": "object", "properties": { "enabled": { "type": "boolean", extra: 1 } }, "required": ["enabled"] });
        for (keyword, strict) in [("minimum", true), ("default", false)] {
            let flat = json!([{ "name": "set-listen-mode", "parameters": parameters(keyword), "strict": true }]);
            let chat = json!([{ "type": "function", "function": { "name": "set-listen-mode", "parameters": parameters(keyword), "strict": true } }]);
            for manifest in [flat.to_string(), chat.to_string()] {
                assert_eq!(written(&manifest)[0]["strict"], strict);
                let why = "assets/Tools.json:1: set-listen-mode: strict is switched off, since a strict schema cannot have default (at properties.enabled)";
                assert_eq!(warnings(&manifest), if strict { vec![] } else { vec![why] });
            }
        }
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

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = read(&text);
        }
    }
}
