//! The server: building its parts, listening, draining.

mod drain;
mod traces;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{error, info, warn};

use crate::assets::{Assets, CurrentAssets, DisclosureProblem, Library};
use crate::business_tools::{BusinessToolClient, ToolServerWatcher};
use crate::call::{CallEnvironment, ToolSpec};
use crate::config::{Config, DatabaseUrl, PaymentMode, PublicUrl, ResponseServiceConfig};
use crate::connections::{ConnectionLimits, Connections};
use crate::endpoints::{App, AppParts, CONNECT_CONVERSATION_RELAY, LiveAgent, metrics_router};
use crate::fleet::Fleet;
use crate::http_client::load_root_certificates;
use crate::ledger::{self, Ledger, PaymentState};
use crate::log_limit::LogLimiter;
use crate::receipts::ReceiptSender;
use crate::response_service::{BuildResponseServiceError, ResponseService};
use crate::retention::Retention;
use crate::server_id::ServerId;
use crate::session::{self, CallRegistry, JournalWriter, PendingCalls};
use crate::socket_token::SocketTokens;
use crate::telemetry::Telemetry;
use crate::usage_limits::Usage;
use crate::webhook::Webhook;
use crate::{payment, twilio};
use drain::{StopDeadlines, wait_until_drained};
use traces::TraceExport;

pub use crate::connections::Listeners;
pub use drain::STOP_TIMEOUT;

/// How long buffered records of a ledger that cannot be written are tried at the end.
const BUFFER_TIMEOUT: Duration = Duration::from_secs(10);

/// How often expired entries are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections there may be to `METRICS_PORT`.
const METRICS_CONNECTIONS: usize = 16;

