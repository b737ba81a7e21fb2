//! The HTTP handlers: one file per route of Twilio's webhooks and the operator API.
//!
#![doc = include_str!("endpoints/README.md")]

mod auth;
mod connect_action;
mod connect_conversation_relay;
mod console;
mod conversation;
mod conversation_relay;
mod health;
mod json;
mod mcp;
mod metrics;
mod observation;
mod outbound_call;
mod outbound_twiml;
mod payment_status_callback;
mod payments;
mod to_owner;
mod twilio_status_callback;
mod update_response_service;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn_with_state, map_request};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::assets::{CurrentAssets, WELCOME_GREETING};
use crate::call::{CallMessages, LocalizedMessage};
use crate::config::{self, PublicUrl};
use crate::ledger::Ledger;
use crate::log_limit::LogLimiter;
use crate::observation::Recorder;
use crate::phone_number::PhoneNumber;
use crate::relay::twiml::{self, Attributes, ConversationRelay, Verb};
use crate::session::{self, CallRegistry, Chats};
use crate::socket_token::{SOCKET_TOKEN, SocketTokens};
use crate::twilio::PAYMENT_STATUS_CALLBACK;
use auth::console_session::ConsoleSessions;
use auth::operator_token::OperatorAuth;
use auth::twilio_signature::{SignatureVerifier, require_signed_upgrade, require_signed_webhook};
use connect_conversation_relay::BusinessClient;
use console::ConsoleFeed;
use json::ApiError;
use mcp::{MCP, OwnOrigin};
pub(crate) use metrics::metrics_router;
use outbound_call::OutboundCallContext;
use outbound_twiml::{OUTBOUND_TWIML, TwimlDocuments};

/// The path of the voice webhook, which Twilio requests when a call comes in.
pub(crate) const CONNECT_CONVERSATION_RELAY: &str = "/connectConversationRelay";

/// The path of the ConversationRelay WebSocket.
pub(crate) const CONVERSATION_RELAY: &str = "/conversation-relay";

/// The path of the `<Connect>` action, which Twilio requests once a session has ended.
pub(crate) const CONNECT_ACTION: &str = "/connectAction";

/// The path of the call status callback.
pub(crate) const TWILIO_STATUS_CALLBACK: &str = "/twilioStatusCallback";

/// The largest request body that is read, in bytes. Twilio's are below 4 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Time limit for a webhook request including its body. Twilio waits for 15 s.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The shared state of the handlers.
#[derive(Debug, Clone)]
pub struct App {
    verifier: Arc<SignatureVerifier>,
    voice: Arc<VoiceWebhook>,
    operator_auth: Arc<OperatorAuth>,
    outbound: Arc<OutboundCallContext>,
    /// The client that looks up inbound calls (`CALL_PARAMETERS_URL`).
    business: Option<Arc<BusinessClient>>,
    chats: Chats,
    origin: OwnOrigin,
    session: Arc<session::SessionContext>,
    draining: CancellationToken,
    recorder: Option<Recorder>,
    console: Arc<ConsoleFeed>,
    console_sessions: Arc<ConsoleSessions>,
}

/// What the TwiML responses to Twilio's voice webhooks are built from.
#[derive(Debug)]
struct VoiceWebhook {
    /// The URL of the `<Connect>` action.
    action_url: String,
    /// The URL of the ConversationRelay WebSocket.
    socket_url: String,
    /// Where calls are transferred to a person.
    live_agent: Option<LiveAgent>,
    /// The current configuration files.
    assets: Arc<CurrentAssets>,
    /// `BUSINESS_NAME`.
    business_name: Option<String>,
    /// Makes the tokens of the sockets.
    socket_tokens: SocketTokens,
}

/// Where a call is transferred to a person.
#[derive(Debug, Clone)]
pub enum LiveAgent {
    /// To a TaskRouter workflow, by its SID `WW…`.
    Workflow(String),
    /// To a phone number, in E.164.
    Number(PhoneNumber),
}

/// What an [`App`] is built from.
#[derive(Debug)]
pub struct AppParts {
    /// The public URL at which Twilio reaches this server.
    pub base_url: PublicUrl,
    /// The address in the URLs that Twilio gets from this server: it names the server if several share the ledger.
    pub own_url: PublicUrl,
    /// Verify Twilio's signatures; `None` accepts unsigned requests.
    pub signature_keys: Option<crate::twilio::SignatureKeys>,
    /// The bearer tokens of operator requests; without one all of them are rejected.
    pub operator_tokens: config::OperatorTokens,
    /// Twilio's auth token, from which the keys of the console's cookies are derived.
    pub auth_token: SecretString,
    /// Where the agent's calls are transferred to a person.
    pub live_agent: Option<LiveAgent>,
    /// The business endpoint that is asked for the parameters of an inbound call.
    pub call_parameters: Option<config::BusinessEndpoint>,
    /// The shared state of the sessions.
    pub session: Arc<session::SessionContext>,
    /// Cancelled when the server stops accepting new calls.
    pub draining: CancellationToken,
    /// Records what Twilio and the server exchange: `observe`.
    pub recorder: Option<Recorder>,
}

