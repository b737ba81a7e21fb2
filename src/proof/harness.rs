//! The server process with its stand-ins. Sends requests as Twilio and as an operator, and captures the responses.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::business::ProofBusiness;
use super::capture::{OutputCapture, OutputChannel};
use super::server_process::{ServerProcess, StartServerError};
use super::setup::{self, ACCOUNT_SID, AUTH_TOKEN, OPERATOR_TOKEN, PreparedSetup, TestedSetup};
use crate::config::{PublicUrl, Vars};
use crate::simulator::{AccountCredentials, ModelReply, QueuedOpenAi, RecordingOptions, RecordingTwilio, TwilioSync};
use crate::twilio::Signer;

/// The timeout of every step.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// The running server, its stand-ins, and clients for its endpoints.
#[derive(Debug)]
pub(super) struct ProofHarness {
    /// The server process.
    pub server: ServerProcess,
    /// The stand-in for the Responses API.
    pub model: QueuedOpenAi,
    /// Twilio.
    pub twilio: RecordingTwilio,
    /// The business.
    pub business: ProofBusiness,
    /// The captured output.
    pub capture: OutputCapture,
    /// The public URL of the server.
    pub base_url: PublicUrl,
    /// Signs requests as Twilio does.
    pub signer: Signer,
    http: reqwest::Client,
    /// The cookie of the console.
    cookie: OnceCell<String>,
}

impl ProofHarness {
    /// Starts `program` with the configuration in `vars` and its ledger in the directory `home`.
    pub(super) async fn start(
        program: &Path,
        vars: &Vars,
        home: &Path,
    ) -> Result<(Self, TestedSetup), StartServerError> {
        let capture = OutputCapture::default();
        let business = ProofBusiness::new(capture.clone());
        let public_url =
            setup::public_url(vars).map_err(|problems| StartServerError::InvalidConfig(problems.to_string()))?;
        let twilio = start_twilio(&public_url, &capture, &business).await.map_err(StartServerError::Failed)?;
        let captured = capture.clone();
        let observer = move |headers: &HeaderMap, body: &str| {
            captured.record(OutputChannel::Model, format!("{headers:?}\n{body}"));
        };
        let model = QueuedOpenAi::start_with(ModelReply::text("Mm-hm, go on."), observer).await;
        let model = model.map_err(StartServerError::Failed)?;
        let prepared = setup::prepare_setup(vars, twilio.origin(), model.base_url(), home);
        let PreparedSetup { set_up, vars, base_url } =
            prepared.map_err(|problems| StartServerError::InvalidConfig(problems.to_string()))?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().redirect(Policy::none()).build();
        let http = http.context("cannot create the HTTP client").map_err(StartServerError::Failed)?;
        let server = ServerProcess::start(program, home, &vars, &capture).await?;
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        Ok((Self { server, model, twilio, business, capture, base_url, signer, http, cookie: OnceCell::new() }, set_up))
    }

    /// Posts a signed form as Twilio does. Returns the body of a 2xx response.
    pub(super) async fn post_as_twilio(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<String> {
        let (status, answer) = self.send_as_twilio(path, form).await?;
        ensure!(status.is_success(), "{path} returned {status}");
        Ok(answer)
    }

    /// Posts a signed form of our account, and returns the status and all of the response.
    pub(super) async fn send_as_twilio(
        &self,
        path: &str,
        form: &[(&str, &str)],
    ) -> anyhow::Result<(StatusCode, String)> {
        let form: Vec<(String, String)> = [("AccountSid", ACCOUNT_SID)]
            .iter()
            .chain(form)
            .map(|(name, it)| ((*name).to_owned(), (*it).to_owned()))
            .collect();
        let signature = self.signer.sign(&self.base_url.http_url(path), &form);
        let request = self.http.post(self.url(path)).header("X-Twilio-Signature", signature).form(&form);
        self.send(OutputChannel::TwilioResponse, request).await
    }

    /// Posts JSON as an operator. Returns the status, headers and body of any response.
    pub(super) async fn post_as_operator(&self, path: &str, body: &Value) -> anyhow::Result<String> {
        let request = self.http.post(self.url(path)).bearer_auth(OPERATOR_TOKEN).json(body);
        Ok(self.send(OutputChannel::OperatorResponse, request).await?.1)
    }

    /// Sends a GET request as an operator. Returns the status, headers and body of any response.
    pub(super) async fn get_as_operator(&self, path: &str) -> anyhow::Result<String> {
        let request = self.http.get(self.url(path)).bearer_auth(OPERATOR_TOKEN);
        Ok(self.send(OutputChannel::OperatorResponse, request).await?.1)
    }

    /// Opens the pages of the console: the overview, the payments that a search for `text` finds, and the newest payment.
    pub(super) async fn read_console(&self, text: &str) -> anyhow::Result<()> {
        self.get_page("/console").await?;
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
        self.get_page(&format!("/console/payments?{query}")).await?;
        let list = self.get_page("/console/payments").await?;
        let payment = list.split('"').find(|part| part.starts_with("/console/payments/"));
        if let Some(payment) = payment {
            self.get_page(payment).await?;
        }
        Ok(())
    }

    async fn get_page(&self, path: &str) -> anyhow::Result<String> {
        let cookie = self.cookie.get_or_try_init(|| self.log_in()).await?;
        let request = self.http.get(self.url(path)).header("Cookie", cookie);
        let (status, page) = self.send(OutputChannel::Console, request).await?;
        ensure!(status.is_success(), "{path} returned {status}");
        Ok(page)
    }

    /// Logs in to the console, and returns the cookie.
    async fn log_in(&self) -> anyhow::Result<String> {
        let form = self.http.post(self.url("/console/login")).header("Sec-Fetch-Site", "same-origin");
        let answer = form.form(&[("token", OPERATOR_TOKEN)]).send().await.context("the server did not answer")?;
        let cookie = answer.headers().get("set-cookie").and_then(|cookie| cookie.to_str().ok()?.split(';').next());
        Ok(cookie.context("the console accepts no log-in")?.to_owned())
    }

    async fn send(&self, channel: OutputChannel, request: RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
        let answer = request.send().await.context("the server did not answer")?;
        let (status, headers) =
            (answer.status(), format!("{status} {:?}\n", answer.headers(), status = answer.status()));
        let body = answer.text().await.context("the response body is incomplete")?;
        self.capture.record(channel, headers + &body);
        Ok((status, body))
    }

    /// Waits until `count` calls are live.
    pub(super) async fn wait_for_calls(&self, count: u64) -> anyhow::Result<()> {
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

/// Starts Twilio with its Sync service and, on the same port, the business.
async fn start_twilio(
    public_url: &PublicUrl,
    capture: &OutputCapture,
    business: &ProofBusiness,
) -> anyhow::Result<RecordingTwilio> {
    let account = AccountCredentials { sid: ACCOUNT_SID.to_owned(), auth_token: AUTH_TOKEN.to_owned() };
    let capture = capture.clone();
    let options = RecordingOptions::new(account, public_url.http_url("/").parse()?)
        .observed_by(move |uri, headers, body| {
            capture.record(OutputChannel::Twilio, format!("{uri}\n{headers:?}\n{body}"));
        })
        .with_routes(TwilioSync::new(ACCOUNT_SID, AUTH_TOKEN).router())
        .with_routes(business.clone().router());
    RecordingTwilio::start(options).await
}
