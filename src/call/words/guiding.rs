//! What the model is told while the server leads through a payment.

use super::{after_refusal, next_step};
use crate::payment::{Capture, Change, EntryError, Field};

/// The session is open, or the model wants to lead itself.
pub(in crate::call) const SERVER_LEADS: &str = "The payment session is open, and the server leads through it: it asks the \
     caller for each field by itself, asks again after a wrong entry, and submits the payment. Ask for nothing and announce \
     nothing. Answer questions in one short sentence; cancel-capture, live-agent-handoff and end-call are yours as always. A \
     payment update tells you when you are to say something.";

/// A session is open of which the model was told that nobody knows.
pub(in crate::call) fn opened_and_led() -> String {
    format!("Payment update: it is open after all. {SERVER_LEADS}")
}

/// The caller refused while the server led, and heard that the payment is cancelled.
pub(in crate::call) const CALLER_REFUSED: &str = "Payment update: the caller did not want to go on, so the server cancelled the \
     payment and said so; nothing was charged or stored. Next: ask what else you can do.";

/// The caller agreed to the submission.
pub(in crate::call) const CALLER_GOES_ON: &str =
    "Payment update: the server asked whether to go on, the caller said yes, and the payment is being submitted.";

/// The caller did not agree to the submission in clear words, and the server hands the call over.
pub(in crate::call) const NO_CLEAR_YES: &str = "Payment update: the server asked twice whether to go on and got no clear answer, so it \
     cancelled the payment; nothing was charged or stored.";

/// A field is in, and the server has gone on.
pub(in crate::call) fn entered(field: Field) -> String {
    format!("Payment update: the {field} is in, and the server went on.")
}

/// An entry was wrong, and the server asks for it again.
pub(in crate::call) fn asked_again(field: Field, error: &EntryError) -> String {
    format!("Payment update: the {field} was not taken: {error}. The server asks for it once more.")
}

/// The server cannot go on by itself.
pub(in crate::call) fn model_leads(capture: Option<&Capture>) -> String {
    format!("Payment update: from here on you lead through the payment. Next: {}.", next(capture))
}

/// A request of the server's own was refused.
pub(in crate::call) fn not_done(
    change: Change,
    reason: &str,
    code: Option<u32>,
    capture: Option<&Capture>,
    declines: u32,
) -> String {
    let what = what(change);
    let next = match (change, capture) {
        (Change::Complete, Some(capture)) => after_refusal(code, capture, declines),
        (_, capture) => next(capture),
    };
    format!("Payment update: {what} was refused. {reason} From here on you lead through the payment. Next: {next}.")
}

/// Twilio left a request of the server's own unanswered, again and again.
pub(in crate::call) fn unanswered(change: Change) -> String {
    let (what, tool) = (what(change), tool(change));
    format!(
        "Payment update: {what} was left unanswered by Twilio, so it is not known whether it was taken. From here on you lead \
         through the payment. Next: tell the caller that it takes a moment and call {tool} again."
    )
}

/// The session is over, and its result did not come.
pub(in crate::call) fn session_gone() -> String {
    "Payment update: the payment session is over, and nothing was charged. Next: say so, and offer to begin again (call \
     start-capture) or a person (call live-agent-handoff)."
        .to_owned()
}

fn next(capture: Option<&Capture>) -> String {
    capture.map_or_else(|| "offer a person (call live-agent-handoff)".to_owned(), next_step)
}

fn what(change: Change) -> String {
    match change {
        Change::Capture(field) => format!("the request for the {field}"),
        Change::Complete => "the submission of the payment".to_owned(),
        Change::Cancel => "the cancelling of the payment".to_owned(),
    }
}

fn tool(change: Change) -> &'static str {
    match change {
        Change::Capture(field) => field.tool(),
        Change::Complete => "finish-capture",
        Change::Cancel => "cancel-capture",
    }
}
