//! Earlier payments that the ledger knows when a call or a payment begins, and the rules for repeated payments.

use jiff::Timestamp;

use super::{Amount, PaymentRecord, PaymentState};
use crate::ids::PaymentSid;
use crate::recording::KnownRecording;

/// An earlier payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriorPayment {
    /// Its state.
    pub state: PaymentState,
    /// The amount; `None` stores a card.
    pub charge: Option<Amount>,
    /// When it entered that state, or began.
    pub at: Timestamp,
}

/// The earlier payments of a call, its order and its caller. Empty for most calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriorPayments {
    /// Payments of this call, oldest first. Present only if the call outlived the server that handled it.
    pub on_call: Vec<PriorPayment>,
    /// The amount that the caller consented to on this call, if no payment began after that.
    pub consented_amount: Option<Amount>,
    /// The caller has heard on this call that the agent is a machine: `Compliance.disclosure`.
    pub is_disclosed: bool,
    /// The recording of this call.
    pub recording: KnownRecording,
    /// The payment of the same order that blocks another one.
    pub same_order: Option<PriorPayment>,
    /// Payments of the caller that may have been charged, on other calls and of other orders.
    pub possibly_charged: Vec<PriorPayment>,
    /// The sessions of the payments of this call, whose results may still come.
    pub sessions: Vec<PriorSession>,
    /// The call may have been connected before, and the ledger could not be read: nobody knows whether a card is being entered.
    pub is_unread: bool,
}

/// The session of an earlier payment of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorSession {
    /// The session.
    pub sid: PaymentSid,
    /// What is known of the payment.
    pub record: PaymentRecord,
    /// Whether it was by bank account, and not by card.
    pub by_bank_account: bool,
}

impl PriorPayments {
    /// Whether there is no payment and no consent.
    pub fn is_empty(&self) -> bool {
        *self == Self { is_disclosed: self.is_disclosed, recording: self.recording.clone(), ..Self::default() }
    }
}

/// Which payments count as the same debt: `Payments.payAgain` and `Payments.sameAgainMinutes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderRules {
    /// Whether references repeat, so that a second payment with the same reference is another debt.
    pub pay_again: bool,
    /// For how many minutes the same amount of the same caller is the same debt when there is no reference; 0: each
    /// payment is a separate debt.
    pub same_again_minutes: u32,
}

impl Default for OrderRules {
    fn default() -> Self {
        Self { pay_again: false, same_again_minutes: 60 }
    }
}
