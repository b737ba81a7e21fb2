//! The server: what its parts are made of, listening, draining.

use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{error, info, warn};

use crate::assets::{Assets, Shelf};
use crate::call::Environment;
use crate::config::{Config, PaymentMode};
use crate::endpoints::{App, CONNECT_CONVERSATION_RELAY, LiveAgent, PAYMENT_STATUS_CALLBACK, Parts};
use crate::ledger::{self, Ledger, State};
use crate::llm::{self, Model};
use crate::retention::Retention;
use crate::session::{self, Calls, Requests};
use crate::webhook::Webhook;
use crate::{recovery, twilio};

/// How long the server stays after a call was rung in or ended: its socket, or Twilio's question what comes next, is on
/// its way.
const LINGER: Duration = Duration::from_secs(5);

/// How long the tasks of calls may take to end after they were told to.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often what has expired is forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// Soft, then hard: how a server is told to stop.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Takes no new calls and lets live ones finish.
    pub soft: CancellationToken,
    /// Ends live calls; their open payments are cancelled.
    pub hard: CancellationToken,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client for Twilio's REST API.
    #[error("the client for Twilio could not be built")]
    Twilio(#[source] twilio::BadConfig),
    /// The client for OpenAI.
    #[error("the client for OpenAI could not be built")]
    Model(#[source] llm::BadConfig),
    /// The client for the business.
    #[error("an HTTP client could not be set up; are root certificates (ca-certificates) installed?")]
    Http(#[source] reqwest::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::NotOpen),
    /// What is in the ledger.
    #[error(transparent)]
    LedgerUnread(#[from] ledger::Error),
    /// The socket.
    #[error("the server stopped listening")]
    Listen(#[from] std::io::Error),
}

/// Serves calls on `listener` until told to stop.
pub async fn serve(config: Config, assets: Assets, listener: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
    let (address, webhook_url) = (listener.local_addr()?, config.base_url.http(CONNECT_CONVERSATION_RELAY));
    let (shelf, watch) = assets.begin();
    let ledger = if config.take_over {
        Ledger::take_over(&config.database).await?
    } else {
        Ledger::open(&config.database).await?
    };
    ledger.set_live(config.mode == PaymentMode::Live);
    let webhook = config.webhook.clone().map(Webhook::new).transpose().map_err(Error::Http)?;
    let session = session(&config, shelf.clone(), &shutdown, ledger.clone())?;
    // Before anybody is answered: a callback, or the call itself, may be about what was left open.
    let left = ledger.take_stock().await?;
    let settings = shelf.library().server.payment(&session.environment);
    let unknown = ledger.count(State::Unknown).await?;
    if unknown > 0 {
        error!(payments = unknown, "payments are unknown and may have been charged: see `payments --state unknown`");
    }
    let recovery = recovery::put_away(ledger.clone(), session.twilio.clone(), settings, left);
    let retention = Retention {
        tokens: config.token_retention,
        personal_data: config.ledger_retention,
        has_receiver: webhook.is_some(),
    };
    let mut beside = vec![
        tokio::spawn(maintain(ledger.clone())),
        tokio::spawn(recovery),
        tokio::spawn(retention.run(ledger.clone())),
    ];
    if let Some(webhook) = webhook {
        beside.push(tokio::spawn(Arc::new(webhook).run(ledger.clone())));
    }
    let app = App::new(Parts {
        operator_token: config.operator_token,
        signer: config.validate_signature.then(|| twilio::Signer::new(&config.twilio.auth_token)),
        live_agent: match (config.live_agent_workflow, config.live_agent_number) {
            (Some(workflow), _) => Some(LiveAgent::Workflow(workflow)),
            (None, number) => number.map(LiveAgent::Number),
        },
        base_url: config.base_url,
        call_parameters: config.call_parameters,
        session: session.clone(),
        draining: shutdown.soft.clone(),
    })
    .map_err(Error::Http)?;
    beside.push(tokio::spawn(sweep(app.clone())));
    beside.push(tokio::spawn(watch.run(shelf)));
    let beside: Vec<_> = beside.into_iter().map(AbortOnDropHandle::new).collect();
    let calls = session.calls.clone();
    // Tokens are small and nothing answers them: without this they would wait for an acknowledgement.
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    let stopped = drained(calls, session.tasks.clone(), config.drain, shutdown);
    info!("listening on {address}");
    info!("the voice webhook of your Twilio number: POST {webhook_url}");
    axum::serve(listener, app.router()).with_graceful_shutdown(stopped).await?;
    drop(beside);
    ledger.close().await;
    Ok(())
}

fn session(
    config: &Config,
    shelf: Arc<Shelf>,
    shutdown: &Shutdown,
    ledger: Ledger,
) -> Result<Arc<session::Context>, Error> {
    let callback = config.base_url.http(PAYMENT_STATUS_CALLBACK);
    let twilio = twilio::Client::new(&config.twilio, callback).map_err(Error::Twilio)?;
    Ok(Arc::new(session::Context {
        model: Model::new(&config.openai, shelf.library().server.model).map_err(Error::Model)?,
        shelf,
        ledger,
        environment: Environment {
            payment: config.payment.clone(),
            resume: config.resume,
            play_media_hosts: config.play_media_hosts.clone(),
            sms_allowed: config.sms_allowed.clone(),
        },
        twilio: Arc::new(twilio),
        calls: Calls::default(),
        requests: Requests::default(),
        tasks: TaskTracker::new(),
        soft_stop: shutdown.soft.clone(),
        drain: config.drain,
        hard_stop: shutdown.hard.clone(),
    }))
}

/// Forgets what has expired, though nobody asks for it again.
async fn sweep(app: App) {
    let mut every = tokio::time::interval(SWEEP);
    loop {
        every.tick().await;
        app.forget_expired();
    }
}

async fn maintain(ledger: Ledger) {
    ledger.maintain().await;
}

/// Completes once no call needs the server any more. Until then it goes on listening, since Twilio has to reach it for
/// the calls that are live.
async fn drained(calls: Calls, tasks: TaskTracker, drain: Duration, shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.soft.cancelled() => {}
        () = shutdown.hard.cancelled() => {}
    }
    shutdown.soft.cancel();
    tasks.close();
    info!(live = calls.count(), "stopping: no new calls are taken");
    let finished = async {
        loop {
            tasks.wait().await;
            match calls.stirred().map(|stirred| stirred + LINGER) {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    };
    tokio::select! {
        () = finished => {}
        () = shutdown.hard.cancelled() => {}
        () = tokio::time::sleep(drain + STOP_LIMIT) => warn!(live = calls.count(), "calls are cut: they took too long to end"),
    }
    shutdown.hard.cancel();
    if tokio::time::timeout(STOP_LIMIT, tasks.wait()).await.is_err() {
        warn!(live = calls.count(), "some calls did not end in time");
    }
}
