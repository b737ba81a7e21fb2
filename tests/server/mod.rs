//! The real server on a free port, with requests as Twilio, as an operator and without credentials.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crelay_payments::assets::Assets;
use crelay_payments::config::{Config, Vars};
use crelay_payments::server::Shutdown;
use crelay_payments::simulator::{
    AccountCredentials, CallTokens, McpClient, OpenRelaySocketError, RecordingOptions, RecordingTwilio, RelayClient,
};
use crelay_payments::twilio::Signer;
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

pub(crate) const BASE_URL: &str = "https://pay.example.com";
pub(crate) const SOCKET_URL: &str = "wss://pay.example.com/conversation-relay";
pub(crate) const AUTH_TOKEN: &str = "auth-token-of-tests";
/// The parameter with the token of a socket.
pub(crate) const SOCKET_TOKEN: &str = "crelaySocketToken";
/// The bearer token of operator requests.
pub(crate) const OPERATOR_TOKEN: &str = "a-token-for-tests-only";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server that is stopped on drop.
pub(crate) struct Server {
    address: SocketAddr,
    signer: Signer,
    http: reqwest::Client,
    shutdown: Shutdown,
    tokens: CallTokens,
    /// The token of each call's sockets.
    socket_tokens: Mutex<HashMap<String, String>>,
    /// The directory of the ledger, removed on drop.
    ledger: Option<TempDir>,
}

/// The required variables.
pub(crate) const REQUIRED_VARS: [(&str, &str); 6] = [
    ("SERVER_BASE_URL", "pay.example.com"),
    ("OPENAI_API_KEY", "sk-test"),
    ("ACCOUNT_SID", "AC1"),
    ("AUTH_TOKEN", AUTH_TOKEN),
    ("FROM_NUMBER", "+15550100002"),
    ("PAYMENT_CONNECTOR", "Default"),
];

/// The options of a Twilio that knows the server.
pub(crate) fn twilio_options() -> RecordingOptions {
    let account = AccountCredentials { sid: "AC1".to_owned(), auth_token: AUTH_TOKEN.to_owned() };
    RecordingOptions::new(account, BASE_URL.parse().unwrap())
}

pub(crate) async fn start_twilio() -> RecordingTwilio {
    RecordingTwilio::start(twilio_options()).await.unwrap()
}

impl Server {
    pub(crate) async fn start(vars: &[(&str, &str)]) -> Self {
        Self::start_with(vars, |assets| assets).await
    }

    /// As [`start`](Self::start), with assets that are changed by `prepare`.
    pub(crate) async fn start_with(vars: &[(&str, &str)], prepare: impl FnOnce(Assets) -> Assets) -> Self {
        let nowhere = [("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"), ("TWILIO_API_BASE_URL", "http://127.0.0.1:9")];
        let ledger = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}/ledger.db", ledger.path().display());
        let required = [&REQUIRED_VARS[..], &nowhere, &[("DATABASE_URL", &database)]].concat();
        let (config, _) = Config::from_vars(&vars.iter().chain(&required).copied().collect::<Vars>()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self::at(address);
        server.ledger = Some(ledger);
        let has_assets = vars.iter().any(|(name, _)| *name == "ASSETS_DIR");
        let assets = if has_assets {
            Assets::open(&config.assets_dir, &config.twilio).await.unwrap()
        } else {
            Assets::built_in()
        };
        let running = server.tokens.clone().serve(config, prepare(assets), listener, server.shutdown.clone());
        tokio::spawn(running);
        server
    }

    /// A client for a server that is already running at this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().unwrap();
        let shutdown = Shutdown::default();
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        Self {
            address,
            signer,
            http,
            shutdown,
            tokens: CallTokens::default(),
            socket_tokens: Mutex::default(),
            ledger: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.ledger.as_ref().expect("the server was started here").path().join("ledger.db")
    }

    pub(crate) fn signature(&self, url: &str, form: &[(&str, &str)]) -> String {
        self.signer.sign(url, &owned(form))
    }

    /// Posts a signed form. Without an `AccountSid` it gets that of the server's account, as every form of Twilio has it.
    pub(crate) async fn post_as_twilio(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.try_post_as_twilio(path, form).await.unwrap()
    }

    /// As [`post_as_twilio`](Self::post_as_twilio), with an error if the server does not respond.
    pub(crate) async fn try_post_as_twilio(&self, path: &str, form: &[(&str, &str)]) -> reqwest::Result<Response> {
        let is_named = form.iter().any(|(name, _)| *name == "AccountSid");
        let form = [form, &[("AccountSid", "AC1")][usize::from(is_named)..]].concat();
        let signature = self.signature(&format!("{BASE_URL}{path}"), &form);
        let request = self.http.post(self.local(path)).header("X-Twilio-Signature", signature);
        request.form(&owned(&form)).send().await
    }

    pub(crate) async fn post_form(&self, path: &str, body: &str, signature: Option<&str>) -> Response {
        let mut request = self.http.post(self.local(path)).body(body.to_owned());
        request = request.header("Content-Type", "application/x-www-form-urlencoded");
        if let Some(signature) = signature {
            request = request.header("X-Twilio-Signature", signature);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(self.local(path)).send().await.unwrap()
    }

    /// Posts to the `<Connect>` action as Twilio does when a session has ended. Returns the TwiML.
    pub(crate) async fn post_connect_action(&self, form: &[(&str, &str)]) -> String {
        let form: Vec<_> = [("CallSid", "CA1")].iter().chain(form).copied().collect();
        let answer = self.post_as_twilio("/connectAction", &form).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.text().await.unwrap()
    }

    /// A POST request to an operator endpoint, without token and body.
    pub(crate) fn operator_request(&self, path: &str) -> RequestBuilder {
        self.http.post(self.local(path))
    }

    /// A request without credentials and body.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.local(path))
    }

