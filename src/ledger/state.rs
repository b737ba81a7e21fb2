//! Where a payment stands, and what it may become.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::payment::{Ending, Outcome};

/// Where a payment stands in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A session is asked for, or open.
    Opened,
    /// A field was asked for.
    Capturing,
    /// It is being submitted: the result comes by callback.
    Submitted,
    /// The amount was charged.
    Charged,
    /// The card was stored.
    Tokenized,
    /// Twilio or the processor said no.
    Declined,
    /// The caller, or the agent for the caller, gave it up.
    Cancelled,
    /// The call ended, or the server that had it.
    Abandoned,
    /// It was submitted, and no result came: it may have been charged. A late callback settles it, or the operator.
    Unknown,
}

/// A text that is none of the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a state is opened, capturing, submitted, charged, tokenized, declined, cancelled, abandoned or unknown")]
pub struct BadState;

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Opened,
        Self::Capturing,
        Self::Submitted,
        Self::Charged,
        Self::Tokenized,
        Self::Declined,
        Self::Cancelled,
        Self::Abandoned,
        Self::Unknown,
    ];

    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Capturing => "capturing",
            Self::Submitted => "submitted",
            Self::Charged => "charged",
            Self::Tokenized => "tokenized",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Abandoned => "abandoned",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a payment may go from here to there. The one table of it.
    ///
    /// A success is believed wherever it comes from, since then money has moved; nothing else is believed after it.
    pub fn may_become(self, next: Self) -> bool {
        use State::{Abandoned, Cancelled, Capturing, Declined, Opened, Submitted, Unknown};
        match (self, next) {
            (from, to) if to.is_paid() => !from.is_paid(),
            (Opened, Capturing | Declined | Cancelled | Abandoned)
            // Submitted, and back if Twilio certainly did not do it.
            | (Capturing, Submitted | Declined | Cancelled | Abandoned)
            | (Submitted, Capturing | Declined | Cancelled | Abandoned | Unknown)
            | (Unknown, Declined | Cancelled | Abandoned) => true,
            _ => false,
        }
    }

    /// Whether it succeeded.
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Charged | Self::Tokenized)
    }

    /// Whether it has an outcome, which the business is told.
    pub fn is_final(self) -> bool {
        self.is_paid() || matches!(self, Self::Declined | Self::Cancelled | Self::Abandoned)
    }

    /// Whether a session may be open at Twilio, and nothing was submitted in it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Opened | Self::Capturing)
    }

    /// What Twilio's result makes of a payment that was to be charged, or not.
    pub(super) fn after(ending: &Ending, charges: bool) -> Self {
        match &ending.outcome {
            Outcome::Success if charges || (ending.token.is_none() && ending.confirmation.is_some()) => Self::Charged,
            Outcome::Success => Self::Tokenized,
            Outcome::Star | Outcome::Cancelled => Self::Cancelled,
            Outcome::HungUp => Self::Abandoned,
            Outcome::ConnectorError(_) | Outcome::Other(_) => Self::Declined,
        }
    }
}

impl FromStr for State {
    type Err = BadState;

    fn from_str(text: &str) -> Result<Self, BadState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(BadState)
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
        fn what_is_paid_stays_paid_and_what_has_ended_does_not_go_on(steps in prop::collection::vec(state(), 0..12)) {
            let mut now = State::Opened;
            for next in steps {
                if !now.may_become(next) {
                    continue;
                }
                prop_assert!(!now.is_paid());
                prop_assert!(!now.is_final() || next.is_paid(), "{now} to {next}");
                prop_assert!(next != State::Submitted || now == State::Capturing, "submitted from {now}");
                prop_assert!(next != State::Unknown || now == State::Submitted, "unknown from {now}");
                now = next;
            }
        }

        #[test]
        fn money_that_moved_is_believed_from_anywhere(from in state()) {
            prop_assert_eq!(from.may_become(State::Charged), !from.is_paid());
            prop_assert_eq!(from.may_become(State::Tokenized), !from.is_paid());
        }

        #[test]
        fn every_state_is_read_as_it_is_written(state in state()) {
            prop_assert_eq!(state.to_string().parse(), Ok(state));
            prop_assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }

    #[test]
    fn everything_unknown_can_be_settled() {
        for outcome in State::ALL {
            assert_eq!(State::Unknown.may_become(outcome), outcome.is_final(), "{outcome}");
        }
    }
}
