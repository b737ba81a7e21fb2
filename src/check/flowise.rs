//! Checks of Flowise: that it is reached, and that it has the flows.

use super::http::{Credentials, ProbeClient, build_url};
use super::report::Finding;
use crate::config::{FlowiseConfig, FlowiseVariable};
use crate::flowise::ChatflowStreaming;

const SUBJECT: &str = "Flowise";

/// Queries Flowise about itself and the flows. No flow runs: it could call tools.
pub(super) async fn check(http: &ProbeClient, config: &FlowiseConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let reached = check_server(http, config).await;
    let is_reached = reached.is_ok();
    findings.push(reached.unwrap_or_else(|finding| finding));
    if is_reached {
        for flow in std::iter::once(&config.chatflow_id).chain(&config.allowed_chatflows) {
            findings.push(check_flow(http, config, flow).await);
        }
    }
    findings.push(check_variables(config));
    findings.push(Finding::warning(
        "PCI",
        "Flowise and its database see what callers say; card data from the keypad goes to Twilio only, and spoken card \
         numbers are cut out before. Keep Flowise inside your own network, and clear its messages regularly",
    ));
    findings
}

async fn check_server(http: &ProbeClient, config: &FlowiseConfig) -> Result<Finding, Finding> {
    let failure = |message: String| Finding::failure(SUBJECT, message);
    let url = build_url(&config.url, &["api", "v1", "ping"]);
    let url = url.ok_or_else(|| failure("FLOWISE_URL is not an http URL".to_owned()))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    match http.get(url, credentials(config)).await.map(|response| response.status) {
        Ok(200..=299) => Ok(Finding::pass(SUBJECT, format!("{host} answers"))),
        Ok(status) => Err(failure(format!(
            "{host} answers HTTP {status} to /api/v1/ping: set FLOWISE_URL to the address at which its pages open"
        ))),
        Err(error) => Err(failure(format!("{host} {error}: check FLOWISE_URL and the network"))),
    }
}

async fn check_flow(http: &ProbeClient, config: &FlowiseConfig, flow: &str) -> Finding {
    let Some(url) = build_url(&config.url, &["api", "v1", "chatflows-streaming", flow]) else {
        return Finding::failure(SUBJECT, "FLOWISE_URL is not an http URL");
    };
    let response = match http.get(url, credentials(config)).await {
        Ok(response) => response,
        Err(error) => return Finding::failure(SUBJECT, format!("{error} when it is asked about the flow {flow}")),
    };
    match (response.status, serde_json::from_slice::<ChatflowStreaming>(&response.body)) {
        (200..=299, Ok(ChatflowStreaming { is_streaming: true })) => {
            Finding::pass(SUBJECT, format!("has the flow {flow}, and it streams"))
        }
        (200..=299, Ok(_)) => Finding::warning(
            SUBJECT,
            format!(
                "the flow {flow} does not stream: its answers have to be complete within firstTokenSeconds, and a caller \
                 hears nothing before"
            ),
        ),
        (200..=299, Err(_)) => Finding::failure(
            SUBJECT,
            format!("what answers at FLOWISE_URL is not Flowise: it knows nothing of the flow {flow}"),
        ),
        (status, _) => Finding::failure(
            SUBJECT,
            format!(
                "has no flow {flow} (HTTP {status}): correct FLOWISE_CHATFLOW_ID or FLOWISE_ALLOWED_CHATFLOWS. Callers \
                 of a flow that does not exist hear only an apology"
            ),
        ),
    }
}

/// No API shows which variables a flow allows.
fn check_variables(config: &FlowiseConfig) -> Finding {
    let names: Vec<&str> = config.variables.iter().map(|variable| variable.name()).collect();
    let names = names.join(", ");
    if config.variables.contains(&FlowiseVariable::Instructions) {
        let todo = "in the flow's configuration, under Override Configuration, allow the variables";
        return Finding::warning(SUBJECT, format!("{todo} {names}; it ignores all others"));
    }
    Finding::warning(SUBJECT, "FLOWISE_VARS lacks instructions: the flow's own prompt decides what the agent does")
}

fn credentials(config: &FlowiseConfig) -> Credentials<'_> {
    config.api_key.as_ref().map_or(Credentials::Anonymous, Credentials::Bearer)
}
