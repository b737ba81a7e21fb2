//! `GET /payments` and `GET /payments/{id}`: payments in the ledger.
//!
//! `POST /payments/{id}/settle` and `POST /payments/{id}/refunded`: outcomes and refunds that the operator knows from the
//! processor.
//!
//! No response contains a payment token.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::auth::operator_token::Operator;
use super::json::{ApiError, JsonBody};
use crate::ledger::{
    self, EventRecord, Ledger, Payment, PaymentFilter, PaymentView, Refund, RefundError, RefundKind, SettleError,
    Settlement,
};
use crate::payment::PaymentId;
use crate::since::parse_since;

/// The default and the largest number of payments on a page.
const DEFAULT_PAGE_SIZE: u32 = 100;
const MAX_PAGE_SIZE: u32 = 500;

#[derive(Debug, Deserialize)]
pub(super) struct PaymentsQuery {
    since: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct PaymentsPage {
    payments: Vec<PaymentView>,
    /// The value of `after` for the next page; `None` on the last page.
    next: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct PaymentDetails {
    #[serde(flatten)]
    payment: PaymentView,
    events: Vec<EventRecord>,
    /// The statements on the call of the payment, with the caller's answers.
    statements: Vec<EventRecord>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SettleRequest {
    outcome: String,
    confirmation_code: Option<String>,
    note: Option<String>,
    #[serde(default)]
    correct: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RefundRequest {
    amount: String,
    reference: String,
    #[serde(default)]
    dispute: bool,
    at: Option<Timestamp>,
}

/// Responds with a page of payments, oldest first.
pub(super) async fn list(
    _: Operator,
    State(ledger): State<Ledger>,
    query: Result<Query<PaymentsQuery>, QueryRejection>,
) -> Result<Json<PaymentsPage>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE_SIZE);
    if !(1..=MAX_PAGE_SIZE).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is a number from 1 to {MAX_PAGE_SIZE}")));
    }
    let since =
        query.since.map(|since| parse_since(&since, Timestamp::now())).transpose().map_err(ApiError::bad_request)?;
    let state = query.state.map(|state| state.parse()).transpose().map_err(ApiError::bad_request)?;
    let after: Option<PaymentId> = query.after.map(|id| id.parse()).transpose().map_err(ApiError::bad_request)?;
    if let Some(id) = after {
        ledger.payment(id).await?.ok_or_else(|| ApiError::bad_request("after is not the id of a payment"))?;
    }
    // One extra payment is read to find out whether there is another page.
    let mut payments = ledger.payments(&PaymentFilter { since, state, after, limit: limit + 1 }).await?;
    let more = payments.len() > limit as usize;
    payments.truncate(limit as usize);
    let next = payments.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(PaymentsPage { payments: payments.into_iter().map(PaymentView::from).collect(), next }))
}

/// Responds with a payment, its events and its statements.
pub(super) async fn get(
    _: Operator,
    State(ledger): State<Ledger>,
    Path(id): Path<String>,
) -> Result<Json<PaymentDetails>, ApiError> {
    let id = parse_id(&id)?;
    let payment = ledger.payment(id).await?.ok_or(SettleError::NoSuchPayment)?;
    let (events, statements) = (ledger.events(id).await?, ledger.statements(&payment.call_sid).await?);
    Ok(Json(PaymentDetails { payment: payment.into(), events, statements }))
}

/// Records the outcome of a payment in state `unknown` or `pending`, or corrects an earlier settlement. 409 if the
/// payment's state does not allow it, 400 if a note is missing or the outcome does not fit the payment.
pub(super) async fn settle(
    Operator(operator): Operator,
    State(ledger): State<Ledger>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<SettleRequest>,
) -> Result<Json<PaymentView>, ApiError> {
    let id = parse_id(&id)?;
    let outcome = request.outcome.parse().map_err(ApiError::bad_request)?;
    let settlement = Settlement {
        outcome,
        confirmation: request.confirmation_code,
        note: request.note,
        is_correction: request.correct,
        operator: Some(operator),
    };
    Ok(Json(settle_and_log(&ledger, id, &settlement).await?.into()))
}

