//! Texts for the model about what may be charged.

use super::{refusal, success};
use std::sync::Arc;

use crate::payment::{Amount, AmountDue, ChargeLimits, ConsentAnswer, ConsentPurpose, PaymentTerms, PaymentTermsError};

/// The sentences of the call details about the amount due.
pub(in crate::call) fn due_details(terms: &Result<Arc<PaymentTerms>, PaymentTermsError>, confirm_due: bool) -> String {
    match terms.as_ref().map(|terms| terms.amount_due) {
        Ok(AmountDue::Unspecified) => String::new(),
        Ok(AmountDue::Amount(due)) if confirm_due => format!(
            " Due on this call: {due:?}. That and nothing else can be charged: name it, and call confirm-amount without an \
             amount, so that the server asks the caller; start-capture follows the yes."
        ),
        Ok(AmountDue::Amount(due)) => format!(
            " Due on this call: {due:?}. That and nothing else can be charged: name it, and when the caller agrees call \
             start-capture without chargeAmount."
        ),
        Ok(AmountDue::Zero) => {
            " Nothing is to be charged on this call: the card is stored, by start-capture without chargeAmount."
                .to_owned()
        }
        Err(_) => format!(" {INVALID_TERMS}"),
    }
}

/// The payment parameters of the call are invalid.
pub(in crate::call) const INVALID_TERMS: &str = "No payment can be taken on this call, since it was not set up rightly; that is no fault of the \
     caller's. If the caller wants to pay, say that it is not possible right now and offer a person (call live-agent-handoff).";

/// `amountDue` has already been charged.
pub(in crate::call) const DUE_ALREADY_PAID: &str =
    "The amount that was due is paid already, and nothing else can be charged on this call.";

/// `amountDue` may have been charged: a success was reported but not confirmed.
pub(in crate::call) const DUE_POSSIBLY_PAID: &str = "The amount that was due may have been charged; a person looks it up, and nothing else can be charged on this call. \
     Next: tell the caller so, and offer a person (call live-agent-handoff).";

/// `amountDue` is 0.
pub(in crate::call) const NOTHING_DUE: &str =
    "Nothing is to be charged on this call. To store the card, call start-capture without chargeAmount.";

/// The requested amount differs from the amount due.
pub(in crate::call) fn amount_differs_from_due(due: Amount) -> String {
    refusal(&format!(
        "What is due on this call is {due:?}, and no other amount can be charged. Leave chargeAmount out: call \
         start-capture without it."
    ))
}

/// The output of `confirm-amount` for an amount due that needs no confirmation.
pub(in crate::call) fn no_confirmation_needed(due: Amount) -> String {
    success(&format!("{due:?} is what is due. Next: call start-capture without chargeAmount."))
}

/// The requested amount is outside the charge limits.
pub(in crate::call) fn out_of_limits(amount: Amount, limits: &ChargeLimits) -> String {
    let (least, most) = (limits.min(), limits.max());
    refusal(&format!(
        "{amount:?} cannot be charged here: only from {least} to {most}. Say so, and agree on another amount or offer a \
         person (call live-agent-handoff)."
    ))
}

/// The caller has not said yes to the requested amount.
pub(in crate::call) fn confirmation_required(amount: Amount) -> String {
    refusal(&format!(
        "The caller has not said yes to {amount:?}. Next: call confirm-amount with this amount. The server then asks the \
         caller, and a payment update brings the answer."
    ))
}

/// The output of `start-capture` without an amount when the caller has agreed to none.
pub(in crate::call) const NO_AMOUNT_AGREED: &str = "It is not known what is to be charged. To charge an amount, have the caller say which, \
     and send it to confirm-amount first. To keep the card on file without a charge, send chargeAmount 0, if that is what the \
     caller wants.";

/// The output of `confirm-amount` without an amount when none is due.
pub(in crate::call) const NO_AMOUNT: &str =
    "Nothing is due on this call, so confirm-amount needs the amount. Send it as decimal text, such as \"25.00\".";

/// The output of `confirm-amount` during a payment.
pub(in crate::call) const PAYMENT_IS_OPEN: &str =
    "A payment is open, for what was agreed before. Finish it or call cancel-capture, and confirm another amount then.";