impl App {
    /// Builds the state. It fails if the HTTP client for the business cannot be built.
    pub fn new(parts: AppParts) -> Result<Self, reqwest::Error> {
        let voice = VoiceWebhook {
            action_url: parts.own_url.http_url(CONNECT_ACTION),
            socket_url: parts.own_url.wss_url(CONVERSATION_RELAY),
            live_agent: parts.live_agent,
            assets: parts.session.assets.clone(),
            business_name: parts.session.environment.business_name.clone(),
            socket_tokens: parts.session.admission.tokens().clone(),
        };
        let outbound = OutboundCallContext {
            status_callback: parts.own_url.http_url(TWILIO_STATUS_CALLBACK),
            own_url: parts.own_url,
            documents: TwimlDocuments::default(),
        };
        let log_limiter = parts.session.log_limiter.clone();
        Ok(Self {
            business: parts.call_parameters.map(BusinessClient::new).transpose()?.map(Arc::new),
            console: Arc::default(),
            console_sessions: Arc::new(ConsoleSessions::new(&parts.operator_tokens, &parts.auth_token)),
            operator_auth: Arc::new(OperatorAuth::new(&parts.operator_tokens, log_limiter.clone())),
            outbound: Arc::new(outbound),
            chats: Chats::new(parts.draining.clone()),
            origin: OwnOrigin::new(&parts.base_url),
            verifier: Arc::new(SignatureVerifier::new(
                parts.base_url,
                parts.signature_keys,
                log_limiter.clone(),
                parts.session.telemetry.clone(),
            )),
            voice: Arc::new(voice),
            session: parts.session,
            draining: parts.draining,
            recorder: parts.recorder,
        })
    }

    /// Removes expired documents, pending calls, bindings of sockets and counts, and reports log lines that were left out.
    pub fn remove_expired(&self) {
        self.operator_auth.remove_expired(Instant::now());
        self.outbound.documents.remove_expired();
        self.session.pending_calls.remove_expired();
        self.session.usage.messages.remove_expired(Instant::now());
        self.session.admission.remove_expired();
        self.session.log_limiter.report_left_out(Instant::now());
    }

    /// Builds the router with all routes.
    pub fn into_router(self) -> Router {
        // Another method is refused by the route itself, after the signature was verified.
        let signed = |route: MethodRouter<Self>| route.fallback(method_not_allowed);
        let of_calls = Router::new()
            .route(PAYMENT_STATUS_CALLBACK, signed(post(payment_status_callback::post)))
            .route(CONNECT_ACTION, signed(post(connect_action::post)))
            .route(TWILIO_STATUS_CALLBACK, signed(post(twilio_status_callback::post)))
            .route_layer(from_fn_with_state(self.clone(), to_owner::send_webhook));
        let webhooks = of_calls
            .route(CONNECT_CONVERSATION_RELAY, signed(post(connect_conversation_relay::post)))
            .route(&format!("{OUTBOUND_TWIML}/{{id}}"), signed(post(outbound_twiml::post)));
        // Only what is verified is recorded.
        let webhooks = match self.recorder.clone() {
            Some(recorder) => webhooks.route_layer(from_fn_with_state(recorder, observation::record_webhook)),
            None => webhooks,
        };
        let webhooks = webhooks.route_layer(from_fn_with_state(self.verifier.clone(), require_signed_webhook));
        let socket = Router::new()
            .route(CONVERSATION_RELAY, signed(get(conversation_relay::get)))
            .route_layer(from_fn_with_state(self.verifier.clone(), require_signed_upgrade));
        let is_shared = self.session.fleet.is_some();
        let of_operators = Router::new()
            .route("/conversation", post(conversation::post))
            .route("/updateResponseService", post(update_response_service::post))
            .route_layer(from_fn_with_state(self.clone(), to_owner::send_operator_request));
        let of_clients = Router::new()
            .route(MCP, post(mcp::post))
            .route_layer(from_fn_with_state(self.clone(), to_owner::send_client_request));
        let router = webhooks
            .route("/payments", get(payments::list))
            .route("/payments/{id}", get(payments::get))
            .route("/payments/{id}/settle", post(payments::settle))
            .route("/payments/{id}/refunded", post(payments::record_refund))
            .route("/", get(health::index))
            .route("/health", get(health::health))
            .route("/ready", get(health::ready))
            .route(metrics::METRICS, get(metrics::get_as_operator))
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, WEBHOOK_TIMEOUT))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            // These handlers have their own time and size limits, since a reply may take longer and a timeout is
            // answered as JSON.
            .route("/outboundCall", post(outbound_call::post))
            .merge(of_operators)
            .merge(of_clients)
            .merge(socket)
            .merge(console::router())
            .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "no such endpoint"))
            .method_not_allowed_fallback(method_not_allowed)
            // The default handler would log the panic message, which may contain any data.
            .layer(CatchPanicLayer::custom(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
            .with_state(self);
        // Around the routes, which are chosen by what is left of the path.
        if is_shared {
            let named = map_request(async |request: Request| to_owner::read_named_server(request));
            Router::new().fallback_service(router).layer(named)
        } else {
            router
        }
    }

    /// Whether new calls are refused: the server drains, and no other one takes them.
    fn turns_calls_away(&self) -> bool {
        self.draining.is_cancelled() && !self.session.has_successor()
    }
}

