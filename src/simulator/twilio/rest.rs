//! The routes of Twilio's REST API for Payments, with authentication, idempotency and HTTP failures.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;

use super::form::{CommonParameters, CreateForm, FormError, UpdateForm};
use super::payment_session::{CallbackForm, PaymentSession, PaymentSessionState as Doing};
use super::quirks::{PaymentResult, ReportTiming};
use super::{HttpFaultKind, PaymentsRequest, ScriptedTwilio, TwilioState, lock};
use crate::simulator::transcript::TranscriptEvent;

/// A completed request, kept to answer repetitions with the same idempotency key.
#[derive(Debug, Clone)]
pub(super) struct CompletedRequest {
    path: String,
    body: String,
    request: PaymentsRequest,
    reply: RestReply,
}

#[derive(Debug, Clone)]
struct RestReply {
    status: u16,
    sid: String,
    /// Twilio's error code.
    code: Option<u32>,
}

/// The callback that a request causes: URL, form and description.
type PendingCallback = Option<(url::Url, CallbackForm, String)>;

/// `POST …/Payments.json`
pub(super) async fn handle_create(
    State(twilio): State<ScriptedTwilio>,
    Path((account, call)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    twilio.for_call(&call).unwrap_or(twilio).serve(&account, &call, None, &uri, &headers, body).await
}

/// `POST …/Payments/{payment}.json`
pub(super) async fn handle_update(
    State(twilio): State<ScriptedTwilio>,
    Path((account, call, payment)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let Some(payment) = payment.strip_suffix(".json") else {
        return reject_unknown_route(State(twilio), Method::POST, uri, Bytes::new()).await;
    };
    twilio.for_call(&call).unwrap_or(twilio).serve(&account, &call, Some(payment), &uri, &headers, body).await
}

/// Every other request.
pub(super) async fn reject_unknown_route(
    State(twilio): State<ScriptedTwilio>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    if method == Method::HEAD || uri.path() == "/" {
        // The server opens a connection in advance.
        return error_response(404, 20404);
    }
    twilio.transcript.record_evidence("a request to Twilio", String::from_utf8_lossy(&body));
    twilio
        .transcript
        .record_violation(format!("Twilio got {method} {}, which the simulator does not support", uri.path()));
    error_response(404, 20404)
}

impl ScriptedTwilio {
    async fn serve(
        &self,
        account: &str,
        call: &str,
        payment: Option<&str>,
        uri: &Uri,
        headers: &HeaderMap,
        body: String,
    ) -> Response {
        self.transcript.record_evidence("a request to Twilio", format!("{uri}\n{body}"));
        if let Some(refused) = self.check_request(account, call, headers) {
            return refused;
        }
        let read = match payment {
            None => CreateForm::parse(&body, &self.shared.public_url)
                .map(|create| (create.common.clone(), PaymentsRequest::Create, Some(create))),
            Some(_) => {
                UpdateForm::parse(&body, &self.shared.public_url).map(|update| (update.common, update.change, None))
            }
        };
        let (common, request, create) = match read {
            Ok(read) => read,
            Err(FormError { code, message: what }) => {
                self.transcript.record_violation(format!("a request to Payments: {what}"));
                return error_response(400, code);
            }
        };
        let server = named_server(&common.status_callback);
        let mishap = self.next_http_fault(request);
        if let Some(how @ (HttpFaultKind::ServerError | HttpFaultKind::TooManyRequests)) = mishap {
            let status = if how == HttpFaultKind::ServerError { 500 } else { 429 };
            self.record_request(request, status, "nothing was done", server);
            return error_response(status, if how == HttpFaultKind::ServerError { 20500 } else { 20429 });
        }
        if let Some(done) = self.find_replay(&common.idempotency_key, uri, &body) {
            self.record_request(done.request, done.reply.status, "again, with the same key: done once", server);
            return reply_response(self, call, &done.reply);
        }
        let (reply, telling) = match (create, payment) {
            (Some(create), _) => self.create_payment(create),
            (None, sid) => self.update_payment(sid.unwrap_or_default(), &common, request),
        };
        let done = CompletedRequest { path: uri.path().to_owned(), body, request, reply: reply.clone() };
        lock(&self.shared.state).replies_by_key.insert(common.idempotency_key, done);
        self.deliver_pending_callback(telling).await;
        self.send_reply(request, server, call, &reply, mishap).await
    }

    /// Delivers the callback of a request, before the response or 60 ms of simulated time later.
    async fn deliver_pending_callback(&self, telling: PendingCallback) {
        match telling {
            Some((url, form, what)) if self.shared.quirks.callback_first => {
                self.send_callback_and_wait(url, form, what).await;
            }
            Some((url, form, what)) => {
                let twilio = self.clone();
                tokio::spawn(async move {
                    twilio.shared.pace.sleep(Duration::from_millis(60)).await;
                    twilio.send_callback(url, form, what, None);
                });
            }
            None => {}
        }
    }

    async fn send_reply(
        &self,
        request: PaymentsRequest,
        server: Option<String>,
        call: &str,
        reply: &RestReply,
        mishap: Option<HttpFaultKind>,
    ) -> Response {
        match mishap {
            Some(HttpFaultKind::ResponseLost) => {
                self.record_request(request, 504, "done, but the answer was lost", server);
                return error_response(504, 20504);
            }
            Some(HttpFaultKind::NoResponse) => {
                self.record_request(request, 0, "done, but never answered", server);
                return std::future::pending().await;
            }
            Some(HttpFaultKind::Slow(seconds)) => self.shared.pace.sleep(Duration::from_secs(seconds)).await,
            _ => self.shared.pace.sleep(Duration::from_millis(120)).await,
        }
        let note = reply.code.map(|code| format!("error {code}")).unwrap_or_default();
        self.record_request(request, reply.status, &note, server);
        reply_response(self, call, reply)
    }

    fn record_request(&self, request: PaymentsRequest, status: u16, note: &str, server: Option<String>) {
        self.transcript.record(TranscriptEvent::PaymentsRequested { request, status, note: note.to_owned(), server });
    }

    pub(super) fn check_request(&self, account: &str, call: &str, headers: &HeaderMap) -> Option<Response> {
        let known = &self.shared.account;
        let wanted = known.authorization();
        let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let violation = |what: &str, status, code| {
            self.transcript.record_violation(format!("a request to Twilio: {what}"));
            Some(error_response(status, code))
        };
        if text(header::AUTHORIZATION) != Some(&wanted) {
            return violation("wrong credentials", 401, 20003);
        }
        if account != known.sid || call != self.call_sid() {
            return violation("another account or call", 404, 20404);
        }
        if !text(header::CONTENT_TYPE).is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
            return violation("the body is not a form", 400, 20001);
        }
        None
    }

    fn next_http_fault(&self, request: PaymentsRequest) -> Option<HttpFaultKind> {
        let trouble = self.shared.quirks.http_fault.filter(|trouble| trouble.request == request)?;
        let mut state = lock(&self.shared.state);
        state.fault_count += 1;
        (state.fault_count <= trouble.times).then_some(trouble.kind)
    }

    /// Returns the completed request with this idempotency key. Another path or body with the same key is a violation.
    fn find_replay(&self, key: &str, uri: &Uri, body: &str) -> Option<CompletedRequest> {
        let done = lock(&self.shared.state).replies_by_key.get(key).cloned()?;
        if done.path != uri.path() || done.body != body {
            self.transcript.record_violation("an idempotency key was used for two different requests");
        }
        Some(done)
    }

    fn create_payment(&self, create: CreateForm) -> (RestReply, PendingCallback) {
        let refusal = self.shared.quirks.refusal.filter(|refusal| refusal.request == PaymentsRequest::Create);
        let mut state = lock(&self.shared.state);
        let call = self.call_sid();
        if !state.live_calls.contains(&self.transcript.call_number()) {
            return (RestReply::refused(21220), None);
        }
        if state.sessions.iter().any(|session| session.call_sid() == call && session.state != Doing::Ended) {
            self.transcript.record_violation("a second payment was created while one is open");
            return (RestReply::refused(64021), None);
        }
        if let Some(refusal) = refusal.filter(|refusal| !refusal.by_callback) {
            return (RestReply::refused(refusal.code), None);
        }
        let sid = format!("PK{:032x}", 0xabc0 + state.sessions.len());
        let charge = create.charge_amount.clone();
        let how = create.describe_method();
        let mut session = PaymentSession::new(sid.clone(), &self.shared.account.sid, &call, create);
        let told = (
            session.callback_url.clone(),
            session.creation_callback(&self.shared.quirks),
            "the session is open".to_owned(),
        );
        state.sessions.push(session);
        drop(state);
        self.transcript.record(TranscriptEvent::PaymentCreated { charge, how });
        if let Some(refusal) = refusal {
            let (twilio, sid) = (self.clone(), sid.clone());
            tokio::spawn(async move {
                twilio.shared.pace.sleep(Duration::from_millis(400)).await;
                twilio.end_session(&sid, PaymentResult::Declined(refusal.code));
            });
        }
        (RestReply { status: 201, sid, code: None }, Some(told))
    }

    fn update_payment(
        &self,
        sid: &str,
        common: &CommonParameters,
        request: PaymentsRequest,
    ) -> (RestReply, PendingCallback) {
        let quirks = &self.shared.quirks;
        let mut state = lock(&self.shared.state);
        let call_up = state.live_calls.contains(&self.transcript.call_number());
        let TwilioState { sessions, submission_count: submitted, .. } = &mut *state;
        let Some(session) = sessions.iter_mut().find(|session| session.sid == sid) else {
            self.transcript.record_violation(format!("an update of the payment {sid}, which does not exist"));
            return (RestReply { status: 404, sid: String::new(), code: Some(20404) }, None);
        };
        // Not a violation: the star key or a hang-up may cross the request.
        if session.state == Doing::Ended || !call_up {
            return (RestReply { status: 404, sid: sid.to_owned(), code: Some(20404) }, None);
        }
        if let Some(refusal) = quirks.refusal.filter(|refusal| refusal.request == request && !refusal.by_callback) {
            return (RestReply::refused(refusal.code), None);
        }
        session.callback_url = common.status_callback.clone();
        let accepted = RestReply { status: 202, sid: sid.to_owned(), code: None };
        match request {
            PaymentsRequest::Create => (RestReply::refused(64020), None),
            PaymentsRequest::Capture(field) => {
                if session.state == Doing::Completing {
                    self.transcript.record_violation("a field was captured after complete");
                    return (RestReply::refused(64021), None);
                }
                let misplaced = field.matched_field().is_some_and(|first| session.entered_value(first).is_none());
                if misplaced || !session.request.required_fields.contains(&field) {
                    self.transcript.record_violation(format!(
                        "the {} was captured, which this session does not allow now",
                        field.label()
                    ));
                    return (RestReply::refused(64020), None);
                }
                let form = session.start_capture(field, quirks);
                (accepted, Some((session.callback_url.clone(), form, format!("waiting for the {}", field.label()))))
            }
            PaymentsRequest::Complete => {
                let required = session.required_fields();
                if !required.is_empty() {
                    self.transcript
                        .record_violation(format!("complete was sent while {} fields are missing", required.len()));
                    return (RestReply::refused(64019), None);
                }
                if session.state == Doing::Completing {
                    self.transcript.record_violation("complete was sent a second time, with another key");
                    return (RestReply::refused(64021), None);
                }
                session.state = Doing::Completing;
                let charge = session.request.charge_amount.clone();
                let submission = quirks.next_submission(*submitted);
                *submitted += 1;
                session.late_reports = submission
                    .reports
                    .iter()
                    .filter(|report| report.timing == ReportTiming::AfterCallsEnd)
                    .copied()
                    .collect();
                drop(state);
                self.settle_submission(sid.to_owned(), charge, submission);
                (accepted, None)
            }
            PaymentsRequest::Cancel => {
                drop(state);
                let (twilio, sid) = (self.clone(), sid.to_owned());
                tokio::spawn(async move {
                    twilio.shared.pace.sleep(Duration::from_millis(200)).await;
                    twilio.end_session(&sid, PaymentResult::Other(twilio.shared.quirks.cancel_result));
                });
                (accepted, None)
            }
        }
    }
}

/// The name of the server in a URL with `/at/NAME/…`.
fn named_server(url: &url::Url) -> Option<String> {
    let (name, _) = url.path().strip_prefix("/at/")?.split_once('/')?;
    Some(name.to_owned())
}

impl RestReply {
    fn refused(code: u32) -> Self {
        Self { status: 400, sid: String::new(), code: Some(code) }
    }
}

fn reply_response(twilio: &ScriptedTwilio, call: &str, reply: &RestReply) -> Response {
    if let Some(code) = reply.code {
        return error_response(reply.status, code);
    }
    let account = &twilio.shared.account.sid;
    let body = json!({
        "account_sid": account,
        "call_sid": call,
        "sid": reply.sid,
        "date_created": "Sun, 30 Aug 2026 10:00:00 +0000",
        "date_updated": "Sun, 30 Aug 2026 10:00:00 +0000",
        "uri": format!("/2010-04-01/Accounts/{account}/Calls/{call}/Payments/{}.json", reply.sid),
    });
    (status_code(reply.status), [("Twilio-Request-Id", "RQ00000000000000000000000000000001")], Json(body))
        .into_response()
}

pub(super) fn error_response(http: u16, code: u32) -> Response {
    let body = json!({
        "code": code,
        "message": "refused by the simulator",
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": http,
    });
    (status_code(http), Json(body)).into_response()
}

fn status_code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
