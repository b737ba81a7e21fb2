//! Texts for the model about earlier payments: on this call, for this order, by this caller.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::refusal;
use crate::payment::{Amount, PaymentState, PriorPayment, PriorPayments};

/// The sentences of the call details about the earlier payments in the ledger.
pub(super) fn known_payments(known: &PriorPayments) -> String {
    let on_call = known.on_call.iter().map(|payment| format!(" On this call already: {}.", describe_payment(payment)));
    let order =
        known.same_order.iter().map(|payment| format!(" For this order already: {}.", describe_payment(payment)));
    let unknown = known
        .possibly_charged
        .iter()
        .map(|payment| format!(" On an earlier call of this caller: {}.", describe_payment(payment)));
    let mut text: String = on_call.chain(order).chain(unknown).collect();
    if let Some(amount) = known.consented_amount {
        let _ = write!(
            text,
            " The caller said yes to {amount:?} before the connection was lost, and no payment was begun after it: ask once more \
             (call confirm-amount) before you charge it."
        );
    }
    let all = || known.on_call.iter().chain(&known.same_order).chain(&known.possibly_charged);
    if all().any(|payment| payment.state == PaymentState::Unknown) {
        text.push_str(
            " What may have been charged is looked up by a person: tell the caller so at the first opportunity, and begin no other \
             payment for the same.",
        );
    }
    if all().any(|payment| matches!(payment.state, PaymentState::Charged | PaymentState::Pending)) {
        text.push_str(" Charge nothing a second time that was charged already.");
    }
    text
}

/// The output of a tool if another payment of the same order exists.
pub(in crate::call) fn order_has_payment(payment: &PriorPayment) -> String {
    refusal(&order_has_payment_text(payment))
}

/// The same, as sentences.
pub(in crate::call) fn order_has_payment_text(payment: &PriorPayment) -> String {
    let on = format_day(payment.at);
    match payment.state {
        PaymentState::Opened | PaymentState::Capturing => {
            "This is being paid on another line at this moment, so no second payment was begun. \
             Next: tell the caller so, and offer a person (call live-agent-handoff)."
                .to_owned()
        }
        PaymentState::Charged => format!(
            "This was paid on {on}: {}. Nothing more is charged, and no second payment was begun. Next: tell the caller so.",
            describe_amount(payment.charge)
        ),
        PaymentState::Pending => format!(
            "A debit of {} for this is on its way since {on}, so no second payment was begun. Next: tell the caller so.",
            describe_amount(payment.charge)
        ),
        PaymentState::Disputed => format!(
            "This was paid on {on}, and the payment is disputed, so no second one was begun. Next: offer a person (call \
             live-agent-handoff)."
        ),
        _ => format!(
            "A payment of {} for this was submitted on {on} and may have been charged; a person looks it up, so no second one was \
             begun. Next: tell the caller so, and offer a person (call live-agent-handoff).",
            describe_amount(payment.charge)
        ),
    }
}

fn describe_payment(payment: &PriorPayment) -> String {
    let (amount, on) = (describe_amount(payment.charge), format_day(payment.at));
    match payment.state {
        PaymentState::Charged => format!("{amount} was paid on {on}"),
        PaymentState::Pending => format!("a debit of {amount} is on its way since {on}"),
        PaymentState::Tokenized => format!("a card was stored on {on}"),
        PaymentState::Unknown | PaymentState::Submitted => {
            format!("{amount} was submitted on {on} and may have been charged")
        }
        PaymentState::Opened | PaymentState::Capturing => {
            format!("a payment of {amount} was begun on {on} and is not finished")
        }
        PaymentState::Refunded => format!("{amount} was paid and refunded on {on}"),
        PaymentState::Returned => format!("a debit of {amount} came back on {on}"),
        PaymentState::Disputed => format!("{amount} was paid, and is disputed since {on}"),
        PaymentState::Declined | PaymentState::Failed | PaymentState::Cancelled | PaymentState::Abandoned => {
            format!("a payment of {amount} ended on {on} without a charge")
        }
    }
}

fn describe_amount(charge: Option<Amount>) -> String {
    charge.map_or_else(|| "no amount (to store a card)".to_owned(), |amount| format!("{amount:?}"))
}

/// The day in UTC: `24 Nov`.
fn format_day(at: Timestamp) -> String {
    at.strftime("%-d %b").to_string()
}
