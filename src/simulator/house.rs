//! The server under test: started on a free port, configured for this call, stopped in the end.
//!
//! The only file of the simulator that knows the server from within; everything else speaks HTTP and WebSocket to it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::assets::Assets;
use crate::config::{Config, Vars};
use crate::ledger::{Filter, Ledger, Payment};
use crate::payment::Options;
use crate::server::{self, Shutdown};
use crate::simulator::ledger_file::LedgerFile;
use crate::simulator::operator::OPERATOR_TOKEN;
use crate::simulator::tape::{Row, Tape};

/// Where the world reaches the server; it exists only in signatures.
pub const PUBLIC: &str = "https://pay.example.com";

/// How long the server may take to write down what became of a call, and to tell the business.
pub const WRITES: Duration = Duration::from_secs(3);

/// What a scenario changes about the server.
#[derive(Debug, Clone, Default)]
pub struct Tuning {
    /// Environment variables.
    pub vars: &'static [(&'static str, &'static str)],
    /// `serverConfig.json`; empty for the one that is built in.
    pub config: &'static str,
    /// What the business answers when it is asked what the call is about, as JSON; without it nobody is asked.
    pub business: Option<&'static str>,
    /// `SilenceDetection.secondsThreshold`, for the real clock.
    pub silence: Option<Duration>,
    /// `Payments.stallSeconds`, for the real clock.
    pub stall: Option<Duration>,
    /// `Model.firstTokenSeconds`, for the real clock.
    pub first_token: Option<Duration>,
    /// The assets are in Twilio Sync, and edited while the call goes on.
    pub sync: bool,
    /// `Payments`, as far as Twilio is told of it.
    pub payments: Option<fn() -> Options>,
    /// The ledger is on a small disk of its own, which can be filled.
    pub small_disk: bool,
    /// Another instance stands ready to take over when this one is told to stop.
    pub relieved: bool,
}

/// How often assets in Sync are looked at, for the real clock.
const LOOK: Duration = Duration::from_millis(50);

/// How long a server that has to end at once may take.
const DIES: Duration = Duration::from_secs(5);

/// How long a server that was told to stop may take once its calls are over: it lingers for what Twilio still asks.
const LEAVES: Duration = Duration::from_secs(15);

/// A server that runs.
#[derive(Debug)]
pub struct House {
    address: SocketAddr,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), server::Error>>,
    ledger: LedgerFile,
}

/// `GET /payments`, as far as it matters here.
#[derive(Default, Deserialize)]
struct Listed {
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
    /// Whether something is yet to be written down of it, or its token to be delivered.
    fn is_going_on(&self) -> bool {
        let keeps_token = self.holds_token && self.state == "tokenized";
        keeps_token || matches!(self.state.as_str(), "opened" | "capturing" | "submitted")
    }

    fn into_row(self) -> Row {
        Row { id: self.id, sid: self.payment_sid, state: self.state, amount: self.amount }
    }
}