/// The two signals that stop a server: first soft, then hard.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Accepts no new calls and lets live ones finish.
    pub soft: CancellationToken,
    /// Ends live calls and cancels their open payments.
    pub hard: CancellationToken,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client for Twilio's REST API could not be built.
    #[error("the client for Twilio could not be built")]
    Twilio(#[source] twilio::BuildTwilioClientError),
    /// The client of the response service could not be built.
    #[error(transparent)]
    ResponseService(#[from] BuildResponseServiceError),
    /// The HTTP client for the business could not be built.
    #[error("an HTTP client could not be built; are root certificates (ca-certificates) installed?")]
    Http(#[source] reqwest::Error),
    /// The assets have tools of the business, and requests to them cannot be signed.
    #[error(
        "{tools}. Their requests are signed, and PAYMENT_WEBHOOK_SECRET is not set: set it to a long random text, as from \
         `openssl rand -hex 32`"
    )]
    NoBusinessSecret {
        /// Where they are, as the beginning of a sentence.
        tools: String,
    },
    /// The ledger could not be opened.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenLedgerError),
    /// The ledger could not be read.
    #[error(transparent)]
    ReadLedger(#[from] ledger::LedgerError),
    /// Nothing can be served on `METRICS_PORT`.
    #[error("{0} cannot be listened on for metrics: set METRICS_PORT or METRICS_HOST to another one")]
    ListenForMetrics(SocketAddr, #[source] std::io::Error),
    /// The listening socket failed.
    #[error("the server stopped listening")]
    Listen(#[from] std::io::Error),
}

/// Serves calls on one or several listening sockets until `shutdown` is signalled. Returns within the drain time and
/// [`STOP_TIMEOUT`] after that, whatever is open.
pub async fn serve(
    config: Config,
    assets: Assets,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    serve_calls(config, assets, listeners.into(), shutdown, CallRegistry::default()).await
}

/// As [`serve`], with a registry of live calls that exists outside of the server.
pub(crate) async fn serve_calls(
    config: Config,
    assets: Assets,
    listeners: Listeners,
    shutdown: Shutdown,
    calls: CallRegistry,
) -> Result<(), ServeError> {
    let addresses = listeners.local_addresses()?;
    let webhook_url = config.base_url.http_url(CONNECT_CONVERSATION_RELAY);
    let (assets, asset_watcher) = assets.into_parts();
    check_assets(&assets.library(), &config)?;
    let (ledger, ()) = tokio::join!(open_ledger(&config), load_root_certificates());
    let ledger = ledger?;
    let webhook = config.webhook.clone().map(Webhook::new).transpose().map_err(ServeError::Http)?;
    let port = addresses.first().map_or(config.port, SocketAddr::port);
    let id = ServerId::generate();
    let fleet = join_fleet(&config, id, port)?;
    let (journal_writer, journal) = JournalWriter::start(ledger.clone());
    let journal_writer = Some(journal_writer).filter(|_| ledger.keeps_journal());
    let session =
        session_context(&config, assets.clone(), &shutdown, (ledger.clone(), journal_writer), calls, (id, fleet))?;
    let traces = TraceExport::start(&config, &session)?;
    // This runs before any request is answered, which may concern a call that this server takes up.
    session.enter_ledger().await?;
    session.load_call_stages().await?;
    asset_watcher.set_telemetry(&session.telemetry);
    report_unknown_payments(&ledger).await?;
    let retention = Retention {
        tokens: config.token_retention,
        personal_data: config.ledger_retention,
        has_webhook: webhook.is_some(),
    };
    let mut background_tasks = vec![
        tokio::spawn(maintain_ledger(ledger.clone())),
        tokio::spawn(session.clone().keep_calls()),
        journal,
        tokio::spawn(retention.run(ledger.clone())),
        tokio::spawn(session.response_service.clone().watch()),
        tokio::spawn(ReceiptSender::new(&session).run()),
    ];
    if let Some(webhook) = webhook {
        background_tasks.push(tokio::spawn(Arc::new(webhook).run(ledger.clone())));
    }
    let app = App::new(AppParts {
        operator_tokens: config.operator_tokens,
        auth_token: config.twilio.auth_token.clone(),
        signature_keys: config.validate_signature.then(|| twilio::SignatureKeys::new(&config.twilio)),
        live_agent: match (config.live_agent_workflow, config.live_agent_number) {
            (Some(workflow), _) => Some(LiveAgent::Workflow(workflow)),
            (None, number) => number.map(LiveAgent::Number),
        },
        own_url: own_url(&config.base_url, session.fleet.as_deref()),
        base_url: config.base_url,
        call_parameters: config.call_parameters,
        session: session.clone(),
        draining: shutdown.soft.clone(),
        recorder: config.recorder,
    })
    .map_err(ServeError::Http)?;
    background_tasks.push(tokio::spawn(sweep_expired(app.clone())));
    let mut tool_servers = ToolServerWatcher::new(session.business_tools.clone(), assets.clone());
    tool_servers.refresh().await;
    background_tasks.push(tokio::spawn(tool_servers.run()));
    background_tasks.push(tokio::spawn(asset_watcher.run(assets)));
    if let Some(address) = config.metrics_address {
        background_tasks.push(tokio::spawn(serve_metrics(address, session.clone()).await?));
    }
    let background_tasks: Vec<_> = background_tasks.into_iter().map(AbortOnDropHandle::new).collect();
    let calls = session.calls.clone();
    let limits = ConnectionLimits::new(
        config.max_connections,
        config.max_connections_per_address,
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
    );
    let connections = Connections::new(limits, session.log_limiter.clone());
    let accepting = AbortOnDropHandle::new(tokio::spawn(connections.clone().accept(listeners, app.into_router())));
    // The prover and the tests read the port from `address`, so it stays the last field of this line.
    for address in addresses {
        info!(event = "server.listening", max_connections = limits.total, %address, "The server is listening.");
    }
    info!(
        event = "server.voice_webhook",
        url = webhook_url,
        "Set this URL as the voice webhook (HTTP POST) of your Twilio number."
    );
    let deadlines = wait_until_drained(&calls, &session.tasks, config.drain_timeout, &shutdown).await;
    drop(accepting);
    connections.close(deadlines.cut_requests_at().saturating_duration_since(Instant::now())).await;
    drop(background_tasks);
    tokio::join!(close_ledger(ledger, session.fleet.as_deref(), deadlines), traces.stop(deadlines.leave_ledger_at()));
    Ok(())
}

/// Writes the buffered records of the ledger and closes it, within the time for both.
async fn close_ledger(ledger: Ledger, fleet: Option<&Fleet>, deadlines: StopDeadlines) {
    let flush_until = deadlines.leave_buffer_at().min(Instant::now() + BUFFER_TIMEOUT);
    if let Some(fleet) = fleet {
        let _ = timeout_at(flush_until, fleet.leave(&ledger)).await;
    }
    if timeout_at(deadlines.leave_ledger_at(), ledger.close_by(flush_until)).await.is_err() {
        warn!(event = "ledger.close_timed_out", "The ledger could not be closed in time; the next start repairs it.");
    }
}

/// Prepares the fleet of servers that share a database. `port` is the one that this server listens on.
fn join_fleet(config: &Config, id: ServerId, port: u16) -> Result<Option<Fleet>, ServeError> {
    let (DatabaseUrl::Postgres(_), Some(address)) = (&config.database, &config.instance_address) else {
        return Ok(None);
    };
    let mut address = address.clone();
    if address.port().is_none() && address.scheme() == "http" {
        // The URL has a host, so that it takes a port.
        let _ = address.set_port(Some(port));
    }
    let fleet = Fleet::new(id, &address, config.base_url.clone()).map_err(ServeError::Http)?;
    info!(event = "fleet.joined", server = %id, %address, "Other servers that share the ledger reach this one here.");
    Ok(Some(fleet))
}

/// Logs how many payments have state `unknown`.
async fn report_unknown_payments(ledger: &Ledger) -> Result<(), ledger::LedgerError> {
    let payments = ledger.count_payments(PaymentState::Unknown).await?;
    if payments > 0 {
        error!(
            event = "payment.unknown_at_start",
            payments, "Payments have state `unknown` and may have been charged: see `payments --state unknown`."
        );
    }
    Ok(())
}

/// Refuses assets with tools whose requests cannot be signed. Warns if callers are not told, or not by the operator's text,
/// that a machine is speaking.
fn check_assets(library: &Library, config: &Config) -> Result<(), ServeError> {
    if let Some(tools) = library.find_unsigned_tools(config) {
        return Err(ServeError::NoBusinessSecret { tools });
    }
    let (has_name, has_phone) = (config.business_name.is_some(), config.business_phone.is_some());
    if let Some(problem) = library.server.find_receipt_problem(has_name, has_phone) {
        warn!(event = "compliance.receipt", %problem, "No receipts are sent.");
    }
    match library.server.disclosure_problem(config.business_name.as_deref()) {
        // The server says it after the greeting.
        None | Some(DisclosureProblem::NotInGreeting) => {}
        Some(problem @ (DisclosureProblem::Off | DisclosureProblem::NoBusinessName)) => warn!(
            event = "compliance.disclosure",
            %problem,
            "Callers may not be told as intended that a machine is speaking."
        ),
    }
    Ok(())
}

async fn open_ledger(config: &Config) -> Result<Ledger, ledger::OpenLedgerError> {
    let url = &config.database;
    let ledger = if config.take_over { Ledger::take_over(url).await? } else { Ledger::open(url).await? };
    ledger.set_live(config.payment_mode == PaymentMode::Live);
    if let Some(keys) = config.sealing_keys.clone() {
        ledger.set_sealing_keys(keys);
    }
    Ok(ledger)
}

/// The address in the URLs that Twilio gets from this server.
fn own_url(base_url: &PublicUrl, fleet: Option<&Fleet>) -> PublicUrl {
    fleet.map_or_else(|| base_url.clone(), |fleet| fleet.url_of(fleet.id()))
}

fn session_context(
    config: &Config,
    assets: Arc<CurrentAssets>,
    shutdown: &Shutdown,
    (ledger, journal): (Ledger, Option<JournalWriter>),
    calls: CallRegistry,
    (server, fleet): (ServerId, Option<Fleet>),
) -> Result<Arc<session::SessionContext>, ServeError> {
    let callback = own_url(&config.base_url, fleet.as_ref()).http_url(twilio::PAYMENT_STATUS_CALLBACK);
    let twilio = twilio::TwilioClient::new(&config.twilio, callback).map_err(ServeError::Twilio)?;
    let (tasks, log_limiter) = (TaskTracker::new(), Arc::<LogLimiter>::default());
    let business_tools = BusinessToolClient::new(config.business_secrets.clone(), config.tool_server_tokens.clone())
        .map_err(ServeError::Http)?;
    let context = Arc::new(session::SessionContext {
        telemetry: Arc::new(Telemetry::new(config.response_service.prices(), &ToolSpec::names())),
        response_service: ResponseService::new(
            &config.response_service,
            &config.twilio.auth_token,
            assets.library().server.model,
            &tasks,
        )?,
        assets,
        ledger,
        journal,
        environment: Arc::new(CallEnvironment {
            may_ask_again: matches!(config.response_service, ResponseServiceConfig::OpenAi(_)),
            payment: config.payment.clone(),
            business_name: config.business_name.clone(),
            business_phone: config.business_phone.clone(),
            from_number: config.twilio.from_number.clone(),
            resume_timeout: config.resume_timeout,
            play_media_hosts: config.play_media_hosts.clone(),
            sms_allowed_numbers: config.sms_allowed.clone(),
            destinations: Arc::new(config.destinations.clone()),
        }),
        settings: session::SharedSettings::default(),
        twilio: Arc::new(twilio),
        server,
        fleet: fleet.map(Arc::new),
        ending_calls: session::EndingCalls::default(),
        business_tools: Arc::new(business_tools),
        calls,
        admission: session::SocketAdmission::new(
            config.twilio.account_sid.clone(),
            SocketTokens::new(&config.twilio.auth_token, &config.twilio.secondary_auth_token),
            log_limiter.clone(),
        ),
        log_limiter: log_limiter.clone(),
        callback_digester: payment::CallbackDigester::new(&config.twilio.auth_token),
        pending_calls: PendingCalls::default(),
        usage: Arc::new(Usage::new(config.outbound_per_minute, log_limiter)),
        reports_call_ends: config.webhook.is_some(),
        tasks,
        soft_stop: shutdown.soft.clone(),
        drain_timeout: config.drain_timeout,
        hand_overs: session::HandOvers::default(),
        hard_stop: shutdown.hard.clone(),
    });
    context.response_service.set_telemetry(&context.telemetry);
    context.twilio.set_telemetry(&context.telemetry);
    context.ledger.set_telemetry(&context.telemetry);
    Ok(context)
}

/// Listens on `METRICS_PORT`. Returns the task that serves the metrics there, to few clients, which need no token.
async fn serve_metrics(
    address: SocketAddr,
    session: Arc<session::SessionContext>,
) -> Result<impl Future<Output = ()>, ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|error| ServeError::ListenForMetrics(address, error))?;
    info!(event = "metrics.listening", address = %listener.local_addr()?, "Metrics can be read without a token.");
    let limits = ConnectionLimits { total: METRICS_CONNECTIONS, pending_per_address: METRICS_CONNECTIONS };
    let connections = Connections::new(limits, session.log_limiter.clone());
    Ok(async move { connections.accept(Listeners::from(listener), metrics_router(session)).await })
}

/// Removes expired entries every [`SWEEP_INTERVAL`], and reports the log lines that were left out.
async fn sweep_expired(app: App) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        app.remove_expired();
    }
}

async fn maintain_ledger(ledger: Ledger) {
    ledger.maintain().await;
}
