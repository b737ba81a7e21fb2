//! Where several servers share a ledger, a request about a call belongs to the server that has the call. It is sent on to it
//! as it came, once it is authenticated here; the other server authenticates it again.
//!
//! In order: a call that is live here is handled here. What another server has sent on is answered 421, so that nothing goes
//! round in circles. Then the server is asked that the path names, which needs no look at the ledger, and then the owner of
//! the call in the ledger. If neither has the call, or answers, the request is handled here: a callback is recorded, and the
//! action is answered.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{Instrument as _, warn};

use super::auth::bearer_token;
use super::auth::operator_token::Operator;
use super::auth::twilio_signature::SignedWebhook;
use super::conversation::ChatId;
use super::json::{ApiError, read_body};
use super::mcp::MAX_MESSAGE_BYTES;
use super::{App, MAX_BODY_BYTES};
use crate::call_token::PresentedToken;
use crate::fleet::{AT_SERVER, FORWARDED, Fleet, ForwardError, ForwardedRequest, PeerStatus};
use crate::ids::CallSid;
use crate::server_id::ServerId;
use crate::telemetry::ForwardResult;
use crate::twilio::CallStatus;

/// The URI of a request as it came, before the name of a server was removed from its path.
#[derive(Debug, Clone)]
struct ReceivedUri(Uri);

/// The server that the path of a request names.
#[derive(Debug, Clone, Copy)]
struct NamedServer(ServerId);

/// Removes `/at/{server}` from the beginning of a path, and remembers it.
pub(super) fn read_named_server(mut request: Request) -> Request {
    let uri = request.uri();
    let named = uri.path_and_query().and_then(|path| path.as_str().strip_prefix(AT_SERVER)?.split_once('/'));
    let Some((server, path)) = named.and_then(|(server, path)| Some((server.parse().ok()?, format!("/{path}")))) else {
        return request;
    };
    let Ok(without) = path.parse::<Uri>() else { return request };
    let received = std::mem::replace(request.uri_mut(), without);
    request.extensions_mut().insert(ReceivedUri(received));
    request.extensions_mut().insert(NamedServer(server));
    request
}

/// The URI of a request as it came.
pub(super) fn received_uri<'a>(extensions: &'a Extensions, uri: &'a Uri) -> &'a Uri {
    extensions.get::<ReceivedUri>().map_or(uri, |received| &received.0)
}

/// Lets a verified webhook about a call pass, or sends it on to the server that has the call.
pub(super) async fn send_webhook(State(app): State<App>, request: Request, next: Next) -> Response {
    // It is handled to its end though its sender has gone meanwhile, such as while this server was frozen.
    let handled = app.session.tasks.spawn(route_webhook(app.clone(), request, next).in_current_span());
    handled.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn route_webhook(app: App, request: Request, next: Next) -> Response {
    let Some(fleet) = &app.session.fleet else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    let signed = parts.extensions.get::<SignedWebhook>();
    let about = signed.and_then(|signed| Some((signed, signed.form.non_empty("CallSid")?.parse::<CallSid>().ok()?)));
    let Some((signed, call)) = about else { return next.run(Request::from_parts(parts, body)).await };
    let body_as_it_came = signed.body.clone();
    let status = signed.form.non_empty("CallStatus").and_then(|status| status.parse::<CallStatus>().ok());
    let answered = send_to_owner(&app, fleet, &parts, &call, &body_as_it_came).await;
    if answered.as_ref().is_ok_and(Option::is_none) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    // What this server keeps of a call that it has placed, or that rang here.
    if status.is_some_and(|status| status.is_terminal()) {
        app.session.pending_calls.remove_call(&call);
        app.session.usage.admissions.release(&call);
    }
    answered.map_or_else(IntoResponse::into_response, Option::unwrap_or_default)
}

/// Lets a request of an operator pass, or sends it on to the server that has its call or its chat.
pub(super) async fn send_operator_request(
    _: Operator,
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let Some(fleet) = &app.session.fleet else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    let body = match read_body(body, MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let subject: Subject = serde_json::from_slice(&body).unwrap_or_default();
    let answered = match (subject.call_sid, subject.session_id.and_then(|id| id.parse::<ChatId>().ok())) {
        (Some(call), _) => send_call_request(&app, fleet, &parts, &call, &body).await,
        (None, Some(ChatId { server: Some(server), .. })) => send_to_server(&app, fleet, &parts, server, &body).await,
        _ => Ok(None),
    };
    match answered {
        Ok(None) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Some(response)) => response,
        Err(refusal) => refusal.into_response(),
    }
}

/// Lets a request of a client of a call pass, or sends it on to the server that the token of the call names.
pub(super) async fn send_client_request(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(fleet) = &app.session.fleet else { return next.run(request).await };
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| bearer_token(value.as_bytes()));
    let tag = token.and_then(|token| PresentedToken::parse(token).server_tag);
    let server = tag.and_then(|tag| app.session.admission.tokens().server_of_tag(&tag));
    let Some(server) = server else { return next.run(request).await };
    let (parts, body) = request.into_parts();
    let body = match read_body(body, MAX_MESSAGE_BYTES).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    match send_to_server(&app, fleet, &parts, server, &body).await {
        Ok(None) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Ok(Some(response)) => response,
        Err(refusal) => refusal.into_response(),
    }
}

/// What a request of an operator is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    #[serde(default)]
    call_sid: Option<CallSid>,
    #[serde(default)]
    session_id: Option<String>,
}

