//! Twilio's REST API and the business, played over real HTTP: whatever they are asked for they do, and remember it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::catch::{Catch, Place};
use crate::simulator::tape::lock;

/// Where the business is asked what a call is about.
pub const CALLS: &str = "/business/calls";
/// Where it is told of payments.
pub const PAYMENTS: &str = "/business/payments";

/// Twilio and the business. Clones are the same.
#[derive(Debug, Clone)]
pub struct Outside {
    /// What Twilio was asked, in order.
    asked: watch::Sender<Vec<Asked>>,
    /// The tokens that the business was told.
    told: watch::Sender<Vec<String>>,
    /// Where the TwiML of the last call that was placed is to be had.
    document: Arc<Mutex<Option<String>>>,
    /// What the business knows of calls.
    knows: Arc<Mutex<Value>>,
    catch: Catch,
}

/// What Twilio was asked about a payment.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The SID of the payment.
    pub payment: String,
    /// The fields of the form.
    pub form: HashMap<String, String>,
}

impl Asked {
    /// Whether a new payment was asked for.
    pub fn is_new(&self) -> bool {
        !self.form.contains_key("Capture") && !self.form.contains_key("Status")
    }
}

impl Outside {
    /// A Twilio and a business whose requests are caught.
    pub fn new(catch: Catch) -> Self {
        let (asked, told) = (watch::Sender::default(), watch::Sender::default());
        Self { asked, told, document: Arc::default(), knows: Arc::new(Mutex::new(json!({}))), catch }
    }

    /// Both of them.
    pub fn router(self) -> Router {
        Router::new().route(CALLS, post(is_asked)).route(PAYMENTS, post(is_told)).fallback(does).with_state(self)
    }

    /// From now on the business answers this to whoever asks what a call is about.
    pub fn business_knows(&self, of_a_call: Value) {
        *lock(&self.knows) = of_a_call;
    }

    /// How often Twilio was asked something about payments.
    pub fn count(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Waits until Twilio is asked about a payment what `is` looks for, beginning with the request number `from`; tells it
    /// and the number of the one after it.
    pub async fn is_asked(
        &self,
        from: usize,
        limit: Duration,
        is: impl Fn(&Asked) -> bool,
    ) -> anyhow::Result<(Asked, usize)> {
        let mut asked = self.asked.subscribe();
        let find =
            |all: &Vec<Asked>| all.iter().skip(from).position(&is).map(|at| (all[from + at].clone(), from + at + 1));
        let waits = asked.wait_for(|all| find(all).is_some());
        let all = tokio::time::timeout(limit, waits).await.context("Twilio was not asked for what was due")??;
        find(&all).context("what was found is there")
    }

    /// The URL at which the TwiML of the last call that was placed is to be had, if it did not come along.
    pub fn document(&self) -> Option<String> {
        lock(&self.document).clone()
    }

    /// Waits until the business was told this token.
    pub async fn is_told(&self, token: &str, limit: Duration) -> anyhow::Result<()> {
        let mut told = self.told.subscribe();
        let waits = told.wait_for(|told| told.iter().any(|told| told == token));
        tokio::time::timeout(limit, waits).await.context("the business was not told the result")??;
        Ok(())
    }
}

async fn does(State(outside): State<Outside>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    outside.catch.keep(Place::Twilio, format!("{uri}\n{headers:?}\n{body}"));
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let path: Vec<&str> = uri.path().trim_end_matches(".json").split('/').skip(4).collect();
    let new = |kind: &str| format!("{kind}{:032x}", outside.asked.borrow().len() + 1);
    let (status, sid) = match path[..] {
        ["Calls", _, "Payments"] => (StatusCode::CREATED, new("PK")),
        ["Calls", _, "Payments", payment] => (StatusCode::ACCEPTED, payment.to_owned()),
        ["Messages"] => (StatusCode::CREATED, new("SM")),
        ["Calls"] => {
            *lock(&outside.document) = form.get("Url").cloned();
            // Not the SID of any call that is played.
            (StatusCode::CREATED, new("CA").replacen("CA0", "CAf", 1))
        }
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    if path.contains(&"Payments") {
        let asked = Asked { payment: sid.clone(), form };
        outside.asked.send_modify(|all| all.push(asked));
    }
    (status, axum::Json(json!({"sid": sid, "status": "queued"}))).into_response()
}

async fn is_asked(State(outside): State<Outside>, headers: HeaderMap, body: String) -> Response {
    outside.catch.keep(Place::Question, format!("{headers:?}\n{body}"));
    axum::Json(lock(&outside.knows).clone()).into_response()
}

async fn is_told(State(outside): State<Outside>, headers: HeaderMap, body: String) -> StatusCode {
    let told: Value = serde_json::from_str(&body).unwrap_or_default();
    let token = told["paymentToken"].as_str().unwrap_or_default();
    // The token is the business's own; the rest must be as clean as all else.
    let rest = if token.is_empty() { body.clone() } else { body.replace(token, "") };
    outside.catch.keep(Place::Webhook, format!("{headers:?}\n{rest}"));
    outside.told.send_modify(|all| all.push(token.to_owned()));
    StatusCode::NO_CONTENT
}
