//! `cancel-capture`: the payment is given up.

use tracing::error;

use super::{Desk, send};
use crate::call::Outcome;
use crate::payment::Update;

/// Gives the payment up and discards what was entered: `Status=cancel`. To try again needs a new session.
pub(crate) async fn cancel_capture(desk: &Desk, update: &Update) -> Outcome {
    // What cannot be written down is cancelled all the same: no payment stays open for want of a ledger.
    if let Err(error) = desk.ledger.asking(&desk.call, update).await {
        error!(
            event = "ledger.cancel_lost",
            payment = %update.sid,
            %error,
            "A payment is cancelled, and that could be neither written nor held."
        );
    }
    Outcome::Payment(send(desk, update).await)
}
