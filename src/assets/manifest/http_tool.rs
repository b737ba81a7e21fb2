//! A tool of the business in a manifest: an entry with `http`, which says where the tool is.

use std::sync::Arc;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use url::Url;

use super::{ToolDefinition, ToolType};
use crate::assets::de::{business_url, milliseconds, optional_speech, text};
use crate::business_tools::{BusinessTool, BusinessToolEndpoint};
use crate::call::ToolSpec;
use crate::tool_schema::{self, ToolSchema};

/// Whether an entry has `http`, beside its name or beside its `function`.
pub(super) fn is_http_entry(entry: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Marked {
        http: Option<IgnoredAny>,
        function: Option<MarkedFunction>,
    }
    #[derive(Deserialize)]
    struct MarkedFunction {
        http: Option<IgnoredAny>,
    }
    let marked = serde_json::from_str::<Marked>(entry.get());
    marked.is_ok_and(|it| it.http.is_some() || it.function.is_some_and(|function| function.http.is_some()))
}

/// An entry with `http`, in the form of the Responses API or of Chat Completions.
#[derive(Deserialize)]
pub(super) struct HttpToolEntry {
    #[serde(rename = "type")]
    _kind: Option<ToolType>,
    function: Option<ChatHttpFunction>,
    name: Option<OwnName>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
    http: Option<Http>,
}

/// The form of Chat Completions, in which `strict` is false by default.
#[derive(Deserialize)]
struct ChatHttpFunction {
    name: OwnName,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    #[serde(default)]
    strict: bool,
    http: Option<Http>,
}

/// `http`: where the tool is and how long it may take.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Http {
    #[serde(deserialize_with = "business_url")]
    url: Url,
    #[serde(default = "default_timeout", deserialize_with = "milliseconds::<100, 15_000, _>")]
    timeout_ms: Duration,
    #[serde(default, deserialize_with = "optional_speech")]
    speak: Option<String>,
}

/// The name of a tool that is not built in.
struct OwnName(String);

impl<'de> Deserialize<'de> for OwnName {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        text(json, "the name of a tool", |name| match () {
            () if ToolSpec::find(name).is_some() => {
                Err(format!("{name} is a built-in tool and cannot have http: choose another name"))
            }
            () if !BusinessTool::is_valid_name(name) => {
                Err("the name of a tool has 1 to 64 letters, digits, - and _".to_owned())
            }
            () => Ok(Self(name.to_owned())),
        })
    }
}

fn default_timeout() -> Duration {
    BusinessTool::DEFAULT_TIMEOUT
}

impl HttpToolEntry {
    /// The definition, and what its author probably did not intend.
    pub(super) fn into_definition(self) -> Result<(ToolDefinition, Vec<String>), &'static str> {
        let (OwnName(name), description, parameters, strict, http) = match (self.function, self.name) {
            (Some(it), None) => (it.name, it.description, it.parameters, Some(it.strict), it.http.or(self.http)),
            (None, Some(name)) => (name, self.description, self.parameters, self.strict, self.http),
            (None, None) => return Err("a tool has no name"),
            (Some(_), Some(_)) => return Err("a tool has both a name and a function: remove one of them"),
        };
        let Http { url, timeout_ms: timeout, speak } = http.ok_or("http must be an object with a url")?;
        let endpoint = BusinessToolEndpoint::Http(url);
        let ToolSchema { json, strict, warnings, .. } = tool_schema::parse(parameters.as_deref(), strict)?;
        let definition = ToolDefinition {
            description: description.unwrap_or_default(),
            parameters: json,
            strict,
            business: Some(Arc::new(BusinessTool { name: name.clone(), endpoint, timeout, speak })),
            name,
        };
        Ok((definition, warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::file::AssetFile;
    use crate::assets::manifest::parse;

    const URL: &str = "https://shop.example.com/invoices";

    fn read(text: &str) -> Result<Vec<ToolDefinition>, String> {
        parse(&AssetFile::new("assets/Tools.json", text)).map(|it| it.tools).map_err(|err| err.to_string())
    }

    #[test]
    fn a_tool_with_http_is_the_businesss_own_in_either_form() {
        let http = r#""http": {"url": "https://shop.example.com/invoices", "timeoutMs": 800, "speak": "One moment."}"#;
        for manifest in [
            format!(r#"[{{"type": "function", "name": "find-invoice", "description": "Finds it.", {http}}}]"#),
            format!(r#"[{{"function": {{"name": "find-invoice", "description": "Finds it."}}, {http}}}]"#),
            format!(r#"{{"tools": [{{"function": {{"name": "find-invoice", "description": "Finds it.", {http}}}}}]}}"#),
        ] {
            let tools = read(&manifest).unwrap();
            let [ToolDefinition { business: Some(tool), .. }] = tools.as_slice() else { panic!("{tools:?}") };
            assert!(matches!(&tool.endpoint, BusinessToolEndpoint::Http(url) if url.as_str() == URL), "{tool:?}");
            assert_eq!((tool.name.as_str(), tool.timeout.as_millis()), ("find-invoice", 800));
            assert_eq!(tool.speak.as_deref(), Some("One moment."));
            let sent = serde_json::to_string(&tools).unwrap();
            assert!(sent.contains("Finds it.") && !sent.contains("http"), "the model is not told where it is: {sent}");
        }
    }

    #[test]
    fn a_tool_has_five_seconds_and_no_words_by_default() {
        let tools = read(r#"[{"name": "find-invoice", "http": {"url": "http://127.0.0.1:8080/find?key=1"}}]"#).unwrap();
        let tool = tools[0].business.as_ref().unwrap();
        assert_eq!((tool.timeout, tool.speak.as_deref()), (Duration::from_secs(5), None));
    }

    #[test]
    fn an_invalid_entry_is_an_error_with_its_line() {
        let entry = |name: &str, http: &str| format!("[\n {{\"name\": \"{name}\",\n  \"http\": {http}}}\n]");
        for (name, http, place, what) in [
            (
                "start-capture",
                r#"{"url": "https://a.example"}"#,
                2,
                "start-capture is a built-in tool and cannot have http",
            ),
            ("find invoice", r#"{"url": "https://a.example"}"#, 2, "64 letters, digits"),
            ("find-invoice", "{}", 3, "missing field `url`"),
            ("find-invoice", "true", 3, "invalid type"),
            ("find-invoice", r#"{"url": "http://shop.example.com"}"#, 3, "plain http to another machine: an https URL"),
            ("find-invoice", r#"{"url": "https://ann:secret@shop.example.com"}"#, 3, "is not an absolute"),
            ("find-invoice", r#"{"url": "/invoices"}"#, 3, "is not an absolute"),
            ("find-invoice", r#"{"url": "https://a.example", "timeoutMs": 99}"#, 3, "from 100 to 15000"),
            ("find-invoice", r#"{"url": "https://a.example", "timeoutMs": 15001}"#, 3, "from 100 to 15000"),
            ("find-invoice", r#"{"url": "https://a.example", "timeout": 1}"#, 3, "unknown field `timeout`"),
            ("find-invoice", r#"{"url": "https://a.example", "speak": " "}"#, 3, "something to say"),
        ] {
            let err = read(&entry(name, http)).unwrap_err();
            assert!(
                err.starts_with(&format!("assets/Tools.json:{place}: ")) && err.contains(what),
                "{name} {http}: {err}"
            );
        }
        assert!(read(r#"[{"name": "find-invoice", "http": null}]"#).unwrap_err().contains("there is no tool"));
    }
}
