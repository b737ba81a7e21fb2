//! Payment states and the transitions between them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The state of a payment in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentState {
    /// A session is requested or open.
    Opened,
    /// The capture of a field was requested.
    Capturing,
    /// `complete` is requested; the result comes by callback.
    Submitted,
    /// A bank debit is accepted and not settled yet.
    Pending,
    /// The amount is charged.
    Charged,
    /// The card or account is stored.
    Tokenized,
    /// The bank declined the card.
    Declined,
    /// Nothing was charged, for a technical reason that is certain.
    Failed,
    /// The caller, or the agent for the caller, cancelled it.
    Cancelled,
    /// The call ended, or the server that handled it stopped.
    Abandoned,
    /// The payment was submitted, and its result is unknown or contradictory: it may have been charged. A late callback
    /// or the operator settles it.
    Unknown,
    /// A bank debit was returned.
    Returned,
    /// The whole charge is refunded.
    Refunded,
    /// The payer disputes the charge.
    Disputed,
}

/// The text is not a payment state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a state is opened, capturing, submitted, pending, charged, tokenized, declined, failed, cancelled, abandoned, unknown, \
     returned, refunded or disputed"
)]
pub struct ParseStateError;

impl PaymentState {
    /// All states.
    pub const ALL: [Self; 14] = [
        Self::Opened,
        Self::Capturing,
        Self::Submitted,
        Self::Pending,
        Self::Charged,
        Self::Tokenized,
        Self::Declined,
        Self::Failed,
        Self::Cancelled,
        Self::Abandoned,
        Self::Unknown,
        Self::Returned,
        Self::Refunded,
        Self::Disputed,
    ];

    /// The value stored in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Capturing => "capturing",
            Self::Submitted => "submitted",
            Self::Pending => "pending",
            Self::Charged => "charged",
            Self::Tokenized => "tokenized",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
            Self::Returned => "returned",
            Self::Refunded => "refunded",
            Self::Disputed => "disputed",
        }
    }

    /// Whether a payment may go from this state to `next`. Corrections by an operator are not covered.
    ///
    /// A success is accepted from every state without one, since money has moved. After it, only settlement, return,
    /// refund and dispute are possible.
    pub fn may_become(self, next: Self) -> bool {
        use PaymentState::{
            Abandoned, Cancelled, Capturing, Charged, Declined, Disputed, Failed, Opened, Pending, Refunded, Returned,
            Submitted, Tokenized, Unknown,
        };
        match (self, next) {
            (from, Charged | Tokenized | Pending) if from.is_without_success() => true,
            (Opened, Capturing | Declined | Failed | Cancelled | Abandoned)
            // Submitted, and back if Twilio certainly refused.
            | (Capturing, Submitted | Declined | Failed | Cancelled | Abandoned)
            | (Submitted, Capturing | Declined | Failed | Cancelled | Abandoned | Unknown)
            | (Unknown, Declined | Failed | Cancelled | Abandoned)
            | (Pending, Charged | Returned | Disputed)
            | (Charged, Returned | Refunded | Disputed)
            | (Refunded, Disputed)
            // A dispute is won, or conceded.
            | (Disputed, Charged | Refunded) => true,
            _ => false,
        }
    }

    /// Whether the payment succeeded and was not returned, refunded or disputed.
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Charged | Self::Tokenized)
    }

    /// Whether no success of the payment is known.
    pub fn is_without_success(self) -> bool {
        match self {
            Self::Opened
            | Self::Capturing
            | Self::Submitted
            | Self::Declined
            | Self::Failed
            | Self::Cancelled
            | Self::Abandoned
            | Self::Unknown => true,
            Self::Pending | Self::Charged | Self::Tokenized | Self::Returned | Self::Refunded | Self::Disputed => false,
        }
    }

    /// Whether the payment has no outcome yet.
    pub fn is_in_progress(self) -> bool {
        self.is_open() || self == Self::Submitted
    }

    /// Whether the state is reported to the business: all states except those before the first outcome.
    pub fn is_reported(self) -> bool {
        !self.is_in_progress()
    }

    /// Whether the payment ended with a known outcome, so that nothing more is expected from Twilio.
    pub fn is_final(self) -> bool {
        self.is_reported() && self != Self::Unknown
    }

    /// Whether a session may be open at Twilio, and nothing was submitted in it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opened | Self::Capturing)
    }

    /// Whether the business has the money, or a bank debit is on its way. A dispute is not decided yet.
    pub fn holds_money(self) -> bool {
        matches!(self, Self::Pending | Self::Charged | Self::Disputed)
    }

    /// Whether the amount was charged, whatever happened to it later.
    pub fn was_charged(self) -> bool {
        matches!(self, Self::Charged | Self::Returned | Self::Refunded | Self::Disputed)
    }

    /// Whether the payment blocks another one of the same order: it holds the money, or may still get it.
    pub fn blocks_order(self) -> bool {
        self.holds_money() || self.is_in_progress() || self == Self::Unknown
    }

    /// Whether the amount counts towards the caps: it was charged, or may still be charged.
    pub fn counts_towards_caps(self) -> bool {
        self.blocks_order() || matches!(self, Self::Tokenized | Self::Refunded)
    }

    /// Whether nothing more is expected of the payment, apart from returns, refunds and disputes.
    pub fn is_settled(self) -> bool {
        self.is_final() && self != Self::Pending
    }
}

