//! Texts for the model while the server leads through a payment.

use super::{next_step, step_after_refusal};
use crate::payment::{Capture, EntryError, Field, UpdateAction};

/// The session is open, or the model called a tool that the server runs itself.
pub(in crate::call) const SERVER_LEADS: &str = "The payment session is open, and the server leads through it: it asks the \
     caller for each field by itself, asks again after a wrong entry, and submits the payment. Ask for nothing and announce \
     nothing. Answer questions in one short sentence; cancel-capture, live-agent-handoff and end-call are yours as always. A \
     payment update tells you when you are to say something.";

/// The update for a session that is confirmed after all, while the server leads.
pub(in crate::call) fn session_opened_guided() -> String {
    format!("Payment update: it is open after all. {SERVER_LEADS}")
}

/// The update for a payment that the server cancelled at the caller's refusal.
pub(in crate::call) const CALLER_REFUSED: &str = "Payment update: the caller did not want to go on, so the server cancelled the \
     payment and said so; nothing was charged or stored. Next: ask what else you can do.";

/// The update for the caller's yes to the submission.
pub(in crate::call) const CALLER_CONTINUES: &str =
    "Payment update: the server asked whether to go on, the caller said yes, and the payment is being submitted.";

/// The update for a payment that was cancelled without a clear yes to the submission, before a hand-off.
pub(in crate::call) const NO_CLEAR_YES: &str = "Payment update: the server asked twice whether to go on and got no clear answer, so it \
     cancelled the payment; nothing was charged or stored.";

/// The update for a field that was entered; the server requests the next step.
pub(in crate::call) fn field_entered(field: Field) -> String {
    format!("Payment update: the {field} is in, and the server went on.")
}

/// The update for an invalid entry; the server asks for it again.
pub(in crate::call) fn field_asked_again(field: Field, error: &EntryError) -> String {
    format!("Payment update: the {field} was not taken: {error}. The server asks for it once more.")
}

/// The update that the server cannot continue, so the model leads.
pub(in crate::call) fn model_leads(capture: Option<&Capture>) -> String {
    format!("Payment update: from here on you lead through the payment. Next: {}.", next_step_or_person(capture))
}

/// The update for a request of the server that Twilio refused.
pub(in crate::call) fn request_refused(
    change: UpdateAction,
    reason: &str,
    code: Option<u32>,
    capture: Option<&Capture>,
    declines: u32,
) -> String {
    let what = describe_change(change);
    let next = match (change, capture) {
        (UpdateAction::Complete, Some(capture)) => step_after_refusal(code, capture, declines),
        (_, capture) => next_step_or_person(capture),
    };
    format!("Payment update: {what} was refused. {reason} From here on you lead through the payment. Next: {next}.")
}

/// The update for a request of the server to which Twilio repeatedly did not respond.
pub(in crate::call) fn request_unanswered(change: UpdateAction) -> String {
    let (what, tool) = (describe_change(change), tool_name(change));
    format!(
        "Payment update: {what} was left unanswered by Twilio, so it is not known whether it was taken. From here on you lead \
         through the payment. Next: tell the caller that it takes a moment and call {tool} again."
    )
}

/// The update for a session that has closed without a result.
pub(in crate::call) fn session_gone() -> String {
    "Payment update: the payment session is over, and nothing was charged. Next: say so, and offer to begin again (call \
     start-capture) or a person (call live-agent-handoff)."
        .to_owned()
}

fn next_step_or_person(capture: Option<&Capture>) -> String {
    capture.map_or_else(|| "offer a person (call live-agent-handoff)".to_owned(), next_step)
}

fn describe_change(change: UpdateAction) -> String {
    match change {
        UpdateAction::Capture(field) => format!("the request for the {field}"),
        UpdateAction::Complete => "the submission of the payment".to_owned(),
        UpdateAction::Cancel => "the cancelling of the payment".to_owned(),
    }
}

fn tool_name(change: UpdateAction) -> &'static str {
    match change {
        UpdateAction::Capture(field) => field.tool_name(),
        UpdateAction::Complete => "finish-capture",
        UpdateAction::Cancel => "cancel-capture",
    }
}
