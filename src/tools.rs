//! The tools, plain async functions, one file each.
//!
//! A tool is given what the call decided, nothing that the model chose unchecked, and answers with an [`Outcome`]; what
//! that means for the conversation is the call's to say.

#![expect(clippy::unused_async, reason = "every tool is an async function, those that wait for nothing too")]

mod cancel_capture;
mod capture_card;
mod capture_expiry_date;
mod capture_postal_code;
mod capture_security_code;
mod change_context;
mod confirm_amount;
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

use crate::assets::Library;
use crate::call::{Outcome, Tool};
use crate::payment::Answer;
use crate::sid::CallSid;
use crate::twilio::{self, Client};

/// Runs a tool for a call that is led by this library.
pub async fn run(twilio: &Client, library: &Library, call: &CallSid, tool: Tool) -> Outcome {
    match tool {
        Tool::ConfirmAmount { amount } => confirm_amount::confirm_amount(amount).await,
        Tool::StartCapture(create) => start_capture::start_capture(twilio, call, &create).await,
        Tool::CaptureCard(update) => capture_card::capture_card(twilio, call, &update).await,
        Tool::CaptureSecurityCode(update) => capture_security_code::capture_security_code(twilio, call, &update).await,
        Tool::CaptureExpiryDate(update) => capture_expiry_date::capture_expiry_date(twilio, call, &update).await,
        Tool::CapturePostalCode(update) => capture_postal_code::capture_postal_code(twilio, call, &update).await,
        Tool::FinishCapture(update) => finish_capture::finish_capture(twilio, call, &update).await,
        Tool::CancelCapture(update) => cancel_capture::cancel_capture(twilio, call, &update).await,
        Tool::SetSilenceDetection { enabled } => set_silence_detection::set_silence_detection(enabled).await,
        Tool::EndCall => end_call::end_call().await,
        Tool::LiveAgentHandoff { reason, summary } => live_agent_handoff::live_agent_handoff(reason, summary).await,
        Tool::SendDtmf { digits } => send_dtmf::send_dtmf(digits).await,
        Tool::SwitchLanguage(languages) => switch_language::switch_language(languages).await,
        Tool::PlayMedia { source, times } => play_media::play_media(source, times).await,
        Tool::SendSms { to, body } => send_sms::send_sms(twilio, &to, &body).await,
        Tool::ChangeContext { keys, .. } => change_context::change_context(library, keys).await,
        Tool::SetListenMode { enabled } => set_listen_mode::set_listen_mode(enabled).await,
    }
}

/// What Twilio's answer to a payment request means for the payment.
fn payment(answer: Result<Answer, twilio::Error>) -> Outcome {
    Outcome::Payment(match answer {
        Ok(answer) => answer,
        Err(error) if error.is_gone() => Answer::Gone,
        Err(twilio::Error::Unknown(_)) => Answer::Unknown,
        Err(error) => Answer::Refused { code: error.code(), reason: error.reason() },
    })
}
