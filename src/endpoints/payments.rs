//! `GET /payments` and `GET /payments/{id}`: what the ledger says. `POST /payments/{id}/settle` and
//! `POST /payments/{id}/refunded`: what the operator knows from the processor. No answer has a token in it.

use axum::Json as Answer;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::json::{Json, Problem};
use super::operator::Operator;
use crate::ledger::{self, Filter, Happened, Ledger, NotSettled, Payment, Refund, RefundError, RefundKind, Settlement};
use crate::payment::{Amount, PaymentId};
use crate::redact::Private;

/// Payments on a page, if nothing else is asked for, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 500;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    since: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
    after: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Page {
    payments: Vec<Row>,
    /// What `after` is on the next page; none on the last.
    next: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Whole {
    #[serde(flatten)]
    payment: Row,
    events: Vec<Happened>,
    /// What the server asked on the call of the payment, and how the caller answered.
    statements: Vec<Happened>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Word {
    outcome: String,
    confirmation_code: Option<String>,
    note: Option<String>,
    #[serde(default)]
    correct: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Refunded {
    amount: String,
    reference: String,
    #[serde(default)]
    dispute: bool,
    at: Option<Timestamp>,
}

/// A payment as an operator sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    id: String,
    state: ledger::State,
    call_sid: String,
    payment_sid: Option<String>,
    caller: Option<String>,
    call_reference: Option<String>,
    order_reference: Option<String>,
    description: Option<String>,
    live: bool,
    amount: Option<String>,
    minor: Option<u64>,
    currency: Option<String>,
    exponent: Option<u32>,
    refunded_minor: u64,
    method: String,
    last4: Option<String>,
    confirmation_code: Option<String>,
    profile_id: Option<String>,
    /// Whether a token waits for its delivery.
    holds_token: bool,
    result: Option<String>,
    result_code: Option<u32>,
    result_text: Option<String>,
    opened_at: Timestamp,
    submitted_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

/// A page of payments, oldest first.
pub(super) async fn list(
    _: Operator,
    State(ledger): State<Ledger>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Answer<Page>, Problem> {
    let Query(asked) = asked.map_err(|error| Problem::bad(error.body_text()))?;
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad(format!("limit is a number from 1 to {MAX_PAGE}")));
    }
    let since = asked.since.map(|since| ledger::since(&since, Timestamp::now())).transpose().map_err(Problem::bad)?;
    let state = asked.state.map(|state| state.parse()).transpose().map_err(Problem::bad)?;
    let after: Option<PaymentId> = asked.after.map(|id| id.parse()).transpose().map_err(Problem::bad)?;
    if let Some(id) = after {
        ledger.payment(id).await?.ok_or_else(|| Problem::bad("after is not the id of a payment"))?;
    }
    // One more than is shown tells whether there is another page.
    let mut payments = ledger.payments(&Filter { since, state, after, limit: limit + 1 }).await?;
    let more = payments.len() > limit as usize;
    payments.truncate(limit as usize);
    let next = payments.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Answer(Page { payments: payments.into_iter().map(Row::from).collect(), next }))
}

/// A payment, and what happened to it.
pub(super) async fn one(
    _: Operator,
    State(ledger): State<Ledger>,
    Path(id): Path<String>,
) -> Result<Answer<Whole>, Problem> {
    let id = known(&id)?;
    let payment = ledger.payment(id).await?.ok_or(NotSettled::NoSuchPayment)?;
    let (events, statements) = (ledger.history(id).await?, ledger.statements(&payment.call).await?);
    Ok(Answer(Whole { payment: payment.into(), events, statements }))
}

/// 409 if the payment's state does not allow it, 400 if a note is missing or the payment was to do another thing.
pub(super) async fn settle(
    _: Operator,
    State(ledger): State<Ledger>,
    Path(id): Path<String>,
    Json(word): Json<Word>,
) -> Result<Answer<Row>, Problem> {
    let id = known(&id)?;
    let verdict = word.outcome.parse().map_err(Problem::bad)?;
    let settlement =
        Settlement { verdict, confirmation: word.confirmation_code, note: word.note, corrects: word.correct };
    let payment = ledger.settle(id, &settlement).await?;
    warn!(event = "payment.settled", payment = %id, state = %payment.state, correction = word.correct, "An operator settled a payment.");
    Ok(Answer(payment.into()))
}

/// Records a refund or a dispute; the same reference again is answered with the payment as it is. 409 if the payment was not
/// charged, or less of it is left.
pub(super) async fn refunded(
    _: Operator,
    State(ledger): State<Ledger>,
    Path(id): Path<String>,
    Json(refunded): Json<Refunded>,
) -> Result<Answer<Row>, Problem> {
    let id = known(&id)?;
    let kind = if refunded.dispute { RefundKind::Dispute } else { RefundKind::Refund };
    let refund = Refund { kind, amount: refunded.amount, reference: refunded.reference, at: refunded.at };
    let payment = ledger.record_refund(id, &refund).await?;
    warn!(
        event = "payment.refund_recorded", payment = %id, state = %payment.state, dispute = refunded.dispute,
        "An operator recorded a refund or a dispute."
    );
    Ok(Answer(payment.into()))
}

fn known(id: &str) -> Result<PaymentId, Problem> {
    id.parse().map_err(|_| NotSettled::NoSuchPayment.into())
}

impl From<Payment> for Row {
    fn from(payment: Payment) -> Self {
        let amount = payment.amount;
        Self {
            id: payment.id.to_string(),
            state: payment.state,
            call_sid: payment.call.to_string(),
            payment_sid: payment.sid.map(|sid| sid.to_string()),
            caller: payment.caller.map(|number| number.as_str().to_owned()),
            call_reference: payment.reference.map(Private::into_inner),
            order_reference: payment.order_reference.map(Private::into_inner),
            description: payment.description.map(Private::into_inner),
            live: payment.live,
            amount: amount.map(|amount| amount.to_string()),
            minor: amount.map(Amount::minor),
            currency: amount.map(|amount| amount.currency().to_string()),
            exponent: amount.map(|amount| amount.currency().exponent()),
            refunded_minor: payment.refunded,
            method: payment.method,
            last4: payment.last4,
            confirmation_code: payment.confirmation,
            profile_id: payment.profile,
            holds_token: payment.holds_token,
            result: payment.result,
            result_code: payment.result_code,
            result_text: payment.result_text,
            opened_at: payment.opened_at,
            submitted_at: payment.submitted_at,
            ended_at: payment.ended_at,
        }
    }
}

/// Which, and nothing of the caller.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

impl From<ledger::Error> for Problem {
    fn from(error: ledger::Error) -> Self {
        error!(%error, "an operator's request was not answered");
        Self::unavailable("the ledger cannot be read or written at the moment: the log says why")
    }
}

impl From<NotSettled> for Problem {
    fn from(why: NotSettled) -> Self {
        match why {
            NotSettled::NoSuchPayment => Self::new(StatusCode::NOT_FOUND, why),
            NotSettled::NotUnknown(_)
            | NotSettled::NotFrom(..)
            | NotSettled::NeverSettled(_)
            | NotSettled::Reported
            | NotSettled::Refunded => Self::new(StatusCode::CONFLICT, why),
            NotSettled::Mismatch { .. } | NotSettled::NotBankDebit | NotSettled::NoNote => Self::bad(why),
            NotSettled::Unwritten(error) => error.into(),
        }
    }
}

impl From<RefundError> for Problem {
    fn from(why: RefundError) -> Self {
        match why {
            RefundError::NoSuchPayment => Self::new(StatusCode::NOT_FOUND, why),
            RefundError::NotCharged(_)
            | RefundError::AmountUnknown
            | RefundError::TooMuch { .. }
            | RefundError::OtherRefund => Self::new(StatusCode::CONFLICT, why),
            RefundError::BadAmount(_) | RefundError::NoAmount | RefundError::BadReference | RefundError::InFuture => {
                Self::bad(why)
            }
            RefundError::Unwritten(error) => error.into(),
        }
    }
}
