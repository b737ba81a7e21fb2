//! `POST /outboundCall`: places an outbound call for an operator.

mod order;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{info, warn};

use super::auth::operator_token::Operator;
use super::connect_action::ActionState;
use super::json::{ApiError, JsonBody};
use super::outbound_twiml::TwimlDocuments;
use super::{App, VoiceWebhook};
use crate::config::PublicUrl;
use crate::ids::CallSid;
use crate::json_members::JsonMembers;
use crate::payment::PriorPayment;
use crate::redact::Private;
use crate::relay::twiml::{self, Verb};
use crate::session::AddPendingCallError;
use crate::twilio::{MAX_INLINE_TWIML, NewCall, TwilioError, TwimlSource};
use order::OutboundOrder;

/// The longest document that Twilio reads from a URL, in bytes (error 11750).
const MAX_TWIML_BYTES: usize = 64_000;

/// The URLs and TwiML documents that Twilio requests for outbound calls.
#[derive(Debug)]
pub(super) struct OutboundCallContext {
    pub(super) base_url: PublicUrl,
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

/// Responds with 201 once Twilio has queued the call. 409 if the reference is in use, so that a repeated request does
/// not call twice; also if the order has a payment that rules out another one.
pub(super) async fn post(
    Operator(operator): Operator,
    State(app): State<App>,
    State(outbound): State<Arc<OutboundCallContext>>,
    JsonBody(request): JsonBody<OutboundCallRequest>,
) -> Result<Response, ApiError> {
    if app.draining.is_cancelled() {
        return Err(ApiError::unavailable("the server is stopping and places no calls: try again in a minute"));
    }
    let library = app.session.assets.library();
    let payment = library.server.payment_settings(&app.session.environment);
    let order = OutboundOrder::parse(request.properties.into_inner(), &payment).map_err(ApiError::bad_request)?;
    let profile =
        library.profile(order.context_key.as_deref(), order.manifest_key.as_deref()).map_err(ApiError::bad_request)?;
    let ledger =
        app.session.ledger.with_limits(library.server.limits.clone(), app.session.environment.payment.currency);
    if let Some(payment) = ledger.find_conflicting_payment(order.order_reference()).await? {
        return Err(ApiError::new(StatusCode::CONFLICT, OrderHasPaymentError(payment)));
    }
    let document = build_twiml(&app.voice, &order)?;
    let pending_calls = &app.session.pending_calls;
    pending_calls.add(&order.call_reference, order.data.clone())?;
    app.session.prewarm_profile(&profile);
    match place_call(&app, &outbound, &order, document).await {
        Ok(call) => {
            pending_calls.record_placed(&order.call_reference, &call);
            info!(event = "call.placed", call_sid = %call, %operator, "An outbound call was placed.");
            let body = OutboundCallResponse { call_sid: call.to_string(), call_reference: order.call_reference };
            Ok((StatusCode::CREATED, axum::Json(body)).into_response())
        }
        Err(PlaceCallError { response, maybe_placed }) => {
            // If the call may have been placed its data is kept, and the reference stays in use.
            if !maybe_placed {
                pending_calls.remove(&order.call_reference);
            }
            Err(response)
        }
    }
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
fn build_twiml(voice: &VoiceWebhook, order: &OutboundOrder) -> Result<String, ApiError> {
    // Twilio names the call only in its answer to the request that has this TwiML.
    let token = voice.socket_tokens.for_order(&order.call_reference);
    let relay = voice.conversation_relay(order.parameters.clone(), token);
    let (context, manifest) = (order.context_key.clone(), order.manifest_key.clone());
    let action = ActionState::new(context, manifest, &order.parameters).to_url(&voice.action_url);
    let document = twiml::render_response(&[Verb::Connect { action, relay }]);
    if document.len() > MAX_TWIML_BYTES {
        let error = "the properties are too long: strings, numbers and booleans must fit into a TwiML document of 64,000 \
                     bytes";
        return Err(ApiError::bad_request(error));
    }
    Ok(document)
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
    document: String,
) -> Result<CallSid, PlaceCallError> {
    let mut url = None;
    if document.chars().count() > MAX_INLINE_TWIML {
        let path = outbound.documents.add(document.clone()).map_err(|_| PlaceCallError {
            response: ApiError::unavailable("too many calls are being placed: try again later"),
            maybe_placed: false,
        })?;
        url = Some(outbound.base_url.http_url(&path));
    }
    let call = NewCall {
        to: &order.to,
        document: url.as_deref().map_or(TwimlSource::Inline(&document), TwimlSource::Url),
        status_callback: &outbound.status_callback,
    };
    app.session.twilio.create_call(&call).await.map_err(|error| {
        let maybe_placed = matches!(error, TwilioError::Unknown(_));
        if maybe_placed {
            warn!(event = "call.place_unknown", %error, "It is unknown whether an outbound call was placed.");
        } else {
            warn!(event = "call.place_failed", %error, "An outbound call could not be placed.");
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
            AddPendingCallError::TooManyCalls => Self::new(StatusCode::TOO_MANY_REQUESTS, error),
        }
    }
}