impl VoiceWebhook {
    /// Builds the `<ConversationRelay>` noun for a new session of a call. Its own parameters override the configured
    /// ones.
    fn conversation_relay(&self, own: Attributes, socket_token: String) -> ConversationRelay {
        let library = self.assets.library();
        let mut parameters = library.server.parameters.clone();
        parameters.retain(|(name, _)| own.iter().all(|(own, _)| own != name));
        parameters.extend(own);
        // The name is the server's, whoever else uses it.
        parameters.retain(|(name, _)| name != SOCKET_TOKEN);
        parameters.push((SOCKET_TOKEN.to_owned(), socket_token));
        ConversationRelay {
            url: self.socket_url.clone(),
            attributes: library.server.relay_attributes(self.business_name.as_deref()),
            languages: library.server.languages.clone(),
            parameters,
        }
    }

    /// Has a call that this server places begin with who calls.
    fn greet_as_caller(&self, relay: &mut ConversationRelay) {
        if let Some(greeting) = self.assets.library().server.outbound_greeting(self.business_name.as_deref()) {
            relay.attributes.retain(|(name, _)| name != WELCOME_GREETING);
            relay.attributes.push((WELCOME_GREETING.to_owned(), greeting));
        }
    }

    /// Builds the verbs that speak one of the server's sentences in the language of the configuration, and hang up.
    fn farewell_verbs(&self, sentence: fn(&CallMessages) -> &LocalizedMessage) -> Vec<Verb> {
        let library = self.assets.library();
        let language = library.server.spoken_language();
        let text = sentence(&library.server.messages).in_language(language).to_owned();
        vec![Verb::Say { language: Some(language.to_owned()), text }, Verb::Hangup]
    }
}

impl FromRef<App> for Arc<OperatorAuth> {
    fn from_ref(app: &App) -> Self {
        app.operator_auth.clone()
    }
}

impl FromRef<App> for Arc<ConsoleSessions> {
    fn from_ref(app: &App) -> Self {
        app.console_sessions.clone()
    }
}

impl FromRef<App> for Arc<LogLimiter> {
    fn from_ref(app: &App) -> Self {
        app.session.log_limiter.clone()
    }
}

impl FromRef<App> for Arc<OutboundCallContext> {
    fn from_ref(app: &App) -> Self {
        app.outbound.clone()
    }
}

impl FromRef<App> for Chats {
    fn from_ref(app: &App) -> Self {
        app.chats.clone()
    }
}

impl FromRef<App> for OwnOrigin {
    fn from_ref(app: &App) -> Self {
        app.origin.clone()
    }
}

impl FromRef<App> for Option<Recorder> {
    fn from_ref(app: &App) -> Self {
        app.recorder.clone()
    }
}

impl FromRef<App> for Arc<VoiceWebhook> {
    fn from_ref(app: &App) -> Self {
        app.voice.clone()
    }
}

impl FromRef<App> for Arc<session::SessionContext> {
    fn from_ref(app: &App) -> Self {
        app.session.clone()
    }
}

impl FromRef<App> for Ledger {
    fn from_ref(app: &App) -> Self {
        app.session.ledger.clone()
    }
}

impl FromRef<App> for CallRegistry {
    fn from_ref(app: &App) -> Self {
        app.session.calls.clone()
    }
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this endpoint does not support this method")
}

/// Builds an HTTP response with a TwiML document.
fn twiml_response(verbs: &[Verb]) -> Response {
    ([(header::CONTENT_TYPE, "text/xml")], twiml::render_response(verbs)).into_response()
}
