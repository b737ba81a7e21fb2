//! Twilio's REST API as a load: payment sessions that take the caller's keys, and report each by a signed callback.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::post;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use url::Url;

use super::call::{ACCOUNT_SID, CallProbe, PUBLIC_URL, ProbeState, Probes};
use super::faults::CallerAct;
use super::measure::{Measurements, Span};
use super::outcomes::PaymentFacts;
use crate::simulator::card_samples::SeededRng;
use crate::simulator::load::{
    CallbackForm, CommonParameters, CreateForm, FormError, HttpFaultKind, PaymentResult, PaymentSession,
    PaymentSessionState, ReportTiming, ResultReport, UpdateForm, WebhookSender,
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

/// A card number with a wrong digit.
const MISTYPED: &str = "4242424242424241";

/// The length of the payment id with which an idempotency key begins.
const PAYMENT_ID_LENGTH: usize = 36;

/// A callback that overtakes others, or is overtaken, is late by less than so many milliseconds.
const SHUFFLED_MILLIS: usize = 30;

/// From the end of a call to a result that is reported only then.
const LATE_RESULT: Duration = Duration::from_millis(500);

/// A callback, and where to post it.
type Callback = (Url, CallbackForm);

/// The reply to a request that was carried out or refused, for its repetition.
#[derive(Debug, Clone)]
pub(super) struct RestReply {
    path: String,
    body: String,
    status: StatusCode,
    sid: String,
}

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
    public_url: Url,
    /// What goes on after a request was answered.
    tasks: TaskTracker,
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
        Ok(Self(Arc::new(Inner { probes, measured, webhooks, key_pause, public_url, tasks: TaskTracker::new() })))
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

    /// Posts a callback, as often and as late as the quirks of the call say.
    async fn report(&self, probe: &CallProbe, (url, form): Callback) {
        let quirks = &probe.faults.quirks;
        if let Some(seed) = quirks.shuffle_seed {
            let number = {
                let mut state = probe.lock();
                state.callbacks += 1;
                state.callbacks
            };
            let millis = SeededRng::for_case(seed, number).below(SHUFFLED_MILLIS);
            let (twilio, is_double) = (self.clone(), quirks.duplicate_callbacks);
            self.0.tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(millis as u64)).await;
                twilio.post(&url, &form, is_double).await;
            });
        } else {
            self.post(&url, &form, quirks.duplicate_callbacks).await;
        }
    }

    async fn post(&self, url: &Url, form: &CallbackForm, is_double: bool) {
        for _ in 0..=usize::from(is_double) {
            let began = Instant::now();
            let answered = self.0.webhooks.post(url, form, "callback").await;
            self.0.measured.record_since(Span::CallbackToAnswer, began);
            if answered.status != 204 {
                let (status, millis) = (answered.status, answered.elapsed.as_millis());
                self.0.measured.record_violation(format!("a callback was answered {status} after {millis} ms"));
            }
        }
    }

    /// The caller enters a field: a callback for each key, then one for the field.
    async fn enter(&self, probe: &CallProbe, field: CaptureField, pause: Duration) {
        let Some((_, keys)) = KEYS.iter().find(|(known, _)| *known == field) else { return };
        let is_mistyped = probe.faults.mistypes
            && field == CaptureField::CardNumber
            && !std::mem::replace(&mut probe.lock().has_mistyped, true);
        let keys = if is_mistyped { MISTYPED } else { keys };
        for (at, key) in keys.chars().chain(['#']).enumerate() {
            tokio::time::sleep(pause).await;
            if !self.press(probe, key).await {
                return;
            }
            if at > 0 {
                continue;
            }
            match probe.take_caller_act(PaymentsRequest::Capture(field)) {
                Some(CallerAct::PressStar) => {
                    return self.end(probe, PaymentResult::Other("caller-interrupted-with-star")).await;
                }
                Some(CallerAct::HangUp | CallerAct::AskToCancel) => return,
                Some(CallerAct::LoseSocket) | None => {}
            }
        }
    }

    /// The caller presses a key. Whether a payment session waits for more.
    pub(super) async fn press(&self, probe: &CallProbe, key: char) -> bool {
        let pressed = {
            let mut state = probe.lock();
            let pressed = state.payment.as_mut().and_then(|session| {
                let (form, entered) = session.press_key(key, &probe.faults.quirks)?;
                Some(((session.callback_url.clone(), form), entered.is_some()))
            });
            if let Some((_, true)) = &pressed {
                state.field_at = Some(Instant::now());
            }
            pressed
        };
        let Some((callback, is_complete)) = pressed else { return false };
        self.report(probe, callback).await;
        !is_complete
    }

    /// Ends the open payment session of a call with this result, unless it is submitted.
    async fn end(&self, probe: &CallProbe, result: PaymentResult) {
        let ended = {
            let mut state = probe.lock();
            let session = state.payment.as_mut().filter(|session| session.state != PaymentSessionState::Completing);
            let ended = session
                .and_then(|session| Some((session.callback_url.clone(), session.end(result, &probe.faults.quirks)?)));
            if let (Some(_), Some(facts)) = (&ended, state.payments.last_mut()) {
                facts.result = Some(result);
            }
            ended
        };
        if let Some(callback) = ended {
            self.report(probe, callback).await;
        }
    }

    /// The call has ended: Twilio ends an open payment session, and reports late results.
    pub(super) async fn end_call(&self, probe: &Arc<CallProbe>) {
        let late = {
            let mut state = probe.lock();
            state.is_over = true;
            state.payment.as_mut().map(|session| std::mem::take(&mut session.late_reports)).unwrap_or_default()
        };
        self.end(probe, PaymentResult::Other("caller-hung-up")).await;
        if late.is_empty() {
            return;
        }
        let (twilio, probe) = (self.clone(), probe.clone());
        self.0.tasks.spawn(async move {
            tokio::time::sleep(LATE_RESULT).await;
            for report in late {
                twilio.report_result(&probe, &report).await;
            }
        });
    }

    /// Waits until everything has been reported.
    pub(super) async fn finish(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Reports the result of a submission.
    async fn report_result(&self, probe: &CallProbe, report: &ResultReport) {
        let reported = {
            let mut state = probe.lock();
            let reported = state.payment.as_mut().and_then(|session| {
                Some((session.callback_url.clone(), session.report(report, &probe.faults.quirks)?))
            });
            if let (Some(_), Some(facts)) = (&reported, state.payments.last_mut()) {
                facts.result = Some(report.result);
            }
            reported
        };
        if let Some(callback) = reported {
            self.report(probe, callback).await;
        }
    }

    /// Handles a request: once for each idempotency key.
    async fn handle(&self, call: &str, sid: Option<&str>, body: String) -> Response {
        self.0.measured.count_request();
        let Some(probe) = self.find(call) else { return answer(StatusCode::NOT_FOUND, "") };
        let parsed = match sid {
            None => CreateForm::parse(&body, &self.0.public_url)
                .map(|form| (form.common.clone(), PaymentsRequest::Create, Some(form))),
            Some(_) => UpdateForm::parse(&body, &self.0.public_url).map(|form| (form.common, form.change, None)),
        };
        let (common, request, form) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return self.refuse(&error),
        };
        let fault = probe.next_http_fault(request);
        match fault {
            Some(HttpFaultKind::TooManyRequests) => return answer(StatusCode::TOO_MANY_REQUESTS, ""),
            Some(HttpFaultKind::ServerError) => {
                note_answer(&mut probe.lock(), request, sid, StatusCode::INTERNAL_SERVER_ERROR);
                return answer(StatusCode::INTERNAL_SERVER_ERROR, "");
            }
            _ => {}
        }
        let path = sid.unwrap_or_default();
        let (reply, callback, is_new) = {
            let mut state = probe.lock();
            if let Some(reply) = state.replies.get(&common.idempotency_key) {
                if reply.body != body || reply.path != path {
                    self.0.measured.record_violation("an idempotency key was used for two different requests");
                }
                (reply.clone(), None, false)
            } else {
                let (status, sid, callback) = match form {
                    Some(form) => self.create(&mut state, &probe, form),
                    None => self.update(&mut state, &probe, path, request, &common),
                };
                let reply = RestReply { path: path.to_owned(), body, status, sid };
                state.replies.insert(common.idempotency_key, reply.clone());
                (reply, callback, true)
            }
        };
        let mut callback = callback;
        if probe.faults.quirks.callback_first
            && let Some(callback) = callback.take()
        {
            self.report(&probe, callback).await;
        }
        if is_new && reply.status.is_success() {
            let (twilio, probe) = (self.clone(), probe.clone());
            self.0.tasks.spawn(async move { twilio.go_on(&probe, request, callback).await });
        }
        let began = Instant::now();
        let (status, delay) = match fault {
            Some(HttpFaultKind::ResponseLost | HttpFaultKind::NoResponse) => {
                (StatusCode::GATEWAY_TIMEOUT, RESPONSE_TIME)
            }
            Some(HttpFaultKind::Slow(seconds)) => (reply.status, Duration::from_secs(seconds)),
            _ => (reply.status, RESPONSE_TIME),
        };
        note_answer(&mut probe.lock(), request, sid, status);
        if fault == Some(HttpFaultKind::NoResponse) {
            std::future::pending::<()>().await;
        }
        // Twilio's time does not count as the program's.
        tokio::time::sleep(delay).await;
        probe.excuse(began.elapsed());
        answer(status, &reply.sid)
    }

    fn create(
        &self,
        state: &mut ProbeState,
        probe: &CallProbe,
        form: CreateForm,
    ) -> (StatusCode, String, Option<Callback>) {
        if state.is_over {
            return (StatusCode::NOT_FOUND, String::new(), None);
        }
        if state.payment.as_ref().is_some_and(|before| !before.has_ended()) {
            self.0
                .measured
                .record_violation(format!("a second payment was created while one is open, with {:?}", probe.faults));
            return (StatusCode::BAD_REQUEST, String::new(), None);
        }
        let sid = format!("PK{:024x}{:08x}", probe.number, state.payments.len());
        state.payments.push(PaymentFacts {
            id: form.common.idempotency_key.chars().take(PAYMENT_ID_LENGTH).collect(),
            sid: sid.clone(),
            submissions: 0,
            is_submission_unclear: false,
            result: None,
        });
        let mut session = PaymentSession::new(sid.clone(), ACCOUNT_SID, &probe.call_sid(), form);
        let callback = (session.callback_url.clone(), session.creation_callback(&probe.faults.quirks));
        state.payment = Some(session);
        (StatusCode::CREATED, sid, Some(callback))
    }

    fn update(
        &self,
        state: &mut ProbeState,
        probe: &CallProbe,
        sid: &str,
        request: PaymentsRequest,
        common: &CommonParameters,
    ) -> (StatusCode, String, Option<Callback>) {
        let accepted = |callback| (StatusCode::ACCEPTED, sid.to_owned(), callback);
        let refused = |status| (status, sid.to_owned(), None);
        let ProbeState { payment, payments, submissions, is_over, .. } = state;
        let Some(session) = payment.as_mut().filter(|session| session.sid == sid && !session.has_ended() && !*is_over)
        else {
            return refused(StatusCode::NOT_FOUND);
        };
        session.callback_url = common.status_callback.clone();
        match request {
            PaymentsRequest::Create => refused(StatusCode::BAD_REQUEST),
            PaymentsRequest::Capture(_) | PaymentsRequest::Complete
                if session.state == PaymentSessionState::Completing =>
            {
                self.0.measured.record_violation(format!("{request:?} after complete, with {:?}", probe.faults));
                refused(StatusCode::BAD_REQUEST)
            }
            PaymentsRequest::Capture(field) => {
                let form = session.start_capture(field, &probe.faults.quirks);
                accepted(Some((session.callback_url.clone(), form)))
            }
            PaymentsRequest::Complete if !session.required_fields().is_empty() => {
                self.0.measured.record_violation("complete was sent while fields are missing");
                refused(StatusCode::BAD_REQUEST)
            }
            PaymentsRequest::Complete => {
                let submission = probe.faults.quirks.next_submission(*submissions);
                *submissions += 1;
                session.late_reports = submission.reports;
                session.state = PaymentSessionState::Completing;
                if let Some(facts) = payments.last_mut() {
                    facts.submissions += 1;
                }
                accepted(None)
            }
            PaymentsRequest::Cancel => accepted(None),
        }
    }

    /// What follows a request that was carried out: its callback, and what the caller and the bank do.
    async fn go_on(&self, probe: &Arc<CallProbe>, request: PaymentsRequest, callback: Option<Callback>) {
        if let Some(callback) = callback {
            self.report(probe, callback).await;
        }
        match (request, self.0.key_pause) {
            (PaymentsRequest::Create, _) => {
                if probe.take_caller_act(request) == Some(CallerAct::PressStar) {
                    self.end(probe, PaymentResult::Other("caller-interrupted-with-star")).await;
                }
            }
            (PaymentsRequest::Capture(field), Some(pause)) => self.enter(probe, field, pause).await,
            (PaymentsRequest::Capture(_), None) => {}
            (PaymentsRequest::Complete, _) => {
                let reports = {
                    let mut state = probe.lock();
                    let late = state.payment.as_mut().map(|session| &mut session.late_reports);
                    let is_late = |report: &mut ResultReport| matches!(report.timing, ReportTiming::After(_));
                    late.map_or_else(Vec::new, |reports| reports.extract_if(.., is_late).collect())
                };
                probe.take_caller_act(request);
                for report in reports {
                    if let ReportTiming::After(delay) = report.timing {
                        tokio::time::sleep(delay).await;
                    }
                    self.report_result(probe, &report).await;
                }
            }
            (PaymentsRequest::Cancel, _) => {
                self.end(probe, PaymentResult::Other(probe.faults.quirks.cancel_result)).await;
            }
        }
    }
}

