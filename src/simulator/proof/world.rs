//! The server between its stand-ins, and the requests of Twilio and of operators. Whatever comes back is kept.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::catch::{Catch, Place};
use super::model::Model;
use super::outside::Outside;
use super::phone::Phone;
use super::server::{NotStarted, Server};
use super::setup::{self, AUTH_TOKEN, OPERATOR_TOKEN, Prepared, SetUp};
use crate::config::{PublicUrl, Vars};
use crate::endpoints::CONVERSATION_RELAY;
use crate::simulator::stage::stand_in;
use crate::simulator::twilio::Sync;
use crate::twilio::Signer;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that is up.
#[derive(Debug)]
pub struct World {
    /// The server.
    pub server: Server,
    /// The model.
    pub model: Model,
    /// Twilio and the business.
    pub outside: Outside,
    /// What left the server.
    pub catch: Catch,
    base_url: PublicUrl,
    signer: Signer,
    http: reqwest::Client,
    stand_ins: [JoinHandle<()>; 2],
}

impl World {
    /// Starts `program` with what `vars` say, its ledger in the directory `home`.
    pub async fn start(program: &Path, vars: &Vars, home: &Path) -> Result<(Self, SetUp), NotStarted> {
        let catch = Catch::default();
        let (model, outside) = (Model::new(catch.clone()), Outside::new(catch.clone()));
        let sync = Sync::new("AC00000000000000000000000000000001", AUTH_TOKEN);
        let twilio = stand_in(outside.clone().router().merge(sync.router())).await.map_err(NotStarted::Failed)?;
        let openai = stand_in(model.clone().router()).await.map_err(NotStarted::Failed)?;
        let prepared = setup::prepare(vars, &twilio.0, &openai.0, home);
        let Prepared { set_up, vars, base_url } =
            prepared.map_err(|problems| NotStarted::Unusable(problems.to_string()))?;
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build();
        let http = http.context("no HTTP client").map_err(NotStarted::Failed)?;
        let server = Server::start(program, home, &vars, &catch).await?;
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        let stand_ins = [twilio.1, openai.1];
        Ok((Self { server, model, outside, catch, base_url, signer, http, stand_ins }, set_up))
    }

    /// Twilio asks or reports something; what it is answered, with 2xx.
    pub async fn twilio_posts(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<String> {
        let form: Vec<(String, String)> =
            form.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect();
        let signature = self.signer.sign(&self.base_url.http(path), &form);
        let request = self.http.post(self.local(path)).header("X-Twilio-Signature", signature).form(&form);
        let (status, answer) = self.sends(Place::TwilioAnswer, request).await?;
        ensure!(status.is_success(), "{path} was answered {status}");
        Ok(answer)
    }

    /// An operator posts something; what comes back, whatever it is.
    pub async fn operator_posts(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        let request = self.http.post(self.local(path)).bearer_auth(OPERATOR_TOKEN).json(body);
        Ok(self.sends(Place::OperatorAnswer, request).await?.1)
    }

    /// An operator asks for something.
    pub async fn operator_gets(&self, path: &str) -> anyhow::Result<String> {
        let request = self.http.get(self.local(path)).bearer_auth(OPERATOR_TOKEN);
        Ok(self.sends(Place::OperatorAnswer, request).await?.1)
    }

    async fn sends(&self, place: Place, request: RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
        let answer = request.send().await.context("the server did not answer")?;
        let (status, headers) =
            (answer.status(), format!("{status} {:?}\n", answer.headers(), status = answer.status()));
        let body = answer.text().await.context("the server broke its answer off")?;
        self.catch.keep(place, headers + &body);
        Ok((status, body))
    }

    /// Twilio connects a call from this number, and caller and agent have greeted each other.
    pub async fn connects(&self, call: &str, from: &str, parameters: &Value) -> anyhow::Result<Phone<'_>> {
        let signature = self.signer.sign(&self.base_url.wss(CONVERSATION_RELAY), &[]);
        let mut request = format!("ws://{}{CONVERSATION_RELAY}", self.server.address).into_client_request()?;
        request.headers_mut().insert("X-Twilio-Signature", signature.parse()?);
        let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::connect_async(request)).await;
        let (socket, _) = opened.context("the socket was not opened")?.context("the socket was refused")?;
        let mut phone = Phone::new(self, socket);
        let setup = json!({
            "type": "setup", "sessionId": "VX00000000000000000000000000000001", "callSid": call, "from": from,
            "to": "+15550100002", "direction": "inbound", "customParameters": parameters,
        });
        phone.sends(&setup).await?;
        self.has_calls(1).await?;
        phone.says_hello().await?;
        Ok(phone)
    }

    /// Waits until so many calls are live.
    pub async fn has_calls(&self, count: u64) -> anyhow::Result<()> {
        let waits = async {
            loop {
                let answer = self.http.get(self.local("/health")).send().await?.json::<Value>().await?;
                if answer["calls"] == json!(count) {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.context("a call did not begin or end")?
    }

    fn local(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stand_ins.iter().for_each(JoinHandle::abort);
    }
}
