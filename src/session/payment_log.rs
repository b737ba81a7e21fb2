//! What became of payments, as log lines. No card data and no token is in them.

use tracing::{error, info, warn};

use crate::payment::{Amount, Entry, News, Outcome, ResultWord, Status};

/// Writes down the result of a payment whose call is over.
pub fn late(status: &Status) {
    let News::Ended(ending) = &status.news else { return };
    let (call, payment, result) = (&status.call, &status.sid, ending);
    if ending.result == ResultWord::Success {
        error!(%call, %payment, %result, "a payment succeeded after its call: somebody has to know");
    } else {
        warn!(%call, %payment, %result, "a payment ended after its call");
    }
}

/// Writes an entry down.
pub(super) fn record(entry: &Entry) {
    let amount = |charge: &Option<Amount>| charge.map_or("none (tokenize)".to_owned(), |amount| format!("{amount:?}"));
    match entry {
        Entry::Opened { sid, charge } => info!(payment = %sid, amount = amount(charge), "payment opened"),
        Entry::Captured { sid, field } => info!(payment = %sid, %field, "field captured"),
        Entry::Wrong { sid, field, error } => info!(payment = %sid, %field, %error, "wrong entry"),
        Entry::Submitted { sid } => info!(payment = %sid, "payment submitted"),
        Entry::Ended { sid, charge, ending, outcome: Outcome::Succeeded } => info!(
            payment = %sid,
            amount = amount(charge),
            confirmation = ending.confirmation.as_deref().unwrap_or("none"),
            token = ending.token.is_some(),
            last4 = ending.last4.map(tracing::field::display),
            "payment succeeded"
        ),
        Entry::Ended { sid, charge, ending, outcome: Outcome::Unknown(doubt) } => error!(
            event = "payment.unknown",
            payment = %sid,
            amount = amount(charge),
            result = %ending,
            why = %doubt,
            "The result of a payment is not known: look it up at the processor."
        ),
        Entry::Ended { sid, charge, ending, .. } => {
            warn!(payment = %sid, amount = amount(charge), result = %ending, "payment ended without success");
        }
        Entry::Abandoned { sid } => info!(payment = %sid, "payment abandoned: it is being cancelled"),
        Entry::Refused { sid, change, code } => warn!(payment = %sid, %change, code, "payment request refused"),
        Entry::NotCancelled { sid } => {
            error!(payment = %sid, "it is not known whether the payment was cancelled: look it up at Twilio");
        }
        Entry::Stalled { sid, times } => {
            warn!(payment = sid.as_ref().map(tracing::field::display), times, "payment stands still");
        }
        Entry::Unresolved { sid, charge } => error!(
            payment = %sid,
            amount = amount(charge),
            "the call ended before the result of a submitted payment was known: look it up at the processor"
        ),
        Entry::Unmasked { sid } => error!(payment = %sid, "Twilio sent card data that was not masked: it was dropped"),
        Entry::Answered(statement) => info!(
            event = "statement.answered",
            purpose = statement.purpose.as_str(),
            answer = statement.consent.as_str(),
            amount = statement.purpose.amount().map(|amount| format!("{amount:?}")),
            language = statement.language,
            version = statement.version,
            "The caller answered a statement."
        ),
    }
}
