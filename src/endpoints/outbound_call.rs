//! `POST /outboundCall`: places an outbound call for an operator.

mod order;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::auth::operator_token::Operator;
use super::connect_action::ActionState;
use super::json::{ApiError, JsonBody};
use super::outbound_twiml::{OUTBOUND_TWIML, TwimlDocuments};
use super::{App, VoiceWebhook};
use crate::call::TIME_LIMIT_MARGIN;
use crate::config::PublicUrl;
use crate::expiring_map::ExpiringMapFullError;
use crate::ids::CallSid;
use crate::json_members::JsonMembers;
use crate::ledger::NewOrder;
use crate::payment::PriorPayment;
use crate::phone_number::DestinationError;
use crate::redact::Private;
use crate::relay::twiml::{self, Verb};
use crate::session::AddPendingCallError;
use crate::twilio::{NewCall, TwilioError};
use crate::usage_limits::{CallerKey, OrderRateExceeded, Usage, UsageLimit, UsageLimits};
use order::{OutboundOrder, ParseOrderError};

/// The longest document that Twilio reads from a URL, in bytes (error 11750).
const MAX_TWIML_BYTES: usize = 64_000;

/// The longest URL of a document that has the order's state in its query, in bytes. Beyond it a restart while the call
/// rings loses the order.
const MAX_URL_BYTES: usize = 2_000;

/// How long a placed call counts beside its ringing: it is queued, and a machine may be detected.
const ANSWER_WAIT: Duration = Duration::from_secs(150);

/// The URLs and TwiML documents that Twilio requests for outbound calls.
#[derive(Debug)]
pub(super) struct OutboundCallContext {
    pub(super) own_url: PublicUrl,
    pub(super) status_callback: String,
    pub(super) documents: TwimlDocuments,
}

/// The request body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutboundCallRequest {
    properties: Private<JsonMembers<Value>>,
}

/// The response body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OutboundCallResponse {
    call_sid: String,
    call_reference: String,
}

/// Responds with 201 once Twilio has queued the call. 403 or 422 if the number is not called; 429 if a limit is reached;
/// 409 if the reference is in use, so that a repeated request does not call twice; also if the order has a payment that
/// rules out another one, if the number is not called any more, or not at this hour.
pub(super) async fn post(
    Operator(operator): Operator,
    State(app): State<App>,
    State(outbound): State<Arc<OutboundCallContext>>,
    JsonBody(request): JsonBody<OutboundCallRequest>,
) -> Result<Response, ApiError> {
    if app.turns_calls_away() {
        return Err(ApiError::unavailable("the server is stopping and places no calls: try again in a minute"));
    }
    let library = app.session.assets.library();
    let payment = library.server.payment_settings(&app.session.environment);
    let now = Timestamp::now();
    let order = OutboundOrder::parse(request.properties.into_inner(), &payment, now)?;
    let usage = &app.session.usage;
    if let Err(error) = app.session.environment.destinations.check(&order.to) {
        usage.monitor.report(UsageLimit::Destinations);
        return Err(error.into());
    }
    rules::check(&app.session.ledger, library.server.outbound.as_ref(), &order, now).await?;
    let profile =
        library.profile(order.context_key.as_deref(), order.manifest_key.as_deref()).map_err(ApiError::bad_request)?;
    let ledger =
        app.session.ledger.with_limits(library.server.limits.clone(), app.session.environment.payment.currency);
    if let Some(payment) = ledger.find_conflicting_payment(order.order_reference()).await? {
        return Err(ApiError::new(StatusCode::CONFLICT, OrderHasPaymentError(payment)));
    }
    let state = ActionState::new(order.context_key.clone(), order.manifest_key.clone(), &order.parameters);
    let document = build_twiml(&app.voice, &order, &state)?;
    let limits = &library.server.usage_limits;
    let called = CallerKey::parse(order.to.as_str());
    let pending_calls = &app.session.pending_calls;
    pending_calls.add(&order.call_reference, order.data.clone()).inspect_err(|error| {
        if *error == AddPendingCallError::TooManyCalls {
            usage.monitor.report(UsageLimit::PendingData);
        }
    })?;
    let place = admit_order(usage, called, limits).inspect_err(|_| pending_calls.remove(&order.call_reference))?;
    let path = keep_order(&app, &outbound, &order, document).await.inspect_err(|_| {
        usage.admissions.release(&place);
        pending_calls.remove(&order.call_reference);
    })?;
    app.session.prewarm_profile(&profile);
    match place_call(&app, &outbound, &order, &path, &state, limits).await {
        Ok(call) => {
            pending_calls.record_placed(&order.call_reference, &call);
            rules::record_consent(&app.session.ledger, &call, &order).await;
            app.session.share_placed(&order.call_reference, &call).await;
            usage.admissions.record_placed(&place, &call);
            info!(event = "call.placed", call_sid = %call, %operator, "An outbound call was placed.");
            let body = OutboundCallResponse { call_sid: call.to_string(), call_reference: order.call_reference };
            Ok((StatusCode::CREATED, axum::Json(body)).into_response())
        }
        Err(PlaceCallError { response, maybe_placed }) => {
            // If the call may have been placed its data is kept, and the reference stays in use.
            if !maybe_placed {
                usage.admissions.release(&place);
                outbound.documents.remove(&path);
                pending_calls.remove(&order.call_reference);
                app.session.withdraw_order(&order.call_reference).await;
            }
            Err(response)
        }
    }
}