/// Remembers whether the server knows if `complete` was carried out: a server error leaves it open.
fn note_answer(state: &mut ProbeState, request: PaymentsRequest, sid: Option<&str>, status: StatusCode) {
    let facts = state.payments.iter_mut().find(|facts| Some(&*facts.sid) == sid);
    if let Some(facts) = facts.filter(|_| request == PaymentsRequest::Complete) {
        // A refusal of a repetition does not say what became of the first request.
        facts.is_submission_unclear = status.is_server_error() || facts.is_submission_unclear && !status.is_success();
    }
}

async fn create(State(twilio): State<LoadTwilio>, Path(call): Path<String>, body: String) -> Response {
    twilio.handle(&call, None, body).await
}

async fn update(
    State(twilio): State<LoadTwilio>,
    Path((call, file)): Path<(String, String)>,
    body: String,
) -> Response {
    twilio.handle(&call, Some(file.trim_end_matches(".json")), body).await
}

async fn unknown(State(twilio): State<LoadTwilio>, uri: axum::http::Uri) -> Response {
    twilio.0.measured.record_violation(format!("a request to Twilio for {}", uri.path()));
    answer(StatusCode::NOT_FOUND, "")
}

fn answer(status: StatusCode, sid: &str) -> Response {
    let body = if status.is_success() {
        json!({"sid": sid, "account_sid": ACCOUNT_SID, "date_created": "Sun, 30 Aug 2026 10:00:00 +0000"})
    } else {
        let code = match status {
            StatusCode::BAD_REQUEST => 64021,
            StatusCode::TOO_MANY_REQUESTS => 20429,
            status if status.is_server_error() => 20500,
            _ => 20404,
        };
        json!({"code": code, "message": "refused", "status": status.as_u16()})
    };
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use secrecy::SecretString;

    use super::super::call::AUTH_TOKEN;
    use super::super::faults::CallFaults;
    use super::*;
    use crate::simulator::load::HttpFault;
    use crate::simulator::proxy::Proxy;
    use crate::twilio::Signer;

    const SEED: u64 = 1;

    /// Twilio, and a call whose first request to create a payment fails in this way.
    fn twilio_that_fails(kind: HttpFaultKind) -> (LoadTwilio, Arc<CallProbe>) {
        let fails = |fault: HttpFault| (fault.request, fault.kind, fault.times) == (PaymentsRequest::Create, kind, 1);
        let number =
            (1..10_000).find(|number| CallFaults::draw(SEED, *number).quirks.http_fault.is_some_and(fails)).unwrap();
        let probes = Arc::new(Probes::new(false, Some(SEED)));
        let probe = (1..number).fold(probes.add(), |_, _| probes.add());
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        let nobody = Proxy::new(SocketAddr::from(([127, 0, 0, 1], 9)));
        let webhooks = WebhookSender::new(nobody, PUBLIC_URL.parse().unwrap(), signer).unwrap();
        (LoadTwilio::new(probes, Arc::default(), webhooks, None).unwrap(), probe)
    }

    fn create_body(amount: &str) -> String {
        format!(
            "IdempotencyKey=0b6b1c5e-0000-4000-8000-000000000001-create&StatusCallback={PUBLIC_URL}/a&ChargeAmount={amount}\
             &Description=0b6b1c5e-0000-4000-8000-000000000001"
        )
    }

    async fn create_twice(kind: HttpFaultKind, bodies: [&str; 2]) -> ([u16; 2], usize, usize) {
        let (twilio, probe) = twilio_that_fails(kind);
        let mut answers = [0; 2];
        for (answer, amount) in answers.iter_mut().zip(bodies) {
            *answer = twilio.handle(&probe.call_sid(), None, create_body(amount)).await.status().as_u16();
        }
        let (_, violations) = twilio.0.measured.violations();
        let reused = violations.iter().filter(|what| what.contains("two different requests")).count();
        let created = probe.lock().payments.len();
        (answers, created, reused)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_whose_answer_was_lost_acts_once_and_gets_the_answer_the_next_time() {
        assert_eq!(create_twice(HttpFaultKind::ResponseLost, ["25.00"; 2]).await, ([504, 201], 1, 0));
        assert_eq!(create_twice(HttpFaultKind::ServerError, ["25.00"; 2]).await, ([500, 201], 1, 0));
        assert_eq!(create_twice(HttpFaultKind::TooManyRequests, ["25.00"; 2]).await, ([429, 201], 1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn another_request_with_the_same_key_is_a_violation() {
        assert_eq!(create_twice(HttpFaultKind::ResponseLost, ["25.00", "26.00"]).await, ([504, 201], 1, 1));
    }
}
