//! What the model is told of what may be charged.

use super::{done, refused};
use std::sync::Arc;

use crate::payment::{Amount, BadTerms, ChargeLimits, Due, Terms};

/// What the call says of its payment, as further sentences.
pub(super) fn due(terms: &Result<Arc<Terms>, BadTerms>) -> String {
    match terms.as_ref().map(|terms| terms.due) {
        Ok(Due::Open) => String::new(),
        Ok(Due::Amount(due)) => format!(
            " Due on this call: {due:?}. That and nothing else can be charged: name it, and when the caller agrees call \
             start-capture without chargeAmount."
        ),
        Ok(Due::Nothing) => {
            " Nothing is to be charged on this call: the card is stored, by start-capture without chargeAmount."
                .to_owned()
        }
        Err(_) => format!(" {NO_TERMS}"),
    }
}

/// What the call brought with it about its payment is broken.
pub(in crate::call) const NO_TERMS: &str = "No payment can be taken on this call, since it was not set up rightly; that is no fault of the \
     caller's. If the caller wants to pay, say that it is not possible right now and offer a person (call live-agent-handoff).";

/// `amountDue` was charged before.
pub(in crate::call) const PAID: &str =
    "The amount that was due is paid already, and nothing else can be charged on this call.";

/// `amountDue` may have been charged: a success was reported that is not believed.
pub(in crate::call) const PERHAPS_PAID: &str = "The amount that was due may have been charged; a person looks it up, and nothing else can be charged on this call. \
     Next: tell the caller so, and offer a person (call live-agent-handoff).";

/// `amountDue` is 0.
pub(in crate::call) const NOTHING_DUE: &str =
    "Nothing is to be charged on this call. To store the card, call start-capture without chargeAmount.";

/// Another amount than the one that is due.
pub(in crate::call) fn other_amount(due: Amount) -> String {
    refused(&format!(
        "What is due on this call is {due:?}, and no other amount can be charged. Leave chargeAmount out: call \
         start-capture without it."
    ))
}

/// `confirm-amount` for an amount that is due anyway.
pub(in crate::call) fn amount_is_due(due: Amount) -> String {
    done(&format!("{due:?} is what is due. Next: call start-capture without chargeAmount."))
}

/// An amount that is too small or too large.
pub(in crate::call) fn out_of_limits(amount: Amount, limits: &ChargeLimits) -> String {
    let (least, most) = (limits.least(), limits.most());
    refused(&format!(
        "{amount:?} cannot be charged here: only from {least} to {most}. Say so, and agree on another amount or offer a \
         person (call live-agent-handoff)."
    ))
}

/// An amount that the caller has not agreed to yet, as far as can be told.
pub(in crate::call) fn ask_first(amount: Amount) -> String {
    refused(&format!(
        "The caller has not agreed to {amount:?} yet. Next: say this amount in full and ask whether to charge it; once the \
         caller has said yes, call confirm-amount and then start-capture."
    ))
}

/// `confirm-amount` did it.
pub(in crate::call) fn confirmed(amount: Amount) -> String {
    done(&format!("{amount:?} is agreed. Next: call start-capture with this chargeAmount."))
}
