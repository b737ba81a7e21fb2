//! The server under test: started on a free port, configured for the scenario, stopped at its end.
//!
//! The only file of the simulator that uses the server's modules; everything else talks HTTP and WebSocket to it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::assets::Assets;
use crate::call::ToolSpec;
use crate::config::{Config, Vars};
use crate::ledger::{Ledger, Payment, PaymentFilter};
use crate::observation::Recorder;
use crate::payment::PaymentOptions;
use crate::relay::IncomingFrame;
use crate::server::{self, ServeError, Shutdown};
use crate::session::CallRegistry;
use crate::simulator::business::OwnTool;
use crate::simulator::operator::OPERATOR_TOKEN;
use crate::simulator::scenario_ledger::ScenarioLedger;
use crate::simulator::transcript::{LedgerRow, Transcript};
use crate::telemetry::find_foreign_sample;

/// The public URL of the server. It appears in signatures only.
pub(super) const PUBLIC_URL: &str = "https://pay.example.com";

/// How long the server may take to record the outcome of a payment and to notify the business.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(3);

/// The tokens of the live calls of a server in this process. A response service is given the token of its call; a
/// stand-in that calls tools reads it here.
#[derive(Debug, Clone, Default)]
pub struct CallTokens(CallRegistry);

impl CallTokens {
    /// Serves calls as [`server::serve`] does, and makes their tokens known here.
    pub async fn serve(
        self,
        config: Config,
        assets: Assets,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> Result<(), ServeError> {
        server::serve_calls(config, assets, listener.into(), shutdown, self.0).await
    }

    /// Returns the token of a live call.
    pub fn of_call(&self, call_sid: &str) -> Option<SecretString> {
        self.0.call_token(&call_sid.parse().ok()?)
    }
}

/// The instance beside the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Beside {
    /// There is none.
    #[default]
    Nobody,
    /// One with a ledger of its own, which takes over when the first one drains.
    Standby,
    /// One that shares the ledger, which has to be in PostgreSQL, and gets every request but the sockets.
    Peer,
}

/// The server configuration of a scenario.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerOverrides {
    /// Additional environment variables.
    pub vars: &'static [(&'static str, &'static str)],
    /// `serverConfig.json`; empty for the built-in one.
    pub config: &'static str,
    /// The business's response to a look-up about a call, as JSON. `None` configures no look-up.
    pub call_parameters: Option<&'static str>,
    /// `SilenceDetection.secondsThreshold`, for the real clock.
    pub silence: Option<Duration>,
    /// `Payments.stallSeconds`, for the real clock.
    pub stall: Option<Duration>,
    /// `Model.firstTokenSeconds`, for the real clock.
    pub first_token: Option<Duration>,
    /// `Limits.callMinutes`, for the real clock.
    pub call_length: Option<Duration>,
    /// Whether the assets are in Twilio Sync and are edited during the call.
    pub uses_sync: bool,
    /// The payment options that are sent to Twilio.
    pub payments: Option<fn() -> PaymentOptions>,
    /// Whether the ledger is on a separate small disk that can be filled.
    pub small_disk: bool,
    /// The tool of the business that the assets offer.
    pub own_tool: Option<OwnTool>,
    /// Records what Twilio and the server exchange.
    pub recorder: Option<Recorder>,
    /// The instance beside the first one.
    pub beside: Beside,
}

/// The interval at which assets in Sync are polled, on the real clock.
const SYNC_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The timeout of a start.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// The timeout of an immediate stop.
const HARD_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout of a graceful stop after the last call. The server keeps answering Twilio's last requests.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// A running server.
#[derive(Debug)]
pub(super) struct ServerUnderTest {
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ServeError>>,
    ledger: ScenarioLedger,
}

/// The fields of `GET /payments` that the checks use.
#[derive(Default, Deserialize)]
struct PaymentList {
    payments: Vec<ListedPayment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedPayment {
    id: String,
    state: String,
    payment_sid: Option<String>,
    amount: Option<String>,
    holds_token: bool,
}

impl ListedPayment {
    /// Whether its outcome is still to be recorded or its token to be delivered.
    fn is_unsettled(&self) -> bool {
        let keeps_token = self.holds_token && self.state == "tokenized";
        keeps_token || matches!(self.state.as_str(), "opened" | "capturing" | "submitted")
    }

