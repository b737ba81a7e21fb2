//! Log lines for the steps and results of payments. They contain no card data and no token.

use tracing::{error, info, warn};

use crate::ids::{CallSid, PaymentSid};
use crate::payment::{Amount, CallbackKind, NoticeKind, PaymentCallback, PaymentLogEntry, PaymentOutcome};

/// Logs the result of a payment whose call has ended.
pub(crate) fn log_late_result(status: &PaymentCallback) {
    let CallbackKind::Ended(ending) = &status.kind else { return };
    let (call, payment, result) = (&status.call_sid, &status.payment_sid, ending);
    if ending.claims_success() {
        error!(
            event = "payment.success_after_call",
            call_sid = %call,
            payment_sid = %payment,
            %result,
            "Twilio reported the success of a payment after its call had ended; the caller was not told."
        );
    } else {
        warn!(
            event = "payment.ended_after_call",
            call_sid = %call,
            payment_sid = %payment,
            %result,
            "A payment ended without success after its call had ended."
        );
    }
}

/// Logs the success of a payment of which the caller was not told, since no server had the call any more.
pub(super) fn log_untold_success(call: &CallSid, payment: &PaymentSid) {
    error!(
        event = "payment.success_after_call",
        call_sid = %call,
        payment_sid = %payment,
        "Twilio reported the success of a payment while no server had its call; the caller was not told."
    );
}

/// Logs one entry of a payment's history, which a response of Twilio to this request may have caused.
#[expect(clippy::too_many_lines, reason = "one arm for each entry")]
pub(super) fn log_entry(entry: &PaymentLogEntry, request_id: Option<&str>) {
    let amount = |charge: &Option<Amount>| charge.map_or("none (tokenize)".to_owned(), |amount| format!("{amount:?}"));
    match entry {
        PaymentLogEntry::Opened { sid, charge } => info!(
            event = "payment.opened",
            payment_sid = %sid,
            amount = amount(charge),
            "A payment was opened."
        ),
        PaymentLogEntry::Captured { sid, field } => info!(
            event = "payment.field_captured",
            payment_sid = %sid,
            %field,
            "A field was captured."
        ),
        PaymentLogEntry::WrongEntry { sid, field, error } => info!(
            event = "payment.invalid_entry",
            payment_sid = %sid,
            %field,
            %error,
            "The caller's entry for a field was invalid."
        ),
        PaymentLogEntry::Submitted { sid } => info!(
            event = "payment.submitted",
            payment_sid = %sid,
            "The payment was submitted to the processor."
        ),
        PaymentLogEntry::Ended { sid, charge, ending, outcome: PaymentOutcome::Succeeded } => info!(
            event = "payment.succeeded",
            payment_sid = %sid,
            amount = amount(charge),
            confirmation = ending.confirmation_code.as_deref().unwrap_or("none"),
            token = ending.payment_token.is_some(),
            last4 = ending.last4.map(tracing::field::display),
            "The payment succeeded."
        ),
        PaymentLogEntry::Ended { sid, charge, ending, outcome: PaymentOutcome::Unknown(doubt) } => error!(
            event = "payment.unknown",
            payment_sid = %sid,
            amount = amount(charge),
            result = %ending,
            reason = %doubt,
            "The result of a payment is unknown: look it up at the processor, then settle it."
        ),
        PaymentLogEntry::Ended { sid, charge, ending, .. } => {
            warn!(
                event = "payment.unsuccessful",
                payment_sid = %sid,
                amount = amount(charge),
                result = %ending,
                "The payment ended without success."
            );
        }
        PaymentLogEntry::Abandoned { sid } => info!(
            event = "payment.abandoned",
            payment_sid = %sid,
            "The payment was abandoned and is being cancelled."
        ),
        PaymentLogEntry::Refused { sid, change, code } => warn!(
            event = "payment.request_refused",
            payment_sid = %sid,
            action = %change,
            error_code = code,
            request_id,
            "Twilio refused a change of a payment session."
        ),
        PaymentLogEntry::CancelUnconfirmed { sid } => {
            error!(
                event = "payment.cancel_unknown",
                payment_sid = %sid,
                request_id,
                "It is unknown whether the payment was cancelled: look it up at Twilio."
            );
        }
        PaymentLogEntry::Stalled { sid, times } => {
            warn!(
                event = "payment.stalled",
                payment_sid = sid.as_ref().map(tracing::field::display),
                times,
                "The payment makes no progress."
            );
        }
        PaymentLogEntry::Unresolved { sid, charge } => error!(
            event = "payment.unresolved",
            payment_sid = %sid,
            amount = amount(charge),
            "The call ended before the result of a submitted payment was known: look it up at the processor."
        ),
        PaymentLogEntry::ConsentAnswered(statement) => info!(
            event = "statement.answered",
            purpose = statement.purpose.as_str(),
            answer = statement.answer.as_str(),
            amount = statement.purpose.amount().map(|amount| format!("{amount:?}")),
            language = statement.language,
            version = statement.text_version,
            "The caller answered a statement."
        ),
        PaymentLogEntry::NoticeHeard(NoticeKind::Disclosure, statement) => info!(
            event = "statement.disclosed",
            language = statement.language,
            version = statement.text_version,
            "The caller has heard that the agent is a machine."
        ),
        PaymentLogEntry::NoticeHeard(NoticeKind::Recording, statement) => info!(
            event = "statement.recording",
            language = statement.language,
            version = statement.text_version,
            "The caller has heard that the call is recorded."
        ),
        PaymentLogEntry::DueNamed { due: Ok(due) } => info!(
            event = "payment.due_named",
            due = ?due,
            "A tool of the business named what is due on the call."
        ),
        PaymentLogEntry::DueNamed { due: Err(error) } => error!(
            event = "call_parameters.no_payment",
            %error,
            "A tool of the business named an amount due that allows no payment."
        ),
        PaymentLogEntry::DueKept => warn!(
            event = "payment.due_kept",
            "A tool of the business named another amount due while a payment was open or money may have moved; it is not \
             charged on this call."
        ),
    }
}
