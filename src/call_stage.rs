//! How far a call has come. What belongs to an earlier stage of a call (a token, a webhook) is a replay, and has no effect.

use crate::socket_token::SessionNumber;

/// The furthest stage of a call so far, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallStage {
    /// This session of it was connected.
    Connected(SessionNumber),
    /// The agent's part is over: the call was handed to a person, who may send it back.
    HandedOver,
    /// Twilio has reported the end of the call, or was told to hang up.
    Ended,
}

/// The numbers of the stages after all sessions.
const HANDED_OVER: i64 = 1_000;
const ENDED: i64 = 2_000;

impl CallStage {
    /// The stage as a number of the same order.
    pub(crate) fn to_number(self) -> i64 {
        match self {
            Self::Connected(session) => session.into(),
            Self::HandedOver => HANDED_OVER,
            Self::Ended => ENDED,
        }
    }

    /// Returns the stage with this number.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        match number {
            HANDED_OVER => Some(Self::HandedOver),
            ENDED => Some(Self::Ended),
            session => session.try_into().ok().map(Self::Connected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_the_order_of_stages() {
        let stages = [CallStage::Connected(0), CallStage::Connected(3), CallStage::HandedOver, CallStage::Ended];
        assert!(stages.is_sorted() && stages.map(CallStage::to_number).is_sorted());
        assert_eq!(stages.map(|stage| CallStage::from_number(stage.to_number())), stages.map(Some));
        assert_eq!(CallStage::from_number(-1).or(CallStage::from_number(999)), None);
    }
}
