//! Captures the server's output until it is searched, by output channel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::simulator::leak_scan::CapturedOutput;
use crate::simulator::transcript::lock;

/// A channel through which bytes leave the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OutputChannel {
    /// Standard error and standard output, at `RUST_LOG=trace`.
    Log,
    /// Requests to the Responses API.
    Model,
    /// Requests to Twilio's REST API.
    Twilio,
    /// Frames to ConversationRelay.
    Socket,
    /// Responses to Twilio's webhooks, including TwiML.
    TwilioResponse,
    /// Responses to the operator's requests.
    OperatorResponse,
    /// Pages and events of the console.
    Console,
    /// Requests to `CALL_PARAMETERS_URL`.
    CallParameters,
    /// Requests to `PAYMENT_WEBHOOK_URL`.
    Webhook,
    /// The ledger's files.
    Ledger,
}

impl OutputChannel {
    /// All channels.
    pub(super) const ALL: [Self; 10] = [
        Self::Log,
        Self::Model,
        Self::Twilio,
        Self::Socket,
        Self::TwilioResponse,
        Self::OperatorResponse,
        Self::Console,
        Self::CallParameters,
        Self::Webhook,
        Self::Ledger,
    ];

    /// The name in captured output and in the report, where it is the value of the JSON key `place`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Log => "the log",
            Self::Model => "requests to the model",
            Self::Twilio => "requests to Twilio",
            Self::Socket => "socket frames",
            Self::TwilioResponse => "answers to Twilio",
            Self::OperatorResponse => "answers to operators",
            Self::Console => "the console",
            Self::CallParameters => "questions to the business",
            Self::Webhook => "the result webhook",
            Self::Ledger => "the ledger's files",
        }
    }

    /// Which data could carry card data into this channel.
    pub(super) fn reached_by(self) -> &'static str {
        match self {
            Self::Log => "log lines that quote frames, callbacks, parameters or errors",
            Self::Model => {
                "the caller's speech and keypad input, call parameters, and the model's own text and tool calls, as conversation history"
            }
            Self::Twilio => "tool arguments of the model: amounts, text messages; parameters of outbound calls",
            Self::Socket => "the model's speech, DTMF digits it sends, hand-off data",
            Self::TwilioResponse => "TwiML built from hand-off data and parameters; error texts",
            Self::OperatorResponse => "chat replies, error texts that quote the request, payment lists",
            Self::Console => "the payments and their events, what an operator searches for, the progress of live calls",
            Self::CallParameters => "the phone numbers of the call",
            Self::Webhook => "payment outcomes from the ledger, and the payment token, which is meant for the business",
            Self::Ledger => {
                "Twilio's payment callbacks, references, descriptions, and the payment token until it is delivered"
            }
        }
    }

    /// What keeps card data out of this channel.
    pub(super) fn stopped_by(self) -> &'static str {
        match self {
            Self::Log => {
                "conversation text has no printable form; HTTP and WebSocket crates are limited to warnings whatever RUST_LOG says"
            }
            Self::Model => {
                "keypad frames are dropped unread during a capture; card numbers are redacted before text enters the history"
            }
            Self::Twilio => "tool arguments are redacted before a tool runs; orders with a card number are refused",
            Self::Socket => "the model's digits are held back until they cannot be part of a card number",
            Self::TwilioResponse => "hand-off data is redacted again before it is sent",
            Self::OperatorResponse => "as in calls; every error text is redacted",
            Self::Console => "as in the ledger; a search is redacted before it is shown; live calls have no text",
            Self::CallParameters => "nothing else is sent",
            Self::Webhook => "built from the ledger's row only",
            Self::Ledger => {
                "no column holds card data; texts are redacted before they are written; delivered tokens are erased"
            }
        }
    }
}

/// The captured output that was not searched yet. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct OutputCapture(Arc<Mutex<Vec<CapturedOutput>>>);

/// The amount of captured output of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CapturedSize {
    /// The number of requests, frames, responses, log lines or files.
    pub pieces: usize,
    /// The total size in bytes.
    pub bytes: usize,
}

impl OutputCapture {
    /// Records output of the server.
    pub(super) fn record(&self, channel: OutputChannel, bytes: impl Into<String>) {
        lock(&self.0).push(CapturedOutput { channel: channel.name(), bytes: bytes.into() });
    }

    /// Takes everything that was recorded since the last call.
    pub(super) fn take(&self) -> Vec<CapturedOutput> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// Adds the size of captured output to the totals by channel.
pub(super) fn add_sizes(sizes: &mut BTreeMap<&'static str, CapturedSize>, output: &[CapturedOutput]) {
    for CapturedOutput { channel, bytes } in output {
        let size = sizes.entry(*channel).or_default();
        size.pieces += 1;
        size.bytes += bytes.len();
    }
}