/// Records what an operator knows of the outcome of a payment.
pub(super) async fn settle_and_log(
    ledger: &Ledger,
    id: PaymentId,
    settlement: &Settlement,
) -> Result<Payment, SettleError> {
    let payment = ledger.settle(id, settlement).await?;
    warn!(
        event = "payment.settled",
        payment_id = %id,
        state = %payment.state,
        correction = settlement.is_correction,
        operator = settlement.operator.as_ref().map(tracing::field::display),
        "An operator settled a payment."
    );
    Ok(payment)
}

/// Records a refund or a dispute. A repeated reference changes nothing and is answered with the payment. 409 if the
/// payment was not charged, or if less than the amount is left of it.
pub(super) async fn record_refund(
    Operator(operator): Operator,
    State(ledger): State<Ledger>,
    Path(id): Path<String>,
    JsonBody(request): JsonBody<RefundRequest>,
) -> Result<Json<PaymentView>, ApiError> {
    let id = parse_id(&id)?;
    let kind = if request.dispute { RefundKind::Dispute } else { RefundKind::Refund };
    let refund =
        Refund { kind, amount: request.amount, reference: request.reference, at: request.at, operator: Some(operator) };
    Ok(Json(refund_and_log(&ledger, id, &refund).await?.into()))
}

/// Records a refund or a dispute that an operator knows of.
pub(super) async fn refund_and_log(ledger: &Ledger, id: PaymentId, refund: &Refund) -> Result<Payment, RefundError> {
    let payment = ledger.record_refund(id, refund).await?;
    warn!(
        event = "payment.refund_recorded",
        payment_id = %id,
        state = %payment.state,
        dispute = (refund.kind == RefundKind::Dispute),
        operator = refund.operator.as_ref().map(tracing::field::display),
        "An operator recorded a refund or a dispute."
    );
    Ok(payment)
}

pub(super) fn parse_id(id: &str) -> Result<PaymentId, ApiError> {
    id.parse().map_err(|_| SettleError::NoSuchPayment.into())
}

impl From<ledger::LedgerError> for ApiError {
    fn from(error: ledger::LedgerError) -> Self {
        error!(
            event = "operator.ledger_failed",
            %error,
            "An operator request failed: the ledger cannot be read or written."
        );
        Self::unavailable("the ledger cannot be read or written at the moment: the log says why")
    }
}

impl From<SettleError> for ApiError {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::NoSuchPayment => Self::new(StatusCode::NOT_FOUND, error),
            SettleError::NotSettleable(_)
            | SettleError::InvalidTransition(..)
            | SettleError::NeverSettled(_)
            | SettleError::SuccessReported
            | SettleError::RefundRecorded => Self::new(StatusCode::CONFLICT, error),
            SettleError::WrongPurpose { .. } | SettleError::NotBankDebit | SettleError::NoteMissing => {
                Self::bad_request(error)
            }
            SettleError::Ledger(error) => error.into(),
        }
    }
}

impl From<RefundError> for ApiError {
    fn from(error: RefundError) -> Self {
        match error {
            RefundError::NoSuchPayment => Self::new(StatusCode::NOT_FOUND, error),
            RefundError::NotCharged(_)
            | RefundError::AmountUnknown
            | RefundError::AmountTooLarge { .. }
            | RefundError::ReferenceTaken => Self::new(StatusCode::CONFLICT, error),
            RefundError::InvalidAmount(_)
            | RefundError::ZeroAmount
            | RefundError::InvalidReference
            | RefundError::ReferenceLikeCard
            | RefundError::TimeInFuture => Self::bad_request(error),
            RefundError::Ledger(error) => error.into(),
        }
    }
}
