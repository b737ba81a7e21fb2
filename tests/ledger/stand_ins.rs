//! Stand-ins for Twilio's Payments API and the business over real HTTP. They can stop at a checkpoint of a payment
//! call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use crelay_payments::signing::SigningSecrets;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub const SECRET: &str = "a-webhook-secret-of-the-tests";
const PATIENCE: Duration = Duration::from_secs(20);

/// The checkpoints of a payment call, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checkpoint {
    /// Twilio has received the create request and has not responded.
    CreateReceived,
    Opened,
    /// Twilio has received the request for this field and has not responded.
    CaptureReceived(usize),
    /// The callback for this field is answered.
    Entered(usize),
    /// Twilio has received `complete` and has not responded.
    CompleteReceived,
    /// `complete` is accepted, and its result is not reported yet.
    Submitted,
    /// The result is reported, and the business does not accept the event.
    ResultReported,
    /// The business has accepted the event.
    Delivered,
}

/// The requests that Twilio and the business received.
#[derive(Debug, Default)]
pub struct ReceivedRequests {
    /// The requests to Twilio: payment SID, change and idempotency key.
    pub twilio_requests: Vec<(String, String, String)>,
    sids: HashMap<String, String>,
    /// The webhook events with a valid signature.
    pub events: Vec<Value>,
    pub reached: Vec<Checkpoint>,
}

/// The stand-ins. Clones share their state.
#[derive(Clone)]
pub struct StandIns {
    pub origin: String,
    received: Arc<Mutex<ReceivedRequests>>,
    changed: watch::Sender<u64>,
    stop_at: Option<Checkpoint>,
    accepts_events: Arc<Mutex<bool>>,
    /// Twilio refuses `complete` with this error code.
    refusal: Arc<Mutex<Option<u32>>>,
}

impl StandIns {
    /// Starts stand-ins that stop at this checkpoint.
    pub async fn start(stop_at: Option<Checkpoint>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand_ins = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            received: Arc::default(),
            changed: watch::Sender::new(0),
            stop_at,
            accepts_events: Arc::default(),
            refusal: Arc::default(),
        };
        let router = Router::new()
            .route("/2010-04-01/Accounts/AC1/Calls/{call}/Payments.json", post(create))
            .route("/2010-04-01/Accounts/AC1/Calls/{call}/Payments/{payment}", post(update))
            .route("/business", post(business))
            .with_state(stand_ins.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stand_ins
    }

    pub fn received<T>(&self, look: impl FnOnce(&ReceivedRequests) -> T) -> T {
        look(&self.received.lock().unwrap())
    }

    fn record<T>(&self, change: impl FnOnce(&mut ReceivedRequests) -> T) -> T {
        let noted = change(&mut self.received.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        noted
    }

    /// Waits until the predicate holds. `what` names it in the panic message.
    pub async fn wait_until(&self, what: &str, is_so: impl Fn(&ReceivedRequests) -> bool) {
        let mut changed = self.changed.subscribe();
        let waits = changed.wait_for(|_| self.received(&is_so));
        drop(
            tokio::time::timeout(PATIENCE, waits)
                .await
                .unwrap_or_else(|_| panic!("not {what}: {:?}", self.received))
                .unwrap(),
        );
    }

    /// Records that a checkpoint is reached. Never returns if it is the one at which to stop.
    pub async fn reach(&self, checkpoint: Checkpoint) {
        self.record(|received| received.reached.push(checkpoint));
        if self.stop_at == Some(checkpoint) {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the checkpoint at which to stop is reached.
    pub async fn wait_for_stop(&self) {
        match self.stop_at {
            Some(checkpoint) => self.wait_until("stopped", |received| received.reached.contains(&checkpoint)).await,
            None => std::future::pending().await,
        }
    }

    /// From now on the business accepts events.
    pub fn accept_events(&self) {
        *self.accepts_events.lock().unwrap() = true;
    }

    /// From now on Twilio refuses `complete` with this error code.
    pub fn refuse_completion(&self, code: Option<u32>) {
        *self.refusal.lock().unwrap() = code;
    }

    pub fn keys_of(&self, what: &str) -> Vec<String> {
        let mut keys = self.received(|received| {
            received
                .twilio_requests
                .iter()
                .filter(|(_, asked, _)| asked == what)
                .map(|(.., key)| key.clone())
                .collect::<Vec<_>>()
        });
        keys.sort();
        keys.dedup();
        keys
    }
}

fn form(body: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

async fn create(State(stand_ins): State<StandIns>, Path(call): Path<String>, body: String) -> Response {
    let key = form(&body)["IdempotencyKey"].clone();
    let sid = stand_ins.record(|received| {
        // The same idempotency key returns the same payment SID.
        let next = format!("PK-{call}-{}", received.sids.len());
        let sid = received.sids.entry(key.clone()).or_insert(next).clone();
        received.twilio_requests.push((sid.clone(), "create".to_owned(), key.clone()));
        sid
    });
    if stand_ins.received(|received| received.twilio_requests.iter().filter(|(.., other)| *other == key).count()) == 1 {
        stand_ins.reach(Checkpoint::CreateReceived).await;
    }
    (StatusCode::CREATED, axum::Json(json!({"sid": sid}))).into_response()
}

async fn update(
    State(stand_ins): State<StandIns>,
    Path((_, payment)): Path<(String, String)>,
    body: String,
) -> Response {
    let form = form(&body);
    let sid = payment.trim_end_matches(".json").to_owned();
    let what = form.get("Capture").or(form.get("Status")).unwrap().clone();
    stand_ins.record(|received| received.twilio_requests.push((sid, what.clone(), form["IdempotencyKey"].clone())));
    match super::FIELDS.iter().position(|field| *field == what) {
        Some(field) => stand_ins.reach(Checkpoint::CaptureReceived(field)).await,
        None if what == "complete" => stand_ins.reach(Checkpoint::CompleteReceived).await,
        None => {}
    }
    let refusal = *stand_ins.refusal.lock().unwrap();
    if let Some(code) = refusal.filter(|_| what == "complete") {
        return (StatusCode::BAD_REQUEST, axum::Json(json!({"code": code, "message": "no", "status": 400})))
            .into_response();
    }
    (StatusCode::ACCEPTED, "{}").into_response()
}

async fn business(State(stand_ins): State<StandIns>, headers: HeaderMap, body: String) -> StatusCode {
    if !*stand_ins.accepts_events.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let timestamp = headers["x-crelay-timestamp"].to_str().unwrap().parse().unwrap();
    let signature = SigningSecrets::from(SECRET).sign(timestamp, body.as_bytes());
    if headers["x-crelay-signature"] != signature {
        return StatusCode::FORBIDDEN;
    }
    stand_ins.record(|received| received.events.push(serde_json::from_str(&body).unwrap()));
    StatusCode::OK
}
