//! `start-capture`: a payment session is opened on the call.

use std::time::Duration;

use tokio::time::timeout;

use super::{Desk, answer, refused, written};
use crate::call::Outcome;
use crate::payment::{Answer, Create};

/// How long an earlier payment of the call, which a server that died left open, may take to be put away.
const RECOVERY: Duration = Duration::from_secs(3);

/// Opens a payment session: with an amount it charges the card, without one it tokenizes it. Written down first.
pub(super) async fn start_capture(desk: &Desk, create: &Create) -> Outcome {
    // If it takes longer, the ledger says so.
    let _ = timeout(RECOVERY, desk.ledger.recovered(&desk.call.sid)).await;
    open_session(desk, create).await
}

/// Asks Twilio for a session, or once more for the same.
pub(crate) async fn open_session(desk: &Desk, create: &Create) -> Outcome {
    if let Err(refusal) = desk.ledger.opening(&desk.call, create).await {
        return refused(desk, &refusal);
    }
    let answer = answer(desk.twilio.create_payment(&desk.call.sid, create).await.map(Answer::Created));
    written(desk.ledger.created(create, &answer).await);
    Outcome::Payment(answer)
}
