//! The server process with its stand-ins. Sends requests as Twilio and as an operator, and captures the responses.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::capture::{OutputCapture, OutputChannel};
use super::model::ModelStandIn;
use super::relay_client::RelayClient;
use super::server_process::{ServerProcess, StartServerError};
use super::setup::{self, AUTH_TOKEN, OPERATOR_TOKEN, PreparedSetup, TestedSetup};
use super::stand_ins::StandIns;
use crate::config::{PublicUrl, Vars};
use crate::endpoints::CONVERSATION_RELAY;
use crate::simulator::runner::serve_locally;
use crate::simulator::twilio::ScriptedSync;
use crate::twilio::Signer;

/// The timeout of every step.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The running server, its stand-ins, and clients for its endpoints.
#[derive(Debug)]
pub struct ProofHarness {
    /// The server process.
    pub server: ServerProcess,
    /// The stand-in for the Responses API.
    pub model: ModelStandIn,
    /// The stand-ins for Twilio and the business.
    pub stand_ins: StandIns,
    /// The captured output.
    pub capture: OutputCapture,
    base_url: PublicUrl,
    signer: Signer,
    http: reqwest::Client,
    stand_in_tasks: [JoinHandle<()>; 2],
}

impl ProofHarness {
    /// Starts `program` with the configuration in `vars` and its ledger in the directory `home`.
    pub async fn start(program: &Path, vars: &Vars, home: &Path) -> Result<(Self, TestedSetup), StartServerError> {
        let capture = OutputCapture::default();
        let (model, stand_ins) = (ModelStandIn::new(capture.clone()), StandIns::new(capture.clone()));
        let sync = ScriptedSync::new("AC00000000000000000000000000000001", AUTH_TOKEN);
        let twilio =
            serve_locally(stand_ins.clone().router().merge(sync.router())).await.map_err(StartServerError::Failed)?;
        let openai = serve_locally(model.clone().router()).await.map_err(StartServerError::Failed)?;
        let prepared = setup::prepare_setup(vars, &twilio.0, &openai.0, home);
        let PreparedSetup { set_up, vars, base_url } =
            prepared.map_err(|problems| StartServerError::InvalidConfig(problems.to_string()))?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
        let http = http.context("cannot create the HTTP client").map_err(StartServerError::Failed)?;
        let server = ServerProcess::start(program, home, &vars, &capture).await?;
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        let stand_in_tasks = [twilio.1, openai.1];
        Ok((Self { server, model, stand_ins, capture, base_url, signer, http, stand_in_tasks }, set_up))
    }

    /// Posts a signed form as Twilio does. Returns the body of a 2xx response.
    pub async fn post_as_twilio(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<String> {
        let form: Vec<(String, String)> =
            form.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect();
        let signature = self.signer.sign(&self.base_url.http_url(path), &form);
        let request = self.http.post(self.url(path)).header("X-Twilio-Signature", signature).form(&form);
        let (status, answer) = self.send(OutputChannel::TwilioResponse, request).await?;
        ensure!(status.is_success(), "{path} returned {status}");
        Ok(answer)
    }

    /// Posts JSON as an operator. Returns the status, headers and body of any response.
    pub async fn post_as_operator(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        let request = self.http.post(self.url(path)).bearer_auth(OPERATOR_TOKEN).json(body);
        Ok(self.send(OutputChannel::OperatorResponse, request).await?.1)
    }

    /// Sends a GET request as an operator. Returns the status, headers and body of any response.
    pub async fn get_as_operator(&self, path: &str) -> anyhow::Result<String> {
        let request = self.http.get(self.url(path)).bearer_auth(OPERATOR_TOKEN);
        Ok(self.send(OutputChannel::OperatorResponse, request).await?.1)
    }

    async fn send(&self, channel: OutputChannel, request: RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
        let answer = request.send().await.context("the server did not answer")?;
        let (status, headers) =
            (answer.status(), format!("{status} {:?}\n", answer.headers(), status = answer.status()));
        let body = answer.text().await.context("the response body is incomplete")?;
        self.capture.record(channel, headers + &body);
        Ok((status, body))
    }

    /// Connects a call from this number and waits until the agent has answered the caller's greeting.
    pub async fn connect_call(&self, call: &str, from: &str, parameters: &Value) -> anyhow::Result<RelayClient<'_>> {
        let signature = self.signer.sign(&self.base_url.wss_url(CONVERSATION_RELAY), &[]);
        let mut request = format!("ws://{}{CONVERSATION_RELAY}", self.server.address).into_client_request()?;
        request.headers_mut().insert("X-Twilio-Signature", signature.parse()?);
        let opened = tokio::time::timeout(TIMEOUT, tokio_tungstenite::connect_async(request)).await;
        let (socket, _) =
            opened.context("the WebSocket handshake timed out")?.context("the WebSocket handshake failed")?;
        let mut client = RelayClient::new(self, socket);
        let setup = json!({
            "type": "setup", "sessionId": "VX00000000000000000000000000000001", "callSid": call, "from": from,
            "to": "+15550100002", "direction": "inbound", "customParameters": parameters,
        });
        client.send(&setup).await?;
        self.wait_for_calls(1).await?;
        client.say_hello().await?;
        Ok(client)
    }

    /// Waits until `count` calls are live.
    pub async fn wait_for_calls(&self, count: u64) -> anyhow::Result<()> {
        let waits = async {
            loop {
                let answer = self.http.get(self.url("/health")).send().await?.json::<Value>().await?;
                if answer["calls"] == json!(count) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, waits).await.context("the number of live calls did not change as expected")?
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }
}

impl Drop for ProofHarness {
    fn drop(&mut self) {
        self.stand_in_tasks.iter().for_each(JoinHandle::abort);
    }
}
