//! What the ledger knows before a call, or a payment on it, begins.

use jiff::Timestamp;

use super::{Amount, State};

/// A payment that was begun before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPayment {
    /// Its state.
    pub state: State,
    /// The amount; `None` stores a card.
    pub charge: Option<Amount>,
    /// When it came into that state, or began.
    pub at: Timestamp,
}

/// What there is of a call, its order and its caller. Empty for most calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Payments of this very call, oldest first: the call outlived the server that had it.
    pub on_call: Vec<KnownPayment>,
    /// What the caller said yes to on this call, if no payment was begun after that.
    pub agreed: Option<Amount>,
    /// The payment of the same order that stands in the way of another one.
    pub order: Option<KnownPayment>,
    /// Payments of the caller that may have been charged, on other calls and of other orders.
    pub unknown: Vec<KnownPayment>,
}

impl Known {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which payments are one and the same debt: `Payments.payAgain` and `Payments.sameAgainMinutes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderRules {
    /// References repeat, so that a second payment of the same reference is another debt.
    pub pay_again: bool,
    /// Without a reference the same amount of the same caller is the same debt for so many minutes; 0: each payment is a debt of its
    /// own.
    pub same_again_minutes: u32,
}

impl Default for OrderRules {
    fn default() -> Self {
        Self { pay_again: false, same_again_minutes: 60 }
    }
}
