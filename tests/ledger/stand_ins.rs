//! Twilio and the business, which can stop at a checkpoint of a payment call.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use crelay_payments::signing::SigningSecrets;
use crelay_payments::simulator::{PaymentsRequest, RecordingTwilio, TwilioRefusal, TwilioRequest, TwilioRequestKind};
use serde_json::Value;
use tokio::sync::watch;

use super::server::{BASE_URL, twilio_options};

/// What is captured, in order.
pub(crate) const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];

pub(crate) const SECRET: &str = "a-webhook-secret-of-the-tests";
const PATIENCE: Duration = Duration::from_secs(40);

/// The checkpoints of a payment call, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Checkpoint {
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
    /// Twilio has received the request for a text message and has not responded.
    MessageReceived,
}

/// The requests that Twilio and the business received.
#[derive(Debug, Default)]
pub(crate) struct ReceivedRequests {
    /// The requests to Twilio: payment SID, change and idempotency key.
    pub twilio_requests: Vec<(String, String, String)>,
    /// The text messages: to whom, and the text.
    pub messages: Vec<(String, String)>,
    /// The path of the status callback of the newest one.
    pub callback_path: Option<String>,
    /// The webhook events with a valid signature.
    pub events: Vec<Value>,
    pub reached: Vec<Checkpoint>,
}

/// The stand-ins. Clones share their state.
#[derive(Clone)]
pub(crate) struct StandIns {
    pub origin: String,
    twilio: RecordingTwilio,
    log: CheckpointLog,
}

/// What the stand-ins received, and where they stop.
#[derive(Clone)]
pub(crate) struct CheckpointLog {
    received: Arc<Mutex<ReceivedRequests>>,
    changed: watch::Sender<u64>,
    stop_at: Option<Checkpoint>,
    accepts_events: Arc<Mutex<bool>>,
}

impl StandIns {
    /// Starts stand-ins that stop at this checkpoint.
    pub(crate) async fn start(stop_at: Option<Checkpoint>) -> Self {
        let log = CheckpointLog {
            received: Arc::default(),
            changed: watch::Sender::new(0),
            stop_at,
            accepts_events: Arc::default(),
        };
        let gate = log.clone();
        let options = twilio_options()
            .gated_by(move |request| {
                let log = gate.clone();
                Box::pin(async move { log.receive(request).await })
            })
            .with_routes(Router::new().route("/business", post(business)).with_state(log.clone()));
        let twilio = RecordingTwilio::start(options).await.unwrap();
        Self { origin: twilio.origin().to_owned(), twilio, log }
    }

    /// From now on Twilio refuses `complete` with this error code.
    pub(crate) fn refuse_completion(&self, code: Option<u32>) {
        let request = TwilioRequestKind::Payments(PaymentsRequest::Complete);
        self.twilio.set_refusal(code.map(|code| TwilioRefusal { request, status: 400, code }));
    }
}

impl Deref for StandIns {
    type Target = CheckpointLog;

    fn deref(&self) -> &CheckpointLog {
        &self.log
    }
}

impl CheckpointLog {
    pub(crate) fn received<T>(&self, look: impl FnOnce(&ReceivedRequests) -> T) -> T {
        look(&self.received.lock().unwrap())
    }

    fn record<T>(&self, change: impl FnOnce(&mut ReceivedRequests) -> T) -> T {
        let noted = change(&mut self.received.lock().unwrap());
        self.changed.send_modify(|count| *count += 1);
        noted
    }

    /// Waits until the predicate holds. `what` names it in the panic message.
    pub(crate) async fn wait_until(&self, what: &str, is_so: impl Fn(&ReceivedRequests) -> bool) {
        let mut changed = self.changed.subscribe();
        let waits = changed.wait_for(|_| self.received(&is_so));
        drop(
            tokio::time::timeout(PATIENCE, waits)
                .await
                .unwrap_or_else(|_| panic!("not {what}: {:?}", self.received))
                .unwrap(),
        );
    }

    /// Records that a checkpoint is reached. Never returns if it is the one at which to stop, the first time.
    pub(crate) async fn reach(&self, checkpoint: Checkpoint) {
        let is_first = self.record(|received| {
            received.reached.push(checkpoint);
            received.reached.iter().filter(|reached| **reached == checkpoint).count() == 1
        });
        if self.stop_at == Some(checkpoint) && is_first {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the checkpoint at which to stop is reached.
    pub(crate) async fn wait_for_stop(&self) {
        match self.stop_at {
            Some(checkpoint) => self.wait_until("stopped", |received| received.reached.contains(&checkpoint)).await,
            None => std::future::pending().await,
        }
    }

    /// From now on the business accepts events.
    pub(crate) fn accept_events(&self) {
        *self.accepts_events.lock().unwrap() = true;
    }

    /// Records a request to Twilio, and reaches its checkpoint.
    async fn receive(&self, request: TwilioRequest) {
        let change = match request.kind {
            TwilioRequestKind::Payments(change) => change,
            TwilioRequestKind::Message => {
                let message = (request.field("To").unwrap().to_owned(), request.field("Body").unwrap().to_owned());
                self.record(|received| received.messages.push(message));
                return self.reach(Checkpoint::MessageReceived).await;
            }
            TwilioRequestKind::Call => return,
        };
        let callback = request.field("StatusCallback").unwrap().strip_prefix(BASE_URL).unwrap().to_owned();
        let (what, key) = (change.parameter().to_owned(), request.field("IdempotencyKey").unwrap().to_owned());
        let is_first = self.record(|received| {
            received.callback_path = Some(callback);
            received.twilio_requests.push((request.sid, what.clone(), key.clone()));
            received.twilio_requests.iter().filter(|(.., other)| *other == key).count() == 1
        });
        match FIELDS.iter().position(|field| *field == what) {
            Some(field) => self.reach(Checkpoint::CaptureReceived(field)).await,
            None if what == "complete" => self.reach(Checkpoint::CompleteReceived).await,
            None if what == "create" && is_first => self.reach(Checkpoint::CreateReceived).await,
            None => {}
        }
    }

    /// Where Twilio reports, as the newest request says.
    pub(crate) fn callback_path(&self) -> String {
        self.received(|received| received.callback_path.clone().unwrap())
    }

    /// The keys of all requests to Twilio.
    pub(crate) fn all_keys(&self) -> BTreeSet<String> {
        self.received(|received| received.twilio_requests.iter().map(|(.., key)| key.clone()).collect())
    }

    pub(crate) fn keys_of(&self, what: &str) -> Vec<String> {
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

async fn business(State(log): State<CheckpointLog>, headers: HeaderMap, body: String) -> StatusCode {
    if !*log.accepts_events.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let timestamp = headers["x-crelay-timestamp"].to_str().unwrap().parse().unwrap();
    let signature = SigningSecrets::from(SECRET).sign(timestamp, body.as_bytes());
    if headers["x-crelay-signature"] != signature {
        return StatusCode::FORBIDDEN;
    }
    log.record(|received| received.events.push(serde_json::from_str(&body).unwrap()));
    StatusCode::OK
}
