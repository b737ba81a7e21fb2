//! Twilio's response to a request, and what it shows about the payment, for both the call and the ledger.

use super::{PaymentOutcome, is_decline_code};
use crate::ids::PaymentSid;

/// The response of Twilio's REST API to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TwilioResponse {
    /// The session was created.
    Created(PaymentSid),
    /// The update was accepted, which does not mean that it succeeded.
    Accepted,
    /// The request was refused.
    Refused {
        /// Twilio's error code.
        code: Option<u32>,
        /// The reason to give to the model.
        reason: &'static str,
    },
    /// The call or the session has ended.
    Gone,
    /// It is unknown whether the request was carried out.
    Unknown,
}

impl TwilioResponse {
    /// Returns what the response shows about the request. `sent_before` is whether the same request, with the same
    /// idempotency key, was sent before: it may have been carried out then, and a rejection of its repetition leaves
    /// that unknown.
    #[must_use]
    pub fn resolve(self, sent_before: bool) -> Self {
        if sent_before && matches!(self, Self::Refused { .. } | Self::Gone) { Self::Unknown } else { self }
    }

    /// Whether the response to a cancellation shows that the session is not open any more.
    pub fn confirms_cancellation(&self) -> bool {
        matches!(self, Self::Accepted | Self::Gone)
    }
}

/// Twilio's refusal of a submission: the card was certainly not charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmissionRefusal {
    /// Twilio's error code.
    pub code: Option<u32>,
}

impl SubmissionRefusal {
    /// The outcome of the payment if nothing more is submitted.
    pub fn outcome(self) -> PaymentOutcome {
        if is_decline_code(self.code) { PaymentOutcome::Declined } else { PaymentOutcome::Failed }
    }

    /// Whether fields are still missing. Twilio's `Required` names them.
    pub fn is_incomplete(self) -> bool {
        self.code == Some(64019)
    }

    /// Whether the card counts as failed for the velocity limits. These count every card that Twilio tried, and not only
    /// declines: only a request that was wrong or out of order (64018 to 64021) says nothing about the card.
    pub fn is_of_card(self) -> bool {
        !matches!(self.code, None | Some(64018..=64021))
    }
}
