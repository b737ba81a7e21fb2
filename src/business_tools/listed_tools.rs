//! The tools that the servers of `ToolServers` list, as they are offered to the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::mcp::ToolEntry;
use super::{BusinessTool, BusinessToolEndpoint, ToolServerConnection};
use crate::call::ToolSpec;
use crate::llm::Profile;
use crate::tool_schema::{self, MAX_TOOLS};

/// The longest description that is sent to the model, in characters. The rest is cut off.
const MAX_DESCRIPTION: usize = 1_024;

/// The largest schema of arguments, in bytes. It is sent to the model with every request.
const MAX_SCHEMA_BYTES: usize = 8 * 1024;

/// The tools of all servers that answered.
#[derive(Debug, Clone, Default)]
pub struct ListedTools {
    /// By name.
    tools: BTreeMap<String, ListedTool>,
    /// What was warned about, so that each is logged once. The lists of a client share it.
    warned: Arc<Mutex<BTreeSet<String>>>,
}

/// A tool of a server.
#[derive(Debug, Clone)]
struct ListedTool {
    /// Its definition for the Responses API.
    definition: String,
    /// The name of the server.
    server: String,
    tool: Arc<BusinessTool>,
}

impl ListedTools {
    /// Adds the tools of a server that it may offer. Returns what is wrong with the others, as sentences about them.
    pub(super) fn add(&mut self, connection: &Arc<ToolServerConnection>, entries: Vec<ToolEntry>) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut missing: BTreeSet<&str> = connection.server.allowed.iter().map(String::as_str).collect();
        for entry in entries {
            let Some(name) = connection.server.allowed.get(&entry.name) else { continue };
            missing.remove(name.as_str());
            let taken = self.tools.contains_key(name);
            let definition = define(name, entry.description, entry.input_schema);
            match definition {
                _ if ToolSpec::find(name).is_some() => warnings.push(format!("{name} is the name of a built-in tool")),
                _ if taken => warnings.push(format!("{name} is listed twice, or by another server too")),
                Err(reason) => warnings.push(format!("{name}: {reason}")),
                Ok(definition) => {
                    let tool = BusinessTool {
                        name: name.clone(),
                        endpoint: BusinessToolEndpoint::Server(connection.clone()),
                        timeout: connection.server.timeout,
                        speak: connection.server.speak.clone(),
                    };
                    let server = connection.server.name.clone();
                    self.tools.insert(name.clone(), ListedTool { definition, server, tool: Arc::new(tool) });
                }
            }
        }
        warnings.extend(missing.into_iter().map(|name| format!("{name} is not listed by the server")));
        warnings
    }

    /// The names of the tools.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tools.keys().map(String::as_str)
    }

    /// Returns these tools, which warn of nothing that `other` has warned of.
    pub(super) fn with_warnings_of(self, other: &Self) -> Self {
        Self { warned: other.warned.clone(), ..self }
    }

    /// Adds these tools behind those of a profile, up to the [`MAX_TOOLS`] of a request. A tool whose name the profile has
    /// already is left out, and so is one too many. Each is logged once.
    pub fn extend_profile(&self, profile: &Arc<Profile>) -> Arc<Profile> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        if self.tools.is_empty() {
            return profile.clone();
        }
        let tools = profile.tools();
        let json = tools.get();
        let known: Vec<Named> = serde_json::from_str(json).unwrap_or_default();
        let mut more = Vec::new();
        for (name, listed) in &self.tools {
            let is_listed = |tool: &Arc<BusinessTool>| matches!(tool.endpoint, BusinessToolEndpoint::Server(_));
            match () {
                () if profile.business_tools().get(name).is_some_and(is_listed) => {}
                () if known.iter().any(|tool| tool.name == *name) => {
                    self.warn_once(listed, "is the name of a tool of a manifest too, which is used");
                }
                () if known.len() + more.len() >= MAX_TOOLS => {
                    self.warn_once(listed, "is one tool too many: OpenAI takes 128 with those of the manifest");
                }
                () => more.push(listed),
            }
        }
        if more.is_empty() {
            return profile.clone();
        }
        let inner = json.trim().strip_prefix('[').and_then(|json| json.strip_suffix(']')).unwrap_or_default().trim();
        let all = Some(inner).filter(|inner| !inner.is_empty()).into_iter();
        let all: Vec<&str> = all.chain(more.iter().map(|tool| tool.definition.as_str())).collect();
        let Ok(tools) = RawValue::from_string(format!("[{}]", all.join(","))) else { return profile.clone() };
        let mut business = profile.business_tools().clone();
        business.extend(more.iter().map(|it| (it.tool.name.clone(), it.tool.clone())));
        Arc::new(profile.with_tools(tools.into(), Arc::new(business)))
    }

    /// Logs that a tool is not offered to the model, and why, unless it was logged before.
    fn warn_once(&self, listed: &ListedTool, reason: &str) {
        let warning = format!("{}: {} {reason}", listed.server, listed.tool.name);
        let is_new = self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone());
        if is_new {
            warn!(event = "tool_server.tool_ignored", warning, "A tool of a server is not offered to the model.");
        }
    }
}

