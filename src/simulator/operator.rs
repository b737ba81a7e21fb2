//! The operator of the server, for requests that need the operator token.

use std::time::Duration;

use serde_json::Value;

use super::proxy::Proxy;

/// The operator token.
pub(super) const OPERATOR_TOKEN: &str = "simulated-operator-token";

/// Posts JSON to the server as the operator. Returns the status and the JSON body of the response.
pub(super) async fn post_order(server: &Proxy, path: &str, body: &Value) -> Result<(u16, Value), String> {
    let asked = async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
        let url = format!("http://{}{path}", server.request_target().await);
        let answer = client.post(url).bearer_auth(OPERATOR_TOKEN).json(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    asked.await.map_err(|error: reqwest::Error| format!("an order at {path} got no answer: {error}"))
}
