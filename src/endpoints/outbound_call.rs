//! `POST /outboundCall`: an operator has somebody called.

mod order;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{info, warn};

use super::connect_action::Carried;
use super::json::{Json, Problem};
use super::operator::Operator;
use super::outbound_twiml::Documents;
use super::{App, Voice};
use crate::config::PublicUrl;
use crate::members::Members;
use crate::payment::KnownPayment;
use crate::redact::Private;
use crate::relay::twiml::{self, Verb};
use crate::session::NotKept;
use crate::sid::CallSid;
use crate::twilio::{Document, Error, MAX_INLINE_TWIML, NewCall};
use order::Order;

/// The longest document that Twilio reads from a URL, in bytes (error 11750).
const MAX_TWIML: usize = 64_000;

/// Where Twilio finds what belongs to a call that was placed.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) base_url: PublicUrl,
    pub(super) status_callback: String,
    pub(super) documents: Documents,
}

/// The body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    properties: Private<Members<Value>>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Placed {
    call_sid: String,
    call_reference: String,
}

/// 201 once Twilio has queued the call. 409 if the reference is in use, so that an order that is sent twice calls once; and if the order
/// has a payment that stands in the way of another one.
pub(super) async fn post(
    _: Operator,
    State(app): State<App>,
    State(outbound): State<Arc<Outbound>>,
    Json(asked): Json<Asked>,
) -> Result<Response, Problem> {
    if app.draining.is_cancelled() {
        return Err(Problem::unavailable("the server is stopping and places no calls: try again in a minute"));
    }
    let library = app.session.shelf.library();
    let payment = library.server.payment(&app.session.environment);
    let order = Order::read(asked.properties.into_inner(), &payment).map_err(Problem::bad)?;
    library.profile(order.context_key.as_deref(), order.manifest_key.as_deref()).map_err(Problem::bad)?;
    let ledger = app.session.ledger.within(library.server.limits.clone(), app.session.environment.payment.currency);
    if let Some(payment) = ledger.standing(order.order_reference()).await? {
        return Err(Problem::new(StatusCode::CONFLICT, OrderTaken(payment)));
    }
    let document = document(&app.voice, &order)?;
    let requests = &app.session.requests;
    requests.keep(&order.reference, order.data.clone())?;
    match place(&app, &outbound, &order, document).await {
        Ok(call) => {
            requests.placed(&order.reference, &call);
            info!(%call, "a call was placed");
            let placed = Placed { call_sid: call.to_string(), call_reference: order.reference };
            Ok((StatusCode::CREATED, axum::Json(placed)).into_response())
        }
        Err(NotPlaced { problem, perhaps }) => {
            // A call that may have been placed finds its data, and is not placed again.
            if !perhaps {
                requests.forget(&order.reference);
            }
            Err(problem)
        }
    }
}

/// Why no call is placed for an order that has a payment.
#[derive(Debug, thiserror::Error)]
#[error(
    "this order has a payment that is {} since {}: see `GET /payments`. Where references repeat, set Payments.payAgain in \
     serverConfig.json",
    .0.state, .0.at
)]
struct OrderTaken(KnownPayment);

/// The TwiML of the call: that of one that comes in, with the order's parameters.
fn document(voice: &Voice, order: &Order) -> Result<String, Problem> {
    let mut relay = voice.relay();
    relay.parameters.retain(|(name, _)| order.parameters.iter().all(|(own, _)| own != name));
    relay.parameters.extend(order.parameters.iter().cloned());
    let (context, manifest) = (order.context_key.clone(), order.manifest_key.clone());
    let action = Carried::new(context, manifest, &order.parameters).action(&voice.action);
    let document = twiml::response(&[Verb::Connect { action, relay }]);
    if document.len() > MAX_TWIML {
        let error = "the properties are too long: text, numbers and booleans among them must fit into a TwiML document of \
                     64,000 bytes";
        return Err(Problem::bad(error));
    }
    Ok(document)
}

/// A call that was not placed, or perhaps was.
struct NotPlaced {
    problem: Problem,
    perhaps: bool,
}

async fn place(app: &App, outbound: &Outbound, order: &Order, document: String) -> Result<CallSid, NotPlaced> {
    let mut url = None;
    if document.chars().count() > MAX_INLINE_TWIML {
        let path = outbound.documents.keep(document.clone()).map_err(|_| NotPlaced {
            problem: Problem::unavailable("too many calls are being placed: try again later"),
            perhaps: false,
        })?;
        url = Some(outbound.base_url.http(&path));
    }
    let call = NewCall {
        to: &order.to,
        document: url.as_deref().map_or(Document::Inline(&document), Document::At),
        status_callback: &outbound.status_callback,
    };
    app.session.twilio.create_call(&call).await.map_err(|error| {
        warn!(%error, "a call was not placed");
        NotPlaced { problem: problem(&error), perhaps: matches!(error, Error::Unknown(_)) }
    })
}

/// Whose fault it is: the number's, Twilio's, or nobody knows.
fn problem(error: &Error) -> Problem {
    let status = match error {
        Error::Refused { .. } if error.is_about_the_number() => StatusCode::BAD_REQUEST,
        Error::Refused { status: 429, .. } => StatusCode::SERVICE_UNAVAILABLE,
        Error::Refused { .. } | Error::Unreached(_) => StatusCode::BAD_GATEWAY,
        Error::Unknown(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    Problem::new(status, error.call_reason())
}

impl From<NotKept> for Problem {
    fn from(why: NotKept) -> Self {
        match why {
            NotKept::InUse => Self::new(StatusCode::CONFLICT, why),
            NotKept::Full => Self::unavailable(why),
        }
    }
}
