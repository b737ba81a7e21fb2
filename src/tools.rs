//! The tools, plain async functions, one file each.
//!
//! A tool is given what the call decided, nothing that the model chose unchecked, and answers with an [`Outcome`]; what
//! that means for the conversation is the call's to say.

#![expect(clippy::unused_async, reason = "every tool is an async function, those that wait for nothing too")]

mod cancel_capture;
mod capture_bank_account_number;
mod capture_bank_routing_number;
mod capture_card;
mod capture_expiry_date;
mod capture_postal_code;
mod capture_security_code;
mod change_context;
mod end_call;
mod finish_capture;
mod live_agent_handoff;
mod play_media;
mod send_dtmf;
mod send_sms;
mod set_listen_mode;
mod set_silence_detection;
mod start_capture;
mod switch_language;

pub(crate) use cancel_capture::cancel_capture;
pub(crate) use start_capture::open_session;

use std::sync::Arc;

use tracing::{error, warn};

use crate::assets::Library;
use crate::call::{Outcome, Tool};
use crate::ledger::{self, Ledger, OnCall};
use crate::payment::{Answer, Update};
use crate::twilio::{self, Client};

/// What the tools of a call work with.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Twilio's REST API.
    pub twilio: Arc<Client>,
    /// Where payments are written down, within the limits of the call.
    pub ledger: Ledger,
    /// The call.
    pub call: OnCall,
}

/// Runs a tool for a call that is led by this library.
pub async fn run(desk: &Desk, library: &Library, tool: Tool) -> Outcome {
    match tool {
        Tool::StartCapture(create) => start_capture::start_capture(desk, &create).await,
        Tool::CaptureCard(update) => capture_card::capture_card(desk, &update).await,
        Tool::CaptureSecurityCode(update) => capture_security_code::capture_security_code(desk, &update).await,
        Tool::CaptureExpiryDate(update) => capture_expiry_date::capture_expiry_date(desk, &update).await,
        Tool::CapturePostalCode(update) => capture_postal_code::capture_postal_code(desk, &update).await,
        Tool::CaptureBankRoutingNumber(update) => {
            capture_bank_routing_number::capture_bank_routing_number(desk, &update).await
        }
        Tool::CaptureBankAccountNumber(update) => {
            capture_bank_account_number::capture_bank_account_number(desk, &update).await
        }
        Tool::FinishCapture(update) => finish_capture::finish_capture(desk, &update).await,
        Tool::CancelCapture(update) => cancel_capture::cancel_capture(desk, &update).await,
        Tool::SetSilenceDetection { enabled } => set_silence_detection::set_silence_detection(enabled).await,
        Tool::EndCall => end_call::end_call().await,
        Tool::LiveAgentHandoff { reason, summary } => live_agent_handoff::live_agent_handoff(reason, summary).await,
        Tool::SendDtmf { digits } => send_dtmf::send_dtmf(digits).await,
        Tool::SwitchLanguage(languages) => switch_language::switch_language(languages).await,
        Tool::PlayMedia { source, times } => play_media::play_media(source, times).await,
        Tool::SendSms { to, body } => send_sms::send_sms(&desk.twilio, &to, &body).await,
        Tool::ChangeContext { keys, .. } => change_context::change_context(library, keys).await,
        Tool::SetListenMode { enabled } => set_listen_mode::set_listen_mode(enabled).await,
    }
}

/// Moves the payment on, if that can be written down first.
async fn change(desk: &Desk, update: &Update) -> Outcome {
    match desk.ledger.asking(&desk.call, update).await {
        Ok(()) => Outcome::Payment(send(desk, update).await),
        Err(refusal) => refused(desk, &refusal),
    }
}

/// Sends a change that is written down, and writes the answer down.
async fn send(desk: &Desk, update: &Update) -> Answer {
    let answer = answer(desk.twilio.update_payment(&desk.call.sid, update).await.map(|()| Answer::Accepted));
    written(desk.ledger.answered(update, &answer).await);
    answer
}

/// What Twilio's answer to a payment request means for the payment.
fn answer(answer: Result<Answer, twilio::Error>) -> Answer {
    match answer {
        Ok(answer) => answer,
        Err(error) if error.is_gone() => Answer::Gone,
        Err(twilio::Error::Unknown(_)) => Answer::Unknown,
        Err(error) => Answer::Refused { code: error.code(), reason: error.reason() },
    }
}

/// The ledger does not let it be done: Twilio is not asked.
fn refused(desk: &Desk, refusal: &ledger::Refused) -> Outcome {
    if let ledger::Refused::Barred(bar) = refusal {
        warn!(call = %desk.call.sid, cap = %bar, "a guard does not let a payment go on");
        return Outcome::Barred(refusal.reason());
    }
    warn!(event = "payment.refused_by_ledger", %refusal, "The ledger does not allow a step of a payment.");
    if let ledger::Refused::Order(payment) = refusal {
        return Outcome::OrderTaken(*payment);
    }
    if let ledger::Refused::PaidBefore { amount, minutes } = *refusal {
        return Outcome::PaidBefore { amount, minutes };
    }
    Outcome::Payment(Answer::Refused { code: None, reason: refusal.reason() })
}

/// An answer that can be neither written nor held changes nothing: what Twilio was asked is written, and its callbacks say the
/// rest.
fn written(answer: Result<(), ledger::Error>) {
    if let Err(error) = answer {
        error!(event = "ledger.answer_lost", %error, "An answer of Twilio's could be neither written nor held.");
    }
}
