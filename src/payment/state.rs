//! The states of a payment, and which may follow which.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The state of a payment in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A session is asked for, or open.
    Opened,
    /// A field was asked for.
    Capturing,
    /// `complete` is asked for: the result comes by callback.
    Submitted,
    /// The debit of a bank account is accepted, and not settled.
    Pending,
    /// The amount is charged.
    Charged,
    /// The card, or the account, is stored.
    Tokenized,
    /// The bank refused the card.
    Declined,
    /// Nothing was charged, for a technical reason that is certain.
    Failed,
    /// The caller, or the agent for the caller, gave it up.
    Cancelled,
    /// The call ended, or the server that had it.
    Abandoned,
    /// It was submitted, and its result is not known or contradicts itself: it may have been charged. A late callback settles
    /// it, or the operator.
    Unknown,
    /// The debit of a bank account came back.
    Returned,
    /// All of what was charged is refunded.
    Refunded,
    /// The payer disputes what was charged.
    Disputed,
}

/// A text that is none of the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a state is opened, capturing, submitted, pending, charged, tokenized, declined, failed, cancelled, abandoned, unknown, \
     returned, refunded or disputed"
)]
pub struct ParseStateError;

impl State {
    /// All of them.
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

    /// The word in the ledger.
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

    /// Whether a payment may go from here to there. The one table of it; what an operator corrects is beside it.
    ///
    /// A success is believed wherever it comes from, since then money has moved; after it only the way of the money counts.
    pub fn may_become(self, next: Self) -> bool {
        use State::{
            Abandoned, Cancelled, Capturing, Charged, Declined, Disputed, Failed, Opened, Pending, Refunded, Returned,
            Submitted, Tokenized, Unknown,
        };
        match (self, next) {
            (from, Charged | Tokenized | Pending) if from.is_without_success() => true,
            (Opened, Capturing | Declined | Failed | Cancelled | Abandoned)
            // Submitted, and back if Twilio certainly did not do it.
            | (Capturing, Submitted | Declined | Failed | Cancelled | Abandoned)
            | (Submitted, Capturing | Declined | Failed | Cancelled | Abandoned | Unknown)
            | (Unknown, Declined | Failed | Cancelled | Abandoned)
            | (Pending, Charged | Returned | Disputed)
            | (Charged, Returned | Refunded | Disputed)
            | (Refunded, Disputed)
            // A dispute is won, or given in to.
            | (Disputed, Charged | Refunded) => true,
            _ => false,
        }
    }

    /// Whether it succeeded, and the money stayed.
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Charged | Self::Tokenized)
    }

    /// Whether no success of it is known.
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

    /// Whether the business is told that a payment is in this state: all but those before its first outcome.
    pub fn is_told(self) -> bool {
        !matches!(self, Self::Opened | Self::Capturing | Self::Submitted)
    }

    /// Whether it ended, as far as is known: nothing more is expected from Twilio.
    pub fn is_final(self) -> bool {
        self.is_told() && self != Self::Unknown
    }

    /// Whether a session may be open at Twilio, and nothing was submitted in it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opened | Self::Capturing)
    }
}

impl FromStr for State {
    type Err = ParseStateError;

    fn from_str(text: &str) -> Result<Self, ParseStateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(ParseStateError)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state() -> impl Strategy<Value = State> {
        prop::sample::select(&State::ALL[..])
    }

    proptest! {
        /// However callbacks, answers and restarts are shuffled.
        #[test]
        fn what_succeeded_goes_only_the_way_of_the_money(steps in prop::collection::vec(state(), 0..16)) {
            let mut now = State::Opened;
            for next in steps {
                if !now.may_become(next) {
                    continue;
                }
                prop_assert!(now.is_without_success() || !next.is_without_success(), "{now} to {next}");
                prop_assert!(!now.is_final() || !next.is_without_success(), "{now} to {next}");
                prop_assert!(next != State::Submitted || now == State::Capturing, "submitted from {now}");
                prop_assert!(next != State::Unknown || now == State::Submitted, "unknown from {now}");
                now = next;
            }
        }

        #[test]
        fn money_that_moved_is_believed_from_anywhere(from in state()) {
            for next in [State::Charged, State::Tokenized, State::Pending] {
                let reverts = matches!((from, next), (State::Pending | State::Disputed, State::Charged));
                prop_assert_eq!(from.may_become(next), from.is_without_success() || reverts);
            }
        }

        #[test]
        fn every_state_is_read_as_it_is_written(state in state()) {
            prop_assert_eq!(state.to_string().parse(), Ok(state));
            prop_assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }

    #[test]
    fn everything_unknown_can_be_settled() {
        let settled = State::ALL.into_iter().filter(|next| State::Unknown.may_become(*next));
        let words: Vec<_> = settled.map(State::as_str).collect();
        assert_eq!(words, ["pending", "charged", "tokenized", "declined", "failed", "cancelled", "abandoned"]);
    }
}
