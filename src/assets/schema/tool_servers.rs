//! `ToolServers`: the servers of the business that list their tools by the Model Context Protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use url::Url;

use crate::assets::de::{business_url, milliseconds, optional_speech, text};
use crate::business_tools::{BusinessTool, ToolServer};

/// The maximum number of servers, and of tools that one may offer.
const MAX_SERVERS: usize = 8;
const MAX_TOOLS: usize = 32;

/// The section: entries by name.
#[derive(Deserialize, Default)]
#[serde(try_from = "BTreeMap<ServerName, ToolServerEntry>")]
pub(in crate::assets) struct ToolServersSection(BTreeMap<ServerName, ToolServerEntry>);

/// The name of an entry, which the log and the tokens use.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ServerName(String);

/// The name of a tool that may be used.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct AllowedName(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ToolServerEntry {
    #[serde(deserialize_with = "business_url")]
    url: Url,
    tools: BTreeSet<AllowedName>,
    #[serde(default = "default_timeout", deserialize_with = "milliseconds::<100, 15_000, _>")]
    timeout_ms: Duration,
    #[serde(default, deserialize_with = "optional_speech")]
    speak: Option<String>,
}

fn default_timeout() -> Duration {
    BusinessTool::DEFAULT_TIMEOUT
}

impl<'de> Deserialize<'de> for ServerName {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        valid_name(json).map(Self)
    }
}

impl<'de> Deserialize<'de> for AllowedName {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        valid_name(json).map(Self)
    }
}

fn valid_name<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    text(json, "a name", |name| {
        let is_valid = BusinessTool::is_valid_name(name);
        is_valid.then(|| name.to_owned()).ok_or_else(|| "a name has 1 to 64 letters, digits, - and _".to_owned())
    })
}

impl TryFrom<BTreeMap<ServerName, ToolServerEntry>> for ToolServersSection {
    type Error = String;

    fn try_from(entries: BTreeMap<ServerName, ToolServerEntry>) -> Result<Self, String> {
        let is_large = entries.values().any(|entry| entry.tools.len() > MAX_TOOLS);
        match () {
            () if entries.len() > MAX_SERVERS => Err(format!("ToolServers has more than {MAX_SERVERS} servers")),
            () if is_large => Err(format!("a server of ToolServers has more than {MAX_TOOLS} tools")),
            () => Ok(Self(entries)),
        }
    }
}

impl ToolServersSection {
    pub(in crate::assets) fn into_servers(self) -> Vec<ToolServer> {
        let server = |(ServerName(name), entry): (ServerName, ToolServerEntry)| ToolServer {
            name,
            url: entry.url,
            allowed: entry.tools.into_iter().map(|AllowedName(name)| name).collect(),
            timeout: entry.timeout_ms,
            speak: entry.speak,
        };
        self.0.into_iter().map(server).collect()
    }
}
