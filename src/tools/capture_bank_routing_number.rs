//! `capture-bank-routing-number`: the caller enters the routing number of the bank.

use super::{Desk, change};
use crate::call::Outcome;
use crate::payment::Update;

/// Asks Twilio to take the routing number of the bank from the keypad: `Capture=bank-routing-number`.
pub(super) async fn capture_bank_routing_number(desk: &Desk, update: &Update) -> Outcome {
    change(desk, update).await
}