/// Sends a request on to the server that has the call. `None` if it is to be handled here: the call is live here, or no other
/// server answers for it; an error if another server has sent the request here in vain.
///
/// A call that is live here may have moved to the server that Twilio's URLs name, which this one learns with its next beat only.
/// The URLs of a payment that was taken up still name its first server.
async fn send_to_owner(
    app: &App,
    fleet: &Fleet,
    parts: &Parts,
    call: &CallSid,
    body: &Bytes,
) -> Result<Option<Response>, StatusCode> {
    let is_live = app.session.calls.is_live(call);
    if is_forwarded(parts) {
        return if is_live { Ok(None) } else { Err(StatusCode::MISDIRECTED_REQUEST) };
    }
    let named = parts.extensions.get::<NamedServer>().and_then(|named| fleet.address_of(named.0));
    if is_live && named.is_some() && app.session.has_taken_over(call).await {
        return Ok(None);
    }
    if let Some(address) = &named
        && let Some(response) = send_to(app, fleet, address, parts, body).await
    {
        return Ok(Some(response));
    }
    if is_live {
        return Ok(None);
    }
    let owner = app.session.find_owner(call).await.and_then(|owner| fleet.address_of_owner(owner));
    match owner.filter(|owner| named.as_ref() != Some(owner)) {
        Some(address) => Ok(send_to(app, fleet, &address, parts, body).await),
        None => Ok(None),
    }
}

/// Sends an operator's request about a call on, as [`send_to_owner`] does. Where the call is on a server that does not answer,
/// the request is refused: only that server can do what it asks for.
async fn send_call_request(
    app: &App,
    fleet: &Fleet,
    parts: &Parts,
    call: &CallSid,
    body: &Bytes,
) -> Result<Option<Response>, ApiError> {
    match send_to_owner(app, fleet, parts, call, body).await {
        Ok(None) if !app.session.calls.is_live(call) => {
            let owner = app.session.find_owner(call).await;
            if owner.is_some_and(|owner| fleet.is_elsewhere(&owner)) { Err(unreachable_server()) } else { Ok(None) }
        }
        Ok(answered) => Ok(answered),
        Err(misdirected) => Err(ApiError::new(misdirected, "the call is not here")),
    }
}

/// Sends a request on to the server that it names. `None` if that is this one, or none that is known.
async fn send_to_server(
    app: &App,
    fleet: &Fleet,
    parts: &Parts,
    server: ServerId,
    body: &Bytes,
) -> Result<Option<Response>, ApiError> {
    if server == fleet.id() || is_forwarded(parts) {
        return Ok(None);
    }
    match app.session.find_server(fleet, server).await {
        PeerStatus::Reached(address) => match send_to(app, fleet, &address, parts, body).await {
            Some(response) => Ok(Some(response)),
            None => Err(unreachable_server()),
        },
        PeerStatus::Unreachable => Err(unreachable_server()),
        PeerStatus::Unknown => Ok(None),
    }
}

fn unreachable_server() -> ApiError {
    ApiError::unavailable("the server that has this call or chat cannot be reached at the moment: try again")
}

/// Sends a request on to the server at this address. `None` if it does not have the call, or does not answer.
async fn send_to(app: &App, fleet: &Fleet, address: &str, parts: &Parts, body: &Bytes) -> Option<Response> {
    let began = Instant::now();
    let answered = fleet.forward(address, forwarded_request(parts, body.clone())).await;
    let result = match &answered {
        Ok(_) => ForwardResult::Answered,
        Err(ForwardError::NotThere) => ForwardResult::NotThere,
        Err(ForwardError::Unreachable) => ForwardResult::Unreachable,
        Err(ForwardError::Silent) => ForwardResult::Silent,
    };
    app.session.telemetry.record_forward(result, began.elapsed());
    let error = match answered {
        Ok(response) => return Some(response),
        Err(ForwardError::NotThere) => return None,
        Err(error) => error,
    };
    fleet.avoid(address);
    if let Some(left_out) = app.session.log_limiter.admit("fleet.unreached", "", Instant::now()) {
        warn!(event = "fleet.unreached", address, %error, left_out, "A request could not be sent on to another server.");
    }
    None
}

fn is_forwarded(parts: &Parts) -> bool {
    parts.headers.contains_key(FORWARDED)
}

fn forwarded_request(parts: &Parts, body: Bytes) -> ForwardedRequest {
    ForwardedRequest {
        method: parts.method.clone(),
        path_and_query: received_uri(&parts.extensions, &parts.uri)
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        headers: parts.headers.clone(),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> (String, Option<ServerId>, Option<String>) {
        let request = read_named_server(Request::builder().uri(uri).body(Body::empty()).unwrap());
        let named = request.extensions().get::<NamedServer>().map(|named| named.0);
        let received = request.extensions().get::<ReceivedUri>().map(|received| received.0.to_string());
        (request.uri().to_string(), named, received)
    }

    #[test]
    fn the_path_may_name_a_server() {
        let id = ServerId::generate();
        let named = format!("/at/{id}/connectAction?reconnects=1");
        assert_eq!(read(&named), ("/connectAction?reconnects=1".to_owned(), Some(id), Some(named.clone())));
        for other in ["/connectAction", "/at/", "/at/abc/connectAction", "/at/abcdefghijklmnop", "/"] {
            assert_eq!(read(other), (other.to_owned(), None, None));
        }
    }
}
