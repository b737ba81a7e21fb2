//! What the model is told of payments that were begun before: on this call, for this order, by this caller.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::refused;
use crate::payment::{Amount, Known, KnownPayment, State};

/// What the ledger knows, as further sentences of the call's details.
pub(super) fn known(known: &Known) -> String {
    let on_call = known.on_call.iter().map(|payment| format!(" On this call already: {}.", payment_of(payment)));
    let order = known.order.iter().map(|payment| format!(" For this order already: {}.", payment_of(payment)));
    let unknown =
        known.unknown.iter().map(|payment| format!(" On an earlier call of this caller: {}.", payment_of(payment)));
    let mut text: String = on_call.chain(order).chain(unknown).collect();
    if let Some(amount) = known.agreed {
        let _ = write!(
            text,
            " The caller said yes to {amount:?} before the connection was lost, and no payment was begun after it: ask once more \
             (call confirm-amount) before you charge it."
        );
    }
    let all = || known.on_call.iter().chain(&known.order).chain(&known.unknown);
    if all().any(|payment| payment.state == State::Unknown) {
        text.push_str(
            " What may have been charged is looked up by a person: tell the caller so at the first opportunity, and begin no other \
             payment for the same.",
        );
    }
    if all().any(|payment| matches!(payment.state, State::Charged | State::Pending)) {
        text.push_str(" Charge nothing a second time that was charged already.");
    }
    text
}

/// Another payment of the same order stands in the way.
pub(in crate::call) fn order_taken(payment: &KnownPayment) -> String {
    refused(&order_is_taken(payment))
}

/// The same, as sentences.
pub(in crate::call) fn order_is_taken(payment: &KnownPayment) -> String {
    let on = day(payment.at);
    match payment.state {
        State::Opened | State::Capturing => {
            "This is being paid on another line at this moment, so no second payment was begun. \
             Next: tell the caller so, and offer a person (call live-agent-handoff)."
                .to_owned()
        }
        State::Charged => format!(
            "This was paid on {on}: {}. Nothing more is charged, and no second payment was begun. Next: tell the caller so.",
            amount(payment.charge)
        ),
        State::Pending => format!(
            "A debit of {} for this is on its way since {on}, so no second payment was begun. Next: tell the caller so.",
            amount(payment.charge)
        ),
        State::Disputed => format!(
            "This was paid on {on}, and the payment is disputed, so no second one was begun. Next: offer a person (call \
             live-agent-handoff)."
        ),
        _ => format!(
            "A payment of {} for this was submitted on {on} and may have been charged; a person looks it up, so no second one was \
             begun. Next: tell the caller so, and offer a person (call live-agent-handoff).",
            amount(payment.charge)
        ),
    }
}

fn payment_of(payment: &KnownPayment) -> String {
    let (amount, on) = (amount(payment.charge), day(payment.at));
    match payment.state {
        State::Charged => format!("{amount} was paid on {on}"),
        State::Pending => format!("a debit of {amount} is on its way since {on}"),
        State::Tokenized => format!("a card was stored on {on}"),
        State::Unknown | State::Submitted => format!("{amount} was submitted on {on} and may have been charged"),
        State::Opened | State::Capturing => format!("a payment of {amount} was begun on {on} and is not finished"),
        State::Refunded => format!("{amount} was paid and refunded on {on}"),
        State::Returned => format!("a debit of {amount} came back on {on}"),
        State::Disputed => format!("{amount} was paid, and is disputed since {on}"),
        State::Declined | State::Failed | State::Cancelled | State::Abandoned => {
            format!("a payment of {amount} ended on {on} without a charge")
        }
    }
}

fn amount(charge: Option<Amount>) -> String {
    charge.map_or_else(|| "no amount (to store a card)".to_owned(), |amount| format!("{amount:?}"))
}

/// The day in UTC: `24 Nov`.
fn day(at: Timestamp) -> String {
    at.strftime("%-d %b").to_string()
}