impl FromStr for PaymentState {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<Self, ParseStateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(ParseStateError)
    }
}

impl fmt::Display for PaymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> impl Strategy<Value = PaymentState> {
        prop::sample::select(&PaymentState::ALL[..])
    }

    proptest! {
        /// Holds for any order of callbacks, responses and restarts.
        #[test]
        fn no_success_is_lost_in_any_order(steps in prop::collection::vec(state(), 0..16)) {
            let mut now = PaymentState::Opened;
            for next in steps {
                if !now.may_become(next) {
                    continue;
                }
                prop_assert!(now.is_without_success() || !next.is_without_success(), "{now} to {next}");
                prop_assert!(!now.is_final() || !next.is_without_success(), "{now} to {next}");
                prop_assert!(next != PaymentState::Submitted || now == PaymentState::Capturing, "submitted from {now}");
                prop_assert!(next != PaymentState::Unknown || now == PaymentState::Submitted, "unknown from {now}");
                now = next;
            }
        }

        #[test]
        fn a_success_is_accepted_from_every_state_without_one(from in state()) {
            for next in [PaymentState::Charged, PaymentState::Tokenized, PaymentState::Pending] {
                let reverts = matches!((from, next), (PaymentState::Pending | PaymentState::Disputed, PaymentState::Charged));
                prop_assert_eq!(from.may_become(next), from.is_without_success() || reverts);
            }
        }

        #[test]
        fn every_state_round_trips(state in state()) {
            prop_assert_eq!(state.to_string().parse(), Ok(state));
            prop_assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }

    #[test]
    fn each_question_about_a_payment_is_answered_by_its_state() {
        let states = |of: fn(PaymentState) -> bool| {
            let states = PaymentState::ALL.into_iter().filter(|state| of(*state)).map(PaymentState::as_str);
            states.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(states(PaymentState::is_in_progress), "opened capturing submitted");
        assert_eq!(states(PaymentState::holds_money), "pending charged disputed");
        assert_eq!(states(PaymentState::was_charged), "charged returned refunded disputed");
        assert_eq!(states(PaymentState::blocks_order), "opened capturing submitted pending charged unknown disputed");
        assert_eq!(states(|state| !state.counts_towards_caps()), "declined failed cancelled abandoned returned");
        assert_eq!(states(|state| !state.is_settled()), "opened capturing submitted pending unknown");
    }

    #[test]
    fn an_unknown_payment_can_be_settled() {
        let settled = PaymentState::ALL.into_iter().filter(|next| PaymentState::Unknown.may_become(*next));
        let words: Vec<_> = settled.map(PaymentState::as_str).collect();
        assert_eq!(words, ["pending", "charged", "tokenized", "declined", "failed", "cancelled", "abandoned"]);
    }
}