/// A socket for the server, bound before it is configured.
pub async fn door() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl House {
    /// Starts the server with these variables on this ledger.
    pub async fn open(
        listener: TcpListener,
        vars: Vec<(String, String)>,
        tuning: &Tuning,
        ledger: LedgerFile,
    ) -> anyhow::Result<Self> {
        let database = ("DATABASE_URL".to_owned(), format!("sqlite://{}", ledger.path().display()));
        let tuned = tuning.vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        // What comes first wins.
        let (config, _) = Config::from_vars(&tuned.chain(vars).chain([database]).collect::<Vars>())?;
        let mut assets = if tuning.sync {
            Assets::open(&config.assets_dir, &config.twilio).await?.looked_at_every(LOOK)
        } else if tuning.config.is_empty() {
            Assets::built_in()
        } else {
            Assets::configured(tuning.config)?
        };
        let server = &mut assets.library.server;
        server.silence.threshold = tuning.silence.unwrap_or(server.silence.threshold);
        server.stall = tuning.stall.unwrap_or(server.stall);
        if let Some(options) = tuning.payments {
            server.payments = options();
        }
        server.model.first_token = tuning.first_token.unwrap_or(server.model.first_token);
        let (address, shutdown) = (listener.local_addr()?, Shutdown::default());
        let running = tokio::spawn(server::serve(config, assets, listener, shutdown.clone()));
        Ok(Self { address, shutdown, running, ledger })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells the server to take no new calls and to stop once those that are live are over.
    pub fn stop(&self) {
        self.shutdown.soft.cancel();
    }

    /// Ends the server at once, whatever goes on. The file of its ledger is free then.
    pub async fn die(&mut self) -> anyhow::Result<()> {
        self.shutdown.hard.cancel();
        tokio::time::timeout(DIES, &mut self.running).await.context("the server did not end")???;
        Ok(())
    }

    /// The status that a GET is answered; 0 if there is no answer.
    pub async fn asked(&self, path: &str) -> u16 {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// What the ledger says of each payment once nothing in it is going on any more.
    pub async fn payments(&self, tape: &Tape) -> Vec<Row> {
        let until = Instant::now() + WRITES;
        loop {
            let listed = self.list(tape).await;
            // What is left undone then is told by the checks.
            if !listed.iter().any(ListedPayment::is_going_on) || Instant::now() > until {
                return listed.into_iter().map(ListedPayment::into_row).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// As the operator is told; as the file says, where the server has stopped.
    async fn list(&self, tape: &Tape) -> Vec<ListedPayment> {
        let asked = async {
            let client = reqwest::Client::builder().timeout(WRITES).no_proxy().build()?;
            let url = format!("http://{}/payments", self.address);
            client.get(url).bearer_auth(OPERATOR_TOKEN).send().await?.error_for_status()?.text().await
        };
        let Ok::<_, reqwest::Error>(listed) = asked.await else {
            return self.written().await;
        };
        tape.keep("an answer to the operator", &listed);
        serde_json::from_str::<Listed>(&listed).unwrap_or_default().payments
    }

    async fn written(&self) -> Vec<ListedPayment> {
        let Ok(ledger) = Ledger::visit(&self.ledger.path()).await else { return Vec::new() };
        let all = Filter { since: None, state: None, after: None, limit: u32::MAX };
        let listed = |payment: Payment| ListedPayment {
            id: payment.id.to_string(),
            state: payment.state.to_string(),
            payment_sid: payment.sid.map(|sid| sid.to_string()),
            amount: payment.amount.map(|amount| amount.to_string()),
            holds_token: false,
        };
        ledger.payments(&all).await.unwrap_or_default().into_iter().map(listed).collect()
    }

    /// Stops the server once it knows of no call any more; an error says that it did not stop as it should. One that was told
    /// to stop before has to leave by itself. What it wrote is kept as evidence.
    pub async fn close(mut self, tape: &Tape) -> Result<(), String> {
        let stopped = self.stopped().await;
        self.ledger.keep(tape);
        stopped
    }

    async fn stopped(&mut self) -> Result<(), String> {
        if self.shutdown.soft.is_cancelled() {
            return match tokio::time::timeout(LEAVES, &mut self.running).await {
                Ok(left) => ended(left),
                Err(_) => Err(format!("the server was told to stop and still runs {} s later", LEAVES.as_secs())),
            };
        }
        let forgotten = tokio::time::timeout(Duration::from_secs(5), self.no_calls()).await;
        self.shutdown.hard.cancel();
        match tokio::time::timeout(Duration::from_secs(5), &mut self.running).await {
            Ok(Ok(Ok(()))) if forgotten.is_err() => {
                Err("the server still knew of a call 5 s after it was over".to_owned())
            }
            Ok(left) => ended(left),
            Err(_) => Err("the server did not stop within 5 s".to_owned()),
        }
    }

    async fn no_calls(&self) {
        let calls = async || reqwest::get(format!("http://{}/health", self.address)).await?.text().await;
        while !calls().await.is_ok_and(|health| health.contains(r#""calls":0"#)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn ended(left: Result<Result<(), server::Error>, JoinError>) -> Result<(), String> {
    match left {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the server failed: {error}")),
        Err(_) => Err("the server panicked".to_owned()),
    }
}
