//! What the model is told of what may be charged.

use super::{done, refused};
use std::sync::Arc;

use crate::payment::{Amount, BadTerms, ChargeLimits, Consent, Due, Purpose, Terms};

/// What the call says of its payment, as further sentences.
pub(super) fn due(terms: &Result<Arc<Terms>, BadTerms>, confirm_due: bool) -> String {
    match terms.as_ref().map(|terms| terms.due) {
        Ok(Due::Open) => String::new(),
        Ok(Due::Amount(due)) if confirm_due => format!(
            " Due on this call: {due:?}. That and nothing else can be charged: name it, and call confirm-amount without an \
             amount, so that the server asks the caller; start-capture follows the yes."
        ),
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

/// An amount that the caller has not said yes to.
pub(in crate::call) fn ask_first(amount: Amount) -> String {
    refused(&format!(
        "The caller has not said yes to {amount:?}. Next: call confirm-amount with this amount. The server then asks the \
         caller, and a payment update brings the answer."
    ))
}

/// `start-capture` without an amount, and none was agreed to.
pub(in crate::call) const NOTHING_AGREED: &str = "It is not known what is to be charged. To charge an amount, have the caller say which, \
     and send it to confirm-amount first. To keep the card on file without a charge, send chargeAmount 0, if that is what the \
     caller wants.";

/// `confirm-amount` without an amount, and none is due.
pub(in crate::call) const NO_AMOUNT: &str =
    "Nothing is due on this call, so confirm-amount needs the amount. Send it as decimal text, such as \"25.00\".";

/// `confirm-amount` during a payment.
pub(in crate::call) const PAYMENT_IS_OPEN: &str =
    "A payment is open, for what was agreed before. Finish it or call cancel-capture, and confirm another amount then.";

/// The server cannot ask, since nothing is spoken.
pub(in crate::call) const NOT_WHILE_LISTENING: &str =
    "You only listen now, so the caller cannot be asked. Switch that off with set-listen-mode first.";

/// The server does not ask on a call that is about to end.
pub(in crate::call) const NOT_WHILE_LEAVING: &str = "The call is about to end, so the caller is not asked any more.";

/// A statement waits for its answer.
pub(in crate::call) const SERVER_ASKS: &str = "The server is just asking the caller for a yes. Say nothing, and wait for the payment update that brings the answer.";

/// `confirm-amount` is under way.
pub(in crate::call) fn caller_is_asked(amount: Amount) -> String {
    done(&format!(
        "The server now asks the caller itself whether to charge {amount:?}. Say nothing: a payment update brings the \
         answer and says what to do."
    ))
}

/// `start-capture` has to wait: the caller paid the same a few minutes ago.
pub(in crate::call) fn caller_is_asked_again(amount: Amount, minutes: u32) -> String {
    refused(&format!(
        "This caller paid {amount:?} already, {minutes} minutes ago. The server now asks the caller itself whether to charge it \
         again. Say nothing: a payment update brings the answer and says what to do."
    ))
}

/// The caller answered what the server asked about an amount.
pub(in crate::call) fn answered(purpose: Purpose, amount: Amount, answer: Consent) -> String {
    let again = if matches!(purpose, Purpose::ChargeAgain(_)) { " again" } else { "" };
    let what = match answer {
        Consent::Yes => {
            format!("the caller said yes to {amount:?}{again}. Next: call start-capture with this chargeAmount")
        }
        Consent::No => format!(
            "the caller said no to {amount:?}{again}, and nothing is charged. Next: ask what the caller wants instead"
        ),
        Consent::Unclear => format!(
            "the server asked twice for a yes to {amount:?}{again} and got no clear answer, so nothing is charged. Next: say \
             so and offer a person (call live-agent-handoff)"
        ),
    };
    format!("Payment update: {what}.")
}
