//! The tools that run outside of the call ([`Tool`]), and their outcomes ([`ToolOutcome`]).

use crate::ids::PaymentSid;
use crate::payment::{
    Amount, BusinessDue, CreatePayment, ParseBusinessDueError, PriorPayment, TwilioResponse, UpdateAction,
    UpdatePayment,
};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, RedactedJson};

/// The keys of a context and a manifest. `None` is the one in use, or the default if none is in use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContextKeys {
    /// `contextKey`.
    pub context: Option<String>,
    /// `manifestKey`.
    pub manifest: Option<String>,
}

/// The parameters of a call that name its context, the preferred one first.
pub(crate) const CONTEXT_PARAMETERS: [&str; 2] = ["contextKey", "contextFile"];

/// The parameters of a call that name its manifest, the preferred one first.
pub(crate) const MANIFEST_PARAMETERS: [&str; 2] = ["manifestKey", "toolManifestFile"];

/// A tool to run outside of the call, with all values that the model may not choose: it does I/O, or needs the library.
#[derive(Debug, Clone)]
pub(crate) enum Tool {
    /// `start-capture`
    StartCapture(CreatePayment),
    /// A capture tool, `finish-capture` or `cancel-capture`. The server runs them, too: in the guided flow, and when the
    /// call ends with an open payment.
    UpdatePayment(UpdatePayment),
    /// `send-sms`
    SendSms {
        /// The caller's own number, or one that the operator allows.
        to: PhoneNumber,
        /// 1 to 1,600 characters.
        body: Private<String>,
    },
    /// The receipt of this payment session, which the server sends itself.
    SendReceipt(PaymentSid),
    /// `do-not-call`
    DoNotCall {
        /// The number of the person on the line.
        number: PhoneNumber,
    },
    /// `change-context`
    ChangeContext {
        /// The context and manifest to switch to.
        keys: ContextKeys,
        /// What the call was about so far.
        summary: Private<String>,
    },
    /// A tool of the business, if the call has one of this name.
    Business {
        /// The name as the model wrote it, without card numbers.
        name: String,
        /// JSON text; may be empty or invalid.
        arguments: RedactedJson,
    },
}

impl Tool {
    /// The name of the tool in the manifest; a receipt counts as a text message. That of a business tool is the model's own text until it is found there.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::StartCapture(_) => "start-capture",
            Self::UpdatePayment(update) => match update.action {
                UpdateAction::Capture(field) => field.tool_name(),
                UpdateAction::Complete => "finish-capture",
                UpdateAction::Cancel => "cancel-capture",
            },
            Self::SendSms { .. } | Self::SendReceipt(_) => "send-sms",
            Self::DoNotCall { .. } => "do-not-call",
            Self::ChangeContext { .. } => "change-context",
            Self::Business { name, .. } => name,
        }
    }
}

/// The outcome of a tool.
#[derive(Debug, Clone)]
pub(crate) enum ToolOutcome {
    /// Twilio's response to a payment request.
    Payment(TwilioResponse),
    /// A velocity limit stopped the payment; Twilio was not asked. The text tells the model what to do.
    LimitExceeded(&'static str),
    /// Another payment of the same order, or of the same amount, blocks this one; Twilio was not asked.
    OrderHasPayment(PriorPayment),
    /// The same caller paid the same amount a few minutes ago and has not agreed to pay it again. The payment was not
    /// begun; Twilio was not asked.
    RecentlyPaid {
        /// In the currency of the call.
        amount: Amount,
        /// The minutes since that payment, rounded down.
        minutes: u32,
    },
    /// The recording of the call is not paused, so that the caller may not enter anything; Twilio was not asked.
    NotPaused,
    /// The keys of an existing context and manifest, or the error text for the model.
    Context(Result<ContextKeys, String>),
    /// Whether the number is on the list of those that are not called any more.
    DoNotCall {
        /// It is.
        is_listed: bool,
    },
    /// Whether a text message was queued, or the error text for the model.
    Sms(Result<(), &'static str>),
    /// Whether a receipt was sent.
    Receipt(ReceiptNews),
    /// The answer of a tool of the business.
    Business(Result<BusinessAnswer, BusinessToolError>),
    /// The tool failed or timed out; its effect is unknown.
    NoResult,
}

/// What the caller may be told about a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptNews {
    /// Twilio took the message.
    Sent,
    /// The caller's number is withheld, or takes no text messages.
    NoTextMessages,
    /// It was not sent, now or at all.
    NotSent,
    /// Nobody knows whether it was sent.
    Unknown,
}

/// The answer of a tool of the business.
#[derive(Debug, Clone)]
pub(crate) struct BusinessAnswer {
    /// A JSON value: data for the model.
    pub data: RedactedJson,
    /// The amount due that the answer names, if it names one.
    pub due: Option<Result<BusinessDue, ParseBusinessDueError>>,
}

/// Why a tool of the business gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BusinessToolError {
    /// The call has no tool of that name.
    #[error("there is no such tool")]
    Unknown {
        /// The names of all tools of the call.
        names: Vec<String>,
    },
    /// The model's arguments are not a JSON object.
    #[error("the arguments are not a JSON object")]
    InvalidArguments,
    /// The tool itself says that it failed.
    #[error("the tool reported an error")]
    Refused {
        /// What it says: a JSON value for the model.
        text: RedactedJson,
    },
    /// There was no complete answer in time.
    #[error("the business did not answer in time")]
    TimedOut,
    /// The request was not sent.
    #[error("the business could not be reached")]
    Unreachable,
    /// The connection broke before the answer was complete.
    #[error("the connection to the business broke")]
    Interrupted,
    /// The HTTP status is not 2xx.
    #[error("the business answered HTTP {0}; expected 2xx")]
    Status(u16),
    /// The answer is too large.
    #[error("the answer is larger than 16 KiB")]
    TooLarge,
    /// The answer is not what the protocol requires.
    #[error("the answer is invalid")]
    InvalidAnswer,
    /// A request cannot be signed: there is no secret.
    #[error("PAYMENT_WEBHOOK_SECRET is not set")]
    NotSetUp,
}
