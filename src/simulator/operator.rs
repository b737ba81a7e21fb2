//! The operator of the server: asks for what only an operator may.

use std::time::Duration;

use serde_json::Value;

use super::deployment::Proxy;

/// What the server knows its operator by.
pub const OPERATOR_TOKEN: &str = "simulated-operator-token";

/// Posts orders to the server. An answer is its status and its JSON body.
pub async fn order(server: &Proxy, path: &str, body: &Value) -> Result<(u16, Value), String> {
    let asked = async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
        let url = format!("http://{}{path}", server.leads_to());
        let answer = client.post(url).bearer_auth(OPERATOR_TOKEN).json(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    };
    asked.await.map_err(|error: reqwest::Error| format!("an order at {path} got no answer: {error}"))
}
