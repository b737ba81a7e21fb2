//! Twilio's Payments API and the business, played over real HTTP, and the moment at which everything stops.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use crelay_payments::signing::Secrets;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub const SECRET: &str = "a-webhook-secret-of-the-tests";
const PATIENCE: Duration = Duration::from_secs(20);

/// Something that happens in a payment call, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Twilio has read the request, and has not answered.
    AskedToOpen,
    Opened,
    /// Twilio has read the request for this field, and has not answered.
    AskedFor(usize),
    /// What Twilio reported of this field is answered.
    Entered(usize),
    AskedToComplete,
    /// Complete is accepted; its result is not reported.
    Submitted,
    /// The result is reported, and the business does not take it.
    Told,
    /// The business has taken it.
    Delivered,
}

/// What Twilio and the business have seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every request to Twilio: the payment's SID, what was asked for, under which key.
    pub asked: Vec<(String, String, String)>,
    sids: HashMap<String, String>,
    /// What the business was told, signed as it should be.
    pub told: Vec<Value>,
    pub reached: Vec<Moment>,
}

/// Both, and the moment.
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
    /// A world in which everything stops at this moment.
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

    /// Waits until it is so.
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

    /// The moment is there. If it is the one at which everything stops, nothing comes after it.
    pub async fn reaches(&self, moment: Moment) {
        self.note(|seen| seen.reached.push(moment));
        if self.stop_at == Some(moment) {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the moment is there at which everything stops.
    pub async fn stops(&self) {
        match self.stop_at {
            Some(moment) => self.until("stopped", |seen| seen.reached.contains(&moment)).await,
            None => std::future::pending().await,
        }
    }

    /// From now on the business takes what it is told.
    pub fn business_opens(&self) {
        *self.business_is_open.lock().unwrap() = true;
    }

    /// From now on Twilio refuses `complete` at once.
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
        // The same key opens the same session.
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
    let signature = Secrets::from(SECRET).sign(timestamp, body.as_bytes());
    if headers["x-crelay-signature"] != signature {
        return StatusCode::FORBIDDEN;
    }
    world.note(|seen| seen.told.push(serde_json::from_str(&body).unwrap()));
    StatusCode::OK
}