    pub(crate) async fn get_as_operator(&self, path: &str) -> Response {
        self.http.get(self.local(path)).bearer_auth(OPERATOR_TOKEN).send().await.unwrap()
    }

    pub(crate) async fn post_as_operator(&self, path: &str, body: &Value) -> Response {
        self.operator_request(path).bearer_auth(OPERATOR_TOKEN).json(body).send().await.unwrap()
    }

    /// The token of a live call.
    pub(crate) fn call_token(&self, call: &str) -> SecretString {
        self.tokens.of_call(call).expect("the call is live")
    }

    /// A client for the tools of a live call.
    pub(crate) fn mcp_client(&self, call: &str) -> McpClient {
        McpClient::new(self.address, self.call_token(call))
    }

    /// Connects an outbound call and waits until it is live.
    pub(crate) async fn connect_call(&self, call: &str, parameters: &Value) -> RelayClient {
        let setup = self.setup_frame(call, parameters).await;
        self.begin_call(&setup).await
    }

    /// Connects an inbound call from this number and waits until it is live.
    pub(crate) async fn connect_call_from(&self, from: &str, call: &str, parameters: &Value) -> RelayClient {
        let mut setup = self.setup_frame(call, parameters).await;
        setup["direction"] = json!("inbound");
        setup["from"] = json!(from);
        self.begin_call(&setup).await
    }

    /// The `setup` frame of an outbound call, with the token of its TwiML among the parameters.
    pub(crate) async fn setup_frame(&self, call: &str, parameters: &Value) -> Value {
        let mut parameters = parameters.clone();
        parameters[SOCKET_TOKEN] = json!(self.socket_token(call).await);
        json!({"type": "setup", "callSid": call, "accountSid": "AC1", "direction": "outbound-api",
            "customParameters": parameters})
    }

    /// The token of a call's sockets. It is read from the TwiML of a reconnect, since the voice webhook also asks the
    /// business and prepares the model; only once, since later requests are replays.
    pub(crate) async fn socket_token(&self, call: &str) -> String {
        if let Some(known) = self.socket_tokens.lock().unwrap().get(call) {
            return known.clone();
        }
        let form = [("CallSid", call), ("CallStatus", "in-progress"), ("SessionStatus", "failed")];
        let mut token = None;
        // A server that was started again knows which session was the last.
        for session in 0..3 {
            let answer = self.post_as_twilio(&format!("/connectAction?reconnects={session}"), &form).await;
            token = token.or(parameter(&answer.text().await.unwrap(), SOCKET_TOKEN));
            if token.is_some() {
                break;
            }
        }
        let token = token.expect("the TwiML has a token");
        self.socket_tokens.lock().unwrap().insert(call.to_owned(), token.clone());
        token
    }

    /// Connects a call with this `setup` frame and waits until it is live.
    pub(crate) async fn begin_call(&self, setup: &Value) -> RelayClient {
        let signature = self.signature(SOCKET_URL, &[]);
        let mut socket = self.open_socket(Some(&signature)).await.unwrap();
        let live = self.live_calls().await;
        socket.send(setup).await.unwrap();
        self.wait_for_calls(live + 1).await;
        socket
    }

    /// Waits until `count` calls are live.
    pub(crate) async fn wait_for_calls(&self, count: u64) {
        let waits = async {
            while self.live_calls().await != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(TIMEOUT, waits).await.expect("the number of live calls is as expected");
    }

    async fn live_calls(&self) -> u64 {
        self.get("/health").await.json::<Value>().await.unwrap()["calls"].as_u64().unwrap()
    }

    pub(crate) fn start_shutdown(&self) {
        self.shutdown.soft.cancel();
    }

    /// Opens a socket. An error is the status with which the server refuses it.
    pub(crate) async fn open_socket(&self, signature: Option<&str>) -> Result<RelayClient, u16> {
        match RelayClient::open(self.address, SOCKET_URL, signature).await {
            Ok(socket) => Ok(socket),
            Err(OpenRelaySocketError::Refused(status)) => Err(status),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends these frames on a new socket. Returns the code and the reason with which the server closes it.
    pub(crate) async fn send_and_wait_for_close(&self, frames: &[&str]) -> (u16, String) {
        let signature = self.signature(SOCKET_URL, &[]);
        let mut socket = self.open_socket(Some(&signature)).await.unwrap();
        for frame in frames {
            socket.send_text(*frame).await.unwrap();
        }
        socket.wait_for_close().await.unwrap()
    }

    fn local(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.hard.cancel();
    }
}

/// The value of a `<Parameter>` of TwiML, if it needs no unescaping.
pub(crate) fn parameter(twiml: &str, name: &str) -> Option<String> {
    let (_, rest) = twiml.split_once(&format!(r#"<Parameter name="{name}" value=""#))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

fn owned(form: &[(&str, &str)]) -> Vec<(String, String)> {
    form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
