//! The routes of Twilio's REST API: those of Payments, with authentication, idempotency and the ways in which HTTP can fail.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::form::{Common, Create, Update, Wrong};
use super::quirks::{Ending, When};
use super::session::{Callback, Session, State as Doing};
use super::{Mishap, Payments, Request, Twilio, calls, lock};
use crate::simulator::tape::Event;

/// What a request was answered, kept for its replays.
#[derive(Debug, Clone)]
pub struct Done {
    path: String,
    body: String,
    request: Request,
    reply: Reply,
}

#[derive(Debug, Clone)]
struct Reply {
    status: u16,
    sid: String,
    /// Twilio's error code.
    code: Option<u32>,
}

/// A callback that a request leads to, and where it goes.
type Telling = Option<(url::Url, Callback, String)>;

/// The API as a router; everything else is a violation.
pub fn router(twilio: Twilio) -> Router {
    Router::new()
        .route("/2010-04-01/Accounts/{account}/Calls.json", post(calls::create))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}/Payments.json", post(create))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}/Payments/{payment}", post(update))
        .fallback(nothing_there)
        .with_state(twilio)
}

async fn create(
    State(twilio): State<Twilio>,
    Path((account, call)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    twilio.on(&call).unwrap_or(twilio).serve(&account, &call, None, &uri, &headers, body).await
}

async fn update(
    State(twilio): State<Twilio>,
    Path((account, call, payment)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let Some(payment) = payment.strip_suffix(".json") else {
        return nothing_there(State(twilio), Method::POST, uri, Bytes::new()).await;
    };
    twilio.on(&call).unwrap_or(twilio).serve(&account, &call, Some(payment), &uri, &headers, body).await
}

async fn nothing_there(State(twilio): State<Twilio>, method: Method, uri: Uri, body: Bytes) -> Response {
    if method == Method::HEAD || uri.path() == "/" {
        // Somebody warms up a connection.
        return refuse(404, 20404);
    }
    twilio.tape.keep("a request to Twilio", String::from_utf8_lossy(&body));
    twilio.tape.violation(format!("Twilio was asked for {method} {}, which is not played here", uri.path()));
    refuse(404, 20404)
}

impl Twilio {
    async fn serve(
        &self,
        account: &str,
        call: &str,
        payment: Option<&str>,
        uri: &Uri,
        headers: &HeaderMap,
        body: String,
    ) -> Response {
        self.tape.keep("a request to Twilio", format!("{uri}\n{body}"));
        if let Some(refused) = self.refuse_stranger(account, call, headers) {
            return refused;
        }
        let read = match payment {
            None => Create::read(&body, &self.shared.public)
                .map(|create| (create.common.clone(), Request::Create, Some(create))),
            Some(_) => Update::read(&body, &self.shared.public).map(|update| (update.common, update.change, None)),
        };
        let (common, request, create) = match read {
            Ok(read) => read,
            Err(Wrong { code, what }) => {
                self.tape.violation(format!("a request to Payments: {what}"));
                return refuse(400, code);
            }
        };
        let mishap = self.mishap(request);
        if let Some(how @ (Mishap::Down | Mishap::Busy)) = mishap {
            let status = if how == Mishap::Down { 500 } else { 429 };
            self.log(request, status, "nothing was done");
            return refuse(status, if how == Mishap::Down { 20500 } else { 20429 });
        }
        if let Some(done) = self.replay(&common.key, uri, &body) {
            self.log(done.request, done.reply.status, "again, with the same key: done once");
            return answer(self, call, &done.reply);
        }
        let (reply, telling) = match (create, payment) {
            (Some(create), _) => self.do_create(create),
            (None, sid) => self.do_update(sid.unwrap_or_default(), &common, request),
        };
        let done = Done { path: uri.path().to_owned(), body, request, reply: reply.clone() };
        lock(&self.shared.state).answered.insert(common.key, done);
        self.tell(telling).await;
        self.finish(request, call, &reply, mishap).await
    }

    /// Delivers the callback of a request: now, or while the answer is on its way.
    async fn tell(&self, telling: Telling) {
        match telling {
            Some((url, form, what)) if self.shared.quirks.callback_first => {
                self.call_back_and_wait(url, form, what).await;
            }
            Some((url, form, what)) => {
                let twilio = self.clone();
                tokio::spawn(async move {
                    twilio.shared.pace.pass(Duration::from_millis(60)).await;
                    twilio.call_back(url, form, what, None);
                });
            }
            None => {}
        }
    }

    async fn finish(&self, request: Request, call: &str, reply: &Reply, mishap: Option<Mishap>) -> Response {
        match mishap {
            Some(Mishap::Lost) => {
                self.log(request, 504, "done, but the answer was lost");
                return refuse(504, 20504);
            }
            Some(Mishap::Hangs) => {
                self.log(request, 0, "done, but never answered");
                std::future::pending::<()>().await;
            }
            Some(Mishap::Slow(seconds)) => self.shared.pace.pass(Duration::from_secs(seconds)).await,
            _ => self.shared.pace.pass(Duration::from_millis(120)).await,
        }
        let note = reply.code.map(|code| format!("error {code}")).unwrap_or_default();
        self.log(request, reply.status, &note);
        answer(self, call, reply)
    }

    fn log(&self, request: Request, status: u16, note: &str) {
        self.tape.write(Event::Requested { request, status, note: note.to_owned() });
    }

    pub(super) fn refuse_stranger(&self, account: &str, call: &str, headers: &HeaderMap) -> Option<Response> {
        let known = &self.shared.account;
        let wanted = format!("Basic {}", STANDARD.encode(format!("{}:{}", known.sid, known.token)));
        let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
        let violation = |what: &str, status, code| {
            self.tape.violation(format!("a request to Twilio: {what}"));
            Some(refuse(status, code))
        };
        if text(header::AUTHORIZATION) != Some(&wanted) {
            return violation("wrong credentials", 401, 20003);
        }
        if account != known.sid || call != self.call() {
            return violation("another account or call", 404, 20404);
        }
        if !text(header::CONTENT_TYPE).is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
            return violation("the body is not a form", 400, 20001);
        }
        None
    }

    fn mishap(&self, request: Request) -> Option<Mishap> {
        let trouble = self.shared.quirks.trouble.filter(|trouble| trouble.on == request)?;
        let mut state = lock(&self.shared.state);
        state.mishaps += 1;
        (state.mishaps <= trouble.times).then_some(trouble.how)
    }

    /// The answer to a request with a key that was used before.
    fn replay(&self, key: &str, uri: &Uri, body: &str) -> Option<Done> {
        let done = lock(&self.shared.state).answered.get(key).cloned()?;
        if done.path != uri.path() || done.body != body {
            self.tape.violation("an idempotency key was used for two different requests");
        }
        Some(done)
    }

    fn do_create(&self, create: Create) -> (Reply, Telling) {
        let refusal = self.shared.quirks.refusal.filter(|refusal| refusal.on == Request::Create);
        let mut state = lock(&self.shared.state);
        let call = self.call();
        if !state.up.contains(&self.tape.line()) {
            return (Reply::refused(21220), None);
        }
        if state.sessions.iter().any(|session| session.call() == call && session.state != Doing::Ended) {
            self.tape.violation("a second payment was created while one is open");
            return (Reply::refused(64021), None);
        }
        if let Some(refusal) = refusal.filter(|refusal| !refusal.by_callback) {
            return (Reply::refused(refusal.code), None);
        }
        let sid = format!("PK{:032x}", 0xabc0 + state.sessions.len());
        let charge = create.charge.clone();
        let how = create.told();
        let mut session = Session::new(sid.clone(), &self.shared.account.sid, &call, create);
        let told = (session.callback.clone(), session.created(&self.shared.quirks), "the session is open".to_owned());
        state.sessions.push(session);
        drop(state);
        self.tape.write(Event::Created { charge, how });
        if let Some(refusal) = refusal {
            let (twilio, sid) = (self.clone(), sid.clone());
            tokio::spawn(async move {
                twilio.shared.pace.pass(Duration::from_millis(400)).await;
                twilio.end(&sid, Ending::Declined(refusal.code));
            });
        }
        (Reply { status: 201, sid, code: None }, Some(told))
    }

    fn do_update(&self, sid: &str, common: &Common, request: Request) -> (Reply, Telling) {
        let quirks = &self.shared.quirks;
        let mut state = lock(&self.shared.state);
        let call_up = state.up.contains(&self.tape.line());
        let Payments { sessions, submitted, .. } = &mut *state;
        let Some(session) = sessions.iter_mut().find(|session| session.sid == sid) else {
            self.tape.violation(format!("an update of the payment {sid}, which does not exist"));
            return (Reply { status: 404, sid: String::new(), code: Some(20404) }, None);
        };
        // Not a violation: the caller's star key or hang-up may cross the request.
        if session.state == Doing::Ended || !call_up {
            return (Reply { status: 404, sid: sid.to_owned(), code: Some(20404) }, None);
        }
        if let Some(refusal) = quirks.refusal.filter(|refusal| refusal.on == request && !refusal.by_callback) {
            return (Reply::refused(refusal.code), None);
        }
        session.callback = common.callback.clone();
        let accepted = Reply { status: 202, sid: sid.to_owned(), code: None };
        match request {
            Request::Create => (Reply::refused(64020), None),
            Request::Capture(field) => {
                if session.state == Doing::Completing {
                    self.tape.violation("a field was captured after complete");
                    return (Reply::refused(64021), None);
                }
                let misplaced = field.matches().is_some_and(|first| session.value(first).is_none());
                if misplaced || !session.asked.needs.contains(&field) {
                    self.tape.violation(format!("the {} was asked for, which has no place now", field.words()));
                    return (Reply::refused(64020), None);
                }
                let form = session.capture(field, quirks);
                (accepted, Some((session.callback.clone(), form, format!("waiting for the {}", field.words()))))
            }
            Request::Complete => {
                let required = session.required();
                if !required.is_empty() {
                    self.tape.violation(format!("complete was sent while {} fields are missing", required.len()));
                    return (Reply::refused(64019), None);
                }
                if session.state == Doing::Completing {
                    self.tape.violation("complete was sent a second time, with another key");
                    return (Reply::refused(64021), None);
                }
                session.state = Doing::Completing;
                let charge = session.asked.charge.clone();
                let submission = quirks.submission(*submitted);
                *submitted += 1;
                session.late = submission.reports.iter().filter(|report| report.when == When::Late).copied().collect();
                drop(state);
                self.settle(sid.to_owned(), charge, submission);
                (accepted, None)
            }
            Request::Cancel => {
                drop(state);
                let (twilio, sid) = (self.clone(), sid.to_owned());
                tokio::spawn(async move {
                    twilio.shared.pace.pass(Duration::from_millis(200)).await;
                    twilio.end(&sid, Ending::Word(twilio.shared.quirks.cancel_result));
                });
                (accepted, None)
            }
        }
    }
}

impl Reply {
    fn refused(code: u32) -> Self {
        Self { status: 400, sid: String::new(), code: Some(code) }
    }
}

fn answer(twilio: &Twilio, call: &str, reply: &Reply) -> Response {
    if let Some(code) = reply.code {
        return refuse(reply.status, code);
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
    (status(reply.status), [("Twilio-Request-Id", "RQ00000000000000000000000000000001")], Json(body)).into_response()
}

pub(super) fn refuse(http: u16, code: u32) -> Response {
    let body = json!({
        "code": code,
        "message": "refused by the simulator",
        "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
        "status": http,
    });
    (status(http), Json(body)).into_response()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
