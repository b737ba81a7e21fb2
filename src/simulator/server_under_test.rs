//! The server under test: started on a free port, configured for the scenario, stopped at its end.
//!
//! The only file of the simulator that uses the server's modules; everything else talks HTTP and WebSocket to it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;
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
use crate::simulator::server_process::ServerProcess;
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
    /// One that shares the ledger, in PostgreSQL, behind a balancer. Both are processes of their own, which can be killed.
    Process,
}

impl Beside {
    /// Whether several servers share the ledger, which needs PostgreSQL.
    pub(super) fn shares_ledger(self) -> bool {
        matches!(self, Self::Peer | Self::Process)
    }
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

impl ServerOverrides {
    /// Whether a server in another process can have this configuration.
    fn has_only_vars(&self) -> bool {
        let has_durations = [self.silence, self.stall, self.first_token, self.call_length].iter().any(Option::is_some);
        let has_assets = !self.config.is_empty() || self.own_tool.is_some() || self.payments.is_some();
        !(has_durations || has_assets || self.uses_sync || self.small_disk || self.recorder.is_some())
    }
}

/// The interval at which assets in Sync are polled, on the real clock.
const SYNC_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The timeout of a start.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// The timeout of an immediate stop.
pub(super) const HARD_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout of a graceful stop after the last call. The server keeps answering Twilio's last requests.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// A running server.
#[derive(Debug)]
pub(super) struct ServerUnderTest {
    address: SocketAddr,
    host: ServerHost,
    ledger: ScenarioLedger,
}

/// Where a server runs.
#[derive(Debug)]
enum ServerHost {
    /// In a task of this process.
    Task {
        /// Stops it.
        shutdown: Shutdown,
        task: JoinHandle<Result<(), ServeError>>,
    },
    /// In a process of its own.
    Process(ServerProcess),
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
        Ok(Self { address, host: ServerHost::Task { shutdown, task: running }, ledger })
    }

    /// Starts the server as a process of its own. It can have no other configuration than variables.
    pub(super) async fn start_process(
        program: &Path,
        vars: Vec<(String, String)>,
        tuning: &ServerOverrides,
        ledger: ScenarioLedger,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(tuning.has_only_vars(), "a server in another process is configured by variables alone");
        let tuned = tuning.vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let vars = tuned.chain(vars).chain(ledger.vars()?).collect();
        let (process, address) = ServerProcess::start(program, vars).await?;
        Ok(Self { address, host: ServerHost::Process(process), ledger })
    }

    /// The address it listens on.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the server to take no new calls, and to stop once its live calls have ended.
    pub(super) fn drain(&mut self) {
        match &mut self.host {
            ServerHost::Task { shutdown, .. } => shutdown.soft.cancel(),
            // One that cannot be signalled has ended, and drains nothing.
            ServerHost::Process(process) => drop(process.signal(Signal::TERM)),
        }
    }

    /// Sends a signal to the process of the server.
    pub(super) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        match &mut self.host {
            ServerHost::Task { .. } => anyhow::bail!("the server is not a process of its own"),
            ServerHost::Process(process) => process.signal(signal),
        }
    }

    /// Stops the server immediately. Afterwards the ledger's file is not in use.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        match &mut self.host {
            ServerHost::Task { shutdown, task } => {
                shutdown.hard.cancel();
                tokio::time::timeout(HARD_STOP_TIMEOUT, task).await.context("the server did not end")???;
            }
            ServerHost::Process(process) => {
                process.signal(Signal::KILL)?;
                process.wait_for_exit(HARD_STOP_TIMEOUT).await.context("the server did not end")?;
            }
        }
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

    /// Returns the status of a GET request; 0 without a response in [`WRITE_TIMEOUT`].
    pub(super) async fn get_status(&self, path: &str) -> u16 {
        let asked = tokio::time::timeout(WRITE_TIMEOUT, reqwest::get(format!("http://{}{path}", self.address)));
        asked.await.ok().and_then(Result::ok).map_or(0, |answer| answer.status().as_u16())
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
        let stopped = self.shut_down_beside(transcript).await;
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

    /// Stops the server once it has no calls, and keeps its log as evidence if it has one of its own. Another server may
    /// share its ledger.
    pub(super) async fn shut_down_beside(&mut self, transcript: &Transcript) -> Result<(), String> {
        self.check_metrics(transcript).await;
        let stopped = self.wait_until_stopped().await;
        if let ServerHost::Process(process) = &self.host {
            transcript.record_evidence("the log of a server", process.log());
        }
        stopped
    }

    async fn wait_until_stopped(&mut self) -> Result<(), String> {
        let address = self.address;
        match &mut self.host {
            ServerHost::Task { shutdown, task } if shutdown.soft.is_cancelled() => {
                let left = tokio::time::timeout(DRAIN_TIMEOUT, task).await;
                let still_runs =
                    || format!("the server was asked to stop and still runs {} s later", DRAIN_TIMEOUT.as_secs());
                left.map_or_else(|_| Err(still_runs()), exit_result)
            }
            ServerHost::Task { shutdown, task } => {
                let forgotten = wait_for_no_calls(address).await;
                shutdown.hard.cancel();
                match tokio::time::timeout(HARD_STOP_TIMEOUT, task).await {
                    Ok(Ok(Ok(()))) => forgotten,
                    Ok(left) => exit_result(left),
                    Err(_) => Err("the server did not stop within 5 s".to_owned()),
                }
            }
            ServerHost::Process(process) => process.stop(address).await,
        }
    }
}

/// Waits until a server has no calls. An error says that it still has one.
pub(super) async fn wait_for_no_calls(address: SocketAddr) -> Result<(), String> {
    let calls = async || reqwest::get(format!("http://{address}/health")).await?.text().await;
    let forgotten = async {
        while !calls().await.is_ok_and(|health| health.contains(r#""calls":0"#)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let forgotten = tokio::time::timeout(HARD_STOP_TIMEOUT, forgotten).await;
    forgotten.map_err(|_| "the server still had a call 5 s after it had ended".to_owned())
}

fn exit_result(left: Result<Result<(), ServeError>, JoinError>) -> Result<(), String> {
    match left {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the server failed: {error}")),
        Err(_) => Err("the server panicked".to_owned()),
    }
}