/// The server cannot ask the caller in listen mode.
pub(in crate::call) const NOT_WHILE_LISTENING: &str =
    "You only listen now, so the caller cannot be asked. Switch that off with set-listen-mode first.";

/// The server does not ask the caller when the call is about to end.
pub(in crate::call) const NOT_WHILE_CLOSING: &str = "The call is about to end, so the caller is not asked any more.";

/// A question of the server waits for its answer.
pub(in crate::call) const QUESTION_PENDING: &str = "The server is just asking the caller for a yes. Say nothing, and wait for the payment update that brings the answer.";

/// The output of `finish-capture`: the server asks for the authorisation that the payment needs.
pub(in crate::call) const AUTHORIZATION_IS_ASKED: &str = "Not submitted yet: the server now reads the caller the authorisation that \
     this payment needs, and asks for a yes. Say nothing: a payment update brings the answer and says what to do.";

/// The output of `finish-capture` if the authorisation that the payment needs cannot be said.
pub(in crate::call) const NO_AUTHORIZATION_TEXT: &str = "This payment needs an authorisation that the server cannot read out, since it was \
     not set up rightly; that is no fault of the caller's. Nothing was submitted. Next: call cancel-capture, say that it is not \
     possible right now, and offer a person (call live-agent-handoff).";

/// The output of `start-capture` for a bank account that would be stored.
pub(in crate::call) const NO_STORED_ACCOUNT: &str = "A bank account cannot be stored for later debits on the telephone. Next: offer to \
     debit it once (confirm-amount with the amount), or to pay by card.";

/// The output of `start-capture` on a call that the server placed to somebody who is not known to be a customer.
pub(in crate::call) const NO_RELATIONSHIP: &str = "A bank account cannot be debited on this call, since it is not known that the called person is \
     a customer already. Next: say so, and offer to be called back, or a person (call live-agent-handoff).";

/// The update with the caller's answer to an authorisation.
pub(in crate::call) fn authorization_answer(purpose: ConsentPurpose, answer: ConsentAnswer) -> String {
    let what = if purpose == ConsentPurpose::StoredCard { "storing it" } else { "the debit" };
    match answer {
        ConsentAnswer::Yes => format!("Payment update: the caller said yes to {what}. Next: call finish-capture."),
        ConsentAnswer::No => format!(
            "Payment update: the caller said no to {what}, so that nothing is submitted. Next: call cancel-capture, and ask how the \
             caller wants to go on."
        ),
        ConsentAnswer::Unclear => format!(
            "Payment update: the server asked twice and got no clear answer about {what}, so that nothing is submitted. Next: ask \
             whether the caller wants to go on. If so, call finish-capture, and the server reads it again; else call cancel-capture."
        ),
    }
}

/// The output of `confirm-amount`: the server asks the caller.
pub(in crate::call) fn caller_is_asked(amount: Amount) -> String {
    success(&format!(
        "The server now asks the caller itself whether to charge {amount:?}. Say nothing: a payment update brings the \
         answer and says what to do."
    ))
}

/// The output of `start-capture` if the caller paid the same amount a few minutes ago.
pub(in crate::call) fn caller_is_asked_again(amount: Amount, minutes: u32) -> String {
    refusal(&format!(
        "This caller paid {amount:?} already, {minutes} minutes ago. The server now asks the caller itself whether to charge it \
         again. Say nothing: a payment update brings the answer and says what to do."
    ))
}

/// The update with the caller's answer about an amount.
pub(in crate::call) fn amount_answer(purpose: ConsentPurpose, amount: Amount, answer: ConsentAnswer) -> String {
    let again = if matches!(purpose, ConsentPurpose::ChargeAgain(_)) { " again" } else { "" };
    let what = match answer {
        ConsentAnswer::Yes => {
            format!("the caller said yes to {amount:?}{again}. Next: call start-capture with this chargeAmount")
        }
        ConsentAnswer::No => format!(
            "the caller said no to {amount:?}{again}, and nothing is charged. Next: ask what the caller wants instead"
        ),
        ConsentAnswer::Unclear => format!(
            "the server asked twice for a yes to {amount:?}{again} and got no clear answer, so nothing is charged. Next: say \
             so and offer a person (call live-agent-handoff)"
        ),
    };
    format!("Payment update: {what}.")
}
