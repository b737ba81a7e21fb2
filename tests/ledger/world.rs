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
pub enum Moment {
    /// Twilio has received the create request and has not responded.
    AskedToOpen,
    Opened,
    /// Twilio has received the request for this field and has not responded.
    AskedFor(usize),
    /// The callback for this field is answered.
    Entered(usize),
    /// Twilio has received `complete` and has not responded.
    AskedToComplete,
    /// `complete` is accepted, and its result is not reported yet.
    Submitted,
    /// The result is reported, and the business does not accept the event.
    Told,
    /// The business has accepted the event.
    Delivered,
}

/// The requests that Twilio and the business received.
#[derive(Debug, Default)]
pub struct Seen {
    /// The requests to Twilio: payment SID, change and idempotency key.
    pub asked: Vec<(String, String, String)>,
    sids: HashMap<String, String>,
    /// The webhook events with a valid signature.
    pub told: Vec<Value>,
    pub reached: Vec<Moment>,
}

/// The stand-ins. Clones share their state.
#[derive(Clone)]
pub struct World {
    pub origin: String,
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<u64>,
    stop_at: Option<Moment>,
    business_is_open: Arc<Mutex<bool>>,
    /// Twilio refuses `complete` with this error code.
    refusal: Arc<Mutex<Option<u32>>>,
}

impl World {
    /// Starts stand-ins that stop at this checkpoint.
    pub async fn stopping_at(stop_at: Option<Moment>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            changed: watch::Sender::new(0),
            stop_at,
            business_is_open: Arc::default(),
            refusal: Arc::default(),
        };
        let router = Router::new()
            .route("/2010-04-01/Accounts/AC1/Calls/{call}/Payments.json", post(create))
            .route("/2010-04-01/Accounts/AC1/Calls/{call}/Payments/{payment}", post(update))
            .route("/business", post(business))
            .with_state(world.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        world
    }

    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    fn note<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let noted = change(&mut self.seen.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        noted
    }

    /// Waits until the predicate holds. `what` names it in the panic message.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        let mut changed = self.changed.subscribe();
        let waits = changed.wait_for(|_| self.seen(&is_so));
        drop(
            tokio::time::timeout(PATIENCE, waits)
                .await
                .unwrap_or_else(|_| panic!("not {what}: {:?}", self.seen))
                .unwrap(),
        );
    }

    /// Records that a checkpoint is reached. Never returns if it is the one at which to stop.
    pub async fn reaches(&self, moment: Moment) {
        self.note(|seen| seen.reached.push(moment));
        if self.stop_at == Some(moment) {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the checkpoint at which to stop is reached.
    pub async fn stops(&self) {
        match self.stop_at {
            Some(moment) => self.until("stopped", |seen| seen.reached.contains(&moment)).await,
            None => std::future::pending().await,
        }
    }

    /// From now on the business accepts events.
    pub fn business_opens(&self) {
        *self.business_is_open.lock().unwrap() = true;
    }

    /// From now on Twilio refuses `complete` with this error code.
    pub fn refuses_completion(&self, code: Option<u32>) {
        *self.refusal.lock().unwrap() = code;
    }

    pub fn keys_of(&self, what: &str) -> Vec<String> {
        let mut keys = self.seen(|seen| {
            seen.asked.iter().filter(|(_, asked, _)| asked == what).map(|(.., key)| key.clone()).collect::<Vec<_>>()
        });
        keys.sort();
        keys.dedup();
        keys
    }
}

fn form(body: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

async fn create(State(world): State<World>, Path(call): Path<String>, body: String) -> Response {
    let key = form(&body)["IdempotencyKey"].clone();
    let sid = world.note(|seen| {
        // The same idempotency key returns the same payment SID.
        let next = format!("PK-{call}-{}", seen.sids.len());
        let sid = seen.sids.entry(key.clone()).or_insert(next).clone();
        seen.asked.push((sid.clone(), "create".to_owned(), key.clone()));
        sid
    });
    if world.seen(|seen| seen.asked.iter().filter(|(.., other)| *other == key).count()) == 1 {
        world.reaches(Moment::AskedToOpen).await;
    }
    (StatusCode::CREATED, axum::Json(json!({"sid": sid}))).into_response()
}

async fn update(State(world): State<World>, Path((_, payment)): Path<(String, String)>, body: String) -> Response {
    let form = form(&body);
    let sid = payment.trim_end_matches(".json").to_owned();
    let what = form.get("Capture").or(form.get("Status")).unwrap().clone();
    world.note(|seen| seen.asked.push((sid, what.clone(), form["IdempotencyKey"].clone())));
    match super::FIELDS.iter().position(|field| *field == what) {
        Some(field) => world.reaches(Moment::AskedFor(field)).await,
        None if what == "complete" => world.reaches(Moment::AskedToComplete).await,
        None => {}
    }
    let refusal = *world.refusal.lock().unwrap();
    if let Some(code) = refusal.filter(|_| what == "complete") {
        return (StatusCode::BAD_REQUEST, axum::Json(json!({"code": code, "message": "no", "status": 400})))
            .into_response();
    }
    (StatusCode::ACCEPTED, "{}").into_response()
}

async fn business(State(world): State<World>, headers: HeaderMap, body: String) -> StatusCode {
    if !*world.business_is_open.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let timestamp = headers["x-crelay-timestamp"].to_str().unwrap().parse().unwrap();
    let signature = SigningSecrets::from(SECRET).sign(timestamp, body.as_bytes());
    if headers["x-crelay-signature"] != signature {
        return StatusCode::FORBIDDEN;
    }
    world.note(|seen| seen.told.push(serde_json::from_str(&body).unwrap()));
    StatusCode::OK
}
