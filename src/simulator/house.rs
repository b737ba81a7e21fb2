//! The server under test: started on a free port, configured for this call, stopped in the end.
//!
//! The only file of the simulator that knows the server from within; everything else speaks HTTP and WebSocket to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use uuid::Uuid;

use crate::assets::Assets;
use crate::config::{Config, Vars};
use crate::server::{self, Shutdown};

/// Where the world reaches the server; it exists only in signatures.
pub const PUBLIC: &str = "https://pay.example.com";

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
    /// Another instance stands ready to take over when this one is told to stop.
    pub relieved: bool,
}

/// How often assets in Sync are looked at, for the real clock.
const LOOK: Duration = Duration::from_millis(50);

/// How long a server that was told to stop may take once its calls are over: it lingers for what Twilio still asks.
const LEAVES: Duration = Duration::from_secs(15);

/// A server that runs.
#[derive(Debug)]
pub struct House {
    address: SocketAddr,
    shutdown: Shutdown,
    running: JoinHandle<Result<(), server::Error>>,
    /// The directory of the server's ledger; it goes away with the house.
    ledger: PathBuf,
}

/// A socket for the server, bound before it is configured.
pub async fn door() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl House {
    /// Starts the server with these variables.
    pub async fn open(listener: TcpListener, vars: Vec<(String, String)>, tuning: &Tuning) -> anyhow::Result<Self> {
        let ledger = std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4()));
        let database = ("DATABASE_URL".to_owned(), format!("sqlite://{}/ledger.db", ledger.display()));
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

    /// The status that a GET is answered; 0 if there is no answer.
    pub async fn asked(&self, path: &str) -> u16 {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    /// Stops the server once it knows of no call any more; an error says that it did not stop as it should. One that was told
    /// to stop before has to leave by itself.
    pub async fn close(mut self) -> Result<(), String> {
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

impl Drop for House {
    fn drop(&mut self) {
        // It is in the system's directory for such things: what cannot be removed goes away sometime.
        let _ = std::fs::remove_dir_all(&self.ledger);
    }
}