    fn into_ledger_row(self) -> LedgerRow {
        LedgerRow { id: self.id, sid: self.payment_sid, state: self.state, amount: self.amount }
    }
}

/// How the server reads a frame.
#[derive(Debug)]
pub(super) enum FrameReading {
    /// As one that it knows.
    Read,
    /// As a frame of an unknown type, which it ignores.
    UnknownType,
    /// Not at all.
    Invalid(String),
}

/// Reads a frame as the server does.
pub(super) fn read_frame(text: &str) -> FrameReading {
    match IncomingFrame::parse(text) {
        Ok(IncomingFrame::Other) => FrameReading::UnknownType,
        Ok(_) => FrameReading::Read,
        Err(error) => FrameReading::Invalid(error.to_string()),
    }
}

/// Binds a socket for the server before the server is configured.
pub(super) async fn bind_listener() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl ServerUnderTest {
    /// Starts the server with these environment variables on this ledger.
    pub(super) async fn start(
        listener: TcpListener,
        vars: Vec<(String, String)>,
        tuning: &ServerOverrides,
        ledger: ScenarioLedger,
        tokens: CallTokens,
    ) -> anyhow::Result<Self> {
        let database = ledger.vars()?;
        let tuned = tuning.vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        // The first value of a variable applies.
        let (mut config, _) = Config::from_vars(&tuned.chain(vars).chain(database).collect::<Vars>())?;
        config.recorder = tuning.recorder.clone();
        let mut assets = if tuning.uses_sync {
            Assets::open(&config.assets_dir, &config.twilio).await?.with_poll_interval(SYNC_POLL_INTERVAL)
        } else if let (Some(tool), Some(webhook)) = (tuning.own_tool, &config.webhook) {
            Assets::from_files(&tool.asset_files(&webhook.url.origin().ascii_serialization()))?
        } else if tuning.config.is_empty() {
            Assets::built_in()
        } else {
            Assets::from_server_config(tuning.config)?
        };
        let server = &mut assets.library.server;
        server.silence.threshold = tuning.silence.unwrap_or(server.silence.threshold);
        server.stall_timeout = tuning.stall.unwrap_or(server.stall_timeout);
        server.usage_limits.call_length = tuning.call_length.or(server.usage_limits.call_length);
        if let Some(options) = tuning.payments {
            server.payment_options = options();
        }
        server.model.first_token = tuning.first_token.unwrap_or(server.model.first_token);
        let (address, shutdown) = (listener.local_addr()?, Shutdown::default());
        let running = tokio::spawn(tokens.serve(config, assets, listener, shutdown.clone()));
        Ok(Self { address, shutdown, task: running, ledger })
    }

    /// The address it listens on.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the server to take no new calls, and to stop once its live calls have ended.
    pub(super) fn drain(&self) {
        self.shutdown.soft.cancel();
    }

    /// Stops the server immediately. Afterwards the ledger's file is not in use.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.shutdown.hard.cancel();
        tokio::time::timeout(HARD_STOP_TIMEOUT, &mut self.task).await.context("the server did not end")???;
        Ok(())
    }

    /// Waits until the server takes calls.
    pub(super) async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let ready = async {
            while self.get_status("/ready").await != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(READY_TIMEOUT, ready).await.context("the server does not start")
    }

