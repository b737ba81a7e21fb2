//! A caller who pays: what is said in answer to the agent, and when the caller gives up.

use std::time::Duration;

use anyhow::bail;

use super::call::{LoadCall, PATIENCE, TurnEnd};
use super::faults::CallerAct;
use crate::simulator::load::{PaymentSession, PaymentSessionState};

/// How often a caller agrees to try again.
const MAX_ATTEMPTS: usize = 2;

/// How patient a caller is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// After so long without a word of the agent the caller speaks again.
    quiet: Duration,
    /// How often the caller speaks again before giving up.
    reminders: usize,
}

/// How a call has ended for the caller, who is still to close its socket.
pub(super) enum CallerEnd {
    /// It is over: the agent has ended it, or the caller hangs up.
    Over(LoadCall),
    /// Its socket broke, and the server asked for no other.
    Lost,
    /// The caller has given up waiting for the agent.
    GivenUp(LoadCall),
}

impl Caller {
    /// Waits until nobody would.
    pub(super) const PATIENT: Self = Self { quiet: PATIENCE, reminders: 0 };

    /// Speaks again after some seconds, since the agent may have lost what was said.
    pub(super) const INSISTENT: Self = Self { quiet: Duration::from_secs(3), reminders: 6 };

    /// A whole call: the caller pays, does what the faults of the call say, and says goodbye.
    pub(super) async fn pay(self, call: LoadCall) -> anyhow::Result<CallerEnd> {
        self.play(call, |_| false).await
    }

    /// A call up to the first key of its payment, which is not pressed.
    pub(super) async fn wait_for_first_key(self, call: LoadCall) -> anyhow::Result<LoadCall> {
        match self.play(call, PaymentSession::is_capturing).await? {
            CallerEnd::Over(call) if call.probe.has_payment(PaymentSession::is_capturing) => Ok(call),
            _ => bail!("the call ended before the first field"),
        }
    }

    /// Plays a call to its end, or until its payment session is in such a state.
    async fn play(self, mut call: LoadCall, is_enough: fn(&PaymentSession) -> bool) -> anyhow::Result<CallerEnd> {
        let probe = call.probe.clone();
        let mark = probe.mark();
        call.say(&format!("My name is {mark}, and I'd like to pay my bill of 25 dollars.")).await?;
        let (mut attempts, mut reminders) = (0, 0);
        loop {
            if probe.has_payment(is_enough) {
                return Ok(CallerEnd::Over(call));
            }
            let (end, said) = call.hear_for(self.quiet).await?;
            let asks = |words: &[&str]| words.iter().any(|words| said.contains(words));
            let answer = match end {
                TurnEnd::CallEnded | TurnEnd::Fault(CallerAct::HangUp) => return Ok(CallerEnd::Over(call)),
                TurnEnd::Fault(CallerAct::LoseSocket) => match call.reconnect().await? {
                    Some(again) => {
                        call = again;
                        format!("This is {mark}, I am still here.")
                    }
                    None => return Ok(CallerEnd::Lost),
                },
                TurnEnd::Fault(CallerAct::AskToCancel) => "Actually, please cancel that.".to_owned(),
                TurnEnd::Silent if probe.has_payment(is_at_twilio) => continue,
                TurnEnd::Silent if reminders == self.reminders => return Ok(CallerEnd::GivenUp(call)),
                TurnEnd::Silent => {
                    reminders += 1;
                    "I am still here.".to_owned()
                }
                TurnEnd::Spoken if asks(&["charged to your card now"]) => "Yes, go ahead.".to_owned(),
                TurnEnd::Spoken if attempts < MAX_ATTEMPTS && asks(&["another card?", "try again", "start again"]) => {
                    attempts += 1;
                    "Yes, please.".to_owned()
                }
                TurnEnd::Spoken if asks(&["?"]) => {
                    if asks(&["All set"]) {
                        call.count_turn();
                    }
                    "No, that's all, thank you. Goodbye!".to_owned()
                }
                TurnEnd::Spoken | TurnEnd::Fault(CallerAct::PressStar) => continue,
            };
            call.say(&answer).await?;
        }
    }
}

/// Whether Twilio, and not the agent, is to do something.
fn is_at_twilio(payment: &PaymentSession) -> bool {
    payment.is_capturing() || payment.state == PaymentSessionState::Completing
}
