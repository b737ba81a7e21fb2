//! The doors: one file for each thing that Twilio or an operator may ask.

mod connect_action;
mod connect_conversation_relay;
mod conversation;
mod conversation_relay;
mod health;
mod json;
mod operator;
mod outbound_call;
mod outbound_twiml;
mod payment_status_callback;
mod payments;
mod signed;
mod twilio_status_callback;
mod update_response_service;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::assets::Shelf;
use crate::config::{self, PublicUrl};
use crate::ledger::Ledger;
use crate::phone_number::PhoneNumber;
use crate::relay::twiml::{self, ConversationRelay, Verb};
use crate::session::{self, Calls, Chats};
use connect_conversation_relay::Business;
use json::Problem;
use operator::Gate;
use outbound_call::Outbound;
use outbound_twiml::{Documents, OUTBOUND_TWIML};
use signed::Verifier;

/// The path of the voice webhook: what Twilio asks when a call comes in.
pub const CONNECT_CONVERSATION_RELAY: &str = "/connectConversationRelay";

/// The path of the socket that the TwiML names.
pub const CONVERSATION_RELAY: &str = "/conversation-relay";

/// The path that Twilio asks once a session has ended.
pub const CONNECT_ACTION: &str = "/connectAction";

/// The path to which Twilio reports the steps of a payment.
pub const PAYMENT_STATUS_CALLBACK: &str = "/payment-status-callback";

/// The path to which Twilio reports how a call goes on.
pub const TWILIO_STATUS_CALLBACK: &str = "/twilioStatusCallback";

/// The largest body that is read. Twilio's are below 4 KiB.
const MAX_BODY: usize = 64 * 1024;

/// How long a webhook may take, its body included; Twilio waits for 15 s.
const WEBHOOK_LIMIT: Duration = Duration::from_secs(10);

/// What the doors know.
#[derive(Debug, Clone)]
pub struct App {
    verifier: Arc<Verifier>,
    voice: Arc<Voice>,
    gate: Arc<Gate>,
    outbound: Arc<Outbound>,
    /// Who knows what a call that comes in is about.
    business: Option<Arc<Business>>,
    chats: Chats,
    session: Arc<session::Context>,
    draining: CancellationToken,
}

/// What is answered to Twilio's voice webhooks.
#[derive(Debug)]
struct Voice {
    /// Where Twilio asks once the session has ended.
    action: String,
    /// The URL of the session's socket.
    socket: String,
    /// Who takes over.
    live_agent: Option<LiveAgent>,
    /// What else a call is led by.
    shelf: Arc<Shelf>,
}

/// How a person is found who takes over.
#[derive(Debug, Clone)]
pub enum LiveAgent {
    /// By a TaskRouter workflow: `WW…`.
    Workflow(String),
    /// At a phone number, in E.164.
    Number(PhoneNumber),
}

/// What the doors are made of.
#[derive(Debug)]
pub struct Parts {
    /// Where Twilio reaches this server.
    pub base_url: PublicUrl,
    /// Checks signatures; `None` lets everybody in.
    pub signer: Option<crate::twilio::Signer>,
    /// What an operator's request must bear; `None` lets no operator in.
    pub operator_token: Option<SecretString>,
    /// Who takes over from the agent.
    pub live_agent: Option<LiveAgent>,
    /// Where to ask what a call that comes in is about.
    pub call_parameters: Option<config::Business>,
    /// What sessions share.
    pub session: Arc<session::Context>,
    /// No new calls are taken once this is cancelled.
    pub draining: CancellationToken,
}