/// Defines a tool for the Responses API. The schema is completed as that of a manifest's tool, and is not strict, since a
/// server's schemas seldom have what a strict one needs. The error says why the tool cannot be offered: one schema that
/// OpenAI refuses makes it refuse every request of the call.
fn define(name: &str, description: Option<String>, schema: Option<Map<String, Value>>) -> Result<String, String> {
    let mut schema = schema.unwrap_or_default();
    schema.remove("$schema");
    let schema = to_raw_value(&schema).map_err(|_| "inputSchema is not JSON")?;
    let schema = tool_schema::parse(Some(&schema), Some(false))?;
    if let Some(keyword) = schema.refused_keyword {
        return Err(format!("OpenAI refuses an inputSchema with {keyword} at the top level"));
    }
    if schema.json.get().len() > MAX_SCHEMA_BYTES {
        return Err(format!("inputSchema has more than {MAX_SCHEMA_BYTES} bytes"));
    }
    let description: String = description.unwrap_or_default().chars().take(MAX_DESCRIPTION).collect();
    let tool = json!({"type": "function", "name": name, "description": description, "parameters": schema.json, "strict": false});
    Ok(tool.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::business_tools::{BusinessToolClient, ToolServer};
    use crate::captured_log::CapturedLog;

    fn connection(allowed: &[&str]) -> Arc<ToolServerConnection> {
        let client = BusinessToolClient::new(None, BTreeMap::new()).unwrap();
        Arc::new(client.connect(ToolServer {
            name: "crm".to_owned(),
            url: "https://crm.example.com/mcp".parse().unwrap(),
            allowed: allowed.iter().map(|name| (*name).to_owned()).collect(),
            timeout: BusinessTool::DEFAULT_TIMEOUT,
            speak: None,
        }))
    }

    fn entry(name: &str, description: &str, schema: &Value) -> ToolEntry {
        serde_json::from_value(json!({"name": name, "description": description, "inputSchema": schema})).unwrap()
    }

    fn tool_names(profile: &Profile) -> Vec<String> {
        let tools: Vec<Value> = serde_json::from_str(profile.tools().get()).unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_tool_that_cannot_be_offered_is_a_warning() {
        let server = connection(&["start-capture", "twice", "large", "missing", "fine"]);
        let large = json!({"description": "x".repeat(MAX_SCHEMA_BYTES)});
        let entries = [
            entry("start-capture", "", &json!({})),
            entry("twice", "", &json!({})),
            entry("twice", "", &json!({})),
            entry("large", "", &large),
            entry("not-allowed", "", &json!({})),
            entry("fine", "", &json!({})),
        ];
        let mut tools = ListedTools::default();
        let warnings = tools.add(&server, entries.into()).join("\n");
        for warning in [
            "start-capture is the name",
            "twice is listed twice",
            "large: inputSchema has more",
            "missing is not listed",
        ] {
            assert!(warnings.contains(warning), "{warning}: {warnings}");
        }
        assert_eq!((tools.names().collect::<Vec<_>>(), warnings.lines().count()), (vec!["fine", "twice"], 4));
    }

    #[test]
    fn a_schema_that_openai_refuses_is_a_warning_and_one_of_a_manifest_is_completed_in_the_same_way() {
        let nested = json!({"properties": {"filter": {"type": "object"}, "ids": {"type": "array"}}});
        let entries = [
            entry("any", "", &json!({"type": "object", "anyOf": [{"required": ["a"]}]})),
            entry("text", "", &json!({"type": "string"})),
            entry("list", "", &json!({"properties": []})),
            entry("nested", "", &nested),
        ];
        let mut tools = ListedTools::default();
        let warnings = tools.add(&connection(&["any", "text", "list", "nested"]), entries.into());
        assert_eq!(tools.names().collect::<Vec<_>>(), ["nested"], "{warnings:?}");
        for why in ["any: OpenAI refuses an inputSchema with anyOf", "type object", "properties must be an object"] {
            assert!(warnings.iter().any(|warning| warning.contains(why)), "{why}: {warnings:?}");
        }
        let definition: Value = serde_json::from_str(&tools.tools["nested"].definition).unwrap();
        let properties = json!({"filter": {"type": "object", "properties": {}}, "ids": {"type": "array", "items": {}}});
        assert_eq!(definition["parameters"], json!({"type": "object", "properties": properties}));
    }

    #[test]
    fn schemas_are_completed_and_descriptions_are_cut() {
        let mut tools = ListedTools::default();
        let schema = json!({"$schema": "https://json-schema.org/", "required": []});
        assert!(tools.add(&connection(&["a"]), vec![entry("a", &"é".repeat(2_000), &schema)]).is_empty());
        let definition: Value = serde_json::from_str(&tools.tools["a"].definition).unwrap();
        assert_eq!(definition["parameters"], json!({"type": "object", "properties": {}, "required": []}));
        assert_eq!(
            (definition["description"].as_str().unwrap().chars().count(), &definition["strict"]),
            (1_024, &json!(false))
        );
    }

    #[test]
    fn a_profile_is_extended_once_and_its_own_tools_go_first() {
        let mut tools = ListedTools::default();
        tools.add(&connection(&["a", "b"]), vec![entry("a", "", &json!({})), entry("b", "", &json!({}))]);
        for (own, names) in [(json!([]), vec!["a", "b"]), (json!([{"name": "b"}, {"name": "c"}]), vec!["b", "c", "a"])]
        {
            let own: Vec<Value> = serde_json::from_value(own).unwrap();
            let once = tools.extend_profile(&Profile::new("Be kind.", &own).unwrap().into());
            assert_eq!(tool_names(&once), names);
            assert_eq!(tool_names(&tools.extend_profile(&once)), names, "again");
            assert_eq!(
                once.business_tools().contains_key("b"),
                names[0] == "a",
                "the manifest's own b is no tool of crm"
            );
        }
    }

    #[test]
    fn a_tool_that_a_call_cannot_have_is_logged_once() {
        let names: Vec<String> = (0..5).map(|at| format!("listed-{at}")).collect();
        let list = || {
            let mut tools = ListedTools::default();
            let server = connection(&names.iter().map(String::as_str).collect::<Vec<_>>());
            tools.add(&server, names.iter().map(|name| entry(name, "", &json!({}))).collect());
            tools
        };
        let mut own: Vec<Value> = (0..125).map(|at| json!({"name": format!("own-{at}")})).collect();
        own.push(json!({"name": "listed-0"}));
        let profile = Arc::new(Profile::new("Be kind.", &own).unwrap());
        let log = CapturedLog::start();
        let tools = list();
        let extended = tools.extend_profile(&tools.extend_profile(&profile));
        let _ = list().with_warnings_of(&tools).extend_profile(&profile);
        let names = tool_names(&extended);
        assert_eq!((names.len(), &names[126..]), (128, &["listed-1".to_owned(), "listed-2".to_owned()][..]));
        assert_eq!(log.count_events("WARN", "tool_server.tool_ignored"), 3);
    }
}
