//! Keeps the lists of tools up to date: at start, when the configuration or a list changes, and every few minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{BusinessToolClient, ListedTools, ToolServer, ToolServerConnection};
use crate::assets::CurrentAssets;

/// How often the lists are read again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);

/// How often a server that did not answer is asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);

/// The shortest time between two readings, however often a server says that its list has changed.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Reads the lists of tools of all servers in `ToolServers`.
#[derive(Debug)]
pub struct ToolServerWatcher {
    client: Arc<BusinessToolClient>,
    assets: Arc<CurrentAssets>,
    connections: BTreeMap<String, Arc<ToolServerConnection>>,
    /// The servers that did not answer, and what was warned about, so that each is logged once.
    unavailable: BTreeMap<String, String>,
    warnings: BTreeSet<String>,
}

impl ToolServerWatcher {
    /// Creates a watcher that keeps the lists in `client`.
    pub fn new(client: Arc<BusinessToolClient>, assets: Arc<CurrentAssets>) -> Self {
        Self { client, assets, connections: BTreeMap::new(), unavailable: BTreeMap::new(), warnings: BTreeSet::new() }
    }

    /// Reads all lists again and again. Never returns. Safe to drop at any time.
    pub async fn run(mut self) {
        let mut edits = self.assets.subscribe();
        loop {
            let pause = if self.unavailable.is_empty() { REFRESH_INTERVAL } else { RETRY_INTERVAL };
            sleep(MIN_INTERVAL).await;
            tokio::select! {
                _ = edits.changed() => {}
                () = self.client.wait_for_list_change() => {}
                () = sleep(pause) => {}
            }
            self.refresh().await;
        }
    }

    /// Reads the lists of all servers at the same time, within 5 seconds.
    pub async fn refresh(&mut self) {
        let library = self.assets.library();
        let servers = &library.server.tool_servers;
        let connections: Vec<_> = servers.iter().map(|server| self.connection(server)).collect();
        self.connections = connections.iter().map(|it| (it.server.name.clone(), it.clone())).collect();
        let lists = join_all(connections.iter().map(|connection| connection.list_tools_in_time())).await;
        let mut tools = ListedTools::default();
        let (mut unavailable, mut warnings) = (BTreeMap::new(), BTreeSet::new());
        for (connection, list) in connections.iter().zip(lists) {
            let name = &connection.server.name;
            match list {
                Ok(entries) => {
                    let found = tools.add(connection, entries);
                    warnings.extend(found.into_iter().map(|warning| format!("{name}: {warning}")));
                }
                Err(error) => {
                    connection.try_drop_session();
                    unavailable.insert(name.clone(), error.to_string());
                }
            }
        }
        self.log_changes(unavailable, warnings, &tools);
        self.client.set_listed(tools);
    }

    /// Returns the connection to a server. It is kept as long as its entry is the same.
    fn connection(&self, server: &ToolServer) -> Arc<ToolServerConnection> {
        let kept = self.connections.get(&server.name).filter(|it| it.server == *server).cloned();
        kept.unwrap_or_else(|| Arc::new(self.client.connect(server.clone())))
    }

    fn log_changes(&mut self, unavailable: BTreeMap<String, String>, warnings: BTreeSet<String>, tools: &ListedTools) {
        for (server, error) in unavailable.iter().filter(|(name, error)| self.unavailable.get(*name) != Some(*error)) {
            warn!(
                event = "tool_server.unavailable",
                server, error, "A server of tools gave no list; new calls do not have its tools until it does."
            );
        }
        for server in self.unavailable.keys().filter(|name| !unavailable.contains_key(*name)) {
            info!(event = "tool_server.available", server, "A server of tools is asked no more, or answers again.");
        }
        for warning in warnings.difference(&self.warnings) {
            warn!(event = "tool_server.tool_ignored", warning, "A tool of a server is not offered to the model.");
        }
        let names = tools.names().collect::<Vec<_>>().join(", ");
        if names != self.client.listed().names().collect::<Vec<_>>().join(", ") {
            info!(
                event = "tool_server.listed",
                tools = names,
                "The tools of the servers are known; new calls have them."
            );
        }
        self.unavailable = unavailable;
        self.warnings = warnings;
    }
}
