//! Checks of the business's own tools: that requests can be authenticated, and that every endpoint answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;

use super::http::{Credentials, ProbeClient};
use super::report::Finding;
use crate::assets::Library;
use crate::business_tools::{BusinessToolClient, BusinessToolEndpoint, ToolServer};
use crate::config::Config;

const SUBJECT: &str = "own tools";

/// Checks the tools of the default manifest and all servers of tools. No tool is called.
pub(super) async fn check(http: &ProbeClient, config: &Config, library: &Library) -> Vec<Finding> {
    let tools = library.tools(library.default_manifest()).unwrap_or_default();
    let endpoints = tools.iter().filter_map(|tool| Some(&tool.business.as_ref()?.endpoint));
    let urls: BTreeSet<_> = endpoints
        .filter_map(|endpoint| match endpoint {
            BusinessToolEndpoint::Http(url) => Some(url.clone()),
            BusinessToolEndpoint::Server(_) => None,
        })
        .collect();
    let unsigned = library.find_unsigned_tools(config).map(|tools| {
        Finding::failure(SUBJECT, format!("{tools}. Their requests are signed: set PAYMENT_WEBHOOK_SECRET"))
    });
    let probes = urls.into_iter().map(async |url| {
        let host = url.host_str().unwrap_or_default().to_owned();
        match http.get(url, Credentials::Anonymous).await.map(|response| response.status) {
            Ok(300..=399) => {
                Finding::failure(SUBJECT, format!("{host} redirects, which is not followed: set the final address"))
            }
            Ok(404 | 500..) => Finding::warning(
                SUBJECT,
                format!("{host} responds with an error: make sure that it accepts POST at the url of the tool"),
            ),
            Ok(_) => Finding::pass(SUBJECT, format!("{host} responds; it runs a tool of the manifest")),
            Err(failure) => Finding::failure(SUBJECT, format!("{host} {failure}: check the url in the manifest")),
        }
    });
    let (probes, servers) = tokio::join!(join_all(probes), check_servers(config, &library.server.tool_servers));
    unsigned.into_iter().chain(probes).chain(servers).collect()
}

async fn check_servers(config: &Config, servers: &[ToolServer]) -> Vec<Finding> {
    let client = BusinessToolClient::new(config.business_secrets.clone(), config.tool_server_tokens.clone());
    // The probes have reported that there are no root certificates.
    let Ok(client) = client.map(Arc::new) else { return Vec::new() };
    let known: BTreeSet<&str> = servers.iter().map(|server| server.name.as_str()).collect();
    let unused = config.tool_server_tokens.keys().filter(|name| !known.contains(name.as_str()));
    let unused = unused.map(|name| {
        Finding::warning(SUBJECT, format!("TOOL_SERVER_TOKENS has a token for {name}, which is not in ToolServers"))
    });
    let listed = join_all(servers.iter().map(|server| client.list_server(server))).await;
    let found = servers.iter().zip(listed).flat_map(|(server, listed)| match listed {
        Ok((tools, warnings)) => {
            let names = tools.names().collect::<Vec<_>>().join(", ");
            let pass = Finding::pass(SUBJECT, format!("{} offers {names}", server.name));
            let warnings = warnings.into_iter().map(|it| Finding::warning(SUBJECT, format!("{}: {it}", server.name)));
            Some(pass).filter(|_| !names.is_empty()).into_iter().chain(warnings).collect::<Vec<_>>()
        }
        Err(error) => {
            let message =
                format!("{}: {error}: calls do not have its tools; check its url in ToolServers", server.name);
            vec![Finding::failure(SUBJECT, message)]
        }
    });
    found.chain(unused).collect()
}