/// Counts an order and its call, unless as many calls are live, or as many orders came within a minute, as the limits allow.
/// Orders that come at the same time see each other.
fn admit_order(usage: &Usage, called: Option<CallerKey>, limits: &UsageLimits) -> Result<CallSid, ApiError> {
    let wait = limits.ring_timeout + ANSWER_WAIT;
    let place = usage.admissions.reserve(called, limits, wait, Instant::now()).map_err(|error| {
        usage.monitor.report(error.limit());
        ApiError::limit_reached(error.limit(), error)
    })?;
    let counted = usage.orders.take(Instant::now()).map_err(|OrderRateExceeded { retry_after }| {
        usage.admissions.release(&place);
        usage.monitor.report(UsageLimit::OrdersPerMinute);
        let error = "too many calls were ordered within a minute: send the order again after the seconds of Retry-After, or \
                     raise OUTBOUND_PER_MINUTE";
        ApiError::limit_reached(UsageLimit::OrdersPerMinute, error).retry_after(retry_after)
    });
    counted.map(|()| place)
}

/// The order already has a payment, so no call is placed.
#[derive(Debug, thiserror::Error)]
#[error(
    "this order already has a payment, in state {} since {}: see `GET /payments`. If references may repeat, set \
     Payments.payAgain in serverConfig.json",
    .0.state, .0.at
)]
struct OrderHasPaymentError(PriorPayment);

/// Builds the TwiML of the call: the same as for an inbound call, with the order's parameters.
fn build_twiml(voice: &VoiceWebhook, order: &OutboundOrder, state: &ActionState) -> Result<String, ApiError> {
    // Twilio names the call only in its answer to the request that has this TwiML.
    let token = voice.socket_tokens.for_order(&order.call_reference);
    let mut relay = voice.conversation_relay(order.parameters.clone(), token);
    voice.greet_as_caller(&mut relay);
    let action = state.to_url(&voice.action_url);
    let document = twiml::render_response(&[Verb::Connect { action, relay }]);
    if document.len() > MAX_TWIML_BYTES {
        let error = "the properties are too long: strings, numbers and booleans must fit into a TwiML document of 64,000 \
                     bytes";
        return Err(ApiError::bad_request(error));
    }
    Ok(document)
}

