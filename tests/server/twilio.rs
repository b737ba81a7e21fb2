//! A strict stand-in for Twilio's Calls API over real HTTP. Of the Payments API it supports the creation of a payment
//! only.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;

const FIELDS: &[&str] = &["To", "From", "Twiml", "Url", "StatusCallback", "StatusCallbackEvent"];

/// The form fields of a request.
pub type Form = Vec<(String, String)>;

/// Twilio, which places calls with the SIDs `CA1`, `CA2` and so on.
#[derive(Clone, Default)]
pub struct Twilio {
    pub origin: String,
    placed: Arc<Mutex<Vec<OutboundCall>>>,
    /// The forms of the requests that create payments.
    payments: Arc<Mutex<Vec<Form>>>,
    /// If set, every call is refused with this status and error code.
    refusal: Arc<Mutex<Option<(u16, u32)>>>,
}

/// An outbound call.
#[derive(Clone, Debug)]
pub struct OutboundCall {
    pub to: String,
    pub twiml: Option<String>,
    pub url: Option<String>,
}

impl Twilio {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let twilio = Self { origin: format!("http://{}", listener.local_addr().unwrap()), ..Self::default() };
        let router = Router::new()
            .route("/2010-04-01/Accounts/AC1/Calls.json", post(create_call))
            .route("/2010-04-01/Accounts/AC1/Calls/{call}/Payments.json", post(create_payment))
            .with_state(twilio.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        twilio
    }

    pub fn outbound_calls(&self) -> Vec<OutboundCall> {
        self.placed.lock().unwrap().clone()
    }

    pub fn payments(&self) -> Vec<Form> {
        self.payments.lock().unwrap().clone()
    }

    pub fn set_refusal(&self, with: Option<(u16, u32)>) {
        *self.refusal.lock().unwrap() = with;
    }
}

async fn create_payment(State(twilio): State<Twilio>, body: String) -> (StatusCode, &'static str) {
    twilio.payments.lock().unwrap().push(url::form_urlencoded::parse(body.as_bytes()).into_owned().collect());
    (StatusCode::CREATED, r#"{"sid":"PK1"}"#)
}

async fn create_call(State(twilio): State<Twilio>, headers: HeaderMap, body: String) -> Response {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let all = |name: &str| form.iter().filter(|(key, _)| key == name).map(|(_, it)| it.clone()).collect::<Vec<_>>();
    let one = |name: &str| all(name).first().cloned();
    let refuse = |status: u16, code: u32| {
        let body = format!(r#"{{"code":{code},"message":"refused","status":{status}}}"#);
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    };
    // The credentials AC1:12345 in base64.
    if headers.get("authorization").is_none_or(|value| value != "Basic QUMxOjEyMzQ1") {
        return refuse(401, 20003);
    }
    if let Some((status, code)) = *twilio.refusal.lock().unwrap() {
        return refuse(status, code);
    }
    let known = form.iter().all(|(name, _)| FIELDS.contains(&name.as_str()));
    let single = FIELDS.iter().filter(|name| **name != "StatusCallbackEvent").all(|name| all(name).len() <= 1);
    let (twiml, url) = (one("Twiml"), one("Url"));
    let document = match (&twiml, &url) {
        (Some(twiml), None) => twiml.chars().count() <= 4000,
        (None, Some(url)) => url.starts_with("https://"),
        _ => false,
    };
    let events = ["initiated", "ringing", "answered", "completed"];
    let reported = one("StatusCallback").as_deref() == Some("https://pay.example.com/twilioStatusCallback")
        && all("StatusCallbackEvent") == events;
    let from = one("From").as_deref() == Some("+15550100002");
    let (Some(to), true) = (one("To"), known && single && document && reported && from) else {
        return refuse(400, 20001);
    };
    let mut placed = twilio.placed.lock().unwrap();
    placed.push(OutboundCall { to, twiml, url });
    let body = format!(r#"{{"sid":"CA{}","status":"queued","direction":"outbound-api","price":null}}"#, placed.len());
    (StatusCode::CREATED, body).into_response()
}
