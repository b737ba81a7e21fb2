//! The tools by name, what each is given, and what it answers.

use url::Url;

use crate::payment::{Amount, Answer, Change, Create, Field, KnownPayment, Update};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::relay::{Digits, Languages, Outgoing};

/// The names of all tools.
pub const TOOLS: &[&str] = &[
    "confirm-amount",
    "start-capture",
    "capture-card",
    "capture-security-code",
    "capture-expiry-date",
    "capture-postal-code",
    "capture-bank-routing-number",
    "capture-bank-account-number",
    "finish-capture",
    "cancel-capture",
    "set-silence-detection",
    "end-call",
    "live-agent-handoff",
    "send-dtmf",
    "switch-language",
    "play-media",
    "set-listen-mode",
    "send-sms",
    "change-context",
];

/// A context and a manifest by their keys. `None` stands for the one in use, or for the default where none is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextKeys {
    /// `contextKey`.
    pub context: Option<String>,
    /// `manifestKey`.
    pub manifest: Option<String>,
}

/// A tool to run, with everything that the model may not choose already in it.
#[derive(Debug, Clone)]
pub enum Tool {
    /// `start-capture`
    StartCapture(Create),
    /// `capture-card`
    CaptureCard(Update),
    /// `capture-security-code`
    CaptureSecurityCode(Update),
    /// `capture-expiry-date`
    CaptureExpiryDate(Update),
    /// `capture-postal-code`
    CapturePostalCode(Update),
    /// `capture-bank-routing-number`
    CaptureBankRoutingNumber(Update),
    /// `capture-bank-account-number`
    CaptureBankAccountNumber(Update),
    /// `finish-capture`
    FinishCapture(Update),
    /// `cancel-capture`; the call also runs it by itself when it ends with a payment open.
    CancelCapture(Update),
    /// `set-silence-detection`
    SetSilenceDetection {
        /// Whether to watch.
        enabled: bool,
    },
    /// `end-call`
    EndCall,
    /// `live-agent-handoff`
    LiveAgentHandoff {
        /// Why a person is needed.
        reason: Private<String>,
        /// What the call was about.
        summary: Private<String>,
    },
    /// `send-dtmf`
    SendDtmf {
        /// The tones.
        digits: Digits,
    },
    /// `switch-language`
    SwitchLanguage(Languages),
    /// `play-media`
    PlayMedia {
        /// An https URL on a host that is allowed.
        source: Url,
        /// How often.
        times: u16,
    },
    /// `set-listen-mode`
    SetListenMode {
        /// Whether the agent only listens.
        enabled: bool,
    },
    /// `send-sms`
    SendSms {
        /// The caller's own number, or one that the operator allows.
        to: PhoneNumber,
        /// 1 to 1,600 characters.
        body: Private<String>,
    },
    /// `change-context`
    ChangeContext {
        /// Where to.
        keys: ContextKeys,
        /// What the call was about so far.
        summary: Private<String>,
    },
}

impl Tool {
    /// The name under which the model knows it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StartCapture(_) => "start-capture",
            Self::CaptureCard(_) => "capture-card",
            Self::CaptureSecurityCode(_) => "capture-security-code",
            Self::CaptureExpiryDate(_) => "capture-expiry-date",
            Self::CapturePostalCode(_) => "capture-postal-code",
            Self::CaptureBankRoutingNumber(_) => "capture-bank-routing-number",
            Self::CaptureBankAccountNumber(_) => "capture-bank-account-number",
            Self::FinishCapture(_) => "finish-capture",
            Self::CancelCapture(_) => "cancel-capture",
            Self::SetSilenceDetection { .. } => "set-silence-detection",
            Self::EndCall => "end-call",
            Self::LiveAgentHandoff { .. } => "live-agent-handoff",
            Self::SendDtmf { .. } => "send-dtmf",
            Self::SwitchLanguage(_) => "switch-language",
            Self::PlayMedia { .. } => "play-media",
            Self::SetListenMode { .. } => "set-listen-mode",
            Self::SendSms { .. } => "send-sms",
            Self::ChangeContext { .. } => "change-context",
        }
    }

    pub(super) fn change(update: Update) -> Self {
        match update.change {
            Change::Capture(field) => match field.first() {
                Field::SecurityCode => Self::CaptureSecurityCode(update),
                Field::ExpirationDate => Self::CaptureExpiryDate(update),
                Field::PostalCode => Self::CapturePostalCode(update),
                Field::BankRoutingNumber => Self::CaptureBankRoutingNumber(update),
                Field::BankAccountNumber => Self::CaptureBankAccountNumber(update),
                _ => Self::CaptureCard(update),
            },
            Change::Complete => Self::FinishCapture(update),
            Change::Cancel => Self::CancelCapture(update),
        }
    }
}

/// What a tool answered.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Twilio's answer to a payment request.
    Payment(Answer),
    /// A guard did not let the payment go on; Twilio was not asked. With what the model is to do.
    Barred(&'static str),
    /// Another payment of the same order stands in the way; Twilio was not asked.
    OrderTaken(KnownPayment),
    /// The payment was not begun: the same caller paid the same amount a few minutes ago, and did not agree to pay it again.
    PaidBefore {
        /// In the currency of the call.
        amount: Amount,
        /// Since that payment, rounded down.
        minutes: u32,
    },
    /// The watch for silence is to be this.
    SilenceDetection {
        /// Whether to watch.
        enabled: bool,
    },
    /// The call is to end after a goodbye.
    EndCall,
    /// The call is to end with a person taking over.
    HandOff {
        /// Why.
        reason: Private<String>,
        /// What the call was about.
        summary: Private<String>,
    },
    /// This frame is to be sent.
    Send(Outgoing),
    /// The agent is only to listen, or to speak again.
    ListenMode {
        /// Whether it only listens.
        enabled: bool,
    },
    /// These keys lead somewhere; or not, in words for the model.
    Context(Result<ContextKeys, String>),
    /// A text message was queued, or why not, in words for the model.
    Message(Result<(), &'static str>),
    /// The tool broke or took too long: what it did is not known.
    Lost,
}
