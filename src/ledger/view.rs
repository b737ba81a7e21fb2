//! A payment as JSON, as the operator API shows it. It has no token.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::{Payment, PaymentState};
use crate::payment::Amount;
use crate::redact::Private;

/// A payment as JSON, for operators.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentView {
    id: String,
    state: PaymentState,
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
    /// Whether the ledger holds a token that is not delivered yet.
    holds_token: bool,
    result: Option<String>,
    result_code: Option<u32>,
    result_text: Option<String>,
    opened_at: Timestamp,
    submitted_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl From<Payment> for PaymentView {
    fn from(payment: Payment) -> Self {
        let amount = payment.amount;
        Self {
            id: payment.id.to_string(),
            state: payment.state,
            call_sid: payment.call_sid.to_string(),
            payment_sid: payment.payment_sid.map(|sid| sid.to_string()),
            caller: payment.caller.map(|number| number.as_str().to_owned()),
            call_reference: payment.call_reference.map(Private::into_inner),
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
            confirmation_code: payment.confirmation_code,
            profile_id: payment.profile_id,
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

/// Shows the id and the state, and nothing about the caller.
impl fmt::Debug for PaymentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentView").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}
