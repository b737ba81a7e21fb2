//! Twilio's REST API as a load: payment sessions that take the caller's keys, and report each by a signed callback.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::post;
use serde_json::json;
use url::Url;

use super::call::{ACCOUNT_SID, CallProbe, PUBLIC_URL, Probes};
use super::measure::{Measurements, Span};
use crate::simulator::load::{
    CallbackForm, CreateForm, FormError, PaymentResult, PaymentSession, Quirks, UpdateForm, WebhookSender,
};
use crate::simulator::{CaptureField, PaymentsRequest};

/// How long Twilio takes to answer a request.
const RESPONSE_TIME: Duration = Duration::from_millis(50);

/// The card that every caller enters.
const KEYS: &[(CaptureField, &str)] = &[
    (CaptureField::CardNumber, "4242424242424242"),
    (CaptureField::SecurityCode, "123"),
    (CaptureField::ExpirationDate, "1229"),
    (CaptureField::PostalCode, "90210"),
];

/// The stand-in.
#[derive(Debug, Clone)]
pub(super) struct LoadTwilio(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    probes: Arc<Probes>,
    measured: Arc<Measurements>,
    webhooks: WebhookSender,
    /// Between two keys of a caller. `None`: nobody presses a key.
    key_pause: Option<Duration>,
    quirks: Quirks,
    public_url: Url,
}

impl LoadTwilio {
    /// Creates the API. Callers press a key each `key_pause`.
    pub(super) fn new(
        probes: Arc<Probes>,
        measured: Arc<Measurements>,
        webhooks: WebhookSender,
        key_pause: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let public_url = PUBLIC_URL.parse()?;
        Ok(Self(Arc::new(Inner { probes, measured, webhooks, key_pause, quirks: Quirks::default(), public_url })))
    }

    /// Builds the router.
    pub(super) fn router(self) -> Router {
        let path = format!("/2010-04-01/Accounts/{ACCOUNT_SID}/Calls/{{call}}");
        Router::new()
            .route(&format!("{path}/Payments.json"), post(create))
            .route(&format!("{path}/Payments/{{payment}}"), post(update))
            .fallback(unknown)
            .with_state(self)
    }

    fn find(&self, call: &str) -> Option<Arc<CallProbe>> {
        self.0.probes.find(usize::from_str_radix(call.strip_prefix("CA")?, 16).ok()?)
    }

    fn refuse(&self, error: &FormError) -> Response {
        self.0.measured.record_violation(format!("a request to Payments: {}", error.message));
        answer(StatusCode::BAD_REQUEST, "")
    }

    /// Posts a callback.
    pub(super) async fn report(&self, url: &Url, form: &CallbackForm) {
        let began = Instant::now();
        let answered = self.0.webhooks.post(url, form, "callback").await;
        self.0.measured.record_since(Span::CallbackToAnswer, began);
        if answered.status != 204 {
            self.0.measured.record_violation(format!("a callback was answered {}", answered.status));
        }
    }

    /// The caller enters a field: a callback for each key, then one for the field.
    async fn enter(&self, probe: &CallProbe, field: CaptureField, pause: Duration) {
        let Some((_, keys)) = KEYS.iter().find(|(known, _)| *known == field) else { return };
        for key in keys.chars().chain(['#']) {
            tokio::time::sleep(pause).await;
            if !self.press(probe, key).await {
                return;
            }
        }
    }

    /// The caller presses a key. Whether a payment session waits for more.
    pub(super) async fn press(&self, probe: &CallProbe, key: char) -> bool {
        let pressed = {
            let mut state = probe.lock();
            let pressed = state.payment.as_mut().and_then(|session| {
                let (form, entered) = session.press_key(key, &self.0.quirks)?;
                Some((session.callback_url.clone(), form, entered.is_some()))
            });
            if let Some((.., true)) = &pressed {
                state.field_at = Some(Instant::now());
            }
            pressed
        };
        let Some((url, form, is_complete)) = pressed else { return false };
        self.report(&url, &form).await;
        !is_complete
    }

    /// Ends the payment session of a call with this result.
    async fn end(&self, probe: &CallProbe, result: PaymentResult, word: &'static str) {
        let ended = {
            let mut state = probe.lock();
            let ended = state
                .payment
                .as_mut()
                .and_then(|session| Some((session.callback_url.clone(), session.end(result, &self.0.quirks)?)));
            if ended.is_some() {
                state.results.push(word);
            }
            ended
        };
        if let Some((url, form)) = ended {
            self.report(&url, &form).await;
        }
    }
}