    /// Returns the status of a GET request; 0 without a response.
    pub(super) async fn get_status(&self, path: &str) -> u16 {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// Returns the payments of the ledger, once they are settled or after [`WRITE_TIMEOUT`].
    pub(super) async fn payments(&self, transcript: &Transcript) -> Vec<LedgerRow> {
        let until = Instant::now() + WRITE_TIMEOUT;
        loop {
            let listed = self.list_payments(transcript).await;
            // The checks report what is not settled after the timeout.
            if !listed.iter().any(ListedPayment::is_unsettled) || Instant::now() > until {
                return listed.into_iter().map(ListedPayment::into_ledger_row).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lists the payments with `GET /payments`, or from the file if the server has stopped.
    async fn list_payments(&self, transcript: &Transcript) -> Vec<ListedPayment> {
        let asked = async {
            let client = reqwest::Client::builder().timeout(WRITE_TIMEOUT).no_proxy().build()?;
            let url = format!("http://{}/payments", self.address);
            client.get(url).bearer_auth(OPERATOR_TOKEN).send().await?.error_for_status()?.text().await
        };
        let Ok::<_, reqwest::Error>(listed) = asked.await else {
            return self.read_ledger_file().await;
        };
        transcript.record_evidence("an answer to the operator", &listed);
        serde_json::from_str::<PaymentList>(&listed).unwrap_or_default().payments
    }

    async fn read_ledger_file(&self) -> Vec<ListedPayment> {
        let Ok(url) = self.ledger.url() else { return Vec::new() };
        let Ok(ledger) = Ledger::open_for_cli(url).await else { return Vec::new() };
        let all = PaymentFilter { since: None, state: None, after: None, limit: u32::MAX };
        let listed = |payment: Payment| ListedPayment {
            id: payment.id.to_string(),
            state: payment.state.to_string(),
            payment_sid: payment.payment_sid.map(|sid| sid.to_string()),
            amount: payment.amount.map(|amount| amount.to_string()),
            holds_token: false,
        };
        ledger.payments(&all).await.unwrap_or_default().into_iter().map(listed).collect()
    }

    /// Stops the server once it has no calls. An error says that it did not stop correctly. A server that is draining
    /// must stop without a further signal. Its ledger is kept as evidence.
    pub(super) async fn shut_down(mut self, transcript: &Transcript) -> Result<(), String> {
        self.check_metrics(transcript).await;
        let stopped = self.wait_until_stopped().await;
        let read = self.ledger.record_evidence(transcript).await;
        stopped?;
        read.map_err(|error| format!("its ledger cannot be read: {error:#}"))
    }

    /// Reads the metrics, as evidence in which no card number may be, and checks their labels.
    async fn check_metrics(&self, transcript: &Transcript) {
        let asked = async {
            let client = reqwest::Client::builder().timeout(WRITE_TIMEOUT).no_proxy().build()?;
            let url = format!("http://{}/metrics", self.address);
            client.get(url).bearer_auth(OPERATOR_TOKEN).send().await?.error_for_status()?.text().await
        };
        // A server that has stopped has none.
        let Ok::<_, reqwest::Error>(text) = asked.await else { return };
        transcript.record_evidence("the metrics", &text);
        if let Some(sample) = find_foreign_sample(&text, &ToolSpec::names()) {
            transcript.record_violation(format!("the metrics have a sample that is not of a closed set: {sample}"));
        }
    }

    /// Stops the server once it has no calls. Another one shares its ledger.
    pub(super) async fn shut_down_beside(mut self, transcript: &Transcript) -> Result<(), String> {
        self.check_metrics(transcript).await;
        self.wait_until_stopped().await
    }

    async fn wait_until_stopped(&mut self) -> Result<(), String> {
        if self.shutdown.soft.is_cancelled() {
            return match tokio::time::timeout(DRAIN_TIMEOUT, &mut self.task).await {
                Ok(left) => exit_result(left),
                Err(_) => {
                    Err(format!("the server was asked to stop and still runs {} s later", DRAIN_TIMEOUT.as_secs()))
                }
            };
        }
        let forgotten = tokio::time::timeout(Duration::from_secs(5), self.wait_for_no_calls()).await;
        self.shutdown.hard.cancel();
        match tokio::time::timeout(Duration::from_secs(5), &mut self.task).await {
            Ok(Ok(Ok(()))) if forgotten.is_err() => {
                Err("the server still had a call 5 s after it had ended".to_owned())
            }
            Ok(left) => exit_result(left),
            Err(_) => Err("the server did not stop within 5 s".to_owned()),
        }
    }

    async fn wait_for_no_calls(&self) {
        let calls = async || reqwest::get(format!("http://{}/health", self.address)).await?.text().await;
        while !calls().await.is_ok_and(|health| health.contains(r#""calls":0"#)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn exit_result(left: Result<Result<(), ServeError>, JoinError>) -> Result<(), String> {
    match left {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the server failed: {error}")),
        Err(_) => Err("the server panicked".to_owned()),
    }
}