impl App {
    /// Puts the doors in. It fails if no HTTP client can be set up.
    pub fn new(parts: Parts) -> Result<Self, reqwest::Error> {
        let voice = Voice {
            action: parts.base_url.http(CONNECT_ACTION),
            socket: parts.base_url.wss(CONVERSATION_RELAY),
            live_agent: parts.live_agent,
            shelf: parts.session.shelf.clone(),
        };
        let outbound = Outbound {
            status_callback: parts.base_url.http(TWILIO_STATUS_CALLBACK),
            base_url: parts.base_url.clone(),
            documents: Documents::default(),
        };
        Ok(Self {
            business: parts.call_parameters.map(Business::new).transpose()?.map(Arc::new),
            gate: Arc::new(Gate::new(parts.operator_token.as_ref())),
            outbound: Arc::new(outbound),
            chats: Chats::new(parts.draining.clone()),
            verifier: Arc::new(Verifier::new(parts.base_url, parts.signer)),
            voice: Arc::new(voice),
            session: parts.session,
            draining: parts.draining,
        })
    }

    /// Frees what is kept for a while only and has expired.
    pub fn forget_expired(&self) {
        self.outbound.documents.forget_expired();
        self.session.requests.forget_expired();
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route(CONNECT_CONVERSATION_RELAY, post(connect_conversation_relay::post))
            .route(PAYMENT_STATUS_CALLBACK, post(payment_status_callback::post))
            .route(CONNECT_ACTION, post(connect_action::post))
            .route(TWILIO_STATUS_CALLBACK, post(twilio_status_callback::post))
            .route(&format!("{OUTBOUND_TWIML}/{{id}}"), post(outbound_twiml::post))
            .route("/payments", get(payments::list))
            .route("/payments/{id}", get(payments::one))
            .route("/payments/{id}/settle", post(payments::settle))
            .route("/payments/{id}/refunded", post(payments::refunded))
            .route("/", get(health::running))
            .route("/health", get(health::health))
            .route("/ready", get(health::ready))
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, WEBHOOK_LIMIT))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            // These bound themselves: a reply may take longer, and is told as JSON if it takes too long.
            .route("/outboundCall", post(outbound_call::post))
            .route("/conversation", post(conversation::post))
            .route("/updateResponseService", post(update_response_service::post))
            .route(CONVERSATION_RELAY, get(conversation_relay::get))
            // The library's own answer would log what the panic says, which may be anything.
            .fallback(async || {
                Problem::new(StatusCode::NOT_FOUND, "there is nothing here; the README lists the endpoints")
            })
            .method_not_allowed_fallback(async || {
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "this endpoint takes another method; the README lists them",
                )
            })
            .layer(CatchPanicLayer::custom(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
            .with_state(self)
    }
}

impl Voice {
    /// The session's noun for a call that comes in now.
    fn relay(&self) -> ConversationRelay {
        let library = self.shelf.library();
        ConversationRelay {
            url: self.socket.clone(),
            attributes: library.server.relay.clone(),
            languages: library.server.languages.clone(),
            parameters: library.server.parameters.clone(),
        }
    }

    /// What is said when nobody takes over.
    fn no_agent(&self) -> String {
        self.shelf.library().server.messages.no_agent.clone()
    }
}

impl FromRef<App> for Arc<Verifier> {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

impl FromRef<App> for Arc<Gate> {
    fn from_ref(app: &App) -> Self {
        app.gate.clone()
    }
}

impl FromRef<App> for Arc<Outbound> {
    fn from_ref(app: &App) -> Self {
        app.outbound.clone()
    }
}

impl FromRef<App> for Documents {
    fn from_ref(app: &App) -> Self {
        app.outbound.documents.clone()
    }
}

impl FromRef<App> for Chats {
    fn from_ref(app: &App) -> Self {
        app.chats.clone()
    }
}

impl FromRef<App> for Arc<Voice> {
    fn from_ref(app: &App) -> Self {
        app.voice.clone()
    }
}

impl FromRef<App> for Arc<session::Context> {
    fn from_ref(app: &App) -> Self {
        app.session.clone()
    }
}

impl FromRef<App> for Ledger {
    fn from_ref(app: &App) -> Self {
        app.session.ledger.clone()
    }
}

impl FromRef<App> for Calls {
    fn from_ref(app: &App) -> Self {
        app.session.calls.clone()
    }
}

/// A TwiML document as an answer.
fn twiml(verbs: &[Verb]) -> Response {
    ([(header::CONTENT_TYPE, "text/xml")], twiml::response(verbs)).into_response()
}
