//! What a server that died, or a session that broke, left open at Twilio is cancelled in the background.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tracing::{error, info, warn};

use crate::call::Outcome;
use crate::ledger::{Ledger, Left};
use crate::payment::{Answer, Settings};
use crate::sid::PaymentSid;
use crate::tools::{self, Desk};
use crate::twilio;

/// So many payments at once.
const AT_ONCE: usize = 4;

/// How long to wait before each attempt.
const ATTEMPTS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(15)];

/// Puts away what was left open by a server with such settings. A payment that cannot be cancelled is given up all the same, and
/// logged.
pub async fn put_away(ledger: Ledger, twilio: Arc<twilio::Client>, settings: Settings, left: Vec<Left>) {
    if left.is_empty() {
        return;
    }
    warn!(payments = left.len(), "payments were left open, and nobody goes on with them: they are cancelled");
    let one = async |left: Left| {
        let desk = Desk { twilio: twilio.clone(), ledger: ledger.clone(), call: left.call.clone() };
        cancel(&desk, &settings, &left).await;
        if let Err(error) = ledger.put_away(&left).await {
            error!(
                event = "ledger.put_away_lost",
                %error,
                "That a payment was given up could be neither written nor held."
            );
        }
    };
    stream::iter(left).for_each_concurrent(AT_ONCE, one).await;
}

async fn cancel(desk: &Desk, settings: &Settings, left: &Left) {
    for wait in ATTEMPTS {
        tokio::time::sleep(wait).await;
        let sid = match &left.sid {
            Some(sid) => sid.clone(),
            None => match learn(desk, settings, left).await {
                Learnt::Sid(sid) => sid,
                Learnt::Nothing => return info!("a payment that was left open was never opened at Twilio"),
                Learnt::Again => continue,
            },
        };
        match tools::cancel_capture(desk, &left.cancel(sid.clone())).await {
            Outcome::Payment(Answer::Accepted) => {
                return info!(payment = %sid, "a payment that was left open is cancelled");
            }
            Outcome::Payment(Answer::Gone) => return info!(payment = %sid, "a payment that was left open had ended"),
            _ => {}
        }
    }
    error!(
        call = %desk.call.sid,
        payment = left.sid.as_ref().map(tracing::field::display),
        "it is not known whether the payment was cancelled: look it up at Twilio"
    );
}

/// Twilio's error for a second session on a call: there is one, and it is not told which.
const SESSION_RUNS: u32 = 64021;

/// What came of asking for the session once more.
enum Learnt {
    Sid(PaymentSid),
    /// There is none: the call is over, or Twilio does not want it.
    Nothing,
    Again,
}

/// Asks for the session once more, with the key of the first time: it is the same session.
async fn learn(desk: &Desk, settings: &Settings, left: &Left) -> Learnt {
    // Without all of its terms it cannot be asked for.
    let Ok(create) = left.create(settings) else { return Learnt::Again };
    match tools::open_session(desk, &create).await {
        Outcome::Payment(Answer::Created(sid)) => Learnt::Sid(sid),
        Outcome::Payment(Answer::Refused { code: Some(SESSION_RUNS), .. }) => Learnt::Again,
        Outcome::Payment(Answer::Gone | Answer::Refused { code: Some(_), .. }) => Learnt::Nothing,
        _ => Learnt::Again,
    }
}
