//! `confirm-amount`: the caller agreed to pay an amount.

use crate::call::Outcome;
use crate::payment::Amount;

/// Lets the amount be charged, once.
pub(super) async fn confirm_amount(amount: Amount) -> Outcome {
    Outcome::AmountConfirmed { amount }
}