/// Keeps an order and its document until the call connects, for every server that may get its requests. Returns the path of
/// the document.
async fn keep_order(
    app: &App,
    outbound: &OutboundCallContext,
    order: &OutboundOrder,
    document: String,
) -> Result<String, ApiError> {
    if app.session.fleet.is_none() {
        return outbound.documents.add(document).map_err(|ExpiringMapFullError| {
            app.session.usage.monitor.report(UsageLimit::PendingData);
            ApiError::limit_reached(UsageLimit::PendingData, "too many calls are being placed: try again later")
        });
    }
    let id = Uuid::new_v4().to_string();
    let (reference, data) = (&*order.call_reference, &**order.data.reveal());
    let kept = NewOrder { reference, data, document: (&id, &document) };
    if app.session.ledger.add_order(&kept).await? {
        Ok(format!("{OUTBOUND_TWIML}/{id}"))
    } else {
        Err(AddPendingCallError::ReferenceInUse.into())
    }
}

/// The call was not placed, or Twilio's answer is unknown.
struct PlaceCallError {
    response: ApiError,
    maybe_placed: bool,
}

async fn place_call(
    app: &App,
    outbound: &OutboundCallContext,
    order: &OutboundOrder,
    path: &str,
    state: &ActionState,
    limits: &UsageLimits,
) -> Result<CallSid, PlaceCallError> {
    // A document in the request itself would run before it is known who answered.
    let plain_url = outbound.own_url.http_url(path);
    let twiml_url = Some(state.to_url(&plain_url)).filter(|url| url.len() <= MAX_URL_BYTES).unwrap_or(plain_url);
    let call = NewCall {
        to: &order.to,
        twiml_url: &twiml_url,
        status_callback: &outbound.status_callback,
        ring_timeout: limits.ring_timeout,
        time_limit: limits.call_length.map(|length| length + TIME_LIMIT_MARGIN),
    };
    app.session.twilio.create_call(&call).await.map_err(|error| {
        let maybe_placed = matches!(error, TwilioError::Unknown(_));
        if maybe_placed {
            warn!(event = "call.place_unknown", %error, request_id = error.request_id(), "It is unknown whether an outbound call was placed.");
        } else {
            warn!(event = "call.place_failed", %error, request_id = error.request_id(), "An outbound call could not be placed.");
        }
        PlaceCallError { response: to_api_error(&error), maybe_placed }
    })
}

/// Maps Twilio's error to a response: 400 for the phone number, 503 for the rate limit, 502 for other errors, 504 for
/// an unknown result.
fn to_api_error(error: &TwilioError) -> ApiError {
    let status = match error {
        TwilioError::Refused { .. } if error.is_number_refused() => StatusCode::BAD_REQUEST,
        TwilioError::Refused { status: 429, .. } => StatusCode::SERVICE_UNAVAILABLE,
        TwilioError::Refused { .. } | TwilioError::Unreachable(_) => StatusCode::BAD_GATEWAY,
        TwilioError::Unknown(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    ApiError::new(status, error.describe_call_failure())
}

impl From<AddPendingCallError> for ApiError {
    fn from(error: AddPendingCallError) -> Self {
        match error {
            AddPendingCallError::ReferenceInUse => Self::new(StatusCode::CONFLICT, error),
            AddPendingCallError::TooManyCalls => Self::limit_reached(UsageLimit::PendingData, error),
        }
    }
}

impl From<ParseOrderError> for ApiError {
    fn from(error: ParseOrderError) -> Self {
        match error {
            ParseOrderError::EmergencyNumber => Self::new(StatusCode::UNPROCESSABLE_ENTITY, error),
            error => Self::bad_request(error),
        }
    }
}

/// 422 for a number that is never called, 403 for one that `OUTBOUND_ALLOWED` does not allow.
impl From<DestinationError> for ApiError {
    fn from(error: DestinationError) -> Self {
        let status = match error {
            DestinationError::NotDialable => StatusCode::UNPROCESSABLE_ENTITY,
            DestinationError::SpecialRange { .. } | DestinationError::NotAllowed { .. } => StatusCode::FORBIDDEN,
        };
        Self::new(status, format!("properties.phoneNumber: {error}")).for_limit(UsageLimit::Destinations)
    }
}