async fn create(State(twilio): State<LoadTwilio>, Path(call): Path<String>, body: String) -> Response {
    twilio.0.measured.count_request();
    let Some(probe) = twilio.find(&call) else { return answer(StatusCode::NOT_FOUND, "") };
    let form = match CreateForm::parse(&body, &twilio.0.public_url) {
        Ok(form) => form,
        Err(error) => return twilio.refuse(&error),
    };
    let sid = format!("PK{:032x}", probe.number);
    let mut session = PaymentSession::new(sid.clone(), ACCOUNT_SID, &call, form);
    let (url, callback) = (session.callback_url.clone(), session.creation_callback(&twilio.0.quirks));
    if probe.lock().payment.replace(session).is_some_and(|before| !before.has_ended()) {
        twilio.0.measured.record_violation("a second payment was created while one is open");
    }
    let later = twilio.clone();
    tokio::spawn(async move { later.report(&url, &callback).await });
    twilio.respond(&probe, StatusCode::CREATED, &sid).await
}

async fn update(
    State(twilio): State<LoadTwilio>,
    Path((call, file)): Path<(String, String)>,
    body: String,
) -> Response {
    twilio.0.measured.count_request();
    let Some(probe) = twilio.find(&call) else { return answer(StatusCode::NOT_FOUND, "") };
    let form = match UpdateForm::parse(&body, &twilio.0.public_url) {
        Ok(form) => form,
        Err(error) => return twilio.refuse(&error),
    };
    let sid = file.trim_end_matches(".json").to_owned();
    {
        let mut state = probe.lock();
        let Some(session) = state.payment.as_mut().filter(|session| session.sid == sid && !session.has_ended()) else {
            return answer(StatusCode::NOT_FOUND, &sid);
        };
        session.callback_url = form.common.status_callback;
    }
    match form.change {
        PaymentsRequest::Create => return answer(StatusCode::BAD_REQUEST, &sid),
        PaymentsRequest::Capture(field) => {
            let started = probe
                .lock()
                .payment
                .as_mut()
                .map(|session| (session.callback_url.clone(), session.start_capture(field, &twilio.0.quirks)));
            let (later, caller) = (twilio.clone(), probe.clone());
            tokio::spawn(async move {
                if let Some((url, form)) = started {
                    later.report(&url, &form).await;
                }
                if let Some(pause) = later.0.key_pause {
                    later.enter(&caller, field, pause).await;
                }
            });
        }
        PaymentsRequest::Complete => {
            let (later, caller) = (twilio.clone(), probe.clone());
            tokio::spawn(async move {
                tokio::time::sleep(RESPONSE_TIME * 2).await;
                later.end(&caller, PaymentResult::Success, "success").await;
            });
        }
        PaymentsRequest::Cancel => {
            let (later, caller) = (twilio.clone(), probe.clone());
            tokio::spawn(
                async move { later.end(&caller, PaymentResult::Other("payment-cancelled"), "cancelled").await },
            );
        }
    }
    twilio.respond(&probe, StatusCode::ACCEPTED, &sid).await
}

async fn unknown(State(twilio): State<LoadTwilio>, uri: axum::http::Uri) -> Response {
    twilio.0.measured.record_violation(format!("a request to Twilio for {}", uri.path()));
    answer(StatusCode::NOT_FOUND, "")
}

impl LoadTwilio {
    /// Responds after Twilio's time, which does not count as the program's.
    async fn respond(&self, probe: &CallProbe, status: StatusCode, sid: &str) -> Response {
        let began = Instant::now();
        tokio::time::sleep(RESPONSE_TIME).await;
        probe.excuse(began.elapsed());
        answer(status, sid)
    }
}

fn answer(status: StatusCode, sid: &str) -> Response {
    let body = if status.is_success() {
        json!({"sid": sid, "account_sid": ACCOUNT_SID, "date_created": "Sun, 30 Aug 2026 10:00:00 +0000"})
    } else {
        json!({"code": 20404, "message": "refused", "status": status.as_u16()})
    };
    (status, Json(body)).into_response()
}
